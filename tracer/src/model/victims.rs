//! The victims of one invocation, which may be tens of thousands, found by process, thread and
//! memory.

use std::{collections::BTreeMap, ops::Deref, slice};

use super::events::{Victim, VictimGone};

/// The marked tasks in order, one per process, each with its time (`CLOCK_BOOTTIME` ns).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Victims {
    list: Vec<(u64, Victim)>,
    /// Positions in the list, by process id.
    by_tgid: BTreeMap<i32, usize>,
    by_tid: BTreeMap<i32, usize>,
    /// Several processes may share their memory.
    by_mm: BTreeMap<u64, Vec<usize>>,
}

impl Victims {
    /// Adds a victim with its time, `CLOCK_BOOTTIME` ns.
    pub(crate) fn push(&mut self, victim: (u64, Victim)) {
        self.index(self.list.len(), Keys::of(&victim.1));
        self.list.push(victim);
    }

    /// The position of a process.
    pub(crate) fn position(&self, tgid: i32) -> Option<usize> {
        self.by_tgid.get(&tgid).copied()
    }

    /// Replaces the facts about a victim, which keeps its process and its time.
    pub(crate) fn replace(&mut self, position: usize, victim: Victim) {
        let Some((_, known)) = self.list.get_mut(position) else { return };
        let (old, new) = (Keys::of(known), Keys::of(&victim));
        *known = victim;
        self.by_tid.remove(&old.tid);
        if let Some(sharers) = old.mm.and_then(|mm| self.by_mm.get_mut(&mm)) {
            sharers.retain(|other| *other != position);
        }
        self.index(position, new);
    }

    /// Sorts them by time.
    pub(crate) fn sort(&mut self) {
        let mut list = std::mem::take(&mut self.list);
        list.sort_by_key(|(at_ns, _)| *at_ns);
        *self = Self::from(list);
    }

    /// The process ids of the victims that a step in the end of a process or of its memory is
    /// about.
    pub(crate) fn of_step(&self, gone: &VictimGone) -> Vec<i32> {
        let at = |position: &usize| self.list.get(*position).map(|(_, victim)| victim);
        let process = |tgid: i32| self.by_tgid.get(&tgid).and_then(at);
        let (sharers, one) = match (gone.mm, gone.tgid) {
            // Processes that share the memory get it back at once.
            (Some(mm), tgid) => {
                let sharers = self.by_mm.get(&mm).map(Vec::as_slice).unwrap_or_default();
                (sharers, tgid.and_then(process).filter(|victim| victim.is_compact))
            }
            (None, Some(tgid)) => (&[][..], process(tgid)),
            // The reaper is given the thread that was marked.
            (None, None) => {
                let marked = self.by_tid.get(&gone.tid).and_then(at);
                (&[][..], marked.filter(|victim| !victim.shares_mm))
            }
        };
        sharers.iter().filter_map(at).chain(one).map(|victim| victim.task.tgid).collect()
    }

    fn index(&mut self, position: usize, keys: Keys) {
        let Keys { tgid, tid, mm } = keys;
        self.by_tgid.entry(tgid).or_insert(position);
        self.by_tid.entry(tid).or_insert(position);
        if let Some(mm) = mm {
            self.by_mm.entry(mm).or_default().push(position);
        }
    }
}

/// The keys by which a victim is found.
#[derive(Clone, Copy)]
struct Keys {
    tgid: i32,
    tid: i32,
    mm: Option<u64>,
}

impl Keys {
    fn of(victim: &Victim) -> Self {
        Self { tgid: victim.task.tgid, tid: victim.task.tid, mm: victim.mm }
    }
}

impl From<Vec<(u64, Victim)>> for Victims {
    fn from(list: Vec<(u64, Victim)>) -> Self {
        let mut victims = Self::default();
        for victim in list {
            victims.push(victim);
        }
        victims
    }
}

impl Deref for Victims {
    type Target = [(u64, Victim)];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl<'a> IntoIterator for &'a Victims {
    type Item = &'a (u64, Victim);
    type IntoIter = slice::Iter<'a, (u64, Victim)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

#[cfg(test)]
impl Victims {
    /// Changes a victim of a test.
    pub(crate) fn change(&mut self, position: usize, change: impl FnOnce(&mut (u64, Victim))) {
        let mut list = std::mem::take(&mut self.list);
        change(&mut list[position]);
        *self = Self::from(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::events::{
        VictimGoneStep,
        samples::{task, victim},
    };

    fn step(mm: Option<u64>, tgid: Option<i32>, tid: i32) -> VictimGone {
        VictimGone { step: VictimGoneStep::Freed, tgid, tid, mm, counts: None }
    }

    #[test]
    fn step_is_about_a_process_or_about_all_that_share_its_memory() {
        let of = |tgid, mm, shares_mm| Victim { mm, shares_mm, ..victim(task(tgid)) };
        let compact = Victim { is_compact: true, ..of(9, None, false) };
        let list = [of(7, Some(1), false), of(8, Some(1), true), compact];
        let mut victims = Victims::from(Vec::from(list.map(|victim| (0, victim))));
        let pids = |victims: &Victims, mm, tgid, tid| victims.of_step(&step(mm, tgid, tid));
        assert_eq!(pids(&victims, Some(1), Some(7), 7), [7, 8]);
        assert_eq!(pids(&victims, Some(2), Some(9), 9), [9], "its memory is not known");
        assert_eq!(pids(&victims, Some(2), Some(7), 7), [0; 0], "another memory");
        assert_eq!(pids(&victims, None, Some(8), 8), [8]);
        assert_eq!(pids(&victims, None, None, 7), [7]);
        assert_eq!(pids(&victims, None, None, 8), [0; 0], "it was not marked");
        victims.replace(0, of(7, Some(2), false));
        assert_eq!(pids(&victims, Some(1), None, 0), [8]);
        assert_eq!(pids(&victims, Some(2), None, 0), [7]);
        assert_eq!((victims.position(9), victims.position(1)), (Some(2), None));
    }
}
