//! One line per group of report fields: whether it is complete, or which fields are missing and
//! why.

use serde::Serialize;

use super::{
    trial::Trial,
    unavailable::{self, Unavailable},
};
use crate::{
    host::{facts::HostFacts, files::Privileges},
    model::report::Tier,
};

pub(super) const CGROUPS: &str = "cgroups";

/// Fields that are available together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FieldGroup {
    pub name: &'static str,
    /// The question that it belongs to: W, L, Y or G (see [`super::Question`]).
    pub question: char,
    pub about: &'static str,
    /// The tier that has it; absent if no tier has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<UnavailableField>,
}

/// A field that no report will have.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UnavailableField {
    pub field: String,
    #[serde(flatten)]
    pub reason: Unavailable,
}

impl FieldGroup {
    pub(crate) fn is_complete(&self) -> bool {
        self.tier.is_some() && self.missing.is_empty()
    }
}

/// The name of a group, its question, its description, and prefixes of its fields. The longest
/// prefix decides.
type GroupRow = (&'static str, char, &'static str, &'static [&'static str]);

const GROUPS: &[GroupRow] = &[
    ("victims", 'W', "the killed processes and their memory", &["victims"]),
    ("trigger", 'W', "the task whose allocation led to the kill", &["trigger"]),
    (
        CGROUPS,
        'W',
        "ids and paths of the cgroups",
        &["trigger.cgroup", "victims.cgroup", "oom_memcg.id", "oom_memcg.path"],
    ),
    ("kernel stack", 'W', "the kernel functions that led to the kill", &["trigger.kernel_stack"]),
    ("gaps", 'W', "a warning if oomwhy missed a kill", &["gap"]),
    (
        "limit",
        'L',
        "the limit that was hit, and all limits up to the root",
        &["oom_memcg", "limit_chain"],
    ),
    (
        "decision",
        'Y',
        "the constraint, its memory in pages, the outcome",
        &["outcome", "reason", "constraint", "totalpages", "message", "nodemask", "mems_allowed"],
    ),
    ("candidates", 'Y', "each task that the kernel evaluated, with its points", &["candidates"]),
    ("choice", 'Y', "the process that the kernel chose", &["victims.chosen", "victims.points"]),
    ("memory.stat", 'G', "the kinds of memory in the cgroup", &["oom_memcg.stat"]),
    ("host memory", 'G', "zones and nodes, if the whole host ran out of memory", &["system"]),
    (
        "freed memory",
        'G',
        "when each victim exited and its memory was free",
        &[
            "victims.marked_at_ns",
            "victims.exited_after_ns",
            "victims.freed_after_ns",
            "victims.reaped",
            "victims.shares_mm_with",
        ],
    ),
];

pub(super) fn all(facts: &HostFacts, trial: &Trial) -> Vec<FieldGroup> {
    let mut groups: Vec<FieldGroup> = GROUPS
        .iter()
        .map(|&(name, question, about, fields)| {
            let missing = missing_of(name, trial);
            let is_lost = |field: &&str| missing.iter().any(|missing| missing.field == *field);
            let tier = trial.tier.filter(|_| !fields.iter().all(is_lost));
            FieldGroup { name, question, about, tier, missing }
        })
        .collect();
    if let Some(group) = groups.iter_mut().find(|group| group.name == "victims") {
        group.missing.extend(executables_of_others(facts, trial));
    }
    groups
}

fn missing_of(group: &str, trial: &Trial) -> Vec<UnavailableField> {
    let of_group = trial.missing.iter().filter(|missing| group_of(&missing.field) == Some(group));
    let missing = of_group.map(|missing| UnavailableField {
        field: missing.field.clone(),
        // Without any probe, the reason is why the probes were refused.
        reason: trial.refused.clone().unwrap_or_else(|| {
            unavailable::of_field(&missing.field, &missing.why, &trial.alternatives)
        }),
    });
    missing.collect()
}

/// Without the capability /proc hides the executables of other users' processes.
fn executables_of_others(facts: &HostFacts, trial: &Trial) -> Option<UnavailableField> {
    let held = facts.privileges?;
    let is_blind = trial.tier.is_some() && !held.has(Privileges::SYS_PTRACE);
    is_blind.then(|| UnavailableField {
        field: "victims.exe".to_owned(),
        reason: Unavailable::permission(
            "CAP_SYS_PTRACE is not held: executables of other users' processes are hidden",
            "hold CAP_SYS_PTRACE (root has it)",
        ),
    })
}

/// The name of the group that a field belongs to.
fn group_of(field: &str) -> Option<&'static str> {
    let length = |prefixes: &[&str]| {
        prefixes.iter().filter(|prefix| is_below(field, prefix)).map(|prefix| prefix.len()).max()
    };
    let matches = GROUPS.iter().filter_map(|(name, .., prefixes)| Some((length(prefixes)?, *name)));
    matches.max_by_key(|(length, _)| *length).map(|(_, name)| name)
}

/// Whether `field` is this one or below it: `victims (exact rss)` and `victims.uid` are below
/// `victims`, `victimsize` is not.
fn is_below(field: &str, prefix: &str) -> bool {
    let rest = field.strip_prefix(prefix);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_belongs_to_group_with_longest_prefix() {
        for (field, group) in [
            ("victims.anon_rss_bytes", "victims"),
            ("victims (exact rss)", "victims"),
            ("victims.points", "choice"),
            ("victims.cgroup.path", CGROUPS),
            ("trigger.kernel_stack.symbol", "kernel stack"),
            ("oom_memcg.stat", "memory.stat"),
            ("oom_memcg.swap_max_bytes", "limit"),
            ("limit_chain (below oom_memcg)", "limit"),
            ("system.nodes", "host memory"),
        ] {
            assert_eq!(group_of(field), Some(group), "{field}");
        }
        assert_eq!(group_of("victimsize"), None);
    }
}
