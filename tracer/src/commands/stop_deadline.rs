//! Ends a run that a signal cannot end: an output that the main loop itself writes (`--pin`) can
//! block for ever, and so can a file system.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime, time::sleep};

use crate::{
    commands::exit::Exit,
    fmt::lines::log_stderr,
    host::threads::{ThreadName, spawn},
    pipeline::stop_signals::StopSignals,
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

/// Starts the thread that ends the process [`DEADLINE`] after the signal to stop, unless the run
/// has ended by then. The work after a run takes a limited time: the outputs get two seconds, and
/// the kernel detaches the probes, which takes long if it is busy.
pub(super) fn enforce() -> io::Result<Run> {
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
            exit();
        }
    };
    spawn(ThreadName::Stop, STACK_BYTES, wait)?;
    Ok(run)
}

#[expect(clippy::exit, reason = "the main thread does not return")]
fn exit() {
    let seconds = DEADLINE.as_secs();
    log_stderr(format!(
        "stopped {seconds} s after the signal, while an output was blocked: the last records may \
         not be written"
    ));
    process::exit(Exit::Failure as i32);
}
