//! The conclusions of a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The conclusions that fixed rules draw from the facts (docs/verdicts.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The conclusion in one sentence.
    pub headline: String,
    /// The first rule of docs/verdicts.md that applies; `unknown` if none does.
    pub cause: String,
    /// The other rules that apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The facts that support the conclusion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Changes that would prevent such a kill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}
