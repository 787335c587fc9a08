//! The data that a log contains about one invocation, read line by line.

use std::collections::BTreeMap;

use super::{
    kill::{self, Kill, Reaping},
    lines::{self, Cpu, Header, Summary, TraceFrame},
    memcg::{self, Counter, CounterKind},
    meminfo::MemInfo,
    record::{Record, Stamp},
    tasks::Table,
};

/// Frames, statistics and victims that are kept; more are ignored.
const MAX_FRAMES: usize = 128;
const MAX_ITEMS: usize = 512;
const MAX_KILLS: usize = 4096;
/// Bytes at which the kernel cuts a record of many lines, possibly within a line. The exact limit
/// has changed (`LOG_LINE_MAX`, `PRINTKRB_RECORD_MAX`).
const CUT: std::ops::RangeInclusive<usize> = 970..=1024;

#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// The time of its first line.
    pub(crate) stamp: Stamp,
    pub(crate) host: Option<String>,
    pub(crate) caller: Option<String>,
    pub(crate) header: Option<Header>,
    pub(crate) cpu: Option<Cpu>,
    pub(crate) stack: Vec<TraceFrame>,
    pub(crate) counters: BTreeMap<CounterKind, Counter>,
    /// Up to 4.20: the cgroup of the task, and the one whose limit was hit.
    pub(crate) limit_of: Option<(String, String)>,
    pub(crate) stat_path: Option<String>,
    pub(crate) stat: BTreeMap<String, u64>,
    pub(crate) memory: Option<MemInfo>,
    pub(crate) table: Option<Table>,
    pub(crate) summary: Option<Summary>,
    /// The summary was joined from several lines: its names cannot be trusted.
    pub(crate) summary_is_joined: bool,
    /// Up to 5.0: the message before the kill, and the thread that was chosen.
    pub(crate) request: Option<(&'static str, i32)>,
    pub(crate) exiting: Option<(&'static str, i32)>,
    pub(crate) found_no_victim: bool,
    /// The memcg with memory.oom.group whose processes are all killed.
    pub(crate) group: Option<String>,
    pub(crate) kills: Vec<(Kill, Option<u64>)>,
    pub(crate) reaped: Vec<(Reaping, Option<u64>)>,
    /// Fields whose lines came twice, or could belong to another invocation.
    pub(crate) mixed: Vec<&'static str>,
    /// It began before the end of another one was read: lines may belong to either.
    pub(crate) is_torn: bool,
    state: ParserState,
    /// The time of the group's line, or of the latest kill after it.
    group_ns: Option<u64>,
    /// The latest statistic, and the bytes of its record up to and with it.
    last_item: Option<(String, Stamp, usize)>,
}

/// The list that the next line may continue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ParserState {
    #[default]
    Idle,
    Trace,
    TraceEnded,
    Stat,
    Memory,
    Tasks(Stamp),
}

impl Block {
    pub(crate) fn begin(record: &Record) -> Self {
        Self {
            stamp: record.stamp.clone(),
            host: record.host.clone(),
            caller: record.caller.clone(),
            ..Self::default()
        }
    }

    /// Whether the line of the choice was read, which ends an invocation.
    pub(crate) fn is_ended(&self) -> bool {
        self.summary.is_some() || self.is_complete()
    }

    /// Whether all was read, except for further members of a group.
    pub(crate) fn is_complete(&self) -> bool {
        !self.kills.is_empty() || self.found_no_victim || self.exiting.is_some()
    }

    /// The process that was chosen, by another line than that of the kill.
    pub(crate) fn chosen(&self) -> Option<i32> {
        let summary = self.summary.as_ref().map(|summary| summary.pid);
        summary.or_else(|| Some(self.process_of(self.request?.1)))
    }

    /// The process of a thread; the thread itself if the table does not have it.
    pub(crate) fn process_of(&self, tid: i32) -> i32 {
        let row = self.table.as_ref().and_then(|table| table.find(tid));
        row.map_or(tid, |row| row.tgid)
    }

    /// Whether a kill belongs to this invocation.
    pub(crate) fn is_about(&self, kill: &Kill, log_ns: Option<u64>) -> bool {
        if self.kills.iter().any(|(known, _)| known.tid == kill.tid && known.comm == kill.comm) {
            // The first member of a group is printed twice.
            return self.group.is_some() && self.is_soon(log_ns);
        }
        let listed = self.table.as_ref().is_none_or(|table| table.find(kill.tid).is_some());
        if self.group.is_some() {
            return listed && self.is_soon(log_ns) && self.kills.len() < MAX_KILLS;
        }
        if self.is_complete() || self.is_torn {
            return false;
        }
        match &self.summary {
            Some(summary) => self.process_of(kill.tid) == summary.pid,
            // A child with memory of its own may be killed instead.
            None if self.request.is_some() => true,
            // A path can be too long for the summary.
            None => self.caller.is_some() || (self.table.is_some() && listed),
        }
    }

    /// The members of a group are killed within a second of each other.
    fn is_soon(&self, log_ns: Option<u64>) -> bool {
        match (self.group_ns, log_ns) {
            (Some(last), Some(now)) => now.saturating_sub(last) < 1_000_000_000,
            _ => true,
        }
    }

    pub(crate) fn kill(&mut self, kill: Kill, log_ns: Option<u64>) {
        self.state = ParserState::Idle;
        if self.group.is_some() {
            self.group_ns = log_ns.or(self.group_ns);
        }
        if !self.kills.iter().any(|(known, _)| known.tid == kill.tid) {
            self.kills.push((kill, log_ns));
        }
    }

    /// Parses a line of the invocation. A line that continues a record begins no list.
    pub(crate) fn line(&mut self, line: &str, record: &Record) {
        if self.is_ended() {
            self.after_choice(line, record);
        } else if !self.continues(line, record) && !record.is_rest {
            self.state = self.begins(line, record);
        }
    }

    /// Parses a line that follows the choice.
    fn after_choice(&mut self, line: &str, record: &Record) {
        if record.is_rest {
            return;
        }
        if let Some(path) = lines::group(line) {
            self.group_ns = record.stamp.log_ns;
            set_once(&mut self.group, path, &mut self.mixed, "oom_memcg.oom_group");
        } else if let Some(exiting) = kill::exiting(line).filter(|_| self.kills.is_empty()) {
            self.exiting.get_or_insert(exiting);
        }
    }

    /// Whether the lines so far show that the OOM killer was invoked.
    pub(crate) fn is_invocation(&self) -> bool {
        self.header.is_some() || self.request.is_some() || self.is_ended()
    }

    /// Parses a line of the list that has begun; false if it is not part of that list.
    fn continues(&mut self, line: &str, record: &Record) -> bool {
        match &self.state {
            ParserState::Idle | ParserState::TraceEnded => false,
            ParserState::Trace => match lines::frame(line) {
                Some(frame) => {
                    if self.stack.len() < MAX_FRAMES {
                        self.stack.push(frame);
                    }
                    true
                }
                None => {
                    matches!(line.trim(), "<TASK>" | "<IRQ>" | "</IRQ>")
                        || self.is_fault_registers(line)
                }
            },
            ParserState::Stat => self.item_line(line, record),
            ParserState::Memory => self.memory.as_mut().is_some_and(|memory| memory.line(line)),
            ParserState::Tasks(stamp) => {
                let is_same = record.is_rest || *stamp == record.stamp;
                let Some(table) = &mut self.table else {
                    return false;
                };
                if !record.is_rest && table.row(line) {
                    self.state = ParserState::Tasks(record.stamp.clone());
                    return true;
                }
                let is_known = lines::summary(line).is_some()
                    || kill::request(line).is_some()
                    || kill::no_victim(line);
                !is_known && is_same && table.continue_name(line)
            }
        }
    }

    /// Major and minor version of the kernel.
    pub(crate) fn release(&self) -> Option<(u32, u32)> {
        release(self.cpu.as_ref()?.release.as_ref()?)
    }

    /// The statistics, and whether the last one was left out because its number may have lost
    /// digits: before 6.4 (5b42360c73b0) all of them are one record.
    pub(crate) fn whole_stat(&self) -> (BTreeMap<String, u64>, bool) {
        let mut stat = self.stat.clone();
        let is_one_record = self.release().is_none_or(|release| release < (6, 4));
        let is_cut = |bytes| is_one_record && CUT.contains(bytes);
        let last = self.last_item.as_ref().filter(|(_, _, bytes)| is_cut(bytes));
        if let Some((name, ..)) = last {
            stat.remove(name);
        }
        (stat, last.is_some())
    }

    fn item_line(&mut self, line: &str, record: &Record) -> bool {
        let Some((name, value)) = memcg::item(line) else {
            return false;
        };
        let last = self.last_item.take().filter(|(_, stamp, _)| *stamp == record.stamp);
        let bytes = last.map_or(0, |(_, _, bytes)| bytes + 1) + line.len();
        self.last_item = Some((name.to_owned(), record.stamp.clone(), bytes));
        self.item(name, value);
        true
    }

    fn item(&mut self, name: &str, value: u64) {
        if self.stat.get(name).is_some_and(|known| *known != value) {
            self.mixed.push("oom_memcg.stat");
        } else if self.stat.len() < MAX_ITEMS {
            self.stat.insert(name.to_owned(), value);
        }
    }

    /// Registers in the middle of a trace: the kernel itself touched the memory, in a system call.
    /// Its callers follow.
    fn is_fault_registers(&self, line: &str) -> bool {
        let of_fault = self.stack.last().is_some_and(|frame| frame.symbol.ends_with("page_fault"));
        of_fault && lines::is_kernel_registers(line)
    }

    /// Parses a line that continues no list; returns the list that it begins.
    fn begins(&mut self, line: &str, record: &Record) -> ParserState {
        if let Some(cpu) = lines::cpu(line) {
            set_once(&mut self.cpu, cpu, &mut self.mixed, "trigger.pid");
        } else if line == "Call Trace:" || line == "Call trace:" {
            if !self.stack.is_empty() {
                self.mixed.push("trigger.kernel_stack");
            }
            return ParserState::Trace;
        } else if let Some((kind, counter)) = memcg::counter(line) {
            if self.counters.insert(kind, counter).is_some_and(|known| known != counter) {
                self.mixed.push("oom_memcg.usage_bytes");
            }
        } else if let Some(paths) = lines::limit_of(line) {
            set_once(&mut self.limit_of, paths, &mut self.mixed, "oom_memcg.path");
        } else if let Some((path, items)) = memcg::header(line) {
            return self.stat_header(path, &items);
        } else if line == "Mem-Info:" {
            self.memory.get_or_insert_default();
            return ParserState::Memory;
        } else if let Some(table) = Table::header(line) {
            set_once(&mut self.table, table, &mut self.mixed, "candidates");
            return ParserState::Tasks(record.stamp.clone());
        } else if let Some(summary) = lines::summary(line) {
            set_once(&mut self.summary, summary, &mut self.mixed, "constraint");
        } else if let Some(request) = kill::request(line) {
            set_once(&mut self.request, request, &mut self.mixed, "victims");
        } else if let Some(exiting) = kill::exiting(line) {
            self.exiting.get_or_insert(exiting);
        } else if kill::no_victim(line) {
            self.found_no_victim = true;
        } else if self.memory.as_mut().is_some_and(|memory| memory.line(line)) {
            // Lines that are not needed stand between them.
            return ParserState::Memory;
        } else {
            return self.after_foreign(line);
        }
        ParserState::Idle
    }

    /// A line that was not recognized ends a trace, but no other list: another CPU may have written
    /// it.
    fn after_foreign(&mut self, line: &str) -> ParserState {
        if lines::frame(line).is_some() {
            self.mixed.push("trigger.kernel_stack");
        }
        match std::mem::take(&mut self.state) {
            ParserState::Trace => ParserState::TraceEnded,
            state => state,
        }
    }

    /// Up to 5.1 the kernel prints such a line for every memcg below the one at its limit, too.
    fn stat_header(&mut self, path: String, items: &[(String, u64)]) -> ParserState {
        if self.limit_of.as_ref().is_some_and(|(_, limit)| *limit != path) {
            return ParserState::Idle;
        }
        set_once(&mut self.stat_path, path, &mut self.mixed, "oom_memcg.path");
        for (name, value) in items {
            self.item(name, *value);
        }
        if items.is_empty() { ParserState::Stat } else { ParserState::Idle }
    }
}

/// `6.12.117+deb13`: 6 and 12.
pub(crate) fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '+']).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Sets a value that occurs once in an invocation. If it occurs again and differs, lines are mixed.
fn set_once<T: PartialEq>(
    slot: &mut Option<T>,
    value: T,
    mixed: &mut Vec<&'static str>,
    field: &'static str,
) {
    match slot {
        Some(known) if *known != value => mixed.push(field),
        Some(_) => {}
        None => *slot = Some(value),
    }
}
