//! The own oom_score_adj: the tracer must not be the OOM killer's victim, its helpers may be.

use std::{fs, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const OWN: &str = "/proc/self/oom_score_adj";
/// The OOM killer never chooses a process with this value.
const NEVER: &str = "-1000";
/// It chooses one with this value after all others: 1 of 1000 of its memory counts.
const LAST: &str = "-999";

/// Private writable memory of a tracer that the OOM killer never chooses, bytes: heap and stacks.
/// Nothing else ends such a tracer if it leaks. A burst of 400 kills and a kill with 30,000 victims
/// fit in it (`tests/data_limit.rs` runs them under this limit, and prints what they take). Besides,
/// the stacks of all threads take 2 MiB, and the queue of the output 4 MiB.
pub const MAX_DATA_BYTES: u64 = 256 << 20;

/// How the OOM killer treats the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// It is never chosen, and its memory has the limit [`MAX_DATA_BYTES`].
    Exempt,
    /// It is chosen after all others. In a cgroup with a limit of its own it is killed at that
    /// limit. An exempt process there is not killed: it repeats its page fault for ever.
    Last,
}

impl Protection {
    /// A tracer that stores reports runs for months, as a service, which can have a limit.
    pub(crate) fn of_run(stores: bool) -> Self {
        if stores { Self::Last } else { Self::Exempt }
    }
}

/// Protects the tracer. Best effort: this needs CAP_SYS_RESOURCE. Without it, the tracer can be
/// killed like any other process, but it works.
pub(crate) fn protect_self(protection: Protection) {
    let is_exempt = protection == Protection::Exempt && write(NEVER).is_ok();
    if !is_exempt || limit_data().is_err() {
        let _ = write(LAST);
    }
}

/// Lowers the soft limit only: helper processes have a higher one.
fn limit_data() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Data);
    let current = Some(current.map_or(MAX_DATA_BYTES, |it| it.min(MAX_DATA_BYTES)));
    Ok(setrlimit(Resource::Data, Rlimit { current, maximum })?)
}

/// Makes a helper, which inherited the value of the tracer, the first process that the OOM killer
/// chooses: it may be made to use much memory, and the report goes without its names.
pub(crate) fn offer_self() {
    let _ = write("1000");
}

fn write(value: &str) -> io::Result<()> {
    fs::write(OWN, value)
}
