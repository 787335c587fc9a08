//! A block of the log -> the report. KiB and pages become bytes here.

mod candidates;
mod domain;
mod missing;
pub(crate) use missing::NEVER;
mod system;
mod victims;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::Timestamp;

use super::{
    Context,
    block::Block,
    bytes,
    lines::Names,
    memcg::{Counter, Kind},
    tasks::Row,
};
use crate::{
    compose::limits::{Filling, Limit},
    model::report::{
        Cgroup, Constraint, Frame, GfpMask, OomMemcg, OomReport, Outcome, Reason, Source, Tier,
        Trigger, lossy,
    },
};

/// Everything that a part of the report is made from.
#[derive(Clone, Copy)]
struct Facts<'a> {
    block: &'a Block,
    context: &'a Context,
    names: &'a Names,
    page_size: Option<u64>,
    totalpages: Option<u64>,
}

impl Facts<'_> {
    fn bytes(self, pages: u64) -> Option<u64> {
        pages.checked_mul(self.page_size?)
    }

    /// Whether the lines of this field may be those of another invocation.
    fn is_mixed(self, field: &str) -> bool {
        self.block.is_torn || self.block.mixed.contains(&field)
    }
}

/// Makes the report.
pub(super) fn compose(block: &Block, context: &Context) -> OomReport {
    let names = names(block);
    let page_size = domain::page_size(block, context);
    let totalpages = domain::totalpages(block, context, &names, page_size);
    let facts = Facts { block, context, names: &names, page_size, totalpages };
    let mut report = OomReport::new(id(block, context), outcome(block), source(context));
    report.time = time(block, context);
    report.boottime_ns = boottime_ns(report.time, context);
    report.boot_id.clone_from(&context.boot_id);
    report.host = block.host.clone().or_else(|| context.host.clone());
    let release = block.cpu.as_ref().and_then(|cpu| cpu.release.clone());
    report.kernel = release.or_else(|| context.kernel.clone());
    report.page_size = page_size;
    report.reason = reason(block);
    report.constraint = constraint(block);
    report.message = message(block).map(str::to_owned);
    report.nodemask = nodemask(block);
    report.mems_allowed = names.mems_allowed.clone().filter(|nodes| nodes != "(null)");
    report.totalpages = totalpages;
    report.trigger = trigger(facts);
    report.oom_memcg = oom_memcg(facts, report.constraint);
    report.system = system::system(facts);
    report.candidates = candidates::candidates(facts);
    report.victims = victims::victims(facts, report.candidates.as_ref());
    missing::note(&mut report, facts);
    report
}

/// The names of the summary, with the help of the lines around it.
fn names(block: &Block) -> Names {
    let Some(summary) = block.summary.as_ref().filter(|_| !block.is_torn) else {
        return Names::default();
    };
    let row = block.table.as_ref().and_then(|table| table.process(summary.pid));
    let comm = row.map(|row: &Row| row.comm.as_str());
    let names = summary.names(comm, block.stat_path.as_deref());
    // Where it was put together from pieces, the glue may be wrong.
    let is_proven = names.oom_memcg.is_some() && names.oom_memcg == block.stat_path;
    let is_glued = |path: &String| block.summary_is_joined && path.contains('\n');
    if block.summary_is_joined && !is_proven {
        return Names::default();
    }
    Names { task_memcg: names.task_memcg.clone().filter(|path| !is_glued(path)), ..names }
}

/// The entry into the OOM killer is when its first line was written.
fn time(block: &Block, context: &Context) -> Option<Timestamp> {
    let by_log = || {
        let ns = i128::from(block.stamp.log_ns?) + i128::from(context.log_offset_ns?);
        Timestamp::from_nanosecond(ns).ok()
    };
    block.stamp.wall.or_else(by_log)
}

fn boottime_ns(time: Option<Timestamp>, context: &Context) -> Option<u64> {
    let ns = time?.as_nanosecond() - i128::from(context.realtime_offset_ns?);
    u64::try_from(ns).ok()
}

/// Same lines, same id: boot, time of the log's clock, thread.
fn id(block: &Block, context: &Context) -> String {
    let boot = context.boot_id.as_deref().unwrap_or("unknown-boot");
    let tid = block.cpu.as_ref().map(|cpu| cpu.tid);
    let tid = tid.or(block.chosen()).or(block.kills.first().map(|(kill, _)| kill.tid));
    let wall = block.stamp.wall.map(Timestamp::as_nanosecond);
    let wall = wall.and_then(|wall| u64::try_from(wall).ok());
    let when = block.stamp.log_ns.or(wall).unwrap_or_else(|| fingerprint(block));
    format!("{boot}-{when:016x}-{}", tid.unwrap_or_default())
}

/// For a log without times.
fn fingerprint(block: &Block) -> u64 {
    let mut hasher = DefaultHasher::new();
    let header = block.header.as_ref().map(|header| (&header.comm, header.gfp_mask));
    (header, &block.stat, block.stamp.vague.as_ref()).hash(&mut hasher);
    for (kill, _) in &block.kills {
        (kill.tid, &kill.comm, kill.total_vm_kib, kill.anon_kib).hash(&mut hasher);
    }
    hasher.finish()
}

fn source(context: &Context) -> Source {
    let hooks = BTreeMap::from([("kernel log".to_owned(), "read".to_owned())]);
    Source { hooks, missing: context.missing.clone(), ..Source::new(Tier::Kmsg) }
}

fn outcome(block: &Block) -> Outcome {
    if !block.kills.is_empty() {
        Outcome::Killed
    } else if block.exiting.is_some() {
        Outcome::AlreadyExiting
    } else if block.found_nobody {
        Outcome::NoVictim
    } else {
        Outcome::Unknown
    }
}

/// `None` when nobody was chosen, or it is not known.
fn reason(block: &Block) -> Option<Reason> {
    if block.header.as_ref().is_some_and(|header| header.order == -1) {
        return Some(Reason::Sysrq);
    }
    match message(block)? {
        "Out of memory (oom_kill_allocating_task)" => Some(Reason::AllocatingTask),
        // Of sysrq only the header tells.
        "Out of memory" if block.header.is_none() => None,
        _ => Some(Reason::Selection),
    }
}

fn message(block: &Block) -> Option<&'static str> {
    let killed = block.kills.first().and_then(|(kill, _)| kill.message);
    let requested = block.request.map(|(message, _)| message);
    killed.or(requested).or(block.exiting.map(|(message, _)| message))
}

fn constraint(block: &Block) -> Option<Constraint> {
    let said = block.summary.as_ref().filter(|_| !block.is_torn);
    match said.map(|summary| summary.constraint.as_str()) {
        Some("NONE") => Some(Constraint::None),
        Some("CPUSET") => Some(Constraint::Cpuset),
        Some("MEMORY_POLICY") => Some(Constraint::MemoryPolicy),
        Some("MEMCG") => Some(Constraint::Memcg),
        Some(_) => None,
        None => {
            let is_memcg = message(block) == Some("Memory cgroup out of memory");
            (is_memcg || has_memcg(block)).then_some(Constraint::Memcg)
        }
    }
}

fn has_memcg(block: &Block) -> bool {
    !block.is_torn && (block.limit_of.is_some() || !block.counters.is_empty())
}

fn nodemask(block: &Block) -> Option<String> {
    let header = block.header.as_ref().and_then(|header| header.nodemask.clone());
    let summary = block.summary.as_ref().filter(|_| !block.is_torn);
    let nodes = header.or_else(|| summary.map(|summary| summary.nodemask.clone()))?;
    let is_list = nodes.bytes().all(|byte| byte.is_ascii_digit() || b",-".contains(&byte));
    (is_list && !nodes.is_empty()).then_some(nodes)
}

fn trigger(facts: Facts<'_>) -> Option<Trigger> {
    let block = facts.block;
    let header = block.header.as_ref()?;
    let cpu = block.cpu.as_ref().filter(|_| !facts.is_mixed("trigger.pid"))?;
    let table = block.table.as_ref().filter(|_| !facts.is_mixed("candidates"));
    let by_thread = table.and_then(|table| table.find(cpu.tid));
    let row = by_thread.or_else(|| table.and_then(|table| table.process(cpu.tid)));
    let pid = row.map_or(cpu.tid, |row| row.tgid);
    let is_same = cpu.comm.as_ref().is_none_or(|comm| *comm == header.comm)
        && by_thread.is_none_or(|row| row.comm == header.comm);
    let (comm, comm_hex) = lossy(&bytes::bytes(&header.comm));
    let has_stack = !block.stack.is_empty() && !facts.is_mixed("trigger.kernel_stack");
    Some(Trigger {
        pid,
        tid: (cpu.tid != pid).then_some(cpu.tid),
        comm: is_same.then_some(comm),
        comm_hex: comm_hex.filter(|_| is_same),
        uid: row.map(|row| row.uid),
        oom_score_adj: Some(header.oom_score_adj),
        gfp_mask: Some(GfpMask { value: header.gfp_mask, names: header.gfp_names.clone() }),
        order: Some(header.order),
        kernel_stack: has_stack.then(|| stack(block)),
        ..Trigger::default()
    })
}

/// Without guesses of the unwinder, and without the frames that are there because it prints.
fn stack(block: &Block) -> Vec<Frame> {
    let printing = ["dump_stack", "dump_header", "show_stack", "dump_backtrace", "__dump_stack"];
    let is_printing = |symbol: &str| {
        let function = symbol.split('.').next().unwrap_or(symbol);
        printing.contains(&function) || function == "dump_stack_lvl"
    };
    let frames = block.stack.iter().filter(|frame| !frame.is_guess);
    let frames = frames.skip_while(|frame| is_printing(&frame.symbol));
    let frame = |frame: &super::lines::TraceFrame| Frame {
        symbol: Some(frame.symbol.clone()),
        offset: Some(frame.offset),
        module: frame.module.clone(),
        ..Frame::default()
    };
    frames.map(frame).collect()
}

fn oom_memcg(facts: Facts<'_>, constraint: Option<Constraint>) -> Option<OomMemcg> {
    let block = facts.block;
    if constraint != Some(Constraint::Memcg) || block.is_torn {
        return None;
    }
    let paths = [
        facts.names.oom_memcg.as_ref(),
        block.limit_of.as_ref().map(|(_, path)| path),
        block.stat_path.as_ref(),
    ];
    let path = paths.into_iter().flatten().next().filter(|_| !facts.is_mixed("oom_memcg.path"));
    let mut memcg = OomMemcg {
        cgroup: path.map(|path| cgroup(path)).unwrap_or_default(),
        oom_group: block.group.as_ref().filter(|group| Some(*group) == path).map(|_| true),
        ..OomMemcg::default()
    };
    if !facts.is_mixed("oom_memcg.usage_bytes") {
        fill(&mut memcg, &block.counters);
    }
    let has_stat = !block.stat.is_empty() && !facts.is_mixed("oom_memcg.stat");
    memcg.stat = has_stat.then(|| block.whole_stat().0);
    let is_known = memcg != OomMemcg::default();
    is_known.then_some(memcg)
}

fn fill(memcg: &mut OomMemcg, counters: &BTreeMap<Kind, Counter>) {
    let fields = |kind| {
        let filling = counters.get(&kind).map(|counter| Filling {
            usage_bytes: counter.usage_kib.checked_mul(1024),
            limit: Limit::from_kib(counter.limit_kib),
        });
        filling.unwrap_or_default().fields()
    };
    (memcg.usage_bytes, memcg.max_bytes, memcg.no_limit) = fields(Kind::Memory);
    (memcg.swap_usage_bytes, memcg.swap_max_bytes, memcg.swap_no_limit) = fields(Kind::Swap);
    (memcg.memsw_usage_bytes, memcg.memsw_max_bytes, memcg.memsw_no_limit) = fields(Kind::Memsw);
    (memcg.kmem_usage_bytes, memcg.kmem_max_bytes, memcg.kmem_no_limit) = fields(Kind::Kmem);
}

fn cgroup(path: &str) -> Cgroup {
    let (path, path_hex) = lossy(&bytes::bytes(path));
    Cgroup { path: Some(path), path_hex, ..Cgroup::default() }
}
