//! The way to a process's perf map, taken while the process is there: names are asked for when it is
//! gone, and the map is written while it runs.

use std::{
    fs::{self, File},
    iter,
    sync::Arc,
};

use super::{Hint, Process, Root, Writer, mapped::perf_map_left};
use crate::host::procfs::process;

/// A child of a child that goes by the code of a third: more than that is not looked at.
const MAX_FORKS: usize = 3;

/// What is kept of a process that grows. Its own map comes first; behind it those of whom it was forked
/// from: a runtime that goes on after fork(2) does not write again what it had made before.
#[derive(Debug)]
pub(crate) struct Left {
    /// Which it is.
    pub process: Process,
    maps: Vec<Arc<Map>>,
}

/// The perf map of one process.
#[derive(Debug)]
struct Map {
    process: Process,
    /// Where it was there already.
    file: Option<File>,
    /// Else how it is told from another's, where it is the host's to see.
    hint: Hint,
}

impl Left {
    /// Of the process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let own = Memory::of(pid)?;
        let forked = iter::successors(Some(own), |child| {
            Memory::of(child.parent).filter(|parent| parent.is_same_program(child))
        });
        let maps: Vec<_> = forked.take(1 + MAX_FORKS).map(|of| Arc::new(of.map())).collect();
        let process = maps.first()?.process;
        // Asked last: the id may be used again at any moment.
        process::is_same(process.pid, process.started_ns).then_some(Self { process, maps })
    }

    /// As it is now, and as it was: who it was forked from may have gone meanwhile.
    #[must_use]
    pub(crate) fn since(mut self, before: &Self) -> Self {
        if self.process == before.process {
            let own = self.maps.len();
            self.maps.extend(before.maps.iter().skip(own).map(Arc::clone));
        }
        self
    }

    /// Those that are there, the own one first.
    pub(super) fn perf_maps(&self) -> impl Iterator<Item = File> {
        self.maps.iter().filter_map(|map| map.open())
    }

    /// Only those of whom it was forked from.
    pub(super) fn perf_maps_before(&self) -> impl Iterator<Item = File> {
        self.maps.iter().skip(1).filter_map(|map| map.open())
    }
}

impl Map {
    fn open(&self) -> Option<File> {
        match &self.file {
            Some(file) => file.try_clone().ok(),
            None => perf_map_left(self.process, &self.hint),
        }
    }
}

/// What /proc tells of a process and the program in its memory.
#[derive(Clone, Copy, Debug)]
struct Memory {
    process: Process,
    parent: u32,
    writer: Option<Writer>,
    /// Where its code and its stack begin; 0 where it is not told.
    begins: [u64; 2],
}

impl Memory {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |n| process::field(&stat, n);
        Some(Self {
            process: Process::now(pid),
            parent: u32::try_from(number(4)?).ok()?,
            writer: writer(&status),
            begins: [number(26)?, number(28)?],
        })
    }

    /// exec(2) lays out memory anew, and says of it what only its owner may know.
    fn is_same_program(&self, child: &Self) -> bool {
        self.begins == child.begins && !self.begins.contains(&0)
    }

    /// The root it is looked for below is not kept: that would keep a container's file system in use, of
    /// processes without such a map too.
    fn map(self) -> Map {
        let Self { process, writer, .. } = self;
        let hint = |root| Hint { root, writer, ..Hint::default() };
        let file = perf_map_left(process, &hint(Root::of(process)));
        Map { process, file, hint: hint(None) }
    }
}

/// The user that its files are of, and its process id in its own pid namespace.
fn writer(status: &str) -> Option<Writer> {
    let last = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next_back()?.parse().ok()
    };
    Some(Writer { uid: last("Uid:")?, pid: last("NSpid:")? })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A shell, and the process id of another that it was forked into: both until the first's stdin ends.
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

    fn contents(left: &Left) -> Vec<String> {
        let read = |file| std::io::read_to_string(file).unwrap();
        left.perf_maps().map(read).collect()
    }

    #[test]
    fn a_perf_map_is_found_when_its_process_is_gone_also_if_it_was_written_later() {
        let (child, _) = shells();
        let pid = child.id();
        let early = Left::of(pid).unwrap();
        fs::write(path(pid), "10 10 made\n").unwrap();
        let late = Left::of(pid).unwrap();
        assert_eq!(early.process, late.process);
        end(child);
        let found = [contents(&early), contents(&late)];
        fs::remove_file(path(pid)).unwrap();
        assert_eq!(found, [["10 10 made\n"], ["10 10 made\n"]]);
        assert!(contents(&early).is_empty());
        assert!(Left::of(pid).is_none());
    }

    /// The shell's memory is not laid out as that of this process, which started it.
    #[test]
    fn who_was_forked_goes_by_the_maps_of_both_and_who_executed_by_its_own() {
        let (child, forked) = shells();
        let own = [std::process::id(), child.id(), forked];
        for pid in own {
            fs::write(path(pid), pid.to_string()).unwrap();
        }
        let left = |pid| Left::of(pid).unwrap();
        let mut orphan = left(forked);
        orphan.maps.truncate(1);
        let found = [left(forked), left(child.id()), orphan.since(&left(forked))];
        let found = found.map(|left| contents(&left));
        let expected = [vec![forked, child.id()], vec![child.id()], vec![forked, child.id()]];
        end(child);
        for pid in own {
            fs::remove_file(path(pid)).unwrap();
        }
        let expected = expected.map(|pids| pids.iter().map(u32::to_string).collect::<Vec<_>>());
        assert_eq!(found, expected);
    }

    #[test]
    fn the_writer_is_the_user_of_files_and_the_innermost_process_id() {
        let status = "Name:\tapp\nUid:\t0\t0\t0\t1000\nNSpid:\t4711\t7\n";
        assert_eq!(writer(status), Some(Writer { uid: 1000, pid: 7 }));
        assert_eq!(writer("Name:\tapp\nUid:\t0\t0\t0\t0\n"), None);
    }
}
