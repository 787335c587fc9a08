//! Finds the perf maps of a process while it runs, because names are asked for when it is gone. A
//! map may be written after that.

use std::{iter, sync::Arc};

use super::{PerfMapWriter, Process, ProcessHint, ProcessRoot, mapped::perf_map};
use crate::host::{opener::OpenedFile, procfs::process};

/// Ancestors whose perf maps are used. A longer chain of forks is cut.
const MAX_FORKS: usize = 3;

/// The perf maps of a process: its own, then those of the processes it was forked from. After
/// fork(2), a runtime does not write again about code that it had generated before.
#[derive(Debug)]
pub(crate) struct PerfMapSources {
    pub process: Process,
    /// The device of its root directory.
    pub(super) device: Option<u64>,
    maps: Vec<Arc<Map>>,
}

/// The perf map of one process.
#[derive(Debug)]
struct Map {
    process: Process,
    /// The open map, if it existed already.
    file: Option<OpenedFile>,
    /// How to recognize the map in the host's file system, if it did not exist.
    hint: ProcessHint,
}

impl PerfMapSources {
    /// The sources of the process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let own = ProcessMemory::of(pid)?;
        let forked = iter::successors(Some(own), |child| {
            ProcessMemory::of(child.parent).filter(|parent| parent.is_same_program(child))
        });
        let maps: Vec<_> = forked.take(1 + MAX_FORKS).map(|of| Arc::new(of.map())).collect();
        let process = maps.first()?.process;
        let device = ProcessRoot::now(pid).and_then(|root| root.device());
        // Checked last: the id may be reused at any moment.
        process::is_same(process.pid, process.started_ns).then_some(Self { process, device, maps })
    }

    /// Adds the maps of ancestors that were known before: those may have exited meanwhile.
    #[must_use]
    pub(crate) fn with_ancestors_of(mut self, before: &Self) -> Self {
        if self.process == before.process {
            let own = self.maps.len();
            self.maps.extend(before.maps.iter().skip(own).map(Arc::clone));
        }
        self
    }

    /// The maps that exist, the process' own first.
    pub(super) fn perf_maps(&self) -> impl Iterator<Item = OpenedFile> {
        self.maps.iter().filter_map(|map| map.open())
    }
}

impl Map {
    fn open(&self) -> Option<OpenedFile> {
        match &self.file {
            Some(file) => file.try_clone(),
            None => perf_map(self.process, &self.hint),
        }
    }
}

/// The data in /proc about a process and the program in its memory.
#[derive(Clone, Copy, Debug)]
struct ProcessMemory {
    process: Process,
    parent: u32,
    perf_map_writer: Option<PerfMapWriter>,
    /// Addresses where its code and its stack begin. 0 where /proc hides them.
    begins: [u64; 2],
}

impl ProcessMemory {
    fn of(pid: u32) -> Option<Self> {
        let stat = process::stat(pid)?;
        let status = process::status(pid)?;
        let number = |n| process::field(&stat, n);
        Some(Self {
            process: Process::now(pid),
            parent: u32::try_from(number(4)?).ok()?,
            perf_map_writer: writer(&status),
            begins: [number(26)?, number(28)?],
        })
    }

    /// Whether the child still runs the program that it was forked with: exec(2) gives it other
    /// addresses.
    fn is_same_program(&self, child: &Self) -> bool {
        self.begins == child.begins && !self.begins.contains(&0)
    }

    /// Does not keep the process' root: that would keep the file systems of containers mounted,
    /// also for processes without a perf map.
    fn map(self) -> Map {
        let Self { process, perf_map_writer, .. } = self;
        let hint = |root| ProcessHint { root, perf_map_writer, ..ProcessHint::default() };
        let file = perf_map(process, &hint(ProcessRoot::of(process)));
        Map { process, file, hint: hint(None) }
    }
}

/// From /proc/PID/status: the uid for files (the fourth), and the innermost pid.
pub(super) fn writer(status: &str) -> Option<PerfMapWriter> {
    let last = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next_back()?.parse().ok()
    };
    Some(PerfMapWriter { uid: last("Uid:")?, pid: last("NSpid:")? })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::host::opener::attacks;

    /// A shell, and the process id of another that it forked. Both run until stdin of the first
    /// ends.
    fn shells() -> (Child, u32) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 3<&0; (read end <&3) & echo $!; read end"]);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    fn path(pid: u32) -> String {
        format!("/tmp/perf-{pid}.map")
    }

    fn contents(sources: &PerfMapSources) -> Vec<String> {
        let read = |opened: OpenedFile| std::io::read_to_string(opened.file).unwrap();
        sources.perf_maps().map(read).collect()
    }

    #[test]
    fn perf_map_written_later_is_found_after_its_process_exits() {
        let (child, _) = shells();
        let pid = child.id();
        let early = PerfMapSources::of(pid).unwrap();
        fs::write(path(pid), "10 10 made\n").unwrap();
        let late = PerfMapSources::of(pid).unwrap();
        assert_eq!(early.process, late.process);
        end(child);
        let found = [contents(&early), contents(&late)];
        fs::remove_file(path(pid)).unwrap();
        assert_eq!(found, [["10 10 made\n"], ["10 10 made\n"]]);
        assert!(contents(&early).is_empty());
        assert!(PerfMapSources::of(pid).is_none());
    }

    #[test]
    fn perf_map_of_another_user_is_not_used_while_the_process_lives() {
        let (child, _) = shells();
        let pid = child.id();
        fs::write(path(pid), "10 10 made\n").unwrap();
        let own = contents(&PerfMapSources::of(pid).unwrap());
        let is_given = attacks::give_away(path(pid).as_ref());
        let others = contents(&PerfMapSources::of(pid).unwrap());
        fs::remove_file(path(pid)).unwrap();
        let mut refused = true;
        attacks::run_each("perf map", path(pid).as_ref(), || {
            refused &= contents(&PerfMapSources::of(pid).unwrap()).is_empty();
            refused
        });
        end(child);
        assert_eq!(own, ["10 10 made\n"]);
        assert!(!is_given || others.is_empty());
    }

    /// The shell has executed another program than this test, which started it.
    #[test]
    fn forked_process_has_maps_of_both_and_executed_process_only_its_own() {
        let (child, forked) = shells();
        let own = [std::process::id(), child.id(), forked];
        for pid in own {
            fs::write(path(pid), pid.to_string()).unwrap();
        }
        let sources = |pid| PerfMapSources::of(pid).unwrap();
        let mut orphan = sources(forked);
        orphan.maps.truncate(1);
        let all =
            [sources(forked), sources(child.id()), orphan.with_ancestors_of(&sources(forked))];
        let found = all.map(|sources| contents(&sources));
        let pids = [vec![forked, child.id()], vec![child.id()], vec![forked, child.id()]];
        end(child);
        for pid in own {
            fs::remove_file(path(pid)).unwrap();
        }
        let expected = pids.map(|pids| pids.iter().map(u32::to_string).collect::<Vec<_>>());
        assert_eq!(found, expected);
    }

    #[test]
    fn writer_has_the_file_uid_and_the_innermost_pid() {
        let status = "Name:\tapp\nUid:\t0\t0\t0\t1000\nNSpid:\t4711\t7\n";
        assert_eq!(writer(status), Some(PerfMapWriter { uid: 1000, pid: 7 }));
        assert_eq!(writer("Name:\tapp\nUid:\t0\t0\t0\t0\n"), None);
    }
}
