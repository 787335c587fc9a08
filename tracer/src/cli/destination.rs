//! `--output-file` and `--color`, which several commands share.

use std::{
    io,
    path::{Path, PathBuf},
};

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum, ValueHint};

#[derive(Args, Clone, Debug, Default)]
pub struct Destination {
    /// Print to FILE instead of stdout.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output_file: Option<PathBuf>,
}

impl Destination {
    pub fn path(&self) -> Option<&Path> {
        self.output_file.as_deref()
    }
}

#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ColorArgs {
    /// Color text: auto, always or never.
    ///
    /// auto colors on a terminal unless NO_COLOR is set.
    #[arg(long, hide_short_help = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,
}

impl ColorArgs {
    pub fn choice(self, to: &Destination) -> ColorChoice {
        match self.color {
            Color::Auto if to.path().is_some() => ColorChoice::Never,
            color => color.on_stdout(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also in a file or a pipe.
    Always,
    /// Not even on a terminal.
    Never,
}

impl Color {
    pub fn on_stdout(self) -> ColorChoice {
        match self {
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
            Self::Auto => AutoStream::choice(&io::stdout()),
        }
    }
}
