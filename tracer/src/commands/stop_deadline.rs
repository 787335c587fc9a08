//! Ends a run that a signal cannot end: a file that the main loop itself reads or writes can block
//! for ever.

use std::{
    convert::Infallible,
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    time::Duration,
};

use tokio::{runtime, time::sleep};

use crate::{
    commands::exit::Exit,
    fmt::lines::log_stderr,
    host::threads::{ThreadName, spawn},
    pipeline::{output_health::OutputHealth, stop_signals::StopSignals},
};

/// How long a run may take to end after a signal. An orderly end takes less: the last comparison
/// with the kernel's count takes a second.
const DEADLINE: Duration = Duration::from_secs(3);

/// Bytes of the thread's stack.
const STACK_BYTES: usize = 128 << 10;

/// The run. When it is dropped, the run has ended in time.
pub(super) struct Run(Arc<AtomicBool>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long the messages of such an end may take, which can be blocked, too.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Starts the thread that ends the process [`DEADLINE`] after the signal to stop, unless the run
/// and its outputs have ended by then. After them, the kernel detaches the probes, which takes long
/// if it is busy.
pub(super) fn enforce(outputs: Vec<OutputHealth>) -> io::Result<Run> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let has_ended = Arc::new(AtomicBool::new(false));
    let run = Run(Arc::clone(&has_ended));
    let wait = move || {
        let stopped = runtime.block_on(async {
            StopSignals::new()?.received().await;
            sleep(DEADLINE).await;
            io::Result::Ok(())
        });
        if stopped.is_ok() && !has_ended.load(Ordering::Relaxed) {
            exit(outputs);
        }
    };
    spawn(ThreadName::Stop, STACK_BYTES, wait)?;
    Ok(run)
}

#[expect(clippy::exit, reason = "the main thread does not return")]
fn exit(outputs: Vec<OutputHealth>) {
    let (done, is_done) = channel::<Infallible>();
    let say = move || {
        let _done = done;
        let seconds = DEADLINE.as_secs();
        log_stderr(format!("stopped {seconds} s after the signal: a file was blocked"));
        outputs.iter().for_each(OutputHealth::end);
    };
    if spawn(ThreadName::Stop, STACK_BYTES, say).is_ok() {
        let _ = is_done.recv_timeout(LAST_WORDS);
    }
    process::exit(Exit::Failure as i32);
}
