//! The verdict on one scenario: does oomwhy tell what the kernel told?
//!
//! Everything here is pure: texts in, disagreements out. A field that oomwhy leaves out is a
//! disagreement too, for on every kernel of the matrix all of them can be known.

mod candidates;
mod check;
mod invocation;
mod memory;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::facts::Facts;
use crate::kmsg::{Block, Kill, Log};
use crate::report;
use crate::scenario::Scenario;
use check::Check;

/// Names the directory with the virtual machines' results.
pub const RESULTS_VARIABLE: &str = "OOMWHY_VM_RESULTS";
/// Names the kernels that were asked for, with commas between.
pub const KERNELS_VARIABLE: &str = "OOMWHY_VM_KERNELS";
/// The file that says why a boot left no results.
pub const BOOT_ERROR: &str = "boot-error.txt";

/// What a scenario left behind.
pub struct Account<'a> {
    /// What the guest knows.
    pub facts: &'a Facts,
    /// Raw records of /dev/kmsg.
    pub kmsg: &'a str,
    /// oomwhy's stdout.
    pub report: &'a str,
    /// oomwhy's exit code.
    pub exit: &'a str,
}

/// Every disagreement; none if all is well.
pub fn judge(scenario: &Scenario, account: &Account<'_>) -> Vec<String> {
    let log = Log::parse(account.kmsg);
    let reports: Vec<Value> = report::objects(account.report).filter(report::is_kill).collect();
    let mut check = Check::default();
    for problem in &account.facts.problems {
        check.disagree(format!("the guest had a problem: {problem}"));
    }
    check.equal("oomwhy's exit code", account.exit.trim(), "0");
    premises(&mut check, scenario, account.facts, &log);
    check.equal("lines that are not JSON", n_malformed(account.report), 0);
    check.equal("reports of kills", reports.len(), log.n_invocations());
    for block in &log.blocks {
        for kill in &block.kills {
            one_kill(&mut check, account.facts, &reports, kill, Some(block));
        }
    }
    for kill in &log.bare_kills {
        one_kill(&mut check, account.facts, &reports, kill, None);
    }
    check.disagreements
}

/// The scenario must have gone as its table says, or the comparison proves nothing.
fn premises(check: &mut Check, scenario: &Scenario, facts: &Facts, log: &Log) {
    let counted = facts.oom_kills_after.saturating_sub(facts.oom_kills_before);
    check.equal("kills by /proc/vmstat", counted, scenario.n_kills());
    let mut killed: Vec<&str> = log.kills().map(|kill| kill.comm.as_str()).collect();
    let mut wanted = scenario.victims.repeat(scenario.rounds as usize);
    killed.sort_unstable();
    wanted.sort_unstable();
    check.equal("victims in the kernel's log", killed.join(" "), wanted.join(" "));
}

fn n_malformed(jsonl: &str) -> usize {
    jsonl.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count()
}

fn one_kill(
    check: &mut Check,
    facts: &Facts,
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
        memory::victim(check, facts, report, victim, kill);
        check.field(report, "/message", kill.message.as_str());
        check.field(report, "/source/drops", 0);
        invocation::cgroup_ids(check, report, victim, facts);
        if let Some(block) = block {
            invocation::against_block(check, report, victim, block);
            candidates::against_table(check, report, block);
        }
        candidates::arithmetic(check, report);
    }
    check.leave();
}

fn victims(report: &Value) -> impl Iterator<Item = &Value> {
    report["victims"].as_array().into_iter().flatten()
}

/// The log gives the thread that has the memory; the report gives it where it is not the leader.
fn is_of(victim: &Value, kill: &Kill) -> bool {
    let id = if victim["tid"].is_null() { &victim["pid"] } else { &victim["tid"] };
    *id == kill.tid || victim["pid"] == kill.tid
}
