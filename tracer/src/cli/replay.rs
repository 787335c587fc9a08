//! Arguments of `oomwhy replay`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{OutputArgs, PrivacyArgs, SelectArgs};

const REPLAY_EXAMPLES: &str = "\
Examples:
  oomwhy replay kills.rec                  every report again, as text
  oomwhy replay kills.rec -o json --comm java  java's only, as JSON";

#[derive(Args, Clone, Debug)]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct ReplayArgs {
    /// Recording made with `oomwhy --record FILE`.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub privacy: PrivacyArgs,
}
