//! Compares the end of a victim: it exited and released its memory.

use serde_json::Value;

use super::check::{Check, number};
use super::memory::HELPER;
use crate::facts::Facts;

/// The counters are approximate at both ends: two CPUs hold back a part of three counters, and the
/// victim may allocate memory until it handles SIGKILL.
const TOLERANCE_BYTES: i64 = 2 << 20;

/// The same for a helper process of oomwhy, which may be killed while it starts: it faults in its
/// executable, which is a file in memory, 16 pages at a time. 2.1 MiB were seen on 5.10. A victim
/// gets memory from the kernel's reserves when there is no other.
const HELPER_TOLERANCE_BYTES: i64 = 8 << 20;

/// The workload whose exit is blocked by a ptrace tracer as long as the tracer lives.
const UNDEAD: &str = "undead";

/// The scenarios in which newer probes replace older ones.
const UPGRADES: [&str; 2] = ["upgrades", "few_upgrades"];

/// Two victims that die within this time may exit at the same time, ns.
const COMPANY_NS: i64 = 100_000_000;

/// The scenarios in which tracers exit beside victims.
const TRACERS_EXIT: [&str; 3] = ["watchers", "upgrades", "few_upgrades"];

/// One victim in so many may meet the exit of a tracer or of its helper. The first one may.
const VICTIMS_PER_TRACER_EXIT: usize = 50;

/// A victim, its report, and all reports.
#[derive(Clone, Copy)]
pub(super) struct Death<'a> {
    pub(super) report: &'a Value,
    pub(super) victim: &'a Value,
    pub(super) reports: &'a [Value],
}

/// Checks that each victim is gone when its report is written, or is reported as stuck.
pub(super) fn compare(check: &mut Check, facts: &Facts, death: Death<'_>) {
    let victim = death.victim;
    if victim["comm"] == UNDEAD {
        check.equal(
            "exited_after_ns of one that is held",
            &victim["exited_after_ns"],
            &Value::Null,
        );
        return;
    }
    let is_known = |key: &str| victim[key].as_i64().is_some_and(|ns| ns > 0);
    let is_freed = is_known("freed_after_ns")
        || is_skipped(death, facts, "victims[].freed_after_ns")
        || is_replaced(death, facts, "victims[].freed_after_ns");
    check.equal("freed_after_ns is known", is_freed, true);
    // If the exit precedes the release of memory, it can precede the mark on another CPU.
    let is_optional = facts.exit_precedes_release() && victim["exited_after_ns"].is_null()
        || is_replaced(death, facts, "victims[].exited_after_ns");
    check.equal("exited_after_ns is known", is_optional || is_known("exited_after_ns"), true);
    check.equal("stuck", &victim["stuck"], &Value::Null);
    if victim["freed_bytes"].is_i64() && victim["anon_rss_bytes"].is_i64() {
        let parts = ["anon_rss_bytes", "file_rss_bytes", "shmem_rss_bytes"];
        let resident: i64 = parts.iter().map(|part| number(victim, part)).sum();
        let back = number(victim, "freed_bytes") + number(&victim["reaped"], "bytes");
        check.near("bytes that came back", back, resident, tolerance_bytes(victim));
    } else if !check.is_locked_down()
        && is_known("freed_after_ns")
        && !is_skipped(death, facts, "victims[].freed_bytes")
    {
        check.disagree("freed_bytes is absent".to_owned());
    }
}

fn tolerance_bytes(victim: &Value) -> i64 {
    if victim["comm"] == HELPER { HELPER_TOLERANCE_BYTES } else { TOLERANCE_BYTES }
}

/// Whether the report has a good reason for a missing field: a skipped probe. The kernel does not
/// run a probe on top of itself. So if an exiting process preempts another one in the probe, one of
/// the two exits is not seen. That needs other victims that died at about the same time, or a
/// tracer that exits. The latter is rare.
fn is_skipped(death: Death<'_>, facts: &Facts, field: &str) -> bool {
    let Death { report, reports, .. } = death;
    let n_skipped = reports.iter().filter(|report| is_missing(report, field)).count();
    let is_rare = n_skipped <= (n_victims(reports) / VICTIMS_PER_TRACER_EXIT).max(1);
    let meets_tracer = TRACERS_EXIT.contains(&facts.scenario.as_str()) && is_rare;
    is_missing(report, field) && (has_company(report, reports) || meets_tracer)
}

/// Whether other victims died at about the same time.
pub(super) fn has_company(report: &Value, reports: &[Value]) -> bool {
    let at_ns = number(report, "boottime_ns");
    let near = |other: &&Value| (number(other, "boottime_ns") - at_ns).abs() < COMPANY_NS;
    n_victims(reports.iter().filter(near)) > 1
}

fn is_missing(report: &Value, field: &str) -> bool {
    let mut missing = report["source"]["missing"].as_array().into_iter().flatten();
    missing.any(|entry| entry["field"] == field)
}

fn n_victims<'a>(reports: impl IntoIterator<Item = &'a Value>) -> usize {
    reports.into_iter().flat_map(super::victims).count()
}

/// Whether newer probes replaced the ones that saw the kill, before they saw the end of its victim.
/// Only an upgrade replaces probes.
fn is_replaced(death: Death<'_>, facts: &Facts, field: &str) -> bool {
    let mut missing = death.report["source"]["missing"].as_array().into_iter().flatten();
    UPGRADES.contains(&facts.scenario.as_str())
        && missing.any(|it| {
            let is_reason = it["why"].as_str().is_some_and(|why| why.contains("replaced"));
            it["field"] == field && is_reason
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELD: &str = "victims[].freed_bytes";

    #[test]
    fn only_a_helper_may_fault_in_its_executable_while_it_dies() {
        let disagreements = |comm: &str, back: i64| {
            let victim = json!({ "comm": comm, "exited_after_ns": 1, "freed_after_ns": 2,
                "freed_bytes": back, "anon_rss_bytes": 1 << 20, "file_rss_bytes": 0,
                "shmem_rss_bytes": 2 << 20 });
            let mut check = Check::default();
            let death = Death { report: &json!({}), victim: &victim, reports: &[] };
            compare(&mut check, &Facts::default(), death);
            check.disagreements.len()
        };
        assert_eq!(disagreements("hog", 5 << 20), 0);
        assert_eq!(disagreements("hog", 6 << 20), 1);
        assert_eq!(disagreements("oomwhy-names", 6 << 20), 0);
        assert_eq!(disagreements("oomwhy-names", 12 << 20), 1);
    }

    fn report(at_ms: i64, victims: usize) -> Value {
        json!({ "boottime_ns": at_ms * 1_000_000, "victims": vec![json!({}); victims],
            "source": { "missing": [{ "field": FIELD }] } })
    }

    fn is_accepted_in(scenario: &str, reports: &[Value]) -> bool {
        let death = Death { report: &reports[0], victim: &json!({}), reports };
        let facts = Facts { scenario: scenario.to_owned(), ..Facts::default() };
        is_skipped(death, &facts, FIELD)
    }

    fn is_accepted(reports: &[Value]) -> bool {
        is_accepted_in("memcg_v2", reports)
    }

    #[test]
    fn skipped_probe_is_accepted_if_others_died_too() {
        assert!(is_accepted(&[report(1000, 2)]));
        assert!(is_accepted(&[report(1000, 1), report(1006, 1)]));
        assert!(!is_accepted(&[report(1000, 1), report(1200, 1)]));
        let mut without_reason = report(1000, 2);
        without_reason["source"] = json!({});
        assert!(!is_accepted(&[without_reason]));
    }

    #[test]
    fn skipped_probe_is_accepted_if_it_is_rare_and_tracers_exit() {
        let seen = |at_ms| {
            let mut report = report(at_ms, 1);
            report["source"] = json!({});
            report
        };
        let reports = |n_skipped: i64, n_seen: i64| -> Vec<Value> {
            let skipped = (0..n_skipped).map(|index| report(index * 1000, 1));
            skipped.chain((n_skipped..n_skipped + n_seen).map(|index| seen(index * 1000))).collect()
        };
        let accepts = |n_skipped, n_seen| is_accepted_in("upgrades", &reports(n_skipped, n_seen));
        assert!(accepts(1, 0) && accepts(3, 147));
        assert!(!accepts(2, 90) && !accepts(4, 147));
        assert!(!is_accepted(&reports(1, 0)));
    }
}
