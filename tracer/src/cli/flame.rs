//! Arguments of `oomwhy flame`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{Destination, DirArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  oomwhy flame kxqz --output-file grown.svg  growth of one stored report
  oomwhy flame kills.jsonl -o folded         one line per stack, for other tools
  oomwhy flame kxqz -o pprof --output-file grown.pb.gz  for `go tool pprof`";

#[derive(Args, Clone, Debug)]
pub struct FlameArgs {
    /// File of reports as JSON, `-` for stdin, or the ID of a stored report (`oomwhy list`).
    ///
    /// If there are several reports, the newest one with stacks is used.
    #[arg(value_name = "ID|FILE|-", value_hint = ValueHint::FilePath)]
    pub what: PathBuf,
    #[command(flatten)]
    pub dir: DirArgs,
    /// Print in this format: svg, folded or pprof.
    ///
    /// svg prints a flame graph for a browser, folded one line per stack, pprof a gzipped protobuf.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: ProfileFormat,
    #[command(flatten)]
    pub to: Destination,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProfileFormat {
    /// A flame graph.
    #[default]
    Svg,
    /// One line per stack.
    Folded,
    /// A profile for pprof.
    Pprof,
}
