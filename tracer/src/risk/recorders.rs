//! The growth recorders that run on this host (`oomwhy watch --growth`), and what they have of a cgroup.

use std::cell::OnceCell;

use super::groups::Group;
use crate::{
    bpf::recorder_registry::{Registered, RunningRecorder, find},
    growth::{Charges, Recorder},
    host::capabilities::denial::is_denial,
    model::recorded_growth::{AllocationSite, Usage},
};

/// One that began meanwhile is found after so long; one that has ended is noticed at once. ns.
const LOOK_EVERY: u64 = 10_000_000_000;
/// Places of a cgroup that are looked at, for a few of processes that are still there.
const MOST_PLACES: usize = 32;

/// Those that are known, none of them kept open.
#[derive(Debug, Default)]
pub(super) struct Recorders {
    running: Vec<RunningRecorder>,
    /// Why one that may run is not used.
    refused: Option<String>,
    looked_ns: Option<u64>,
}

/// One of them, for one reading.
pub(super) struct Open {
    pub(super) running: RunningRecorder,
    recorder: Recorder,
    charges: OnceCell<Charges>,
}

impl Recorders {
    /// Those that run now, the newest first.
    pub(super) fn open(&mut self, at_ns: u64) -> Vec<Open> {
        let is_due = self.looked_ns.is_none_or(|last| at_ns.saturating_sub(last) >= LOOK_EVERY);
        if is_due {
            self.look(at_ns);
        }
        let open = self.open_known();
        if is_due || open.len() == self.running.len() {
            return open;
        }
        drop(open);
        self.look(at_ns);
        self.open_known()
    }

    /// Why there is none, if one may run nevertheless.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref().filter(|_| self.running.is_empty())
    }

    fn look(&mut self, at_ns: u64) {
        self.looked_ns = Some(at_ns);
        self.refused = None;
        match find() {
            Ok(Registered { running, other_build }) => {
                self.running = running;
                self.refused = other_build.then(|| {
                    "the one that runs is of another build of oomwhy, which lays its maps out \
                     differently"
                        .to_owned()
                });
            }
            Err(error) => {
                self.running.clear();
                self.refused = Some(if is_denial(&error) {
                    format!("the kernel shows BPF maps to CAP_SYS_ADMIN only: {error}")
                } else {
                    format!("the kernel does not show its BPF maps: {error}")
                });
            }
        }
    }

    fn open_known(&self) -> Vec<Open> {
        let open = |running: &RunningRecorder| {
            let recorder = Recorder::new(running.open()?);
            Some(Open { running: *running, recorder, charges: OnceCell::new() })
        };
        self.running.iter().filter_map(open).collect()
    }
}

impl Open {
    /// The points of a cgroup, oldest first; `None` where it has none, or has come so far below the
    /// share of its limit from which on it gets them that the last one may be old.
    pub(super) fn curve(&self, group: &Group) -> Option<Vec<Usage>> {
        let is_near = u128::from(group.usage_bytes) * 100
            >= u128::from(group.limit_bytes) * u128::from(self.running.above_percent);
        let curve = is_near.then(|| self.recorder.curve(group.id))?;
        (!curve.is_empty()).then_some(curve)
    }

    /// From where most was charged to it, in the last ten to twenty minutes.
    pub(super) fn places(&self, group: &Group) -> Vec<AllocationSite> {
        let charges = self.charges.get_or_init(|| self.recorder.charged());
        self.recorder.top(charges, group.id, MOST_PLACES)
    }
}
