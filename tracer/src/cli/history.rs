//! The history: what `watch --store`, `list`, `show` and `export` take.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint, value_parser};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use super::{ColorArgs, Destination, sizes};
use crate::history::{DEFAULT_DIR, when};

/// Where the history is.
#[derive(Args, Clone, Debug)]
pub struct DirArgs {
    /// Directory of the history.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = DEFAULT_DIR,
        env = "OOMWHY_DIR", hide_env_values = true)]
    pub dir: PathBuf,
}

/// What `watch` takes to remember.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArgs {
    /// Keep the reports, for `oomwhy list`.
    ///
    /// In JSON lines below --dir, each on disk before the next is taken. Files are for root and the group of the directory.
    #[arg(long)]
    pub store: bool,
    /// Directory of the history [default: /var/lib/oomwhy].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "store", hide_short_help = true)]
    pub dir: Option<PathBuf>,
    /// Most disk space that the history takes [default: 128MiB].
    ///
    /// The oldest reports go first. 1MiB or more.
    #[arg(long, value_name = "SIZE", value_parser = sizes::max_use, requires = "store", hide_short_help = true)]
    pub max_use: Option<u64>,
    /// Longest time that a report is kept [default: as long as there is room].
    ///
    /// E.g. 90d or 12 weeks. 1h or more.
    #[arg(long, value_name = "DURATION", value_parser = age, requires = "store", hide_short_help = true)]
    pub max_age: Option<Duration>,
}

/// Which records of the history.
#[derive(Args, Clone, Debug, Default)]
pub struct MatchArgs {
    /// A pid, a name (of a task, container, pod, or the beginning of an ID), a cgroup or executable.
    ///
    /// Digits are a pid of a victim or the trigger; a word with a slash is a cgroup (itself or above, `*` and `**` as in --cgroup), NAMESPACE/POD or an executable; anything else is a name.
    /// Several words of one kind are alternatives; of different kinds, all must hold.
    #[arg(value_name = "MATCH")]
    pub matches: Vec<String>,
    /// Only if a victim or the trigger is one of these.
    #[arg(short, long, value_name = "PID[,PID]", value_delimiter = ',',
        value_parser = value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,
    /// Only if a victim or the trigger has this name.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Only kills that involve this cgroup, or one below it.
    #[arg(long, value_name = "GLOB")]
    pub cgroup: Vec<String>,
    /// Only if a victim or the trigger was in this container: its name, or its id's beginning.
    #[arg(long, value_name = "CONTAINER")]
    pub container: Vec<String>,
    /// Only if a victim or the trigger was in this pod: [NAMESPACE/]NAME or uid.
    #[arg(long, value_name = "POD")]
    pub pod: Vec<String>,
    /// Not before this time.
    ///
    /// "2026-11-25 10:00", 10:00, today, yesterday, "2 hours ago", 2h, RFC 3339 or @SECONDS.
    #[arg(short = 'S', long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub since: Option<Timestamp>,
    /// Not after this time.
    #[arg(short = 'U', long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub until: Option<Timestamp>,
    /// Newest first.
    #[arg(short, long)]
    pub reverse: bool,
    /// Only the latest one.
    #[arg(short = '1', conflicts_with = "lines")]
    pub latest: bool,
    /// Only the latest N.
    #[arg(short = 'n', long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub lines: Option<u64>,
}

impl MatchArgs {
    /// How many of the latest are wanted.
    pub fn limit(&self) -> usize {
        let lines = if self.latest { Some(1) } else { self.lines };
        lines.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX))
    }
}

const LIST_EXAMPLES: &str = "\
Examples:
  oomwhy list                              every report, the newest last
  oomwhy list java -S yesterday            who was called java and died since yesterday
  oomwhy list --cgroup '/kubepods/**' -n 20  the latest 20 below /kubepods
  oomwhy list --group -S '7 days ago'      what repeats, and how often
  oomwhy list -o jsonl | jq .victims       whole reports, for other tools";

/// What `list` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,
    /// Which.
    #[command(flatten)]
    pub select: MatchArgs,
    /// One line per kind of kill: how many times, and how often.
    ///
    /// Of one kind are kills of the same executable, under the same limit, for the same cause.
    #[arg(long)]
    pub group: bool,
    /// Format: table, json or jsonl.
    ///
    /// json: one array. jsonl: one object a line. Both have the whole reports, see `oomwhy schema`.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: ListFormat,
    /// Leave the line of titles out.
    #[arg(long)]
    pub no_legend: bool,
    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    pub quiet: bool,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  oomwhy show                 the latest report
  oomwhy show kxqz            the one that `oomwhy list` calls kxqz...
  oomwhy show -o json kxqz    as JSON";

/// What `show` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = SHOW_EXAMPLES)]
pub struct ShowArgs {
    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,
    /// The ID that `oomwhy list` shows, or its beginning; the latest report without it.
    ///
    /// Whatever `oomwhy list` takes as MATCH will do, as long as one report matches.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Format: text or json.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: ShowFormat,
    /// Whether in color.
    #[command(flatten)]
    pub color: ColorArgs,
    /// Show long lists whole.
    #[arg(short, long)]
    pub verbose: bool,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  oomwhy export kxqz --output-file kill.json   one report, to be attached to an incident
  oomwhy export -S today                       today's, one JSON object a line
  oomwhy export -o json --comm java            all of java's, as one JSON array";

/// What `export` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// Where.
    #[command(flatten)]
    pub dir: DirArgs,
    /// Which.
    #[command(flatten)]
    pub select: MatchArgs,
    /// Format: jsonl or json.
    ///
    /// jsonl: one object a line. json: one array.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub output: ExportFormat,
    /// Where to print.
    #[command(flatten)]
    pub to: Destination,
    /// Say nothing on stderr but errors.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Format of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// A line for each, for people.
    #[default]
    Table,
    /// One array.
    Json,
    /// One object a line.
    Jsonl,
}

/// Format of one report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// The block of text that `oomwhy watch` prints.
    #[default]
    Text,
    /// One object.
    Json,
}

/// Format for other tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One object a line.
    #[default]
    Jsonl,
    /// One array.
    Json,
}

fn time(text: &str) -> Result<Timestamp, String> {
    when::parse(text, &ZonedDateTime::now())
}

/// "90d", "12 weeks"; a day has 24 hours.
fn age(text: &str) -> Result<Duration, String> {
    let hint = || "write it with a unit, e.g. 90d or 12 weeks; 1h or more".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| hint())?;
    let relative = jiff::SpanRelativeTo::days_are_24_hours();
    let duration: SignedDuration = span.to_duration(relative).map_err(|_| hint())?;
    match Duration::try_from(duration) {
        Ok(duration) if duration >= Duration::from_hours(1) => Ok(duration),
        _ => Err(hint()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{age, time};

    #[test]
    fn ages_have_a_unit() {
        for (text, hours) in
            [("1h", 1), ("90d", 90 * 24), ("12 weeks", 12 * 7 * 24), ("1d 12h", 36)]
        {
            assert_eq!(age(text), Ok(Duration::from_hours(hours)), "{text}");
        }
        for wrong in ["", "90", "5min", "-1d", "x"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_have_a_sign() {
        assert!(time("-1h").unwrap() < time("now").unwrap());
    }
}
