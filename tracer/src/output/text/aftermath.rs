//! What became of the victims, told when their report is closed: a line behind the block that told
//! the kill.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::{Detail, trigger, who};
use crate::{
    compose::names,
    fmt::{layout::Block, units},
    model::report::{OomReport, Victim},
};

/// Victims that get a line of their own.
const LINES: usize = 4;

/// What was not known when the kill was told, and is told now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Later {
    /// Command lines of victims.
    pub(super) who: bool,
    /// Functions of the trigger.
    pub(super) stack: bool,
}

/// The lines; empty where nothing is known.
pub(super) fn block(report: &OomReport, later: Later) -> String {
    let mut told: Vec<&Victim> =
        report.victims.iter().filter(|victim| victim.shares_mm_with.is_none()).collect();
    // Who is stuck is what people must see.
    told.sort_by_key(|victim| !victim.stuck);
    let mut block = Block::default();
    for victim in told.iter().take(LINES) {
        let style = if victim.stuck { AnsiColor::Red.on_default() } else { Style::new() };
        block.words("after", style, &sentence(victim));
        if later.who {
            who::write(&mut block.section(""), &victim.who, Detail::Brief);
        }
    }
    if let Some(more @ 1..) = told.len().checked_sub(LINES) {
        let stuck = told.iter().skip(LINES).filter(|victim| victim.stuck).count();
        let text = format!("{more} more victims, {stuck} of them not gone");
        block.words("after", Style::new(), &text);
    }
    if let Some(trigger) = report.trigger.as_ref().filter(|_| later.stack) {
        let mut section = block.section("stack");
        let lead = format!("{}: ", names::trigger(trigger));
        trigger::write_stack(&mut section, &lead, trigger.user_stack.as_deref());
    }
    if told.is_empty() { String::new() } else { block.finish() }
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
    use crate::model::report::Reaped;

    fn victim() -> Victim {
        Victim { pid: 118, comm: Some("hog".to_owned()), ..Victim::default() }
    }

    #[test]
    fn a_victim_that_went_is_told_with_its_times() {
        let went = Victim {
            exited_after_ns: Some(12_000_000),
            freed_after_ns: Some(34_000_000),
            freed_bytes: Some(48 << 20),
            ..victim()
        };
        assert_eq!(sentence(&went), "hog[118] exited after 12 ms, 48 MiB back after 34 ms");
    }

    #[test]
    fn a_victim_that_stays_is_stuck_though_its_memory_was_reaped() {
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
