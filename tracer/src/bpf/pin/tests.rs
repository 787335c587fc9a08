//! Names of folders, refusals and settings. Virtual machines test the probes themselves.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    rc::Rc,
};

use oomwhy_common::{
    OLDEST_WIRE_VERSION, WIRE_VERSION,
    counters::{self, before_version_4},
    event::KillEvent,
    maps::{InvocationState, QuietRun, Wait},
    settings::Settings,
};
use tempfile::TempDir;
use zerocopy::IntoBytes as _;

use super::{
    Directory, PinDir, PinError, Removed, directory::names, is_readable, missing, settings, version,
};

/// No BPF file system is needed to look at names.
fn lock(path: &Path) -> Result<PinDir, PinError> {
    Directory::open_anywhere(path).map(|dir| PinDir(Rc::new(dir)))
}

/// A directory that nobody else may open.
fn private_folder() -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn make_set(folder: &Path) {
    fs::create_dir_all(folder.join("links")).unwrap();
    fs::create_dir_all(folder.join("maps")).unwrap();
    fs::write(folder.join("links/exit_mmap"), b"").unwrap();
}

fn sorted_names(path: &Path) -> Vec<String> {
    let mut names = names(path).unwrap();
    names.sort();
    names
}

#[test]
fn wire_version_is_read_from_folder_name() {
    for (name, expected) in [
        ("oomwhy-3-0", Some(3)),
        ("oomwhy-12-81234567890", Some(12)),
        ("oomwhy-1-000000000000feed-524288", Some(1)),
        ("oomwhy-", None),
        ("oomwhy-3", None),
        ("oomwhy-x-0", None),
        ("else-3-0", None),
    ] {
        assert_eq!(version(name), expected, "{name}");
    }
}

#[test]
fn pins_of_older_wire_versions_are_readable() {
    assert!([1, OLDEST_WIRE_VERSION, WIRE_VERSION].into_iter().all(is_readable));
    assert!(![0, WIRE_VERSION + 1].into_iter().any(is_readable));
}

#[test]
fn pins_of_unknown_wire_version_are_refused_and_left_as_they_are() {
    let folder = private_folder();
    let unknown = format!("oomwhy-{}-0", WIRE_VERSION + 1);
    for name in [&unknown, "oomwhy-3-0", "making-oomwhy-3-7"] {
        make_set(&folder.path().join(name));
    }
    let before = sorted_names(folder.path());

    let refused = lock(folder.path()).unwrap().take_over().err().unwrap();
    let message = refused.to_string();
    assert!(matches!(refused, PinError::Unreadable { .. }), "{message}");
    let (what, hint) = message.split_once("\nhint: ").unwrap();
    assert!(what.contains(&unknown) && !what.contains('\n'), "{message}");
    let fix = format!("`oomwhy unpin {}`", folder.path().display());
    assert!(hint.contains("once more") && hint.contains(&fix), "{message}");
    assert_eq!(sorted_names(folder.path()), before);
    assert!(folder.path().join(unknown).join("links/exit_mmap").exists());
}

#[test]
fn damaged_pins_are_refused_and_unpinned() {
    for (made, what) in
        [("oomwhy-3-abc", "they have no maps"), ("oomwhy-3-abc/maps", "the map JOURNAL is missing")]
    {
        let folder = private_folder();
        fs::create_dir_all(folder.path().join(made)).unwrap();
        let dir = lock(folder.path()).unwrap();
        let refused = dir.take_over().err().unwrap();
        assert!(matches!(refused, PinError::Damaged { .. }), "{refused}");
        let path = folder.path().display();
        let expected = format!(
            "--pin: the probes in {path}/oomwhy-3-abc are damaged: {what}\nhint: `oomwhy unpin \
             {path}` removes them"
        );
        assert_eq!(refused.to_string(), expected);
        assert_eq!(dir.clear().unwrap(), Removed { sets: 1, programs: 0 });
        assert!(!folder.path().exists());
    }
}

#[test]
fn missing_name_is_found() {
    let there = ["RING".to_owned(), "JOURNAL".to_owned()];
    assert_eq!(missing(["JOURNAL", "RING"], &there), None);
    assert_eq!(missing(["RING", "COUNTERS"], &there), Some("COUNTERS"));
}

#[test]
fn pin_directory_in_use_is_refused() {
    let folder = private_folder();
    let _first = lock(folder.path()).unwrap();
    let refused = lock(folder.path()).unwrap_err();
    assert!(matches!(refused, PinError::InUse { .. }), "{refused}");
}

/// Another user makes the directory before oomwhy, with pins that look like those of a later build.
#[test]
fn pins_in_a_directory_that_others_may_change_are_not_read() {
    let folder = private_folder();
    make_set(&folder.path().join("oomwhy-9-0-1"));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let refused = lock(folder.path()).unwrap_err();
    assert!(matches!(refused, PinError::NotOurs { .. }), "{refused}");
}

/// Another user moves the directory away, and puts a different one in its place.
#[test]
fn pins_are_those_of_the_directory_that_was_opened() {
    let folder = private_folder();
    let [path, away] = ["pins", "away"].map(|name| folder.path().join(name));
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    make_set(&path.join("oomwhy-3-0"));
    let dir = lock(&path).unwrap();
    fs::rename(&path, &away).unwrap();
    make_set(&path.join("oomwhy-9-0-1"));

    let refused = dir.take_over().err().unwrap();
    let damaged = format!("{}/oomwhy-3-0 are damaged", path.display());
    assert!(refused.to_string().contains(&damaged), "{refused}");
    assert_eq!(dir.clear().unwrap(), Removed { sets: 1, programs: 1 });
    assert_eq!(sorted_names(&away), [""; 0]);
    assert_eq!(sorted_names(&path), ["oomwhy-9-0-1"]);
}

#[test]
fn pins_of_others_are_refused_by_name_and_stay() {
    let folder = private_folder();
    for name in ["oomwhy-3-0", "making-oomwhy-3-7", "making-tea", "b\u{1b}[2J", "a", "c", "d"] {
        make_set(&folder.path().join(name));
    }
    let dir = lock(folder.path()).unwrap();
    let refused = dir.take_over().err().unwrap().to_string();
    let path = folder.path().display();
    let expected = format!(
        "--pin: {path} has pins that are not of oomwhy: a, b\\u{{1b}}[2J, c, d and 1 more\nhint: give \
         another directory, or remove them"
    );
    assert_eq!(refused, expected);
    assert_eq!(names(folder.path()).unwrap().len(), 7);
    assert_eq!(dir.clear().unwrap(), Removed { sets: 2, programs: 2 });
    assert_eq!(sorted_names(folder.path()), ["a", "b\u{1b}[2J", "c", "d", "making-tea"]);
}

#[test]
fn settings_of_other_versions_are_read_as_far_as_known() {
    let kept = Settings { per_cpu_offsets: 7, no_cmdlines: 1, ..Settings::default() };
    let older = settings(&kept.as_bytes()[..48]);
    assert_eq!((older.per_cpu_offsets, older.no_cmdlines), (7, 0));
    let newer = [kept.as_bytes(), &[9; 8]].concat();
    assert_eq!(settings(&newer).no_cmdlines, 1);
}

/// Sizes in bytes; those of the records are in `oomwhy_common::event`. A change of a layout raises
/// the wire version too.
#[test]
fn wire_version_belongs_to_these_layouts() {
    assert_eq!(WIRE_VERSION, 4);
    assert_eq!(size_of::<QuietRun>(), 32);
    assert_eq!(size_of::<Wait>(), 24);
    assert_eq!(size_of::<InvocationState>(), 80);
    assert_eq!(size_of::<KillEvent>(), 112);
    let counters = [
        counters::DETAILS,
        counters::HINTS,
        counters::SHED,
        counters::FIRST_DROP_NS,
        counters::LAST_DROP_NS,
    ];
    assert_eq!(counters, [0, 1, 2, 3, 4]);
    assert_eq!((counters::kills::FIRST_NS, counters::kills::LAST_NS), (4, 5));
    let older = (before_version_4::DROPPED, before_version_4::FIRST_DROP_NS);
    assert_eq!((older, before_version_4::LAST_DROP_NS), ((0, 20), 21));
}

#[test]
fn directory_outside_bpffs_is_refused_and_not_made() {
    let folder = private_folder();
    let path = folder.path().join("deep/er");
    let refused = PinDir::create(&path).unwrap_err();
    assert!(matches!(refused, PinError::NotBpffs { .. }), "{refused}");
    assert!(refused.to_string().contains("mount -t bpf"), "{refused}");
    assert!(!folder.path().join("deep").exists());
}
