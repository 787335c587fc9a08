//! Assigns lines to invocations.
//!
//! The kernel holds oom_lock while it prints an invocation, so two of them never overlap in one
//! log. Lines of other subsystems can stand between their lines. If the log has printk's callers,
//! each invocation gets only the lines of its own caller.

use std::collections::VecDeque;

use super::{
    block::Block,
    kill, lines, memcg,
    record::{Record, Records},
    tasks::Table,
};

/// Invocations that are kept for the lines of the OOM reaper, which starts two seconds later.
const MAX_BLOCKS: usize = 16;
/// A name of 15 newlines breaks one line into this many.
const MAX_PARTS: usize = 16;

/// The invocations that are being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// All of them were read to their ends, except for further members of a group.
    pub(crate) is_whole: bool,
    /// The lines of kills that were read.
    pub(crate) kills: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Reader {
    records: Records,
    /// In the order of their first lines.
    blocks: VecDeque<Block>,
    /// A line that a newline in a name seems to have broken.
    held: Option<Record>,
    parts: usize,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &[u8]) {
        if let Some(record) = self.records.line(line) {
            self.record(record);
        }
    }

    /// Handles a record. If a newline in a name seems to have broken it, its lines are joined.
    fn record(&mut self, record: Record) {
        let Some(mut held) = self.held.take() else {
            if is_broken(&record.text) && !record.is_rest {
                self.held = Some(record);
                self.parts = 1;
            } else {
                self.whole(&record, false);
            }
            return;
        };
        if !record.is_rest && is_anchor(&record.text) || self.parts >= MAX_PARTS {
            self.whole(&held, false);
            self.record(record);
            return;
        }
        // /dev/kmsg keeps newlines within a record: there, a line is cut only if it is too long.
        let glue = if self.records.is_raw() { "" } else { "\n" };
        held.text = format!("{}{glue}{}", held.text, record.text);
        if is_broken(&held.text) {
            self.parts += 1;
            self.held = Some(held);
        } else {
            self.whole(&held, true);
        }
    }

    fn whole(&mut self, record: &Record, is_joined: bool) {
        // A line that contains a name is one line, even if the name contains newlines.
        if is_anchor(&record.text) || has_path(&record.text) || record.text.starts_with('[') {
            self.text(&record.text, record, is_joined);
            return;
        }
        let mut rest = record.clone();
        for line in record.text.split('\n') {
            self.text(line, &rest, is_joined);
            rest.is_rest = true;
        }
    }

    fn text(&mut self, line: &str, record: &Record, is_joined: bool) {
        if record.is_rest {
            if let Some(block) = self.block_of(record) {
                block.line(line, record);
            }
        } else if let Some(header) = lines::header(line) {
            // The next lines could still belong to an invocation that has not ended.
            let is_torn = self.block_of(record).is_some_and(|block| !block.is_ended());
            let block = self.begin(record);
            block.header = Some(header);
            block.is_torn = is_torn;
        } else if let Some(kill) = kill::kill(line) {
            let log_ns = record.stamp.log_ns;
            let known = self.block_of(record).filter(|block| block.is_about(&kill, log_ns));
            let block = match known {
                Some(block) => block,
                None => self.begin(record),
            };
            block.kill(kill, log_ns);
        } else if let Some(reaped) = kill::reaped(line) {
            let mut blocks = self.blocks.iter_mut().rev();
            let victim = |block: &&mut Block| {
                block.host == record.host
                    && block
                        .kills
                        .iter()
                        .any(|(kill, _)| kill.tid == reaped.tid && kill.comm == reaped.comm)
            };
            if let Some(block) = blocks.find(victim) {
                block.reaped.push((reaped, record.stamp.log_ns));
            }
        } else if begins_bare(line) && self.block_of(record).is_none_or(|block| block.is_complete())
        {
            self.begin(record).line(line, record);
        } else if let Some(block) = self.block_of(record) {
            let had_summary = block.summary.is_some();
            block.line(line, record);
            block.summary_is_joined |= is_joined && !had_summary && block.summary.is_some();
        }
    }

    /// The latest invocation that a record can belong to.
    fn block_of(&mut self, record: &Record) -> Option<&mut Block> {
        let mut blocks = self.blocks.iter_mut().rev();
        blocks.find(|block| block.caller == record.caller && block.host == record.host)
    }

    fn begin(&mut self, record: &Record) -> &mut Block {
        self.blocks.push_back(Block::begin(record));
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    /// Takes out an invocation for which no more lines are expected, the oldest first.
    pub(crate) fn next_done(&mut self) -> Option<Block> {
        (self.blocks.len() > MAX_BLOCKS).then(|| self.blocks.pop_front())?
    }

    /// Takes out the remaining invocations at the end of the log.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Block> + use<> {
        if let Some(held) = self.held.take() {
            self.whole(&held, false);
        }
        std::mem::take(&mut self.blocks).into_iter()
    }

    /// `None` if no invocation is being read.
    pub(crate) fn pending(&self) -> Option<Pending> {
        (!self.blocks.is_empty()).then(|| Pending {
            is_whole: self.held.is_none() && self.blocks.iter().all(Block::is_complete),
            kills: self.blocks.iter().map(|block| block.kills.len()).sum(),
        })
    }

    /// Takes out the oldest invocation, if another one has begun after it.
    pub(crate) fn next_before_last(&mut self) -> Option<Block> {
        (self.blocks.len() > 1).then(|| self.blocks.pop_front())?
    }
}

/// Whether a line contains the name of a task, so that a newline does not end it.
fn is_anchor(line: &str) -> bool {
    lines::header(line).is_some()
        || lines::cpu(line).is_some()
        || lines::summary(line).is_some()
        || kill::kill(line).is_some()
        || kill::request(line).is_some()
        || kill::exiting(line).is_some()
        || kill::reaped(line).is_some()
}

/// Whether a line contains the path of a cgroup.
fn has_path(line: &str) -> bool {
    memcg::header(line).is_some() || lines::group(line).is_some() || lines::limit_of(line).is_some()
}

fn is_broken(line: &str) -> bool {
    let is_half = line.starts_with("oom-kill:constraint=") && lines::summary(line).is_none();
    is_half || kill::is_broken(line)
}

/// Whether only the OOM killer prints such a line. The header can be missing because the log begins
/// after it, or because the kernel limits the rate of reports.
fn begins_bare(line: &str) -> bool {
    kill::request(line).is_some()
        || kill::exiting(line).is_some()
        || lines::summary(line).is_some()
        || memcg::counter(line).is_some()
        || Table::header(line).is_some()
}
