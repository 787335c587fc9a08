//! Writes diagnostics to stderr. Nobody may be reading it, so a diagnostic never waits for long:
//! the main loop prints some, and so do the threads of outputs.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// How long a diagnostic waits for a reader that was reading until now.
const PATIENCE: Duration = Duration::from_millis(200);
/// A pipe that is ready takes as many bytes at once, `PIPE_BUF`.
const MAX_WRITE_BYTES: usize = 4096;

static STDERR: Diagnostics = Diagnostics::new();

/// Prints whole lines, or drops them if stderr takes nothing. Ignores errors.
pub(super) fn print(lines: &str) {
    #[expect(clippy::disallowed_methods, reason = "here is the door of all diagnostics")]
    let stderr = io::stderr();
    // Not through std: its lock would make this thread wait for one that is blocked.
    STDERR.print(stderr.as_fd(), lines);
}

struct Diagnostics {
    /// The last one found no room, so the next one does not wait.
    is_blocked: AtomicBool,
    n_dropped: AtomicU64,
}

impl Diagnostics {
    const fn new() -> Self {
        Self { is_blocked: AtomicBool::new(false), n_dropped: AtomicU64::new(0) }
    }

    fn print(&self, to: BorrowedFd<'_>, lines: &str) {
        let n_dropped = self.n_dropped.swap(0, Ordering::Relaxed);
        let is_printed = match n_dropped {
            0 => self.write(to, lines),
            n => self.write(to, &format!("({n} messages dropped: stderr was blocked)\n{lines}")),
        };
        if !is_printed {
            self.n_dropped.fetch_add(n_dropped + 1, Ordering::Relaxed);
        }
    }

    /// `false` if there is no room.
    fn write(&self, to: BorrowedFd<'_>, text: &str) -> bool {
        for part in text.as_bytes().chunks(MAX_WRITE_BYTES) {
            let was_blocked = self.is_blocked.load(Ordering::Relaxed);
            let has_room = await_room(to, if was_blocked { Duration::ZERO } else { PATIENCE });
            self.is_blocked.store(!has_room, Ordering::Relaxed);
            if !has_room {
                return false;
            }
            let mut left = part;
            while !left.is_empty() {
                match rustix::io::write(to, left) {
                    Ok(n_bytes @ 1..) => left = left.get(n_bytes..).unwrap_or_default(),
                    Err(Errno::INTR) => {}
                    // Nothing can be said about it.
                    Ok(_) | Err(_) => return true,
                }
            }
        }
        true
    }
}

/// Files and devices are always ready. So is a pipe without a reader: the write then fails.
fn await_room(to: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut waits = [PollFd::new(&to, PollFlags::OUT)];
    let timeout = Timespec::try_from(patience).ok();
    loop {
        match poll(&mut waits, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            // A helper process may not poll, but nobody reads its stderr either.
            ready => return ready != Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _, pipe},
        os::fd::AsFd as _,
        time::{Duration, Instant},
    };

    use rustix::{
        fs::{OFlags, fcntl_setfl},
        io::Errno,
    };

    use super::{Diagnostics, PATIENCE};

    #[test]
    fn blocked_stderr_costs_lines_and_no_time() {
        let (mut reader, mut writer) = pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let full = loop {
            if let Err(error) = writer.write_all(&[b'x'; 4096]) {
                break error;
            }
        };
        assert_eq!(full.raw_os_error(), Some(Errno::AGAIN.raw_os_error()));
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let stderr = Diagnostics::new();
        let begin = Instant::now();
        for _ in 0..100 {
            stderr.print(writer.as_fd(), "lost\n");
        }
        assert!(begin.elapsed() < PATIENCE + Duration::from_secs(5), "only the first one waits");
        let mut read = vec![0; 1 << 20];
        assert!(reader.read(&mut read).unwrap() > 0);
        stderr.print(writer.as_fd(), "first\n");
        stderr.print(writer.as_fd(), "second\n");
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let printed = rest.trim_start_matches('x');
        assert_eq!(printed, "(100 messages dropped: stderr was blocked)\nfirst\nsecond\n");
    }
}
