//! Which of two sets of probes reports a kill that both saw (`--pin`). Pure.
//!
//! In an upgrade, the old and the new probes are attached at the same time. The kernel runs their
//! programs one after the other, so both have slightly different times for the same kill. Time
//! alone cannot decide which probes report a kill next to the handover. So the old probes list the
//! kills that they report there. The new probes leave these out and report all others.

use serde::{Deserialize, Serialize};

use super::account::Account;

/// The old probes also report kills that follow the handover within this time, and the new probes
/// those that precede it. ns.
const BOTH_REPORT_WITHIN_NS: u64 = 100_000_000;
/// Two marks of one process within this time are the same kill: no process id is reused so soon.
const SAME_KILL_WITHIN_NS: u64 = 1_000_000_000;

/// A process that the OOM killer marked as a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kill {
    /// Id of the process or of the marked thread.
    pub pid: i32,
    /// Time of the mark, `CLOCK_BOOTTIME` ns.
    pub at_ns: u64,
}

impl Kill {
    fn is_same(self, other: Self) -> bool {
        self.pid == other.pid && self.at_ns.abs_diff(other.at_ns) < SAME_KILL_WITHIN_NS
    }
}

/// The share of one set of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The probes before these report accounts that began earlier, `CLOCK_BOOTTIME` ns.
    pub since_ns: u64,
    /// The probes after these report accounts that began then or later.
    pub until_ns: u64,
    /// Kills that the probes before these report.
    pub handed_over: Vec<Kill>,
}

impl Default for Share {
    fn default() -> Self {
        Self { since_ns: 0, until_ns: u64::MAX, handed_over: Vec::new() }
    }
}

impl Share {
    /// Whether these probes report this account.
    pub(crate) fn has(&self, account: &Account) -> bool {
        let started_ns = account.started_ns();
        let Some(first) = kills(account).next() else {
            return (self.since_ns..self.until_ns).contains(&started_ns);
        };
        let is_handed_over = |kill: Kill| self.handed_over.iter().any(|it| it.is_same(kill));
        let since_ns = self.since_ns.saturating_sub(BOTH_REPORT_WITHIN_NS);
        let until_ns = self.until_ns.saturating_add(BOTH_REPORT_WITHIN_NS);
        first.at_ns >= since_ns
            && (started_ns < self.until_ns || first.at_ns < until_ns)
            && !kills(account).any(is_handed_over)
    }

    /// The kills of an account that the probes after these must leave out.
    pub(crate) fn to_hand_over(&self, account: &Account) -> Vec<Kill> {
        if !self.has(account) {
            return Vec::new();
        }
        // The time for which the next probes report too, and a margin.
        let since_ns = self.until_ns.saturating_sub(2 * BOTH_REPORT_WITHIN_NS);
        kills(account).filter(|kill| kill.at_ns >= since_ns).collect()
    }
}

/// The victims. The tracepoint tier has only the marked thread if its process was gone at once.
fn kills(account: &Account) -> impl Iterator<Item = Kill> {
    let invocation = account.invocation().into_iter();
    let of_victims = invocation
        .flat_map(|invocation| &invocation.victims)
        .map(|(at_ns, victim)| Kill { pid: victim.task.tgid, at_ns: *at_ns });
    let mark = match account {
        Account::Mark(account) => Some(account.mark.tid),
        _ => None,
    };
    of_victims.chain(mark.map(|pid| Kill { pid, at_ns: account.first_ns() }))
}

#[cfg(test)]
mod tests {
    use super::{Kill, Share};
    use crate::model::{
        account::{Account, InvocationAccount, MarkAccount},
        events::Mark,
    };

    const MS: u64 = 1_000_000;
    const HANDOVER: u64 = 5_000 * MS;

    fn begun(first_ns: u64) -> InvocationAccount {
        InvocationAccount { first_ns, ..InvocationAccount::default() }
    }

    fn killed(pid: i32, at_ns: u64) -> Account {
        let mark = Mark { tid: pid, fields: None };
        Account::Mark(Box::new(MarkAccount { mark, invocation: begun(at_ns) }))
    }

    fn without_victim(at_ns: u64) -> Account {
        Account::Invocation(Box::new(begun(at_ns)))
    }

    /// The reports on one kill for which both sets of probes have these times.
    fn n_reports(old_ns: Option<u64>, new_ns: Option<u64>) -> usize {
        let old = Share { until_ns: HANDOVER, ..Share::default() };
        let seen = |at_ns: Option<u64>| at_ns.map(|at_ns| killed(7, at_ns));
        let handed_over =
            seen(old_ns).map(|account| old.to_hand_over(&account)).unwrap_or_default();
        let new = Share { since_ns: HANDOVER, handed_over, ..Share::default() };
        let by_old = seen(old_ns).is_some_and(|account| old.has(&account));
        let by_new = seen(new_ns).is_some_and(|account| new.has(&account));
        usize::from(by_old) + usize::from(by_new)
    }

    #[test]
    fn kill_that_both_saw_is_reported_once_at_any_time_and_skew() {
        for at_ns in (HANDOVER - 400 * MS..HANDOVER + 400 * MS).step_by(10 * 1_000_000) {
            for skew_ns in [1, MS / 10, 7 * MS, 49 * MS] {
                assert_eq!(n_reports(Some(at_ns), Some(at_ns + skew_ns)), 1, "{at_ns}");
                assert_eq!(n_reports(Some(at_ns + skew_ns), Some(at_ns)), 1, "{at_ns}");
            }
        }
    }

    #[test]
    fn kill_next_to_handover_that_one_saw_is_reported_once() {
        for at_ns in [HANDOVER - 50 * MS, HANDOVER, HANDOVER + 50 * MS] {
            assert_eq!(n_reports(Some(at_ns), None), 1, "{at_ns}");
            assert_eq!(n_reports(None, Some(at_ns)), 1, "{at_ns}");
        }
    }

    #[test]
    fn reused_process_id_is_another_kill() {
        let handed_over = vec![Kill { pid: 7, at_ns: HANDOVER }];
        let new = Share { since_ns: HANDOVER, handed_over, ..Share::default() };
        assert!(!new.has(&killed(7, HANDOVER + MS)));
        assert!(new.has(&killed(8, HANDOVER + MS)));
        assert!(new.has(&killed(7, HANDOVER + 2_000 * MS)));
    }

    #[test]
    fn invocation_without_victim_belongs_to_probes_of_its_start() {
        let old = Share { until_ns: HANDOVER, ..Share::default() };
        let new = Share { since_ns: HANDOVER, ..Share::default() };
        for (at_ns, is_old) in [(HANDOVER - 1, true), (HANDOVER, false)] {
            let account = without_victim(at_ns);
            assert_eq!((old.has(&account), new.has(&account)), (is_old, !is_old));
            assert_eq!(old.to_hand_over(&account), []);
        }
    }

    #[test]
    fn single_set_of_probes_reports_everything() {
        let share = Share::default();
        assert!(share.has(&killed(7, 0)) && share.has(&killed(7, u64::MAX / 2)));
        assert!(share.has(&without_victim(1)));
    }
}
