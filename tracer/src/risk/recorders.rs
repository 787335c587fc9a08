//! The growth recorders that run on this host (`oomwhy watch --growth`), and their data of a
//! cgroup.

use std::cell::OnceCell;

use super::groups::LimitedCgroup;
use crate::{
    bpf::recorder_registry::{Registered, RunningRecorder, find},
    growth::{Charges, Recorder},
    host::capabilities::denial::is_denial,
    model::recorded_growth::{AllocationSite, Usage},
};

/// How often to look for new recorders, ns. A recorder that has exited is noticed at once.
const LOOK_EVERY: u64 = 10_000_000_000;
/// Allocation sites to read per cgroup. Some belong to processes that have exited.
const MAX_SITES: usize = 32;

/// The known recorders. Their maps are reopened on every reading, because a held map stays alive
/// after its tracer exits.
#[derive(Debug, Default)]
pub(super) struct Recorders {
    running: Vec<RunningRecorder>,
    /// Why a recorder that may be running is not used.
    refused: Option<String>,
    looked_ns: Option<u64>,
}

/// A recorder that is open for one reading.
pub(super) struct Open {
    pub(super) running: RunningRecorder,
    recorder: Recorder,
    charges: OnceCell<Charges>,
}

impl Recorders {
    /// Opens the recorders that run now, newest first.
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

    /// Why no recorder is used, although one may be running.
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
                    "the running recorder is another build of oomwhy, and its maps have another \
                     layout"
                        .to_owned()
                });
            }
            Err(error) => {
                self.running.clear();
                self.refused = Some(if is_denial(&error) {
                    format!("the kernel shows BPF maps only with CAP_SYS_ADMIN: {error}")
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
    /// The points of a cgroup, oldest first; `None` if it has none. Below `above_percent` of its
    /// limit a cgroup gets no new points, so those that it has may be old.
    pub(super) fn curve(&self, group: &LimitedCgroup) -> Option<Vec<Usage>> {
        let is_near = u128::from(group.usage_bytes) * 100
            >= u128::from(group.limit_bytes) * u128::from(self.running.above_percent);
        let curve = is_near.then(|| self.recorder.curve(group.id))?;
        (!curve.is_empty()).then_some(curve)
    }

    /// The user stacks that charged most to a cgroup in the last ten to twenty minutes.
    pub(super) fn sites(&self, group: &LimitedCgroup) -> Vec<AllocationSite> {
        let charges = self.charges.get_or_init(|| self.recorder.charged());
        self.recorder.top(charges, group.id, MAX_SITES)
    }
}
