//! The state of an output, from its thread to the main loop: records that it lost, and whether its
//! reader is gone.
//!
//! A fault of an output is an event, not the end of the run. It is logged once when it begins and
//! once when it is over. Then the main loop writes a `loss` record to every output.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    fmt::{sanitize::sanitize, units::count},
    host::clock,
    model::report::{LossReason, LossStage},
};

/// Prints a line on stderr.
pub(crate) type LogStderr = Arc<dyn Fn(&str) + Send + Sync>;

/// Records that an output did not take, times as `CLOCK_BOOTTIME` ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotWritten {
    pub count: u64,
    /// Of the first one.
    pub reason: LossReason,
    pub first_ns: u64,
    pub last_ns: u64,
}

impl NotWritten {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.last_ns = other.last_ns;
    }
}

/// The state of one output. Its clones are the same output.
#[derive(Clone)]
pub(crate) struct OutputHealth(Arc<Shared>);

struct Shared {
    /// The name in messages and in `loss` records.
    name: String,
    stage: LossStage,
    log: LogStderr,
    changed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_gone: bool,
    /// Records that are queued or being written, and their bytes.
    n_queued: u64,
    queued_bytes: usize,
    /// The records that were lost since the output failed. `None` while it works.
    failing: Option<NotWritten>,
    /// The records that were lost before it worked again, until the main loop takes them.
    over: Option<NotWritten>,
}

impl OutputHealth {
    /// The state of an output that works. `changed` wakes up the main loop.
    pub(crate) fn new(
        name: impl Into<String>,
        stage: LossStage,
        log: LogStderr,
        changed: Arc<Notify>,
    ) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { name: name.into(), stage, log, changed, state }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn stage(&self) -> LossStage {
        self.0.stage
    }

    /// Counts a record that is about to be queued. `false`: the queue has no room for so many
    /// bytes. One record always has room, however long it is.
    pub(crate) fn enqueue(&self, bytes: usize, max_bytes: usize) -> bool {
        let mut state = self.lock();
        let has_room = state.n_queued == 0 || state.queued_bytes + bytes <= max_bytes;
        if has_room {
            state.n_queued += 1;
            state.queued_bytes += bytes;
        }
        has_room
    }

    /// A record has left the queue, or was not queued after all.
    pub(crate) fn dequeue(&self, bytes: usize) {
        let mut state = self.lock();
        state.n_queued = state.n_queued.saturating_sub(1);
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
    }

    /// The output did not take `count` records. 0: it failed before the first one.
    pub(crate) fn lose(&self, count: u64, reason: LossReason, why: &str) {
        let now = clock::boottime_ns();
        let new = NotWritten { count, reason, first_ns: now, last_ns: now };
        let mut state = self.lock();
        if let Some(lost) = &mut state.failing {
            lost.add(new);
        } else {
            state.failing = Some(new);
            drop(state);
            self.log(&format!("{why}; each further record is a new attempt"));
        }
    }

    /// The output has not taken a record for so long. The records that come meanwhile wait.
    pub(crate) fn hang(&self, time: Duration) {
        let now = clock::boottime_ns();
        let reason = LossReason::QueueFull;
        let none = NotWritten { count: 0, reason, first_ns: now, last_ns: now };
        let mut state = self.lock();
        if state.failing.is_none() {
            state.failing = Some(none);
            drop(state);
            self.log(&format!("no answer for {} s; records wait", time.as_secs()));
        }
    }

    /// The output took a record.
    pub(crate) fn works(&self) {
        let mut state = self.lock();
        let Some(lost) = state.failing.take() else {
            return;
        };
        if lost.count > 0 {
            state.over.get_or_insert(NotWritten { count: 0, ..lost }).add(lost);
        }
        drop(state);
        self.wake_up();
        match lost.count {
            0 => self.log("takes records again"),
            count => self.log(&format!("takes records again, {} not written", were(count))),
        }
    }

    /// The output ends: it has not written what is in its queue. Without a reader, that is no loss.
    pub(crate) fn end(&self) {
        let state = self.lock();
        let lost = state.failing.map_or(0, |lost| lost.count) + state.n_queued;
        let is_gone = state.is_gone;
        drop(state);
        if lost > 0 && !is_gone {
            self.log(&format!("{} not written", were(lost)));
        }
    }

    /// Wakes up the main loop.
    pub(crate) fn wake_up(&self) {
        self.0.changed.notify_one();
    }

    /// The reader of the output is gone.
    pub(crate) fn leave(&self) {
        self.lock().is_gone = true;
        self.wake_up();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    /// The run goes on for the other outputs.
    pub(crate) fn log_gone(&self) {
        self.log("the reader is gone; the other outputs go on");
    }

    /// Takes the records that were lost before the output worked again.
    pub(crate) fn take_loss(&self) -> Option<NotWritten> {
        self.lock().over.take()
    }

    fn log(&self, what: &str) {
        (self.0.log)(&format!("{}: {what}", sanitize(self.0.name.as_bytes())));
    }

    /// A thread that panicked leaves a usable state behind: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn were(n_records: u64) -> String {
    let verb = if n_records == 1 { "was" } else { "were" };
    format!("{} {verb}", count(n_records, "record"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;

    use super::OutputHealth;
    use crate::model::report::{LossReason::QueueFull, LossStage};

    #[test]
    fn fault_is_logged_when_it_begins_and_when_it_is_over() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&lines);
        let log = Arc::new(move |line: &str| logged.lock().unwrap().push(line.to_owned()));
        let health = OutputHealth::new("stdout", LossStage::Queue, log, Arc::new(Notify::new()));
        health.works();
        health.lose(1, QueueFull, "nobody reads it");
        health.lose(2, QueueFull, "nobody reads it");
        assert_eq!(health.take_loss(), None, "it does not work yet");
        health.works();
        health.works();
        let lost = health.take_loss().unwrap();
        assert_eq!((lost.count, health.take_loss()), (3, None));
        assert!(lost.first_ns <= lost.last_ns);
        health.lose(1, QueueFull, "no space left");
        assert!(health.enqueue(100, 10), "one record always has room");
        assert!(!health.enqueue(1, 10));
        health.dequeue(100);
        assert!(health.enqueue(6, 10) && health.enqueue(4, 10));
        health.dequeue(6);
        health.end();
        assert_eq!(
            *lines.lock().unwrap(),
            [
                "stdout: nobody reads it; each further record is a new attempt",
                "stdout: takes records again, 3 records were not written",
                "stdout: no space left; each further record is a new attempt",
                "stdout: 2 records were not written",
            ]
        );
        health.leave();
        health.end();
        assert_eq!(lines.lock().unwrap().len(), 4, "without a reader there is no loss");
    }

    #[test]
    fn losses_add_up_until_they_are_taken() {
        let (log, changed) = (Arc::new(|_: &str| {}), Arc::new(Notify::new()));
        let health = OutputHealth::new("stdout", LossStage::Queue, log, Arc::clone(&changed));
        for _ in 0..2 {
            health.lose(2, QueueFull, "");
            health.works();
        }
        assert_eq!(health.take_loss().unwrap().count, 4);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(changed.notified());
    }
}
