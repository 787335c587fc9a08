//! The input of the rules: a report, the domain that ran out of memory, and the values that several
//! rules derive from them.

use super::{domain::Domain, limit::LIMIT_SETTERS};
use crate::{
    compose::{badness::adj_unit, names},
    fmt::units,
    model::report::{Candidate, Constraint, Frame, LimitLevel, OomReport, Outcome, Reason, Tier},
};

pub(super) struct VerdictInput<'a> {
    pub(super) report: &'a OomReport,
    pub(super) domain: Domain,
}

/// A process and the memory that its end would free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) pid: i32,
    /// Anonymous memory, in RAM and in swap.
    pub(super) anon_bytes: u64,
    pub(super) swap_bytes: u64,
}

impl Holder {
    pub(super) fn bytes(&self) -> u64 {
        self.anon_bytes.saturating_add(self.swap_bytes)
    }
}

impl<'a> VerdictInput<'a> {
    pub(super) fn new(report: &'a OomReport) -> Self {
        Self { report, domain: Domain::of(report) }
    }

    pub(super) fn killed(&self) -> bool {
        self.report.outcome == Outcome::Killed
    }

    /// Whether the host, or some of its nodes, ran out of memory; `false` if that is not known.
    pub(super) fn is_global(&self) -> bool {
        self.report.oom_memcg.is_none()
            && self.report.constraint.is_some_and(|constraint| constraint != Constraint::Memcg)
    }

    /// Whether a process was killed for a shortage of memory, and not by sysrq.
    pub(super) fn is_shortage(&self) -> bool {
        self.killed() && self.report.reason != Some(Reason::Sysrq)
    }

    pub(super) fn trigger(&self) -> String {
        self.report.trigger.as_ref().map_or_else(|| "a task".to_owned(), names::trigger)
    }

    pub(super) fn times(&self) -> String {
        match self.report.repeats {
            Some(repeats @ 2..) => format!(", {repeats} times"),
            _ => String::new(),
        }
    }

    pub(super) fn eligible(&self) -> impl Iterator<Item = &'a Candidate> + use<'a> {
        self.candidates().filter(|task| task.eligible && task.points.is_some())
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = &'a Candidate> + use<'a> {
        self.report.candidates.iter().flat_map(|candidates| &candidates.list)
    }

    pub(super) fn chosen(&self) -> Option<&'a Candidate> {
        self.candidates().find(|task| task.chosen)
    }

    /// Whether the list has all tasks that the kernel evaluated.
    pub(super) fn all_are_listed(&self) -> bool {
        self.report
            .candidates
            .as_ref()
            .is_some_and(|candidates| candidates.recorded >= candidates.considered)
    }

    /// The chosen victim, else the first one.
    pub(super) fn victim(&self) -> Option<String> {
        let victims = &self.report.victims;
        let victim = victims.iter().find(|victim| victim.chosen).or(victims.first());
        victim.map(names::victim).or_else(|| self.chosen().map(names::candidate))
    }

    /// Processes and their own memory, the largest first.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let page = self.report.page_size.unwrap_or_default();
        let bytes = |pages: Option<i64>| {
            pages
                .and_then(|pages| u64::try_from(pages).ok())
                .map(|pages| pages.saturating_mul(page))
        };
        let mut holders: Vec<Holder> = self
            .candidates()
            .filter_map(|task| {
                Some(Holder {
                    name: names::candidate(task),
                    pid: task.pid,
                    anon_bytes: bytes(task.anon_pages)?,
                    swap_bytes: bytes(task.swap_pages)?,
                })
            })
            .collect();
        if holders.is_empty() {
            let own = self.report.victims.iter().filter(|victim| victim.shares_mm_with.is_none());
            holders.extend(own.filter_map(|victim| {
                Some(Holder {
                    name: names::victim(victim),
                    pid: victim.pid,
                    anon_bytes: victim.anon_rss_bytes?,
                    swap_bytes: victim.swap_bytes.unwrap_or_default(),
                })
            }));
        }
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes()));
        holders
    }

    /// "1200 points (4.7 MiB)"
    pub(super) fn points(&self, points: i64) -> String {
        let size = self.report.page_size.map(|page| points.unsigned_abs().saturating_mul(page));
        match size {
            Some(size) => format!("{points} points ({})", units::bytes(size)),
            None => format!("{points} points"),
        }
    }

    /// Points of one unit of oom_score_adj.
    pub(super) fn weight(&self) -> Option<i64> {
        adj_unit(self.report.totalpages?).filter(|weight| *weight > 0)
    }

    /// Size of the failed allocation.
    pub(super) fn request_bytes(&self) -> Option<u64> {
        let order = u32::try_from(self.report.trigger.as_ref()?.order?).ok()?;
        1_u64.checked_shl(order)?.checked_mul(self.report.page_size?)
    }

    pub(super) fn request(&self) -> Option<String> {
        // A task that sets a limit asks for no memory.
        if self.was_in(&LIMIT_SETTERS) {
            return None;
        }
        let order = self.report.trigger.as_ref()?.order?;
        let size = units::bytes(self.request_bytes()?);
        Some(format!("{} asked for {size} (order {order})", self.trigger()))
    }

    /// Whether the trigger was in one of these functions.
    pub(super) fn was_in(&self, functions: &[&str]) -> bool {
        let frames = self.report.trigger.iter().filter_map(|it| it.kernel_stack.as_ref()).flatten();
        frames.filter_map(|frame: &Frame| frame.symbol.as_deref()).any(|it| functions.contains(&it))
    }

    /// Levels below the one that was hit, leaf first; for a global OOM all of them.
    pub(super) fn levels_below(&self) -> &'a [LimitLevel] {
        let chain = self.report.limit_chain.as_deref().unwrap_or_default();
        match chain.iter().position(|level| level.hit) {
            Some(hit) => chain.get(..hit).unwrap_or_default(),
            None if self.report.oom_memcg.is_none() => chain,
            None => &[],
        }
    }

    /// Whether the host's figures show the shortage.
    pub(super) fn figures_are_of_the_moment(&self) -> bool {
        figures_are_of_the_moment(self.report)
    }
}

/// Whether the host's figures were read before any victim freed memory: later figures do not show
/// the shortage. `false` if that is not known.
pub(crate) fn figures_are_of_the_moment(report: &OomReport) -> bool {
    // The kernel prints its own before it kills.
    if report.source.tier == Tier::Kmsg {
        return report.system.is_some();
    }
    let age = report.system.as_ref().and_then(|system| system.age_ns);
    let read_ns = age.zip(report.boottime_ns).map(|(age, start)| start.saturating_add(age));
    let mut back = report.victims.iter().map(|victim| {
        let marked = victim.marked_at_ns?;
        let reaped = victim.reaped.as_ref().and_then(|reaped| reaped.started_after_ns);
        let events = [reaped, victim.exited_after_ns, victim.freed_after_ns];
        Some(marked.saturating_add(events.into_iter().flatten().min()?))
    });
    !report.victims.is_empty()
        && read_ns.is_some_and(|read| back.all(|back| back.is_some_and(|back| read < back)))
}
