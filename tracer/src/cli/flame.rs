//! `oomwhy flame`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{Destination, DirArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy flame kxqz --output-file grown.svg  the one that `oomwhy list` calls kxqz...
  oomwhy flame kills.jsonl -o folded         one line a stack, for another tool
  oomwhy flame kxqz -o pprof --output-file grown.pb.gz  for `go tool pprof`";

/// What `flame` takes.
#[derive(Args, Clone, Debug)]
pub struct FlameArgs {
    /// A file of reports as JSON, `-` for stdin, or the ID of a report as `oomwhy list` shows it.
    ///
    /// Of several reports, the last one that has stacks.
    #[arg(value_name = "ID|FILE|-", value_hint = ValueHint::FilePath)]
    pub what: PathBuf,
    /// Where to look for an ID.
    #[command(flatten)]
    pub dir: DirArgs,
    /// Format: svg, folded or pprof.
    ///
    /// svg: a flame graph for a browser. folded: one line a stack. pprof: a gzipped protobuf.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: ProfileFormat,
    /// Where to print.
    #[command(flatten)]
    pub to: Destination,
}

/// Format of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProfileFormat {
    /// A picture.
    #[default]
    Svg,
    /// Lines.
    Folded,
    /// For pprof.
    Pprof,
}
