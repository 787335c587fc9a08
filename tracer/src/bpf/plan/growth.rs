//! The growth recorder (`--growth`). Part of [`super`]: pure.

use super::{MissingField, Plan, Planned, attach_methods::AttachableHooks, programs};
use crate::{
    host::{facts::HostFacts, offsets::Resolved},
    model::{hook::Hook, report::Tier},
};

const HOOK: Hook = Hook::PageCounterTryCharge;

/// Offsets that the recorder needs to find the memcg that is charged.
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
    /// Adds the recorder, or the reason why there is none. It records cgroups whose usage is above
    /// `above_percent` of their limit.
    #[must_use]
    pub(crate) fn with_growth(
        mut self,
        above_percent: u32,
        facts: &HostFacts,
        resolved: &Resolved,
    ) -> Self {
        match self.recorder(facts, resolved) {
            Ok(recorder) => {
                self.programs.extend(recorder);
                self.settings.growth_above_percent = above_percent;
            }
            Err(why) => {
                let missing =
                    |field: &&str| MissingField { field: (*field).to_owned(), why: why.clone() };
                self.missing.extend(HOOK.spec().lost_without.iter().map(missing));
            }
        }
        self
    }

    fn recorder(&self, facts: &HostFacts, resolved: &Resolved) -> Result<Vec<Planned>, String> {
        if !matches!(self.tier, Tier::Fentry | Tier::Kprobe) {
            return Err(format!("it is recorded at {}, which takes fentry or kprobe", HOOK.key()));
        }
        if self.settings.probe_read == 0 {
            return Err(
                "lockdown=confidentiality: which cgroup is charged cannot be read".to_owned()
            );
        }
        if let Some(field) = NEEDED.iter().find(|field| !resolved.has(field)) {
            return Err(format!("{field} is not where the kernel's BTF should have it"));
        }
        let hooks = AttachableHooks::of(self.tier, facts);
        if !hooks.has(HOOK) {
            return Err(hooks.why_not(HOOK).to_owned());
        }
        Ok(programs::of_hook(&hooks, HOOK, facts.btf.mark_victim).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        plan,
        tests::{forget, missing, on, programs_of, show_symbols},
    };
    use super::*;
    use crate::host::{files::Lockdown, fixtures};

    fn recorded(tier: Tier, facts: &HostFacts, resolved: &Resolved) -> Plan {
        plan(tier, facts, resolved).unwrap().with_growth(50, facts, resolved)
    }

    #[test]
    fn recorder_is_planned_on_every_kernel_with_its_share() {
        for series in fixtures::SERIES {
            let (facts, resolved) = on(series);
            let plan = recorded(Tier::Fentry, &facts, &resolved);
            assert!(programs_of(&plan).contains(&"page_counter_try_charge_ret"), "{series}");
            assert_eq!(plan.settings.growth_above_percent, 50);
            assert!(!missing(&plan).contains(&"growth"), "{series}");
        }
    }

    #[test]
    fn kprobe_tier_attaches_return_before_entry() {
        let (mut facts, resolved) = on("6.12");
        show_symbols(&mut facts);
        let plan = recorded(Tier::Kprobe, &facts, &resolved);
        let programs = programs_of(&plan);
        assert_eq!(
            programs.last_chunk(),
            Some(&["kretprobe_page_counter_try_charge", "kprobe_page_counter_try_charge"])
        );
    }

    #[test]
    fn recorder_without_its_needs_is_missing_with_a_reason() {
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
        inlined.btf.functions.remove(&HOOK);
        assert!(is_missing(Tier::Fentry, &inlined, &resolved));
        forget(&mut resolved, "cgroup_memory");
        assert!(is_missing(Tier::Fentry, &facts, &resolved));
    }
}
