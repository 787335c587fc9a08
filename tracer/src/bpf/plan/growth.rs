//! The growth recorder, for those who ask for it. Part of [`super`]: pure.

use super::{
    How, MissingField, Plan, Planned,
    hooks::{Hooks, Means},
};
use crate::{
    host::{offsets::Resolved, support::HostFacts},
    model::{recorded_growth::HOOK, report::Tier},
};

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
    pub(crate) fn with_growth(
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

#[cfg(test)]
mod tests {
    use super::super::{
        plan,
        tests::{forget, missing, on, programs_of},
    };
    use super::*;
    use crate::host::{files::Lockdown, fixtures, support::FUNCTIONS};

    fn recorded(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> Plan {
        plan(tier, facts, resolved).unwrap().with_growth(50, facts, resolved)
    }

    #[test]
    fn every_kernel_has_the_recorder_and_the_share_reaches_the_probe() {
        for series in fixtures::SERIES {
            let (facts, resolved) = on(series);
            let plan = recorded(Tier::Fentry, &facts, &resolved);
            assert!(programs_of(&plan).contains(&"page_counter_try_charge_ret"), "{series}");
            assert_eq!(plan.settings.growth_above_percent, 50);
            assert!(!missing(&plan).contains(&"growth"), "{series}");
        }
    }

    #[test]
    fn a_kprobe_tier_hooks_the_return_before_the_entry() {
        let (mut facts, resolved) = on("6.12");
        for name in FUNCTIONS.iter().filter(|name| facts.btf.has(name)) {
            facts.kallsyms.functions.insert(name, vec![(*name).to_owned()]);
        }
        let plan = recorded(Tier::Kprobe, &facts, &resolved);
        let programs = programs_of(&plan);
        assert_eq!(
            programs.last_chunk(),
            Some(&["kretprobe_page_counter_try_charge", "kprobe_page_counter_try_charge"])
        );
    }

    #[test]
    fn without_what_it_needs_it_is_said_to_be_missing() {
        let is_missing = |tier, facts: &HostFacts, resolved: &Resolved| {
            let plan = recorded(tier, facts, resolved);
            let is_planned = plan.programs.iter().any(|planned| planned.hook == HOOK);
            assert_ne!(is_planned, missing(&plan).contains(&"growth"));
            !is_planned
        };
        let (facts, mut resolved) = on("6.12");
        assert!(!is_missing(Tier::Fentry, &facts, &resolved));
        assert!(is_missing(Tier::Tracepoint, &facts, &resolved));
        let locked = HostFacts { lockdown: Lockdown::Confidentiality, ..facts.clone() };
        assert!(is_missing(Tier::Fentry, &locked, &resolved));
        let mut inlined = facts.clone();
        inlined.btf.functions.remove(HOOK);
        assert!(is_missing(Tier::Fentry, &inlined, &resolved));
        forget(&mut resolved, "cgroup_memory");
        assert!(is_missing(Tier::Fentry, &facts, &resolved));
    }
}
