//! Reported invocations whose final report waits for their victims to be gone, or for names.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    account::{InvocationAccount, Stage, UnseenEnd},
    events::{Body, VictimGone},
    reap_and_exit::Visible,
};

/// If the memory of all victims is back, their exits are waited for no longer than this: they went
/// unseen. ns.
const EXIT_FOLLOWS_WITHIN_NS: u64 = 2_000_000_000;

/// An invocation whose final report is pending.
#[derive(Clone, Debug)]
struct PendingClose {
    account: InvocationAccount,
    /// The end of the invocation, `CLOCK_BOOTTIME` ns.
    since_ns: u64,
}

/// Invocations whose final report is pending.
#[derive(Debug, Default)]
pub(super) struct PendingCloses {
    visible: Visible,
    /// Longest time to wait for victims; 0 to report each invocation once. ns.
    close_after_ns: u64,
    /// The invocations by sequence number.
    pending: BTreeMap<u64, PendingClose>,
    /// Time of the latest loss of details, `CLOCK_BOOTTIME` ns.
    lost_until_ns: u64,
    /// When the latest skipped run of a probe of a victim's end was noticed, `CLOCK_BOOTTIME` ns.
    skipped_until_ns: u64,
    /// Sequence numbers of invocations for which names are looked up, from their choice on.
    awaiting_names: BTreeSet<u64>,
}

impl PendingCloses {
    pub(super) fn new(visible: Visible, close_after_ns: u64) -> Self {
        Self { visible, close_after_ns, ..Self::default() }
    }

    /// Stores that details were lost until this time, `CLOCK_BOOTTIME` ns.
    pub(super) fn note_loss(&mut self, until_ns: u64) {
        self.lost_until_ns = self.lost_until_ns.max(until_ns);
    }

    /// Stores until when the kernel skipped probes of a victim's end, `CLOCK_BOOTTIME` ns.
    pub(super) fn note_skip(&mut self, until_ns: u64) {
        self.skipped_until_ns = self.skipped_until_ns.max(until_ns);
    }

    pub(super) fn await_names(&mut self, seq: u64) {
        self.awaiting_names.insert(seq);
    }

    /// Returns the account if only its names were missing.
    pub(super) fn names_ready(&mut self, seq: u64) -> Option<InvocationAccount> {
        self.awaiting_names.remove(&seq);
        self.close_if_complete(seq)
    }

    /// Returns the account to report now, and keeps it if a final report will follow.
    pub(super) fn begin(&mut self, now: u64, account: InvocationAccount) -> InvocationAccount {
        let is_complete =
            !account.expects_more(self.visible) && !self.awaiting_names.contains(&account.seq);
        if self.close_after_ns == 0 || is_complete {
            return account;
        }
        let provisional = InvocationAccount { stage: Stage::Provisional, ..account };
        let pending = PendingClose { account: provisional.clone(), since_ns: now };
        self.pending.insert(provisional.seq, pending);
        provisional
    }

    /// Adds a step of a victim's end. Returns the account if nothing else was missing. `seq` is 0
    /// if the probe does not know the invocation. The kernel may use a process id again, so the
    /// latest invocation is meant.
    pub(super) fn note(
        &mut self,
        seq: u64,
        now: u64,
        gone: &VictimGone,
    ) -> Option<InvocationAccount> {
        let latest_first = self.pending.iter_mut().rev();
        let mut matching = latest_first.filter(|(pending, _)| seq == 0 || **pending == seq);
        let its_seq =
            matching.find_map(|(&seq, pending)| pending.account.note(now, gone).then_some(seq))?;
        self.close_if_complete(its_seq)
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut InvocationAccount> {
        self.pending.get_mut(&seq).map(|pending| &mut pending.account)
    }

    /// Adds a part that came after the end. Returns whether the invocation is one of these.
    pub(super) fn add(&mut self, seq: u64, now: u64, body: &Body) -> bool {
        let pending = self.pending.get_mut(&seq);
        pending.map(|pending| pending.account.add(now, body.clone())).is_some()
    }

    /// The account that counts invocations under this sequence number.
    pub(super) fn counting(&mut self, seq: u64) -> Option<&mut InvocationAccount> {
        let mut accounts = self.pending.values_mut().map(|pending| &mut pending.account);
        accounts.find(|it| it.seq == seq || it.waits_for_victim.contains_key(&seq))
    }

    /// The latest account of this domain: a memcg's or, with `is_memcg` false, the host's.
    pub(super) fn of_domain(
        &mut self,
        is_memcg: Option<bool>,
        oom_memcg: u64,
    ) -> Option<&mut InvocationAccount> {
        let mut latest_first = self.pending.values_mut().rev().map(|pending| &mut pending.account);
        latest_first.find(|it| {
            is_memcg.is_some() && it.is_memcg() == is_memcg && it.oom_memcg_id() == oom_memcg
        })
    }

    /// Removes the accounts whose deadline has passed.
    pub(super) fn due(&mut self, now_ns: u64) -> impl Iterator<Item = InvocationAccount> {
        let Self { visible, close_after_ns, lost_until_ns, skipped_until_ns, .. } = *self;
        let Self { pending, awaiting_names, .. } = self;
        let is_late = move |seq: &u64, pending: &mut PendingClose| {
            let patience_ns = if pending.account.has_victim_left(visible) {
                close_after_ns
            } else {
                close_after_ns.min(EXIT_FOLLOWS_WITHIN_NS)
            };
            let is_due = now_ns.saturating_sub(pending.since_ns) >= patience_ns;
            is_due && !awaiting_names.contains(seq)
        };
        pending.extract_if(.., is_late).map(move |(_, PendingClose { account, .. })| {
            let is_overdue = account.has_victim_left(visible);
            let unseen_end = match account.first_ns {
                _ if !is_overdue => None,
                since_ns if since_ns <= lost_until_ns => Some(UnseenEnd::RecordLost),
                since_ns if since_ns <= skipped_until_ns => Some(UnseenEnd::ProbeSkipped),
                _ => None,
            };
            let is_overdue = is_overdue && unseen_end.is_none();
            InvocationAccount { is_overdue, unseen_end, ..closed(account) }
        })
    }

    pub(super) fn flush(&mut self) -> impl Iterator<Item = InvocationAccount> + use<> {
        std::mem::take(&mut self.pending).into_values().map(|pending| closed(pending.account))
    }

    /// The probes are detached: no further step of a victim's end will be seen.
    pub(super) fn replace(&mut self) {
        for pending in self.pending.values_mut() {
            pending.account.is_replaced = true;
        }
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &InvocationAccount> {
        self.pending.values().map(|pending| &pending.account)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    fn close_if_complete(&mut self, seq: u64) -> Option<InvocationAccount> {
        let expects_more = self.pending.get(&seq)?.account.expects_more(self.visible);
        if expects_more || self.awaiting_names.contains(&seq) {
            return None;
        }
        self.pending.remove(&seq).map(|pending| closed(pending.account))
    }
}

fn closed(account: InvocationAccount) -> InvocationAccount {
    InvocationAccount { stage: Stage::Final, ..account }
}
