//! Invocations whose end has not come.

use std::collections::BTreeMap;

use crate::model::{
    account::InvocationAccount,
    events::{Body, Victim, VictimGone},
    report::MAX_LISTED_VICTIMS,
};

/// The kills that the kernel may have counted and no reported account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InFlight {
    /// No invocation is open.
    Nothing,
    /// An invocation is open that has marked no victim yet. If the kernel has counted its kill, the
    /// record of the victim is on its way.
    Choice,
    /// An invocation is open that has marked a victim, and may mark more.
    Kills,
}

/// Open invocations by sequence number.
#[derive(Debug, Default)]
pub(super) struct OpenInvocations(BTreeMap<u64, InvocationAccount>);

impl OpenInvocations {
    /// Adds a part. The first one opens the invocation.
    pub(super) fn add(&mut self, seq: u64, now: u64, body: Body) {
        self.open(seq, now).add(now, body);
    }

    /// The invocation, opened now if no part of it has come.
    pub(super) fn open(&mut self, seq: u64, now: u64) -> &mut InvocationAccount {
        self.0.entry(seq).or_insert_with(|| InvocationAccount::new(seq, now))
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        self.0.contains_key(&seq)
    }

    /// Adds an invocation that was thought to be over.
    pub(super) fn reopen(&mut self, account: InvocationAccount) {
        self.0.insert(account.seq, account);
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut InvocationAccount> {
        self.0.get_mut(&seq)
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<InvocationAccount> {
        self.0.remove(&seq)
    }

    /// Removes an invocation. If all records before were lost, it begins now.
    pub(super) fn take(&mut self, seq: u64, now: u64) -> InvocationAccount {
        self.0.remove(&seq).unwrap_or_else(|| InvocationAccount::new(seq, now))
    }

    /// The kernel runs one invocation at a time, so an open one before `seq` has lost its end.
    pub(super) fn close_before(&mut self, seq: u64) -> impl Iterator<Item = InvocationAccount> {
        let later = self.0.split_off(&seq);
        std::mem::replace(&mut self.0, later).into_values()
    }

    /// Removes invocations that must have lost their end by now.
    pub(super) fn due(&mut self, now_ns: u64) -> impl Iterator<Item = InvocationAccount> {
        let lost = self.0.extract_if(.., move |_, account| account.has_lost_its_end(now_ns));
        lost.map(|(_, account)| account)
    }

    /// Adds a step of a victim's end; returns whether the victim is one of these. `seq` is 0 if the
    /// probe does not know the invocation. The kernel may use a process id again, so the latest
    /// invocation is meant.
    pub(super) fn note(&mut self, seq: u64, now: u64, gone: &VictimGone) -> bool {
        let mut latest_first = self.0.iter_mut().rev();
        latest_first.any(|(open, account)| (seq == 0 || *open == seq) && account.note(now, gone))
    }

    pub(super) fn in_flight(&self) -> InFlight {
        match self.0.values().any(|account| account.marks > 0) {
            true => InFlight::Kills,
            false if self.0.is_empty() => InFlight::Nothing,
            false => InFlight::Choice,
        }
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &InvocationAccount> {
        self.0.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl InvocationAccount {
    pub(super) fn add(&mut self, now: u64, body: Body) {
        match body {
            Body::Invocation(invocation) => self.invocation = Some(*invocation),
            Body::Candidates(candidates) => self.candidates = Some(candidates),
            Body::Path(path) => {
                // Of each listed victim, and of the limit, the trigger and the chosen process.
                if self.paths.len() < MAX_LISTED_VICTIMS + 8 {
                    self.paths.insert(path.id, path);
                }
            }
            Body::Levels(levels) => self.levels = Some(levels),
            Body::Stat(stat) => self.stat = Some(stat),
            // With memory.oom.group, the kernel marks the first victim a second time.
            Body::Victim(victim) => {
                self.marks += u32::from(!victim.shares_mm);
                // Until now there was only its compact record. Or it shares the memory of another
                // victim, and is then killed as a member of the group, too.
                let is_news = |(_, known): &(u64, Victim)| {
                    known.is_compact || (known.shares_mm && !victim.shares_mm)
                };
                match self.victims.position(victim.task.tgid) {
                    None => self.victims.push((now, *victim)),
                    Some(known) if self.victims.get(known).is_some_and(is_news) => {
                        self.victims.replace(known, *victim);
                    }
                    Some(_) => {}
                }
            }
            Body::Kill(_)
            | Body::End(_)
            | Body::Repeats(_)
            | Body::Reclaimed(_)
            | Body::CgroupMade(_)
            | Body::GrowingProcess(_)
            | Body::VictimGone(_)
            | Body::Mark(_)
            | Body::Context(_)
            | Body::Wait(_) => {}
        }
    }
}
