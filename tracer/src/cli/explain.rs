//! `oomwhy explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{ColorArgs, Destination, DirArgs};
use crate::output::explain::Form;

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy explain kxqz                        the one that `oomwhy list` calls kxqz...
  oomwhy explain kills.jsonl                 all of a file
  oomwhy explain kxqz -o html --output-file oom.html  a page to attach to an incident
  dmesg | oomwhy explain -                   kills before anybody was watching
  journalctl -k -b -1 | oomwhy explain -     those of the boot before";

/// What `explain` takes.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// A file, `-` for stdin, or the ID of a report as `oomwhy list` shows it.
    ///
    /// A file holds a kernel's log or reports as JSON. What is no file is looked for in the history.
    #[arg(value_name = "ID|FILE|-", value_hint = ValueHint::FilePath, default_value = "-",
        hide_default_value = true)]
    pub what: PathBuf,
    /// Where to look for an ID.
    #[command(flatten)]
    pub dir: DirArgs,
    /// Format: text, html or json.
    ///
    /// html: one page that needs nothing else. json: one object a line, with its verdict.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: AnswerFormat,
    /// Where to print.
    #[command(flatten)]
    pub to: Destination,
    /// Whether in color.
    #[command(flatten)]
    pub color: ColorArgs,
}

/// Format of a long answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// For a terminal.
    #[default]
    Text,
    /// One self-contained page.
    Html,
    /// One JSON object a line.
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
