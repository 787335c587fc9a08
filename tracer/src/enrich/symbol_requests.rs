//! Names for the frames of stacks, looked up on a worker's thread: to read a symbol table takes a
//! helper process and tens of milliseconds, and the ring must be drained meanwhile.
//!
//! A report stays open until the names of its stacks are there, or for [`PATIENCE`]. Frames without
//! a name are then reported by build id and file offset, or by address.
//!
//! Each tenant has a share of the thread's time and of its queue ([`Shares`]). Names of the
//! kernel's functions count for none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    growing_process::{GrowingProcessFiles, GrowingProcesses},
    process_roots::OpenRoots,
    shares::{self, Shares},
    tenants::{TaskCgroup, Tenants},
};
use crate::{
    host::{
        disposable,
        threads::ThreadName,
        worker::{Answers, Work, Worker},
    },
    model::{
        events::UserFrame,
        facts::LookupKind,
        lru::Lru,
        names::{FileOffset, Symbol, UserNames},
        tenant::Tenant,
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
const MAX_REQUESTS: usize = 256;
/// Those of one tenant: each kill makes about six.
const MAX_REQUESTS_OF_TENANT: usize = 64;
/// Invocations whose refused requests are remembered until their report is written.
const MAX_REFUSED: usize = 1024;
/// Growing processes whose own addresses get names: those that grew most.
pub(crate) const MAX_GROWING_PROCESSES: usize = 8;

/// The frames of one process, for the report on an invocation.
#[derive(Debug)]
struct StackFrames {
    seq: u64,
    process: Process,
    cgroup_id: Option<u64>,
    hint: Option<ProcessHint>,
    offsets: Vec<FileOffset>,
    ips: Vec<u64>,
}

impl StackFrames {
    fn task(&self) -> TaskCgroup {
        TaskCgroup { pid: self.process.pid, cgroup_id: self.cgroup_id }
    }
}

#[derive(Debug)]
enum SymbolRequest {
    /// Opens the files of a process that is about to be killed.
    Open(Process, TaskCgroup),
    Stack(StackFrames),
    /// The processes that grew, the most first.
    Growth(Vec<StackFrames>),
    Kernel {
        seq: u64,
        ips: Vec<u64>,
    },
}

impl SymbolRequest {
    /// A task of the tenant that it is for.
    fn task(&self) -> Option<TaskCgroup> {
        match self {
            Self::Open(_, task) => Some(*task),
            Self::Stack(stack) => Some(stack.task()),
            Self::Growth(stacks) => stacks.first().map(StackFrames::task),
            Self::Kernel { .. } => None,
        }
    }

    /// What a report waits for.
    fn kind(&self) -> Option<LookupKind> {
        match self {
            Self::Stack(_) => Some(LookupKind::Stack),
            Self::Growth(_) => Some(LookupKind::Growth),
            Self::Open(..) | Self::Kernel { .. } => None,
        }
    }
}

/// A request, and the tenant in whose part of the queue it is.
#[derive(Debug)]
struct Queued {
    tenant: Option<Tenant>,
    request: SymbolRequest,
}

/// Names that were found for an invocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SymbolAnswer {
    /// The invocation whose report waits for them.
    pub seq: u64,
    pub found: FoundNames,
    /// Nothing was looked up, because the tenant has used up its share.
    refused: Option<LookupKind>,
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
#[derive(Debug)]
pub(crate) struct SymbolRequests {
    answers: Arc<Answers<Vec<SymbolAnswer>>>,
    growing: GrowingProcesses,
    roots: OpenRoots,
    shares: Arc<Shares>,
    tenants: Tenants,
    /// Number of the thread's results that had to make room.
    n_evicted: Arc<AtomicU64>,
    worker: Option<Worker<Queued>>,
    unanswered: BTreeMap<u64, Unanswered>,
    /// Requests whose answer did not come in time.
    n_late: u64,
    /// Invocations that [`SymbolRequests::newly_awaited`] has not returned yet.
    new: BTreeSet<u64>,
    /// The kinds of refused requests, by invocation.
    refused: Lru<u64, Vec<LookupKind>>,
}

impl SymbolRequests {
    /// No thread runs yet.
    pub(crate) fn new(tenants: Tenants, roots: OpenRoots) -> Self {
        Self {
            answers: Arc::default(),
            growing: GrowingProcesses::new(tenants.clone()),
            roots,
            shares: Arc::new(Shares::new(MAX_REQUESTS_OF_TENANT)),
            tenants,
            n_evicted: Arc::default(),
            worker: None,
            unanswered: BTreeMap::new(),
            n_late: 0,
            new: BTreeSet::new(),
            refused: Lru::new(MAX_REFUSED, 256 << 10),
        }
    }

    /// Notified when there are answers.
    pub(crate) fn answered(&self) -> Arc<Notify> {
        self.answers.wake_up()
    }

    /// Opens the files of a process that is about to be killed.
    pub(crate) fn open(&mut self, process: Process, cgroup_id: Option<u64>) {
        self.send(SymbolRequest::Open(process, TaskCgroup { pid: process.pid, cgroup_id }));
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
        cgroup_id: Option<u64>,
        hint: Option<ProcessHint>,
        frames: &[UserFrame],
    ) {
        if !frames.is_empty() {
            let stack = StackFrames { hint, ..stack_frames(seq, process, cgroup_id, frames) };
            self.send_awaited(seq, 1, SymbolRequest::Stack(stack));
        }
    }

    /// Asks for the names of frames in which processes grew in a memcg, given by process id.
    pub(crate) fn ask_growing<'a>(
        &mut self,
        seq: u64,
        memcg_id: u64,
        growing: impl IntoIterator<Item = (u32, &'a [UserFrame])>,
    ) {
        // The worker reads when the process started.
        let process = |pid| Process { pid, started_ns: 0 };
        let stacks: Vec<StackFrames> = growing
            .into_iter()
            .filter(|(_, frames)| !frames.is_empty())
            .map(|(pid, frames)| stack_frames(seq, process(pid), Some(memcg_id), frames))
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
        let kind = request.kind();
        if !self.send(request) {
            self.note_refused(seq, kind);
            return;
        }
        let new = Unanswered { count: 0, since: Instant::now() };
        let unanswered = self.unanswered.entry(seq).or_insert(new);
        if unanswered.count == 0 {
            self.new.insert(seq);
        }
        unanswered.count += n_answers;
    }

    fn send(&mut self, request: SymbolRequest) -> bool {
        let tenant = request.task().map(|task| self.tenants.known(task));
        let has_place = tenant.as_ref().is_none_or(|tenant| self.shares.enter(tenant));
        let queued = Queued { tenant: tenant.clone(), request };
        let is_sent = has_place && self.worker().is_some_and(|worker| worker.send(queued));
        if !is_sent {
            shares::refuse();
        }
        if has_place
            && !is_sent
            && let Some(tenant) = tenant
        {
            self.shares.leave(&tenant);
        }
        is_sent
    }

    /// If the host does not allow another thread, frames stay without names.
    fn worker(&mut self) -> Option<&Worker<Queued>> {
        if self.worker.is_none() {
            let thread = SymbolThread {
                answers: Arc::clone(&self.answers),
                growing: Arc::clone(&self.growing.files),
                roots: self.roots.clone(),
                shares: Arc::clone(&self.shares),
                tenants: self.tenants.clone(),
                n_evicted: Arc::clone(&self.n_evicted),
                kernel: KernelSymbols::default(),
                user: UserSymbols::default(),
                user_growing: UserSymbols::default(),
            };
            self.worker = Worker::start(ThreadName::Symbols, MAX_REQUESTS, thread).ok();
        }
        self.worker.as_ref()
    }

    fn note_refused(&mut self, seq: u64, kind: Option<LookupKind>) {
        self.refused.change(seq, |kinds| kinds.extend(kind.filter(|kind| !kinds.contains(kind))));
    }

    /// The requests for an invocation that were refused so far.
    pub(crate) fn refused(&self, seq: u64) -> &[LookupKind] {
        self.refused.get(&seq).map(Vec::as_slice).unwrap_or_default()
    }

    /// Drops what is kept of an invocation, because its reports are written.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.refused.remove(&seq);
    }

    /// Number of results that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        let of_thread = self.n_evicted.load(Ordering::Relaxed);
        of_thread + self.shares.n_evicted() + self.refused.n_evicted() + self.growing.n_evicted()
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
            if answer.refused.is_some() {
                self.note_refused(answer.seq, answer.refused);
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
        let ready: Vec<(u64, Unanswered)> = self.unanswered.extract_if(.., is_ready).collect();
        self.n_late += ready.iter().map(|(_, unanswered)| unanswered.count as u64).sum::<u64>();
        ready.into_iter().map(|(seq, _)| seq).collect()
    }

    /// Number of requests so far whose answer did not come before the report had to be written.
    pub(crate) fn n_late(&self) -> u64 {
        self.n_late
    }
}

fn stack_frames(
    seq: u64,
    process: Process,
    cgroup_id: Option<u64>,
    frames: &[UserFrame],
) -> StackFrames {
    let (offsets, ips) = (Vec::new(), Vec::new());
    let mut stack = StackFrames { seq, process, cgroup_id, hint: None, offsets, ips };
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

struct SymbolThread {
    answers: Arc<Answers<Vec<SymbolAnswer>>>,
    growing: Arc<GrowingProcessFiles>,
    roots: OpenRoots,
    shares: Arc<Shares>,
    tenants: Tenants,
    n_evicted: Arc<AtomicU64>,
    kernel: KernelSymbols,
    user: UserSymbols,
    /// Separate, because growing processes are many: their files must not push out those of a
    /// victim.
    user_growing: UserSymbols,
}

impl Work<Queued> for SymbolThread {
    fn handle(&mut self, queued: Queued) {
        if let Some(tenant) = &queued.tenant {
            self.shares.leave(tenant);
        }
        match queued.request {
            SymbolRequest::Open(process, task) => {
                self.shares.run(&self.tenants.find(task), || self.user.open(process));
            }
            SymbolRequest::Stack(stack) => self.name_stack(&stack),
            SymbolRequest::Growth(stacks) => self.name_growth(&stacks),
            SymbolRequest::Kernel { seq, ips } => {
                let symbols = self.kernel.resolve(&ips);
                self.answer(SymbolAnswer {
                    seq,
                    found: FoundNames::Kernel(symbols),
                    refused: None,
                });
            }
        }
        let n_evicted =
            self.kernel.n_evicted() + self.user.n_evicted() + self.user_growing.n_evicted();
        self.n_evicted.store(n_evicted, Ordering::Relaxed);
        self.on_time();
    }

    fn next_time(&self) -> Option<Instant> {
        self.user.next_close().into_iter().chain(self.user_growing.next_close()).min()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.user.close_unused(now);
        self.user_growing.close_unused(now);
    }
}

impl SymbolThread {
    fn name_stack(&mut self, stack: &StackFrames) {
        let StackFrames { seq, process, hint, offsets, ips, .. } = stack;
        let root = self.roots.get(*seq, process.pid);
        let hint = hint.clone().map(|hint| ProcessHint { root, ..hint });
        let resolve = || self.user.resolve(*process, hint.as_ref(), offsets, ips);
        let names = self.shares.run(&self.tenants.find(stack.task()), resolve);
        self.answer_stack(stack, names, LookupKind::Stack);
    }

    /// Each process is asked for alone: a file is its own, and not one of another container with
    /// the same build id. Names of a file that several have mapped are known after the first.
    /// Addresses take a helper process each.
    fn name_growth(&mut self, stacks: &[StackFrames]) {
        let Some(task) = stacks.first().map(StackFrames::task) else { return };
        let (growing, symbols) = (&self.growing, &mut self.user_growing);
        self.shares.run(&self.tenants.find(task), || {
            growing.wait(disposable::deadline());
            symbols.keep_files(growing.take_files());
            symbols.keep_perf_maps(growing.perf_maps());
        });
        for (number, stack) in stacks.iter().enumerate() {
            let ips = if number < MAX_GROWING_PROCESSES { stack.ips.as_slice() } else { &[] };
            let symbols = &mut self.user_growing;
            let process = symbols.process(stack.process.pid);
            let resolve = || symbols.resolve(process, None, &stack.offsets, ips);
            let names = self.shares.run(&self.tenants.find(stack.task()), resolve);
            self.answer_stack(stack, names, LookupKind::Growth);
        }
    }

    /// `names`: none if the look-up was refused.
    fn answer_stack(&self, stack: &StackFrames, names: Option<UserNames>, kind: LookupKind) {
        let refused = names.is_none().then_some(kind);
        let (pid, names) = (stack.process.pid, names.unwrap_or_default());
        self.answer(SymbolAnswer {
            seq: stack.seq,
            found: FoundNames::Process { pid, names },
            refused,
        });
    }

    fn answer(&self, answer: SymbolAnswer) {
        self.answers.change(|answers| answers.push(answer));
    }
}

#[cfg(test)]
mod tests;
