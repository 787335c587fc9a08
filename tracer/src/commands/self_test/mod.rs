//! `oomwhy check --self-test`: a real OOM kill of a child of our own in a cgroup of our own, traced by
//! another oomwhy as anyone would start it, and its report compared with what was done.

mod act;
mod own_cgroup;
pub(crate) mod text;
mod verdict;
pub(crate) mod victim;

use serde::Serialize;
use serde_json::Value;

use crate::{
    commands::{Failure, exit::Exit},
    host::files::{Root, cgroup_mounts},
    model::report::SCHEMA,
};
pub(crate) use verdict::Finding;

/// The limit of the cgroup.
const LIMIT_BYTES: u64 = 16 << 20;
/// The name of the child.
const COMM: &str = "oomwhy-victim";
/// The hidden command by which the child is started.
pub(crate) const VICTIM_COMMAND: &str = "self-test-victim";

/// How a self-test went; its JSON is described in docs/check.md.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SelfTest {
    /// Version of the contract.
    pub schema: u32,
    /// "self_test".
    pub r#type: &'static str,
    /// Whether the report agrees with what was done.
    pub agrees: bool,
    /// The tier that reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// From the first step until everything was removed, ms.
    pub took_ms: u64,
    /// What was done and what was reported of it.
    pub findings: Vec<Finding>,
    /// Version of the cgroups it was done with.
    pub cgroup_version: u8,
    /// The cgroup that was made, below its mount.
    pub cgroup: String,
    /// The report.
    pub report: Value,
}

/// What was done.
#[derive(Clone, Debug)]
struct Deed {
    pid: u32,
    uid: u32,
    cgroup: String,
    cgroup_version: u8,
}

/// Runs it. Whatever happens, child and cgroup are gone afterwards.
pub(crate) fn run(root: &Root) -> Result<SelfTest, Failure> {
    let start = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(&error))?;
    let cgroup = own_cgroup::OwnCgroup::make(root, &cgroup_mounts(root), LIMIT_BYTES)?;
    let acted = runtime.block_on(act::unless_interrupted(act::act(&cgroup)));
    let removed = cgroup.remove();
    let (deed, report) = acted?;
    removed.map_err(|error| Failure { exit: Exit::Failure, message: error })?;
    let findings = verdict::compare(&deed, &report);
    Ok(SelfTest {
        schema: SCHEMA,
        r#type: "self_test",
        agrees: findings.iter().all(Finding::agrees),
        tier: report.pointer("/source/tier").and_then(Value::as_str).map(str::to_owned),
        took_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        findings,
        cgroup_version: deed.cgroup_version,
        cgroup: deed.cgroup,
        report,
    })
}
