//! A thread for work that may block: reading the files of a container runtime, waiting for a helper
//! process, writing to a slow disk. Meanwhile the main loop drains the ring.
//!
//! The queue is bounded. If it is full, the request is dropped, because waiting for room would stop
//! the main loop. At exit, a thread that hangs is left behind: nothing waits for it
//! beyond a deadline, and the kernel removes it with the process.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::threads::{self, ThreadName};

/// Bytes of the thread's stack.
const STACK_BYTES: usize = 256 << 10;

/// The work of a worker's thread. All methods run on that thread.
pub(crate) trait Work<R>: Send + 'static {
    /// Handles one request. Requests come in the order in which they were sent.
    fn handle(&mut self, request: R);

    /// When [`Work::on_time`] is due. `None`: the thread sleeps until the next request.
    fn next_time(&self) -> Option<Instant> {
        None
    }

    /// Does the work that had to wait until [`Work::next_time`].
    fn on_time(&mut self) {}
}

/// The handle of a worker. When it is dropped, the thread ends after the queued requests, and
/// nothing waits for that.
#[derive(Debug)]
pub(crate) struct Worker<R> {
    /// `None` once no more requests are taken.
    queue: Option<SyncSender<R>>,
    /// Disconnected when the thread ends, by a panic too.
    ended: Receiver<Infallible>,
}

impl<R: Send + 'static> Worker<R> {
    /// Starts the thread. At most `capacity` requests wait for it.
    pub(crate) fn start(name: ThreadName, capacity: usize, work: impl Work<R>) -> io::Result<Self> {
        let (queue, requests) = sync_channel(capacity);
        let (running, ended) = channel();
        threads::spawn(name, STACK_BYTES, move || {
            let _running = running;
            run(work, &requests);
        })?;
        Ok(Self { queue: Some(queue), ended })
    }

    /// Queues a request. `false`: it was dropped, because the queue is full or the thread ended.
    pub(crate) fn send(&self, request: R) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(request).is_ok())
    }

    /// Takes no more requests and waits until the queued ones are handled, but no longer than
    /// `patience`. `false`: the thread was left behind.
    pub(crate) fn finish(&mut self, patience: Duration) -> bool {
        self.queue = None;
        self.ended.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }
}

fn run<R>(mut work: impl Work<R>, requests: &Receiver<R>) {
    loop {
        let received = match work.next_time() {
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(time) => requests.recv_timeout(time.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(request) => work.handle(request),
            Err(RecvTimeoutError::Timeout) => work.on_time(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
}

/// The results of a worker, for the thread that asked.
#[derive(Debug, Default)]
pub(crate) struct Answers<A> {
    value: Mutex<A>,
    changed: Condvar,
    wake_up: Arc<Notify>,
}

impl<A> Answers<A> {
    /// A worker that panicked leaves a usable value behind: each change is one insertion.
    pub(crate) fn lock(&self) -> MutexGuard<'_, A> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value, then wakes up every thread that waits for it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut A)) {
        change(&mut self.lock());
        self.changed.notify_all();
        self.wake_up.notify_one();
    }

    /// The value as soon as `is_waiting` does not hold any more, or after `patience`.
    pub(crate) fn wait_while(
        &self,
        patience: Duration,
        is_waiting: impl FnMut(&mut A) -> bool,
    ) -> MutexGuard<'_, A> {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Notified after every change, which wakes up the main loop.
    pub(crate) fn wake_up(&self) -> Arc<Notify> {
        Arc::clone(&self.wake_up)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::Sender, thread};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Sends each event to the test. A request is handled once `gate` has a message.
    struct Recorded {
        gate: Receiver<()>,
        events: Sender<String>,
        next_time: Option<Instant>,
    }

    impl Work<u32> for Recorded {
        fn handle(&mut self, request: u32) {
            self.gate.recv().unwrap();
            self.events.send(format!("handled {request}")).unwrap();
        }

        fn next_time(&self) -> Option<Instant> {
            self.next_time
        }

        fn on_time(&mut self) {
            self.next_time = None;
            self.events.send("on time".to_owned()).unwrap();
        }
    }

    fn start(next_time: Option<Instant>) -> (Worker<u32>, Sender<()>, Receiver<String>) {
        let (open, gate) = channel();
        let (events, seen) = channel();
        let work = Recorded { gate, events, next_time };
        (Worker::start(ThreadName::Test, 2, work).unwrap(), open, seen)
    }

    #[test]
    fn queue_full_request_is_dropped() {
        let (mut worker, open, seen) = start(None);
        // One is being handled or waits, two wait: of ten, at most three are taken.
        let sent = (0..10).filter(|number| worker.send(*number)).count();
        assert!(sent == 2 || sent == 3, "{sent}");
        (0..sent).for_each(|_| open.send(()).unwrap());
        assert!(worker.finish(PATIENCE));
        assert!(!worker.send(11), "it takes no more");
        assert_eq!(seen.iter().count(), sent);
    }

    #[test]
    fn finish_hung_thread_is_left_behind_after_its_deadline() {
        let (mut worker, open, seen) = start(None);
        worker.send(1);
        let begin = Instant::now();
        assert!(!worker.finish(Duration::from_millis(50)));
        assert!(begin.elapsed() < PATIENCE);
        // Once the gate opens, the thread ends by itself.
        open.send(()).unwrap();
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "handled 1");
        assert!(worker.finish(PATIENCE));
    }

    #[test]
    fn finish_panicked_thread_is_not_waited_for() {
        let (mut worker, open, _) = start(None);
        drop(open);
        worker.send(1);
        assert!(worker.finish(PATIENCE));
    }

    #[test]
    fn next_time_without_a_request_wakes_up_the_thread() {
        let (_worker, _open, seen) = start(Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), "on time");
    }

    #[test]
    fn change_wakes_up_a_waiting_thread() {
        let answers = Answers::<u32>::default();
        assert_eq!(*answers.wait_while(Duration::from_millis(5), |value| *value == 0), 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| *answers.wait_while(PATIENCE, |value| *value == 0));
            answers.change(|value| *value = 7);
            assert_eq!(waiting.join().unwrap(), 7);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(answers.wake_up().notified());
    }
}
