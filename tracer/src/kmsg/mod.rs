//! Reports of OOM kills that are read from the kernel log: of any version from 4.19 on, live from
//! /dev/kmsg or from a saved text. Pure and total: any bytes in, reports out, in bounded memory.
//! Facts that are not certain from the log are absent.
//!
//! ```text
//! line -> record (prefixes off) -> lines (one parser per kind) -> block (one invocation) -> report
//! '-------------------------------- parser/ -----------------------------------------'  report/
//! ```

mod parser;
mod report;

#[cfg(test)]
mod tests;

use self::parser::{block::Block, reader::Reader};
use crate::model::report::{Missing, OomReport};

pub use self::parser::text::Lines;
pub(crate) use self::{parser::reader::Pending, report::NEVER};

/// Facts about the host besides the log; all are absent if the log is of another machine.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Bytes of a page.
    pub page_size: Option<u64>,
    /// Size of the host's swap, as it is now. Bytes.
    pub swap_total_bytes: Option<u64>,
    /// The content of /proc/sys/kernel/random/boot_id.
    pub boot_id: Option<String>,
    /// The host's name, for records that do not contain one.
    pub host: Option<String>,
    /// The kernel's release, for logs that do not contain it.
    pub kernel: Option<String>,
    /// `CLOCK_REALTIME` less the log's clock. ns.
    pub log_offset_ns: Option<i64>,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME`. ns.
    pub realtime_offset_ns: Option<i64>,
    /// Fields that a better tier would have, and why this host does not support it.
    pub missing: Vec<Missing>,
}

/// A log that is being read.
#[derive(Debug, Default)]
pub struct Log {
    context: Context,
    reader: Reader,
}

impl Log {
    /// A log of which nothing has been read yet.
    pub fn new(context: Context) -> Self {
        Self { context, reader: Reader::default() }
    }

    /// Gives access to the context: the clocks may be set while the log is read.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// Reads one line.
    pub fn line(&mut self, line: &[u8]) {
        self.reader.line(line);
    }

    /// Takes out the reports for which no more lines are expected in this log.
    pub fn done(&mut self) -> Vec<OomReport> {
        let blocks: Vec<Block> = std::iter::from_fn(|| self.reader.next_done()).collect();
        self.reports(&blocks)
    }

    /// Takes out all reports but the latest one: in a live log, only that one still gets lines.
    pub fn before_last(&mut self) -> Vec<OomReport> {
        let blocks: Vec<Block> = std::iter::from_fn(|| self.reader.next_before_last()).collect();
        self.reports(&blocks)
    }

    /// Takes out the remaining reports at the end of the log.
    pub fn finish(&mut self) -> Vec<OomReport> {
        let blocks: Vec<Block> = self.reader.finish().collect();
        self.reports(&blocks)
    }

    /// `None` if no invocation is being read.
    pub(crate) fn pending(&self) -> Option<Pending> {
        self.reader.pending()
    }

    fn reports(&self, blocks: &[Block]) -> Vec<OomReport> {
        let invocations = blocks.iter().filter(|block| block.is_invocation());
        invocations.map(|block| report::compose(block, &self.context)).collect()
    }
}
