//! `out_of_memory`: an invocation begins and ends.
//!
//! Nothing is emitted at entry: one write to memory.max below usage causes tens of thousands of
//! invocations for one kill. Of a run of invocations without a victim, the first is emitted in full
//! at its return and the others are counted.

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oomwhy_common::{
    event::{EndEvent, RepeatsEvent, chosen, kind},
    maps::{QuietRun, RUN_ENDS_AFTER_NS},
};

use super::{choice, stat};
use crate::{
    emit,
    kernel::{self, Argument, Object, Origin, Untyped},
    log::probe_log,
    maps::{INVOKED, QUIET_RUNS, State, load, own_invocation, read_volatile, state, store},
    objects::{cgroup, memcg, oom_control},
};

// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *oc)
#[fentry]
fn out_of_memory(ctx: FEntryContext) -> i32 {
    probe_log!(&ctx, "out_of_memory");
    begin::<Argument>(ctx.arg(0));
    0
}

// kernel-proto: as above
#[kprobe]
fn kprobe_out_of_memory(ctx: ProbeContext) -> u32 {
    if let Some(oc) = ctx.arg(0) {
        begin::<Untyped>(oc);
    }
    0
}

#[inline(always)]
fn begin<O: Origin>(oc: *const u8) -> Option<()> {
    let state = state()?;
    let task = kernel::current_address();
    state.task = task;
    state.seq += 1;
    state.started_ns = emit::now();
    state.victim_ready = 0;
    state.best_points = i64::MIN;
    state.kill_calls = 0;
    state.victims = 0;
    state.oom_kill_calls = 0;
    state.marked = 0;
    state.stat_stage = 0;
    state.oom_memcg = 0;
    state.oom_control = oc as u64;
    state.evaluated_task = 0;
    state.candidates.head.recorded = 0;
    state.candidates.head.considered = 0;
    let oc = Object::<O>::new(oc)?;
    if !matches!(oom_control::memcg(oc), Some(None)) {
        // An insert into an LRU map fails only if no memory is left. Then the call is reported as
        // one without an invocation, which its own kill contradicts.
        let _ = INVOKED.insert(task, 0, 0);
    }
    Some(())
}

// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *oc)
#[fexit]
fn out_of_memory_ret(ctx: FExitContext) -> i32 {
    if let Some(state) = own_invocation() {
        probe_log!(&ctx, "out_of_memory returns, {} victims", state.victims);
        // Slot 1, behind the one argument, is the return value. bpf_get_func_ret would need 5.17.
        end::<_, Argument>(&ctx, state, ctx.arg(0), ctx.arg::<u64>(1));
        state.task = 0;
    }
    0
}

// kernel-proto: as above
#[kretprobe]
fn kretprobe_out_of_memory(ctx: RetProbeContext) -> u32 {
    if let Some(state) = own_invocation() {
        let oc = state.oom_control as *const u8;
        end::<_, Untyped>(&ctx, state, oc, ctx.ret());
        state.task = 0;
    }
    0
}

#[inline(always)]
fn end<C: EbpfContext, O: Origin>(
    ctx: &C,
    state: &mut State,
    oc: *const u8,
    returned: u64,
) -> Option<()> {
    let oc = Object::<O>::new(oc)?;
    // The upper bytes of a returned bool are garbage.
    let result = returned as u8;
    ending(state, oc, result);
    if state.kill_calls == 0 && state.victims == 0 && !first_of_run(state, oom_memcg_id(oc)) {
        return Some(());
    }
    if state.kill_calls == 0 {
        choice::emit(ctx, state, oc, None);
    }
    // Without a call of `__oom_kill_process` the statistics were not emitted yet.
    stat::emit_filled(state);
    state.end.header = emit::header(kind::END, state.seq, emit::now(), 0, size_of::<EndEvent>());
    emit::record(&state.end, size_of::<EndEvent>(), kind::END);
    Some(())
}

/// Writes into the record how the invocation ended.
///
/// verifier: read back from there, the facts are opaque. Kept as values, each way in which an
/// invocation can end would be walked through all that follows.
#[inline(always)]
fn ending<O: Origin>(state: &mut State, oc: Object<O>, result: u8) {
    let chosen = match oom_control::chosen(oc) {
        None => chosen::UNKNOWN,
        Some(pointer) if pointer.is_null() => chosen::NOBODY,
        Some(pointer) if pointer as i64 == -1 => chosen::ABORTED,
        Some(_) => chosen::TASK,
    };
    let totalpages = oom_control::totalpages(oc).unwrap_or_default();
    let end = &mut state.end;
    end.result = u32::from(result != 0);
    end.chosen = chosen;
    end.kill_calls = state.kill_calls;
    end.victims = state.victims;
    end.selected = u32::from(totalpages != 0);
    end.oom_kill_calls = if kernel::kill_task_hooked() { state.oom_kill_calls } else { u32::MAX };
}

/// Cgroup id of the memcg whose limit was hit. 0 for a global OOM: no cgroup has that id.
#[inline(always)]
pub(super) fn oom_memcg_id<O: Origin>(oc: Object<O>) -> u64 {
    oom_control::memcg(oc)
        .flatten()
        .and_then(memcg::cgroup)
        .and_then(cgroup::id)
        .unwrap_or_default()
}

/// Counts an invocation without a victim. True if it starts a run. Otherwise it was added to the
/// run, whose count is emitted at every power of two.
#[inline(always)]
fn first_of_run(state: &mut State, memcg: u64) -> bool {
    let now = emit::now();
    let [chosen, selected, result] =
        [&state.end.chosen, &state.end.selected, &state.end.result].map(read_volatile);
    let ending = u64::from(chosen) << 8 | u64::from(selected) << 1 | u64::from(result);
    if let Some(run) = QUIET_RUNS.get_ptr_mut(memcg) {
        let mut counted = load(run);
        if counted.ending == ending && now.saturating_sub(counted.last_ns) < RUN_ENDS_AFTER_NS {
            counted.count += 1;
            counted.last_ns = now;
            store(run, counted);
            if counted.count.is_power_of_two() {
                repeats(state, &counted);
            }
            return false;
        }
        // Another ending, or too long ago: emits the count of the old run.
        if counted.count > 1 {
            repeats(state, &counted);
        }
    }
    let run = QuietRun { seq: state.seq, ending, count: 1, last_ns: now };
    // A full map evicts the oldest run. An insert into an LRU map fails only if no memory is left;
    // then the next invocation of this run is emitted in full again.
    let _ = QUIET_RUNS.insert(memcg, run, 0);
    true
}

/// Ends the run of a memcg in which a task is killed, and emits its count.
#[inline(always)]
pub(super) fn end_run<O: Origin>(state: &mut State, oc: Object<O>) {
    let memcg = oom_memcg_id(oc);
    if let Some(run) = QUIET_RUNS.get_ptr_mut(memcg) {
        let counted = load(run);
        if counted.count > 1 {
            repeats(state, &counted);
        }
        let _ = QUIET_RUNS.remove(memcg);
    }
}

#[inline(always)]
fn repeats(state: &mut State, run: &QuietRun) {
    state.repeats = RepeatsEvent {
        header: emit::header(kind::REPEATS, run.seq, emit::now(), 0, size_of::<RepeatsEvent>()),
        count: run.count,
        last_ns: run.last_ns,
    };
    emit::record(&state.repeats, size_of::<RepeatsEvent>(), kind::REPEATS);
}
