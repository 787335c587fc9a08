//! Confines a process to what the rest of its work needs: few capabilities, no dangerous system
//! calls, no core dumps. A tracer runs beside containers that may be hostile, and its helpers read
//! files that they may have prepared.

use std::io;

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::CapabilitySet,
};

pub(crate) use super::seccomp::Helper;
use super::{
    capabilities::drop::{drop_all_but, with_maps},
    seccomp::{filter_helper, filter_tracer},
};

/// Kernel addresses, for the helper that names them.
pub(crate) const KERNEL_SYMBOLS: CapabilitySet = CapabilitySet::SYSLOG;
/// Files of other users and of their processes, for the helper that opens them.
pub(crate) const OPEN_FILES: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// The helpers' and the /proc files of other users' processes, also in other mount namespaces.
const PROBES: CapabilitySet =
    KERNEL_SYMBOLS.union(OPEN_FILES).union(CapabilitySet::CHECKPOINT_RESTORE);

/// What a tracer still needs once it sees every kill.
pub(crate) enum Source<'a> {
    /// The maps of probes, with these commands of bpf(2).
    Probes { bpf_commands: &'a [u32], maps_are_readable: &'a dyn Fn() -> bool },
    /// The kernel log, which is open.
    KernelLog,
}

/// Confines the tracer. Must be called before its first thread starts, because capabilities and
/// filters belong to threads. The tracer works without any of it, so this returns what failed.
pub(crate) fn confine_tracer(source: &Source<'_>) -> Vec<String> {
    let (dropped, filtered) = match source {
        Source::Probes { bpf_commands, maps_are_readable } => (
            with_maps(PROBES, maps_are_readable)
                .and_then(|kept| drop_all_but(kept, KERNEL_SYMBOLS | OPEN_FILES)),
            filter_tracer(bpf_commands),
        ),
        Source::KernelLog => {
            (drop_all_but(CapabilitySet::empty(), CapabilitySet::empty()), filter_tracer(&[]))
        }
    };
    [
        ("some capabilities are kept", dropped),
        ("no system call is forbidden", filtered),
        ("a crash may dump core", forbid_core_dumps()),
    ]
    .into_iter()
    .filter_map(|(what, result)| Some(format!("{what}: {}", result.err()?)))
    .collect()
}

/// Confines a helper process to these capabilities, if it has them. An error means that it has
/// others. Without the rest it works too, and nobody reads its stderr.
pub(crate) fn confine_helper(kept: CapabilitySet, helper: Helper) -> io::Result<()> {
    drop_all_but(kept, CapabilitySet::empty())?;
    let _ = forbid_core_dumps();
    // Last: it forbids the other steps.
    let _ = filter_helper(helper);
    Ok(())
}

/// A core has command lines and names of files. The limit does not apply to a program that the
/// kernel pipes cores to; the other setting does. It also hides this process's memory and
/// descriptors from others of the same user.
fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
