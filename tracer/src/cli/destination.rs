//! Where to print, and whether in color: what several commands take alike.

use std::{
    io,
    path::{Path, PathBuf},
};

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum, ValueHint};

/// Where to print.
#[derive(Args, Clone, Debug, Default)]
pub struct Destination {
    /// Print to FILE instead of stdout.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output_file: Option<PathBuf>,
}

impl Destination {
    /// The file, unless it is stdout.
    pub fn path(&self) -> Option<&Path> {
        self.output_file.as_deref()
    }
}

/// Whether to color.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ColorArgs {
    /// Color text: auto, always or never.
    ///
    /// auto: on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub color: Color,
}

impl ColorArgs {
    /// Whether to color what goes there.
    pub fn choice(self, to: &Destination) -> ColorChoice {
        match self.color {
            Color::Auto if to.path().is_some() => ColorChoice::Never,
            color => color.on_stdout(),
        }
    }
}

/// When to color text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether to color what goes to stdout.
    pub fn on_stdout(self) -> ColorChoice {
        match self {
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
            Self::Auto => AutoStream::choice(&io::stdout()),
        }
    }
}
