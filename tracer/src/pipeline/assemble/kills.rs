//! Compact records of kills. They come from a ring of their own, before the details of their
//! invocation. They complete an account in which details are missing.
//!
//! The reader takes them first, so those of later invocations come before the details of earlier
//! ones. They never come after the end of their own invocation.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    account::InvocationAccount,
    events::{Kill, KillCause, Memory, Victim, VictimGone},
    shed::Shed,
};

/// An invocation without any detail is reported after this time, ns. It is longer than an
/// invocation takes once it has begun to kill.
const DETAILS_FOLLOW_WITHIN_NS: u64 = 10_000_000_000;

#[derive(Clone, Debug, Default)]
struct OfInvocation {
    /// Each with its time, `CLOCK_BOOTTIME` ns.
    kills: Vec<(u64, Kill)>,
    /// The processes of the kills: thousands can be killed together.
    tgids: BTreeSet<i32>,
    /// Steps in the end of processes that have no details so far, each with its time.
    gone: Vec<(u64, VictimGone)>,
    shed: Shed,
}

/// Kills of invocations that are not reported, by sequence number.
#[derive(Debug, Default)]
pub(super) struct Kills(BTreeMap<u64, OfInvocation>);

impl Kills {
    pub(super) fn add(&mut self, seq: u64, now: u64, kill: Kill, shed: Shed) {
        let known = self.0.entry(seq).or_default();
        known.tgids.insert(kill.task.tgid);
        known.kills.push((now, kill));
        known.shed.add(shed);
    }

    /// Keeps a step in the end of a process. Returns whether it is one of these processes. `seq` is
    /// 0 if the probe does not know the invocation; then the step belongs to the latest one.
    pub(super) fn note(&mut self, seq: u64, now: u64, gone: &VictimGone) -> bool {
        let Some(tgid) = gone.tgid else { return false };
        let found = if seq == 0 {
            self.0.values_mut().rev().find(|known| known.tgids.contains(&tgid))
        } else {
            self.0.get_mut(&seq).filter(|known| known.tgids.contains(&tgid))
        };
        found.map(|known| known.gone.push((now, gone.clone()))).is_some()
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        self.0.contains_key(&seq)
    }

    /// Adds to an account the facts that only compact records show.
    pub(super) fn complete(&mut self, mut account: InvocationAccount) -> InvocationAccount {
        if let Some(known) = self.0.remove(&account.seq) {
            merge(&mut account, known);
        }
        account
    }

    /// Accounts of the invocations before `seq`: no detail of them can come any more.
    pub(super) fn before(&mut self, seq: u64) -> Vec<InvocationAccount> {
        let later = self.0.split_off(&seq);
        let before = std::mem::replace(&mut self.0, later);
        before.into_iter().filter_map(|(seq, known)| account(seq, known)).collect()
    }

    /// Invocations whose details must have been lost by now.
    pub(super) fn overdue(&self, now_ns: u64) -> Vec<u64> {
        let is_late = |known: &OfInvocation| {
            let latest_ns = known.kills.last().map_or(0, |(at_ns, _)| *at_ns);
            now_ns.saturating_sub(latest_ns) >= DETAILS_FOLLOW_WITHIN_NS
        };
        self.0.iter().filter(|(_, known)| is_late(known)).map(|(seq, _)| *seq).collect()
    }

    /// The account of an invocation, made of its compact records alone.
    pub(super) fn take(&mut self, seq: u64) -> Option<InvocationAccount> {
        account(seq, self.0.remove(&seq)?)
    }

    /// Sequence numbers, each with the time of the first kill.
    pub(super) fn begun(&self) -> impl Iterator<Item = (u64, u64)> {
        let first_ns = |known: &OfInvocation| known.kills.first().map_or(0, |(at_ns, _)| *at_ns);
        self.0.iter().map(move |(seq, known)| (*seq, first_ns(known)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn account(seq: u64, known: OfInvocation) -> Option<InvocationAccount> {
    let (first_ns, _) = *known.kills.first()?;
    let mut account = InvocationAccount::new(seq, first_ns);
    merge(&mut account, known);
    Some(account)
}

/// Adds a kill to an account that is reported already. Its details follow, and count its mark.
pub(super) fn add_late(account: &mut InvocationAccount, now: u64, kill: Kill, shed: Shed) {
    account.shed.add(shed);
    if account.victims.position(kill.task.tgid).is_none() {
        account.victims.push((now, victim(kill)));
    }
}

fn merge(account: &mut InvocationAccount, known: OfInvocation) {
    account.shed.add(known.shed);
    let marked = known.kills.iter().filter(|(_, kill)| kill.cause != KillCause::SharesMm).count();
    account.marks = account.marks.max(u32::try_from(marked).unwrap_or(u32::MAX));
    if account.invocation.is_none() {
        account.compact_memcg = known.kills.iter().find_map(|(_, kill)| kill.oom_memcg_id);
    }
    let n_detailed = account.victims.len();
    for (at_ns, kill) in known.kills {
        if account.victims.position(kill.task.tgid).is_none() {
            account.victims.push((at_ns, victim(kill)));
        }
    }
    if account.victims.len() > n_detailed {
        account.victims.sort();
    }
    for (at_ns, gone) in known.gone {
        account.note(at_ns, &gone);
    }
}

fn victim(kill: Kill) -> Victim {
    let memory = kill.counts.zip(kill.pgtables_bytes);
    Victim {
        task: kill.task,
        memory: memory.map(|(counts, pgtables_bytes)| Memory {
            counts,
            pgtables_bytes,
            total_vm: 0,
        }),
        shares_mm: kill.cause == KillCause::SharesMm,
        is_compact: true,
        ..Victim::default()
    }
}
