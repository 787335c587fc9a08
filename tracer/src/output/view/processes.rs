//! The processes of a report: the victims, and the task whose allocation led to the kill.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::{Fact, fact, moment, safe};
use crate::{
    compose::names,
    fmt::units,
    model::report::{CgroupOwner, OomReport, Trigger, Victim, Who},
};

/// A process and the known facts about it.
#[derive(Clone, Debug)]
pub(crate) struct ProcessView {
    pub(crate) name: String,
    pub(crate) chosen: bool,
    pub(crate) facts: Vec<Fact>,
}

/// The victims, the chosen one first.
pub(crate) fn victims(report: &OomReport, zone: &TimeZone) -> Vec<ProcessView> {
    let mut victims: Vec<&Victim> = report.victims.iter().collect();
    victims.sort_by_key(|victim| !victim.chosen);
    victims.into_iter().map(|victim| process(report, victim, zone)).collect()
}

fn process(report: &OomReport, victim: &Victim, zone: &TimeZone) -> ProcessView {
    let started = victim.who.start_time.map(|start| {
        let age = report.time.map(|time| time.duration_since(start));
        let before = age
            .and_then(|age| Duration::try_from(age).ok())
            .map(|age| format!(", {} before", units::duration(age)))
            .unwrap_or_default();
        format!("{}{before}", moment(start, zone))
    });
    let facts = [
        fact("command line", names::cmdline(&victim.who)),
        fact("executable", names::exe(&victim.who)),
        fact("parents", parents(&victim.who)),
        fact("runs in", owner(&victim.owner)),
        fact("cgroup", victim.cgroup.as_ref().and_then(names::cgroup)),
        fact("user", names::user(&victim.who, victim.uid)),
        fact("started", started),
        fact("pid", Some(pids(victim.pid, victim.tid, victim.vpid))),
        fact("oom_score_adj", victim.oom_score_adj.map(|adj| adj.to_string())),
        fact("points", victim.points.map(|points| points.to_string())),
        fact("memory", memory(victim)),
        fact("shares memory with", victim.shares_mm_with.map(|pid| format!("pid {pid}"))),
    ];
    ProcessView {
        name: names::victim(victim),
        chosen: victim.chosen,
        facts: facts.into_iter().flatten().collect(),
    }
}

fn pids(pid: i32, tid: Option<i32>, vpid: Option<i32>) -> String {
    let facts = [
        Some(pid.to_string()),
        tid.map(|tid| format!("thread {tid}")),
        vpid.map(|vpid| format!("{vpid} in its own namespace")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn memory(victim: &Victim) -> Option<String> {
    let known = victim.memory().filter(|(_, size)| *size > 0);
    let sizes: Vec<String> =
        known.map(|(name, size)| format!("{name} {}", units::bytes(size))).collect();
    (!sizes.is_empty()).then(|| sizes.join(", "))
}

pub(crate) fn trigger(report: &OomReport) -> Option<ProcessView> {
    let trigger = report.trigger.as_ref()?;
    let Trigger { pid, tid, uid, oom_score_adj, cgroup, .. } = trigger;
    let facts = [
        fact("command line", names::cmdline(&trigger.who)),
        fact("executable", names::exe(&trigger.who)),
        fact("parents", parents(&trigger.who)),
        fact("runs in", owner(&trigger.owner)),
        fact("cgroup", cgroup.as_ref().and_then(names::cgroup)),
        fact("user", names::user(&trigger.who, *uid)),
        fact("pid", Some(pids(*pid, *tid, None))),
        fact("oom_score_adj", oom_score_adj.map(|adj| adj.to_string())),
    ];
    Some(ProcessView {
        name: names::trigger(trigger),
        chosen: false,
        facts: facts.into_iter().flatten().chain(request(report)).collect(),
    })
}

/// The request of the trigger: its size, order and flags.
pub(crate) fn request(report: &OomReport) -> Vec<Fact> {
    let Some(Trigger { order, gfp_mask, .. }) = &report.trigger else { return Vec::new() };
    let size = order
        .and_then(|order| u32::try_from(order).ok())
        .and_then(|order| 1_u64.checked_shl(order)?.checked_mul(report.page_size?));
    let asked = order.filter(|order| *order >= 0).map(|order| {
        let bytes = size.map(|size| format!("{}, ", units::bytes(size))).unwrap_or_default();
        format!("{bytes}order {order}")
    });
    let mask = gfp_mask.as_ref().map(|mask| {
        format!("{:#x} {}", mask.value, safe(&mask.names.join("|"))).trim_end().to_owned()
    });
    [fact("asked for", asked), fact("gfp_mask", mask)].into_iter().flatten().collect()
}

/// Whether the trigger is one of the victims.
pub(crate) fn trigger_is_victim(report: &OomReport) -> bool {
    let pid = report.trigger.as_ref().map(|trigger| trigger.pid);
    report.victims.iter().any(|victim| Some(victim.pid) == pid)
}

fn parents(who: &Who) -> Option<String> {
    let parents = names::parents(who);
    (!parents.is_empty()).then(|| parents.join(" < "))
}

/// Container, pod, unit.
fn owner(owner: &CgroupOwner) -> Option<String> {
    let facts = names::owner(owner);
    (!facts.is_empty()).then(|| facts.join(", "))
}
