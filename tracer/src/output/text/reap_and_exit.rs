//! The reaping and the exit of the victims, printed when their report is closed: lines behind the
//! block that reported the kill.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::{Detail, section, trigger, who};
use crate::{
    compose::names,
    fmt::{
        lines::Lines,
        page::Page,
        units::{self, count},
    },
    model::report::{OomReport, Victim},
};

/// Victims that get a line of their own.
const BRIEF_ROWS: usize = 4;

/// The details that a report has, so that they need not be printed again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Command lines of all victims.
    cmdlines: bool,
    /// When all victims were started.
    ages: bool,
    /// Functions of the trigger in user space.
    stack: bool,
}

impl Known {
    pub(super) fn of(report: &OomReport) -> Self {
        let stack = report.trigger.as_ref().and_then(|trigger| trigger.user_stack.as_deref());
        Self {
            cmdlines: report.victims.iter().all(|victim| victim.who.cmdline.is_some()),
            ages: report.victims.iter().all(|victim| victim.who.age_ns.is_some()),
            stack: stack.unwrap_or_default().iter().any(|frame| frame.symbol.is_some()),
        }
    }
}

/// The lines, at most `width` columns wide; empty if no victim is known. `reported` are the details
/// that the block has shown.
pub(super) fn block(report: &OomReport, reported: Known, width: usize) -> Lines {
    let mut victims: Vec<&Victim> =
        report.victims.iter().filter(|victim| victim.shares_mm_with.is_none()).collect();
    if victims.is_empty() {
        return Lines::default();
    }
    // Stuck victims come first, because people must see them.
    victims.sort_by_key(|victim| !victim.stuck);
    let mut block = Page::new(width);
    for victim in victims.iter().take(BRIEF_ROWS) {
        let style = if victim.stuck { AnsiColor::Red.on_default() } else { Style::new() };
        let mut lines = section(&mut block, "after");
        lines.words("", style, sentence(victim));
        if !reported.cmdlines {
            who::write(&mut lines, &victim.who, !reported.ages, Detail::Brief);
        }
    }
    if let Some(more @ 1..) = victims.len().checked_sub(BRIEF_ROWS) {
        let stuck = victims.iter().skip(BRIEF_ROWS).filter(|victim| victim.stuck).count();
        let text = format!("{}, {stuck} of them not gone", count(more, "more victim"));
        section(&mut block, "after").words("", Style::new(), &text);
    }
    if let Some(n_waits) = report.invocations_while_dying {
        section(&mut block, "after").words("", Style::new(), waits(n_waits));
    }
    let has_stack = !reported.stack && Known::of(report).stack;
    if let Some(trigger) = report.trigger.as_ref().filter(|_| has_stack) {
        let lead = format!("{}: ", names::trigger(trigger));
        let stack = trigger.user_stack.as_deref();
        trigger::write_stack(&mut section(&mut block, "stack"), &lead, stack);
    }
    block.empty_line();
    block.finish()
}

fn waits(n_invocations: u64) -> String {
    let invocations = count(n_invocations, "later invocation");
    format!("{invocations} killed no process while a victim of this one was dying")
}

fn sentence(victim: &Victim) -> String {
    let name = names::victim(victim);
    let facts: Vec<String> = facts(victim).collect();
    match (victim.stuck, facts.is_empty()) {
        (true, true) => format!("{name} is stuck: neither gone nor its memory back"),
        (true, false) => format!("{name} is stuck: {}", facts.join(", ")),
        (false, true) => format!("{name}: not seen to go before the end of the trace"),
        (false, false) => format!("{name} {}", facts.join(", ")),
    }
}

fn facts(victim: &Victim) -> impl Iterator<Item = String> {
    let after = |ns: u64| units::duration(Duration::from_nanos(ns));
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "its memory".to_owned(), units::bytes);
    let reaped = victim.reaped.as_ref();
    let freed = victim.freed_after_ns;
    [
        victim.exited_after_ns.map(|ns| format!("exited after {}", after(ns))),
        reaped
            .and_then(|reaped| Some((reaped.finished_after_ns?, reaped.bytes)))
            .map(|(ns, bytes)| format!("{} reaped after {}", size(bytes), after(ns))),
        reaped.and_then(|reaped| reaped.skipped).map(|_| "left alone by the reaper".to_owned()),
        freed.map(|ns| format!("{} back after {}", size(victim.freed_bytes), after(ns))),
        (victim.stuck && victim.exited_after_ns.is_none()).then(|| "has not exited".to_owned()),
        (victim.stuck && freed.is_none()).then(|| "its memory is not back".to_owned()),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::report::Reaped, output::fixtures};

    fn victim() -> Victim {
        Victim { pid: 118, comm: Some("hog".to_owned()), ..Victim::default() }
    }

    #[test]
    fn victim_that_is_gone_has_its_times() {
        let went = Victim {
            exited_after_ns: Some(12_000_000),
            freed_after_ns: Some(34_000_000),
            freed_bytes: Some(48 << 20),
            ..victim()
        };
        assert_eq!(sentence(&went), "hog[118] exited after 12 ms, 48 MiB back after 34 ms");
    }

    #[test]
    fn invocations_while_dying_are_counted() {
        let report = OomReport { invocations_while_dying: Some(3), ..fixtures::memcg_kill() };
        let text = block(&report, Known::of(&report), 100);
        let expected = "3 later invocations killed no process while a victim of this one was dying";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn victim_that_stays_is_stuck_though_it_was_reaped() {
        let reaped = Reaped {
            finished_after_ns: Some(2_040_000_000),
            bytes: Some(47 << 20),
            ..Reaped::default()
        };
        let stuck = Victim { stuck: true, reaped: Some(reaped), ..victim() };
        assert_eq!(
            sentence(&stuck),
            "hog[118] is stuck: 47 MiB reaped after 2.0 s, has not exited, its memory is not \
             back"
        );
    }
}
