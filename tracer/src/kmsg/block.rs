//! What one log says of one invocation, line by line.

use std::collections::BTreeMap;

use super::{
    kill::{self, Kill, Reaping},
    lines::{self, Cpu, Header, Summary, TraceFrame},
    memcg::{self, Counter, Kind},
    meminfo::MemInfo,
    record::{Record, Stamp},
    tasks::Table,
};

/// Frames, statistics and victims that are kept.
const FRAMES: usize = 128;
const ITEMS: usize = 512;
const KILLS: usize = 4096;
/// A record of many lines is cut in the midst of one where it is as long as this; how long exactly
/// has changed (`LOG_LINE_MAX`, `PRINTKRB_RECORD_MAX`).
const CUT: std::ops::RangeInclusive<usize> = 970..=1024;

/// An invocation, as far as the log has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// When its first line was written.
    pub(super) stamp: Stamp,
    pub(super) host: Option<String>,
    pub(super) caller: Option<String>,
    pub(super) header: Option<Header>,
    pub(super) cpu: Option<Cpu>,
    pub(super) stack: Vec<TraceFrame>,
    pub(super) counters: BTreeMap<Kind, Counter>,
    /// Up to 4.20: where the task lived, whose limit it was.
    pub(super) limit_of: Option<(String, String)>,
    pub(super) stat_path: Option<String>,
    pub(super) stat: BTreeMap<String, u64>,
    pub(super) memory: Option<MemInfo>,
    pub(super) table: Option<Table>,
    pub(super) summary: Option<Summary>,
    /// The summary was put together from two lines: its names cannot be trusted.
    pub(super) summary_is_joined: bool,
    /// Up to 5.0: what it says before it kills, and who was chosen.
    pub(super) request: Option<(&'static str, i32)>,
    pub(super) exiting: Option<(&'static str, i32)>,
    pub(super) found_nobody: bool,
    /// The memcg that dies as a whole.
    pub(super) group: Option<String>,
    pub(super) kills: Vec<(Kill, Option<u64>)>,
    pub(super) reaped: Vec<(Reaping, Option<u64>)>,
    /// Parts that came twice, or could be another invocation's.
    pub(super) mixed: Vec<&'static str>,
    /// It began before the end of another one was read: lines may be either's.
    pub(super) is_torn: bool,
    place: Place,
    group_ns: Option<u64>,
    /// The latest statistic, and the bytes that were written in one record up to it.
    last_item: Option<(String, Stamp, usize)>,
}

/// What the next line may go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Anywhere,
    Trace,
    TraceIsOver,
    Stat,
    Memory,
    Tasks(Stamp),
}

impl Block {
    /// One that begins with this record.
    pub(super) fn begin(record: &Record) -> Self {
        Self {
            stamp: record.stamp.clone(),
            host: record.host.clone(),
            caller: record.caller.clone(),
            ..Self::default()
        }
    }

    /// Whether the end of the invocation was read.
    pub(super) fn is_ended(&self) -> bool {
        self.summary.is_some() || self.is_complete()
    }

    /// Whether all was read, but for members of a group.
    pub(super) fn is_complete(&self) -> bool {
        !self.kills.is_empty() || self.found_nobody || self.exiting.is_some()
    }

    /// Who is to die, by another line than that of the kill; process id.
    pub(super) fn chosen(&self) -> Option<i32> {
        let summary = self.summary.as_ref().map(|summary| summary.pid);
        summary.or_else(|| Some(self.process_of(self.request?.1)))
    }

    /// The process of a thread, where the table tells.
    pub(super) fn process_of(&self, tid: i32) -> i32 {
        let row = self.table.as_ref().and_then(|table| table.find(tid));
        row.map_or(tid, |row| row.tgid)
    }

    /// Whether this kill is one of this invocation.
    pub(super) fn is_about(&self, kill: &Kill, log_ns: Option<u64>) -> bool {
        if self.kills.iter().any(|(known, _)| known.tid == kill.tid && known.comm == kill.comm) {
            // The first member of a group dies twice.
            return self.group.is_some() && self.is_soon(log_ns);
        }
        let listed = self.table.as_ref().is_none_or(|table| table.find(kill.tid).is_some());
        if self.group.is_some() {
            return listed && self.is_soon(log_ns) && self.kills.len() < KILLS;
        }
        if self.is_complete() || self.is_torn {
            return false;
        }
        match &self.summary {
            Some(summary) => self.process_of(kill.tid) == summary.pid,
            // A child may be sacrificed, which has memory of its own.
            None if self.request.is_some() => true,
            // A path can be too long for the summary.
            None => self.caller.is_some() || (self.table.is_some() && listed),
        }
    }

    /// A group dies at once.
    fn is_soon(&self, log_ns: Option<u64>) -> bool {
        match (self.group_ns, log_ns) {
            (Some(group), Some(now)) => now.saturating_sub(group) < 1_000_000_000,
            _ => true,
        }
    }

    /// Notes a kill.
    pub(super) fn kill(&mut self, kill: Kill, log_ns: Option<u64>) {
        self.place = Place::Anywhere;
        if !self.kills.iter().any(|(known, _)| known.tid == kill.tid) {
            self.kills.push((kill, log_ns));
        }
    }

    /// Takes a line of the invocation. A line that goes on with a record begins nothing.
    pub(super) fn line(&mut self, line: &str, record: &Record) {
        if self.is_ended() {
            self.last_words(line, record);
        } else if !self.goes_on(line, record) && !record.is_rest {
            self.place = self.begins(line, record);
        }
    }

    /// What can come once the choice was told.
    fn last_words(&mut self, line: &str, record: &Record) {
        if record.is_rest {
            return;
        }
        if let Some(path) = lines::group(line) {
            self.group_ns = record.stamp.log_ns;
            once(&mut self.group, path, &mut self.mixed, "oom_memcg.oom_group");
        } else if let Some(exiting) = kill::exiting(line).filter(|_| self.kills.is_empty()) {
            self.exiting.get_or_insert(exiting);
        }
    }

    /// Whether anybody invoked the OOM killer, or died by it, as far as was read.
    pub(super) fn is_invocation(&self) -> bool {
        self.header.is_some() || self.request.is_some() || self.is_ended()
    }

    /// A line of a list that has begun.
    fn goes_on(&mut self, line: &str, record: &Record) -> bool {
        match &self.place {
            Place::Anywhere | Place::TraceIsOver => false,
            Place::Trace => match lines::frame(line) {
                Some(frame) => {
                    if self.stack.len() < FRAMES {
                        self.stack.push(frame);
                    }
                    true
                }
                None => {
                    matches!(line.trim(), "<TASK>" | "<IRQ>" | "</IRQ>") || self.is_of_fault(line)
                }
            },
            Place::Stat => self.item_line(line, record),
            Place::Memory => self.memory.as_mut().is_some_and(|memory| memory.line(line)),
            Place::Tasks(stamp) => {
                let is_same = record.is_rest || *stamp == record.stamp;
                let Some(table) = &mut self.table else {
                    return false;
                };
                if !record.is_rest && table.row(line) {
                    self.place = Place::Tasks(record.stamp.clone());
                    return true;
                }
                let is_known = lines::summary(line).is_some()
                    || kill::request(line).is_some()
                    || kill::nobody(line);
                !is_known && is_same && table.continue_name(line)
            }
        }
    }

    /// The kernel's version, as far as this log has it.
    pub(super) fn release(&self) -> Option<(u32, u32)> {
        release(self.cpu.as_ref()?.release.as_ref()?)
    }

    /// The statistics without the last one, if its number may have lost digits: before 6.4
    /// (5b42360c73b0) they are one record.
    pub(super) fn whole_stat(&self) -> (BTreeMap<String, u64>, bool) {
        let mut stat = self.stat.clone();
        let is_one_record = self.release().is_none_or(|release| release < (6, 4));
        let cut = self.last_item.as_ref();
        let cut = cut.filter(|(_, _, bytes)| is_one_record && CUT.contains(bytes));
        if let Some((name, ..)) = cut {
            stat.remove(name);
        }
        (stat, cut.is_some())
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
        } else if self.stat.len() < ITEMS {
            self.stat.insert(name.to_owned(), value);
        }
    }

    /// Registers in the middle of a trace: the kernel itself touched the memory, in a system call,
    /// and what called it comes behind.
    fn is_of_fault(&self, line: &str) -> bool {
        let of_fault = self.stack.last().is_some_and(|frame| frame.symbol.ends_with("page_fault"));
        of_fault && lines::is_kernel_registers(line)
    }

    /// A line of its own; where the next one may go on.
    fn begins(&mut self, line: &str, record: &Record) -> Place {
        if let Some(cpu) = lines::cpu(line) {
            once(&mut self.cpu, cpu, &mut self.mixed, "trigger.pid");
        } else if line == "Call Trace:" || line == "Call trace:" {
            if !self.stack.is_empty() {
                self.mixed.push("trigger.kernel_stack");
            }
            return Place::Trace;
        } else if let Some((kind, counter)) = memcg::counter(line) {
            if self.counters.insert(kind, counter).is_some_and(|known| known != counter) {
                self.mixed.push("oom_memcg.usage_bytes");
            }
        } else if let Some(paths) = lines::limit_of(line) {
            once(&mut self.limit_of, paths, &mut self.mixed, "oom_memcg.path");
        } else if let Some((path, items)) = memcg::header(line) {
            return self.stat_header(path, &items);
        } else if line == "Mem-Info:" {
            self.memory.get_or_insert_default();
            return Place::Memory;
        } else if let Some(table) = Table::header(line) {
            once(&mut self.table, table, &mut self.mixed, "candidates");
            return Place::Tasks(record.stamp.clone());
        } else if let Some(summary) = lines::summary(line) {
            once(&mut self.summary, summary, &mut self.mixed, "constraint");
        } else if let Some(request) = kill::request(line) {
            once(&mut self.request, request, &mut self.mixed, "victims");
        } else if let Some(exiting) = kill::exiting(line) {
            self.exiting.get_or_insert(exiting);
        } else if kill::nobody(line) {
            self.found_nobody = true;
        } else if self.memory.as_mut().is_some_and(|memory| memory.line(line)) {
            // Between them, lines that are not wanted.
            return Place::Memory;
        } else {
            return self.after_foreign(line);
        }
        Place::Anywhere
    }

    /// A line that means nothing ends a trace, and nothing else: another CPU may have written it.
    fn after_foreign(&mut self, line: &str) -> Place {
        if lines::frame(line).is_some() {
            self.mixed.push("trigger.kernel_stack");
        }
        match std::mem::take(&mut self.place) {
            Place::Trace => Place::TraceIsOver,
            place => place,
        }
    }

    /// Up to 5.1 there is such a line for every memcg below the one that was full, too.
    fn stat_header(&mut self, path: String, items: &[(String, u64)]) -> Place {
        if self.limit_of.as_ref().is_some_and(|(_, limit)| *limit != path) {
            return Place::Anywhere;
        }
        once(&mut self.stat_path, path, &mut self.mixed, "oom_memcg.path");
        for (name, value) in items {
            self.item(name, *value);
        }
        if items.is_empty() { Place::Stat } else { Place::Anywhere }
    }
}

/// `6.12.117+deb13`: 6 and 12.
pub(super) fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '+']).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Sets what can be there once only; where it comes again and differs, something is mixed.
fn once<T: PartialEq>(
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
