//! The own oom_score_adj: the tracer must not be the OOM killer's victim, its helpers may be.

use std::{fs, io};

const OWN: &str = "/proc/self/oom_score_adj";

/// Makes the tracer the last process that the OOM killer chooses. Best effort: this needs
/// CAP_SYS_RESOURCE.
pub(crate) fn protect_self() {
    // Without the permission, the tracer can be killed like any other process, but it works.
    let _ = write("-1000");
}

/// Makes a helper, which inherited the value of the tracer, the first process that the OOM killer
/// chooses: it may be made to use much memory, and the report goes without its names.
pub(crate) fn offer_self() {
    let _ = write("1000");
}

fn write(value: &str) -> io::Result<()> {
    fs::write(OWN, value)
}
