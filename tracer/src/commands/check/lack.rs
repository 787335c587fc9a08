//! What is lacking, and what mends it. The plan is asked what it would be if a fact were another:
//! the first changed fact that brings a field back is the mend.

use serde::Serialize;

use crate::{
    bpf::plan::{Plan, plan},
    host::{files::Lockdown, offsets::Resolved, support::HostFacts},
    model::report::Tier,
};

/// Something that is not to be had.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Lack {
    /// Why not.
    pub why: String,
    /// What mends it; absent where nothing on this kernel does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Whose fault it is.
    pub lacks: Lacks,
}

/// What is lacking.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lacks {
    /// A permission or a setting: exit 77.
    Permission,
    /// Something in the kernel: exit 69.
    Kernel,
}

impl Lack {
    /// Only another kernel has it.
    pub(crate) fn kernel(why: impl Into<String>) -> Self {
        Self { why: why.into(), mend: None, lacks: Lacks::Kernel }
    }

    /// Somebody has to allow it.
    pub(crate) fn permission(why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { why: why.into(), mend: Some(mend.into()), lacks: Lacks::Permission }
    }
}

/// A host like this one, but for one permission.
pub(super) struct Otherwise {
    mend: String,
    plan: Plan,
}

/// One setting that somebody can change: what to do, and the fact as it is then.
type Change = (&'static str, fn(&mut HostFacts));

/// The settings that the plan goes by.
const CHANGES: [Change; 2] = [
    ("hold CAP_SYSLOG (root has it) and `sysctl kernel.kptr_restrict=1`", |facts| {
        facts.kallsyms.per_cpu_offset = Some(1);
        facts.kallsyms.stat_places = Some(1);
    }),
    (
        "boot without lockdown=confidentiality (integrity, the mode of Secure Boot, is enough)",
        |facts| facts.lockdown = Lockdown::None,
    ),
];

/// The plans of the hosts that this one could be; the last has everything.
pub(super) fn otherwise(facts: &HostFacts, resolved: &Resolved) -> Vec<Otherwise> {
    let changed = |changes: &[&Change]| {
        let mut facts = facts.clone();
        for (_, change) in changes {
            change(&mut facts);
        }
        let mends: Vec<&str> = changes.iter().map(|(mend, _)| *mend).collect();
        Some(Otherwise { mend: mends.join("; "), plan: plan(Tier::Fentry, &facts, resolved).ok()? })
    };
    let [addresses, lockdown] = &CHANGES;
    [&[addresses][..], &[lockdown], &[lockdown, addresses]]
        .into_iter()
        .filter_map(changed)
        .collect()
}

/// Why a field is missing: what would bring it back decides.
pub(super) fn of_field(field: &str, why: &str, others: &[Otherwise]) -> Lack {
    let has = |other: &Otherwise| !other.plan.missing.iter().any(|missing| missing.field == field);
    first(why, others, has)
}

/// Why a hook is not planned.
pub(super) fn of_hook(hook: &str, why: &str, others: &[Otherwise]) -> Lack {
    first(why, others, |other| other.plan.programs.iter().any(|planned| planned.hook == hook))
}

fn first(why: &str, others: &[Otherwise], has: impl Fn(&Otherwise) -> bool) -> Lack {
    match others.iter().find(|other| has(other)) {
        Some(other) => Lack::permission(why, &other.mend),
        None => Lack::kernel(why),
    }
}
