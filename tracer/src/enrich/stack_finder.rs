//! Which stacks in user space get names, as events come: the trigger's when the choice is made, a
//! victim's when it meets its SIGKILL. What it has mapped is gone then, so it was opened before.

use std::collections::BTreeMap;

use super::stacks::{MOST_GROWERS, Stacks};
use crate::{
    growth::Grower,
    model::events::{Body, Context, Event, Name, Part, Task, UserFrame},
    symbolize::user::{Hint, Process, Root, Writer},
};

/// Processes that are remembered: those of a storm.
const MOST_SEEN: usize = 4096;
/// Root directories that are kept open, each until its report is told.
const MOST_ROOTS: usize = 64;

/// Asks for the names of stacks.
#[derive(Debug, Default)]
pub(crate) struct StackFinder {
    /// The thread that finds them.
    pub stacks: Stacks,
    /// By invocation and process.
    seen: BTreeMap<(u64, i32), Seen>,
}

/// What events said of a process.
#[derive(Debug, Default)]
struct Seen {
    started_ns: u64,
    hint: Hint,
    /// Of the trigger.
    stack: Vec<UserFrame>,
}

impl StackFinder {
    /// An event came in.
    pub(crate) fn note(&mut self, event: &Event) {
        let seq = event.seq;
        match &event.body {
            Body::Invocation(invocation) if invocation.choice_made => {
                // It is going to die, and has not been shot yet.
                if let Some(chosen) = &invocation.chosen {
                    self.meet(seq, chosen);
                }
                let process = self.meet(seq, &invocation.trigger);
                let stack = invocation.user_stack.as_deref().unwrap_or_default();
                if let Some(process) = process {
                    self.stacks.ask(seq, process, None, stack);
                }
                if let Some(seen) = self.seen.get_mut(&(seq, invocation.trigger.tgid)) {
                    seen.stack = stack.to_vec();
                }
            }
            Body::Victim(victim) => {
                self.meet(seq, &victim.task);
                if let Some(seen) = self.seen.get_mut(&(seq, victim.task.tgid)) {
                    let pid = victim.vpid.and_then(|pid| u32::try_from(pid).ok());
                    seen.hint.writer = pid.map(|pid| Writer { uid: victim.task.uid, pid });
                }
            }
            Body::Context(context) => self.context(seq, context),
            _ => {}
        }
    }

    /// These have grown, the most first: who still lives is opened first, who dies was before.
    pub(crate) fn grown(&mut self, seq: u64, growers: &[Grower]) {
        for grower in growers.iter().take(MOST_GROWERS) {
            self.stacks.has_grown(grower.pid);
        }
        let growers = growers.iter().map(|Grower { pid, frames }| (*pid, frames.as_slice()));
        self.stacks.ask_grown(seq, growers);
    }

    /// The reports of this invocation are told.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.seen.retain(|(of, _), _| *of != seq);
    }

    /// A process that a report will be about.
    fn meet(&mut self, seq: u64, task: &Task) -> Option<Process> {
        let process = Process {
            pid: u32::try_from(task.tgid).ok()?,
            started_ns: task.start_boottime_ns.unwrap_or_default(),
        };
        if self.seen.len() >= MOST_SEEN {
            self.seen.clear();
        }
        let key = (seq, task.tgid);
        if self.seen.get(&key).is_none_or(|seen| seen.started_ns == 0) {
            // Here, not where files are opened: by then it may have lost it.
            let root = self.has_room().then(|| Root::of(process)).flatten();
            let seen = self.seen.entry(key).or_default();
            seen.started_ns = process.started_ns;
            seen.hint.root = root;
            self.stacks.open(process);
        }
        Some(process)
    }

    fn has_room(&self) -> bool {
        self.seen.values().filter(|seen| seen.hint.root.is_some()).count() < MOST_ROOTS
    }

    fn context(&mut self, seq: u64, context: &Context) {
        let seen = self.seen.entry((seq, context.tgid)).or_default();
        match &context.part {
            Part::Exe(names) if !context.truncated => seen.hint.exe = path(names),
            Part::Parents(parents) => {
                let parent = parents.first().and_then(|parent| u32::try_from(parent.tgid).ok());
                seen.hint.neighbor = parent;
                // The trigger, who may have died before its files could be opened, and is asked for
                // once more: what is known already costs nothing.
                let Ok(pid) = u32::try_from(context.tgid) else { return };
                let process = Process { pid, started_ns: seen.started_ns };
                self.stacks.ask(seq, process, Some(seen.hint.clone()), &seen.stack);
            }
            Part::UserStack(frames) => {
                let Ok(pid) = u32::try_from(context.tgid) else { return };
                let process = Process { pid, started_ns: seen.started_ns };
                self.stacks.ask(seq, process, Some(seen.hint.clone()), frames);
            }
            _ => {}
        }
    }
}

fn path(names: &[Name]) -> String {
    let names = names.iter().map(|name| String::from_utf8_lossy(&name.0));
    names.fold(String::new(), |path, name| path + "/" + &name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::events::Parent;

    fn event(seq: u64, tgid: i32, part: Part) -> Event {
        let context = Context { tgid, tid: tgid, truncated: false, part };
        Event { boottime_ns: 1, cpu: 0, seq, body: Body::Context(context) }
    }

    #[test]
    fn a_stack_is_asked_for_with_what_is_known_of_its_process() {
        let mut finder = StackFinder::default();
        let names = ["usr", "app"].map(|name| Name(name.as_bytes().to_vec())).to_vec();
        let parent = Parent { tgid: 1, comm: Name(b"init".to_vec()) };
        finder.note(&event(3, 7, Part::Exe(names)));
        finder.note(&event(3, 7, Part::Parents(vec![parent])));
        assert!(finder.stacks.new_seqs().is_empty());
        finder.note(&event(3, 7, Part::UserStack(vec![UserFrame::Ip { ip: 1 }])));
        assert_eq!(finder.stacks.new_seqs(), [3].into());
        let seen = &finder.seen[&(3, 7)];
        let hint = Hint { exe: "/usr/app".to_owned(), neighbor: Some(1), ..Hint::default() };
        assert_eq!(seen.hint, hint);
        finder.forget(3);
        assert!(finder.seen.is_empty());
    }

    #[test]
    fn a_report_waits_for_the_names_of_what_grew() {
        let mut finder = StackFinder::default();
        finder.grown(4, &[Grower { pid: 7, frames: Vec::new() }]);
        assert!(finder.stacks.new_seqs().is_empty());
        finder.grown(5, &[Grower { pid: 7, frames: vec![UserFrame::Ip { ip: 1 }] }]);
        assert_eq!(finder.stacks.new_seqs(), [5].into());
    }
}
