//! An account and the facts around it -> the report. Pure; kernel units become bytes here.

mod candidates;
mod cgroups;
pub(crate) mod fingerprint;
mod growth;
mod marks;
mod missing;
pub(crate) mod names;
mod outcome;
mod system;
pub(crate) mod verdict;
mod victims;
mod who;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{
    account::{Account, InvocationAccount, ReclaimedAccount, WaitAccount},
    events::{Invocation, Task, UserFrame},
    facts::Findings,
    gfp,
    host::Host,
    memcg_stat,
    names::named_frame,
    report::{Constraint, Frame, GfpMask, OomReport, Source, Trigger, lossy},
};

/// Everything that a part of the report is made from.
#[derive(Clone, Copy)]
struct Facts<'a> {
    account: &'a InvocationAccount,
    host: &'a Host,
    findings: &'a Findings,
}

impl Facts<'_> {
    fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.host.page_size)
    }

    fn time(&self, boottime_ns: u64) -> Option<Timestamp> {
        let offset = self.findings.realtime_offset_ns.unwrap_or(self.host.realtime_offset_ns);
        Timestamp::from_nanosecond(i128::from(boottime_ns) + i128::from(offset)).ok()
    }
}

/// Makes the report of one account.
pub(crate) fn compose(account: &Account, host: &Host, findings: &Findings) -> OomReport {
    // Of a wait or a reclaim, every part that belongs to an invocation is absent.
    let nothing = InvocationAccount::new(account.seq(), account.first_ns());
    let invocation = account.invocation().unwrap_or(&nothing);
    let facts = Facts { account: invocation, host, findings };
    let outcome = outcome::outcome(account, host);
    let started = account.started_ns();
    let mut report = OomReport::new(id(host, account, started), outcome, source(facts));
    report.time = facts.time(started);
    report.boottime_ns = Some(started);
    report.boot_id.clone_from(&host.boot_id);
    report.host.clone_from(&host.hostname);
    report.kernel.clone_from(&host.kernel);
    report.page_size = Some(host.page_size);
    let repeats = invocation.repeats.as_ref();
    report.repeats = repeats.map(|repeats| repeats.count);
    report.repeats_until = repeats.and_then(|repeats| facts.time(repeats.last_ns));
    match account {
        Account::Invocation(_) | Account::Mark(_) => {
            if let Some(record) = &invocation.invocation {
                describe(&mut report, facts, record);
            }
        }
        Account::Reclaimed(ReclaimedAccount { reclaimed, .. }) => {
            report.repeats = (reclaimed.count > 1).then_some(reclaimed.count);
            let trigger = trigger(facts, &reclaimed.trigger);
            report.trigger =
                Some(request(facts, trigger, Some(reclaimed.gfp_mask), Some(reclaimed.order)));
            report.oom_memcg = Some(cgroups::oom_memcg(facts, &reclaimed.oom_memcg));
            report.constraint = Some(Constraint::Memcg);
        }
        Account::Wait(WaitAccount { first_ns, wait, ended_ns }) => {
            let trigger = trigger(facts, &wait.trigger);
            report.trigger = Some(request(facts, trigger, wait.gfp_mask, wait.order));
            report.oom_memcg = Some(cgroups::oom_memcg(facts, &wait.oom_memcg));
            report.constraint = Some(Constraint::Memcg);
            report.waited_ns = ended_ns.map(|ended| ended.saturating_sub(*first_ns));
        }
    }
    report.system = system::system(facts, started);
    report.candidates = candidates::candidates(facts);
    report.victims = victims::victims(facts, report.candidates.as_ref());
    report.source.missing.extend(who::missing(facts));
    report.growth = growth::growth(facts, &names(&report));
    report.source.missing.extend(growth::missing(facts));
    match account {
        Account::Invocation(account) => missing::finish(&mut report, account, findings),
        Account::Mark(account) => marks::finish_missing(&mut report, account),
        Account::Reclaimed(_) | Account::Wait(_) => {}
    }
    report
}

/// Names of processes, by pid.
fn names(report: &OomReport) -> BTreeMap<i32, String> {
    let victims = report.victims.iter().map(|victim| (victim.pid, victim.comm.clone()));
    let candidates = report.candidates.iter().flat_map(|candidates| &candidates.list);
    let candidates = candidates.map(|candidate| (candidate.pid, candidate.comm.clone()));
    candidates.chain(victims).filter_map(|(pid, comm)| Some((pid, comm?))).collect()
}

/// What the invocation record says.
fn describe(report: &mut OomReport, facts: Facts<'_>, invocation: &Invocation) {
    let control = invocation.control.as_ref();
    report.reason = outcome::reason(facts.account, invocation);
    report.constraint = control.and_then(|control| outcome::constraint(control.constraint));
    report.nodemask = invocation.nodemask.filter(|&nodes| nodes != 0).map(nodes);
    report.mems_allowed = invocation.mems_allowed.map(nodes);
    report.message = invocation.message.as_ref().map(|words| lossy(&words.0).0);
    report.totalpages =
        control.map(|control| control.totalpages).filter(|&totalpages| totalpages != 0);
    let mut trigger = request(
        facts,
        trigger(facts, &invocation.trigger),
        control.map(|control| control.gfp_mask),
        control.map(|control| control.order),
    );
    trigger.kernel_stack =
        invocation.kernel_stack.as_ref().map(|frames| kernel_frames(facts.findings, frames));
    let pid = invocation.trigger.tgid;
    trigger.user_stack =
        invocation.user_stack.as_deref().map(|frames| user_frames(facts, pid, frames));
    report.trigger = Some(trigger);
    report.oom_memcg = invocation.oom_memcg.as_ref().map(|memcg| cgroups::oom_memcg(facts, memcg));
    if let (Some(memcg), Some(stat)) = (&mut report.oom_memcg, &facts.account.stat) {
        let page_size = facts.host.page_size;
        memcg.stat = Some(memcg_stat::items(stat, &facts.host.memcg_stat, page_size));
        memcg.stat_is_stale = !stat.fresh;
    }
    if let Some(levels) = &facts.account.levels {
        report.limit_chain = Some(cgroups::limit_chain(facts, levels, invocation));
        report.limit_chain_truncated = levels.truncated;
        cgroups::fill_kmem(report);
    }
}

/// Nodes as the kernel prints them: "0-1,3".
fn nodes(mask: u64) -> String {
    let mut ranges = Vec::new();
    let mut node = 0_u32;
    while let Some(rest) = mask.checked_shr(node).filter(|&rest| rest != 0) {
        let first = node + rest.trailing_zeros();
        let last = first + (mask >> first).trailing_ones() - 1;
        ranges.push(if first == last { first.to_string() } else { format!("{first}-{last}") });
        node = last + 1;
    }
    ranges.join(",")
}

fn trigger(facts: Facts<'_>, task: &Task) -> Trigger {
    let (comm, comm_hex) = lossy(&task.comm.0);
    let cgroup = task.cgroup_id.map(|id| cgroups::cgroup(facts, id));
    Trigger {
        pid: task.tgid,
        tid: (task.tid != task.tgid).then_some(task.tid),
        comm: Some(comm),
        comm_hex,
        uid: Some(task.uid),
        oom_score_adj: task.oom_score_adj,
        home: cgroup.as_ref().map(|cgroup| cgroups::home(facts, cgroup)).unwrap_or_default(),
        cgroup,
        who: who::who(facts, task),
        ..Trigger::default()
    }
}

/// What the trigger asked for.
fn request(
    facts: Facts<'_>,
    trigger: Trigger,
    gfp_mask: Option<u32>,
    order: Option<i32>,
) -> Trigger {
    let names = |value| gfp::names(value, &facts.host.gfp_flags);
    let gfp_mask = gfp_mask.map(|value| GfpMask { value, names: names(value) });
    Trigger { gfp_mask, order, ..trigger }
}

/// The trigger's frames without ours: our programs come first, and where a function is hooked,
/// its trampoline stands between it and its caller, followed by the call site in the function's
/// first bytes, i.e. by the same function once more.
fn kernel_frames(findings: &Findings, frames: &[u64]) -> Vec<Frame> {
    let mut kept: Vec<Frame> = Vec::new();
    let mut behind_trampoline = false;
    for &ip in frames {
        let symbol = findings.symbols.get(&ip);
        let name = symbol.map(|symbol| symbol.name.as_str());
        if name.is_some_and(is_ours) {
            behind_trampoline = true;
            continue;
        }
        let twice = behind_trampoline
            && name.is_some()
            && kept.last().is_some_and(|last| last.symbol.as_deref() == name);
        behind_trampoline = false;
        if !twice {
            kept.push(kernel_frame(findings, ip));
        }
    }
    kept
}

/// Frames that are there because somebody traces.
fn is_ours(name: &str) -> bool {
    const STARTS: [&str; 6] = [
        "bpf_trampoline_",
        "bpf_prog_",
        "bpf_trace_run",
        "__traceiter_",
        "perf_trace_",
        "trace_call_bpf",
    ];
    STARTS.iter().any(|start| name.starts_with(start))
}

fn kernel_frame(findings: &Findings, ip: u64) -> Frame {
    let symbol = findings.symbols.get(&ip);
    Frame {
        ip: Some(format!("{ip:#x}")),
        symbol: symbol.map(|symbol| symbol.name.clone()),
        offset: symbol.map(|symbol| symbol.offset),
        module: symbol.and_then(|symbol| symbol.module.clone()),
        ..Frame::default()
    }
}

/// Frames of the process `pid`, by its own names.
fn user_frames(facts: Facts<'_>, pid: i32, frames: &[UserFrame]) -> Vec<Frame> {
    let names = facts.findings.user_names.get(&(facts.account.seq, pid));
    frames.iter().map(|frame| named_frame(names, frame)).collect()
}

/// Same events, same id: boot, entry into `out_of_memory`, thread that entered.
fn id(host: &Host, account: &Account, started_ns: u64) -> String {
    let boot = host.boot_id.as_deref().unwrap_or("unknown-boot");
    let tid = account.trigger().map_or(0, |task| task.tid);
    format!("{boot}-{started_ns:016x}-{tid}")
}

fn source(facts: Facts<'_>) -> Source {
    Source {
        hooks: facts.host.hooks.clone(),
        missing: facts.host.missing.clone(),
        drops: Some(facts.findings.drops),
        ..Source::new(facts.host.tier)
    }
}

#[cfg(test)]
mod tests;
