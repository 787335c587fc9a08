//! Decides, as events come, which stacks in user space get names: the trigger's when the kernel has
//! chosen, a victim's when SIGKILL is delivered to it. The files that a process has mapped are gone
//! by then, so they are opened when the process is first mentioned.

use std::collections::BTreeMap;

use super::symbol_requests::{MAX_GROWING_PROCESSES, SymbolRequests};
use crate::{
    growth::ProcessFrames,
    model::events::{Body, Context, Event, Name, Part, Task, UserFrame},
    symbolize::user::{PerfMapWriter, Process, ProcessHint, ProcessRoot},
};

/// Processes that are remembered: those of a burst of kills.
const MAX_SEEN: usize = 4096;
/// Root directories that are kept open, each until its report is written.
const MAX_ROOTS: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct StackSymbolizer {
    /// The requests for names, and their answers.
    pub requests: SymbolRequests,
    /// The processes of each invocation, by sequence number and process id.
    seen: BTreeMap<(u64, i32), SeenProcess>,
}

/// Facts from the events about a process.
#[derive(Debug, Default)]
struct SeenProcess {
    started_ns: u64,
    hint: ProcessHint,
    /// Only of a trigger.
    stack: Vec<UserFrame>,
}

impl StackSymbolizer {
    /// Asks for the names that the report on this event will need.
    pub(crate) fn note(&mut self, event: &Event) {
        let seq = event.seq;
        match &event.body {
            Body::Invocation(invocation) if invocation.choice_made => {
                // The chosen process has not got its SIGKILL yet.
                if let Some(chosen) = &invocation.chosen {
                    self.remember(seq, chosen);
                }
                let process = self.remember(seq, &invocation.trigger);
                let stack = invocation.user_stack.as_deref().unwrap_or_default();
                if let Some(process) = process {
                    self.requests.ask(seq, process, None, stack);
                }
                if let Some(seen) = self.seen.get_mut(&(seq, invocation.trigger.tgid)) {
                    seen.stack = stack.to_vec();
                }
            }
            Body::Victim(victim) => {
                self.remember(seq, &victim.task);
                if let Some(seen) = self.seen.get_mut(&(seq, victim.task.tgid)) {
                    let vpid = victim.vpid.and_then(|pid| u32::try_from(pid).ok());
                    let uid = victim.task.uid;
                    seen.hint.perf_map_writer = vpid.map(|pid| PerfMapWriter { uid, pid });
                }
            }
            Body::Context(context) => self.note_context(seq, context),
            _ => {}
        }
    }

    /// Asks for the names of frames in which processes grew, the most first. The files of those
    /// that still live are opened first; those of a victim were opened before.
    pub(crate) fn ask_growing(&mut self, seq: u64, growing: &[ProcessFrames]) {
        for process in growing.iter().take(MAX_GROWING_PROCESSES) {
            self.requests.reopen_growing(process.pid);
        }
        let frames = growing.iter().map(|ProcessFrames { pid, frames }| (*pid, frames.as_slice()));
        self.requests.ask_growing(seq, frames);
    }

    /// Drops the processes of this invocation, because its reports are written.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.seen.retain(|(of, _), _| *of != seq);
    }

    /// Remembers a process that a report will be about, and opens its files.
    fn remember(&mut self, seq: u64, task: &Task) -> Option<Process> {
        let process = Process {
            pid: u32::try_from(task.tgid).ok()?,
            started_ns: task.start_boottime_ns.unwrap_or_default(),
        };
        if self.seen.len() >= MAX_SEEN {
            self.seen.clear();
        }
        let key = (seq, task.tgid);
        if self.seen.get(&key).is_none_or(|seen| seen.started_ns == 0) {
            // Here and not on the worker's thread: by then the process may have lost it.
            let root = self.has_room().then(|| ProcessRoot::of(process)).flatten();
            let seen = self.seen.entry(key).or_default();
            seen.started_ns = process.started_ns;
            seen.hint.root = root;
            self.requests.open(process);
        }
        Some(process)
    }

    fn has_room(&self) -> bool {
        self.seen.values().filter(|seen| seen.hint.root.is_some()).count() < MAX_ROOTS
    }

    fn note_context(&mut self, seq: u64, context: &Context) {
        let seen = self.seen.entry((seq, context.tgid)).or_default();
        match &context.part {
            Part::Exe(names) if !context.truncated => seen.hint.exe = path(names),
            Part::Parents(parents) => {
                let parent = parents.first().and_then(|parent| u32::try_from(parent.tgid).ok());
                seen.hint.neighbor = parent;
                // The trigger may have died before its files could be opened, so its stack is asked
                // for again. Names that are known already cost nothing.
                let Ok(pid) = u32::try_from(context.tgid) else { return };
                let process = Process { pid, started_ns: seen.started_ns };
                self.requests.ask(seq, process, Some(seen.hint.clone()), &seen.stack);
            }
            Part::UserStack(frames) => {
                let Ok(pid) = u32::try_from(context.tgid) else { return };
                let process = Process { pid, started_ns: seen.started_ns };
                self.requests.ask(seq, process, Some(seen.hint.clone()), frames);
            }
            _ => {}
        }
    }
}

fn path(names: &[Name]) -> String {
    let texts = names.iter().map(|name| String::from_utf8_lossy(&name.0));
    texts.fold(String::new(), |path, name| path + "/" + &name)
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
    fn stack_event_is_asked_for_with_the_hint_of_its_process() {
        let mut symbolizer = StackSymbolizer::default();
        let names = ["usr", "app"].map(|name| Name(name.as_bytes().to_vec())).to_vec();
        let parent = Parent { tgid: 1, comm: Name(b"init".to_vec()) };
        symbolizer.note(&event(3, 7, Part::Exe(names)));
        symbolizer.note(&event(3, 7, Part::Parents(vec![parent])));
        assert!(symbolizer.requests.newly_awaited().is_empty());
        symbolizer.note(&event(3, 7, Part::UserStack(vec![UserFrame::Ip { ip: 1 }])));
        assert_eq!(symbolizer.requests.newly_awaited(), [3].into());
        let seen = &symbolizer.seen[&(3, 7)];
        let hint =
            ProcessHint { exe: "/usr/app".to_owned(), neighbor: Some(1), ..ProcessHint::default() };
        assert_eq!(seen.hint, hint);
        symbolizer.forget(3);
        assert!(symbolizer.seen.is_empty());
    }

    #[test]
    fn growing_process_with_frames_makes_its_report_wait() {
        let mut symbolizer = StackSymbolizer::default();
        symbolizer.ask_growing(4, &[ProcessFrames { pid: 7, frames: Vec::new() }]);
        assert!(symbolizer.requests.newly_awaited().is_empty());
        symbolizer
            .ask_growing(5, &[ProcessFrames { pid: 7, frames: vec![UserFrame::Ip { ip: 1 }] }]);
        assert_eq!(symbolizer.requests.newly_awaited(), [5].into());
    }
}
