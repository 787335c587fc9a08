//! Directories that are ours, and those that another user made or can change.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;

const OTHER_USER: u32 = 65534;

/// A directory in another one, which only we may change.
fn made(mode: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pins");
    fs::create_dir(&path).unwrap();
    set_mode(&path, mode);
    (folder, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The two lines of the refusal.
fn refused(path: &Path) -> (String, String) {
    let error = Directory::open_anywhere(path).unwrap_err();
    assert!(matches!(error, PinError::NotOurs { .. }), "{error}");
    let message = error.to_string();
    let (why, hint) = message.split_once("\nhint: ").unwrap();
    assert!(!hint.contains('\n'), "{message}");
    (why.to_owned(), hint.to_owned())
}

#[test]
fn directory_with_mode_0700_is_ours() {
    let (_folder, path) = made(0o700);
    let directory = Directory::open_anywhere(&path).unwrap();
    fs::create_dir(path.join("entry")).unwrap();
    assert_eq!(directory.names().unwrap(), ["entry"]);
    assert_eq!(directory.shown(), path);
}

#[test]
fn directory_that_others_may_open_is_refused_with_the_mode_to_set() {
    for mode in [0o777, 0o755, 0o750, 0o701] {
        let (_folder, path) = made(mode);
        let (why, hint) = refused(&path);
        let shown = path.display();
        assert_eq!(why, format!("--pin: cannot trust {shown}: other users may open it"));
        assert_eq!(hint, format!("`chmod 0700 {shown}`"), "{mode:#o}");
    }
}

/// As the root of a BPF file system is by default.
#[test]
fn shared_directory_is_refused_with_a_directory_in_it() {
    let (_folder, path) = made(0o1777);
    assert!(refused(&path).1.ends_with(&format!("`--pin {}/oomwhy`", path.display())));
}

/// A user who can open a directory can lock it, which would keep the tracer from starting.
#[test]
fn lock_of_another_user_is_not_mistaken_for_another_tracer() {
    let (_folder, path) = made(0o755);
    let held = open_last(&path).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(refused(&path).0.ends_with("other users may open it"));
    drop(held);
    set_mode(&path, 0o700);
    Directory::open_anywhere(&path).unwrap();
}

#[test]
fn directory_in_one_that_others_may_change_is_refused() {
    for (mode, is_ours) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
        let (folder, path) = made(0o700);
        set_mode(folder.path(), mode);
        if is_ours {
            Directory::open_anywhere(&path).unwrap();
        } else {
            assert!(refused(&path).0.contains("other users can move it"), "{mode:#o}");
        }
    }
}

#[test]
fn directory_of_another_user_is_refused() {
    let (_folder, path) = made(0o700);
    let mut stat = fstat(open_last(&path).unwrap()).unwrap();
    stat.st_uid = OTHER_USER;
    let why = not_ours(&stat, geteuid().as_raw(), &path).unwrap();
    assert!(why.starts_with("it belongs to user 65534\nhint: "), "{why}");
    assert!(not_ours(&stat, OTHER_USER, &path).is_none());
    stat.st_uid = 0;
    assert!(not_ours(&stat, OTHER_USER, &path).is_none(), "root may do anything anyway");
}

/// Only root can give a directory to another user.
#[test]
fn directories_that_another_user_made_are_refused() {
    let (folder, path) = made(0o700);
    if chown(&path, Some(OTHER_USER), None).is_ok() {
        assert!(refused(&path).0.ends_with("it belongs to user 65534"));
        chown(&path, Some(0), None).unwrap();
        chown(folder.path(), Some(OTHER_USER), None).unwrap();
        assert!(refused(&path).0.contains("other users can move it"));
    }
}

#[test]
fn symlink_to_a_directory_is_not_followed() {
    let (folder, path) = made(0o700);
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(open_last(&link).is_err());
    assert!(open_last(&link.join("")).is_err(), "with a slash at its end");
}

#[test]
fn made_directories_are_ours() {
    let folder = tempfile::tempdir().unwrap();
    let top = open_last(folder.path()).unwrap();
    let inner = make(&make(&top, Path::new("deep")).unwrap(), Path::new("er")).unwrap();
    assert_eq!(fstat(&inner).unwrap().st_mode & 0o7777, 0o700);
    Directory::open_anywhere(&folder.path().join("deep/er")).unwrap();
    make(&top, Path::new("deep")).unwrap();
    symlink("deep", folder.path().join("link")).unwrap();
    assert!(make(&top, Path::new("link")).is_err());
}

#[test]
fn directory_is_removed_once_it_is_empty() {
    let (folder, path) = made(0o700);
    let directory = Directory::open_anywhere(&path).unwrap();
    fs::create_dir(path.join("entry")).unwrap();
    directory.remove();
    assert!(path.exists(), "it is not empty");
    fs::remove_dir(path.join("entry")).unwrap();
    directory.remove();
    assert_eq!(names(folder.path()).unwrap(), [""; 0]);
}
