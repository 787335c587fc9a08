//! Stitches events into accounts. A pure state machine: time comes in as an argument.
//!
//! An invocation is reported when its `End` record arrives. It is reported again, as final, when
//! its victims are gone and their memory is back, or after a deadline. If the `End` record was
//! lost, the next invocation closes the open one (the kernel runs one at a time), or a deadline
//! does, or [`Assembler::finish`].
//!
//! An invocation without a victim is held back for a while, because more of the same may follow:
//! they become one account with `repeats`.

mod open;
mod pending_close;
mod runs;

use std::collections::BTreeMap;

pub(crate) use self::{open::InFlight, runs::RUN_SETTLES_AFTER_NS};
use self::{open::OpenInvocations, pending_close::PendingCloses, runs::Reclaims, runs::Runs};
use crate::{
    bpf::journal::Unfinished,
    model::{
        account::{Account, InvocationAccount, MarkAccount, WaitAccount},
        events::{Body, Context, End, Event, VictimGone, Wait},
        reap_and_exit::Visible,
        recorded_growth::Recorded,
        report::System,
    },
};

/// Stitches events together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    open: OpenInvocations,
    pending: PendingCloses,
    runs: Runs,
    reclaims: Reclaims,
    /// Waiting tasks, by thread id.
    waits: BTreeMap<i32, WaitAccount>,
}

impl Assembler {
    /// `visible` are the steps of a victim's end that this host shows, `close_after_ns` is the
    /// longest time to wait for them.
    pub(crate) fn new(visible: Visible, close_after_ns: u64) -> Self {
        Self { pending: PendingCloses::new(visible, close_after_ns), ..Self::default() }
    }

    /// Adds one event; returns the accounts that it completes.
    pub(crate) fn push(&mut self, event: Event) -> Vec<Account> {
        let (seq, now) = (event.seq, event.boottime_ns);
        match event.body {
            // These do not come in the order of the invocations.
            Body::VictimGone(gone) => return self.victim_gone(seq, now, &gone),
            Body::Wait(wait) => return self.wait(now, wait),
            Body::Context(context) => {
                self.context(seq, context);
                return Vec::new();
            }
            // The path of a new cgroup.
            Body::Path(_) if seq == 0 => return Vec::new(),
            _ => {}
        }
        let mut done: Vec<Account> = accounts(self.open.close_before(seq)).collect();
        match event.body {
            Body::Repeats(repeats) => self.runs.repeat(seq, now, repeats),
            Body::Reclaimed(reclaimed) => self.reclaims.push(now, reclaimed),
            Body::CgroupMade(_) | Body::GrowingProcess(_) => {}
            Body::End(end) => done.extend(self.end(seq, now, end)),
            // A mark alone is complete: the next record belongs to another account.
            Body::Mark(mark) => {
                let invocation = self.open.take(seq, now);
                done.push(Account::Mark(Box::new(MarkAccount { mark, invocation })));
            }
            body => self.open.add(seq, now, body),
        }
        done
    }

    /// Adds the host's memory at the start of an invocation.
    pub(crate) fn add_system(&mut self, seq: u64, at_ns: u64, memory: System) {
        if let Some(account) = self.open.get_mut(seq) {
            account.system = Some((at_ns, memory));
        }
    }

    /// Adds the growth that was recorded when an invocation made its choice.
    pub(crate) fn add_growth(&mut self, seq: u64, recorded: Box<Recorded>) {
        if let Some(account) = self.open.get_mut(seq) {
            account.growth = Some(recorded);
        }
    }

    /// Postpones the final report of an invocation until [`Assembler::names_ready`].
    pub(crate) fn await_names(&mut self, seq: u64) {
        self.pending.await_names(seq);
    }

    /// The names of an invocation are found or given up. Returns the account if nothing else was
    /// missing.
    pub(crate) fn names_ready(&mut self, seq: u64) -> Option<Account> {
        self.pending.names_ready(seq).map(Account::from)
    }

    /// Accounts that are due at `now_ns`: invocations that lost their end, runs that settled or
    /// have gone on for long, and victims that outlived the deadline.
    pub(crate) fn due(&mut self, now_ns: u64) -> Vec<Account> {
        let mut done: Vec<Account> = accounts(self.open.due(now_ns)).collect();
        done.extend(accounts(self.runs.due(now_ns)));
        done.extend(self.reclaims.due(now_ns).map(Account::Reclaimed));
        done.extend(accounts(self.pending.due(now_ns)));
        done
    }

    /// Runs whose counts may have grown in the kernel since the latest record: (seq, oom_memcg id).
    pub(crate) fn runs_to_poll(&self) -> Vec<(u64, u64)> {
        self.runs.accounts().map(|account| (account.seq, account.oom_memcg_id())).collect()
    }

    /// Whether [`Assembler::due`] must be called again even if no event comes.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.runs.is_empty()
            || !self.open.is_empty()
            || !self.reclaims.is_empty()
            || !self.pending.is_empty()
            || !self.waits.is_empty()
    }

    /// Thread ids of waiting tasks. No record shows when they stop.
    pub(crate) fn waiting_tasks(&self) -> Vec<i32> {
        self.waits.keys().copied().collect()
    }

    /// The kills that the kernel may have counted and no reported account has.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.open.in_flight()
    }

    /// The accounts that are not reported to their end. A waiting task is reported at once, and may
    /// wait for ever. A run that was reported can only grow. So neither counts.
    pub(crate) fn unfinished(&self) -> Unfinished {
        let invocations = || {
            let pending = self.pending.accounts();
            self.open.accounts().chain(pending).chain(self.runs.unreported())
        };
        let reclaims = self.reclaims.accounts().map(|account| account.first_ns);
        Unfinished {
            seqs: invocations().map(|account| account.seq).filter(|seq| *seq != 0).collect(),
            since_ns: invocations().map(|account| account.first_ns).chain(reclaims).min(),
        }
    }

    /// Newer probes have replaced the ones of these accounts.
    pub(crate) fn replace(&mut self) {
        self.pending.replace();
    }

    /// Every account that is left at the end.
    pub(crate) fn finish(&mut self) -> Vec<Account> {
        let mut done: Vec<Account> = accounts(self.open.flush()).collect();
        done.extend(self.flush());
        done.sort_by_key(Account::seq);
        done
    }

    /// Every account that is left, except invocations whose end has not come.
    pub(crate) fn flush(&mut self) -> Vec<Account> {
        let mut done: Vec<Account> = accounts(self.runs.flush()).collect();
        done.extend(self.reclaims.flush().map(Account::Reclaimed));
        done.extend(accounts(self.pending.flush()));
        done.sort_by_key(Account::seq);
        done
    }

    /// Reports an invocation that touched a task at once, and keeps any other one as a run.
    fn end(&mut self, seq: u64, now: u64, end: End) -> Option<Account> {
        let account = InvocationAccount { end: Some(end), ..self.open.take(seq, now) };
        if account.is_quiet() {
            self.runs.begin(now, account);
            return None;
        }
        self.reclaims.killed(now, account.oom_memcg_id());
        Some(self.pending.begin(now, account).into())
    }

    /// Adds a step of a victim's end. Returns the account if it was the last step of all victims.
    fn victim_gone(&mut self, seq: u64, now: u64, gone: &VictimGone) -> Vec<Account> {
        if self.open.note(seq, now, gone) {
            return Vec::new();
        }
        accounts(self.pending.note(seq, now, gone)).collect()
    }

    /// SIGKILL may be delivered to a victim before the invocation ends, or after that.
    fn context(&mut self, seq: u64, context: Context) {
        if let Some(account) = self.open.get_mut(seq).or(self.pending.get_mut(seq)) {
            account.contexts.entry(context.tgid).or_default().note(context);
        }
    }

    /// A waiting task is reported when it begins, and again when it stops.
    fn wait(&mut self, now: u64, wait: Box<Wait>) -> Vec<Account> {
        let tid = wait.trigger.tid;
        let account = if wait.ended {
            let known = self.waits.remove(&tid);
            known.map(|account| WaitAccount { ended_ns: Some(now), ..account })
        } else {
            let account = WaitAccount { first_ns: now, wait, ended_ns: None };
            self.waits.insert(tid, account.clone());
            Some(account)
        };
        account.map(Account::Wait).into_iter().collect()
    }
}

fn accounts(
    invocations: impl IntoIterator<Item = InvocationAccount>,
) -> impl Iterator<Item = Account> {
    invocations.into_iter().map(Account::from)
}

#[cfg(test)]
mod tests;
