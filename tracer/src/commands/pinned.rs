//! `--pin DIR` and `oomwhy unpin DIR`: probes that outlive the tracer.

use std::{io::ErrorKind, path::Path};

use super::{
    Failure,
    output_file::{Used, open_shared},
};
use crate::{
    bpf::{
        load::Probes,
        pin::{Attachment, PinDir, PinError, Removed, TakenOver, Wanted},
    },
    cli::{Format, WatchArgs},
    commands::exit::Exit,
    fmt::{sanitize::shown, units::count},
    host::clock,
    model::report::Tier,
    pipeline::dedup_writer::SharedDestination,
};

/// The pin directory and the probes in it.
pub(super) struct Pins {
    dir: PinDir,
    wanted: Wanted,
    /// Probes that this run reports to their end and removes, oldest first.
    pub(super) others: Vec<TakenOver>,
    /// The output for reports.
    pub(super) out: SharedDestination,
}

impl Pins {
    /// Opens the directory, before anything is attached.
    pub(super) fn find(
        path: &Path,
        arguments: &WatchArgs,
        used: &[Used<'_>],
    ) -> Result<Self, Failure> {
        if arguments.output.output == Format::Events {
            let message =
                "--pin keeps reports, and -o events prints none\nhint: leave one of them out";
            return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
        }
        let dir = PinDir::create(path).map_err(|error| failure(&error))?;
        let wanted = Wanted {
            ring_bytes: arguments.ring_size,
            no_cmdlines: arguments.privacy.no_cmdline,
            growth_above_percent: arguments.growth_above_percent(),
        };
        let others = dir.take_over().map_err(|error| failure(&error))?;
        Ok(Self { dir, wanted, others, out: open_shared(&arguments.output.to, used)? })
    }

    /// The newest probes, if they are those that this run would attach by one of the tiers.
    pub(super) fn take_ours(&mut self, tiers: &[Tier]) -> Option<TakenOver> {
        self.others.pop_if(|newest| newest.is_as_wanted(&self.wanted, tiers))
    }

    /// Pins probes that were just attached.
    pub(super) fn pin(&self, probes: Probes, attachment: Attachment) -> Result<TakenOver, Failure> {
        // The others have seen all that began by now, and report it.
        let since_ns = if self.others.is_empty() { 0 } else { clock::boottime_ns() };
        probes.pin(&self.dir, self.wanted, attachment, since_ns).map_err(|error| failure(&error))
    }
}

/// Runs `oomwhy unpin DIR`. Returns the message for the user.
pub(super) fn unpin(path: &Path) -> Result<String, Failure> {
    let failed = |error: PinError| not_unpinned(path, &error);
    let dir = PinDir::open(path).map_err(failed)?;
    match dir.clear().map_err(failed)? {
        Removed { sets: 0, .. } => Err(Failure {
            exit: Exit::Failure,
            message: format!("no probes of oomwhy are pinned in {}\n{UNPIN_HINT}", shown(path)),
        }),
        Removed { sets, programs: 0 } => {
            let sets = count(sets, "set");
            Ok(format!("no program was attached; {sets} of pinned maps removed"))
        }
        Removed { programs, .. } => {
            Ok(format!("{} detached, all pins removed", count(programs, "program")))
        }
    }
}

const UNPIN_HINT: &str = "hint: name the directory that was given to --pin";

/// Errors of pins are worded for `--pin`.
fn not_unpinned(path: &Path, error: &PinError) -> Failure {
    let Failure { exit, message } = failure(error);
    let shown = shown(path);
    let message = match error {
        PinError::NotBpffs { .. } => {
            format!("{shown} is not on a BPF file system, so nothing is pinned there\n{UNPIN_HINT}")
        }
        PinError::InUse { .. } => {
            format!("another oomwhy is using {shown}\nhint: stop it first")
        }
        PinError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            format!("{}\n{UNPIN_HINT}", without_flag(&message))
        }
        _ => without_flag(&message).to_owned(),
    };
    Failure { exit, message: format!("unpin: {message}") }
}

fn without_flag(message: &str) -> &str {
    message.strip_prefix("--pin: ").unwrap_or(message)
}

pub(super) fn failure(error: &PinError) -> Failure {
    let exit = match error {
        PinError::NotBpffs { .. } => Exit::Usage,
        PinError::NotPinnable { .. } => Exit::Unavailable,
        PinError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Exit::NotPermitted
        }
        _ => Exit::Failure,
    };
    let hint = match error {
        _ if exit == Exit::NotPermitted => "\nhint: run as root",
        PinError::Io { source, .. } if source.kind() == ErrorKind::NotADirectory => {
            "\nhint: name a directory on a BPF file system, as /sys/fs/bpf/oomwhy"
        }
        _ => "",
    };
    Failure { exit, message: format!("{error}{hint}") }
}
