//! A real OOM kill on this host, in a small temporary cgroup.
//!
//! Needs root, a memory controller and a readable /dev/kmsg.

#![allow(dead_code, reason = "each test binary has its own part of it")]

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::geteuid;

pub(crate) const LIMIT: u64 = 16 << 20;
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

/// A cgroup with a limit; removed when dropped.
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// The path as the kernel prints it.
    pub(crate) path: String,
}

impl Cgroup {
    /// Returns `None` and prints why if this host does not allow the test.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("not run: {why}");
            None
        };
        if !geteuid().is_root() {
            return skipped("root is needed");
        }
        if fs::File::open("/dev/kmsg").is_err() {
            return skipped("/dev/kmsg cannot be read");
        }
        let (mount, files) = if Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
            let files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
            ("/sys/fs/cgroup/memory", files)
        } else if fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control")
            .is_ok_and(|controllers| controllers.split_whitespace().any(|it| it == "memory"))
        {
            ("/sys/fs/cgroup", ["memory.max", "memory.swap.max"])
        } else {
            return skipped("there is no memory controller");
        };
        let name = format!("oomwhy-test-{}-{name}", std::process::id());
        let cgroup = Self { directory: Path::new(mount).join(&name), path: format!("/{name}") };
        fs::create_dir(&cgroup.directory).unwrap();
        let [limit, swap] = files.map(|file| cgroup.directory.join(file));
        fs::write(&limit, LIMIT.to_string()).unwrap();
        if swap.exists() {
            let none = if swap.ends_with("memory.swap.max") { 0 } else { LIMIT };
            fs::write(&swap, none.to_string()).unwrap();
        }
        Some(cgroup)
    }

    /// Starts a process in this cgroup that allocates until it is killed. Returns its pid.
    pub(crate) fn kill_one(&self) -> u32 {
        let procs = self.directory.join("cgroup.procs");
        // If the shell cannot join the cgroup, nothing allocates.
        let script = "echo $$ > \"$0\" && exec tail /dev/zero";
        let mut hog = Command::new("sh")
            .args(["-c", script])
            .arg(procs)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = hog.id();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = hog.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > TIMEOUT {
                hog.kill().unwrap();
                panic!("the kernel did not kill it");
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.signal(), Some(9), "{status:?}");
        pid
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process may still be exiting.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        eprintln!("cannot remove {}", self.directory.display());
    }
}
