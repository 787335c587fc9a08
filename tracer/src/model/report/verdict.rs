//! What to conclude.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to conclude, from fixed rules over the facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// One sentence.
    pub headline: String,
    /// The rule that holds, the first in the order of docs/verdicts.md; `unknown` when none does.
    pub cause: String,
    /// Further rules that hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Facts it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}
