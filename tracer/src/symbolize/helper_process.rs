//! Runs a hidden command of this program as a short-lived helper process. It reads its request from
//! stdin, a socket, and writes its response to stdout, both as JSON. Files come with the request as
//! descriptors. The memory that it needs is gone with it.
//!
//! A helper reads files that a victim may have prepared, so everything about it is bounded: its CPU
//! time, its memory, its privileges, the size of its response, and how long it is waited for. At
//! its deadline it is killed and abandoned, because a helper that hangs in the kernel does not even
//! react to SIGKILL.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
    thread::CapabilitySet,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::host::{
    confinement::Helper,
    descriptors,
    disposable::{self, Limits, deadline},
    oom_score_adj::offer_self,
};

/// Address space of a helper, bytes. It maps the files that it reads.
const MAX_ADDRESS_BYTES: u64 = 4 << 30;
/// Memory of a helper without the files that it maps, bytes. The symbol tables of the largest
/// browsers take half of it.
const MAX_DATA_BYTES: u64 = 192 << 20;
/// Descriptors of a helper: those that it may receive, and those that it opens for each.
const MAX_OPEN_FILES: u64 = 1024;
/// Copies in memory of files that a helper may not open or map, bytes in all. So it is also the
/// limit of what it may write: beyond that the kernel would end it by SIGXFSZ.
pub(super) const MAX_COPIED_BYTES: u64 = 128 << 20;
/// Size of a response, bytes: thousands of names.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// How long a helper may take to end after its response.
const EXIT_DEADLINE: Duration = Duration::from_millis(200);

/// The response of the hidden command `command` to a request about these files.
pub(crate) fn ask<A: DeserializeOwned>(
    command: &str,
    request: &impl Serialize,
    files: &[BorrowedFd<'_>],
) -> io::Result<A> {
    let mut helper = Command::new("/proc/self/exe");
    helper.arg(command);
    let Output { response, status } =
        run(helper, &serde_json::to_vec(request)?, files, deadline())?;
    serde_json::from_slice(&response).map_err(|error| {
        // The OOM killer prefers helpers. Their own limits end them by other signals.
        let was_killed = status.and_then(|it| it.signal()) == Some(Signal::KILL.as_raw());
        if was_killed { ErrorKind::Interrupted.into() } else { error.into() }
    })
}

/// The helper's side: drops privileges, reads a request, and writes the response to it.
pub(crate) fn serve<Q: DeserializeOwned, A: Serialize>(
    input: impl Read + AsFd,
    mut output: impl Write,
    capabilities: CapabilitySet,
    respond: impl FnOnce(&Q, Vec<OwnedFd>) -> A,
) -> io::Result<()> {
    // For logs and ps(1): otherwise the name is "exe", that of the link by which it was started.
    let _ = rustix::thread::set_name(c"oomwhy-names");
    offer_self();
    disposable::limit_self(Limits {
        cpu: Some(deadline()),
        address_bytes: MAX_ADDRESS_BYTES,
        data_bytes: MAX_DATA_BYTES,
        open_files: MAX_OPEN_FILES,
        file_bytes: MAX_COPIED_BYTES,
        capabilities,
        helper: Helper::Reader,
    })?;
    let mut first = [0];
    let (n_bytes, files) = descriptors::receive(&input, &mut first)?;
    let request = first.get(..n_bytes).unwrap_or_default().chain(input);
    let response = respond(&serde_json::from_reader(request)?, files);
    serde_json::to_writer(&mut output, &response)?;
    output.flush()
}

#[derive(Debug)]
struct Output {
    response: Vec<u8>,
    /// `None` if the helper did not end by itself.
    status: Option<ExitStatus>,
}

/// Feeds `input` to a command and returns its output.
fn run(
    mut command: Command,
    input: &[u8],
    files: &[BorrowedFd<'_>],
    patience: Duration,
) -> io::Result<Output> {
    if !disposable::has_room() {
        return Err(io::Error::new(ErrorKind::ResourceBusy, "earlier helper processes hang"));
    }
    let until = Instant::now() + patience;
    let (ours, theirs) = UnixStream::pair()?;
    let stdin = Stdio::from(OwnedFd::from(theirs));
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    // It holds the helper's end of the socket.
    drop(command);
    let response = match child.stdout.take() {
        Some(stdout) => send(ours, input, files)
            .and_then(|(socket, rest)| exchange(socket, rest, stdout, until)),
        None => Err(ErrorKind::BrokenPipe.into()),
    };
    let is_done = response.is_ok();
    let status = end(child, if is_done { EXIT_DEADLINE } else { Duration::ZERO });
    Ok(Output { response: response?, status })
}

/// Sends the files with the first byte of the input. Returns the socket and the other bytes.
fn send<'a>(
    socket: UnixStream,
    input: &'a [u8],
    files: &[BorrowedFd<'_>],
) -> io::Result<(UnixStream, &'a [u8])> {
    socket.set_nonblocking(true)?;
    let Some((first, rest)) = input.split_at_checked(1) else { return Ok((socket, input)) };
    match descriptors::send(&socket, first, files) {
        // The child has ended. Its output is still read.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok((socket, &[])),
        sent => sent.map(|()| (socket, rest)),
    }
}

/// Writes and reads at the same time, until the child closes its output.
fn exchange(
    socket: UnixStream,
    mut input: &[u8],
    mut stdout: ChildStdout,
    until: Instant,
) -> io::Result<Vec<u8>> {
    let mut open_socket = Some(socket);
    let mut output = Vec::new();
    let mut buffer = [0; 1 << 14];
    loop {
        if input.is_empty() {
            open_socket = None;
        }
        let is_readable = wait(open_socket.as_ref(), &stdout, until)?;
        if is_readable {
            match stdout.read(&mut buffer)? {
                0 => return Ok(output),
                n => output.extend(buffer.iter().take(n)),
            }
            if output.len() > MAX_RESPONSE_BYTES {
                return Err(io::Error::new(ErrorKind::FileTooLarge, "the response is too large"));
            }
        } else if let Some(socket) = &mut open_socket {
            match socket.write(input) {
                Ok(n) => input = input.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The child does not want the rest, or has ended. Its output is still read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => input = &[],
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits until the socket or the pipe is ready. Whether it is the child's output.
fn wait(socket: Option<&UnixStream>, stdout: &ChildStdout, until: Instant) -> io::Result<bool> {
    let mut ready = vec![PollFd::new(stdout, PollFlags::IN)];
    ready.extend(socket.map(|socket| PollFd::new(socket, PollFlags::OUT)));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(ready.first().is_some_and(|pipe| !pipe.revents().is_empty())),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Lets a child end by itself, and kills it if it does not.
fn end(mut child: Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    let mut pause = Duration::from_micros(100);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= until {
            disposable::abandon(child);
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn run_large_input_and_output_are_exchanged_at_the_same_time() {
        // More than two pipes hold: a writer that does not read would block.
        let input: Vec<u8> = (0..1 << 20).map(|number: u32| number.to_le_bytes()[0]).collect();
        let output = run(Command::new("cat"), &input, &[], PATIENCE).unwrap();
        assert!(output.response == input);
    }

    #[test]
    fn run_child_that_ignores_its_input_is_read() {
        let output = run(shell("exec 0<&-; echo yes"), &vec![0; 1 << 20], &[], PATIENCE).unwrap();
        assert_eq!(output.response, b"yes\n");
    }

    #[test]
    fn run_hung_child_ends_at_the_deadline() {
        let begin = Instant::now();
        let short = Duration::from_millis(50);
        let error = run(shell("exec sleep 1000"), &vec![0; 1 << 20], &[], short).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() < PATIENCE);
    }

    #[test]
    fn run_endless_output_is_refused() {
        let error = run(shell("exec cat /dev/zero"), &[], &[], PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn run_child_that_closed_its_output_is_not_waited_for() {
        let begin = Instant::now();
        let output = run(shell("echo yes; exec >&-; exec sleep 1000"), &[], &[], PATIENCE).unwrap();
        assert_eq!(output.response, b"yes\n");
        assert!(begin.elapsed() < PATIENCE);
    }

    #[test]
    fn run_child_reads_the_files_that_come_with_its_input() {
        use std::os::fd::AsRawFd as _;

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "content").unwrap();
        let opened = std::fs::File::open(file.path()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (socket, rest) = send(ours, b"ab", &[opened.as_fd()]).unwrap();
        drop((socket, rest));
        let mut first = [0];
        let (_, files) = descriptors::receive(&theirs, &mut first).unwrap();
        let path = format!("/proc/self/fd/{}", files[0].as_raw_fd());
        assert_eq!((first, std::fs::read_to_string(path).unwrap().as_str()), (*b"a", "content"));
    }

    #[test]
    fn end_of_a_killed_child_is_not_the_fault_of_its_files() {
        let output = run(shell("kill -9 $$"), &[], &[], PATIENCE).unwrap();
        assert_eq!(output.status.unwrap().signal(), Some(Signal::KILL.as_raw()));
    }

    /// The test's executable has no hidden command.
    #[test]
    fn ask_without_a_response_fails() {
        ask::<Vec<u32>>("kernel-symbols", &[1], &[]).unwrap_err();
    }
}
