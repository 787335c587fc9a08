//! `--pin DIR` and `oomwhy unpin DIR`: probes that outlive the tracer.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsFd,
    path::Path,
};

use super::Failure;
use crate::{
    bpf::{
        load::Probes,
        pin::{PinDir, PinError, Pinned, TakenOver, Wanted},
        plan::Planned,
    },
    cli::{Destination, Format, WatchArgs},
    commands::exit::Exit,
    fmt::units::count,
    host::clock,
};

/// The directory and what was found there.
pub(super) struct Pins {
    dir: PinDir,
    wanted: Wanted,
    ours: Option<Pinned>,
    /// Left by other builds: to be read to their end, and removed.
    pub(super) others: Vec<Pinned>,
    /// Where reports go.
    pub(super) out: File,
}

impl Pins {
    /// Takes the directory, before anything is attached.
    pub(super) fn find(path: &Path, arguments: &WatchArgs) -> Result<Self, Failure> {
        if arguments.output.output == Format::Events {
            let message = "--pin keeps reports, and -o events prints none: leave one of them out";
            return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
        }
        let dir = PinDir::create(path).map_err(|error| failure(&error))?;
        let wanted = Wanted {
            ring_bytes: arguments.ring_size,
            no_cmdlines: arguments.privacy.no_cmdline,
            growth_above_percent: arguments.growth_above_percent(),
        };
        let (ours, others) = dir.find(wanted).map_err(|error| failure(&error))?;
        Ok(Self { dir, wanted, ours, others, out: open_output(&arguments.output.to)? })
    }

    /// The probes that are pinned here already, else those that are attached now and pinned.
    pub(super) fn probes(
        &mut self,
        plan: &[Planned],
        attach: impl FnOnce() -> Result<Probes, Failure>,
    ) -> Result<TakenOver, Failure> {
        let ours = if let Some(ours) = self.ours.take() {
            ours
        } else {
            let probes = attach()?;
            // Others see what has begun by now, and are told until now.
            let since_ns = if self.others.is_empty() { 0 } else { clock::boottime_ns() };
            probes.pin(&self.dir, self.wanted, since_ns).map_err(|error| failure(&error))?
        };
        ours.take_over(plan).map_err(|error| failure(&error))
    }
}

/// Where reports go: what was written there is looked up after a crash, so a file is appended to.
fn open_output(to: &Destination) -> Result<File, Failure> {
    let Some(path) = to.path() else {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        return stdout.map(File::from).map_err(|error| Failure::runtime(&error));
    };
    let file = File::options().append(true).create(true).open(path);
    file.map_err(|error| Failure {
        exit: Exit::Failure,
        message: format!("cannot write {}: {error}", path.display()),
    })
}

/// `oomwhy unpin DIR`. Returns what to say.
pub(super) fn unpin(path: &Path) -> Result<String, Failure> {
    let dir = PinDir::open(path).map_err(|error| failure(&error))?;
    match dir.clear().map_err(|error| failure(&error))? {
        0 => Err(Failure {
            exit: Exit::Failure,
            message: format!("nothing of oomwhy is pinned in {}", path.display()),
        }),
        n_programs => {
            Ok(format!("{} detached; nothing is left in there", count(n_programs, "program")))
        }
    }
}

pub(super) fn failure(error: &PinError) -> Failure {
    let exit = match error {
        PinError::NotBpffs { .. } => Exit::Usage,
        PinError::NotForEver { .. } => Exit::Unavailable,
        PinError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Exit::NotPermitted
        }
        _ => Exit::Failure,
    };
    Failure { exit, message: error.to_string() }
}
