//! How a report was obtained, and which fields are missing from it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a report was obtained, and which fields are missing from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// How the kernel was observed.
    pub tier: Tier,
    /// The attached hooks, each with its method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<String, String>,
    /// The missing fields, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// The keys that are absent because the ring was short of room: the probes leave details out
    /// before they lose a kill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shed: Vec<String>,
    /// Kernel-side records lost since the previous report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drops: Option<u64>,
}

impl Source {
    /// A source without missing fields and lost records.
    pub fn new(tier: Tier) -> Self {
        Self { tier, hooks: BTreeMap::new(), missing: Vec::new(), shed: Vec::new(), drops: None }
    }
}

/// How the kernel was observed, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Programs on BPF trampolines.
    Fentry,
    /// Programs on kprobes.
    Kprobe,
    /// Only the tracepoint oom:mark_victim.
    Tracepoint,
    /// The kernel log, without BPF.
    Kmsg,
}

impl Tier {
    /// The name in reports and in `--attach`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Kmsg => "kmsg",
        }
    }
}

/// Why a field is absent that the kernel's log never has.
pub(crate) const NOT_IN_LOG: &str = "the kernel's log does not have it";

/// A field that is missing, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// The path of the key, e.g. "trigger.user_stack".
    pub field: String,
    /// The reason, as text.
    pub why: String,
}

impl Missing {
    /// Whether no report of its tier has the field, or it names a tier that was refused.
    pub(crate) fn is_of_tier(&self) -> bool {
        [&self.field, &self.why].iter().any(|text| text.starts_with("tier "))
            || self.why == NOT_IN_LOG
    }
}
