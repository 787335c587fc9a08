//! Arguments of `oomwhy symbolize`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::Destination;

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy symbolize report.json --elf ./app   with the executable that ran
  oomwhy symbolize --debug-dir /srv/symbols  read stdin, use separate debug files";

#[derive(Args, Clone, Debug)]
pub struct SymbolizeArgs {
    /// Reports as `-o json` prints them, `-` for stdin.
    #[arg(default_value = "-", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Use this executable or library.
    #[arg(long, value_name = "ELF", value_hint = ValueHint::FilePath)]
    pub elf: Vec<PathBuf>,
    /// Use the debug files in this directory, as .build-id/ab/cdef.debug [default: /usr/lib/debug].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub debug_dir: Vec<PathBuf>,
    #[command(flatten)]
    pub to: Destination,
}
