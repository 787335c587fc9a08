//! The verdict on a report: one sentence, its evidence, and the smallest change that would have
//! avoided this kill. Pure.
//!
//! Fixed rules are checked in a fixed order (`RULES`; docs/verdicts.md describes them). Every rule
//! that holds adds a finding; the first one is the cause. If no rule holds, the verdict says so.
//! No rule draws a conclusion from a fact that is unknown.

mod allocation_site;
mod choice;
mod domain;
mod growth;
mod host;
mod input;
mod limit;
mod memory;
mod no_victim;
mod troughs;
mod unknown;

use self::input::VerdictInput;
pub(crate) use self::{input::figures_are_of_the_moment, limit::LIMIT_SETTERS};
use crate::model::report::{OomReport, Verdict};

/// The contribution of one rule that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Finding {
    /// One sentence, without a period.
    sentence: String,
    /// Numbers from the report that support it.
    evidence: Vec<String>,
    /// The recommended changes, with their arithmetic.
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

/// A rule: its finding, if it holds.
type Rule = fn(&VerdictInput<'_>) -> Option<Finding>;

/// All rules. The first that holds is the cause.
const RULES: [(&str, Rule); 29] = [
    // No process was killed.
    ("disabled", no_victim::disabled),
    ("reclaimed", no_victim::reclaimed),
    ("not_allowed", no_victim::not_allowed),
    ("suspended", no_victim::suspended),
    ("victim_pending", no_victim::victim_pending),
    ("already_exiting", no_victim::already_exiting),
    ("will_free_mem", no_victim::will_free_mem),
    ("no_killable_task", no_victim::no_killable_task),
    // A user caused the kill.
    ("sysrq", choice::sysrq),
    ("limit_lowered", limit::lowered),
    // Memory was free, but not for this allocation.
    ("fragmentation", host::fragmentation),
    ("node_full", host::node_full),
    // Memory that no kill frees.
    ("hugetlb", host::hugetlb),
    ("kernel_memory", memory::kernel),
    ("shared_memory", memory::shared),
    ("page_cache", memory::page_cache),
    ("protected_memory", memory::protected),
    // The owner of the limit, and the reason for the choice.
    ("parent_limit", limit::parent),
    ("allocating_task", choice::allocating_task),
    ("oom_score_adj", choice::oom_score_adj),
    // The processes that grew.
    ("burst", growth::burst),
    ("steady_growth", growth::steady),
    ("peaks", growth::peaks),
    ("one_process", growth::one_process),
    ("many_processes", growth::many_processes),
    ("host_short", host::short),
    // Aggravating circumstances.
    ("oom_group", choice::oom_group),
    ("swap_full", memory::swap_full),
    ("stuck_victim", no_victim::stuck),
];

/// The cause of a report that fits no rule.
const UNKNOWN: &str = "unknown";

pub(crate) fn verdict(report: &OomReport) -> Verdict {
    let input = VerdictInput::new(report);
    let mut findings = RULES.iter().filter_map(|(name, rule)| Some((*name, rule(&input)?)));
    let (cause, first) = findings.next().unwrap_or_else(|| (UNKNOWN, unknown::unknown(&input)));
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
    verdict.evidence.extend(input.request());
    remove_duplicates(&mut verdict.evidence);
    remove_duplicates(&mut verdict.advice);
    verdict
}

/// Two rules may add the same sentence.
fn remove_duplicates(lines: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
}

#[cfg(test)]
mod tests;
