//! The risk report as a table for people.

use anstyle::{AnsiColor, Style};

use super::{Level, RecorderSeen, Risk, RiskReport, time_to_limit::Forecast};
use crate::{
    compose::names,
    fmt::{
        lines::Lines,
        sanitize::sanitize,
        table::{Kind, Table, UNKNOWN},
        units::bytes,
    },
    model::report::GrowthStack,
};

/// Functions that are shown for a growing process.
const FRAMES: usize = 3;

/// The table with colors, `width` columns wide where that is known.
pub(crate) fn text(report: &RiskReport, width: Option<usize>) -> Lines {
    let mut text = Lines::default();
    for (style, line) in lines(report, width) {
        text.line(style, line);
    }
    text
}

/// Its lines, the head first.
pub(crate) fn lines(report: &RiskReport, width: Option<usize>) -> Vec<(Style, String)> {
    let mut table = Table::new(&[
        ("CGROUP", Kind::Text),
        ("USED", Kind::Number),
        ("LIMIT", Kind::Number),
        ("NEED", Kind::Number),
        ("LEFT", Kind::Number),
        ("GROWTH/s", Kind::Number),
        ("FULL IN", Kind::Number),
        ("PSI", Kind::Number),
        ("WOULD DIE", Kind::Word),
    ]);
    for risk in &report.cgroups {
        table.row(style(risk), cells(risk));
        if let Some(grown) = grown(risk, report) {
            table.note(format!("  {grown}"));
        }
    }
    table.lines(width.unwrap_or(usize::MAX))
}

fn style(risk: &Risk) -> Style {
    match risk.level() {
        Level::VeryNear => AnsiColor::Red.on_default(),
        Level::Near => AnsiColor::Yellow.on_default(),
        Level::Far => Style::new(),
    }
}

/// The recorder that has the growth, or the reason why a recorder was not used. `None` if none
/// runs.
pub(crate) fn recorder(report: &RiskReport) -> Option<String> {
    if let Some(why) = &report.recorder_unused {
        return Some(format!("growth is from a few readings, not from a growth recorder: {why}"));
    }
    let RecorderSeen { pid, since, above_percent, others } = report.recorder.as_ref()?;
    let more = others.map_or(String::new(), |others| {
        format!(", and from {others} more; the newest one that has a cgroup is used for it")
    });
    Some(format!(
        "growth is from the recorder of oomwhy[{pid}], since {since:.0}, of cgroups above \
         {above_percent} % of their limit{more}"
    ))
}

/// "steady for 41 s; hog[97] 41 MiB: touch < run < main".
pub(super) fn grown(risk: &Risk, report: &RiskReport) -> Option<String> {
    let kind = risk.growth_kind.filter(|kind| *kind != "unknown");
    let shape = kind.map_or_else(|| "grows".to_owned(), |kind| kind.replace('_', " "));
    let since = risk.growing_since?;
    let lasts = report.time.duration_since(since).unsigned_abs();
    let largest = risk.growing.first().map(growing_process);
    let process = largest.map(|process| format!("; {process}")).unwrap_or_default();
    Some(format!("{shape} for {}{process}", seconds(lasts.as_secs_f64())))
}

fn growing_process(stack: &GrowthStack) -> String {
    let frames = stack.user_stack.iter().flatten().take(FRAMES).map(names::frame);
    let functions = frames.collect::<Vec<_>>().join(" < ");
    let colon = if functions.is_empty() { "" } else { ": " };
    format!("{} {}{colon}{functions}", names::allocator(stack), bytes(stack.bytes))
}

fn cells(risk: &Risk) -> Vec<String> {
    let unknown = || UNKNOWN.to_owned();
    vec![
        sanitize(risk.path.as_bytes()),
        bytes(risk.usage_bytes),
        bytes(risk.limit_bytes),
        percent(risk.share()),
        bytes(risk.headroom_bytes),
        risk.growth_bytes_per_s.map_or_else(unknown, growth),
        risk.time_to_limit.as_ref().map_or_else(unknown, time),
        risk.pressure.map_or_else(unknown, |it| format!("{:.0}%", it.some_avg10)),
        victim(risk),
    ]
}

/// The need, as a share of the limit.
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
        return "no killable task".to_owned();
    };
    let name = names::task(Some(&choice.comm), None, choice.pid);
    let equals = choice.equals.map_or(String::new(), |equals| format!(", 1 of {}", equals + 1));
    let group = if choice.kills_group.is_some() { ", all its group" } else { "" };
    format!("{name} {}{equals}{group}", bytes(choice.rss_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecast_has_its_range_unless_it_is_certain() {
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
