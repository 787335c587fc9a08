//! What to conclude: from a report to one sentence, the facts it rests on and the smallest change
//! that would have avoided this kill. Pure.
//!
//! Fixed rules in a fixed order (`RULES`; docs/verdicts.md has them in words). Every rule that
//! holds says its part; the first one is the cause. A report that fits no rule is told so, and
//! whatever the report does not know is not concluded from.

mod bloodless;
mod choice;
mod domain;
mod facts;
mod growth;
mod host;
mod limit;
mod lows;
mod memory;
mod place;
mod unknown;

use self::facts::Facts;
use crate::model::report::{OomReport, Verdict};

/// What one rule has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Finding {
    /// One sentence, without a period.
    sentence: String,
    /// Numbers from the report that it rests on.
    evidence: Vec<String>,
    /// What to change, with its arithmetic.
    advice: Vec<String>,
}

impl Finding {
    fn new(sentence: String) -> Self {
        Self { sentence, ..Self::default() }
    }

    fn evidence(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn advice(mut self, advice: impl IntoIterator<Item = String>) -> Self {
        self.advice.extend(advice);
        self
    }
}

/// A rule: what it says, if it holds.
type Rule = fn(&Facts<'_>) -> Option<Finding>;

/// All rules. The first that holds is the cause.
const RULES: [(&str, Rule); 27] = [
    // Nobody was shot.
    ("disabled", bloodless::disabled),
    ("reclaimed", bloodless::reclaimed),
    ("victim_pending", bloodless::victim_pending),
    ("already_exiting", bloodless::already_exiting),
    ("will_free_mem", bloodless::will_free_mem),
    ("no_killable_task", bloodless::no_killable_task),
    // Somebody asked for it.
    ("sysrq", choice::sysrq),
    ("limit_lowered", limit::lowered),
    // Memory is there, but not for this request.
    ("fragmentation", host::fragmentation),
    ("node_full", host::node_full),
    // Memory that no kill gives back.
    ("hugetlb", host::hugetlb),
    ("kernel_memory", memory::kernel),
    ("shared_memory", memory::shared),
    ("page_cache", memory::page_cache),
    ("protected_memory", memory::protected),
    // Whose limit, and why that one.
    ("parent_limit", limit::parent),
    ("allocating_task", choice::allocating_task),
    ("oom_score_adj", choice::oom_score_adj),
    // What grew.
    ("burst", growth::burst),
    ("steady_growth", growth::steady),
    ("peaks", growth::peaks),
    ("one_process", growth::one_process),
    ("many_processes", growth::many_processes),
    ("host_short", host::short),
    // What made it worse.
    ("oom_group", choice::oom_group),
    ("swap_full", memory::swap_full),
    ("stuck_victim", bloodless::stuck),
];

/// The cause of a report that fits no rule.
const UNKNOWN: &str = "unknown";

/// Concludes from a report.
pub(crate) fn verdict(report: &OomReport) -> Verdict {
    let facts = Facts::new(report);
    let mut findings = RULES.iter().filter_map(|(name, rule)| Some((*name, rule(&facts)?)));
    let (cause, first) = findings.next().unwrap_or_else(|| (UNKNOWN, unknown::unknown(&facts)));
    let mut verdict = Verdict {
        headline: first.sentence,
        cause: cause.to_owned(),
        also: Vec::new(),
        evidence: first.evidence,
        advice: first.advice,
    };
    for (name, finding) in findings {
        verdict.also.push(name.to_owned());
        verdict.evidence.push(finding.sentence);
        verdict.evidence.extend(finding.evidence);
        verdict.advice.extend(finding.advice);
    }
    verdict.evidence.extend(facts.request());
    without_twins(&mut verdict.evidence);
    without_twins(&mut verdict.advice);
    verdict
}

/// Two rules may rest on the same fact.
fn without_twins(lines: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
}

#[cfg(test)]
mod tests;
