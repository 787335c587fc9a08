//! The growth recorder, for those who ask for it. Part of [`super`]: pure.

use super::{
    How, MissingField, Plan, Planned,
    hooks::{Hooks, Means},
};
use crate::{
    kernel::{offsets::Resolved, support::HostFacts},
    report::Tier,
};

const HOOK: &str = "page_counter_try_charge";

/// Offsets without which a memcg is not told from another, or not found.
const NEEDED: [&str; 10] = [
    "memcg_memory",
    "memcg_cgroup",
    "cgroup_memory",
    "cgroup_kn",
    "kernfs_id",
    "counter_usage",
    "counter_max",
    "counter_parent",
    "task_cgroups",
    "css_set_memory",
];

impl Plan {
    /// Adds the recorder, or why there is none. `above_percent`: from which share of a limit on.
    #[must_use]
    pub fn with_growth(
        mut self,
        above_percent: u32,
        facts: &HostFacts,
        resolved: &Resolved,
    ) -> Self {
        match self.recorder(facts, resolved) {
            Ok(programs) => {
                self.programs.extend(programs);
                self.settings.growth_above_percent = above_percent;
            }
            Err(why) => self.missing.push(MissingField { field: "growth".to_owned(), why }),
        }
        self
    }

    fn recorder(&self, facts: &HostFacts, resolved: &Resolved) -> Result<Vec<Planned>, String> {
        if !matches!(self.tier, Tier::Fentry | Tier::Kprobe) {
            return Err(format!("it is recorded at {HOOK}, which takes fentry or kprobe"));
        }
        if self.settings.probe_read == 0 {
            return Err(
                "lockdown=confidentiality: which cgroup is charged cannot be read".to_owned()
            );
        }
        if let Some(field) = NEEDED.iter().find(|field| !resolved.has(field)) {
            return Err(format!("{field} is not where the kernel's BTF should have it"));
        }
        let hooks = Hooks::of(self.tier, facts);
        let planned = |program, how| Planned { program, hook: HOOK, how };
        match hooks.means(HOOK) {
            Some(Means::Trampoline) => Ok(vec![planned("page_counter_try_charge_ret", How::Fexit)]),
            // The return first: an entry without one would fill a map.
            Some(Means::Kprobe) => Ok(vec![
                planned("kretprobe_page_counter_try_charge", How::Kretprobe),
                planned("kprobe_page_counter_try_charge", How::Kprobe),
            ]),
            _ => Err(hooks.why_not(HOOK).to_owned()),
        }
    }
}
