//! Names for the frames of stacks, looked up on a worker's thread: to read a symbol table takes a
//! helper process and tens of milliseconds, and the ring must be drained meanwhile.
//!
//! A report stays open until the names of its stacks are there, or for [`PATIENCE`]. Frames without
//! a name are then reported by build id and file offset, or by address.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::growing_process::{GrowingProcessFiles, GrowingProcesses};
use crate::{
    host::{
        disposable,
        worker::{Answers, Work, Worker},
    },
    model::{
        events::UserFrame,
        names::{FileOffset, Name, Symbol, UserNames},
    },
    symbolize::{
        kernel::KernelSymbols,
        user::{Process, ProcessHint, UserSymbols},
    },
};

/// How long a report stays open for names. On a loaded host they take that long, and a report on a
/// victim that does not exit stays open longer anyway.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
/// Requests that wait. In a burst of kills, stacks beyond that get no names.
const MAX_REQUESTS: usize = 64;
/// Growing processes whose own addresses get names: those that grew most.
pub(crate) const MAX_GROWING_PROCESSES: usize = 8;

/// The frames of one process, for the report on an invocation.
#[derive(Debug)]
struct StackFrames {
    seq: u64,
    process: Process,
    hint: Option<ProcessHint>,
    offsets: Vec<FileOffset>,
    ips: Vec<u64>,
}

#[derive(Debug)]
enum SymbolRequest {
    /// Opens the files of a process that is about to be killed.
    Open(Process),
    Stack(StackFrames),
    /// The processes that grew, the most first.
    Growth(Vec<StackFrames>),
    Kernel {
        seq: u64,
        ips: Vec<u64>,
    },
}

/// Names that were found for an invocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SymbolAnswer {
    /// The invocation whose report waits for them.
    pub seq: u64,
    pub found: FoundNames,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundNames {
    /// For frames of a process.
    Process { pid: u32, names: UserNames },
    /// For addresses in the kernel. Addresses without a symbol are left out.
    Kernel(BTreeMap<u64, Symbol>),
}

/// Unanswered requests of one invocation.
#[derive(Debug)]
struct Unanswered {
    count: usize,
    since: Instant,
}

/// Asks the thread, and knows which invocations wait for its answers.
#[derive(Debug, Default)]
pub(crate) struct SymbolRequests {
    answers: Arc<Answers<Vec<SymbolAnswer>>>,
    growing: GrowingProcesses,
    worker: Option<Worker<SymbolRequest>>,
    unanswered: BTreeMap<u64, Unanswered>,
    /// Invocations that [`SymbolRequests::newly_awaited`] has not returned yet.
    new: BTreeSet<u64>,
}

impl SymbolRequests {
    /// Notified when there are answers.
    pub(crate) fn answered(&self) -> Arc<Notify> {
        self.answers.wake_up()
    }

    /// Opens the files of a process that is about to be killed.
    pub(crate) fn open(&mut self, process: Process) {
        self.send(SymbolRequest::Open(process));
    }

    /// Opens the files of a process that grows near a limit.
    pub(crate) fn open_growing(&mut self, pid: u32) {
        self.growing.open(pid);
    }

    /// Opens files that the process has mapped since, before its names are asked for.
    pub(crate) fn reopen_growing(&mut self, pid: u32) {
        self.growing.reopen(pid);
    }

    /// Asks for the names of a stack.
    pub(crate) fn ask(
        &mut self,
        seq: u64,
        process: Process,
        hint: Option<ProcessHint>,
        frames: &[UserFrame],
    ) {
        if !frames.is_empty() {
            let stack = stack_frames(seq, process, hint, frames);
            self.send_awaited(seq, 1, SymbolRequest::Stack(stack));
        }
    }

    /// Asks for the names of frames in which processes grew, given by process id.
    pub(crate) fn ask_growing<'a>(
        &mut self,
        seq: u64,
        growing: impl IntoIterator<Item = (u32, &'a [UserFrame])>,
    ) {
        // The worker reads when the process started.
        let process = |pid| Process { pid, started_ns: 0 };
        let stacks: Vec<StackFrames> = growing
            .into_iter()
            .filter(|(_, frames)| !frames.is_empty())
            .map(|(pid, frames)| stack_frames(seq, process(pid), None, frames))
            .collect();
        if !stacks.is_empty() {
            self.send_awaited(seq, stacks.len(), SymbolRequest::Growth(stacks));
        }
    }

    /// Asks for the symbols of addresses in the kernel.
    pub(crate) fn ask_kernel(&mut self, seq: u64, ips: Vec<u64>) {
        if !ips.is_empty() {
            self.send_awaited(seq, 1, SymbolRequest::Kernel { seq, ips });
        }
    }

    fn send_awaited(&mut self, seq: u64, n_answers: usize, request: SymbolRequest) {
        if !self.send(request) {
            return;
        }
        let new = Unanswered { count: 0, since: Instant::now() };
        let unanswered = self.unanswered.entry(seq).or_insert(new);
        if unanswered.count == 0 {
            self.new.insert(seq);
        }
        unanswered.count += n_answers;
    }

    /// If the host does not allow another thread, frames stay without names.
    fn send(&mut self, request: SymbolRequest) -> bool {
        if self.worker.is_none() {
            let (answers, growing) = (Arc::clone(&self.answers), Arc::clone(&self.growing.files));
            let thread = SymbolThread { answers, growing, ..SymbolThread::default() };
            self.worker = Worker::start("oomwhy-symbols", MAX_REQUESTS, thread).ok();
        }
        self.worker.as_ref().is_some_and(|worker| worker.send(request))
    }

    /// Invocations that have begun to wait for names since the last call.
    pub(crate) fn newly_awaited(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.new)
    }

    /// The answers that came since the last call.
    pub(crate) fn answers(&mut self) -> Vec<SymbolAnswer> {
        let answers = std::mem::take(&mut *self.answers.lock());
        for answer in &answers {
            if let Some(unanswered) = self.unanswered.get_mut(&answer.seq) {
                unanswered.count = unanswered.count.saturating_sub(1);
            }
        }
        answers
    }

    /// Invocations that need not wait any more: every request was answered, or [`PATIENCE`] is
    /// over.
    pub(crate) fn names_ready(&mut self) -> Vec<u64> {
        let is_ready = |_: &u64, unanswered: &mut Unanswered| {
            unanswered.count == 0 || unanswered.since.elapsed() > PATIENCE
        };
        self.unanswered.extract_if(.., is_ready).map(|(seq, _)| seq).collect()
    }
}

fn stack_frames(
    seq: u64,
    process: Process,
    hint: Option<ProcessHint>,
    frames: &[UserFrame],
) -> StackFrames {
    let mut stack = StackFrames { seq, process, hint, offsets: Vec::new(), ips: Vec::new() };
    for frame in frames {
        match frame {
            UserFrame::File { build_id, file_offset } => stack
                .offsets
                .push(FileOffset { build_id: build_id.clone(), file_offset: *file_offset }),
            UserFrame::Ip { ip } => stack.ips.push(*ip),
        }
    }
    stack
}

#[derive(Default)]
struct SymbolThread {
    answers: Arc<Answers<Vec<SymbolAnswer>>>,
    growing: Arc<GrowingProcessFiles>,
    kernel: KernelSymbols,
    user: UserSymbols,
    /// Separate, because growing processes are many: their files must not push out those of a
    /// victim.
    user_growing: UserSymbols,
}

impl Work<SymbolRequest> for SymbolThread {
    fn handle(&mut self, request: SymbolRequest) {
        match request {
            SymbolRequest::Open(process) => self.user.open(process),
            SymbolRequest::Stack(stack) => {
                let StackFrames { process, hint, offsets, ips, .. } = &stack;
                let names = self.user.resolve(*process, hint.as_ref(), offsets, ips);
                self.answer_stack(&stack, names);
            }
            SymbolRequest::Growth(stacks) => {
                self.growing.wait(disposable::deadline());
                self.user_growing.keep_files(self.growing.take_files());
                self.user_growing.keep_perf_maps(self.growing.perf_maps());
                let names = growth_names(&mut self.user_growing, &stacks);
                for (stack, names) in stacks.iter().zip(names) {
                    self.answer_stack(stack, names);
                }
            }
            SymbolRequest::Kernel { seq, ips } => {
                let symbols = self.kernel.resolve(&ips);
                self.answer(seq, FoundNames::Kernel(symbols));
            }
        }
    }
}

impl SymbolThread {
    fn answer_stack(&self, stack: &StackFrames, names: UserNames) {
        self.answer(stack.seq, FoundNames::Process { pid: stack.process.pid, names });
    }

    fn answer(&self, seq: u64, found: FoundNames) {
        self.answers.change(|answers| answers.push(SymbolAnswer { seq, found }));
    }
}

/// File offsets mean the same in every process, so one request names those of all. Addresses belong
/// to one process each, and each process may take a helper process.
fn growth_names(symbols: &mut UserSymbols, stacks: &[StackFrames]) -> Vec<UserNames> {
    let offsets: BTreeSet<FileOffset> =
        stacks.iter().flat_map(|stack| stack.offsets.iter().cloned()).collect();
    let first = stacks.first().map_or(0, |stack| stack.process.pid);
    let named = symbols.resolve(Process::now(first), None, &Vec::from_iter(offsets), &[]).offsets;
    let known: BTreeMap<FileOffset, Name> = named.into_iter().collect();
    let mut names = |(number, stack): (usize, &StackFrames)| {
        let StackFrames { process, offsets, ips, .. } = stack;
        let named = |offset: &FileOffset| Some((offset.clone(), known.get(offset)?.clone()));
        let addresses = if ips.is_empty() || number >= MAX_GROWING_PROCESSES {
            Vec::new()
        } else {
            symbols.resolve(symbols.process(process.pid), None, &[], ips).addresses
        };
        UserNames { offsets: offsets.iter().filter_map(named).collect(), addresses }
    };
    stacks.iter().enumerate().map(&mut names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test's executable has no hidden command. An answer without names is an answer too.
    #[test]
    fn invocation_with_two_stacks_is_ready_after_both_answers() {
        let mut requests = SymbolRequests::default();
        let process = Process { pid: std::process::id(), started_ns: 0 };
        requests.ask(7, process, None, &[]);
        assert!(requests.newly_awaited().is_empty() && requests.names_ready().is_empty());
        let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
        requests.ask(7, process, None, &frame);
        requests.ask(7, process, None, &frame);
        assert_eq!(requests.newly_awaited(), [7].into());
        assert!(requests.newly_awaited().is_empty());
        let begin = Instant::now();
        let mut answers = Vec::new();
        while answers.len() < 2 && begin.elapsed() < PATIENCE {
            answers.extend(requests.answers());
            assert!(answers.len() == 2 || requests.names_ready().is_empty());
            std::thread::yield_now();
        }
        let found = FoundNames::Process { pid: process.pid, names: UserNames::default() };
        let answer = SymbolAnswer { seq: 7, found };
        assert_eq!(answers.first(), Some(&answer));
        assert_eq!(requests.names_ready(), [7]);
        assert!(requests.names_ready().is_empty());
    }

    #[test]
    fn growth_of_two_processes_gets_one_answer_each() {
        let mut requests = SymbolRequests::default();
        let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
        requests.ask_growing(8, [(1, &frame[..0])]);
        assert!(requests.newly_awaited().is_empty());
        let pid = std::process::id();
        requests.ask_growing(8, [(pid, &frame[..]), (pid + 1, &frame[..]), (1, &frame[..0])]);
        assert_eq!(requests.newly_awaited(), [8].into());
        let begin = Instant::now();
        let mut answered = BTreeSet::new();
        while answered.len() < 2 && begin.elapsed() < PATIENCE {
            answered.extend(requests.answers().into_iter().map(|answer| match answer.found {
                FoundNames::Process { pid, .. } => (answer.seq, pid),
                FoundNames::Kernel(_) => panic!("no kernel address was asked for"),
            }));
            std::thread::yield_now();
        }
        assert_eq!(answered, [(8, pid), (8, pid + 1)].into());
        assert_eq!(requests.names_ready(), [8]);
    }

    #[test]
    fn kernel_addresses_are_awaited_until_answered() {
        let mut requests = SymbolRequests::default();
        requests.ask_kernel(9, Vec::new());
        assert!(requests.newly_awaited().is_empty());
        requests.ask_kernel(9, vec![0xffff_ffff_8100_0000]);
        assert_eq!(requests.newly_awaited(), [9].into());
        let begin = Instant::now();
        let mut answers = Vec::new();
        while answers.is_empty() && begin.elapsed() < PATIENCE {
            answers = requests.answers();
            std::thread::yield_now();
        }
        assert_eq!(answers, [SymbolAnswer { seq: 9, found: FoundNames::Kernel(BTreeMap::new()) }]);
        assert_eq!(requests.names_ready(), [9]);
    }
}
