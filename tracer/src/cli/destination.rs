//! `--output-file` and `--color`, which several commands share.

use std::{
    io,
    path::{Path, PathBuf},
};

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum, ValueHint};

use crate::fmt::width;

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

    /// Columns of a line of text.
    pub fn width(&self) -> usize {
        if self.path().is_some() { width::DEFAULT } else { width::of_stdout() }
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
    /// Whether text into `to` is colored.
    pub fn choice(self, to: &Destination) -> ColorChoice {
        match self.color {
            Color::Auto if to.path().is_some() => ColorChoice::Never,
            #[expect(clippy::disallowed_methods, reason = "it asks for the kind only")]
            Color::Auto => AutoStream::choice(&io::stdout()),
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
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
