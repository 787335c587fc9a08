//! Compares one scenario's reports with the kernel's log.
//!
//! Everything here is pure: it reads texts and returns disagreements. A field that oomwhy leaves
//! out is a disagreement too, because every kernel of the matrix provides all fields.

mod attempts;
mod burst;
mod by_log;
mod candidates;
mod check;
mod counts;
mod exit_and_reap;
mod expected;
mod forecasts;
mod growth;
mod identity;
mod invocation;
mod losses;
mod lost_kills;
mod memcg_stat;
mod memory;
mod peers;
mod recorded;
mod same_text;
mod stacks;
#[cfg(test)]
mod tests;
mod tiers;
mod watchers;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::facts::Facts;
use crate::kmsg::{Block, Kill, Log};
use crate::report;
use crate::scenario::{Comparison, Scenario, Step, shown};
use check::Check;

pub use identity::{COUNTED, Coverage, coverage};

/// The variable that names the directory with the virtual machines' results.
pub const RESULTS_VARIABLE: &str = "OOMWHY_VM_RESULTS";
/// The variable that names the selected kernels, separated by commas.
pub const KERNELS_VARIABLE: &str = "OOMWHY_VM_KERNELS";
/// The variable that names the selected boots, separated by commas.
pub const BOOTS_VARIABLE: &str = "OOMWHY_VM_BOOTS";
/// The variable that is set if the boots ran the whole matrix.
pub const WHOLE_VARIABLE: &str = "OOMWHY_VM_WHOLE";
/// The file with the reason why a boot has no results.
pub const BOOT_ERROR: &str = "boot-error.txt";

/// The outcome of an invocation that found no task to kill.
const NO_VICTIM: &str = "no_victim";

/// The results of a scenario.
pub struct Account<'a> {
    /// The facts that the guest collected.
    pub facts: &'a Facts,
    /// The raw records of /dev/kmsg.
    pub kmsg: &'a str,
    /// The stdout of oomwhy.
    pub report: &'a str,
    /// The exit code of oomwhy.
    pub exit: &'a str,
    /// The stdout and the exit code of each watcher, by name.
    pub watchers: &'a BTreeMap<String, (String, String)>,
}

/// Returns every disagreement.
pub fn compare(scenario: &Scenario, account: &Account<'_>) -> Vec<String> {
    let log = Log::parse(account.kmsg);
    let all: Vec<Value> = report::objects(account.report).collect();
    let kills: Vec<Value> = all.iter().filter(|object| report::is_kill(object)).cloned().collect();
    let mut check = Check::default();
    for problem in &account.facts.problems {
        check.disagree(format!("the guest had a problem: {problem}"));
    }
    check.equal("oomwhy's exit code", account.exit.trim(), "0");
    if scenario.comparison == Comparison::Attempts {
        attempts::compare(&mut check, scenario, account, &all);
        return check.disagreements;
    }
    premises(&mut check, scenario, account.facts, &log);
    if scenario.comparison == Comparison::Text {
        same_text::compare(&mut check, account.kmsg);
        return check.disagreements;
    }
    check.equal("lines that are not JSON", n_malformed(account.report), 0);
    watchers::compare(&mut check, scenario, &log, account.watchers);
    by_log::compare(&mut check, scenario, &log, &kills, account.watchers);
    let case = Case { scenario, facts: account.facts };
    tiers::compare(&mut check, case, &kills, account.watchers);
    match scenario.comparison {
        Comparison::Losses => losses::compare(&mut check, case, &log, &all),
        Comparison::LostKills => lost_kills::compare(&mut check, &log, &all),
        Comparison::Peers => peers::compare(&mut check, case, &log, &kills, account.watchers),
        Comparison::Burst => burst::compare(&mut check, case, &log, &all),
        Comparison::Reports | Comparison::Text | Comparison::Attempts => {
            reports(&mut check, case, &log, (&all, &kills), account.watchers);
        }
    }
    check.disagreements
}

/// Compares every report.
fn reports(
    check: &mut Check,
    case: Case<'_>,
    log: &Log,
    (all, kills): (&[Value], &[Value]),
    watchers: &BTreeMap<String, (String, String)>,
) {
    let scenario = case.scenario;
    check.equal("reports of kills", kills.len(), log.n_invocations());
    expected::reports(check, scenario, log, all);
    counts::memory_events(check, scenario, case.facts, log, kills);
    for block in &log.blocks {
        for kill in &block.kills {
            one_kill(check, case, kills, kill, Some(block));
        }
    }
    for kill in &log.bare_kills {
        one_kill(check, case, kills, kill, None);
    }
    silent_victims(check, scenario, log, kills);
    if COUNTED.contains(&scenario.name) {
        identity::rate(check, kills);
    }
    growth::compare(check, scenario, kills);
    forecasts::compare(check, watchers, kills);
    for report in all.iter().filter(|report| report["outcome"] == NO_VICTIM) {
        no_victim(check, case, report, log);
    }
}

/// The input that every comparison may need.
#[derive(Clone, Copy)]
struct Case<'a> {
    scenario: &'a Scenario,
    facts: &'a Facts,
}

/// Checks that the scenario ran as its table describes. Otherwise the comparison proves nothing.
fn premises(check: &mut Check, scenario: &Scenario, facts: &Facts, log: &Log) {
    let counted = facts.oom_kills_after.saturating_sub(facts.oom_kills_before);
    check.equal("kills by /proc/vmstat", counted, log.kill_lines.len() as u64);
    let of_scenario = log.kills().filter(|kill| kill.comm != memory::HELPER);
    let mut killed: Vec<String> = of_scenario.map(|kill| kill.comm.clone()).collect();
    killed.sort_unstable();
    let wanted = names(scenario.victims);
    check.equal("victims in the kernel's log", killed.join(" "), wanted.join(" "));
    for step in scenario.steps {
        if let Step::AwaitScoreReads { count } = step {
            let n_reads = facts.score_reads;
            check.equal(
                &format!("{count} oom_scores were read ({n_reads})"),
                n_reads >= *count,
                true,
            );
        }
    }
}

/// Each name, repeated by its count, in order.
fn names(table: &[(&str, usize)]) -> Vec<String> {
    let each = table.iter().flat_map(|(name, count)| vec![shown(name); *count]);
    let mut names: Vec<String> = each.collect();
    names.sort_unstable();
    names
}

/// Checks the victims that the kernel's log does not name.
fn silent_victims(check: &mut Check, scenario: &Scenario, log: &Log, kills: &[Value]) {
    let silent = kills
        .iter()
        .flat_map(victims)
        .filter(|victim| !log.kills().any(|kill| is_of(victim, kill)))
        .map(|victim| victim["comm"].as_str().unwrap_or_default().to_owned());
    let mut silent: Vec<String> = silent.collect();
    silent.sort_unstable();
    let wanted = names(scenario.silent_victims);
    check.equal("victims that the log does not name", silent.join(" "), wanted.join(" "));
}

fn n_malformed(jsonl: &str) -> usize {
    jsonl.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count()
}

fn one_kill(
    check: &mut Check,
    case: Case<'_>,
    reports: &[Value],
    kill: &Kill,
    block: Option<&Block>,
) {
    let mine: Vec<(&Value, &Value)> = reports
        .iter()
        .flat_map(|report| victims(report).map(move |victim| (report, victim)))
        .filter(|(_, victim)| is_of(victim, kill))
        .collect();
    check.within(format!("victim {} ({})", kill.tid, kill.comm));
    check.equal("reports", mine.len(), 1);
    if let [(report, victim)] = mine.as_slice() {
        check.forbid(report);
        memory::victim(check, case.facts, report, victim, kill);
        exit_and_reap::compare(check, case.facts, exit_and_reap::Death { report, victim, reports });
        if !identity::was_skipped(report, victim, reports) {
            identity::compare(check, case.facts, victim);
        }
        stacks::compare(check, report, victim);
        if !identity::was_skipped(report, &report["trigger"], reports) {
            identity::compare(check, case.facts, &report["trigger"]);
        }
        check.field(report, "/message", kill.message.as_str());
        check.field(report, "/reason", invocation::reason(kill, block));
        check.field(report, "/source/drops", 0);
        invocation::cgroup_ids(check, report, victim, case.facts);
        if let Some(block) = block {
            invocation::against_block(check, case, report, block);
            invocation::against_summary(check, report, victim, block);
            candidates::against_table(check, case, report, block);
        }
        candidates::arithmetic(check, report);
    }
    check.leave();
}

/// Compares the report of an invocation that found no task to kill, which prints a block as well.
/// The report of several such invocations describes the first one, so its block fits best.
fn no_victim(check: &mut Check, case: Case<'_>, report: &Value, log: &Log) {
    let mut nearest = vec!["no block of the kernel's log has its trigger".to_owned()];
    let blocks = log.without_victim();
    let verdicts = blocks.filter(|block| invocation::is_trigger(report, block)).map(|block| {
        let mut check = Check::default();
        check.forbid(report);
        // The report is written at the end, when an earlier victim may have released more memory.
        check.memory_shrinks();
        invocation::against_block(&mut check, case, report, block);
        candidates::against_table(&mut check, case, report, block);
        check.disagreements
    });
    if let Some(verdict) = verdicts.min_by_key(Vec::len) {
        nearest = verdict;
    }
    for disagreement in nearest {
        check.disagree(format!("no_victim {}: {disagreement}", report["id"]));
    }
}

fn victims(report: &Value) -> impl Iterator<Item = &Value> {
    report["victims"].as_array().into_iter().flatten()
}

/// The log names the thread that has the memory. The report names it if it is not the leader.
fn is_of(victim: &Value, kill: &Kill) -> bool {
    let id = if victim["tid"].is_null() { &victim["pid"] } else { &victim["tid"] };
    *id == kill.tid || victim["pid"] == kill.tid
}
