//! Decides, as events come, which stacks in user space get names: the trigger's when the kernel has
//! chosen, a victim's when SIGKILL is delivered to it. The files that a process has mapped are gone
//! by then, so they are opened when the process is first mentioned.

use super::{
    process_roots::ProcessRoots,
    symbol_requests::{MAX_GROWING_PROCESSES, SymbolRequests},
    tenants::{TaskCgroup, Tenants},
};
use crate::{
    growth::ProcessFrames,
    model::{
        events::{Body, Context, Event, Name, Part, Task, UserFrame},
        lru::{ByteSize, Lru},
        names::{MAX_PATH_BYTES, cut},
    },
    symbolize::user::{PerfMapWriter, Process, ProcessHint},
};

/// Processes that are remembered: those of a burst of kills.
const MAX_SEEN: usize = 4096;
/// Bytes of what is remembered of them.
const MAX_SEEN_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct StackSymbolizer {
    /// The requests for names, and their answers.
    pub requests: SymbolRequests,
    /// The processes of each invocation, by sequence number and process id.
    seen: Lru<(u64, i32), SeenProcess>,
    roots: ProcessRoots,
}

/// Facts from the events about a process.
#[derive(Debug, Default)]
struct SeenProcess {
    started_ns: u64,
    cgroup_id: Option<u64>,
    hint: ProcessHint,
    /// Frames that were asked for before, and are asked for again with the hint.
    stack: Vec<UserFrame>,
}

impl ByteSize for SeenProcess {
    fn byte_size(&self) -> usize {
        size_of::<Self>() + self.hint.exe.len() + self.stack.byte_size()
    }
}

impl StackSymbolizer {
    /// No thread runs yet.
    pub(crate) fn new(tenants: &Tenants) -> Self {
        let roots = ProcessRoots::new(tenants.clone());
        let requests = SymbolRequests::new(tenants.clone(), roots.opened().clone());
        Self { requests, seen: Lru::new(MAX_SEEN, MAX_SEEN_BYTES), roots }
    }

    /// Asks for the names that the report on this event will need.
    pub(crate) fn note(&mut self, event: &Event) {
        let seq = event.seq;
        match &event.body {
            Body::Invocation(invocation) if invocation.choice_made => {
                // The chosen process has not got its SIGKILL yet.
                if let Some(chosen) = &invocation.chosen {
                    self.remember(seq, chosen);
                }
                let stack = invocation.user_stack.as_deref().unwrap_or_default();
                if let Some(process) = self.remember(seq, &invocation.trigger) {
                    let cgroup_id = invocation.trigger.cgroup_id;
                    self.requests.ask(seq, process, cgroup_id, None, stack);
                    let key = (seq, invocation.trigger.tgid);
                    self.seen.change(key, |seen| seen.stack = stack.to_vec());
                }
            }
            Body::Victim(victim) if self.remember(seq, &victim.task).is_some() => {
                let vpid = victim.vpid.and_then(|pid| u32::try_from(pid).ok());
                let uid = victim.task.uid;
                self.seen.change((seq, victim.task.tgid), |seen| {
                    seen.hint.perf_map_writer = vpid.map(|pid| PerfMapWriter { uid, pid });
                });
            }
            Body::Context(context) => self.note_context(seq, context),
            _ => {}
        }
    }

    /// Asks for the names of frames in which processes grew in this memcg, the most first. The
    /// files of those that still live are opened first; those of a victim were opened before.
    pub(crate) fn ask_growing(&mut self, seq: u64, memcg_id: u64, growing: &[ProcessFrames]) {
        for process in growing.iter().take(MAX_GROWING_PROCESSES) {
            self.requests.reopen_growing(process.pid);
            self.ask_again_later((seq, process.pid), &process.frames);
        }
        let frames = growing.iter().map(|ProcessFrames { pid, frames }| (*pid, frames.as_slice()));
        self.requests.ask_growing(seq, memcg_id, frames);
    }

    /// Notes frames of a trigger or victim: they are asked for again once it is known where its
    /// files are. A process that dies at once may be gone before its files were opened.
    fn ask_again_later(&mut self, (seq, pid): (u64, u32), frames: &[UserFrame]) {
        let Ok(tgid) = i32::try_from(pid) else { return };
        let key = (seq, tgid);
        if self.seen.get(&key).is_some() {
            self.seen.change(key, |seen| seen.stack.extend_from_slice(frames));
        }
    }

    /// Drops the processes of this invocation, because its reports are written.
    pub(crate) fn forget(&mut self, seq: u64) {
        self.seen.remove_range((seq, i32::MIN)..=(seq, i32::MAX));
        self.roots.close(seq);
        self.requests.forget(seq);
    }

    /// Number of results that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.seen.n_evicted() + self.requests.n_evicted()
    }

    /// Remembers a process that a report will be about, and opens its files.
    fn remember(&mut self, seq: u64, task: &Task) -> Option<Process> {
        let process = Process {
            pid: u32::try_from(task.tgid).ok()?,
            started_ns: task.start_boottime_ns.unwrap_or_default(),
        };
        let key = (seq, task.tgid);
        if self.seen.get(&key).is_none_or(|seen| seen.started_ns == 0) {
            self.roots.open(seq, process, TaskCgroup::of(task));
            self.seen.change(key, |seen| {
                (seen.started_ns, seen.cgroup_id) = (process.started_ns, task.cgroup_id);
            });
            self.requests.open(process, task.cgroup_id);
        }
        Some(process)
    }

    fn note_context(&mut self, seq: u64, context: &Context) {
        let key = (seq, context.tgid);
        match &context.part {
            Part::Exe(names) if !context.truncated => {
                self.seen.change(key, |seen| seen.hint.exe = path(names));
            }
            Part::Parents(parents) => {
                let parent = parents.first().and_then(|parent| u32::try_from(parent.tgid).ok());
                self.seen.change(key, |seen| seen.hint.neighbor = parent);
                // The trigger may have died before its files could be opened, so its stack is asked
                // for again. Names that are known already cost nothing.
                let stack = self.seen.get(&key).map(|seen| seen.stack.clone());
                self.ask(key, &stack.unwrap_or_default());
            }
            Part::UserStack(frames) => self.ask(key, frames),
            _ => {}
        }
    }

    /// Asks for the names of a stack, with what is known about its process by now.
    fn ask(&mut self, key: (u64, i32), frames: &[UserFrame]) {
        let (seq, tgid) = key;
        let Ok(pid) = u32::try_from(tgid) else { return };
        let (started_ns, cgroup_id, hint) = match self.seen.get(&key) {
            Some(seen) => (seen.started_ns, seen.cgroup_id, seen.hint.clone()),
            None => Default::default(),
        };
        self.requests.ask(seq, Process { pid, started_ns }, cgroup_id, Some(hint), frames);
    }
}

fn path(names: &[Name]) -> String {
    let texts = names.iter().map(|name| String::from_utf8_lossy(&name.0));
    let path = texts.fold(String::new(), |path, name| path + "/" + &name);
    cut(&path, MAX_PATH_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{events::Parent, shed::Shed};

    fn event(seq: u64, tgid: i32, part: Part) -> Event {
        let context = Context { tgid, tid: tgid, truncated: false, part };
        Event { boottime_ns: 1, cpu: 0, seq, shed: Shed::default(), body: Body::Context(context) }
    }

    #[test]
    fn stack_event_is_asked_for_with_the_hint_of_its_process() {
        let mut symbolizer = StackSymbolizer::new(&Tenants::default());
        let names = ["usr", "app"].map(|name| Name(name.as_bytes().to_vec())).to_vec();
        let parent = Parent { tgid: 1, comm: Name(b"init".to_vec()) };
        symbolizer.note(&event(3, 7, Part::Exe(names)));
        symbolizer.note(&event(3, 7, Part::Parents(vec![parent])));
        assert!(symbolizer.requests.newly_awaited().is_empty());
        symbolizer.note(&event(3, 7, Part::UserStack(vec![UserFrame::Ip { ip: 1 }])));
        assert_eq!(symbolizer.requests.newly_awaited(), [3].into());
        let seen = symbolizer.seen.get(&(3, 7)).unwrap();
        let hint =
            ProcessHint { exe: "/usr/app".to_owned(), neighbor: Some(1), ..ProcessHint::default() };
        assert_eq!(seen.hint, hint);
        symbolizer.forget(3);
        assert!(symbolizer.seen.is_empty());
    }

    #[test]
    fn frames_in_which_a_victim_grew_are_asked_for_again_with_its_hint() {
        let mut symbolizer = StackSymbolizer::new(&Tenants::default());
        let frames = vec![UserFrame::Ip { ip: 1 }];
        let exe = [Name(b"app".to_vec())].to_vec();
        symbolizer.note(&event(6, 7, Part::Exe(exe)));
        let growing = [7, 8].map(|pid| ProcessFrames { pid, frames: frames.clone() });
        symbolizer.ask_growing(6, 1, &growing);
        assert_eq!(symbolizer.seen.get(&(6, 7)).unwrap().stack, frames);
        // Nothing is known about the other one.
        assert!(symbolizer.seen.get(&(6, 8)).is_none());
    }

    #[test]
    fn growing_process_with_frames_makes_its_report_wait() {
        let mut symbolizer = StackSymbolizer::new(&Tenants::default());
        symbolizer.ask_growing(4, 1, &[ProcessFrames { pid: 7, frames: Vec::new() }]);
        assert!(symbolizer.requests.newly_awaited().is_empty());
        symbolizer.ask_growing(
            5,
            1,
            &[ProcessFrames { pid: 7, frames: vec![UserFrame::Ip { ip: 1 }] }],
        );
        assert_eq!(symbolizer.requests.newly_awaited(), [5].into());
    }
}
