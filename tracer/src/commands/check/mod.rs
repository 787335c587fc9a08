//! `oomwhy check`: every hook and report field, available on this host or not, and how to fix it.
//! Only [`trial`] touches the kernel. The rest is pure and works on [`HostFacts`], [`Policy`] and
//! the trial.
//!
//! The plan is pure too, so it can be made for a changed host: a field that comes back once kernel
//! addresses are visible misses a permission, and the changed fact is its fix ([`unavailable`]).

mod capabilities;
pub(crate) mod command;
mod groups;
mod hooks;
mod notes;
mod questions;
pub(crate) mod text;
pub(crate) mod trial;
mod unavailable;

use serde::{Serialize, Serializer};

use crate::{
    commands::exit::Exit,
    host::{
        facts::HostFacts,
        files::{CgroupMounts, Lockdown},
        policy::Policy,
    },
    model::report::{SCHEMA, Tier},
};
pub(crate) use capabilities::Capability;
pub(crate) use groups::FieldGroup;
pub(crate) use hooks::HookStatus;
pub(crate) use questions::Question;
use trial::Trial;
use unavailable::{MissingReason, Unavailable};

/// The result. docs/check.md describes its JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub schema: u32,
    pub r#type: &'static str,
    pub version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The architecture of this binary.
    pub arch: &'static str,
    /// Whether the full report is available.
    pub full: bool,
    #[serde(serialize_with = "code")]
    pub exit: Exit,
    /// The tier that `--attach auto` uses; absent if nothing can be traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Why nothing can be traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Unavailable>,
    pub hooks: Vec<HookStatus>,
    /// Groups of report fields.
    pub fields: Vec<FieldGroup>,
    /// The five questions, and whether the report of a kill answers them.
    pub questions: Vec<Question>,
    pub capabilities: Vec<Capability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    pub lockdown: Lockdown,
    pub btf: Btf,
    pub cgroups: Cgroups,
    /// The size of the ring.
    pub ring_bytes: u32,
    pub settings: Policy,
    /// Other advice for this host.
    pub notes: Vec<String>,
}

/// The source of BTF.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Btf {
    pub path: String,
    /// Whether it has the functions of a kernel.
    pub usable: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cgroups {
    #[serde(flatten)]
    pub mounts: CgroupMounts,
    /// The cgroup version that has the memory controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_version: Option<u8>,
    /// Whether reports have cgroup paths, from the probes or from the mount.
    pub paths: bool,
}

pub(crate) fn evaluate(facts: &HostFacts, policy: &Policy, trial: &Trial) -> Check {
    let hooks = hooks::all(facts, trial);
    let fields = groups::all(facts, trial);
    let exit = exit(&missing_reasons(&hooks, &fields, trial));
    Check {
        schema: SCHEMA,
        r#type: "check",
        version: env!("CARGO_PKG_VERSION"),
        kernel: facts.kernel.clone(),
        arch: std::env::consts::ARCH,
        full: exit == Exit::Ok,
        exit,
        tier: trial.tier,
        refused: trial.refused.clone(),
        questions: questions::all(&fields),
        capabilities: capabilities::all(facts.privileges, policy),
        uid: facts.privileges.map(|privileges| privileges.uid),
        lockdown: facts.lockdown,
        btf: Btf {
            path: trial.btf_file.to_string_lossy().into_owned(),
            usable: !facts.btf.functions.is_empty(),
        },
        cgroups: cgroups(facts, &fields),
        ring_bytes: trial.ring_bytes,
        settings: policy.clone(),
        notes: notes::all(facts, policy, trial),
        hooks,
        fields,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

fn missing_reasons(
    hooks: &[HookStatus],
    fields: &[FieldGroup],
    trial: &Trial,
) -> Vec<MissingReason> {
    let of_hooks = hooks.iter().filter_map(HookStatus::missing);
    let of_fields = fields.iter().flat_map(|group| &group.missing).map(|missing| &missing.reason);
    let all = trial.refused.iter().chain(of_hooks).chain(of_fields);
    all.map(|missing| missing.reason).collect()
}

/// Permissions come first: with them, another check shows whether the kernel is supported.
fn exit(missing: &[MissingReason]) -> Exit {
    if missing.is_empty() {
        Exit::Ok
    } else if missing.contains(&MissingReason::Permission) {
        Exit::NotPermitted
    } else {
        Exit::Unavailable
    }
}

fn cgroups(facts: &HostFacts, fields: &[FieldGroup]) -> Cgroups {
    let mounts = facts.cgroups.clone();
    let memory_version = match (&mounts.v1_memory, &mounts.v2) {
        (Some(_), _) => Some(1),
        (None, Some(_)) => Some(2),
        (None, None) => None,
    };
    let paths = fields.iter().any(|group| group.name == groups::CGROUPS && group.is_complete());
    Cgroups { mounts, memory_version, paths }
}

#[cfg(test)]
mod tests;
