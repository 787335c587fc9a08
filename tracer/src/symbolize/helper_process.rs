//! Runs a hidden command of this program as a short-lived helper process. It reads its request from
//! stdin and writes its response to stdout, both as JSON. The memory that it needs is gone with it.
//!
//! A helper reads files that a victim may have prepared, so everything about it is bounded: its CPU
//! time, its memory, the size of its response, and how long it is waited for. A helper that does
//! not even react to SIGKILL (it hangs in the kernel) is left behind.

use std::{
    io::{self, ErrorKind, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Resource, Rlimit, setrlimit},
    thread::CapabilitySet,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::host::{confinement::confine_helper, oom_score_adj::unprotect_self};

/// Seconds of CPU time that a helper may use.
const MAX_CPU_SECONDS: u64 = 10;
/// Address space of a helper, bytes. It maps the files that it reads.
const MAX_ADDRESS_BYTES: u64 = 4 << 30;
/// Memory of a helper without the files that it maps, bytes. The symbol tables of the largest
/// browsers take half of it.
const MAX_DATA_BYTES: u64 = 192 << 20;
/// Size of a response, bytes: thousands of names.
const MAX_RESPONSE_BYTES: usize = 16 << 20;
/// How long a helper may take, three times its CPU time: the host may be loaded.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a helper is waited for after SIGKILL.
const EXIT_DEADLINE: Duration = Duration::from_secs(1);
/// Helpers that were left behind. With that many, no other is started.
const MAX_LEFT_BEHIND: usize = 4;
/// The bytes that a ready pipe takes at least without blocking: `PIPE_BUF` of pipe(7).
const PIPE_BUF: usize = 4096;

static LEFT_BEHIND: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// The response of the hidden command `command` to a request.
pub(crate) fn ask<A: DeserializeOwned>(command: &str, request: &impl Serialize) -> io::Result<A> {
    let mut helper = Command::new("/proc/self/exe");
    helper.arg(command);
    let response = run(helper, &serde_json::to_vec(request)?, DEADLINE)?;
    Ok(serde_json::from_slice(&response)?)
}

/// The helper's side: reads a request, and writes the response to it. Of all capabilities, it keeps
/// only these.
pub(crate) fn serve<Q: DeserializeOwned, A: Serialize>(
    kept: CapabilitySet,
    input: impl Read,
    mut output: impl Write,
    respond: impl FnOnce(&Q) -> A,
) -> io::Result<()> {
    limit_self(kept);
    let request = serde_json::from_reader(input)?;
    serde_json::to_writer(&mut output, &respond(&request))?;
    output.flush()
}

/// None of these is a condition for the work, so failures are ignored.
fn limit_self(kept: CapabilitySet) {
    // For logs and ps(1): otherwise the name is "exe", that of the link by which it was started.
    let _ = rustix::thread::set_name(c"oomwhy-names");
    for (resource, max) in [
        (Resource::Cpu, MAX_CPU_SECONDS),
        (Resource::As, MAX_ADDRESS_BYTES),
        (Resource::Data, MAX_DATA_BYTES),
    ] {
        let _ = setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) });
    }
    // The tracer is protected from the OOM killer, its helpers are not: while memory is short, the
    // kernel evaluates them by their size like every other process.
    unprotect_self();
    confine_helper(kept);
}

/// Feeds `input` to a command and returns its output.
fn run(mut command: Command, input: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut left_behind = LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner);
    left_behind.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    if left_behind.len() >= MAX_LEFT_BEHIND {
        return Err(io::Error::new(ErrorKind::ResourceBusy, "earlier helper processes hang"));
    }
    drop(left_behind);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => exchange(stdin, input, stdout, Instant::now() + patience),
        _ => Err(ErrorKind::BrokenPipe.into()),
    };
    end(child);
    output
}

/// Writes and reads at the same time, until the child closes its output.
fn exchange(
    stdin: ChildStdin,
    mut input: &[u8],
    mut stdout: ChildStdout,
    deadline: Instant,
) -> io::Result<Vec<u8>> {
    let mut open_stdin = Some(stdin);
    let mut output = Vec::new();
    let mut buffer = [0; 1 << 14];
    loop {
        if input.is_empty() {
            open_stdin = None;
        }
        let is_readable = wait(open_stdin.as_ref(), &stdout, deadline)?;
        if is_readable {
            match stdout.read(&mut buffer)? {
                0 => return Ok(output),
                n => output.extend(buffer.iter().take(n)),
            }
            if output.len() > MAX_RESPONSE_BYTES {
                return Err(io::Error::new(ErrorKind::FileTooLarge, "the response is too large"));
            }
        } else if let Some(stdin) = &mut open_stdin {
            match stdin.write(input.get(..PIPE_BUF).unwrap_or(input)) {
                Ok(n) => input = input.get(n..).unwrap_or_default(),
                // The child does not want the rest, or has ended. Its output is still read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => input = &[],
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits until one of the pipes is ready. Whether it is the child's output.
fn wait(stdin: Option<&ChildStdin>, stdout: &ChildStdout, deadline: Instant) -> io::Result<bool> {
    let mut pipes = vec![PollFd::new(stdout, PollFlags::IN)];
    pipes.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut pipes, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(pipes.first().is_some_and(|pipe| !pipe.revents().is_empty())),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Ends a child that is not needed any more, in the usual case one that is about to exit anyway.
fn end(mut child: Child) {
    // Fails only if it has ended already.
    let _ = child.kill();
    let begin = Instant::now();
    let mut pause = Duration::from_micros(100);
    while matches!(child.try_wait(), Ok(None)) {
        if begin.elapsed() > EXIT_DEADLINE {
            LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner).push(child);
            return;
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
        assert_eq!(run(Command::new("cat"), &input, PATIENCE).unwrap(), input);
    }

    #[test]
    fn run_child_that_ignores_its_input_is_read() {
        let output = run(shell("exec 0<&-; echo yes"), &vec![0; 1 << 20], PATIENCE).unwrap();
        assert_eq!(output, b"yes\n");
    }

    #[test]
    fn run_hung_child_ends_at_the_deadline() {
        let begin = Instant::now();
        let error = run(shell("exec sleep 1000"), &vec![0; 1 << 20], Duration::from_millis(50));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() < PATIENCE);
    }

    #[test]
    fn run_endless_output_is_refused() {
        let error = run(shell("exec cat /dev/zero"), &[], PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn run_child_that_closed_its_output_is_not_waited_for() {
        let begin = Instant::now();
        let output = run(shell("echo yes; exec >&-; exec sleep 1000"), &[], PATIENCE).unwrap();
        assert_eq!(output, b"yes\n");
        assert!(begin.elapsed() < PATIENCE);
    }

    /// The test's executable has no hidden command.
    #[test]
    fn ask_without_a_response_fails() {
        ask::<Vec<u32>>("kernel-symbols", &[1]).unwrap_err();
    }
}
