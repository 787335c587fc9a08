//! The outlook as a table for people.

use std::io::{self, Write};

use super::{Outlook, RecorderSeen, Risk, forecast::Forecast};
use crate::{
    compose::names::{self},
    fmt::{
        layout::{columns, elide, take_columns},
        sanitize::sanitize,
        units::bytes,
    },
    model::report::{self, GrowthStack},
};

/// Widths but for the cgroup's, which takes what is left.
const HEAD: [&str; 8] =
    ["USED", "LIMIT", "NEED", "LEFT", "GROWTH/s", "FULL IN", "PSI", "WOULD DIE"];
/// Frames of a place.
const FRAMES: usize = 3;
/// The least that a cgroup's path gets.
const PATH_COLUMNS: usize = 24;

/// Prints the table, `width` columns wide where that is known.
pub(crate) fn write(
    out: &mut dyn Write,
    outlook: &Outlook,
    width: Option<usize>,
) -> io::Result<()> {
    for line in lines(outlook, width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Its lines, the head first.
pub(crate) fn lines(outlook: &Outlook, width: Option<usize>) -> Vec<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(outlook.cgroups.iter().map(cells));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| columns(&row[column])).max().unwrap_or_default())
        .collect();
    let fixed = widths.iter().sum::<usize>() + widths.len();
    let longest = outlook.cgroups.iter().map(|risk| columns(&path(risk))).max();
    let longest = longest.unwrap_or_default().max("CGROUP".len());
    let room = width.map_or(longest, |width| width.saturating_sub(fixed).max(PATH_COLUMNS));
    let room = room.min(longest);
    let paths = std::iter::once("CGROUP".to_owned()).chain(outlook.cgroups.iter().map(path));
    let rows = paths.zip(&rows).map(|(path, row)| line(&elide(&path, room), room, row, &widths));
    let grown =
        std::iter::once(None).chain(outlook.cgroups.iter().map(|risk| grown(risk, outlook)));
    let width = width.unwrap_or(usize::MAX);
    let below = grown.map(|words| words.map(|words| cut(&format!("  {words}"), width)));
    rows.zip(below).flat_map(|(row, below)| std::iter::once(row).chain(below)).collect()
}

/// Where the growth is from, if not from the readings alone; or why not from a recorder.
pub(crate) fn recorder(outlook: &Outlook) -> Option<String> {
    if let Some(why) = &outlook.recorder_unused {
        return Some(format!("growth is from a few readings, not from a growth recorder: {why}"));
    }
    let RecorderSeen { pid, since, above_percent, others } = outlook.recorder.as_ref()?;
    let others = others.map_or(String::new(), |others| {
        format!(", and {others} more; of each cgroup the newest that has it is read")
    });
    Some(format!(
        "growth is from the recorder of oomwhy[{pid}], since {since:.0}, where a limit is used to \
         {above_percent} %{others}"
    ))
}

/// "steady for 41 s; hog[97] 41 MiB: touch < run < main".
pub(super) fn grown(risk: &Risk, outlook: &Outlook) -> Option<String> {
    let kind = risk.growth_kind.filter(|kind| *kind != "unknown");
    let kind = kind.map_or_else(|| "grows".to_owned(), |kind| kind.replace('_', " "));
    let since = risk.growing_since?;
    let lasts = outlook.time.duration_since(since).unsigned_abs();
    let most = risk.growers.first().map_or(String::new(), |most| format!("; {}", grower(most)));
    Some(format!("{kind} for {}{most}", seconds(lasts.as_secs_f64())))
}

fn grower(grower: &GrowthStack) -> String {
    let who = grower.pid.map_or_else(
        || "on behalf of others".to_owned(),
        |pid| names::task(grower.comm.as_deref(), None, pid),
    );
    let frames = grower.user_stack.iter().flatten().take(FRAMES).map(names::frame);
    let frames = frames.collect::<Vec<_>>().join(" < ");
    let colon = if frames.is_empty() { "" } else { ": " };
    format!("{who} {}{colon}{frames}", bytes(grower.bytes))
}

/// The begin of it, in so many columns.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    take_columns(text.chars(), width.saturating_sub(3)) + "..."
}

fn line(path: &str, room: usize, row: &[String; HEAD.len()], widths: &[usize]) -> String {
    let mut words = vec![format!("{path}{}", " ".repeat(room.saturating_sub(columns(path))))];
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        // All but the last are numbers.
        let is_text = index + 1 == HEAD.len();
        let padding = if is_text { 0 } else { width.saturating_sub(columns(cell)) };
        words.push(format!("{}{cell}", " ".repeat(padding)));
    }
    words.join(" ").trim_end().to_owned()
}

fn path(risk: &Risk) -> String {
    sanitize(risk.path.as_bytes())
}

fn cells(risk: &Risk) -> [String; HEAD.len()] {
    [
        bytes(risk.usage_bytes),
        bytes(risk.limit_bytes),
        percent(risk.share()),
        bytes(risk.headroom_bytes),
        risk.growth_bytes_per_s.map_or_else(|| "-".to_owned(), growth),
        risk.time_to_limit.as_ref().map_or_else(|| "-".to_owned(), time),
        risk.pressure.map_or_else(|| "-".to_owned(), |it| format!("{:.0}%", it.some_avg10)),
        victim(risk),
    ]
}

/// What the limit must hold, as a share of it.
fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

fn growth(bytes_per_s: i64) -> String {
    let sign = match bytes_per_s {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", bytes(bytes_per_s.unsigned_abs()))
}

/// "12 s (9 s to 2 min)"; a range that is open ends with "or never".
pub(super) fn time(forecast: &Forecast) -> String {
    let likely = seconds(forecast.likely_s);
    let earliest = seconds(forecast.earliest_s);
    match forecast.latest_s.map(seconds) {
        Some(latest) if latest == earliest => likely,
        Some(latest) => format!("{likely} ({earliest} to {latest})"),
        None => format!("{likely} ({earliest} or more)"),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        7200.0..172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

pub(super) fn victim(risk: &Risk) -> String {
    let Some(choice) = &risk.next_victim else {
        return "nobody may be killed".to_owned();
    };
    let name = sanitize(&report::original(&choice.comm, None));
    let equals = choice.equals.map_or(String::new(), |equals| format!(", 1 of {}", equals + 1));
    let group = if choice.kills_group.is_some() { ", all its group" } else { "" };
    format!("{name}[{}] {}{equals}{group}", choice.pid, bytes(choice.rss_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_say_how_sure_they_are() {
        let forecast = |likely_s, earliest_s, latest_s| Forecast { likely_s, earliest_s, latest_s };
        assert_eq!(time(&forecast(12.4, 12.4, Some(12.4))), "12 s");
        assert_eq!(time(&forecast(12.0, 9.0, Some(240.0))), "12 s (9 s to 4 min)");
        assert_eq!(time(&forecast(8000.0, 60.0, None)), "2 h (60 s or more)");
    }

    #[test]
    fn growth_has_a_sign() {
        assert_eq!([0, 1 << 20, -2048].map(growth), ["0 B", "+1 MiB", "-2 KiB"]);
    }
}
