//! No rule fits: say so, and what is known all the same.

use super::{Finding, facts::Facts, limit};
use crate::model::report::{Outcome, Tier};

/// What is said of a report that fits no rule.
pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let report = facts.report;
    if report.outcome == Outcome::Unknown {
        let sentence = "how this invocation ended was not seen, so nothing follows".to_owned();
        return Finding::new(sentence).evidence(facts.domain.filling());
    }
    let what = match facts.victim() {
        Some(victim) => format!("{victim} was killed"),
        None => "somebody was killed".to_owned(),
    };
    let why = match (facts.domain.name.as_deref(), facts.domain.whole()) {
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
        .evidence(facts.domain.filling())
        .evidence(limit::kinds(facts))
        .evidence(seen.map(str::to_owned))
        .advice(limit::raise(facts))
}
