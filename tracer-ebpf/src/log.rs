//! Debug log of the probes through aya-log, compiled in with the feature `log` only. A release
//! build reports facts and no text.

/// Logs one line about the running probe.
#[cfg(feature = "log")]
macro_rules! probe_log {
    ($ctx:expr, $($argument:tt)*) => {
        aya_log_ebpf::debug!($ctx, $($argument)*)
    };
}

/// Logs nothing: the feature `log` is off.
#[cfg(not(feature = "log"))]
macro_rules! probe_log {
    ($ctx:expr, $($argument:tt)*) => {{
        let _ = $ctx;
    }};
}

pub(crate) use probe_log;
