//! `oomwhy explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{Color, OutputArgs};
use crate::explain::Form;

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy explain kills.jsonl                                the long answer, in the terminal
  oomwhy explain -o html --output-file oom.html kills.jsonl a page to attach to an incident
  dmesg | oomwhy explain -                                  kills before anybody was watching
  journalctl -k -b -1 | oomwhy explain -                    those of the boot before";

/// What `explain` takes.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// A file; `-` is stdin.
    #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath, default_value = "-",
        hide_default_value = true)]
    pub what: PathBuf,
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
    /// Print to FILE instead of stdout.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output_file: Option<PathBuf>,
    /// Color text: auto, always or never.
    ///
    /// auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    pub color: Color,
}

impl ExplainArgs {
    /// Where to print, as the other commands have it.
    pub fn to_file(&self) -> OutputArgs {
        let Self { output_file, color, .. } = self.clone();
        OutputArgs { output_file, color, ..OutputArgs::default() }
    }
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
