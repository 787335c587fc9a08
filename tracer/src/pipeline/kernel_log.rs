//! Follows /dev/kmsg. It is woken by records and signals, and by a clock only while a report waits
//! for it.

use std::{
    collections::BTreeMap,
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
    kmsg::{Log, Pending},
    model::{facts::Fact, report::OomReport},
    pipeline::{Pipeline, live::LiveError, stop_signals::StopSignals},
};

/// The device of the kernel log.
pub(crate) const DEVICE: &str = "/dev/kmsg";

/// Buffer for one record, bytes. A read returns one record; the kernel's own buffer is half of
/// this.
const RECORD: usize = 16 * 1024;
/// A kill is reported this long after its last line, because the lines of a group's members follow.
/// It is long, because the killer can lose its CPU between two lines.
const SETTLES_AFTER: Duration = Duration::from_secs(1);
/// A report whose end does not come is given up after this time. It is long, because a slow console
/// delays the killer.
const GIVES_UP_AFTER: Duration = Duration::from_secs(10);
/// The log's clock may drift by one part in this.
const DRIFT: i64 = 10_000;

/// The open device and its read position.
#[derive(Debug)]
pub(crate) struct KernelLog {
    file: File,
    buffer: Vec<u8>,
    /// Sequence number of the next record.
    next: Option<u64>,
    /// Number of records that were overwritten before they were read.
    lost: u64,
    lost_since_ns: u64,
    has_overrun: bool,
}

/// The result of one [`KernelLog::drain`].
struct Batch {
    /// Time of the last record by the log's clock, ns.
    last_ns: Option<u64>,
    has_lost: bool,
}

impl KernelLog {
    /// Opens the device at its first record, or after its last one.
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

    /// Reads all records that are there.
    fn drain(&mut self, log: &mut Log) -> io::Result<Batch> {
        let mut batch = Batch { last_ns: None, has_lost: false };
        loop {
            match self.file.read(&mut self.buffer) {
                Ok(0) => return Ok(batch),
                Ok(length) => self.record(length, log, &mut batch),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(batch),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Records were overwritten; the next read continues with the oldest that is left.
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
            // Before the first record, the number of lost ones is unknown: it is at least one.
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

/// Sequence number and time (µs) of a record such as `6,446,2162402,-;text`.
fn numbers(record: &[u8]) -> [Option<u64>; 2] {
    let mut fields = record
        .split(|byte| matches!(byte, b',' | b';'))
        .skip(1)
        .map(|field| std::str::from_utf8(field).ok().and_then(|field| field.parse().ok()));
    [fields.next().flatten(), fields.next().flatten()]
}

/// A run that reads the kernel log instead of probes.
pub(crate) struct Follower {
    device: AsyncFd<KernelLogFd>,
    log: Log,
    pipeline: Pipeline,
    /// When the pending report is delivered, and how much of it had been read when that was set.
    due: Option<(Instant, Pending)>,
    /// The records are those from before the start. The host may have slept since, and the log's
    /// clock stood still meanwhile.
    reads_backlog: bool,
}

/// Gives [`AsyncFd`] the device's descriptor.
struct KernelLogFd(KernelLog);

impl std::os::fd::AsRawFd for KernelLogFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.file.as_raw_fd()
    }
}

impl Follower {
    /// Must be called within the runtime. With `reads_backlog`, kills that are in the log already
    /// are reported, too.
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

    /// Ends the outputs. Each gets a moment to write what it has.
    pub(crate) fn close_outputs(&mut self) {
        self.pipeline.close_outputs();
    }

    /// Runs until a signal, or until the wanted number of reports was written.
    pub(crate) async fn run(&mut self, ready: impl FnOnce()) -> Result<(), LiveError> {
        let mut stop = StopSignals::new()?;
        let outputs_changed = self.pipeline.outputs_changed();
        ready();
        loop {
            let due = self.due.map_or_else(Instant::now, |(due, _)| due);
            let is_done = tokio::select! {
                batch = next_batch(&mut self.device, &mut self.log) => self.handle_batch(&batch?)?,
                () = sleep_until(due), if self.due.is_some() => self.report_pending()?,
                () = outputs_changed.notified() => self.handle_outputs()?,
                () = stop.received() => break,
            };
            if is_done {
                return Ok(());
            }
        }
        let batch = self.device.get_mut().0.drain(&mut self.log)?;
        self.handle_batch(&batch)?;
        self.report_pending()?;
        Ok(())
    }

    fn handle_outputs(&mut self) -> Result<bool, LiveError> {
        self.pipeline.handle_outputs()?;
        Ok(false)
    }

    /// Returns whether the wanted number of reports is reached.
    fn handle_batch(&mut self, batch: &Batch) -> Result<bool, LiveError> {
        self.set_clocks(batch.last_ns);
        if batch.has_lost {
            let KernelLog { lost, lost_since_ns, .. } = self.device.get_ref().0;
            let now = clock::boottime_ns();
            self.device.get_mut().0.lost_since_ns = now;
            let drops = Fact::Drops {
                count: lost,
                kills: None,
                kills_by_reason: BTreeMap::new(),
                first_ns: lost_since_ns,
                last_ns: now,
            };
            self.pipeline.learn(drops)?;
        }
        let reports = self.log.before_last();
        let is_done = self.report(reports)?;
        self.due = match (self.log.pending(), self.due) {
            (Some(pending), Some((due, before))) if pending == before => Some((due, pending)),
            (pending, _) => pending.map(|pending| (Instant::now() + wait_for(pending), pending)),
        };
        Ok(is_done)
    }

    /// Delivers the pending report, even if its end has not come.
    fn report_pending(&mut self) -> Result<bool, LiveError> {
        self.due = None;
        self.reads_backlog = false;
        let reports = self.log.finish();
        self.report(reports)
    }

    fn report(&mut self, reports: Vec<OomReport>) -> Result<bool, LiveError> {
        for report in reports {
            if self.pipeline.report_finished(report)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The log's clock starts with the kernel, cannot be set, and stands still while the host
    /// sleeps. The last record was written a moment ago, so its time shows the drift, unless this
    /// process did not get to run.
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

/// How long the next line is waited for.
fn wait_for(pending: Pending) -> Duration {
    if pending.is_whole { SETTLES_AFTER } else { GIVES_UP_AFTER }
}

/// Waits for records and reads them all. Otherwise the next ones would not wake this process.
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
    use std::path::Path;

    use super::{Batch, KernelLog, numbers};
    use crate::kmsg::{Context, Log};

    #[test]
    fn overwritten_records_are_counted_by_their_numbers() {
        let mut device = KernelLog::open(Path::new("/dev/null"), true).unwrap();
        let mut log = Log::new(Context::default());
        let mut batch = Batch { last_ns: None, has_lost: false };
        let mut read = |device: &mut KernelLog, record: &[u8]| {
            device.buffer[..record.len()].copy_from_slice(record);
            device.record(record.len(), &mut log, &mut batch);
            batch.has_lost
        };
        assert!(!read(&mut device, b"6,446,1,-;a\n"));
        device.has_overrun = true;
        assert!(read(&mut device, b"6,450,2,-;b\n"));
        assert_eq!(device.lost, 3);
        read(&mut device, b"6,451,3,-;c\n");
        assert_eq!(device.lost, 3);
    }

    #[test]
    fn record_has_number_and_time() {
        assert_eq!(numbers(b"6,446,2162402,-;text, 1;2\n"), [Some(446), Some(2_162_402)]);
        assert_eq!(numbers(b"nonsense"), [None, None]);
    }
}
