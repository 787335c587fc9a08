//! Composes the report of a block of the log. KiB and pages become bytes here. The code that it
//! shares with the reports from BPF is in `compose/`.

mod candidates;
mod domain;
mod missing;
mod system;
mod victims;

pub(crate) use self::missing::NEVER;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::Timestamp;

use super::{
    Context,
    parser::{
        block::Block,
        bytes,
        lines::{SummaryNames, TraceFrame},
        memcg::{Counter, CounterKind},
        tasks::TaskRow,
    },
};
use crate::{
    compose::limits::{Filling, Limit},
    model::{
        record_id,
        report::{
            Cgroup, Constraint, Frame, GfpMask, OomMemcg, OomReport, Outcome, Reason, Source, Tier,
            Trigger, lossy,
        },
    },
};

/// The input of every part of the report.
#[derive(Clone, Copy)]
struct ReportInput<'a> {
    block: &'a Block,
    context: &'a Context,
    names: &'a SummaryNames,
    page_size: Option<u64>,
    totalpages: Option<u64>,
}

impl ReportInput<'_> {
    fn bytes(self, pages: u64) -> Option<u64> {
        pages.checked_mul(self.page_size?)
    }

    /// Whether the lines of this field may belong to another invocation.
    fn is_mixed(self, field: &str) -> bool {
        self.block.is_torn || self.block.mixed.contains(&field)
    }
}

pub(super) fn compose(block: &Block, context: &Context) -> OomReport {
    let names = names(block);
    let page_size = domain::page_size(block, context);
    let totalpages = domain::totalpages(block, context, &names, page_size);
    let input = ReportInput { block, context, names: &names, page_size, totalpages };
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
    report.trigger = trigger(input);
    report.oom_memcg = oom_memcg(input, report.constraint);
    report.system = system::system(input);
    report.candidates = candidates::candidates(input);
    report.victims = victims::victims(input, report.candidates.as_ref());
    missing::add_missing(&mut report, input);
    report
}

/// The names in the summary, with the help of the lines around it.
fn names(block: &Block) -> SummaryNames {
    let Some(summary) = block.summary.as_ref().filter(|_| !block.is_torn) else {
        return SummaryNames::default();
    };
    let row = block.table.as_ref().and_then(|table| table.process(summary.pid));
    let comm = row.map(|row: &TaskRow| row.comm.as_str());
    let names = summary.names(comm, block.stat_path.as_deref());
    // If the summary was joined from several lines, the glue between them may be wrong.
    let is_proven = names.oom_memcg.is_some() && names.oom_memcg == block.stat_path;
    let is_glued = |path: &String| block.summary_is_joined && path.contains('\n');
    if block.summary_is_joined && !is_proven {
        return SummaryNames::default();
    }
    SummaryNames { task_memcg: names.task_memcg.clone().filter(|path| !is_glued(path)), ..names }
}

/// The time of the first line stands for the entry into the OOM killer.
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

/// The same lines give the same id: boot, time of the log's clock, thread.
fn id(block: &Block, context: &Context) -> String {
    let trigger = block.cpu.as_ref().map(|cpu| cpu.tid);
    let first_killed = block.kills.first().map(|(kill, _)| kill.tid);
    let tid = trigger.or(block.chosen()).or(first_killed).unwrap_or_default();
    let wall_ns = block.stamp.wall.and_then(|wall| u64::try_from(wall.as_nanosecond()).ok());
    let started = block.stamp.log_ns.or(wall_ns).unwrap_or_else(|| content_hash(block));
    record_id::report(context.boot_id.as_deref(), started, tid)
}

/// Stands for the time in a log without times.
fn content_hash(block: &Block) -> u64 {
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
    } else if block.found_no_victim {
        Outcome::NoVictim
    } else {
        Outcome::Unknown
    }
}

/// `None` if no process was chosen, or if that is not known.
fn reason(block: &Block) -> Option<Reason> {
    if block.header.as_ref().is_some_and(|header| header.order == -1) {
        return Some(Reason::Sysrq);
    }
    match message(block)? {
        "Out of memory (oom_kill_allocating_task)" => Some(Reason::AllocatingTask),
        // Only the header shows whether it was sysrq.
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
    let summary = block.summary.as_ref().filter(|_| !block.is_torn);
    match summary.map(|summary| summary.constraint.as_str()) {
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

fn trigger(input: ReportInput<'_>) -> Option<Trigger> {
    let block = input.block;
    let header = block.header.as_ref()?;
    let cpu = block.cpu.as_ref().filter(|_| !input.is_mixed("trigger.pid"))?;
    let table = block.table.as_ref().filter(|_| !input.is_mixed("candidates"));
    let by_thread = table.and_then(|table| table.find(cpu.tid));
    let row = by_thread.or_else(|| table.and_then(|table| table.process(cpu.tid)));
    let pid = row.map_or(cpu.tid, |row| row.tgid);
    let is_same = cpu.comm.as_ref().is_none_or(|comm| *comm == header.comm)
        && by_thread.is_none_or(|row| row.comm == header.comm);
    let (comm, comm_hex) = lossy(&bytes::bytes(&header.comm));
    let has_stack = !block.stack.is_empty() && !input.is_mixed("trigger.kernel_stack");
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

/// The call trace without guesses of the unwinder and without the frames that print it.
fn stack(block: &Block) -> Vec<Frame> {
    const PRINTING: [&str; 6] = [
        "dump_stack",
        "dump_stack_lvl",
        "dump_header",
        "show_stack",
        "dump_backtrace",
        "__dump_stack",
    ];
    let is_printing = |frame: &&TraceFrame| {
        // GCC appends ".isra.0" and the like.
        let function = frame.symbol.split('.').next().unwrap_or(&frame.symbol);
        PRINTING.contains(&function)
    };
    let certain = block.stack.iter().filter(|frame| !frame.is_guess);
    let frame = |frame: &TraceFrame| Frame {
        symbol: Some(frame.symbol.clone()),
        offset: Some(frame.offset),
        module: frame.module.clone(),
        ..Frame::default()
    };
    certain.skip_while(is_printing).map(frame).collect()
}

fn oom_memcg(input: ReportInput<'_>, constraint: Option<Constraint>) -> Option<OomMemcg> {
    let block = input.block;
    if constraint != Some(Constraint::Memcg) || block.is_torn {
        return None;
    }
    let paths = [
        input.names.oom_memcg.as_ref(),
        block.limit_of.as_ref().map(|(_, path)| path),
        block.stat_path.as_ref(),
    ];
    let path = paths.into_iter().flatten().next().filter(|_| !input.is_mixed("oom_memcg.path"));
    let mut memcg = OomMemcg {
        cgroup: path.map(|path| cgroup(path)).unwrap_or_default(),
        oom_group: block.group.as_ref().filter(|group| Some(*group) == path).map(|_| true),
        ..OomMemcg::default()
    };
    if !input.is_mixed("oom_memcg.usage_bytes") {
        fill(&mut memcg, &block.counters);
    }
    let has_stat = !block.stat.is_empty() && !input.is_mixed("oom_memcg.stat");
    memcg.stat = has_stat.then(|| block.whole_stat().0);
    let is_known = memcg != OomMemcg::default();
    is_known.then_some(memcg)
}

fn fill(memcg: &mut OomMemcg, counters: &BTreeMap<CounterKind, Counter>) {
    let fields = |kind| {
        let filling = counters.get(&kind).map(|counter| Filling {
            usage_bytes: counter.usage_kib.checked_mul(1024),
            limit: Limit::from_kib(counter.limit_kib),
        });
        filling.unwrap_or_default().fields()
    };
    (memcg.usage_bytes, memcg.max_bytes, memcg.no_limit) = fields(CounterKind::Memory);
    (memcg.swap_usage_bytes, memcg.swap_max_bytes, memcg.swap_no_limit) = fields(CounterKind::Swap);
    (memcg.memsw_usage_bytes, memcg.memsw_max_bytes, memcg.memsw_no_limit) =
        fields(CounterKind::Memsw);
    (memcg.kmem_usage_bytes, memcg.kmem_max_bytes, memcg.kmem_no_limit) = fields(CounterKind::Kmem);
}

fn cgroup(path: &str) -> Cgroup {
    let (path, path_hex) = lossy(&bytes::bytes(path));
    Cgroup { path: Some(path), path_hex, ..Cgroup::default() }
}
