//! The tables as they are printed.

use jiff::tz::TimeZone;

use super::{Layout, groups, records};
use crate::{
    compose::fingerprint::fingerprint,
    history::{group::group, scan::FoundRecord, summary::Summary},
    model::report::{Container, Record, Verdict},
    output::fixtures,
};

/// The history's summary of every record of the sinks' tests.
fn summaries() -> Vec<Summary> {
    let mut all = fixtures::all();
    for (_, record) in &mut all {
        if let Record::Oom(report) = record {
            report.fingerprint = fingerprint(report);
        }
    }
    if let Some((_, Record::Oom(report))) = all.first_mut() {
        let id = Some("4f9a0c5b1de24f9a0c5b1de2".to_owned());
        report.victims[0].owner.container = Some(Container { id, ..Container::default() });
        report.verdict = Some(Verdict {
            headline: String::new(),
            cause: "anon_growth".to_owned(),
            evidence: Vec::new(),
            advice: Vec::new(),
            also: Vec::new(),
        });
    }
    let lines = all.iter().map(|(_, record)| serde_json::to_vec(record).unwrap());
    lines.map(|line| Summary::parse(&line).unwrap()).collect()
}

fn layout(width: Option<usize>) -> Layout {
    Layout { zone: TimeZone::UTC, width, has_legend: true }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn every_record_has_a_line() {
    let text = plain(&records(summaries().iter(), &layout(None)));
    insta::assert_snapshot!("records", text);
    assert_eq!(text.lines().count(), summaries().len() + 1);
    let without = Layout { has_legend: false, ..layout(None) };
    let text = plain(&records(summaries().iter(), &without));
    assert_eq!(text.lines().count(), summaries().len());
}

#[test]
fn paths_are_shortened_on_a_narrow_terminal() {
    let text = plain(&records(summaries().iter().take(3), &layout(Some(110))));
    insta::assert_snapshot!("narrow", text);
    assert!(text.lines().all(|line| line.len() <= 110));
}

#[test]
fn nothing_untrusted_reaches_the_terminal() {
    let text = records(summaries().iter(), &layout(None));
    let text = plain(&text);
    assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
}

#[test]
fn groups_have_a_line_each() {
    let found: Vec<FoundRecord> = summaries().into_iter().map(FoundRecord::unstored).collect();
    insta::assert_snapshot!("groups", plain(&groups(&group(found), &layout(None))));
}
