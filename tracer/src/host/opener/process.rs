//! The helper process that resolves and opens paths. There is one per tracer. It has only the
//! capabilities to read, it never reads a file's content, and it passes the descriptors over a
//! socket. If a path makes it hang, it is killed, and another one takes its place.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};

use super::{Directory, FileFacts, OpenedFile, Operation, Refusal, walk};
use crate::host::{
    capabilities::drop::lend,
    confinement::{Helper, OPEN_FILES},
    descriptors,
    disposable::{self, Limits},
    procfs::file,
};

/// The hidden command of the helper process.
const HELPER_COMMAND: &str = "open-files";
/// Longer paths do not exist: `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;
/// Operations in one message.
const MAX_OPERATIONS: usize = 8;
/// Bytes of a message: a path is up to six times as long in JSON.
const MAX_MESSAGE_BYTES: usize = MAX_OPERATIONS * 8 * MAX_PATH_BYTES;
/// Memory of the helper, bytes. A list of names or a copy takes a few MiB.
const MAX_DATA_BYTES: u64 = 64 << 20;
const MAX_ADDRESS_BYTES: u64 = 1 << 30;
/// The largest copy in memory: a list of mappings.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// More than it has open at a time. The kernel compares this with the descriptors that all
/// processes of a user are sending (`too_many_unix_fds`), so it is not much lower.
const MAX_OPEN_FILES: u64 = 1024;
/// What made the helper hang is not tried again for this long.
const QUARANTINE: Duration = Duration::from_mins(1);
const MAX_QUARANTINED: usize = 64;

/// Absent in tests and in commands that look up nothing in the background: they open files
/// themselves.
static OPENER: Mutex<Option<Opener>> = Mutex::new(None);

thread_local! {
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long this thread has waited so far while the opener worked for other threads.
pub(crate) fn waited() -> Duration {
    WAITED.get()
}

fn lock() -> MutexGuard<'static, Option<Opener>> {
    let begin = Instant::now();
    let opener = OPENER.lock().unwrap_or_else(PoisonError::into_inner);
    WAITED.set(WAITED.get() + begin.elapsed());
    opener
}

/// Lets a helper process open files from now on.
pub(crate) fn start() {
    let mut opener = Opener::new(start_process);
    // If it cannot start now, it is tried again at the first request.
    opener.running = start_process().ok();
    *lock() = Some(opener);
}

/// The helper's side: answers until the tracer ends.
pub(crate) fn serve(socket: impl AsFd) -> io::Result<()> {
    // For logs and ps(1).
    let _ = rustix::thread::set_name(c"oomwhy-opener");
    disposable::limit_self(Limits {
        cpu: None,
        address_bytes: MAX_ADDRESS_BYTES,
        data_bytes: MAX_DATA_BYTES,
        open_files: MAX_OPEN_FILES,
        file_bytes: MAX_FILE_BYTES,
        capabilities: OPEN_FILES,
        helper: Helper::Opener,
    })?;
    answer_all(socket)
}

pub(super) fn run(base: &Directory, operations: &[Operation]) -> Vec<Result<OpenedFile, Refusal>> {
    // Other threads get their turn in between.
    operations.chunks(MAX_OPERATIONS).flat_map(|some| run_chunk(base, some)).collect()
}

fn run_chunk(base: &Directory, operations: &[Operation]) -> Vec<Result<OpenedFile, Refusal>> {
    let mut opener = lock();
    if let Some(opener) = opener.as_mut() {
        return opener.run(base, operations);
    }
    drop(opener);
    operations.iter().map(|operation| walk::run(base.as_fd(), operation)).collect()
}

/// A running helper process.
struct Process {
    /// `None` in tests: a thread instead.
    child: Option<Child>,
    socket: OwnedFd,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            disposable::abandon(child);
        }
    }
}

fn start_process() -> io::Result<Process> {
    if !disposable::has_room() {
        return Err(ErrorKind::ResourceBusy.into());
    }
    let flags = SocketFlags::CLOEXEC;
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(HELPER_COMMAND).stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    let child = lend(OPEN_FILES, || command.spawn())?;
    Ok(Process { child: Some(child), socket })
}

/// Asks the helper process, and replaces it if it hangs.
struct Opener {
    start: fn() -> io::Result<Process>,
    running: Option<Process>,
    /// What made a helper hang, the latest last.
    hung: VecDeque<Hung>,
}

struct Hung {
    /// The mount that the base is on: another container has another one.
    mount: u64,
    operation: Operation,
    since: Instant,
}

impl Opener {
    const fn new(start: fn() -> io::Result<Process>) -> Self {
        Self { start, running: None, hung: VecDeque::new() }
    }

    fn run(&mut self, base: &Directory, all: &[Operation]) -> Vec<Result<OpenedFile, Refusal>> {
        all.chunks(MAX_OPERATIONS).flat_map(|operations| self.run_some(base, operations)).collect()
    }

    fn run_some(
        &mut self,
        base: &Directory,
        operations: &[Operation],
    ) -> Vec<Result<OpenedFile, Refusal>> {
        self.hung.retain(|hung| hung.since.elapsed() < QUARANTINE);
        let mount = if self.hung.is_empty() { None } else { mount_of(base) };
        let hung: Vec<bool> = operations.iter().map(|it| self.is_hung(mount, it)).collect();
        let with_hung = || operations.iter().zip(&hung);
        let asked: Vec<&Operation> =
            with_hung().filter(|(_, hung)| !**hung).map(|(operation, _)| operation).collect();
        let mut answers = self.ask(base, &asked).into_iter();
        let refused = |hung: &bool| if *hung { Some(Err(Refusal::TimedOut)) } else { None };
        let answer = |hung| refused(hung).or_else(|| answers.next());
        hung.iter().map(answer).map(|it| it.unwrap_or(Err(Refusal::NoHelper))).collect()
    }

    fn is_hung(&self, mount: Option<u64>, operation: &Operation) -> bool {
        let is_it = |hung: &Hung| Some(hung.mount) == mount && hung.operation == *operation;
        self.hung.iter().any(is_it)
    }

    /// The answers as far as they came.
    fn ask(
        &mut self,
        base: &Directory,
        operations: &[&Operation],
    ) -> Vec<Result<OpenedFile, Refusal>> {
        let mut answers = Vec::new();
        let Some(process) = self.send(base, operations) else { return answers };
        let until = Instant::now() + disposable::deadline();
        for operation in operations {
            match receive_until(&process.socket, until) {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    // Dropped, and so abandoned.
                    if error.kind() == ErrorKind::TimedOut {
                        answers.push(Err(Refusal::TimedOut));
                        self.remember(base, operation);
                    }
                    return answers;
                }
            }
        }
        self.running = Some(process);
        answers
    }

    /// Sends a request to the running helper. If that has ended, another one is started.
    fn send(&mut self, base: &Directory, operations: &[&Operation]) -> Option<Process> {
        if operations.is_empty() {
            return None;
        }
        let request = serde_json::to_vec(operations).ok()?;
        let is_sent = |process: &Process| {
            descriptors::send(&process.socket, &request, &[base.as_fd()]).is_ok()
        };
        let running = self.running.take().filter(is_sent);
        running.or_else(|| (self.start)().ok().filter(is_sent))
    }

    fn remember(&mut self, base: &Directory, operation: &Operation) {
        let Some(mount) = mount_of(base) else { return };
        if self.hung.len() >= MAX_QUARANTINED {
            self.hung.pop_front();
        }
        let since = Instant::now();
        self.hung.push_back(Hung { mount, operation: operation.clone(), since });
    }
}

/// From /proc, because fstat(2) could block.
fn mount_of(base: &Directory) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", base.as_fd().as_raw_fd());
    let info = file::read_text(path.as_ref())?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

fn receive_until(socket: &OwnedFd, until: Instant) -> io::Result<Result<OpenedFile, Refusal>> {
    let mut ready = [PollFd::new(socket, PollFlags::IN)];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut buffer = [0; MAX_ANSWER_BYTES];
    let (n_bytes, received) = descriptors::receive(socket, &mut buffer)?;
    let answer: Result<FileFacts, Refusal> =
        serde_json::from_slice(buffer.get(..n_bytes).unwrap_or_default())?;
    let file = received.into_iter().next();
    Ok(match (answer, file) {
        (Ok(facts), Some(file)) => Ok(OpenedFile { file: file.into(), facts }),
        (Ok(_), None) => Err(Refusal::NoHelper),
        (Err(refusal), _) => Err(refusal),
    })
}

/// An answer has a few numbers.
const MAX_ANSWER_BYTES: usize = 1024;

fn answer_all(socket: impl AsFd) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    loop {
        let (n_bytes, received) = descriptors::receive(&socket, &mut buffer)?;
        if n_bytes == 0 {
            return Ok(());
        }
        let request = buffer.get(..n_bytes).unwrap_or_default();
        let operations: Vec<Operation> = serde_json::from_slice(request)?;
        let base = received.first().ok_or(ErrorKind::InvalidData)?;
        for operation in &operations {
            answer(&socket, &walk::run(base.as_fd(), operation))?;
        }
    }
}

fn answer(socket: impl AsFd, opened: &Result<OpenedFile, Refusal>) -> io::Result<()> {
    let answer = serde_json::to_vec(&opened.as_ref().map(|opened| opened.facts))?;
    let descriptor = opened.as_ref().ok().map(|opened| opened.file.as_fd());
    descriptors::send(socket, &answer, descriptor.as_slice())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;
    use crate::host::opener::{Target, Tree, tests::Fuse};

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    /// A thread that answers, in place of the helper process.
    fn answering() -> Process {
        let (socket, theirs) = pair();
        thread::spawn(move || answer_all(theirs));
        Process { child: None, socket }
    }

    fn open(path: &str) -> Operation {
        Operation::Open(Target::new(Tree::Root, path, 100))
    }

    fn content(opened: Result<OpenedFile, Refusal>) -> Result<String, Refusal> {
        let mut text = String::new();
        opened?.file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    fn directory() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let base = Directory::at(folder.path()).unwrap();
        (folder, base)
    }

    #[test]
    fn each_operation_gets_its_own_answer() {
        let (folder, base) = directory();
        for number in 0..20 {
            std::fs::write(folder.path().join(number.to_string()), number.to_string()).unwrap();
        }
        let mut opener = Opener::new(|| Ok(answering()));
        let operations: Vec<Operation> =
            (0..30).map(|number: u32| open(&number.to_string())).collect();
        for _ in 0..2 {
            let answers = opener.run(&base, &operations);
            for (number, answer) in answers.into_iter().enumerate() {
                let absent = Refusal::Unresolved(rustix::io::Errno::NOENT.raw_os_error());
                let expected = if number < 20 { Ok(number.to_string()) } else { Err(absent) };
                assert_eq!(content(answer), expected);
            }
        }
    }

    #[test]
    fn helper_that_ended_is_replaced() {
        let (folder, base) = directory();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let mut opener = Opener::new(|| Ok(answering()));
        let (socket, theirs) = pair();
        opener.running = Some(Process { child: None, socket });
        drop(theirs);
        assert_eq!(content(opener.run(&base, &[open("file")]).remove(0)), Ok("x".to_owned()));
    }

    static STARTED: AtomicUsize = AtomicUsize::new(0);

    /// A thread that answers the first operation of each request, and hangs at the second one.
    fn hanging() -> Process {
        STARTED.fetch_add(1, Ordering::Relaxed);
        let (socket, theirs) = pair();
        thread::spawn(move || {
            let mut buffer = vec![0; MAX_MESSAGE_BYTES];
            descriptors::receive(&theirs, &mut buffer).unwrap();
            answer(&theirs, &Err(Refusal::NotRegular)).unwrap();
            // Until the other end is closed.
            let _ = descriptors::receive(&theirs, &mut buffer);
        });
        Process { child: None, socket }
    }

    #[test]
    fn operation_that_hangs_times_out_and_is_not_tried_again() {
        let (_folder, base) = directory();
        let mut opener = Opener::new(|| Ok(hanging()));
        let operations = ["first", "hangs", "third"].map(open);
        let begin = Instant::now();
        let answers = opener.run(&base, &operations);
        let refusals: Vec<Refusal> = answers.into_iter().map(Result::unwrap_err).collect();
        assert_eq!(refusals, [Refusal::NotRegular, Refusal::TimedOut, Refusal::NoHelper]);
        assert!(begin.elapsed() >= disposable::deadline());
        assert!(begin.elapsed() < Duration::from_secs(20) + disposable::deadline());
        assert!(opener.running.is_none());
        let begin = Instant::now();
        let again = opener.run(&base, &operations[1..2]).remove(0).unwrap_err();
        assert_eq!(again, Refusal::TimedOut);
        assert!(begin.elapsed() < disposable::deadline());
        assert_eq!(STARTED.load(Ordering::Relaxed), 1);
    }

    /// The server has read the request, so not even SIGKILL ends the look-up.
    #[test]
    fn path_that_hangs_on_fuse_times_out_and_others_are_opened() {
        let (folder, base) = directory();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let fuse = folder.path().join("fuse");
        std::fs::create_dir(&fuse).unwrap();
        let Some(_fuse) = Fuse::mount(&fuse) else {
            eprintln!("not run: FUSE needs root, /dev/fuse and python3");
            return;
        };
        let mut opener = Opener::new(|| Ok(answering()));
        let hangs = || [open("fuse/hangs"), open("file")];
        let refused = opener.run(&base, &hangs()).remove(0).unwrap_err();
        assert_eq!(refused, Refusal::TimedOut);
        let begin = Instant::now();
        let mut answers = opener.run(&base, &hangs());
        assert_eq!(content(answers.remove(1)), Ok("x".to_owned()));
        assert_eq!(answers.remove(0).unwrap_err(), Refusal::TimedOut);
        assert!(begin.elapsed() < disposable::deadline());
    }

    #[test]
    fn request_without_a_helper_is_refused() {
        let (_folder, base) = directory();
        let mut opener = Opener::new(|| Err(ErrorKind::ResourceBusy.into()));
        let answers = opener.run(&base, &["a", "b"].map(open));
        assert!(answers.into_iter().all(|answer| answer.unwrap_err() == Refusal::NoHelper));
    }
}
