//! A block of text per invocation, for people. The first line says who died, how big, under which
//! limit and because of whom; the sections below say the rest, most wanted first.
//!
//! Under 80 columns, readable without color, sizes in IEC units. Nothing is decided here: what is
//! not in the record is not shown. Every untrusted byte passes through [`crate::fmt::sanitize`].

mod aftermath;
pub(crate) mod candidates;
mod growth;
pub(crate) mod headline;
mod limit;
pub(crate) mod list;
mod system;
mod trigger;
mod victims;
mod who;

use std::{collections::BTreeSet, io::Write};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

pub(crate) use self::growth::highest;
use crate::{
    fmt::{layout::Block, sanitize::sanitize},
    model::report::{GapReport, LossReport, OomReport, Record, Source, Tier, Verdict},
    pipeline::sink::{Sink, SinkError},
};

/// Writes records as blocks of text, with color escapes: wrap `out` in an `anstream::AutoStream`.
#[derive(Debug)]
pub struct TextSink<W> {
    out: W,
    detail: Detail,
    zone: TimeZone,
    /// Reports whose victims were told without a command line: it may come later.
    nameless: BTreeSet<String>,
    /// Reports whose trigger's stack in user space was told without names, likewise.
    unnamed: BTreeSet<String>,
}

/// How much of the long lists is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What fits a screen.
    #[default]
    Brief,
    /// Everything recorded.
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
        Self { out, detail, zone, nameless: BTreeSet::new(), unnamed: BTreeSet::new() }
    }

    fn print(&mut self, text: &str) -> Result<(), SinkError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn render(&self, record: &Record) -> String {
        match record {
            Record::Oom(report) => self.oom(report),
            Record::Gap(gap) => self.gap(gap),
            Record::Loss(loss) => self.loss(loss),
        }
    }

    fn oom(&self, report: &OomReport) -> String {
        let mut block = Block::default();
        headline::write(&mut block, report, &self.clock(report.time));
        write_verdict(&mut block, report.verdict.as_ref());
        victims::write(&mut block, report, self.detail);
        limit::write(&mut block, report);
        system::write(&mut block, report, self.detail);
        trigger::write(&mut block, report, self.detail);
        growth::write(&mut block, report, self.detail);
        candidates::write(&mut block, report, self.detail);
        write_missing(&mut block, &report.source);
        self.write_origin(&mut block, report);
        block.finish()
    }

    fn gap(&self, gap: &GapReport) -> String {
        let GapReport { expected, seen, since, time, drops, cgroup, .. } = gap;
        let since = self.local(*since).strftime("%F %T");
        let kills = if *expected == 1 { "kill" } else { "kills" };
        let path = cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
        let place =
            path.map(|path| format!(" in {}", sanitize(path.as_bytes()))).unwrap_or_default();
        let why = match drops {
            None => String::new(),
            Some(0) => "; no record was lost, the probes did not see the others".to_owned(),
            Some(drops) => format!("; {drops} records were lost (see --ring-size)"),
        };
        let text = format!(
            "gap: the kernel counted {expected} OOM {kills}{place} since {since}, {seen} of \
             them were seen{why}"
        );
        self.alarm(*time, &text)
    }

    fn loss(&self, loss: &LossReport) -> String {
        let LossReport { count, first, last, tier, .. } = loss;
        let first = self.local(*first).strftime("%T");
        let text = match tier {
            Some(Tier::Kmsg) => format!(
                "loss: {count} records of the kernel's log since {first}, overwritten before they \
                 were read"
            ),
            _ => format!(
                "loss: {count} kernel-side records since {first}, the ring was full (see \
                 --ring-size)"
            ),
        };
        self.alarm(Some(*last), &text)
    }

    fn alarm(&self, time: Option<Timestamp>, text: &str) -> String {
        let mut block = Block::default();
        block.words(&self.clock(time), headline::ALARM, text);
        block.finish()
    }

    fn local(&self, time: Timestamp) -> ZonedDateTime {
        time.to_zoned_datetime(self.zone.clone())
    }

    fn clock(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(String::new, |time| self.local(time).strftime("%T").to_string())
    }

    /// Where to find this report again, and what saw it.
    fn write_origin(&self, block: &mut Block, report: &OomReport) {
        let tier = match report.source.tier {
            Tier::Fentry => "fentry",
            Tier::Kprobe => "kprobe",
            Tier::Tracepoint => "tracepoint",
            Tier::Kmsg => "kmsg",
        };
        let time = report.time.map(|time| self.local(time).strftime("%F %T%.3f %:z").to_string());
        let facts = [Some(report.id.clone()), time, Some(format!("seen by {tier}"))];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        block.section("report").joined(&facts, ", ", "", Style::new().dimmed());
    }
}

impl<W: Write> Sink for TextSink<W> {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        self.print(&self.render(record))
    }

    fn provisional(&mut self, record: &Record) -> Result<(), SinkError> {
        if let Record::Oom(report) = record
            && report.victims.iter().any(|victim| victim.who.cmdline.is_none())
        {
            self.nameless.insert(report.id.clone());
        }
        if let Record::Oom(report) = record
            && !trigger::is_named(report)
        {
            self.unnamed.insert(report.id.clone());
        }
        self.write(record)
    }

    fn update(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Oom(report) => {
                let later = aftermath::Later {
                    who: self.nameless.remove(&report.id),
                    stack: self.unnamed.remove(&report.id) && trigger::is_named(report),
                };
                self.print(&aftermath::block(report, later))
            }
            Record::Gap(_) | Record::Loss(_) => self.write(record),
        }
    }
}

/// What to conclude, and the first thing to change; `oomwhy explain` has the rest.
fn write_verdict(block: &mut Block, verdict: Option<&Verdict>) {
    let Some(verdict) = verdict else {
        return;
    };
    // Verdicts that are read from a file may hold anything.
    let safe = |text: &String| sanitize(text.as_bytes());
    block.words("verdict", Style::new().bold(), &safe(&verdict.headline));
    if let Some(advice) = verdict.advice.first() {
        block.words("change", Style::new(), &safe(advice));
    }
}

/// What could not be known, one paragraph per reason; and what was lost.
fn write_missing(block: &mut Block, source: &Source) {
    let mut missing = source.missing.clone();
    missing.sort_by(|a, b| a.why.cmp(&b.why));
    let mut section = block.section("missing");
    for same in missing.chunk_by(|a, b| a.why == b.why) {
        let fields: Vec<&str> = same.iter().map(|missing| missing.field.as_str()).collect();
        let why = same.first().map_or("", |missing| missing.why.as_str());
        let text = format!("{}: {why}", fields.join(", "));
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        section.joined(&words, " ", "", Style::new().dimmed());
    }
    if let Some(drops @ 1..) = source.drops {
        let style = AnsiColor::Yellow.on_default();
        let text = format!("{drops} kernel-side records since the last report: the ring was full");
        block.section("lost").line(style, &text);
    }
}

#[cfg(test)]
mod tests;
