//! A panic in any thread ends the process. A tracer that went on without one of its threads would
//! look sound and lose reports; one that ended is started again by its supervisor.

use std::{
    panic::{self, PanicHookInfo},
    process, thread,
};

use crate::fmt::{lines::log_stderr, sanitize::sanitize};

/// Characters of a message that are printed: it may quote what a process chose.
const MAX_MESSAGE_CHARS: usize = 300;

/// From now on, a panic prints one line and aborts. The release profile aborts in any case; other
/// profiles would end only the thread.
pub(crate) fn install() {
    panic::set_hook(Box::new(|panic| {
        log_stderr(line(thread::current().name(), panic));
        process::abort();
    }));
}

fn line(thread: Option<&str>, panic: &PanicHookInfo<'_>) -> String {
    let thread = sanitize(thread.unwrap_or("without a name").as_bytes());
    let place = panic.location().map_or_else(
        || "an unknown place".to_owned(),
        |at| format!("{}:{}", sanitize(at.file().as_bytes()), at.line()),
    );
    let message = panic.payload_as_str().unwrap_or("no message");
    format!("oomwhy: panicked in thread {thread} at {place}: {}", cut(message))
}

fn cut(message: &str) -> String {
    let mut characters = message.chars();
    let kept: String = characters.by_ref().take(MAX_MESSAGE_CHARS).collect();
    let end = if characters.next().is_some() { "..." } else { "" };
    sanitize(kept.as_bytes()) + end
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::process::ExitStatusExt as _,
        process::{Command, Output},
        thread::sleep,
        time::Duration,
    };

    use rustix::process::Signal;

    use super::{MAX_MESSAGE_CHARS, install};
    use crate::host::threads::{ThreadName, spawn};

    /// Set in a process that shall panic: the name of the thread.
    const PANICS: &str = "OOMWHY_TEST_PANICS";
    /// The name of the child's own thread, which libtest gives it.
    const THIS: &str = "host::panic_hook::tests::panics_in_the_named_thread";

    /// The child of the other tests. Alone it does nothing.
    #[test]
    fn panics_in_the_named_thread() {
        let Ok(name) = env::var(PANICS) else { return };
        install();
        let message = "a\u{1b}[2J\n".to_owned() + &"b".repeat(2 * MAX_MESSAGE_CHARS);
        match ThreadName::ALL.into_iter().find(|it| it.as_str() == name) {
            Some(name) => spawn(name, 128 << 10, move || panic!("{message}")).unwrap(),
            None => panic!("{message}"),
        }
        // The abort comes from the other thread.
        sleep(Duration::from_mins(1));
    }

    fn run_child(thread: &str) -> Output {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([THIS, "--exact", "--nocapture"]).env(PANICS, thread);
        child.output().unwrap()
    }

    #[test]
    fn panic_in_any_thread_prints_one_line_and_ends_the_process() {
        for thread in ThreadName::ALL.map(ThreadName::as_str).into_iter().chain([THIS]) {
            let output = run_child(thread);
            assert_eq!(
                output.status.signal(),
                Some(Signal::ABORT.as_raw()),
                "{thread}: {output:?}"
            );
            let printed = String::from_utf8(output.stderr).unwrap();
            let start =
                format!("oomwhy: panicked in thread {thread} at tracer/src/host/panic_hook");
            let [line] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
            assert!(line.starts_with(&start), "{line}");
            assert!(line.contains(": a\\x1b[2J\\nbbb") && line.ends_with("b..."), "{line}");
            assert!(line.len() < start.len() + MAX_MESSAGE_CHARS + 40, "{line}");
        }
    }
}
