//! Counts of program runs that the kernel skipped. A record may be missing for each of them.
//!
//! The kernel skips a run if the same program runs on that CPU already (`recursion_misses`, since
//! 5.12; of kprobes since 6.7, if any program of a kprobe runs there). It skips the return of a
//! call if more calls are under way than a kretprobe has room for (`missed`, in the description of
//! the link since 6.17). Before, the kernel shows that count nowhere, or since 6.7 in
//! `bpf_link_info`, of which aya shows the ids alone. `kprobe_profile` of tracefs has only probes
//! that were made through tracefs.
//!
//! A pinned link holds its program, but the kernel gives a descriptor of that program only to
//! holders of CAP_SYS_ADMIN. Kprobes cannot be pinned.

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    Ebpf,
    programs::{
        ProgramFd, ProgramInfo,
        links::{FdLink, PinnedLink},
        loaded_programs,
    },
};

use super::{load::Probes, plan::Planned};
use crate::host::procfs::file::ProcFile;

/// Where the kernel describes the descriptors of this process.
const DESCRIPTORS: &str = "/proc/self/fdinfo";

/// Programs by name.
pub(super) type Programs = Vec<(String, ProgramFd)>;

/// The descriptors of the attached programs, taken before their object is dropped.
pub(super) fn programs(ebpf: &Ebpf, plan: &[Planned]) -> Programs {
    let program = |planned: &Planned| {
        let program = ebpf.program(planned.program)?.fd().ok()?.try_clone().ok()?;
        Some((planned.program.to_owned(), program))
    };
    plan.iter().filter_map(program).collect()
}

/// The programs of pinned links; none without CAP_SYS_ADMIN. Each pin has the name of its program.
/// The links are closed again: a link that is open stays attached when its pin is removed.
pub(super) fn pinned(links: &Path) -> Programs {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(links).into_iter().flatten().flatten() {
        let info = PinnedLink::from_pin(entry.path()).map(FdLink::from).and_then(|it| it.info());
        if let Ok(info) = info {
            names.insert(info.program_id(), entry.file_name().to_string_lossy().into_owned());
        }
    }
    let loaded = loaded_programs().flatten().map(|info| (info.id(), info));
    let program = |(name, info): (String, ProgramInfo)| Some((name, info.fd().ok()?));
    named(&names, loaded).into_iter().filter_map(program).collect()
}

/// The values of the ids that have a name.
fn named<T>(
    names: &BTreeMap<u32, String>,
    loaded: impl Iterator<Item = (u32, T)>,
) -> Vec<(String, T)> {
    loaded.filter_map(|(id, value)| Some((names.get(&id)?.clone(), value))).collect()
}

/// Skipped runs of one program. `None` if the kernel does not count them.
pub(super) fn skipped(program: &ProgramFd) -> Option<u64> {
    of_program(program)?.skipped
}

impl Probes {
    /// Whether the kernel counts skipped runs.
    pub(crate) fn counts_misses(&self) -> bool {
        self.programs.iter().any(|(_, program)| skipped(program).is_some())
    }

    /// The number of runs that the kernel skipped since each program was loaded. Programs without
    /// skipped runs are absent.
    pub(crate) fn misses(&self) -> BTreeMap<String, u64> {
        let mut misses = BTreeMap::<String, u64>::new();
        let mut names = BTreeMap::new();
        for (name, program) in &self.programs {
            if let Some(Description { program, skipped, .. }) = of_program(program) {
                names.extend(program.map(|number| (number, name)));
                misses.insert(name.clone(), skipped.unwrap_or_default());
            }
        }
        // aya does not show the links of kprobes, but the kernel lists all descriptors.
        for entry in fs::read_dir(DESCRIPTORS).into_iter().flatten().flatten() {
            if let Some(Description { program: Some(number), missed: Some(missed), .. }) =
                description(&entry.path())
                && let Some(&name) = names.get(&number)
            {
                *misses.entry(name.clone()).or_default() += missed;
            }
        }
        misses.retain(|_, count| *count > 0);
        misses
    }
}

fn of_program(program: &ProgramFd) -> Option<Description> {
    let number = program.as_fd().as_raw_fd().to_string();
    description(&Path::new(DESCRIPTORS).join(number))
}

/// The kernel's description of a descriptor of a program or of a link.
#[derive(Debug, Default, PartialEq, Eq)]
struct Description {
    /// Id of the program.
    program: Option<u32>,
    /// `recursion_misses` of a program.
    skipped: Option<u64>,
    /// `missed` of a link.
    missed: Option<u64>,
}

fn description(path: &Path) -> Option<Description> {
    let mut description = Description::default();
    let see = |line: &str| {
        description.see(line);
        ControlFlow::Continue(())
    };
    ProcFile::open(path).ok()?.lines(see).ok()?;
    Some(description)
}

impl Description {
    fn see(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim();
        match key {
            "prog_id" => self.program = value.parse().ok(),
            "recursion_misses" => self.skipped = value.parse().ok(),
            "missed" => self.missed = value.parse().ok(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Description {
        let mut description = Description::default();
        text.lines().for_each(|line| description.see(line));
        description
    }

    #[test]
    fn misses_are_read_from_the_description_of_a_program_and_of_a_link() {
        let program = "pos:\t0\nprog_type:\t26\nprog_jited:\t1\nmemlock:\t4096\nprog_id:\t48\n\
                       run_time_ns:\t0\nrun_cnt:\t0\nrecursion_misses:\t3\nverified_insns:\t686\n";
        let read = Description { program: Some(48), skipped: Some(3), missed: None };
        assert_eq!(described(program), read);
        let link = "link_type:\tkretprobe\nlink_id:\t7\nprog_tag:\tea6d41acdb2f\nprog_id:\t48\n\
                    name:\texit_mmap\noffset:\t0x0\nmissed:\t5\naddr:\t0xffffffff811\n";
        let read = Description { program: Some(48), skipped: None, missed: Some(5) };
        assert_eq!(described(link), read);
    }

    #[test]
    fn pinned_programs_are_found_by_the_ids_in_their_links() {
        let names = BTreeMap::from([(7, "exit_mmap".to_owned()), (9, "out_of_memory".to_owned())]);
        let loaded = [(3, "other"), (7, "seven"), (8, "other"), (9, "nine"), (11, "other")];
        let found = named(&names, loaded.into_iter());
        assert_eq!(found, [("exit_mmap".into(), "seven"), ("out_of_memory".into(), "nine")]);
    }

    #[test]
    fn folder_without_links_has_no_programs() {
        let folder = tempfile::tempdir().unwrap();
        assert!(pinned(folder.path()).is_empty() && pinned(Path::new("/no/such")).is_empty());
        // A file that is no link, and which is on no BPF file system.
        fs::write(folder.path().join("exit_mmap"), b"").unwrap();
        assert!(pinned(folder.path()).is_empty());
    }

    #[test]
    fn kernel_that_counts_no_misses_is_not_taken_for_one_without_misses() {
        assert_eq!(described("prog_id:\t48\nrun_cnt:\t0\n").skipped, None);
    }
}
