//! The long answer as one HTML page: no script, nothing from elsewhere, light and dark, for a phone
//! and for paper. `maud` escapes every string that is put in; `output/view` has made them safe to
//! read before.

mod chart;
mod flame;
mod json;
mod parts;

use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    fmt::width,
    model::report::{OomReport, Outcome, Record},
    output::text::headline,
    pipeline::sink::SinkError,
};

const STYLE: &str = include_str!("page.css");
/// Nothing runs and nothing is fetched, even if something slipped in.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'";

/// The end of the page.
pub(super) const TAIL: &str = "</main>\n</body>\n</html>\n";

/// The beginning of the page, named after its first record.
pub(super) fn head(first: &Record, zone: &TimeZone) -> String {
    let title = match first {
        Record::Oom(report) => headline::sentence(report),
        Record::Gap(_) | Record::Loss(_) => {
            super::text::record(first, zone, width::DEFAULT).to_string()
        }
    };
    let head = html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="generator" content=(concat!("oomwhy ", env!("CARGO_PKG_VERSION")));
            title { (plain(&title)) }
            style { (PreEscaped(STYLE)) }
        }
    };
    let (doctype, head) = (DOCTYPE.into_string(), head.into_string());
    format!("{doctype}\n<html lang=\"en\">\n{head}\n<body>\n<main>\n")
}

pub(super) fn record(record: &Record, zone: &TimeZone) -> Result<String, SinkError> {
    let article = match record {
        Record::Oom(report) => oom(report, zone, &json::pretty(record)?),
        Record::Gap(_) | Record::Loss(_) => {
            let text = super::text::record(record, zone, width::DEFAULT);
            html! { article { header.warn { h1 { (plain(&text)) } } } }
        }
    };
    Ok(article.into_string() + "\n")
}

/// Without the escapes that color a terminal.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string().trim().replace('\n', " ")
}

fn oom(report: &OomReport, zone: &TimeZone, json: &str) -> Markup {
    let is_death = matches!(report.outcome, Outcome::Killed | Outcome::WillFreeMem);
    let answers = [
        ("Who was killed, and by whose allocation?", parts::who(report, zone)),
        ("Whose limit was hit?", parts::limits(report)),
        ("Why that one?", parts::why(report)),
        ("What grew?", parts::memory(report, zone)),
        ("What to change?", parts::change(report)),
    ];
    html! {
        article {
            header.death[is_death].warn[!is_death] {
                p.kind { (outcome(report.outcome)) }
                h1 { (headline::sentence(report).trim_start_matches("OOM: ")) }
                p.meta { (parts::place_and_time(report, zone)) }
            }
            (parts::verdict(report))
            @for (index, (question, answer)) in answers.iter().enumerate() {
                section { h2 { span.number { (index + 1) } (question) } (answer) }
            }
            (parts::stacks(report))
            section.quiet {
                h2 { "Source" }
                (parts::source(report))
                details { summary { "The whole report as JSON" } pre.json { (json) } }
            }
        }
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Killed => "OOM kill",
        Outcome::AlreadyExiting => "OOM, already exiting",
        Outcome::WillFreeMem => "OOM, no task selected",
        Outcome::VictimPending => "OOM, a victim is pending",
        Outcome::NoVictim => "OOM, no killable task",
        Outcome::Reclaimed => "OOM, reclaimed",
        Outcome::NotAllowed => "OOM, the allocation may not kill",
        Outcome::Suspended => "OOM killer off during suspend",
        Outcome::Disabled => "OOM killer disabled",
        Outcome::Unknown => "OOM, end not seen",
    }
}
