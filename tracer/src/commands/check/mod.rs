//! What this host offers, and why not: the answer of `oomwhy check`. Pure from [`HostFacts`],
//! [`Policy`] and what the trial told; only [`trial`] touches the kernel.
//!
//! The plan is pure, so what *would* be there is asked of it too: a field that comes back once
//! addresses are shown lacks a permission, and the changed fact is what mends it (`lack`).

mod capabilities;
pub(crate) mod command;
mod groups;
mod hooks;
mod lack;
mod notes;
mod questions;
pub(crate) mod text;
pub(crate) mod trial;

use serde::{Serialize, Serializer};

use crate::{
    commands::exit::Exit,
    host::{
        files::{CgroupMounts, Lockdown},
        policy::Policy,
        support::HostFacts,
    },
    model::report::{SCHEMA, Tier},
};
pub(crate) use capabilities::Capability;
pub(crate) use groups::Group;
pub(crate) use hooks::Hook;
pub(crate) use lack::{Lack, Lacks};
pub(crate) use questions::Question;
use trial::Trial;

/// The whole answer; its JSON is described in docs/check.md.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// Version of the contract.
    pub schema: u32,
    /// "check".
    pub r#type: &'static str,
    /// Version of oomwhy.
    pub version: &'static str,
    /// Kernel release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Architecture of this binary.
    pub arch: &'static str,
    /// Whether the full report is to be had.
    pub full: bool,
    /// The exit code.
    #[serde(serialize_with = "code")]
    pub exit: Exit,
    /// The tier that `--attach auto` takes; absent where nothing can be traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Why nothing can be traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Lack>,
    /// One per hook.
    pub hooks: Vec<Hook>,
    /// One per group of the report's fields.
    pub fields: Vec<Group>,
    /// What a kill would tell, and what not.
    pub questions: Vec<Question>,
    /// What we may do.
    pub capabilities: Vec<Capability>,
    /// Effective user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The kernel's lockdown mode.
    pub lockdown: Lockdown,
    /// Where BTF comes from.
    pub btf: Btf,
    /// Cgroups.
    pub cgroups: Cgroups,
    /// Bytes of the ring that is made.
    pub ring_bytes: u32,
    /// Settings.
    pub settings: Policy,
    /// What else is worth knowing before it happens.
    pub notes: Vec<String>,
}

/// Where BTF comes from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Btf {
    /// The file.
    pub path: String,
    /// Whether it is what it should be.
    pub usable: bool,
}

/// Cgroups of this host.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cgroups {
    /// Where they are mounted.
    #[serde(flatten)]
    pub mounts: CgroupMounts,
    /// Version whose memory controller is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_version: Option<u8>,
    /// Whether paths can be told, by the probes or from the mount.
    pub paths: bool,
}

/// What follows from everything.
pub(crate) fn judge(facts: &HostFacts, policy: &Policy, trial: &Trial) -> Check {
    let hooks = hooks::all(facts, trial);
    let fields = groups::all(facts, trial);
    let lacks = lacks(&hooks, &fields, trial);
    let exit = exit(&lacks);
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
            path: trial.btf_file.display().to_string(),
            usable: !facts.btf.functions.is_empty(),
        },
        cgroups: cgroups(facts, &fields),
        ring_bytes: trial.ring_bytes,
        settings: policy.clone(),
        notes: notes::all(facts, policy),
        hooks,
        fields,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

fn lacks<'a>(hooks: &'a [Hook], fields: &'a [Group], trial: &'a Trial) -> Vec<&'a Lack> {
    let hooks = hooks.iter().filter_map(Hook::lack);
    let fields = fields.iter().flat_map(|group| &group.missing).map(|missing| &missing.lack);
    trial.refused.iter().chain(hooks).chain(fields).collect()
}

/// A permission comes first: with it, another check tells whether the kernel would do.
fn exit(lacks: &[&Lack]) -> Exit {
    if lacks.is_empty() {
        Exit::Ok
    } else if lacks.iter().any(|lack| lack.lacks == Lacks::Permission) {
        Exit::NotPermitted
    } else {
        Exit::Unavailable
    }
}

fn cgroups(facts: &HostFacts, fields: &[Group]) -> Cgroups {
    let mounts = facts.cgroups.clone();
    let memory_version = match (&mounts.v1_memory, &mounts.v2) {
        (Some(_), _) => Some(1),
        (None, Some(_)) => Some(2),
        (None, None) => None,
    };
    let paths = fields.iter().any(|group| group.name == groups::CGROUPS && group.is_whole());
    Cgroups { mounts, memory_version, paths }
}

#[cfg(test)]
mod tests;
