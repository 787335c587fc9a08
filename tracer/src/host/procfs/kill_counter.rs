//! The kernel's own count of OOM kills: `oom_kill` in /proc/vmstat.

use std::{io, ops::ControlFlow};

use super::file::ProcFile;
use crate::host::files::Root;

const FILE: &str = "/proc/vmstat";

#[derive(Debug)]
pub(crate) struct KillCounter {
    file: ProcFile,
}

impl KillCounter {
    /// Fails if the file is hidden or this kernel has no such counter (before 4.13, or without
    /// CONFIG_VM_EVENT_COUNTERS).
    pub(crate) fn open(root: &Root) -> io::Result<Self> {
        let mut counter = Self { file: ProcFile::open(&root.path(FILE))? };
        let no_such_counter = || io::Error::from(io::ErrorKind::NotFound);
        counter.read().map(|_| counter).ok_or_else(no_such_counter)
    }

    /// Kills since the boot.
    pub(crate) fn read(&mut self) -> Option<u64> {
        let mut kills = None;
        let result = self.file.lines(|line| match line.strip_prefix("oom_kill ") {
            Some(count) => {
                kills = count.parse().ok();
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        });
        result.ok().and(kills)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::KillCounter;
    use crate::host::files::Root;

    #[test]
    fn counter_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert!(KillCounter::open(&root).is_err());
        let file = folder.path().join("proc/vmstat");
        fs::create_dir(folder.path().join("proc")).unwrap();
        fs::write(&file, "nr_free_pages 1\noom_killer 9\n").unwrap();
        assert!(KillCounter::open(&root).is_err());
        fs::write(&file, "nr_free_pages 1\noom_kill 7\nnuma_pte_updates 0\n").unwrap();
        let mut counter = KillCounter::open(&root).unwrap();
        assert_eq!(counter.read(), Some(7));
        fs::write(&file, "oom_kill 18446744073709551615\n").unwrap();
        assert_eq!(counter.read(), Some(u64::MAX));
    }

    #[test]
    fn counter_of_this_host_is_readable() {
        assert!(KillCounter::open(&Root::default()).is_ok());
    }
}
