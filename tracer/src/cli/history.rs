//! Options of the commands that write or read the history: `watch --store`, `list`, `show`,
//! `export`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use super::{ColorArgs, Destination, filters, numbers, sizes};
use crate::history::{DEFAULT_DIR, free_space::KeepFree, when};

#[derive(Args, Clone, Debug)]
pub struct DirArgs {
    /// Read the history in this directory.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = DEFAULT_DIR,
        env = "OOMWHY_DIR", hide_env_values = true)]
    pub dir: PathBuf,
}

#[derive(Args, Clone, Debug, Default)]
pub struct StoreArgs {
    /// Store reports for `oomwhy list`, `show` and `export`.
    ///
    /// They are JSON lines below --dir. Each one is on disk before the next is written. Root and
    /// the directory's group can read them.
    #[arg(long)]
    pub store: bool,
    /// Store in this directory [default: /var/lib/oomwhy].
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        requires = "store",
        hide_short_help = true
    )]
    pub dir: Option<PathBuf>,
    /// Limit the disk space of the history [default: 128MiB].
    ///
    /// The oldest reports are deleted first. 1MiB or more.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = sizes::max_use,
        requires = "store",
        hide_short_help = true
    )]
    pub max_use: Option<u64>,
    /// Leave this much of the file system free: a size or a percentage [default: leave none].
    ///
    /// While less is free, new reports replace the oldest ones, and the history does not grow. For
    /// example 1GiB or 10%.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = sizes::keep_free,
        requires = "store",
        hide_short_help = true
    )]
    pub keep_free: Option<KeepFree>,
    /// Delete reports older than this [default: keep while there is room].
    ///
    /// For example 90d or 12 weeks. 1h or more.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = age,
        requires = "store",
        hide_short_help = true
    )]
    pub max_age: Option<Duration>,
}

/// Filters. A report must pass all of them.
#[derive(Args, Clone, Debug, Default)]
pub struct MatchArgs {
    /// Match a pid, a name, the start of an ID, a cgroup or an executable.
    ///
    /// Digits match the pid of a victim or of the trigger. A word with a slash matches a cgroup or
    /// one of its parents (`*` and `**` as in --cgroup), NAMESPACE/POD, or an executable. Any other
    /// word matches the name of a task, container, pod or systemd unit (`*`, `?` and `[...]` match
    /// other characters). Words of one kind are alternatives; different kinds must all match.
    #[arg(value_name = "MATCH", value_parser = filters::not_empty)]
    pub matches: Vec<String>,
    /// Select only kills of or by these processes.
    #[arg(short, long, value_name = "PID[,PID]", value_delimiter = ',',
        value_parser = numbers::pid)]
    pub pid: Vec<i32>,
    /// Select only kills of or by tasks with this name.
    #[arg(long, value_name = "NAME", value_parser = filters::comm)]
    pub comm: Vec<String>,
    /// Select only kills that involve this cgroup or one below it.
    #[arg(long, value_name = "GLOB", value_parser = filters::not_empty)]
    pub cgroup: Vec<String>,
    /// Select only kills of or by tasks in this container: its name, or the start of its id.
    #[arg(long, value_name = "CONTAINER", value_parser = filters::not_empty)]
    pub container: Vec<String>,
    /// Select only kills of or by tasks in this pod: [NAMESPACE/]NAME, or the start of its uid.
    #[arg(long, value_name = "POD", value_parser = filters::not_empty)]
    pub pod: Vec<String>,
    /// Select only reports since this time.
    ///
    /// "2026-11-25 10:00", 10:00, today, yesterday, "2 hours ago", 2h, RFC 3339 or @SECONDS.
    #[arg(short = 'S', long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub since: Option<Timestamp>,
    /// Select only reports until this time.
    #[arg(short = 'U', long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub until: Option<Timestamp>,
    /// Print the newest first.
    #[arg(short, long)]
    pub reverse: bool,
    /// Print only the newest report.
    #[arg(short = '1', conflicts_with = "lines")]
    pub latest: bool,
    /// Print only the newest N reports.
    #[arg(short = 'n', long, value_name = "N", value_parser = numbers::reports)]
    pub lines: Option<u64>,
}

impl MatchArgs {
    /// How many of the newest reports are wanted.
    pub fn limit(&self) -> usize {
        let lines = if self.latest { Some(1) } else { self.lines };
        lines.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX))
    }
}

const LIST_EXAMPLES: &str = "\
Examples:
  oomwhy list                              every report, newest last
  oomwhy list java -S yesterday            kills of java since yesterday
  oomwhy list --cgroup '/kubepods/**' -n 20  the newest 20 below /kubepods
  oomwhy list --group -S '7 days ago'      which kills repeat, and how often
  oomwhy list -o jsonl | jq .victims       full reports, for other tools";

#[derive(Args, Clone, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    #[command(flatten)]
    pub dir: DirArgs,
    #[command(flatten)]
    pub select: MatchArgs,
    /// Group by kind of kill and count.
    ///
    /// Kills are the same kind if executable, limit and cause match.
    #[arg(long)]
    pub group: bool,
    /// Print in this format: table, json or jsonl.
    ///
    /// json prints one array, jsonl one object per line. Both have the full reports (`oomwhy
    /// schema`).
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: ListFormat,
    #[command(flatten)]
    pub to: Destination,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Omit the header line.
    #[arg(long)]
    pub no_legend: bool,
    /// Print only errors on stderr.
    #[arg(short, long)]
    pub quiet: bool,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  oomwhy show                 the newest report
  oomwhy show kxqz            the report whose id starts with kxqz
  oomwhy show -o json kxqz    as JSON";

#[derive(Args, Clone, Debug)]
#[command(after_help = SHOW_EXAMPLES)]
pub struct ShowArgs {
    #[command(flatten)]
    pub dir: DirArgs,
    /// ID that `oomwhy list` shows, or its start [default: the newest report].
    ///
    /// Any MATCH of `oomwhy list` works if exactly one report matches.
    #[arg(value_name = "ID", value_parser = filters::not_empty)]
    pub id: Option<String>,
    /// Print in this format: text or json.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: ShowFormat,
    #[command(flatten)]
    pub to: Destination,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Do not truncate long lists.
    #[arg(short, long)]
    pub verbose: bool,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  oomwhy export kxqz --output-file kill.json   one report, for the incident
  oomwhy export -S today                       reports of today as JSON lines
  oomwhy export -o json --comm java            all kills of java, as one array";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    #[command(flatten)]
    pub dir: DirArgs,
    #[command(flatten)]
    pub select: MatchArgs,
    /// Print in this format: jsonl or json.
    ///
    /// jsonl prints one object per line, json one array.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: ExportFormat,
    #[command(flatten)]
    pub to: Destination,
    /// Print only errors on stderr.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// One line per report.
    #[default]
    Table,
    /// One array of all reports.
    Json,
    /// One object per line.
    Jsonl,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// The block of text that `oomwhy watch` prints.
    #[default]
    Text,
    /// One indented JSON object.
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One object per line.
    #[default]
    Jsonl,
    /// One array of all reports.
    Json,
}

fn time(text: &str) -> Result<Timestamp, String> {
    when::parse(text, &ZonedDateTime::now())
}

/// "90d", "12 weeks"; a day has 24 hours.
fn age(text: &str) -> Result<Duration, String> {
    let span: jiff::Span =
        text.parse().map_err(|_| "write it with a unit, e.g. 90d or 12 weeks".to_owned())?;
    let relative = jiff::SpanRelativeTo::days_are_24_hours();
    let duration: SignedDuration = span.to_duration(relative).map_err(|_| "too long".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if duration >= Duration::from_hours(1) => Ok(duration),
        _ => Err("must be 1h or more".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{age, time};

    #[test]
    fn age_needs_unit() {
        for (text, hours) in
            [("1h", 1), ("90d", 90 * 24), ("12 weeks", 12 * 7 * 24), ("1d 12h", 36)]
        {
            assert_eq!(age(text), Ok(Duration::from_hours(hours)), "{text}");
        }
        for wrong in ["", "90", "5min", "-1d", "x"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        assert_eq!(age("1s").unwrap_err(), "must be 1h or more");
        assert!(age("90").unwrap_err().contains("with a unit"));
    }

    #[test]
    fn time_accepts_sign() {
        assert!(time("-1h").unwrap() < time("now").unwrap());
    }
}
