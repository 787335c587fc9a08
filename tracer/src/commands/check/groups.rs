//! One line per group of the report's fields: all there, or which are not and why.

use serde::Serialize;

use super::{
    lack::{self, Lack},
    trial::Trial,
};
use crate::{host::support::HostFacts, model::report::Tier};

/// The group of cgroup ids and paths.
pub(super) const CGROUPS: &str = "cgroups";

/// Fields that are known together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    /// Its name.
    pub name: &'static str,
    /// The question that it answers: W, L, Y or G (see [`super::Question`]).
    pub question: char,
    /// What it is, in words.
    pub about: &'static str,
    /// The tier that gives it; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Which of its fields are missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingField>,
}

/// A field that no report will have.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MissingField {
    /// As in the report.
    pub field: String,
    /// Why, and what mends it.
    #[serde(flatten)]
    pub lack: Lack,
}

impl Group {
    /// Whether nothing of it is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.tier.is_some() && self.missing.is_empty()
    }
}

/// A group: name, question, what it is, and how the names of its fields begin. The longest
/// beginning decides.
type Row = (&'static str, char, &'static str, &'static [&'static str]);

const GROUPS: &[Row] = &[
    ("victims", 'W', "who was killed, with its memory", &["victims"]),
    ("trigger", 'W', "whose allocation it was", &["trigger"]),
    (
        CGROUPS,
        'W',
        "ids and paths of cgroups",
        &["trigger.cgroup", "victims.cgroup", "oom_memcg.id", "oom_memcg.path"],
    ),
    ("kernel stack", 'W', "how the kernel came there, by name", &["trigger.kernel_stack"]),
    ("gaps", 'W', "kills that were not seen are noticed", &["gap"]),
    ("limit", 'L', "whose limit was hit, all up to the root", &["oom_memcg", "limit_chain"]),
    (
        "decision",
        'Y',
        "constraint, size of the domain, outcome",
        &["outcome", "reason", "constraint", "totalpages", "message", "nodemask", "mems_allowed"],
    ),
    ("candidates", 'Y', "each task weighed, with its points", &["candidates"]),
    ("choice", 'Y', "who was chosen", &["victims.chosen", "victims.points"]),
    ("memory.stat", 'G', "what the memory of the group was", &["oom_memcg.stat"]),
    ("host memory", 'G', "zones and nodes, for an OOM of the host", &["system"]),
    (
        "aftermath",
        'G',
        "when the memory came back",
        &[
            "victims.marked_at_ns",
            "victims.exited_after_ns",
            "victims.freed_after_ns",
            "victims.reaped",
            "victims.shares_mm_with",
        ],
    ),
];

/// All of them.
pub(super) fn all(facts: &HostFacts, trial: &Trial) -> Vec<Group> {
    let groups = GROUPS.iter().map(|&(name, question, about, _)| {
        let missing = trial
            .missing
            .iter()
            .filter(|missing| of(&missing.field).map(|row| row.0) == Some(name))
            .map(|missing| MissingField {
                field: missing.field.clone(),
                // Without probes, whoever refused them is to blame.
                lack: trial
                    .refused
                    .clone()
                    .unwrap_or_else(|| lack::of_field(&missing.field, &missing.why, &trial.others)),
            })
            .collect();
        Group { name, question, about, tier: trial.tier, missing }
    });
    let mut groups: Vec<Group> = groups.collect();
    if let Some(group) = groups.iter_mut().find(|group| group.name == "victims") {
        group.missing.extend(others_in_proc(facts, trial));
    }
    groups
}

/// What /proc shows of processes of other users.
fn others_in_proc(facts: &HostFacts, trial: &Trial) -> Option<MissingField> {
    use crate::host::files::Privileges;
    let held = facts.privileges?;
    let is_blind = trial.tier.is_some() && !held.has(Privileges::SYS_PTRACE);
    is_blind.then(|| MissingField {
        field: "victims.exe".to_owned(),
        lack: Lack::permission(
            "CAP_SYS_PTRACE is not held: executables of other users' processes are hidden",
            "hold CAP_SYS_PTRACE (root has it)",
        ),
    })
}

fn of(field: &str) -> Option<&'static Row> {
    let length = |row: &Row| {
        let beginnings = row.3.iter().filter(|beginning| begins(field, beginning));
        beginnings.map(|beginning| beginning.len()).max()
    };
    let rows = GROUPS.iter().filter_map(|row| Some((length(row)?, row)));
    rows.max_by_key(|(length, _)| *length).map(|(_, row)| row)
}

/// Whether `field` is this one or below it: `victims (exact rss)` and `victims.uid` are below
/// `victims`, `victimsize` is not.
fn begins(field: &str, beginning: &str) -> bool {
    let rest = field.strip_prefix(beginning);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_belongs_to_the_group_that_names_it_most_exactly() {
        let name = |field: &str| of(field).map(|row| row.0);
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
            assert_eq!(name(field), Some(group), "{field}");
        }
        assert_eq!(name("victimsize"), None);
    }
}
