//! `oomwhy check --self-test`: proves that a real OOM kill is reported correctly.
//!
//! Starts a child in a temporary cgroup and a second oomwhy as tracer, lets the kernel kill the
//! child, and compares the report with the test kill.

mod temporary_cgroup;
mod test_kill;
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

const LIMIT_BYTES: u64 = 16 << 20;
const COMM: &str = "oomwhy-victim";
/// The hidden command of the child.
pub(crate) const VICTIM_COMMAND: &str = "self-test-victim";

/// The result of a self-test. docs/check.md describes its JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SelfTest {
    /// The version of the contract.
    pub schema: u32,
    /// Always "self_test", which distinguishes the object from a report.
    pub r#type: &'static str,
    /// True if the report agrees with the test kill.
    pub agrees: bool,
    /// The tier that reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The time from the start until everything was removed, ms.
    pub took_ms: u64,
    /// The expected and the reported values, field by field.
    pub findings: Vec<Finding>,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// The path of the temporary cgroup below its mount.
    pub cgroup: String,
    /// The report of the tracer.
    pub report: Value,
}

/// The facts of the test kill. The report must agree with them.
#[derive(Clone, Debug)]
struct TestKill {
    pid: u32,
    uid: u32,
    cgroup: String,
    cgroup_version: u8,
}

/// Runs the self-test. Child and cgroup are removed even if it fails.
pub(crate) fn run(root: &Root) -> Result<SelfTest, Failure> {
    let start = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(&error))?;
    let cgroup = temporary_cgroup::TemporaryCgroup::make(root, &cgroup_mounts(root), LIMIT_BYTES)?;
    let killed = runtime.block_on(test_kill::unless_interrupted(test_kill::run(&cgroup)));
    let removed = cgroup.remove();
    let (test_kill, report) = killed?;
    removed.map_err(|error| Failure { exit: Exit::Failure, message: error })?;
    let findings = verdict::compare(&test_kill, &report);
    Ok(SelfTest {
        schema: SCHEMA,
        r#type: "self_test",
        agrees: findings.iter().all(Finding::agrees),
        tier: report.pointer("/source/tier").and_then(Value::as_str).map(str::to_owned),
        took_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        findings,
        cgroup_version: test_kill.cgroup_version,
        cgroup: test_kill.cgroup,
        report,
    })
}
