//! Every way to open a file, against every kind of file that somebody could put there.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{fs::FileType, process::geteuid};

use super::*;

const CONTENT: &str = "content";
const MAX_BYTES: u64 = 100;

fn own() -> u32 {
    geteuid().as_raw()
}

/// The ways in which the program opens files.
fn trees() -> [Tree; 5] {
    let own = own();
    [
        Tree::Root,
        Tree::User(own),
        Tree::Mapped(Some(own)),
        Tree::Written(own),
        Tree::Host(Some(own)),
    ]
}

/// A directory below a base, in which somebody else may make files.
struct Hostile {
    base: tempfile::TempDir,
}

impl Hostile {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("theirs")).unwrap();
        fs::write(base.path().join("outside"), CONTENT).unwrap();
        Self { base }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join("theirs").join(name)
    }

    fn target(tree: Tree) -> Target {
        match tree {
            Tree::Root | Tree::User(_) => Target::below(tree, "theirs", "file", MAX_BYTES),
            _ => Target::new(tree, "/theirs/file", MAX_BYTES),
        }
    }

    fn directory(&self) -> Directory {
        Directory::at(self.base.path()).unwrap()
    }

    fn read(&self, tree: Tree) -> Result<String, Refusal> {
        let content = self.directory().read(Self::target(tree))?;
        Ok(String::from_utf8(content).unwrap())
    }
}

/// Everything but `Tree::Root` refuses links.
fn follows_links(tree: Tree) -> bool {
    tree == Tree::Root
}

#[test]
fn regular_file_is_read_by_every_way() {
    for tree in trees() {
        let hostile = Hostile::new();
        fs::write(hostile.path("file"), CONTENT).unwrap();
        assert_eq!(hostile.read(tree), Ok(CONTENT.to_owned()), "{tree:?}");
    }
}

#[test]
fn no_way_opens_what_is_not_a_regular_local_file() {
    for tree in trees() {
        let hostile = Hostile::new();
        let is_refused = || hostile.read(tree).is_err();
        attacks::run_each(&format!("{tree:?}"), &hostile.path("file"), is_refused);
    }
}

/// In a container, a link to `/proc/kmsg` stays below its root: /proc is mounted there.
#[test]
fn no_way_opens_a_file_of_proc_below_its_base() {
    let root = Directory::at("/".as_ref()).unwrap();
    for tree in trees() {
        let target = match tree {
            Tree::Root | Tree::User(_) => Target::below(tree, "proc/sys", "vm/swappiness", 100),
            _ => Target::new(tree, "/proc/sys/vm/swappiness", 100),
        };
        let refusal = root.open(target).unwrap_err();
        let own_mount = Refusal::FileSystem(0x9fa0);
        assert_eq!(refusal, own_mount, "{tree:?}");
    }
}

/// To open it would release the program that waits for the other end.
#[test]
fn fifo_is_not_even_opened() {
    for tree in trees() {
        let hostile = Hostile::new();
        assert!(attacks::node(&hostile.path("file"), FileType::Fifo, 0));
        let path = hostile.path("file");
        let (opened, wait) = std::sync::mpsc::channel();
        // Left behind: nobody opens the other end.
        thread::spawn(move || {
            let _ = opened.send(File::options().write(true).open(path).is_ok());
        });
        thread::sleep(Duration::from_millis(20));
        assert_eq!(hostile.read(tree), Err(Refusal::NotRegular));
        assert!(wait.recv_timeout(Duration::from_millis(20)).is_err(), "{tree:?}");
        File::options().read(true).write(true).open(hostile.path("file")).unwrap();
    }
}

#[test]
fn link_below_the_directory_is_followed_only_in_trees_of_root() {
    for tree in trees() {
        let hostile = Hostile::new();
        fs::write(hostile.path("other"), CONTENT).unwrap();
        symlink("other", hostile.path("file")).unwrap();
        assert_eq!(hostile.read(tree).is_ok(), follows_links(tree), "{tree:?}");
    }
}

#[test]
fn second_name_is_refused_where_a_user_chose_the_name() {
    for tree in trees() {
        let hostile = Hostile::new();
        fs::hard_link(hostile.base.path().join("outside"), hostile.path("file")).unwrap();
        let is_users = matches!(tree, Tree::User(_) | Tree::Written(_));
        let expected = if is_users { Err(Refusal::Names(2)) } else { Ok(CONTENT.to_owned()) };
        assert_eq!(hostile.read(tree), expected, "{tree:?}");
    }
}

#[test]
fn file_of_another_user_is_refused_unless_a_process_has_mapped_it() {
    let hostile = Hostile::new();
    fs::write(hostile.path("file"), CONTENT).unwrap();
    let other = attacks::other_user();
    for tree in [Tree::User(other), Tree::Written(other)] {
        // A user's tree may have files of root.
        if own() == 0 && tree == Tree::User(other) {
            continue;
        }
        assert_eq!(hostile.read(tree), Err(Refusal::Owner(own())), "{tree:?}");
    }
    if !attacks::give_away(&hostile.path("file")) {
        return;
    }
    for tree in trees() {
        let expected = if matches!(tree, Tree::Mapped(_)) {
            Ok(CONTENT.to_owned())
        } else {
            Err(Refusal::Owner(other))
        };
        assert_eq!(hostile.read(tree), expected, "{tree:?}");
    }
}

/// A mount in a namespace of the user can put any file at the path of one that was mapped.
#[test]
fn file_that_the_process_cannot_use_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let hostile = Hostile::new();
    let path = hostile.path("file");
    fs::write(&path, CONTENT).unwrap();
    let (mapped, host) = (Tree::Mapped, Tree::Host);
    let other = Some(attacks::other_user());
    for (mode, tree, is_read) in [
        (0o600, mapped(other), false),
        (0o640, mapped(other), false),
        (0o640, mapped(None), false),
        (0o640, mapped(Some(own())), true),
        (0o640, mapped(Some(0)), true),
        (0o644, mapped(other), true),
        (0o750, mapped(other), true),
        (0o700, mapped(other), false),
        (0o644, host(other), false),
        (0o644, host(None), false),
        (0o644, host(Some(own())), true),
        (0o711, host(other), true),
        (0o700, host(other), false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let expected = if is_read { Ok(CONTENT.to_owned()) } else { Err(Refusal::Mode(mode)) };
        assert_eq!(hostile.read(tree), expected, "{mode:o} {tree:?}");
    }
}

#[test]
fn directory_of_another_user_or_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let hostile = Hostile::new();
    fs::write(hostile.path("file"), CONTENT).unwrap();
    let theirs = hostile.base.path().join("theirs");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
    for tree in [Tree::Root, Tree::User(own())] {
        assert_eq!(hostile.read(tree), Err(Refusal::SharedDirectory), "{tree:?}");
    }
    assert_eq!(hostile.directory().names("theirs", 9), [""; 0]);
    if attacks::give_away(&theirs) {
        for tree in [Tree::Root, Tree::User(own())] {
            assert_eq!(hostile.read(tree), Err(Refusal::Owner(attacks::other_user())), "{tree:?}");
        }
    }
}

#[test]
fn large_file_is_refused() {
    for tree in trees() {
        let hostile = Hostile::new();
        fs::write(hostile.path("file"), "x".repeat(101)).unwrap();
        assert_eq!(hostile.read(tree), Err(Refusal::Size(101)), "{tree:?}");
        fs::write(hostile.path("file"), "x".repeat(100)).unwrap();
        assert!(hostile.read(tree).is_ok(), "{tree:?}");
    }
}

#[test]
fn file_that_grows_or_shrinks_after_it_was_opened_stays_below_the_limit() {
    for tree in trees() {
        let hostile = Hostile::new();
        let path = hostile.path("file");
        fs::write(&path, CONTENT).unwrap();
        let opened = || hostile.directory().open(Hostile::target(tree)).unwrap().file;
        let (grows, shrinks) = (opened(), opened());
        File::options().append(true).open(&path).unwrap().write_all(&[b'x'; 1000]).unwrap();
        assert_eq!(read_capped(grows, MAX_BYTES), Err(Refusal::Size(101)), "{tree:?}");
        fs::write(&path, "").unwrap();
        assert_eq!(read_capped(shrinks, MAX_BYTES), Ok(Vec::new()), "{tree:?}");
    }
}

#[test]
fn file_that_changes_gets_another_id() {
    let hostile = Hostile::new();
    let opened = || hostile.directory().open(Hostile::target(Tree::Mapped(Some(own())))).unwrap();
    fs::write(hostile.path("file"), CONTENT).unwrap();
    let first = opened();
    assert_eq!(first.facts.id, opened().facts.id);
    thread::sleep(Duration::from_millis(20));
    fs::write(hostile.path("file"), CONTENT).unwrap();
    let second = opened();
    assert!(first.is_same_file(&second) && first.facts.id != second.facts.id);
}

#[test]
fn names_and_copies_are_limited() {
    let hostile = Hostile::new();
    for name in ["a", "b", "c"] {
        fs::write(hostile.path(name), CONTENT).unwrap();
    }
    let directory = hostile.directory();
    let mut names = directory.names("theirs", 9);
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(directory.names("theirs", 2).len(), 2);
    assert_eq!(directory.names("absent", 2), [""; 0]);
    assert_eq!(directory.copy("theirs/a".to_owned(), 4), Ok(b"cont".to_vec()));
}

/// A FUSE file system of its own process, or none where the host does not allow one.
pub(super) struct Fuse {
    mounted: PathBuf,
    server: Child,
}

impl Fuse {
    /// Mounts one with a regular file `file`, by a program that never answers a request to read it
    /// or to look up the name `hangs`.
    pub(super) fn mount(on: &Path) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/programs/fuse_server.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(on).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = command.stderr(Stdio::null()).spawn().ok()?;
        let mut ready = [0];
        let is_ready = server.stdout.as_mut()?.read(&mut ready).is_ok_and(|bytes| bytes == 1);
        if !is_ready {
            let _ = server.kill();
            let _ = server.wait();
            return None;
        }
        Some(Self { mounted: on.to_owned(), server })
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}

#[test]
fn file_on_fuse_is_refused_without_a_read() {
    let hostile = Hostile::new();
    let Some(_fuse) = Fuse::mount(&hostile.base.path().join("theirs")) else {
        eprintln!("not run: FUSE needs root, /dev/fuse and python3");
        return;
    };
    let begin = Instant::now();
    for tree in trees() {
        let refusal = hostile.read(tree).unwrap_err();
        assert_eq!(refusal, Refusal::FileSystem(0x6573_5546), "{tree:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
}
