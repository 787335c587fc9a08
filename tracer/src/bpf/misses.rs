//! Counts of program runs that the kernel skipped. A record may be missing for each of them.
//!
//! The kernel skips a run if the same program runs on that CPU already (`recursion_misses`, since
//! 5.12; of kprobes since 6.7, if any program of a kprobe runs there). It skips the return of a
//! call if more calls are under way than a kretprobe has room for (`missed`, in the description of
//! the link since 6.17).

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{Ebpf, programs::ProgramFd};

use super::{load::Probes, plan::Planned};
use crate::host::procfs::file::ProcFile;

/// Where the kernel describes the descriptors of this process.
const DESCRIPTORS: &str = "/proc/self/fdinfo";

/// The descriptors of the attached programs, taken before their object is dropped.
pub(super) fn programs(ebpf: &Ebpf, plan: &[Planned]) -> Vec<(&'static str, ProgramFd)> {
    let program = |planned: &Planned| {
        let program = ebpf.program(planned.program)?.fd().ok()?.try_clone().ok()?;
        Some((planned.program, program))
    };
    plan.iter().filter_map(program).collect()
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
    pub(crate) fn misses(&self) -> BTreeMap<&'static str, u64> {
        let mut misses = BTreeMap::new();
        let mut names = BTreeMap::new();
        for (name, program) in &self.programs {
            if let Some(Description { program, skipped, .. }) = of_program(program) {
                names.extend(program.map(|number| (number, *name)));
                misses.insert(*name, skipped.unwrap_or_default());
            }
        }
        // aya does not show the links of kprobes, but the kernel lists all descriptors.
        for entry in fs::read_dir(DESCRIPTORS).into_iter().flatten().flatten() {
            if let Some(Description { program: Some(number), missed: Some(missed), .. }) =
                description(&entry.path())
                && let Some(&name) = names.get(&number)
            {
                *misses.entry(name).or_default() += missed;
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
    fn kernel_that_counts_no_misses_is_not_taken_for_one_without_misses() {
        assert_eq!(described("prog_id:\t48\nrun_cnt:\t0\n").skipped, None);
    }
}
