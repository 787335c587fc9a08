//! Helper processes for work on data that somebody else may have prepared. Such a process may be
//! made to hang, so it is disposable: it has a deadline, and what is left of it after SIGKILL is
//! not waited for.

use std::{
    io,
    process::Child,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit},
    thread::CapabilitySet,
};

use super::confinement::{Helper, confine_helper};

/// How long a helper may take for one request.
const DEADLINE: Duration = Duration::from_secs(2);
/// A number that multiplies [`DEADLINE`], for hosts that are emulated.
const FACTOR_VARIABLE: &str = "OOMWHY_HELPER_DEADLINE_FACTOR";
const MAX_FACTOR: u32 = 100;
/// Helpers that were killed and have not ended. With that many, no other is started.
const MAX_ABANDONED: usize = 4;

static ABANDONED: Mutex<Vec<Child>> = Mutex::new(Vec::new());
static REFUSED: AtomicU64 = AtomicU64::new(0);
static FACTOR: LazyLock<u32> =
    LazyLock::new(|| factor(std::env::var(FACTOR_VARIABLE).ok().as_deref()));

/// How long a helper may take for one request.
pub(crate) fn deadline() -> Duration {
    DEADLINE * *FACTOR
}

fn factor(value: Option<&str>) -> u32 {
    value.and_then(|it| it.parse().ok()).unwrap_or(1).clamp(1, MAX_FACTOR)
}

/// Whether another helper may start. If not, that is counted.
pub(crate) fn has_room() -> bool {
    let has_room = has_room_among(&mut lock());
    if !has_room {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
    has_room
}

/// Requests that were refused because earlier helpers hang.
pub(crate) fn n_refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Kills a helper and does not wait for its end. A later call of [`has_room`] reaps it.
pub(crate) fn abandon(mut child: Child) {
    // Fails only if it has ended already.
    let _ = child.kill();
    if !has_ended(&mut child) {
        lock().push(child);
    }
}

fn lock() -> MutexGuard<'static, Vec<Child>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has_room_among(abandoned: &mut Vec<Child>) -> bool {
    abandoned.retain_mut(|child| !has_ended(child));
    abandoned.len() < MAX_ABANDONED
}

fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

/// What a helper may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub cpu: Option<Duration>,
    /// Address space, bytes.
    pub address_bytes: u64,
    /// Memory without the files that it maps, bytes.
    pub data_bytes: u64,
    pub capabilities: CapabilitySet,
    pub helper: Helper,
}

/// Limits this process, which is a helper. An error means that it has privileges that it must not
/// have.
pub(crate) fn limit_self(limits: Limits) -> io::Result<()> {
    let set = |resource, current, maximum| {
        // Without a limit, there still is the deadline.
        let _ = setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) });
    };
    if let Some(cpu) = limits.cpu {
        let seconds = cpu.as_secs().max(1);
        // The lower limit sends SIGXCPU. The other one would look like the OOM killer.
        set(Resource::Cpu, seconds, seconds + 1);
    }
    set(Resource::As, limits.address_bytes, limits.address_bytes);
    set(Resource::Data, limits.data_bytes, limits.data_bytes);
    // The tracer may have ended already. Then the helper ends by its CPU limit, or because nobody
    // holds the other end of its socket.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    confine_helper(limits.capabilities, limits.helper)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn factor_is_1_to_100() {
        for (value, expected) in
            [(None, 1), (Some("x"), 1), (Some("0"), 1), (Some("20"), 20), (Some("1000"), 100)]
        {
            assert_eq!(factor(value), expected, "{value:?}");
        }
    }

    #[test]
    fn fifth_helper_is_refused_until_one_of_four_ends() {
        let sleeping = || {
            let mut command = Command::new("sleep");
            command.arg("1000").stdin(Stdio::null()).spawn().unwrap()
        };
        let mut abandoned: Vec<Child> = (0..MAX_ABANDONED).map(|_| sleeping()).collect();
        assert!(!has_room_among(&mut abandoned));
        abandoned[0].kill().unwrap();
        let begin = std::time::Instant::now();
        while !has_room_among(&mut abandoned) {
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        assert_eq!(abandoned.len(), MAX_ABANDONED - 1);
        for mut child in abandoned {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
