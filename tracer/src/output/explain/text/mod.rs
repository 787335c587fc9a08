//! The long answer as text: the five questions in order.

mod sections;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use crate::{
    fmt::{lines::Lines, page::Page},
    model::report::{OomReport, Record},
    output::{text::headline, view},
};

/// One record, in lines of `width` columns.
pub(super) fn record(record: &Record, zone: &TimeZone, width: usize) -> Lines {
    let mut page = Page::new(width);
    let warning = AnsiColor::Yellow.on_default().bold();
    match record {
        Record::Oom(report) => oom(&mut page, report, zone),
        Record::Gap(gap) => page.words("", warning, view::gap(gap, zone)),
        Record::Loss(loss) => page.words("", warning, view::loss(loss, zone)),
    }
    page.finish()
}

fn oom(page: &mut Page, report: &OomReport, zone: &TimeZone) {
    page.words("", headline::style(report), headline::sentence(report));
    page.words("", Style::new().dimmed(), place_and_time(report, zone));
    if let Some(verdict) = &report.verdict {
        page.empty_line();
        page.words("", Style::new().bold(), view::safe(&verdict.headline));
    }
    sections::who(page, report, zone);
    sections::limit(page, report);
    sections::why(page, report);
    sections::memory(page, report, zone);
    sections::change(page, report);
    sections::stacks(page, report);
    sections::source(page, report);
}

fn place_and_time(report: &OomReport, zone: &TimeZone) -> String {
    let facts = [
        report.time.map(|time| view::moment(time, zone)),
        report.host.as_deref().map(|host| format!("host {}", view::safe(host))),
        report.kernel.as_deref().map(|kernel| format!("kernel {}", view::safe(kernel))),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
