//! The finding for a report that fits no rule.

use super::{Finding, input::VerdictInput, limit};
use crate::model::report::{Outcome, Tier};

pub(super) fn unknown(input: &VerdictInput<'_>) -> Finding {
    let report = input.report;
    if report.outcome == Outcome::Unknown {
        let sentence = "how this invocation ended was not seen, so nothing follows".to_owned();
        return Finding::new(sentence).evidence(input.domain.filling());
    }
    let what = match input.victim() {
        Some(victim) => format!("{victim} was killed"),
        None => "somebody was killed".to_owned(),
    };
    let why = match (input.domain.name.as_deref(), input.domain.whole()) {
        (None, _) => "what ran out of memory is not known".to_owned(),
        (Some(name), None) => format!("what filled {name} is not known"),
        (Some(name), Some(_)) => format!("nothing stands out in {name}, so no rule fits"),
    };
    let seen = match report.source.tier {
        Tier::Fentry | Tier::Kprobe => None,
        Tier::Tracepoint => Some("only the tracepoint oom:mark_victim was seen"),
        Tier::Kmsg => Some("only the kernel's log was read"),
    };
    Finding::new(format!("{what}; {why}"))
        .evidence(input.domain.filling())
        .evidence(limit::kinds(input))
        .evidence(seen.map(str::to_owned))
        .advice(limit::raise(input))
}
