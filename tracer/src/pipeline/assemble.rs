//! Events -> invocations. A pure state machine: time comes in as an argument.
//!
//! An invocation is told when its `End` has come, and closed when its victims are gone and their
//! memory is back, or after a deadline. One whose end was lost is closed, as what it
//! is, by the next invocation (the kernel runs one at a time), after a while, or by
//! [`Assembler::finish`].
//! One without a victim is held back for a while: more of the same may follow, and become one
//! account with `repeats`.

use std::collections::{BTreeMap, BTreeSet};

use oomwhy_common::maps::RUN_ENDS_AFTER_NS;

use crate::{
    bpf::journal::Unfinished,
    model::{
        account::{Account, Stage},
        events::{After, Body, Context, End, Event, Mark, Reclaimed, Repeats, Wait},
        reap_and_exit::Visible,
        recorded_growth::Recorded,
        report::System,
    },
};

/// Silence after which a run of invocations without a victim is reported. ns.
pub(crate) const RUN_SETTLES_AFTER_NS: u64 = 1_000_000_000;
/// A run that does not settle is reported after this time, and again at most this often. ns.
pub(crate) const RUN_REPORTED_EVERY_NS: u64 = 10_000_000_000;
/// The exit of a victim whose memory is back is waited for no longer: it went unseen. ns.
const EXIT_FOLLOWS_WITHIN_NS: u64 = 2_000_000_000;

/// A run of invocations without a victim.
#[derive(Clone, Debug)]
struct Run {
    account: Account,
    /// Time of its latest sign of life.
    last_ns: u64,
    /// When it was reported last, and with how many repeats. It is kept, to be reported again
    /// with more, until it is over.
    reported: Option<(u64, u64)>,
}

impl Run {
    fn count(&self) -> u64 {
        self.account.repeats.as_ref().map_or(1, |repeats| repeats.count)
    }

    fn quiet_for(&self, ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_ns) >= ns
    }

    fn report_due(&self, now_ns: u64) -> bool {
        let settled = self.reported.is_none() && self.quiet_for(RUN_SETTLES_AFTER_NS, now_ns);
        let since = self.reported.map_or(self.account.first_ns, |(when, _)| when);
        settled || now_ns.saturating_sub(since) >= RUN_REPORTED_EVERY_NS
    }

    fn has_news(&self) -> bool {
        self.reported.is_none_or(|(_, count)| count != self.count())
    }
}

/// An invocation whose victims are not gone yet.
#[derive(Clone, Debug)]
struct Dying {
    account: Account,
    /// Its end, `CLOCK_BOOTTIME` ns.
    since_ns: u64,
}

/// What goes on while kills are compared with the kernel's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amid {
    /// No invocation.
    Nothing,
    /// One in which nobody is known to have been killed yet: if the kernel has counted its kill, the
    /// record of it is on its way.
    Choice,
    /// One that has killed, and may kill more.
    Kills,
}

/// Stitches events together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    visible: Visible,
    /// How long it is waited for what becomes of victims. ns.
    close_after_ns: u64,
    /// By number of the invocation.
    dying: BTreeMap<u64, Dying>,
    /// Numbers of invocations whose close is put off: userspace looks for names.
    awaited: BTreeSet<u64>,
    /// Tasks that wait, by thread id.
    waits: BTreeMap<i32, Account>,
    /// By number of the invocation.
    open: BTreeMap<u64, Account>,
    /// By number of the first invocation.
    runs: BTreeMap<u64, Run>,
    /// Calls that found room again, by oom_memcg. Told only if no kill in the same memcg is near:
    /// else they are part of that kill's story.
    reclaimed: BTreeMap<u64, Run>,
    /// Time of the latest kill, by oom_memcg; forgotten when it is no longer near.
    kills: BTreeMap<u64, u64>,
}

impl Assembler {
    /// An assembler that waits so long for what can be seen to become of victims.
    pub(crate) fn new(visible: Visible, close_after_ns: u64) -> Self {
        Self { visible, close_after_ns, ..Self::default() }
    }

    /// Takes one event; returns the accounts that it completes.
    pub(crate) fn push(&mut self, event: Event) -> Vec<Account> {
        let (seq, now) = (event.seq, event.boottime_ns);
        match event.body {
            // These do not come in the order of the invocations.
            Body::After(after) => return self.after(seq, now, &after).into_iter().collect(),
            Body::Wait(wait) => return self.wait(now, *wait).into_iter().collect(),
            Body::Context(context) => {
                self.context(seq, context);
                return Vec::new();
            }
            // Where a new cgroup is.
            Body::Path(_) if seq == 0 => return Vec::new(),
            _ => {}
        }
        let mut done = self.close_before(seq);
        match event.body {
            Body::Repeats(repeats) => self.repeat(seq, now, repeats),
            Body::Reclaimed(reclaimed) => self.reclaim(now, *reclaimed),
            Body::CgroupMade(_) | Body::Grower(_) => {}
            Body::End(end) => done.extend(self.end(seq, now, end)),
            Body::Mark(mark) => done.push(self.mark(seq, now, mark)),
            body => self.open.entry(seq).or_insert_with(|| Account::new(seq, now)).add(now, body),
        }
        done
    }

    /// Adds what userspace found out about the host's memory at the start of an invocation.
    pub(crate) fn system(&mut self, seq: u64, at_ns: u64, memory: System) {
        if let Some(account) = self.open.get_mut(&seq) {
            account.system = Some((at_ns, memory));
        }
    }

    /// Puts off the close of an invocation's report until [`Assembler::settle`].
    pub(crate) fn wait_for(&mut self, seq: u64) {
        self.awaited.insert(seq);
    }

    /// What its report waited for is there, or is not waited for any more. Returns the account if
    /// that was the last thing.
    pub(crate) fn settle(&mut self, seq: u64) -> Option<Account> {
        self.awaited.remove(&seq);
        if self.dying.get(&seq)?.account.is_dying(self.visible) {
            return None;
        }
        self.close(seq)
    }

    fn close(&mut self, seq: u64) -> Option<Account> {
        let dying = self.dying.remove(&seq)?;
        Some(Account { stage: Stage::Final, ..dying.account })
    }

    /// Adds what the growth recorder had when an invocation made its choice.
    pub(crate) fn growth(&mut self, seq: u64, recorded: Box<Recorded>) {
        if let Some(account) = self.open.get_mut(&seq) {
            account.growth = Some(recorded);
        }
    }

    /// Accounts that are due at `now_ns`: invocations that lost their end, runs that settled or
    /// that have gone on for long.
    pub(crate) fn due(&mut self, now_ns: u64) -> Vec<Account> {
        let lost = |_: &u64, account: &mut Account| account.has_lost_its_end(now_ns);
        let mut done: Vec<Account> =
            self.open.extract_if(.., lost).map(|(_, account)| account).collect();
        self.runs.retain(|_, run| {
            let over = run.quiet_for(RUN_ENDS_AFTER_NS, now_ns);
            if run.has_news() && (over || run.report_due(now_ns)) {
                run.reported = Some((now_ns, run.count()));
                done.push(run.account.clone());
            }
            !over
        });
        done.extend(self.due_reclaimed(now_ns));
        let (visible, close_after_ns) = (self.visible, self.close_after_ns);
        let awaited = &self.awaited;
        let late = |seq: &u64, dying: &mut Dying| {
            let patience = if dying.account.is_left(visible) {
                close_after_ns
            } else {
                close_after_ns.min(EXIT_FOLLOWS_WITHIN_NS)
            };
            now_ns.saturating_sub(dying.since_ns) >= patience && !awaited.contains(seq)
        };
        let late = self.dying.extract_if(.., late).map(|(_, dying)| dying.account);
        done.extend(late.map(|account| Account {
            stage: Stage::Final,
            is_overdue: account.is_left(visible),
            ..account
        }));
        done
    }

    /// Runs that wait to be reported: (seq, oom_memcg id). Their counts may have moved on in the
    /// kernel since the latest record.
    pub(crate) fn waiting(&self) -> Vec<(u64, u64)> {
        self.runs.values().map(|run| (run.account.seq, run.account.oom_memcg_id())).collect()
    }

    /// Whether [`Assembler::due`] must be asked again without a further event.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.runs.is_empty()
            || !self.open.is_empty()
            || !self.reclaimed.is_empty()
            || !self.dying.is_empty()
            || !self.waits.is_empty()
    }

    /// Threads that wait, of whose end no record comes.
    pub(crate) fn waiting_tasks(&self) -> Vec<i32> {
        self.waits.keys().copied().collect()
    }

    /// What may have been counted in the kernel and not in an account that was told.
    pub(crate) fn amid(&self) -> Amid {
        match self.open.values().any(|account| account.marks > 0) {
            true => Amid::Kills,
            false if self.open.is_empty() => Amid::Nothing,
            false => Amid::Choice,
        }
    }

    /// What is not told to its end. A task that waits is told at once, and may wait for ever; a run
    /// that was reported once can only become longer.
    pub(crate) fn unfinished(&self) -> Unfinished {
        let dying = self.dying.values().map(|dying| &dying.account);
        let runs = self.runs.values().filter(|run| run.reported.is_none());
        let reclaimed = self.reclaimed.values().chain(runs).map(|run| &run.account);
        let accounts: Vec<&Account> = self.open.values().chain(dying).chain(reclaimed).collect();
        Unfinished {
            seqs: accounts.iter().map(|account| account.seq).filter(|seq| *seq != 0).collect(),
            since_ns: accounts.iter().map(|account| account.first_ns).min(),
        }
    }

    /// Everything that is left, at the end.
    pub(crate) fn finish(&mut self) -> Vec<Account> {
        let mut done: Vec<Account> = std::mem::take(&mut self.open).into_values().collect();
        done.extend(self.press());
        done.sort_by_key(|account| account.seq);
        done
    }

    /// Everything that is left but for invocations whose end has not come.
    pub(crate) fn press(&mut self) -> Vec<Account> {
        let mut done = Vec::new();
        let runs = std::mem::take(&mut self.runs).into_values();
        done.extend(runs.filter(Run::has_news).map(|run| run.account));
        done.extend(std::mem::take(&mut self.reclaimed).into_values().map(|run| run.account));
        let dying = std::mem::take(&mut self.dying).into_values();
        done.extend(dying.map(|dying| Account { stage: Stage::Final, ..dying.account }));
        done.sort_by_key(|account| account.seq);
        done
    }

    /// The kernel runs one invocation at a time: an open one before `seq` has lost its end.
    fn close_before(&mut self, seq: u64) -> Vec<Account> {
        let later = self.open.split_off(&seq);
        std::mem::replace(&mut self.open, later).into_values().collect()
    }

    fn end(&mut self, seq: u64, now: u64, end: End) -> Option<Account> {
        let mut account = self.open.remove(&seq).unwrap_or_else(|| Account::new(seq, now));
        account.end = Some(end);
        if !account.is_quiet() {
            self.kills.insert(account.oom_memcg_id(), now);
            self.reclaimed.remove(&account.oom_memcg_id());
            return Some(self.told(now, account));
        }
        self.runs.insert(seq, Run { account, last_ns: now, reported: None });
        None
    }

    /// A mark alone is whole: what comes next is another's.
    fn mark(&mut self, seq: u64, now: u64, mark: Mark) -> Account {
        let account = self.open.remove(&seq).unwrap_or_else(|| Account::new(seq, now));
        Account { mark: Some(mark), ..account }
    }

    /// Tells a kill at once, and keeps it until its victims are gone.
    fn told(&mut self, now: u64, account: Account) -> Account {
        let is_over = !account.is_dying(self.visible) && !self.awaited.contains(&account.seq);
        if self.close_after_ns == 0 || is_over {
            return account;
        }
        let account = Account { stage: Stage::Provisional, ..account };
        self.dying.insert(account.seq, Dying { account: account.clone(), since_ns: now });
        account
    }

    /// Notes what became of a victim. Returns the account when that was the last thing to become
    /// of its victims.
    fn after(&mut self, seq: u64, now: u64, after: &After) -> Option<Account> {
        // Process ids may be used again: the latest is meant.
        for (_, account) in self.open.iter_mut().rev().filter(|(open, _)| seq == 0 || **open == seq)
        {
            if account.note(now, after) {
                return None;
            }
        }
        let visible = self.visible;
        let mut dying = self.dying.iter_mut().rev().filter(|(dying, _)| seq == 0 || **dying == seq);
        let (seq, is_dying) = dying.find_map(|(seq, dying)| {
            let is_its = dying.account.note(now, after);
            is_its.then(|| (*seq, dying.account.is_dying(visible)))
        })?;
        if is_dying || self.awaited.contains(&seq) {
            return None;
        }
        self.close(seq)
    }

    /// A victim may meet its SIGKILL before the invocation ends, or after that.
    fn context(&mut self, seq: u64, context: Context) {
        let dying = self.dying.get_mut(&seq).map(|dying| &mut dying.account);
        if let Some(account) = self.open.get_mut(&seq).or(dying) {
            account.contexts.entry(context.tgid).or_default().note(context);
        }
    }

    /// A task that waits is told when it begins, and again when it ends.
    fn wait(&mut self, now: u64, wait: Wait) -> Option<Account> {
        let tid = wait.trigger.tid;
        if wait.ended {
            let account = self.waits.remove(&tid)?;
            return Some(Account { wait_ended_ns: Some(now), ..account });
        }
        let account = Account { wait: Some(wait), ..Account::new(0, now) };
        self.waits.insert(tid, account.clone());
        Some(account)
    }

    fn reclaim(&mut self, now: u64, reclaimed: Reclaimed) {
        let memcg = reclaimed.oom_memcg.id.unwrap_or_default();
        let near = |&killed: &u64| now.saturating_sub(killed) < RUN_SETTLES_AFTER_NS;
        if self.kills.get(&memcg).is_some_and(near) {
            return;
        }
        let new = || Run { account: Account::new(0, now), last_ns: now, reported: None };
        let run = self.reclaimed.entry(memcg).or_insert_with(new);
        run.last_ns = now;
        run.account.reclaimed = Some(reclaimed);
    }

    fn due_reclaimed(&mut self, now_ns: u64) -> impl Iterator<Item = Account> {
        self.kills.retain(|_, killed| now_ns.saturating_sub(*killed) < RUN_SETTLES_AFTER_NS);
        let due = self.reclaimed.extract_if(.., move |_, run| run.report_due(now_ns));
        due.map(|(_, run)| run.account)
    }

    /// A repeats record of a run that is not known (its first record was lost) is dropped with
    /// it: the loss is counted where it happened.
    fn repeat(&mut self, seq: u64, now: u64, repeats: Repeats) {
        if let Some(run) = self.runs.get_mut(&seq)
            && repeats.count > run.count()
        {
            run.last_ns = now.max(repeats.last_ns);
            run.account.repeats = Some(repeats);
        }
    }
}

impl Account {
    fn add(&mut self, now: u64, body: Body) {
        match body {
            Body::Invocation(invocation) => self.invocation = Some(*invocation),
            Body::Candidates(candidates) => self.candidates = Some(candidates),
            Body::Path(path) => {
                self.paths.insert(path.id, path);
            }
            Body::Levels(levels) => self.levels = Some(levels),
            Body::Stat(stat) => self.stat = Some(stat),
            // memory.oom.group meets its first victim a second time.
            Body::Victim(victim) => {
                self.marks += u32::from(!victim.shares_mm);
                if self.victims.iter().all(|(_, known)| known.task.tgid != victim.task.tgid) {
                    self.victims.push((now, *victim));
                }
            }
            Body::End(_)
            | Body::Repeats(_)
            | Body::Reclaimed(_)
            | Body::CgroupMade(_)
            | Body::Grower(_)
            | Body::After(_)
            | Body::Mark(_)
            | Body::Context(_)
            | Body::Wait(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
