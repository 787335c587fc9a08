//! Watches a thread that writes to a disk. A disk that hangs lets no call return, so only another
//! thread can report it while it hangs.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    host::threads::{ThreadName, spawn},
    pipeline::output_health::OutputHealth,
};

/// Bytes of the thread's stack.
const STACK_BYTES: usize = 128 << 10;

/// The watching thread. It ends when this is dropped.
pub(super) struct HangWatch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    /// A call began then.
    Calling(Instant),
    /// The call that began then was reported.
    Hanging,
    Ended,
}

/// A call that is being watched, until it is dropped.
pub(super) struct Watched(Arc<Shared>);

impl HangWatch {
    /// Starts the thread. It reports each call that takes longer than `patience`, once.
    pub(super) fn start(health: OutputHealth, patience: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watch = Self(Arc::clone(&shared));
        let run = move || shared.report_hangs(&health, patience);
        spawn(ThreadName::Disk, STACK_BYTES, run)?;
        Ok(watch)
    }

    /// Watches a call that begins now.
    pub(super) fn watch(&self) -> Watched {
        self.0.set(State::Calling(Instant::now()));
        Watched(Arc::clone(&self.0))
    }
}

impl Drop for HangWatch {
    fn drop(&mut self) {
        self.0.set(State::Ended);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.set(State::Idle);
    }
}

impl Shared {
    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_one();
    }

    fn report_hangs(&self, health: &OutputHealth, patience: Duration) {
        let mut state = self.lock();
        loop {
            match *state {
                State::Ended => return,
                State::Idle | State::Hanging => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Calling(since) if since.elapsed() >= patience => {
                    *state = State::Hanging;
                    health.hang(patience);
                }
                State::Calling(since) => {
                    let left = patience.saturating_sub(since.elapsed());
                    let waited = self.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        thread::sleep,
        time::{Duration, Instant},
    };

    use tokio::sync::Notify;

    use super::HangWatch;
    use crate::{model::report::LossStage, pipeline::output_health::OutputHealth};

    const PATIENCE: Duration = Duration::from_millis(1_500);

    fn start() -> (HangWatch, OutputHealth, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let logged = Arc::clone(&lines);
        let log = Arc::new(move |line: &str| logged.lock().unwrap().push(line.to_owned()));
        let health = OutputHealth::new("history", LossStage::Store, log, Arc::new(Notify::new()));
        (HangWatch::start(health.clone(), PATIENCE).unwrap(), health, lines)
    }

    #[test]
    fn call_that_hangs_is_reported_once_while_it_hangs() {
        let (watch, health, lines) = start();
        let begin = Instant::now();
        let call = watch.watch();
        while lines.lock().unwrap().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(5));
        }
        assert!(begin.elapsed() >= PATIENCE);
        sleep(PATIENCE);
        drop(call);
        health.works();
        let words = ["history: no answer for 1 s; records wait", "history: takes records again"];
        assert_eq!(*lines.lock().unwrap(), words);
        assert_eq!(health.take_loss(), None, "nothing was lost");
    }

    #[test]
    fn quick_calls_are_not_reported() {
        let (watch, _health, lines) = start();
        for _ in 0..10 {
            drop(watch.watch());
        }
        sleep(PATIENCE + PATIENCE / 2);
        assert!(lines.lock().unwrap().is_empty(), "{lines:?}");
    }
}
