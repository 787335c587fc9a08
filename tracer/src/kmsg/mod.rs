//! The kernel's own account of its OOM kills, read from its log: of any version from 4.19 on, live
//! from /dev/kmsg or from text that somebody kept. Pure and total: any bytes in, reports out, in
//! bounded memory; what the log does not say for certain is absent.
//!
//! ```text
//! line -> record (prefixes off) -> lines (one parser per kind) -> block (one invocation) -> report
//! ```

mod block;
mod bytes;
mod compose;
mod date;
mod kill;
mod lines;
mod memcg;
mod meminfo;
mod reader;
mod record;
mod tasks;
mod text;

#[cfg(test)]
mod tests;

use crate::model::report::{Missing, OomReport};

use self::{block::Block, compose::compose, reader::Reader};

pub(crate) use compose::NEVER;
pub use text::Lines;

/// What is known besides the log; nothing where somebody else kept it.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Bytes of a page.
    pub page_size: Option<u64>,
    /// Size of the host's swap, as it is now. Bytes.
    pub swap_total_bytes: Option<u64>,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// `CLOCK_REALTIME` less the log's clock. ns.
    pub log_offset_ns: Option<i64>,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME`. ns.
    pub realtime_offset_ns: Option<i64>,
    /// Fields that this host cannot give by better means, and why.
    pub missing: Vec<Missing>,
}

/// A log that is being read.
#[derive(Debug, Default)]
pub struct Log {
    context: Context,
    reader: Reader,
}

impl Log {
    /// An empty one.
    pub fn new(context: Context) -> Self {
        Self { context, reader: Reader::default() }
    }

    /// What is known besides the log; for clocks that are set meanwhile.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// Takes a line.
    pub fn line(&mut self, line: &[u8]) {
        self.reader.line(line);
    }

    /// Reports of which nothing more is expected in this log.
    pub fn done(&mut self) -> Vec<OomReport> {
        let blocks = std::iter::from_fn(|| self.reader.next_done());
        let blocks: Vec<Block> = blocks.collect();
        self.reports(&blocks)
    }

    /// Reports before the latest one: live, none of them gets longer.
    pub fn before_last(&mut self) -> Vec<OomReport> {
        let blocks: Vec<Block> = std::iter::from_fn(|| self.reader.next_before_last()).collect();
        self.reports(&blocks)
    }

    /// What is left.
    pub fn finish(&mut self) -> Vec<OomReport> {
        let blocks: Vec<Block> = self.reader.finish().collect();
        self.reports(&blocks)
    }

    /// Whether something is being read, and whether all of it came to an end.
    pub fn pending(&self) -> Option<bool> {
        self.reader.pending()
    }

    fn reports(&self, blocks: &[Block]) -> Vec<OomReport> {
        let blocks = blocks.iter().filter(|block| block.is_invocation());
        blocks.map(|block| compose(block, &self.context)).collect()
    }
}
