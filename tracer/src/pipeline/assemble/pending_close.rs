//! Reported invocations whose final report waits for their victims to be gone, or for names.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    account::{InvocationAccount, Stage, UnseenEnd},
    events::{Body, Context, VictimGone},
    lru::ByteSize as _,
    reap_and_exit::Visible,
};

/// If the memory of all victims is back, their exits are waited for no longer than this: they went
/// unseen. ns.
const EXIT_FOLLOWS_WITHIN_NS: u64 = 2_000_000_000;
/// Invocations whose victims are waited for. With more, the oldest is closed as it is.
const MAX_PENDING: usize = 1024;
/// Bytes of these invocations, likewise. A kill takes some 10 KB.
const MAX_PENDING_BYTES: usize = 8 << 20;

/// An invocation whose final report is pending.
#[derive(Clone, Debug)]
struct PendingClose {
    account: InvocationAccount,
    /// The end of the invocation, `CLOCK_BOOTTIME` ns.
    since_ns: u64,
    /// Victims before this position are gone, with everything that can be seen of it.
    n_gone: usize,
    /// Size of the account when its invocation ended.
    bytes: usize,
}

impl PendingClose {
    fn new(account: InvocationAccount, since_ns: u64) -> Self {
        let bytes = account.byte_size();
        Self { account, since_ns, n_gone: 0, bytes }
    }

    /// Whether a further step of a victim's end can be seen. In all calls together, each victim is
    /// passed once.
    fn expects_more(&mut self, visible: Visible) -> bool {
        let next = self.account.expects_more(self.n_gone, visible);
        self.n_gone = next.unwrap_or(self.account.victims.len());
        next.is_some()
    }
}

/// Invocations whose final report is pending.
#[derive(Debug, Default)]
pub(super) struct PendingCloses {
    visible: Visible,
    /// Longest time to wait for victims; 0 to report each invocation once. ns.
    close_after_ns: u64,
    /// The invocations by sequence number.
    pending: BTreeMap<u64, PendingClose>,
    /// Bytes of all accounts in `pending`.
    bytes: usize,
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
        let expects_more = account.expects_more(0, self.visible).is_some();
        let is_complete = !expects_more && !self.awaiting_names.contains(&account.seq);
        if self.close_after_ns == 0 || is_complete {
            self.awaiting_names.remove(&account.seq);
            return account;
        }
        let provisional = InvocationAccount { stage: Stage::Provisional, ..account };
        let n_reported = provisional.n_reported.saturating_add(1);
        let kept = InvocationAccount { n_reported, ..provisional.clone() };
        let pending = PendingClose::new(kept, now);
        self.bytes += pending.bytes;
        self.pending.insert(provisional.seq, pending);
        provisional
    }

    /// Closes the oldest accounts if there are too many or too large ones.
    pub(super) fn make_room(&mut self) -> Vec<InvocationAccount> {
        let mut closed = Vec::new();
        while self.pending.len() > MAX_PENDING || self.bytes > MAX_PENDING_BYTES {
            let Some(oldest) = self.pending.keys().next().copied() else { break };
            closed.extend(self.remove(oldest));
        }
        closed
    }

    /// Whether an account is one of these.
    pub(super) fn has(&self, seq: u64) -> bool {
        self.pending.contains_key(&seq)
    }

    fn remove(&mut self, seq: u64) -> Option<InvocationAccount> {
        let PendingClose { account, bytes, .. } = self.pending.remove(&seq)?;
        self.bytes -= bytes;
        self.awaiting_names.remove(&seq);
        Some(closed(account))
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
        let its_seq = if seq == 0 {
            let mut latest_first = self.pending.iter_mut().rev();
            latest_first
                .find_map(|(&seq, pending)| pending.account.note(now, gone).then_some(seq))?
        } else {
            self.pending.get_mut(&seq)?.account.note(now, gone).then_some(seq)?
        };
        self.close_if_complete(its_seq)
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut InvocationAccount> {
        self.pending.get_mut(&seq).map(|pending| &mut pending.account)
    }

    /// Adds a part that came after the end. Returns whether the invocation is one of these.
    pub(super) fn add(&mut self, seq: u64, now: u64, body: &Body) -> bool {
        let Some(pending) = self.pending.get_mut(&seq) else { return false };
        pending.account.add(now, body.clone());
        // More may be known of a victim that seemed to be gone.
        pending.n_gone = 0;
        true
    }

    /// Adds a detail of a task that came after the end.
    pub(super) fn add_context(&mut self, seq: u64, context: Context) {
        let Some(pending) = self.pending.get_mut(&seq) else { return };
        let bytes = pending.account.byte_size();
        pending.account.add_context(context);
        let added = pending.account.byte_size() - bytes;
        pending.bytes += added;
        self.bytes += added;
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
        let Self { pending, awaiting_names, bytes, .. } = self;
        let is_late = move |seq: &u64, pending: &mut PendingClose| {
            let patience_ns = if pending.account.has_victim_left(visible) {
                close_after_ns
            } else {
                close_after_ns.min(EXIT_FOLLOWS_WITHIN_NS)
            };
            let is_due = now_ns.saturating_sub(pending.since_ns) >= patience_ns;
            is_due && !awaiting_names.contains(seq)
        };
        pending.extract_if(.., is_late).map(move |(_, closing)| {
            *bytes -= closing.bytes;
            let account = closing.account;
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
        self.bytes = 0;
        self.awaiting_names.clear();
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
        let expects_more = self.pending.get_mut(&seq)?.expects_more(self.visible);
        if expects_more || self.awaiting_names.contains(&seq) {
            return None;
        }
        self.remove(seq)
    }
}

fn closed(account: InvocationAccount) -> InvocationAccount {
    InvocationAccount { stage: Stage::Final, ..account }
}
