//! Reads the kernel's own description of its OOM kills from its log. This parser is the oracle: it
//! serves the tests only and shares no code with oomwhy.
//!
//! An invocation that kills prints a block, from "invoked oom-killer" to "Killed process". The
//! kernel prints at most ten blocks in five seconds. It always prints the line "Killed process".

mod lines;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(crate) use record::texts;

/// The OOM kills in a part of the log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The blocks in the order of the log.
    pub blocks: Vec<Block>,
    /// Kills whose block was not printed.
    pub bare_kills: Vec<Kill>,
    /// The processes that the reaper reaped.
    pub reaped: Vec<Reaped>,
    /// The thread of each line "Killed process", of which one process can have two.
    pub kill_lines: Vec<u32>,
}

/// The printed report of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The task that asked for memory.
    pub trigger: Trigger,
    /// The counters of the memcg that is full, by name ("memory", "swap", "memory+swap", "kmem").
    pub counters: BTreeMap<String, Counter>,
    /// The path of the memcg that the statistics belong to.
    pub stat_path: Option<String>,
    /// The memcg's statistics.
    pub stat: BTreeMap<String, u64>,
    /// The machine's pages, reserved ones included. Printed if the whole machine ran out of memory.
    pub ram_pages: Option<u64>,
    /// The machine's reserved pages. Printed under the same condition.
    pub reserved_pages: Option<u64>,
    /// The present memory of each node, KiB. Printed under the same condition.
    pub present_kib: BTreeMap<u32, u64>,
    /// The table of tasks.
    pub tasks: Vec<TaskRow>,
    /// The line that begins with "oom-kill:".
    pub summary: Option<Summary>,
    /// Whether the kernel kills the victim's whole cgroup.
    pub is_group: bool,
    /// The killed processes, each once.
    pub kills: Vec<Kill>,
}

/// The header of a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// The name of the task, from before "invoked oom-killer".
    pub comm: String,
    /// Its thread id, from the line with the CPU.
    pub tid: Option<u32>,
    /// The request's flags.
    pub gfp_mask: u64,
    /// The names of the flags.
    pub gfp_names: Vec<String>,
    /// The request's size, as a power of two of pages.
    pub order: i64,
    /// From -1000 to 1000, from `oom_score_adj=`.
    pub oom_score_adj: i64,
}

/// One counter of a memcg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    /// The charged memory.
    pub usage_kib: u64,
    /// The limit (`memory.max`); the kernel prints the counter's maximum if there is none.
    pub limit_kib: u64,
    /// The number of times that the limit was hit.
    pub failcnt: u64,
}

/// A row of the table of tasks. Sizes are in pages unless the name says otherwise.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskRow {
    /// The id of the thread that has the memory.
    pub tid: u32,
    /// The process id.
    pub tgid: u32,
    /// The user's id.
    pub uid: u32,
    /// The size of the address space.
    pub total_vm: u64,
    /// Resident memory, pages of the kernel's size.
    pub rss: u64,
    /// The parts of `rss` (anon, file, shmem), printed since 6.8.
    pub rss_parts: Option<[u64; 3]>,
    /// The size of the page tables.
    pub pgtables_bytes: u64,
    /// The number of swap entries.
    pub swapents: u64,
    /// From -1000 to 1000; the column `oom_score_adj`.
    pub oom_score_adj: i64,
    /// The name of the task.
    pub comm: String,
}

/// The line that begins with "oom-kill:".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The constraint, without its prefix.
    pub constraint: String,
    /// The nodes that the allocation may use, if its policy names some.
    pub nodemask: Option<Vec<u32>>,
    /// The nodes that the trigger's cpuset allows.
    pub mems_allowed: Vec<u32>,
    /// The memcg whose limit was hit; none if the machine ran out of memory.
    pub oom_memcg: Option<String>,
    /// The victim's memcg.
    pub task_memcg: String,
    /// The victim's name.
    pub comm: String,
    /// The victim's process id.
    pub pid: u32,
    /// The victim's user.
    pub uid: u32,
}

/// The line "Killed process".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// The text before "Killed process".
    pub message: String,
    /// The id of the thread that had the memory.
    pub tid: u32,
    /// The name in parentheses after the id.
    pub comm: String,
    /// The user id, from `UID:`.
    pub uid: u32,
    /// The size of its address space.
    pub total_vm_kib: u64,
    /// Its resident memory: anon, file, shmem.
    pub rss_kib: [u64; 3],
    /// Its page tables.
    pub pgtables_kib: u64,
    /// From -1000 to 1000, from `oom_score_adj:`.
    pub oom_score_adj: i64,
}

/// The line "oom_reaper: reaped process".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reaped {
    /// The victim's thread id.
    pub tid: u32,
    /// The victim's name.
    pub comm: String,
}

impl Log {
    /// Reads /dev/kmsg records or dmesg's output.
    pub(crate) fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        for text in texts(text) {
            reader.record(&text);
        }
        reader.log
    }

    /// All killed processes.
    pub(crate) fn kills(&self) -> impl Iterator<Item = &Kill> {
        self.blocks.iter().flat_map(|block| &block.kills).chain(&self.bare_kills)
    }

    /// The invocations that found no task to kill. The kernel prints a block of each.
    pub(crate) fn without_victim(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| block.kills.is_empty())
    }

    /// The number of invocations that killed.
    pub(crate) fn n_invocations(&self) -> usize {
        let with_block = self.blocks.iter().filter(|block| !block.kills.is_empty()).count();
        with_block + self.bare_kills.len()
    }
}

/// The part of a block that the parser expects next.
#[derive(Default)]
enum ParserState {
    #[default]
    Anywhere,
    /// Among the statistics.
    Stat,
    /// In the table, under this header.
    Tasks(Vec<String>),
}

#[derive(Default)]
struct Reader {
    log: Log,
    state: ParserState,
}

impl Reader {
    /// Reads a record. A newline in it can separate lines, or be part of a task's name.
    fn record(&mut self, text: &str) {
        let names_a_task = lines::trigger(text).is_some()
            || lines::trigger_tid(text).is_some()
            || lines::kill(text).is_some()
            || lines::reaped(text).is_some()
            || lines::summary(text).is_some()
            || text.starts_with('[');
        if names_a_task {
            self.line(text);
        } else {
            text.lines().for_each(|line| self.line(line));
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(trigger) = lines::trigger(line) {
            self.log.blocks.push(Block { trigger, ..Block::default() });
            self.state = ParserState::Anywhere;
        } else if let Some(kill) = lines::kill(line) {
            self.kill(kill);
        } else if let Some(reaped) = lines::reaped(line) {
            self.log.reaped.push(reaped);
        } else if let Some(block) = self.log.blocks.last_mut() {
            let next = block_line(block, &self.state, line);
            if let Some(state) = next {
                self.state = state;
            }
        }
    }

    fn kill(&mut self, kill: Kill) {
        self.log.kill_lines.push(kill.tid);
        match self.log.blocks.last_mut().filter(|block| block.is_about(&kill)) {
            // The kernel kills the first victim of a group twice.
            Some(block) if block.kills.iter().any(|known| known.tid == kill.tid) => {}
            Some(block) => block.kills.push(kill),
            None => self.log.bare_kills.push(kill),
        }
    }
}

impl Block {
    fn is_about(&self, kill: &Kill) -> bool {
        // The line can name another thread of the victim, which has the memory.
        let is_of = |tgid: u32| {
            kill.tid == tgid
                || self.tasks.iter().any(|task| task.tgid == tgid && task.tid == kill.tid)
        };
        match &self.summary {
            _ if self.is_group => true,
            Some(summary) if self.kills.is_empty() => is_of(summary.pid),
            Some(_) => false,
            // Without a summary, a path was too long for its line.
            None => self.kills.is_empty() && self.tasks.iter().any(|task| task.tid == kill.tid),
        }
    }
}

/// Reads a line that has a meaning only within a block. Returns the new state if it changes.
fn block_line(block: &mut Block, state: &ParserState, line: &str) -> Option<ParserState> {
    if let Some(summary) = lines::summary(line) {
        block.summary = Some(summary);
        return Some(ParserState::Anywhere);
    }
    if let Some(header) = lines::tasks_header(line) {
        return Some(ParserState::Tasks(header));
    }
    if let Some(path) = lines::stat_header(line) {
        block.stat_path = Some(path);
        return Some(ParserState::Stat);
    }
    if let Some(tid) = lines::trigger_tid(line) {
        block.trigger.tid.get_or_insert(tid);
    } else if let Some((name, counter)) = lines::counter(line) {
        block.counters.insert(name, counter);
    } else if let Some(pages) = lines::pages(line, "RAM") {
        block.ram_pages = Some(pages);
    } else if let Some(pages) = lines::pages(line, "reserved") {
        block.reserved_pages = Some(pages);
    } else if let Some((node, kib)) = lines::zone(line) {
        *block.present_kib.entry(node).or_default() += kib;
    } else if lines::is_group(line) {
        block.is_group = true;
    } else if let (ParserState::Tasks(header), Some(_)) = (state, line.strip_prefix('[')) {
        block.tasks.extend(lines::task(header, line));
    } else if let (ParserState::Stat, Some((name, value))) = (state, lines::stat(line)) {
        block.stat.insert(name, value);
    }
    None
}
