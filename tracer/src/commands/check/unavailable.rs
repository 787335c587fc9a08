//! Why something is not available, and how to fix it.
//!
//! To find the fix, the plan is made again with one fact changed. The first change that brings a
//! field or hook back is its fix.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    bpf::plan::{Plan, plan},
    host::{facts::HostFacts, files::Lockdown, offsets::Resolved},
    model::{hook::Hook, report::Tier},
};

/// Something that is not available on this host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unavailable {
    pub why: String,
    /// `None` if only another kernel helps.
    pub fix: Option<String>,
    pub reason: MissingReason,
}

/// The kind of reason, which determines the exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MissingReason {
    /// A permission or a setting: exit code 77.
    Permission,
    /// Something in the kernel: exit code 69.
    Kernel,
}

/// `mend` is the older name of `fix`.
impl Serialize for Unavailable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = if self.fix.is_some() { 4 } else { 2 };
        let mut object = serializer.serialize_struct("Unavailable", keys)?;
        object.serialize_field("why", &self.why)?;
        if let Some(fix) = &self.fix {
            object.serialize_field("mend", fix)?;
            object.serialize_field("fix", fix)?;
        }
        object.serialize_field("lacks", &self.reason)?;
        object.end()
    }
}

impl Unavailable {
    pub(crate) fn kernel(why: impl Into<String>) -> Self {
        Self { why: why.into(), fix: None, reason: MissingReason::Kernel }
    }

    pub(crate) fn permission(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { why: why.into(), fix: Some(fix.into()), reason: MissingReason::Permission }
    }
}

/// The plan of this host with some settings changed.
pub(super) struct Alternative {
    fix: String,
    plan: Plan,
}

/// A setting that somebody can change: how to change it, and its effect on the facts.
type Change = (&'static str, fn(&mut HostFacts));

/// The settings that a plan depends on.
const CHANGES: [Change; 2] = [
    ("hold CAP_SYSLOG (root has it) and `sysctl kernel.kptr_restrict=1`", |facts| {
        facts.kallsyms.per_cpu_offset = Some(1);
        facts.kallsyms.stats_index = Some(1);
    }),
    (
        "boot without lockdown=confidentiality (integrity, the mode of Secure Boot, is enough)",
        |facts| facts.lockdown = Lockdown::None,
    ),
];

/// The alternatives, the one with the fewest changes first.
pub(super) fn alternatives(facts: &HostFacts, resolved: &Resolved) -> Vec<Alternative> {
    let alternative = |changes: &[&Change]| {
        let mut changed = facts.clone();
        for (_, change) in changes {
            change(&mut changed);
        }
        let fixes: Vec<&str> = changes.iter().map(|(fix, _)| *fix).collect();
        let plan = plan(Tier::Fentry, &changed, resolved).ok()?;
        Some(Alternative { fix: fixes.join("; "), plan })
    };
    let [addresses, lockdown] = &CHANGES;
    [&[addresses][..], &[lockdown], &[lockdown, addresses]]
        .into_iter()
        .filter_map(alternative)
        .collect()
}

/// Why a field is missing.
pub(super) fn of_field(field: &str, why: &str, alternatives: &[Alternative]) -> Unavailable {
    first(why, alternatives, |alternative| {
        alternative.plan.missing.iter().all(|missing| missing.field != field)
    })
}

/// Why a hook is not planned.
pub(super) fn of_hook(hook: Hook, why: &str, alternatives: &[Alternative]) -> Unavailable {
    first(why, alternatives, |alternative| {
        alternative.plan.programs.iter().any(|planned| planned.hook == hook)
    })
}

fn first(
    why: &str,
    alternatives: &[Alternative],
    helps: impl Fn(&Alternative) -> bool,
) -> Unavailable {
    match alternatives.iter().find(|alternative| helps(alternative)) {
        Some(alternative) => Unavailable::permission(why, &alternative.fix),
        None => Unavailable::kernel(why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Unavailable;

    #[test]
    fn json_has_fix_under_both_names_or_not_at_all() {
        assert_eq!(
            serde_json::to_value(Unavailable::permission("no", "yes")).unwrap(),
            json!({"why": "no", "mend": "yes", "fix": "yes", "lacks": "permission"})
        );
        assert_eq!(
            serde_json::to_value(Unavailable::kernel("no")).unwrap(),
            json!({"why": "no", "lacks": "kernel"})
        );
    }
}
