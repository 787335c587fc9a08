//! Arguments of `oomwhy explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{ColorArgs, Destination, DirArgs};
use crate::output::explain::Form;

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy explain kxqz                     the report whose id starts with kxqz
  oomwhy explain kills.jsonl              every report of a file
  oomwhy explain kxqz -o html --output-file oom.html  a page for the incident
  dmesg | oomwhy explain -                kills from before oomwhy ran
  journalctl -k -b -1 | oomwhy explain -  kills of the previous boot";

#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// File, `-` for stdin, or the ID of a stored report (`oomwhy list`) [default: -].
    ///
    /// A file holds a kernel log, or reports as JSON. If no such file exists, the history is
    /// searched for the ID.
    #[arg(value_name = "ID|FILE|-", value_hint = ValueHint::FilePath, default_value = "-",
        hide_default_value = true)]
    pub what: PathBuf,
    #[command(flatten)]
    pub dir: DirArgs,
    /// Print in this format: text, html or json.
    ///
    /// html prints one self-contained page. json prints one object per line, with its verdict.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: AnswerFormat,
    #[command(flatten)]
    pub to: Destination,
    #[command(flatten)]
    pub color: ColorArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// Text for a terminal.
    #[default]
    Text,
    /// One self-contained page.
    Html,
    /// One JSON object per line.
    Json,
}

impl From<AnswerFormat> for Form {
    fn from(format: AnswerFormat) -> Self {
        match format {
            AnswerFormat::Text => Self::Text,
            AnswerFormat::Html => Self::Html,
            AnswerFormat::Json => Self::Json,
        }
    }
}
