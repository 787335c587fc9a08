//! Ends of invocations that no record shows. There is no hook at the return of `out_of_memory`. The
//! probes write an end at the next event that proves it. If none comes, the state that the probes
//! keep shows that nothing has changed for a while.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use oomwhy_common::{event::end_facts, maps::InvocationState};
use tokio::time::{Instant, sleep_until};

use super::{Live, LiveError, records};
use crate::{
    bpf::{load::LatestInvocation, ring::Rings},
    host::clock,
    pipeline::assemble::Counted,
};

/// The probes are read after this time without a record.
const QUIET: Duration = Duration::from_millis(250);
/// An invocation that has marked a victim is over if nothing has changed for this time. It still
/// prints a line for each victim, which takes 200 ms on a serial console with 9600 baud. A victim's
/// exit usually shows the end earlier.
const KILL_ENDS_AFTER: Duration = Duration::from_secs(1);
/// An invocation that has chosen a process prints its report before it kills. On a slow console a
/// table of many tasks takes long.
const PRINT_ENDS_AFTER: Duration = Duration::from_mins(1);
/// An invocation that has chosen no process may still evaluate tasks, 100,000 of them on a large
/// host, or print its stack on a slow console.
const SELECTION_ENDS_AFTER: Duration = Duration::from_secs(10);
/// The same at the end of a run, which nobody wants to wait for.
const SELECTION_ENDS_AT_STOP: Duration = Duration::from_secs(1);
/// A call of `mem_cgroup_out_of_memory` that led to no invocation within this time has returned, if
/// no other invocation kept it waiting for `oom_lock`. ns.
const CALL_RETURNS_WITHIN_NS: u64 = 1_000_000_000;

/// The state of the probes when it was read last.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// When to read it next.
    due: Option<Instant>,
    seen: Option<(Progress, Instant)>,
    /// Number of the latest invocation before this run.
    before: u64,
    /// Whether the run is about to end.
    is_stopping: bool,
}

/// The progress of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    seq: u64,
    kill_calls: u32,
    oom_kill_calls: u32,
    victims: u32,
    considered: u32,
    facts: u32,
}

impl Progress {
    fn of(latest: &LatestInvocation) -> Self {
        let LatestInvocation { state, considered, .. } = latest;
        Self {
            seq: state.seq,
            kill_calls: state.kill_calls,
            oom_kill_calls: state.oom_kill_calls,
            victims: state.victims,
            considered: *considered,
            facts: state.facts,
        }
    }

    fn has_killed(self) -> bool {
        self.kill_calls > 0 || self.victims > 0
    }

    /// Whether `out_of_memory` neither selects nor prints, by the facts at its entry.
    fn returns_at_once(self) -> bool {
        const PASSED: u32 = end_facts::TRIGGER_IS_VICTIM | end_facts::TRIGGER_IS_DYING;
        let is = |facts| self.facts & facts == facts;
        let is_refused = is(end_facts::WITHOUT_FS) && !is(end_facts::IS_MEMCG);
        !self.has_killed() && self.considered == 0 && (is(PASSED) || is_refused)
    }

    /// The time without progress after which the invocation is over.
    fn lasts(self, is_stopping: bool) -> Duration {
        match self {
            _ if self.returns_at_once() => QUIET,
            Self { victims: 1.., .. } => KILL_ENDS_AFTER,
            Self { kill_calls: 1.., .. } => PRINT_ENDS_AFTER,
            _ if is_stopping => SELECTION_ENDS_AT_STOP,
            _ => SELECTION_ENDS_AFTER,
        }
    }
}

impl Ends {
    /// A record arrived: the state of the probes is read after a quiet time.
    pub(super) fn wait(&mut self) {
        self.due = Some(Instant::now() + QUIET);
    }

    /// The run is about to end, so less patience is left.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Returns when the state of the probes must be read.
    pub(super) async fn settled(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Whether the invocation has not changed for long enough. If not, it is checked again later.
    fn is_over(&mut self, progress: Progress) -> bool {
        let now = Instant::now();
        let since = match self.seen {
            Some((seen, since)) if seen == progress => since,
            _ => now,
        };
        self.seen = Some((progress, since));
        let lasts = progress.lasts(self.is_stopping);
        let is_over = now.duration_since(since) >= lasts;
        self.due = (!is_over).then(|| (since + lasts).clamp(now + QUIET / 10, now + QUIET * 4));
        is_over
    }
}

impl Live {
    /// Leaves the invocations so far to the tracer before this one.
    pub(super) fn skip_earlier(&mut self) {
        self.ends.before = self.probes.latest_invocation().map_or(0, |latest| latest.state.seq);
    }

    /// Reads the latest invocation after a quiet time. Returns whether enough was reported.
    pub(super) fn read_end(&mut self, rings: &mut Rings) -> Result<bool, LiveError> {
        self.ends.due = None;
        Ok(self.drain(rings)? || self.read_latest()?)
    }

    /// Ends the latest invocation if it is over and no record has shown that. The rings are
    /// empty.
    pub(super) fn read_latest(&mut self) -> Result<bool, LiveError> {
        let Some(latest) = self.probes.latest_invocation() else {
            self.ends.due = None;
            return Ok(false);
        };
        let (seq, progress) = (latest.state.seq, Progress::of(&latest));
        // Either the probes have written the end or counted it in a run, or another run has.
        let is_written = latest.state.ended_seq == seq || seq <= self.ends.before;
        let is_open = self.pipeline.is_open(seq);
        let is_known = if progress.has_killed() { !is_open } else { is_written && !is_open };
        if is_known || seq <= self.pipeline.ended_seq() {
            self.ends.due = None;
            return Ok(false);
        }
        if !self.ends.is_over(progress) {
            return Ok(false);
        }
        let now_ns = clock::boottime_ns();
        if !progress.has_killed() && self.handle_record(&records::described(&latest, now_ns))? {
            return Ok(true);
        }
        let counts_calls = self.probes.settings.kill_task_hooked != 0;
        self.handle_record(&records::end(&latest, counts_calls, now_ns))
    }

    /// Reads how far the counts of runs have come, and the calls that needed no invocation.
    pub(super) fn read_runs(&mut self) -> Result<bool, LiveError> {
        let before_ns = clock::boottime_ns().saturating_sub(CALL_RETURNS_WITHIN_NS);
        let calls = if self.keeps_calls_waiting(before_ns) {
            Vec::new()
        } else {
            self.probes.take_calls_without_invocation(before_ns)
        };
        for call in calls.into_iter().filter(|call| records::is_of_living_task(call)) {
            if self.handle_record(&Bytes::from(call))? {
                return Ok(true);
            }
        }
        self.read_counts(self.pipeline.runs_to_poll())
    }

    /// Whether an invocation is not over, or began after `before_ns`: calls from before may still
    /// wait for `oom_lock`.
    fn keeps_calls_waiting(&self, before_ns: u64) -> bool {
        self.probes.latest_invocation().is_some_and(|latest| {
            let InvocationState { seq, ended_seq, started_ns, .. } = latest.state;
            let is_over = ended_seq == seq || seq <= self.pipeline.ended_seq();
            !is_over || started_ns > before_ns
        })
    }

    /// Reads how many invocations have waited for victims, before a report with them is closed.
    pub(super) fn read_waits(&mut self) -> Result<bool, LiveError> {
        self.read_counts(self.pipeline.waits_to_poll())
    }

    fn read_counts(&mut self, known: Vec<Counted>) -> Result<bool, LiveError> {
        for Counted { seq, oom_memcg, count } in known {
            if let Some(run) = self.probes.quiet_run(oom_memcg)
                && run.seq == seq
                && run.count > count
                && self.handle_record(&records::repeats(seq, run.count, run.last_ns))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invocation_that_prints_its_report_has_more_time() {
        let progress = |kill_calls, victims| Progress {
            seq: 1,
            kill_calls,
            oom_kill_calls: victims,
            victims,
            considered: 0,
            facts: 0,
        };
        let [selects, prints, kills] = [progress(0, 0), progress(1, 0), progress(1, 1)];
        for is_stopping in [false, true] {
            assert!(prints.lasts(is_stopping) > selects.lasts(is_stopping));
            assert_eq!(kills.lasts(is_stopping), KILL_ENDS_AFTER);
        }
        assert!(selects.lasts(true) < selects.lasts(false));
        let of_victim = end_facts::TRIGGER_IS_VICTIM | end_facts::TRIGGER_IS_DYING;
        assert_eq!(Progress { facts: of_victim, ..selects }.lasts(false), QUIET);
        assert_eq!(Progress { facts: end_facts::WITHOUT_FS, ..selects }.lasts(false), QUIET);
        let in_memcg = end_facts::WITHOUT_FS | end_facts::IS_MEMCG;
        assert!(Progress { facts: in_memcg, ..selects }.lasts(false) > QUIET);
    }
}
