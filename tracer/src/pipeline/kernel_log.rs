//! /dev/kmsg, followed: woken by its records or by a signal, never by a clock that nothing waits
//! for.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use rustix::{fs::OFlags, io::Errno};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep_until},
};

use crate::{
    host::clock,
    kmsg::Log,
    model::{facts::Fact, report::OomReport},
    pipeline::{Pipeline, live::LiveError, stop_signals::StopSignals},
};

/// The device.
pub(crate) const DEVICE: &str = "/dev/kmsg";

/// A record is one read; the kernel's own buffer for one is half of this.
const RECORD: usize = 16 * 1024;
/// From the line of a kill to the report: members of a group come right behind it.
const SETTLES_AFTER: Duration = Duration::from_millis(300);
/// Time that a report whose end does not come is waited for: a slow console holds the killer up.
const GIVES_UP_AFTER: Duration = Duration::from_secs(10);
/// A clock may run so much too fast or too slow, of one second.
const DRIFT: i64 = 10_000;

/// The device, open, and what was read of it.
#[derive(Debug)]
pub(crate) struct KernelLog {
    file: File,
    buffer: Vec<u8>,
    /// Number of the record to come.
    next: Option<u64>,
    /// Records that were overwritten before they were read.
    lost: u64,
    lost_since_ns: u64,
    has_overrun: bool,
}

/// What one reading gave.
struct Batch {
    /// Time of its last record by the log's clock, ns.
    last_ns: Option<u64>,
    has_lost: bool,
}

impl KernelLog {
    /// Opens it, at the first record that is there or behind the last one.
    pub(crate) fn open(path: &Path, from_start: bool) -> io::Result<Self> {
        let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
        if !from_start {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(Self {
            file,
            buffer: vec![0; RECORD],
            next: None,
            lost: 0,
            lost_since_ns: clock::boottime_ns(),
            has_overrun: false,
        })
    }

    /// Reads what is there.
    fn drain(&mut self, log: &mut Log) -> io::Result<Batch> {
        let mut batch = Batch { last_ns: None, has_lost: false };
        loop {
            match self.file.read(&mut self.buffer) {
                Ok(0) => return Ok(batch),
                Ok(length) => self.record(length, log, &mut batch),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(batch),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Overwritten; the next read goes on with what is left.
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {
                    self.has_overrun = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn record(&mut self, length: usize, log: &mut Log, batch: &mut Batch) {
        let record = self.buffer.get(..length).unwrap_or_default();
        let [number, us] = numbers(record);
        if std::mem::take(&mut self.has_overrun) {
            // What was lost before the first record, nobody can count: one at the least.
            let lost = number.zip(self.next).map_or(1, |(got, next)| got.saturating_sub(next));
            self.lost += lost;
            batch.has_lost |= lost > 0;
        }
        self.next = number.map(|number| number.saturating_add(1));
        batch.last_ns = us.and_then(|us| us.checked_mul(1000)).or(batch.last_ns);
        for line in record.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            log.line(line);
        }
    }
}

/// `6,446,2162402,-;text`: the number and the time, µs.
fn numbers(record: &[u8]) -> [Option<u64>; 2] {
    let mut fields = record
        .split(|byte| matches!(byte, b',' | b';'))
        .skip(1)
        .map(|field| std::str::from_utf8(field).ok().and_then(|field| field.parse().ok()));
    [fields.next().flatten(), fields.next().flatten()]
}

/// A run that follows the log.
pub(crate) struct Follower {
    device: AsyncFd<KernelLogFd>,
    log: Log,
    pipeline: Pipeline,
    /// When what is pending is told, whole or not, and whether it is whole.
    due: Option<(Instant, bool)>,
    /// The host has slept: the log's clock stood still meanwhile.
    reads_backlog: bool,
}

/// Who waits for it needs its descriptor.
struct KernelLogFd(KernelLog);

impl std::os::fd::AsRawFd for KernelLogFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.file.as_raw_fd()
    }
}

impl Follower {
    /// Ties the parts together; must be called within the runtime. `reads_backlog`: what is there
    /// already is told, too.
    #[expect(deprecated, reason = "its successor is unsafe; the file owns its descriptor")]
    pub(crate) fn new(
        device: KernelLog,
        log: Log,
        pipeline: Pipeline,
        reads_backlog: bool,
    ) -> io::Result<Self> {
        let device = AsyncFd::new(KernelLogFd(device))?;
        Ok(Self { device, log, pipeline, due: None, reads_backlog })
    }

    /// The pipeline, for its statistics.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Runs until a signal, or until enough reports were written.
    pub(crate) async fn run(&mut self, ready: impl FnOnce()) -> Result<(), LiveError> {
        let mut stop = StopSignals::new()?;
        ready();
        loop {
            let due = self.due.map_or_else(Instant::now, |(due, _)| due);
            let is_done = tokio::select! {
                batch = next_batch(&mut self.device, &mut self.log) => self.take(&batch?)?,
                () = sleep_until(due), if self.due.is_some() => self.settle()?,
                () = stop.received() => break,
            };
            if is_done {
                return Ok(());
            }
        }
        let batch = self.device.get_mut().0.drain(&mut self.log)?;
        self.take(&batch)?;
        self.settle()?;
        Ok(())
    }

    /// Returns whether enough was reported.
    fn take(&mut self, batch: &Batch) -> Result<bool, LiveError> {
        self.set_clocks(batch.last_ns);
        if batch.has_lost {
            let KernelLog { lost, lost_since_ns, .. } = self.device.get_ref().0;
            let now = clock::boottime_ns();
            self.device.get_mut().0.lost_since_ns = now;
            let drops = Fact::Drops { count: lost, first_ns: lost_since_ns, last_ns: now };
            self.pipeline.learn(drops)?;
        }
        let reports = self.log.before_last();
        let is_done = self.tell(reports)?;
        self.due = match (self.log.pending(), self.due) {
            (None, _) => None,
            (Some(is_whole), Some((due, was_whole))) if is_whole == was_whole => {
                Some((due, is_whole))
            }
            (Some(true), _) => Some((Instant::now() + SETTLES_AFTER, true)),
            (Some(false), _) => Some((Instant::now() + GIVES_UP_AFTER, false)),
        };
        Ok(is_done)
    }

    /// Tells what is pending, as far as it came.
    fn settle(&mut self) -> Result<bool, LiveError> {
        self.due = None;
        self.reads_backlog = false;
        let reports = self.log.finish();
        self.tell(reports)
    }

    fn tell(&mut self, reports: Vec<OomReport>) -> Result<bool, LiveError> {
        for report in reports {
            if self.pipeline.tell_report(report)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The log's clock starts with the kernel, is not set, and stands still while the host sleeps.
    /// Its last record was written a moment ago: that tells how far it has drifted, unless we did
    /// not get to run.
    fn set_clocks(&mut self, last_ns: Option<u64>) {
        let realtime_offset = clock::realtime_offset_ns();
        let boottime = i64::try_from(clock::boottime_ns()).unwrap_or(i64::MAX);
        let monotonic = i64::try_from(clock::monotonic_ns()).unwrap_or(i64::MAX);
        let asleep = boottime.saturating_sub(monotonic);
        let by_clocks = realtime_offset.saturating_add(asleep);
        let age = last_ns.and_then(|last| monotonic.checked_sub(i64::try_from(last).ok()?));
        let drift = age.filter(|age| age.abs() <= monotonic / DRIFT).unwrap_or_default();
        let context = self.log.context_mut();
        let is_known = !self.reads_backlog || asleep < 1_000_000_000;
        context.log_offset_ns = is_known.then(|| by_clocks.saturating_add(drift));
        context.realtime_offset_ns = Some(realtime_offset);
        context.swap_total_bytes = Some(swap_total_bytes());
    }
}

/// Waits for records and reads them all: only then the next ones wake.
async fn next_batch(device: &mut AsyncFd<KernelLogFd>, log: &mut Log) -> io::Result<Batch> {
    let mut ready = device.readable_mut().await?;
    let batch = ready.get_inner_mut().0.drain(log);
    ready.clear_ready();
    batch
}

/// `totalswap` of sysinfo(2).
fn swap_total_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalswap.saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn number_and_time_of_a_record_are_read() {
        assert_eq!(numbers(b"6,446,2162402,-;text, 1;2\n"), [Some(446), Some(2_162_402)]);
        assert_eq!(numbers(b"nonsense"), [None, None]);
    }
}
