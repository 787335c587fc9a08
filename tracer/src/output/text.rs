//! A block of text per invocation, for people. The first line has the victim, its size, the limit
//! and the trigger; the sections below have the rest, most wanted first.
//!
//! A block is as wide as the terminal and readable without color, with sizes in IEC units. Nothing
//! is decided here: only data of the record are shown. The sink prints nothing but
//! [`crate::fmt::lines::Lines`], in which no untrusted byte is left as it was.

mod candidates;
mod growth;
pub(crate) mod headline;
mod limit;
pub(crate) mod list;
mod reap_and_exit;
mod system;
mod trigger;
mod verdict;
mod victims;
mod who;

use std::{collections::BTreeMap, io::Write};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};

use self::reap_and_exit::Known;
use crate::{
    fmt::{
        lines::{Lines, TextOut},
        page::{Page, Section},
        units, width,
    },
    model::report::{OomReport, Record, Source},
    output::view::{
        self,
        missing::{self, MissingGroup},
    },
    pipeline::sink::{Sink, SinkError},
};

/// Columns of the label, as wide as a time of day and a space.
const LABEL: usize = 9;

/// A section of a block.
fn section<'a>(block: &'a mut Page, label: &str) -> Section<'a> {
    block.section(label, LABEL)
}

/// Writes records as blocks of text, with color escapes: wrap `out` in an `anstream::AutoStream`.
#[derive(Debug)]
pub struct TextSink<W> {
    out: TextOut<W>,
    detail: Detail,
    zone: TimeZone,
    width: usize,
    /// The printed part of each provisional report, by report id.
    provisional: BTreeMap<String, Known>,
}

/// How much of the long lists is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// As many rows as fit a screen.
    #[default]
    Brief,
    /// Everything that was recorded.
    Full,
}

impl Detail {
    /// Rows of a list that are shown.
    fn rows(self, brief: usize) -> usize {
        match self {
            Self::Brief => brief,
            Self::Full => usize::MAX,
        }
    }
}

impl<W: Write> TextSink<W> {
    /// A sink into `out`, unbuffered; times are shown in `zone`.
    pub fn new(out: W, zone: TimeZone, detail: Detail) -> Self {
        let out = TextOut::new(out);
        Self { out, detail, zone, width: width::DEFAULT, provisional: BTreeMap::new() }
    }

    /// Limits the lines to `width` columns.
    #[must_use]
    pub fn with_width(self, width: usize) -> Self {
        Self { width, ..self }
    }

    fn print(&mut self, lines: &Lines) -> Result<(), SinkError> {
        Ok(self.out.print(lines)?)
    }

    fn render(&self, record: &Record) -> Lines {
        let mut block = Page::new(self.width);
        match record {
            Record::Oom(report) => self.oom(&mut block, report),
            Record::Gap(gap) => self.alarm(&mut block, gap.time, &view::gap(gap, &self.zone)),
            Record::Loss(loss) => {
                self.alarm(&mut block, Some(loss.last), &view::loss(loss, &self.zone));
            }
        }
        block.empty_line();
        block.finish()
    }

    fn oom(&self, block: &mut Page, report: &OomReport) {
        headline::write(block, report, &self.clock(report.time));
        verdict::write(block, report.verdict.as_ref());
        victims::write(block, report, self.detail);
        limit::write(block, report);
        system::write(block, report, self.detail);
        trigger::write(block, report, self.detail);
        growth::write(block, report, self.detail);
        candidates::write(block, report, self.detail);
        write_missing(block, &report.source, self.detail);
        if let Some(cut) = view::cut(report) {
            block.section("cut", LABEL).words("", Style::new().dimmed(), &cut);
        }
        self.write_origin(block, report);
    }

    fn alarm(&self, block: &mut Page, time: Option<Timestamp>, text: &str) {
        section(block, &self.clock(time)).words("", headline::ALARM, text);
    }

    fn clock(&self, time: Option<Timestamp>) -> String {
        let local = time.map(|time| time.to_zoned_datetime(self.zone.clone()));
        local.map_or_else(String::new, |local| local.strftime("%T").to_string())
    }

    /// Writes the report's id and time, and the tier that saw the invocation.
    fn write_origin(&self, block: &mut Page, report: &OomReport) {
        let time = report.time.map(|time| view::moment(time, &self.zone));
        let tier = format!("seen by {}", report.source.tier.name());
        let facts: Vec<String> =
            [Some(view::safe(&report.id)), time, Some(tier)].into_iter().flatten().collect();
        section(block, "report").joined("", &facts, ", ", Style::new().dimmed());
    }
}

impl<W: Write> Sink for TextSink<W> {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        self.print(&self.render(record))
    }

    fn provisional(&mut self, record: &Record) -> Result<(), SinkError> {
        if let Record::Oom(report) = record {
            self.provisional.insert(report.id.clone(), Known::of(report));
        }
        self.write(record)
    }

    fn update(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Oom(report) => {
                let provisional = self.provisional.remove(&report.id);
                let known = provisional.unwrap_or(Known::of(report));
                self.print(&reap_and_exit::block(report, known, self.width))
            }
            Record::Gap(_) | Record::Loss(_) => self.write(record),
        }
    }
}

/// Writes the missing fields, one paragraph per reason. In brief, those of the tier are counted.
fn write_missing(block: &mut Page, source: &Source, detail: Detail) {
    let style = Style::new().dimmed();
    let (groups, of_tier) = match detail {
        Detail::Brief => missing::without_those_of_the_tier(source),
        Detail::Full => (missing::groups(source), 0),
    };
    let mut section = block.section("missing", LABEL);
    for MissingGroup { fields, why } in groups {
        section.words("", style, format!("{fields}: {why}"));
    }
    if of_tier > 0 {
        let fields = units::count(of_tier, "field");
        let tier = source.tier.name();
        let text = format!("{fields} that tier {tier} does not have (`oomwhy check` shows why)");
        section.words("", style, &text);
    }
    if let Some(shed) = view::shed(source) {
        block.section("shed", LABEL).words("", style, &shed);
    }
    if let Some(drops) = view::drops(source) {
        block.section("lost", LABEL).words("", AnsiColor::Yellow.on_default(), &drops);
    }
}

#[cfg(test)]
mod tests;
