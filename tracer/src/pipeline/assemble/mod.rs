//! Stitches events into accounts. A pure state machine: time comes in as an argument.
//!
//! An invocation is reported when its `End` record arrives. It is reported again, as final, when
//! its victims are gone and their memory is back, or after a deadline. If the `End` record was
//! lost, the next invocation closes the open one (the kernel runs one at a time), or a deadline
//! does, or [`Assembler::finish`].
//!
//! The end may be written twice: by the probes, and by userspace from what the probes keep. The
//! second one is ignored.
//!
//! An invocation without a victim is held back for a while, because more of the same may follow:
//! they become one account with `repeats`. If it waits for a victim of an invocation whose final
//! report is pending, it is counted there and not reported alone.

mod kills;
mod open;
mod pending_close;
mod runs;

use self::{
    kills::Kills, open::OpenInvocations, pending_close::PendingCloses, runs::Reclaims, runs::Runs,
};
pub(crate) use self::{
    open::InFlight,
    runs::{Counted, RUN_SETTLES_AFTER_NS},
};
use crate::{
    bpf::journal::Unfinished,
    model::{
        account::{Account, InvocationAccount, MarkAccount, WaitAccount},
        events::{Body, Context, End, Event, Kill, Repeats, VictimGone, Wait},
        lru::Lru,
        reap_and_exit::Visible,
        recorded_growth::Recorded,
        report::System,
        shed::Shed,
    },
};

/// Waiting tasks whose end is reported.
const MAX_WAITS: usize = 1024;

/// Stitches events together.
#[derive(Debug)]
pub(crate) struct Assembler {
    open: OpenInvocations,
    kills: Kills,
    pending: PendingCloses,
    runs: Runs,
    reclaims: Reclaims,
    /// Waiting tasks, by thread id.
    waits: Lru<i32, WaitAccount>,
    /// Highest sequence number of an invocation whose end has come.
    ended_seq: u64,
}

impl Default for Assembler {
    fn default() -> Self {
        Self {
            open: OpenInvocations::default(),
            kills: Kills::default(),
            pending: PendingCloses::default(),
            runs: Runs::default(),
            reclaims: Reclaims::default(),
            waits: Lru::new(MAX_WAITS, 1 << 20),
            ended_seq: 0,
        }
    }
}

impl Assembler {
    /// `visible` are the steps of a victim's end that this host shows, `close_after_ns` is the
    /// longest time to wait for them.
    pub(crate) fn new(visible: Visible, close_after_ns: u64) -> Self {
        Self { pending: PendingCloses::new(visible, close_after_ns), ..Self::default() }
    }

    /// Adds one event; returns the accounts that it completes.
    pub(crate) fn push(&mut self, event: Event) -> Vec<Account> {
        let (seq, now, shed) = (event.seq, event.boottime_ns, event.shed);
        if let Body::Kill(kill) = event.body {
            self.kill(seq, now, *kill, shed);
            return Vec::new();
        }
        match event.body {
            // These do not come in the order of the invocations.
            Body::VictimGone(gone) => {
                self.note_late_shed(seq, shed);
                return self.victim_gone(seq, now, &gone);
            }
            Body::Wait(wait) => return self.wait(now, wait),
            Body::Context(context) => {
                self.context(seq, context);
                return Vec::new();
            }
            // The path of a new cgroup.
            Body::Path(_) if seq == 0 => return Vec::new(),
            _ => {}
        }
        let mut done: Vec<Account> = self.close_before(seq);
        if seq != 0 && seq <= self.ended_seq && self.is_late(seq, now, &event.body) {
            self.note_late_shed(seq, shed);
            return done;
        }
        if seq != 0 && !shed.is_nothing() {
            self.open.open(seq, now).shed.add(shed);
        }
        match event.body {
            Body::Repeats(repeats) => self.repeats(seq, now, repeats),
            Body::Reclaimed(reclaimed) => self.reclaims.push(now, reclaimed),
            Body::CgroupMade(_) | Body::GrowingProcess(_) | Body::Kill(_) => {}
            Body::End(end) => done.extend(self.end(seq, now, end)),
            // A mark alone is complete: the next record belongs to another account.
            Body::Mark(mark) => {
                let invocation = self.kills.complete(self.open.take(seq, now));
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

    /// Notes that details were lost until this time, `CLOCK_BOOTTIME` ns.
    pub(crate) fn note_loss(&mut self, until_ns: u64) {
        self.pending.note_loss(until_ns);
    }

    /// Notes that the kernel skipped probes of a victim's end until this time, `CLOCK_BOOTTIME` ns.
    pub(crate) fn note_skip(&mut self, until_ns: u64) {
        self.pending.note_skip(until_ns);
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
        let mut late: Vec<InvocationAccount> = self.open.due(now_ns).collect();
        for seq in self.kills.overdue(now_ns) {
            // Nothing but its beginning came, or not even that.
            late.extend(self.open.remove(seq).or_else(|| self.kills.take(seq)));
        }
        let late = late.into_iter().map(|account| self.kills.complete(account));
        let mut done: Vec<Account> = accounts(late).collect();
        done.extend(accounts(self.runs.due(now_ns)));
        done.extend(self.reclaims.due(now_ns).map(Account::Reclaimed));
        done.extend(accounts(self.pending.due(now_ns)));
        done
    }

    /// Runs whose counts may have grown in the kernel since the latest record.
    pub(crate) fn runs_to_poll(&self) -> Vec<Counted> {
        self.runs.counts().chain(self.waits_to_poll()).collect()
    }

    /// Likewise the counts of invocations that wait for victims.
    pub(crate) fn waits_to_poll(&self) -> impl Iterator<Item = Counted> {
        self.pending.accounts().chain(self.open.accounts()).flat_map(|kill| {
            let oom_memcg = kill.oom_memcg_id();
            let counted = move |(&seq, &count)| Counted { seq, oom_memcg, count };
            let is_new = !kill.waits_for_victim.contains_key(&kill.seq);
            let new = is_new.then_some(Counted { seq: kill.seq, oom_memcg, count: 0 });
            new.into_iter().chain(kill.waits_for_victim.iter().map(counted))
        })
    }

    /// Whether parts of this invocation have come, but not its end.
    pub(crate) fn is_open(&self, seq: u64) -> bool {
        self.open.has(seq) || self.kills.has(seq)
    }

    /// Whether a report on this invocation may still be made.
    pub(crate) fn has(&self, seq: u64) -> bool {
        self.is_open(seq) || self.pending.has(seq) || self.runs.has(seq)
    }

    /// Highest sequence number of an invocation whose end has come.
    pub(crate) fn ended_seq(&self) -> u64 {
        self.ended_seq
    }

    /// Whether [`Assembler::due`] must be called again even if no event comes.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.runs.is_empty()
            || !self.open.is_empty()
            || !self.kills.is_empty()
            || !self.reclaims.is_empty()
            || !self.pending.is_empty()
            || !self.waits.is_empty()
    }

    /// Thread ids of waiting tasks. No record shows when they stop.
    pub(crate) fn waiting_tasks(&self) -> Vec<i32> {
        self.waits.iter().map(|(tid, _)| *tid).collect()
    }

    /// The kills that the kernel may have counted and no reported account has.
    pub(crate) fn in_flight(&self) -> InFlight {
        if self.kills.is_empty() { self.open.in_flight() } else { InFlight::Kills }
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
            seqs: invocations()
                .map(|account| account.seq)
                .chain(self.kills.begun().map(|(seq, _)| seq))
                .filter(|seq| *seq != 0)
                .collect(),
            since_ns: invocations()
                .map(|account| account.first_ns)
                .chain(self.kills.begun().map(|(_, first_ns)| first_ns))
                .chain(reclaims)
                .min(),
            ..Unfinished::default()
        }
    }

    /// Newer probes have replaced the ones of these accounts.
    pub(crate) fn replace(&mut self) {
        self.pending.replace();
    }

    /// Every account that is left at the end.
    pub(crate) fn finish(&mut self) -> Vec<Account> {
        let mut done = self.close_before(u64::MAX);
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

    /// Whether a part of an invocation whose end has come was known already. If the end was taken
    /// from what the probes keep, a slow kernel may still have made a choice: the invocation is
    /// then open again.
    fn is_late(&mut self, seq: u64, now: u64, body: &Body) -> bool {
        match body {
            Body::End(end) => {
                // Later kills are in this one, if the first one was too early.
                if let Some(account) = self.pending.get_mut(seq)
                    && account.end.as_ref().is_none_or(|known| known.victims <= end.victims)
                {
                    account.end = Some(end.clone());
                }
                !self.open.has(seq)
            }
            Body::Invocation(invocation) if invocation.choice_made => {
                if let Some(account) = self.runs.remove(seq) {
                    self.open.reopen(InvocationAccount { end: None, ..account });
                }
                false
            }
            Body::Invocation(_) => true,
            Body::Victim(_) | Body::Path(_) | Body::Levels(_) | Body::Stat(_) => {
                !self.open.has(seq) && self.pending.add(seq, now, body)
            }
            _ => false,
        }
    }

    /// Counts invocations without a victim: of a run, or with the kill whose victim they wait for.
    fn repeats(&mut self, seq: u64, now: u64, repeats: Repeats) {
        if let Some(kill) = self.pending.counting(seq) {
            kill.add_waits(seq, repeats.count);
        } else if let Some(kill) = self.open.get_mut(seq) {
            kill.add_waits(seq, repeats.count);
        } else {
            self.runs.repeat(seq, now, repeats);
        }
    }

    /// Reports an invocation that touched a task at once, and keeps any other one as a run.
    fn end(&mut self, seq: u64, now: u64, end: End) -> Vec<Account> {
        self.ended_seq = self.ended_seq.max(seq);
        let account = self.kills.complete(self.open.take(seq, now));
        let account = InvocationAccount { end: Some(end), ..account };
        if account.is_quiet() {
            if account.waits_for_earlier_victim()
                && let Some(kill) =
                    self.pending.of_domain(account.is_memcg(), account.oom_memcg_id())
            {
                kill.add_waits(seq, 1);
                return Vec::new();
            }
            return accounts(self.runs.begin(now, account)).collect();
        }
        self.reclaims.killed(now, account.oom_memcg_id());
        let killed = self.pending.begin(now, account);
        accounts([killed].into_iter().chain(self.pending.make_room())).collect()
    }

    /// Closes the invocations before `seq`, which have lost their end or all of their details.
    fn close_before(&mut self, seq: u64) -> Vec<Account> {
        let open = self.open.close_before(seq);
        let mut done: Vec<InvocationAccount> =
            open.map(|account| self.kills.complete(account)).collect();
        done.extend(self.kills.before(seq));
        done.sort_by_key(|account| account.seq);
        accounts(done).collect()
    }

    /// Adds a kill. It may come after an end that was taken from what the probes keep, as a kernel
    /// that prints slowly kills on.
    fn kill(&mut self, seq: u64, now: u64, kill: Kill, shed: Shed) {
        match self.pending.get_mut(seq) {
            Some(account) => kills::add_late(account, now, kill, shed),
            None => self.kills.add(seq, now, kill, shed),
        }
    }

    /// Notes which details the probes left out of an invocation whose end may have come.
    fn note_late_shed(&mut self, seq: u64, shed: Shed) {
        if let Some(account) = self.open.get_mut(seq).or(self.pending.get_mut(seq)) {
            account.shed.add(shed);
        }
    }

    /// Adds a step of a victim's end. Returns the account if it was the last step of all victims.
    fn victim_gone(&mut self, seq: u64, now: u64, gone: &VictimGone) -> Vec<Account> {
        if self.open.note(seq, now, gone) || self.kills.note(seq, now, gone) {
            return Vec::new();
        }
        accounts(self.pending.note(seq, now, gone)).collect()
    }

    /// SIGKILL may be delivered to a victim before the invocation ends, or after that.
    fn context(&mut self, seq: u64, context: Context) {
        match self.open.get_mut(seq) {
            Some(account) => account.add_context(context),
            None => self.pending.add_context(seq, context),
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
