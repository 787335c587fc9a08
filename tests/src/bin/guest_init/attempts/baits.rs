//! Files that must never be opened: secrets of root, and a FIFO and a device that scripts offer.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::attempts::MARKER;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// A program, and names of its functions, which the secret replaces.
const PROGRAM: (&str, [&[u8]; 2]) = ("/bin/c-static", [b"grow_in_c", b"rest_in_c"]);

/// Watches files. A descriptor that was opened with `O_PATH` is not noticed, and harms nobody.
pub(super) struct Baits {
    inotify: OwnedFd,
    paths: BTreeMap<i32, String>,
}

impl Baits {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<Self> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, paths: BTreeMap::new() })
    }

    /// Makes the secrets of the host in `DIRECTORY/secret`.
    pub(super) fn add_secrets(&mut self, directory: &Path) -> Result<()> {
        let secret = directory.join("secret");
        make_directory(&secret, 0)?;
        let config = format!(
            "{{\"annotations\":{{\"io.kubernetes.container.name\":\"{MARKER}\",\
             \"nerdctl/image-ref\":\"{MARKER}\"}}}}"
        );
        let perf_map = format!("0 7fffffffffffffff {MARKER}\n");
        let files =
            [("config.json", config.into()), ("perf.map", perf_map.into()), ("elf", elf()?)];
        for (name, content) in files {
            let path = secret.join(name);
            fs::write(&path, content)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            self.watch(&path)?;
        }
        Ok(())
    }

    /// Makes the baits in `DIRECTORY/bait`, where this user can rename them.
    pub(super) fn add_baits(&mut self, directory: &Path, uid: u32) -> Result<()> {
        let bait = directory.join("bait");
        make_directory(&bait, uid)?;
        // The device is /dev/null: to open it does no harm.
        let (fifo, device) = ((FileType::Fifo, 0), (FileType::CharacterDevice, makedev(1, 3)));
        for (name, (kind, number)) in [("fifo", fifo), ("device", device)] {
            let path = bait.join(name);
            let mode = Mode::from_raw_mode(0o666);
            mknodat(CWD, &path, kind, mode, number)
                .with_context(|| format!("{} cannot be made", path.display()))?;
            chown(&path, Some(uid), Some(uid))?;
            self.watch(&path)?;
        }
        Ok(())
    }

    fn watch(&mut self, path: &Path) -> Result<()> {
        let watch = add_watch(&self.inotify, path, WatchFlags::OPEN | WatchFlags::ACCESS)?;
        self.paths.insert(watch, path.display().to_string());
        Ok(())
    }

    /// The files that were opened. Each is named as it was made, and once.
    pub(super) fn opened(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut opened = Vec::new();
        while let Ok(event) = reader.next() {
            opened.extend(self.paths.get(&event.wd()).cloned());
        }
        opened.sort_unstable();
        opened.dedup();
        opened
    }
}

fn make_directory(path: &Path, uid: u32) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    Ok(chown(path, Some(uid), Some(uid))?)
}

/// A program that anybody may run, but with secret names of functions. Its build id is the same.
fn elf() -> Result<Vec<u8>> {
    let (program, functions) = PROGRAM;
    let mut bytes = fs::read(program).with_context(|| format!("there is no {program}"))?;
    for function in functions {
        let found = bytes.windows(function.len()).position(|window| window == function);
        let at = found.with_context(|| format!("{program} has no such function"))?;
        ensure!(function.len() == MARKER.len(), "the names differ in length");
        bytes[at..at + MARKER.len()].copy_from_slice(MARKER.as_bytes());
    }
    Ok(bytes)
}
