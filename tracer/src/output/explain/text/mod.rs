//! The long answer as text, under 100 columns: the five questions in order.

mod bars;
mod page;
mod sections;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use self::page::Page;
pub(super) use self::page::WIDTH;
use super::view;
use crate::{
    model::report::{GapReport, LossReport, OomReport, Outcome, Record},
    output::text::headline,
};

/// One record.
pub(super) fn record(record: &Record, zone: &TimeZone) -> String {
    match record {
        Record::Oom(report) => oom(report, zone),
        Record::Gap(gap) => gap_sentence(gap, zone),
        Record::Loss(loss) => loss_sentence(loss, zone),
    }
}

fn oom(report: &OomReport, zone: &TimeZone) -> String {
    let mut page = Page::default();
    let style = match report.outcome {
        Outcome::Killed | Outcome::WillFreeMem => AnsiColor::Red.on_default().bold(),
        _ => AnsiColor::Yellow.on_default().bold(),
    };
    page.sentence(style, &headline::sentence(report));
    page.sentence(Style::new().dimmed(), &place_and_time(report, zone));
    if let Some(verdict) = &report.verdict {
        page.gap();
        page.sentence(Style::new().bold(), &view::safe(&verdict.headline));
    }
    sections::who(&mut page, report, zone);
    sections::limit(&mut page, report);
    sections::why(&mut page, report);
    sections::memory(&mut page, report, zone);
    sections::change(&mut page, report);
    sections::stacks(&mut page, report);
    sections::source(&mut page, report);
    page.finish()
}

fn place_and_time(report: &OomReport, zone: &TimeZone) -> String {
    let facts = [
        report.time.map(|time| view::moment(time, zone)),
        report.host.as_deref().map(|host| format!("host {}", view::safe(host))),
        report.kernel.as_deref().map(|kernel| format!("kernel {}", view::safe(kernel))),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn gap_sentence(gap: &GapReport, zone: &TimeZone) -> String {
    let GapReport { expected, seen, since, .. } = gap;
    let mut page = Page::default();
    let since = view::moment(*since, zone);
    let text =
        format!("gap: the kernel counted {expected} OOM kills since {since}, {seen} were seen");
    page.sentence(AnsiColor::Yellow.on_default().bold(), &text);
    page.finish()
}

fn loss_sentence(loss: &LossReport, zone: &TimeZone) -> String {
    let mut page = Page::default();
    let first = view::moment(loss.first, zone);
    let text = format!("loss: {} kernel-side records since {first}", loss.count);
    page.sentence(AnsiColor::Yellow.on_default().bold(), &text);
    page.finish()
}
