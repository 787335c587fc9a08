//! How the victims of an invocation were reaped and exited, and whether more is to come. Pure.

use std::collections::BTreeMap;

use oomwhy_common::event::mm;

use super::{
    account::InvocationAccount,
    events::{Victim, VictimGone, VictimGoneStep},
};

/// The end of one victim. Times: `CLOCK_BOOTTIME` ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReapAndExit {
    /// The OOM reaper was woken for it.
    pub reaper_woken_ns: Option<u64>,
    /// The reaper's first try to free its memory.
    pub reaping_started_ns: Option<u64>,
    /// The reaper freed all memory that it could.
    pub reaping_finished_ns: Option<u64>,
    /// The reaper left its memory to the exit.
    pub reaping_skipped_ns: Option<u64>,
    /// Its last thread exited.
    pub exited_ns: Option<u64>,
    /// The last user of its memory was gone, so `exit_mmap` began.
    pub freeing_ns: Option<u64>,
    /// Its memory when `exit_mmap` began, pages, index [`mm`].
    pub left: Option<[i64; mm::COUNT]>,
    /// `exit_mmap` returned: its memory was back.
    pub freed_ns: Option<u64>,
}

/// Which steps of a victim's end this host shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// The exit of a process.
    pub exits: bool,
    /// The return of its memory.
    pub freeing: bool,
}

impl InvocationAccount {
    /// Notes a step of a victim's end; returns false if it belongs to none of these victims.
    pub(crate) fn note(&mut self, now: u64, gone: &VictimGone) -> bool {
        let pids = self.victims.of_step(gone);
        for pid in &pids {
            self.reap_and_exit.entry(*pid).or_default().note(now, gone);
        }
        !pids.is_empty()
    }

    /// Position of the first victim, from `start` on, of whose end a further step can be seen.
    pub(crate) fn expects_more(&self, start: usize, visible: Visible) -> Option<usize> {
        let expects = |(_, victim): &(u64, Victim)| {
            let known = self.reap_and_exit.get(&victim.task.tgid);
            let has_exited = || known.is_some_and(|known| known.exited_ns.is_some());
            !victim.shares_mm
                && (is_left(victim, known, visible) || (visible.exits && !has_exited()))
        };
        let rest = self.victims.get(start..).unwrap_or_default();
        rest.iter().position(expects).map(|found| start + found)
    }

    /// Whether a victim is still there. Processes that share a victim's memory do not count: no
    /// record shows their exit.
    pub(crate) fn has_victim_left(&self, visible: Visible) -> bool {
        self.victims
            .iter()
            .map(|(_, victim)| victim)
            .filter(|victim| !victim.shares_mm)
            .any(|victim| is_left(victim, self.reap_and_exit.get(&victim.task.tgid), visible))
    }
}

/// Whether a victim is still there, as far as this host shows it: its memory, else the process.
///
/// If its memory is back, no thread runs on it any more. Its exit may go unseen: since 6.16
/// `sched_process_exit` fires before the memory goes, which on another CPU can be before the victim
/// is marked.
pub(crate) fn is_left(victim: &Victim, known: Option<&ReapAndExit>, visible: Visible) -> bool {
    if visible.freeing && victim.mm.is_some() {
        return known.is_none_or(|known| known.freed_ns.is_none());
    }
    visible.exits && known.is_none_or(|known| known.exited_ns.is_none())
}

impl ReapAndExit {
    /// Whether the return of its memory was seen, but not the begin of that. The kernel does not
    /// run a program on top of itself, which an exit that preempts another one asks for.
    /// <https://github.com/torvalds/linux/blob/v6.1/kernel/bpf/trampoline.c>, `__bpf_prog_enter`
    pub fn began_unseen(&self) -> bool {
        self.freed_ns.is_some() && self.freeing_ns.is_none()
    }

    /// Whether its memory began to come back, but the end of that was not seen: for the same
    /// reason, or because there is so much of it.
    pub fn end_unseen(&self) -> bool {
        self.freeing_ns.is_some() && self.freed_ns.is_none()
    }

    fn note(&mut self, now: u64, gone: &VictimGone) {
        let time = match gone.step {
            VictimGoneStep::ReaperWoken => &mut self.reaper_woken_ns,
            VictimGoneStep::ReapingStarted => &mut self.reaping_started_ns,
            VictimGoneStep::ReapingFinished => &mut self.reaping_finished_ns,
            VictimGoneStep::ReapingSkipped => &mut self.reaping_skipped_ns,
            VictimGoneStep::Exited => &mut self.exited_ns,
            VictimGoneStep::Freeing => {
                self.left = gone.counts;
                &mut self.freeing_ns
            }
            VictimGoneStep::Freed => &mut self.freed_ns,
            VictimGoneStep::Unknown => return,
        };
        // The reaper tries up to ten times: the first start counts.
        time.get_or_insert(now);
    }
}

/// The ends of victims, by process id.
pub(crate) type ReapsAndExits = BTreeMap<i32, ReapAndExit>;
