//! `oomwhy symbolize`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Destination;

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy symbolize report.json --elf ./app     with the very file that ran
  oomwhy symbolize --debug-dir /srv/symbols    of stdin, with symbols stripped off it";

/// What `symbolize` takes.
#[derive(Args, Clone, Debug)]
pub struct SymbolizeArgs {
    /// Reports as `-o json` prints them; `-` is stdin.
    #[arg(default_value = "-", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// An executable or library that a report may mean.
    #[arg(long, value_name = "ELF", value_hint = ValueHint::FilePath)]
    pub elf: Vec<PathBuf>,
    /// A directory with symbols that were stripped off, as .build-id/ab/cdef.debug [default:
    /// /usr/lib/debug].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub debug_dir: Vec<PathBuf>,
    /// Where to print.
    #[command(flatten)]
    pub to: Destination,
}
