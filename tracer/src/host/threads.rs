//! The threads of a run. Each has a name, which ps(1) and the line of a panic show.

use std::{io, thread};

/// The purpose of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadName {
    /// Reports a disk that hangs.
    Disk,
    /// Opens the files of growing processes.
    Growing,
    /// Writes the history.
    History,
    /// Looks up kernel addresses.
    Kernel,
    /// Looks up containers, users and command lines.
    Lookup,
    /// Writes stdout or the output file.
    Output,
    /// Opens the root directories of processes.
    Roots,
    /// Ends a run that does not end by itself.
    Stop,
    /// Looks up addresses of user space.
    Symbols,
    #[cfg(test)]
    Test,
}

impl ThreadName {
    /// All of a run.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Disk,
        Self::Growing,
        Self::History,
        Self::Kernel,
        Self::Lookup,
        Self::Output,
        Self::Roots,
        Self::Stop,
        Self::Symbols,
    ];

    /// The kernel keeps 15 bytes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "oomwhy-disk",
            Self::Growing => "oomwhy-growing",
            Self::History => "oomwhy-history",
            Self::Kernel => "oomwhy-kernel",
            Self::Lookup => "oomwhy-lookup",
            Self::Output => "oomwhy-output",
            Self::Roots => "oomwhy-roots",
            Self::Stop => "oomwhy-stop",
            Self::Symbols => "oomwhy-symbols",
            #[cfg(test)]
            Self::Test => "oomwhy-test",
        }
    }
}

/// Starts a thread that nothing waits for.
pub(crate) fn spawn(
    name: ThreadName,
    stack_bytes: usize,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new().name(name.as_str().to_owned()).stack_size(stack_bytes).spawn(run)?;
    Ok(())
}
