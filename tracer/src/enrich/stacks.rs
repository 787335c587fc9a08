//! Names for stacks in user space, and for what the kernel did where memory grew, found on a thread of its
//! own: a symbol table takes tens of milliseconds and a child, while the ring is drained. The report that a
//! stack is for is closed when its names are there, or after [`PATIENCE`]: then its frames stay places in
//! files, or addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::growing::Growing;
use crate::{
    model::{
        events::UserFrame,
        names::{FileOffset, Name, Symbol, UserNames},
    },
    symbolize::{
        kernel::KernelSymbols,
        user::{Hint, Process, UserSymbols},
    },
};

/// How long the close of a report is put off for names: a loaded host takes its time over them, and
/// for a victim that stays a report waits longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
/// Stacks that wait. In a storm those that do not fit stay without names.
const MOST_QUESTIONS: usize = 64;
/// Processes that have grown whose own addresses get names, those that grew most.
pub(crate) const MOST_GROWERS: usize = 8;

/// A stack to be named.
#[derive(Debug)]
struct Question {
    seq: u64,
    process: Process,
    hint: Option<Hint>,
    places: Vec<FileOffset>,
    ips: Vec<u64>,
}

#[derive(Debug)]
enum Ask {
    Open(Process),
    Name(Question),
    /// They have grown, and a report is about it.
    Grown(Vec<Question>),
    /// Addresses in the kernel.
    Kernel {
        seq: u64,
        ips: Vec<u64>,
    },
}

/// What was found for an invocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its number.
    pub seq: u64,
    /// What.
    pub found: Found,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Names of a stack in user space.
    Process {
        /// Process.
        pid: u32,
        /// The names.
        names: UserNames,
    },
    /// Symbols of addresses in the kernel; what has none is left out.
    Kernel(BTreeMap<u64, Symbol>),
}

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<Vec<Answer>>,
    answered: Arc<Notify>,
    growing: Growing,
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, seq: u64, found: Found) {
        self.answers().push(Answer { seq, found });
        self.answered.notify_one();
    }
}

/// Questions of one invocation.
#[derive(Debug)]
struct Open {
    count: usize,
    since: Instant,
}

/// The thread, from outside.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    shared: Arc<Shared>,
    questions: Option<SyncSender<Ask>>,
    open: BTreeMap<u64, Open>,
    /// Those that [`Stacks::new_seqs`] has not told.
    new: BTreeSet<u64>,
}

impl Stacks {
    /// What is notified when there are answers.
    pub(crate) fn answered(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.answered)
    }

    /// Opens the files of a process that is going to die.
    pub(crate) fn open(&mut self, process: Process) {
        self.send(Ask::Open(process));
    }

    /// Opens the files of a process that grows near a limit, at once: the thread may be busy for longer
    /// than the process lives.
    pub(crate) fn grows(&self, pid: u32) {
        self.shared.growing.open(pid);
    }

    /// Once more, as it is going to be asked for.
    pub(crate) fn has_grown(&self, pid: u32) {
        self.shared.growing.open_again(pid);
    }

    /// Asks for the names of a stack. A full queue is not waited for.
    pub(crate) fn ask(
        &mut self,
        seq: u64,
        process: Process,
        hint: Option<Hint>,
        frames: &[UserFrame],
    ) {
        if !frames.is_empty() {
            let question = question(seq, process, hint, frames);
            self.wait_for(seq, 1, Ask::Name(question));
        }
    }

    /// Likewise for frames from which processes have grown, by process id.
    pub(crate) fn ask_grown<'a>(
        &mut self,
        seq: u64,
        growers: impl IntoIterator<Item = (u32, &'a [UserFrame])>,
    ) {
        // When it was started is read when it is looked at.
        let process = |pid| Process { pid, started_ns: 0 };
        let growers = growers.into_iter().filter(|(_, frames)| !frames.is_empty());
        let questions: Vec<Question> =
            growers.map(|(pid, frames)| question(seq, process(pid), None, frames)).collect();
        if !questions.is_empty() {
            let count = questions.len();
            self.wait_for(seq, count, Ask::Grown(questions));
        }
    }

    /// Likewise for addresses in the kernel.
    pub(crate) fn ask_kernel(&mut self, seq: u64, ips: Vec<u64>) {
        if !ips.is_empty() {
            self.wait_for(seq, 1, Ask::Kernel { seq, ips });
        }
    }

    fn wait_for(&mut self, seq: u64, answers: usize, ask: Ask) {
        if !self.send(ask) {
            return;
        }
        let open = self.open.entry(seq).or_insert(Open { count: 0, since: Instant::now() });
        if open.count == 0 {
            self.new.insert(seq);
        }
        open.count += answers;
    }

    /// Invocations whose names are being looked for, those that were not told before.
    pub(crate) fn new_seqs(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.new)
    }

    /// What was found since the last time.
    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        let answers = std::mem::take(&mut *self.shared.answers());
        for answer in &answers {
            if let Some(open) = self.open.get_mut(&answer.seq) {
                open.count = open.count.saturating_sub(1);
            }
        }
        answers
    }

    /// Invocations that need not be waited for any more: all was answered, or takes too long.
    pub(crate) fn settled(&mut self) -> Vec<u64> {
        let settled = |_: &u64, open: &mut Open| open.count == 0 || open.since.elapsed() > PATIENCE;
        self.open.extract_if(.., settled).map(|(seq, _)| seq).collect()
    }

    fn send(&mut self, ask: Ask) -> bool {
        if self.questions.is_none() {
            self.questions = start(Arc::clone(&self.shared));
        }
        self.questions.as_ref().is_some_and(|queue| queue.try_send(ask).is_ok())
    }
}

fn question(seq: u64, process: Process, hint: Option<Hint>, frames: &[UserFrame]) -> Question {
    let mut question = Question { seq, process, hint, places: Vec::new(), ips: Vec::new() };
    for frame in frames {
        match frame {
            UserFrame::File { build_id, file_offset } => question
                .places
                .push(FileOffset { build_id: build_id.clone(), file_offset: *file_offset }),
            UserFrame::Ip { ip } => question.ips.push(*ip),
        }
    }
    question
}

/// A host that lets us have no thread goes without.
fn start(shared: Arc<Shared>) -> Option<SyncSender<Ask>> {
    let (sender, questions) = sync_channel(MOST_QUESTIONS);
    let thread = thread::Builder::new().name("oomwhy-symbols".to_owned()).stack_size(256 << 10);
    thread.spawn(move || run(&questions, &shared)).ok()?;
    Some(sender)
}

fn run(questions: &Receiver<Ask>, shared: &Shared) {
    let answer = |question: &Question, names| {
        shared.answer(question.seq, Found::Process { pid: question.process.pid, names });
    };
    let mut kernel = KernelSymbols::default();
    let mut symbols = UserSymbols::default();
    // Apart: those who grow are many, and must not push out the files of who dies.
    let mut growing = UserSymbols::default();
    for ask in questions {
        match ask {
            Ask::Open(process) => symbols.open(process),
            Ask::Name(question) => {
                let Question { process, hint, places, ips, .. } = &question;
                answer(&question, symbols.resolve(*process, hint.as_ref(), places, ips));
            }
            Ask::Grown(questions) => {
                growing.keep_files(shared.growing.take_files());
                growing.keep_left(shared.growing.left());
                let names = names_of_growth(&mut growing, &questions);
                questions.iter().zip(names).for_each(|(question, names)| answer(question, names));
            }
            Ask::Kernel { seq, ips } => shared.answer(seq, Found::Kernel(kernel.resolve(&ips))),
        }
    }
}

/// Places are the same whoever is there: one question for all. Addresses are each process' own, and each
/// may take a child of ours.
fn names_of_growth(symbols: &mut UserSymbols, questions: &[Question]) -> Vec<UserNames> {
    let places: BTreeSet<FileOffset> =
        questions.iter().flat_map(|question| question.places.iter().cloned()).collect();
    let places = Vec::from_iter(places);
    let first = questions.first().map_or(0, |question| question.process.pid);
    let known: BTreeMap<FileOffset, Name> =
        symbols.resolve(Process::now(first), None, &places, &[]).places.into_iter().collect();
    let mut names = |(number, question): (usize, &Question)| {
        let Question { process, places, ips, .. } = question;
        let known = |place: &FileOffset| Some((place.clone(), known.get(place)?.clone()));
        let places = places.iter().filter_map(known).collect();
        let addresses = if ips.is_empty() || number >= MOST_GROWERS {
            Vec::new()
        } else {
            symbols.resolve(symbols.process(process.pid), None, &[], ips).addresses
        };
        UserNames { places, addresses }
    };
    questions.iter().enumerate().map(&mut names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This test's own executable has no hidden command: nothing is named, and that is an answer.
    #[test]
    fn an_invocation_is_settled_when_all_its_stacks_were_answered() {
        let mut stacks = Stacks::default();
        let process = Process { pid: std::process::id(), started_ns: 0 };
        stacks.ask(7, process, None, &[]);
        assert!(stacks.new_seqs().is_empty() && stacks.settled().is_empty());
        let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
        stacks.ask(7, process, None, &frame);
        stacks.ask(7, process, None, &frame);
        assert_eq!(stacks.new_seqs(), [7].into());
        assert!(stacks.new_seqs().is_empty());
        let begin = Instant::now();
        let mut answers = Vec::new();
        while answers.len() < 2 && begin.elapsed() < PATIENCE {
            answers.extend(stacks.answers());
            assert!(answers.len() == 2 || stacks.settled().is_empty());
            thread::yield_now();
        }
        let found = Found::Process { pid: process.pid, names: UserNames::default() };
        let answer = Answer { seq: 7, found };
        assert_eq!(answers.first(), Some(&answer));
        assert_eq!(stacks.settled(), [7]);
        assert!(stacks.settled().is_empty());
    }

    #[test]
    fn who_grew_is_answered_process_by_process() {
        let mut stacks = Stacks::default();
        let frame = [UserFrame::File { build_id: "00".to_owned(), file_offset: 1 }];
        stacks.ask_grown(8, [(1, &frame[..0])]);
        assert!(stacks.new_seqs().is_empty());
        let pid = std::process::id();
        stacks.ask_grown(8, [(pid, &frame[..]), (pid + 1, &frame[..]), (1, &frame[..0])]);
        assert_eq!(stacks.new_seqs(), [8].into());
        let begin = Instant::now();
        let mut answered = BTreeSet::new();
        while answered.len() < 2 && begin.elapsed() < PATIENCE {
            answered.extend(stacks.answers().into_iter().map(|answer| match answer.found {
                Found::Process { pid, .. } => (answer.seq, pid),
                Found::Kernel(_) => panic!("nobody asked"),
            }));
            thread::yield_now();
        }
        assert_eq!(answered, [(8, pid), (8, pid + 1)].into());
        assert_eq!(stacks.settled(), [8]);
    }

    #[test]
    fn what_the_kernel_did_is_waited_for_like_the_rest() {
        let mut stacks = Stacks::default();
        stacks.ask_kernel(9, Vec::new());
        assert!(stacks.new_seqs().is_empty());
        stacks.ask_kernel(9, vec![0xffff_ffff_8100_0000]);
        assert_eq!(stacks.new_seqs(), [9].into());
        let begin = Instant::now();
        let mut answers = Vec::new();
        while answers.is_empty() && begin.elapsed() < PATIENCE {
            answers = stacks.answers();
            thread::yield_now();
        }
        assert_eq!(answers, [Answer { seq: 9, found: Found::Kernel(BTreeMap::new()) }]);
        assert_eq!(stacks.settled(), [9]);
    }
}
