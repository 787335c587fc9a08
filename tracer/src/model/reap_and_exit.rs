//! What became of the victims of an invocation, and whether that is all there is to wait for. Pure.

use std::collections::BTreeMap;

use oomwhy_common::event::mm;

use super::{
    account::Account,
    events::{After, AfterWhat, Victim},
};

/// What became of one victim. Times: `CLOCK_BOOTTIME` ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReapAndExit {
    /// The reaper was told to look at it.
    pub reaper_woken_ns: Option<u64>,
    /// The reaper began.
    pub reaping_started_ns: Option<u64>,
    /// The reaper was done.
    pub reaping_finished_ns: Option<u64>,
    /// The reaper left it to somebody else.
    pub reaping_skipped_ns: Option<u64>,
    /// Its last thread exited.
    pub exited_ns: Option<u64>,
    /// Nobody used its memory any more.
    pub freeing_ns: Option<u64>,
    /// What was left of its memory then, pages, index [`mm`].
    pub left: Option<[i64; mm::COUNT]>,
    /// Its memory was back.
    pub freed_ns: Option<u64>,
}

/// Which of it can be seen on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// Exits.
    pub exits: bool,
    /// The return of memory.
    pub freeing: bool,
}

impl Account {
    /// Notes what became of a victim; false if it is none of ours.
    pub(crate) fn note(&mut self, now: u64, after: &After) -> bool {
        let pids: Vec<i32> = self
            .victims
            .iter()
            .map(|(_, victim)| victim)
            .filter(|victim| match (after.mm, after.tgid) {
                // All who share the memory get it back at once.
                (Some(mm), _) => victim.mm == Some(mm),
                (None, Some(tgid)) => victim.task.tgid == tgid,
                // The reaper is given the thread that was marked.
                (None, None) => !victim.shares_mm && victim.task.tid == after.tid,
            })
            .map(|victim| victim.task.tgid)
            .collect();
        for pid in &pids {
            self.reap_and_exit.entry(*pid).or_default().note(now, after);
        }
        !pids.is_empty()
    }

    /// Whether something can still become of a victim.
    pub(crate) fn is_dying(&self, visible: Visible) -> bool {
        let unseen = |(_, victim): &(u64, Victim)| {
            let after = self.reap_and_exit.get(&victim.task.tgid);
            !victim.shares_mm && after.is_none_or(|after| after.exited_ns.is_none())
        };
        self.is_left(visible) || (visible.exits && self.victims.iter().any(unseen))
    }

    /// Whether a victim is still there. Who shares a victim's memory is not waited for: its exit is
    /// not told.
    pub(crate) fn is_left(&self, visible: Visible) -> bool {
        let awaited = self.victims.iter().map(|(_, victim)| victim);
        awaited
            .filter(|victim| !victim.shares_mm)
            .any(|victim| is_left(victim, self.reap_and_exit.get(&victim.task.tgid), visible))
    }
}

/// Whether a victim is still there, as far as can be seen: its memory, else the process.
///
/// Memory that is back says that nobody runs on it any more. Its exit may go unseen: since 6.16 it
/// is told before the memory goes, which on another CPU can be before the victim is marked.
pub(crate) fn is_left(victim: &Victim, after: Option<&ReapAndExit>, visible: Visible) -> bool {
    if visible.freeing && victim.mm.is_some() {
        return after.is_none_or(|after| after.freed_ns.is_none());
    }
    visible.exits && after.is_none_or(|after| after.exited_ns.is_none())
}

impl ReapAndExit {
    /// Whether its memory came back without a word about the begin of that: a program that runs on a
    /// CPU already is not run again on top of itself, which a preempted exit can ask for.
    /// <https://github.com/torvalds/linux/blob/v6.1/kernel/bpf/trampoline.c>, `__bpf_prog_enter`
    pub fn began_unseen(&self) -> bool {
        self.freed_ns.is_some() && self.freeing_ns.is_none()
    }

    /// Whether its memory began to come back, and nothing has told the end of that: for the same
    /// reason, or because there is so much of it.
    pub fn end_unseen(&self) -> bool {
        self.freeing_ns.is_some() && self.freed_ns.is_none()
    }

    fn note(&mut self, now: u64, after: &After) {
        let time = match after.what {
            AfterWhat::ReaperWoken => &mut self.reaper_woken_ns,
            AfterWhat::ReapingStarted => &mut self.reaping_started_ns,
            AfterWhat::ReapingFinished => &mut self.reaping_finished_ns,
            AfterWhat::ReapingSkipped => &mut self.reaping_skipped_ns,
            AfterWhat::Exited => &mut self.exited_ns,
            AfterWhat::Freeing => {
                self.left = after.counts;
                &mut self.freeing_ns
            }
            AfterWhat::Freed => &mut self.freed_ns,
            AfterWhat::Unknown => return,
        };
        // The reaper tries up to ten times: the first start is the one that counts.
        time.get_or_insert(now);
    }
}

/// By the victim's process id.
pub(crate) type ReapsAndExits = BTreeMap<i32, ReapAndExit>;
