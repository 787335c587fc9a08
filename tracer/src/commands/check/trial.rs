//! What only trying tells: the programs are loaded and attached as `oomwhy watch` would, and
//! detached at once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use oomwhy_common::maps::RING_BYTES;

use super::{
    hooks,
    lack::{self, Lack, Otherwise},
};
use crate::{
    bpf::{
        load::{self, LoadError, Probes},
        plan::{MissingField, Plan, plan, without_counters},
    },
    host::{
        btf::KernelBtf,
        files::{Lockdown, Root},
        kill_counter::KillCounter,
        offsets::{self, Resolved},
        permission,
        policy::Policy,
        support::HostFacts,
        system::SystemFiles,
    },
    kmsg::NEVER,
    model::report::Tier,
};

/// How the attempt went.
pub(crate) struct Trial {
    /// Where BTF was looked for.
    pub btf_file: PathBuf,
    /// The tier that worked.
    pub tier: Option<Tier>,
    /// Hook: how it was attached.
    pub hooks: BTreeMap<String, String>,
    /// Hooks that could not be attached.
    pub failed: Vec<(String, Lack)>,
    /// Fields that no report will have.
    pub missing: Vec<MissingField>,
    /// Why nothing could be attached.
    pub refused: Option<Lack>,
    /// Bytes of the ring that is made.
    pub ring_bytes: u32,
    pub(super) others: Vec<Otherwise>,
    pub(super) planned: Option<Vec<&'static str>>,
}

impl Trial {
    /// Whether a program was meant to be attached there.
    pub(super) fn is_planned(&self, hook: &str) -> bool {
        self.planned.as_ref().is_some_and(|planned| planned.contains(&hook))
    }

    /// Whether there was a plan at all.
    pub(super) fn has_plan(&self) -> bool {
        self.planned.is_some()
    }
}

/// Looks at the host and tries.
pub(crate) fn run(root: &Root, policy: &Policy, btf_file: &Path) -> (HostFacts, Trial) {
    let btf = KernelBtf::open(btf_file);
    let mut facts = HostFacts::collect(root, btf.as_ref().ok());
    if load::probe_read_allowed() == Some(false) {
        facts.lockdown = Lockdown::Confidentiality;
    }
    let mut trial = nothing(btf_file);
    let resolved = btf.as_ref().map_or_else(|_| Resolved::nothing(), offsets::resolve);
    let hooks = btf.as_ref().map_or_else(|_| KernelBtf::no_hooks(), KernelBtf::hooks);
    trial.refused = btf.as_ref().err().map(|error| unusable(error));
    trial.others = lack::otherwise(&facts, &resolved);
    // Without BTF only the last of them is of use.
    let tiers = [Tier::Fentry, Tier::Kprobe, Tier::Tracepoint];
    for tier in tiers.into_iter().skip(if btf.is_ok() { 0 } else { 2 }) {
        if trial.tier.is_none() {
            attempt(&mut trial, tier, &facts, policy, &resolved, &hooks);
        }
    }
    if trial.tier.is_none() && policy.kmsg.is_readable() {
        read_the_log(&mut trial);
    }
    trial.missing.extend(files(root, facts.page_size));
    (facts, trial)
}

pub(super) fn nothing(btf_file: &Path) -> Trial {
    Trial {
        btf_file: btf_file.to_owned(),
        tier: None,
        hooks: BTreeMap::new(),
        failed: Vec::new(),
        missing: Vec::new(),
        refused: None,
        ring_bytes: RING_BYTES,
        others: Vec::new(),
        planned: None,
    }
}

fn unusable(error: &dyn std::error::Error) -> Lack {
    let text = error.to_string();
    let why = text.lines().next().unwrap_or_default();
    let mend = "a kernel with CONFIG_DEBUG_INFO_BTF=y, or the BTF of this very kernel: --btf FILE";
    Lack { mend: Some(mend.to_owned()), ..Lack::kernel(why) }
}

fn attempt(
    trial: &mut Trial,
    tier: Tier,
    facts: &HostFacts,
    policy: &Policy,
    resolved: &Resolved,
    hooks: &[u8],
) {
    // The best tier's reason is the one to mend.
    let plan = match plan(tier, facts, resolved) {
        Ok(plan) => plan,
        Err(refusal) => {
            trial.refused.get_or_insert_with(|| unusable(&refusal));
            return;
        }
    };
    let planned = plan.programs.iter().map(|planned| planned.hook).collect();
    match load::attach(&plan, &resolved.offsets, hooks, None) {
        Ok(probes) => {
            trial.planned = Some(planned);
            succeeded(trial, plan, &probes);
        }
        Err(error) => {
            trial.planned.get_or_insert(planned);
            trial.refused.get_or_insert_with(|| refused(&error, facts, policy));
        }
    }
}

fn succeeded(trial: &mut Trial, plan: Plan, probes: &Probes) {
    trial.tier = Some(plan.tier);
    trial.hooks.clone_from(&probes.hooks);
    let failed = probes.failed.iter();
    trial.failed =
        failed.map(|(planned, why)| (planned.hook.to_owned(), hooks::failure(why))).collect();
    trial.missing = plan.missing;
    trial.missing.extend(without_counters(&probes.settings));
}

fn refused(error: &LoadError, facts: &HostFacts, policy: &Policy) -> Lack {
    match error {
        LoadError::Refused { what, errno } if permission::is_denial(errno) => {
            let permission::Cause { why, mend } = permission::cause(facts, policy);
            Lack::permission(format!("{why}: {what} is refused ({errno})"), mend)
        }
        _ => hooks::failure(&error.to_string()),
    }
}

/// What `--attach auto` does where there are no probes. What the log lacks, it lacks because they
/// were refused.
fn read_the_log(trial: &mut Trial) {
    trial.tier = Some(Tier::Kmsg);
    let missing = |field: &str| MissingField {
        field: field.to_owned(),
        why: "the kernel's log does not have it".to_owned(),
    };
    trial.missing = NEVER.into_iter().map(missing).collect();
}

/// Files that are read beside the probes.
fn files(root: &Root, page_size: u64) -> Vec<MissingField> {
    let missing = |field: &str, why| MissingField { field: field.to_owned(), why };
    let counter = KillCounter::open(root).err().map(|error| {
        missing("gap", format!("the kernel's count of kills, oom_kill in /proc/vmstat: {error}"))
    });
    let system = match SystemFiles::open(root, page_size) {
        Err(error) => Some(missing("system", format!("/proc/meminfo: {error}"))),
        Ok(files) if !files.has_zones() => {
            Some(missing("system.nodes", "/proc/zoneinfo cannot be read".to_owned()))
        }
        Ok(_) => None,
    };
    counter.into_iter().chain(system).collect()
}
