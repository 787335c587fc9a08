//! `out_of_memory`: an invocation begins, so the one before it is over.
//!
//! Nothing is hooked at the return: a trampoline or kretprobe would be a frame in the stack that
//! the kernel prints inside. The end of an invocation is emitted by the first hook that proves it:
//! the next entry, a step in the end of a victim ([`settle`]), or the kernel's report that nobody
//! can be killed ([`nobody_eligible`]). Otherwise userspace reads the state from the map.
//!
//! One write to memory.max below usage causes tens of thousands of invocations for one kill. So of
//! a run of invocations without a victim, only the first is emitted and the others are counted.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use oomwhy_common::{
    event::{EndEvent, RepeatsEvent, domain, end_facts, kind},
    maps::{QuietRun, RUN_ENDS_AFTER_NS, WAITS_FOR_VICTIM, WAITS_FOR_VICTIM_NS},
    valid,
};

use super::{choice, paths_and_limits, stat};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped, offset},
    log::probe_log,
    maps::{
        MEMCG_CALLS, QUIET_RUNS, State, load, load_shared, mark_ended, read_volatile, shared_state,
        state, store,
    },
    objects::{cgroup, memcg, oom_control, task},
    record, stacks,
};

// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *oc)
#[fentry]
fn out_of_memory(ctx: FEntryContext) -> i32 {
    probe_log!(&ctx, "out_of_memory");
    begin::<_, Argument>(&ctx, ctx.arg(0), None);
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_out_of_memory(ctx: ProbeContext) -> u32 {
    if let Some(oc) = ctx.arg(0) {
        begin::<_, Untyped>(&ctx, oc, stacks::unseen_caller(&ctx));
    }
    0
}

#[inline(always)]
fn begin<C: EbpfContext, O: Origin>(ctx: &C, oc: *const u8, caller: Option<u64>) -> Option<()> {
    let state = state()?;
    finish(state);
    reset(state, oc);
    let oc = Object::<O>::new(oc)?;
    state.oom_memcg_id = oom_memcg_id(oc);
    state.domain = domain_of(oc).into();
    facts_at_entry(state, oc);
    choice::describe(state, oc);
    let _ = MEMCG_CALLS.remove(kernel::current_address());
    if !continues_run(state) {
        record::raise_pressure(state);
        choice::add_stacks(ctx, state, caller);
        paths_and_limits::emit_paths(state, oom_control::memcg(oc).flatten());
    }
    Some(())
}

#[inline(always)]
fn reset(state: &mut State, oc: *const u8) {
    state.task = kernel::current_address();
    state.seq += 1;
    state.started_ns = emit::now();
    state.described = 0;
    state.paths_emitted = 0;
    state.victim_ready = 0;
    state.best.points = i64::MIN;
    state.best.is_listed = 1;
    state.kill_calls = 0;
    state.victims = 0;
    state.processes = 0;
    state.has_sharers = 0;
    state.oom_kill_calls = 0;
    state.marked = 0;
    state.stat_stage = 0;
    state.oom_memcg = 0;
    state.oom_memcg_id = 0;
    state.pressure = 0;
    state.shed = 0;
    state.detailed_victims = 0;
    state.domain = domain::UNKNOWN.into();
    state.oom_control = oc as u64;
    state.evaluated_task = 0;
    state.candidates.head.recorded = 0;
    state.candidates.head.considered = 0;
}

/// What ran out of memory, one of [`domain`].
#[inline(always)]
fn domain_of<O: Origin>(oc: Object<O>) -> u8 {
    match (oom_control::memcg(oc), oc.get::<i32>(offset!(oc_order))) {
        (None, _) => domain::UNKNOWN,
        (Some(Some(_)), _) => domain::MEMCG,
        // The kernel's own sign for sysrq-f, is_sysrq_oom().
        (Some(None), Some(-1)) => domain::SYSRQ,
        (Some(None), _) => domain::GLOBAL,
    }
}

/// Fills in the facts that decide how an invocation ends that kills no process.
#[inline(always)]
fn facts_at_entry<O: Origin>(state: &mut State, oc: Object<O>) {
    let mut facts = 0;
    let mut known = kernel::hooked_end_facts();
    if let Some(current) = kernel::current() {
        known |= end_facts::TRIGGER_IS_VICTIM | end_facts::TRIGGER_IS_DYING;
        if task::is_victim(current) {
            facts |= end_facts::TRIGGER_IS_VICTIM;
        }
        if task::is_dying(current) {
            facts |= end_facts::TRIGGER_IS_DYING;
        }
    }
    if let Some(is_disabled) = kernel::oom_killer_disabled() {
        known |= end_facts::SUSPENDED;
        facts |= if is_disabled { end_facts::SUSPENDED } else { 0 };
    }
    if let Some(gfp_mask) = oom_control::gfp_mask(oc) {
        known |= end_facts::WITHOUT_FS;
        facts |= if oom_control::may_enter_fs(gfp_mask) { 0 } else { end_facts::WITHOUT_FS };
    }
    match oom_control::memcg(oc) {
        Some(Some(_)) => {
            known |= end_facts::IS_MEMCG;
            facts |= end_facts::IS_MEMCG;
        }
        Some(None) => {
            known |= end_facts::IS_MEMCG;
            if let Some(has) = kernel::has_oom_notifiers() {
                known |= end_facts::HAS_NOTIFIERS;
                facts |= if has { end_facts::HAS_NOTIFIERS } else { 0 };
            }
        }
        None => {}
    }
    state.facts = facts;
    state.facts_known = known;
}

/// Ends the invocation before this one, unless that was done: the kernel runs one at a time.
#[inline(always)]
fn finish(state: &mut State) {
    if state.task == 0 || state.ended_seq == state.seq {
        return;
    }
    if state.kill_calls == 0 && state.victims == 0 {
        add_evaluated(state);
        if !first_of_run(state) {
            return;
        }
        // A later read of a /proc/PID/oom_score looks like an evaluation by the OOM killer.
        state.invocation.considered = 0;
        choice::emit_described(state);
    }
    end(state);
}

#[inline(always)]
fn add_evaluated(state: &mut State) {
    if read_volatile(&state.candidates.head.considered) > 0 {
        state.facts |= end_facts::EVALUATED;
    }
}

/// Emits the end.
#[inline(always)]
fn end(state: &mut State) {
    // Without a call of `__oom_kill_process` the statistics were not emitted yet.
    stat::emit_filled(state);
    let known = valid::end::FACTS | valid::end::PROCESSES | state.shed;
    let header = emit::header(kind::END, state.seq, emit::now(), known, END_BYTES);
    state.end = EndEvent {
        header,
        result: 0,
        chosen: 0,
        kill_calls: state.kill_calls,
        victims: state.victims,
        selected: 0,
        oom_kill_calls: oom_kill_calls(state.oom_kill_calls),
        facts: state.facts,
        facts_known: state.facts_known,
        processes: state.processes,
        reserved: 0,
    };
    emit::end(&state.end);
    state.ended_seq = state.seq;
}

const END_BYTES: usize = size_of::<EndEvent>();

#[inline(always)]
fn oom_kill_calls(counted: u32) -> u32 {
    if kernel::kill_task_hooked() { counted } else { u32::MAX }
}

/// The kernel reports that no task can be killed: it printed the memcg's memory without a choice.
/// Emits the invocation and its end.
#[inline(always)]
pub(super) fn nobody_eligible<C: EbpfContext, O: Origin>(
    ctx: &C,
    state: &mut State,
    memcg: Object<O>,
) {
    if state.ended_seq == state.seq {
        return;
    }
    state.facts |= end_facts::PRINTED;
    add_evaluated(state);
    if !first_of_run(state) {
        return;
    }
    record::raise_pressure(state);
    choice::add_stacks(ctx, state, None);
    choice::refresh(state);
    state.invocation.considered = state.candidates.head.considered;
    choice::emit_described(state);
    choice::emit_candidates(state, emit::now());
    paths_and_limits::emit_paths(state, Some(memcg));
    paths_and_limits::emit_levels(state, memcg);
    end(state);
}

/// Emits the end of the open invocation, or counts it, if it is surely over: the current task is
/// the one that entered, or `oom_lock` is free. For hooks that run without `oom_lock`, outside of
/// `out_of_memory`.
///
/// A CPU that enters `out_of_memory` meanwhile may do the same. Userspace drops the second of two
/// ends; a wait for a victim may be counted twice.
#[inline(always)]
pub(super) fn settle() -> Option<()> {
    let state = shared_state()?;
    let seen = load_shared(state);
    if seen.task == 0 || seen.ended_seq == seen.seq {
        return None;
    }
    if seen.task != kernel::current_address() && kernel::oom_lock_owner()? != 0 {
        return None;
    }
    // Now that it is over, its counts do not change. An entry on another CPU would have changed
    // `seq` first.
    let now = load_shared(state);
    if now.seq != seen.seq || load_shared(state).seq != seen.seq {
        return None;
    }
    if now.kill_calls == 0 && now.victims == 0 {
        let run = QUIET_RUNS.get_ptr_mut(now.oom_memcg_id)?;
        let counted = load(run);
        if !is_wait_for(&counted, ending(now.facts), now.started_ns) {
            return None;
        }
        let counted = QuietRun { count: counted.count + 1, ..counted };
        store(run, counted);
    } else {
        emit::reserved(kind::END, now.seq, |event: &mut EndEvent| {
            event.kill_calls = now.kill_calls;
            event.victims = now.victims;
            event.oom_kill_calls = oom_kill_calls(now.oom_kill_calls);
            event.facts = now.facts;
            event.facts_known = now.facts_known;
            event.processes = now.processes;
            valid::end::FACTS | valid::end::PROCESSES | now.shed
        });
    }
    mark_ended(state, now.seq);
    Some(())
}

/// Cgroup id of the memcg whose limit was hit. 0 for a global OOM: no cgroup has that id.
#[inline(always)]
fn oom_memcg_id<O: Origin>(oc: Object<O>) -> u64 {
    oom_control::memcg(oc)
        .flatten()
        .and_then(memcg::cgroup)
        .and_then(cgroup::id)
        .unwrap_or_default()
}

/// Whether the memcg has a run that this invocation will probably continue. Then it is described
/// as briefly as possible.
#[inline(always)]
fn continues_run(state: &State) -> bool {
    QUIET_RUNS.get_ptr_mut(state.oom_memcg_id).is_some_and(|run| {
        let counted = load(run);
        let lasts_ns = match counted.ending {
            WAITS_FOR_VICTIM => WAITS_FOR_VICTIM_NS,
            _ => RUN_ENDS_AFTER_NS,
        };
        state.started_ns.saturating_sub(counted.last_ns) < lasts_ns
    })
}

/// `QuietRun::ending` of invocations that wait for an earlier victim.
const WAITS: u64 = 0;
/// `QuietRun::ending` of invocations whose trigger was a victim already: the kernel lets it pass.
const PASSED: u64 = (end_facts::TRIGGER_IS_VICTIM | end_facts::TRIGGER_IS_DYING) as u64;

/// What invocations of one run have in common: the fact that decided their end.
#[inline(always)]
fn ending(facts: u32) -> u64 {
    const REACHED_SELECTION: u32 = end_facts::IS_MEMCG | end_facts::EVALUATED;
    let first = facts & (end_facts::SUSPENDED | end_facts::PRINTED);
    if first != 0 {
        return u64::from(first);
    }
    if u64::from(facts) & PASSED == PASSED && facts & end_facts::EVALUATED == 0 {
        return PASSED;
    }
    if facts & REACHED_SELECTION != 0 {
        return WAITS;
    }
    // Of the rest, a driver's memory has no bit of its own.
    u64::from((facts & end_facts::WITHOUT_FS) | end_facts::HAS_NOTIFIERS)
}

/// Whether an invocation with this end waited for the victims of the kill of this run, or was one
/// of them that asked for memory again.
#[inline(always)]
fn is_wait_for(run: &QuietRun, ending: u64, started_ns: u64) -> bool {
    run.ending == WAITS_FOR_VICTIM
        && (ending == WAITS || ending == PASSED)
        && started_ns.saturating_sub(run.last_ns) < WAITS_FOR_VICTIM_NS
}

/// Counts an invocation without a victim. True if it starts a run. Otherwise it was added to the
/// run, whose count is emitted at every power of two.
#[inline(always)]
fn first_of_run(state: &mut State) -> bool {
    let (memcg, now) = (state.oom_memcg_id, state.started_ns);
    let ending = ending(read_volatile(&state.facts));
    if let Some(run) = QUIET_RUNS.get_ptr_mut(memcg) {
        let mut counted = load(run);
        let is_wait = is_wait_for(&counted, ending, now);
        let is_alike =
            counted.ending == ending && now.saturating_sub(counted.last_ns) < RUN_ENDS_AFTER_NS;
        if is_wait || is_alike {
            counted.count += 1;
            if is_alike {
                counted.last_ns = now;
            }
            store(run, counted);
            if counted.count.is_power_of_two() {
                repeats(state, &counted);
            }
            state.ended_seq = state.seq;
            return false;
        }
        // Another ending, or too long ago: emits the count of the old run.
        emit_count(state, &counted);
    }
    let run = QuietRun { seq: state.seq, ending, count: 1, last_ns: now };
    // A full map evicts the oldest run. An insert into an LRU map fails only if no memory is left;
    // then the next invocation of this run is emitted in full again.
    let _ = QUIET_RUNS.insert(memcg, run, 0);
    true
}

/// Ends the run of a memcg in which a task is killed, and emits its count.
#[inline(always)]
pub(super) fn end_run(state: &mut State) {
    let memcg = state.oom_memcg_id;
    if let Some(run) = QUIET_RUNS.get_ptr_mut(memcg) {
        let counted = load(run);
        emit_count(state, &counted);
        let _ = QUIET_RUNS.remove(memcg);
    }
}

/// Counts the invocations of the same memcg from now on as waits for the first victim of this one.
#[inline(always)]
pub(super) fn begin_wait_for_victim(state: &State) {
    if kernel::counts_waits() {
        let (seq, last_ns) = (state.seq, state.started_ns);
        let run = QuietRun { seq, ending: WAITS_FOR_VICTIM, count: 0, last_ns };
        // As in `first_of_run`: without memory for it, each is reported by itself.
        let _ = QUIET_RUNS.insert(state.oom_memcg_id, run, 0);
    }
}

/// The memory of a victim is free again: who waits from now on waits for another one.
#[inline(always)]
pub(super) fn end_wait_for_victim(seq: u64, oom_memcg_id: u64) {
    if let Some(run) = QUIET_RUNS.get_ptr_mut(oom_memcg_id) {
        let counted = load(run);
        if counted.seq == seq && counted.ending == WAITS_FOR_VICTIM {
            // Userspace still reads the count.
            store(run, QuietRun { last_ns: 0, ..counted });
        }
    }
}

/// Emits the count of a run that is over, unless userspace knows it.
#[inline(always)]
fn emit_count(state: &mut State, run: &QuietRun) {
    let known = u64::from(run.ending != WAITS_FOR_VICTIM);
    if run.count > known {
        repeats(state, run);
    }
}

#[inline(always)]
fn repeats(state: &mut State, run: &QuietRun) {
    state.repeats = RepeatsEvent {
        header: emit::header(kind::REPEATS, run.seq, emit::now(), 0, size_of::<RepeatsEvent>()),
        count: run.count,
        last_ns: run.last_ns,
    };
    emit::record(&state.repeats, size_of::<RepeatsEvent>());
}
