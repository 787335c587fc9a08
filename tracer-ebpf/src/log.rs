//! Debug log of the probes, through aya-log. Compiled in with the feature `log` only: in a release
//! a probe reports facts, not text.

/// Logs one line about the probe that runs.
#[cfg(feature = "log")]
macro_rules! probe_log {
    ($ctx:expr, $($argument:tt)*) => {
        aya_log_ebpf::debug!($ctx, $($argument)*)
    };
}

/// Nothing.
#[cfg(not(feature = "log"))]
macro_rules! probe_log {
    ($ctx:expr, $($argument:tt)*) => {{
        let _ = $ctx;
    }};
}

pub(crate) use probe_log;
