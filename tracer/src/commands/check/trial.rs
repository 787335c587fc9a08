//! Loads and attaches the programs as `oomwhy watch` would, and detaches them at once. Some facts
//! are known only after trying.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use oomwhy_common::maps::RING_BYTES;

use super::{
    hooks,
    unavailable::{self, Alternative, Unavailable},
};
use crate::{
    bpf::{
        hooks::wanted,
        load::{self, LoadError, Probes},
        plan::{MissingField, Plan, plan, without_counters},
    },
    host::{
        btf::{BtfError, KernelBtf},
        capabilities::denial::{self, Denial},
        facts::HostFacts,
        files::{Lockdown, Root},
        offsets::{self, Resolved},
        policy::Policy,
        procfs::{kill_counter::KillCounter, system::SystemFiles},
    },
    kmsg::NEVER,
    model::{hook::Hook, report::Tier},
};

/// The result of the attempt.
pub(crate) struct Trial {
    /// The file that BTF was read from.
    pub btf_file: PathBuf,
    pub tier: Option<Tier>,
    /// Per key of a hook how it was attached.
    pub hooks: BTreeMap<String, String>,
    pub failed: Vec<(Hook, Unavailable)>,
    pub missing: Vec<MissingField>,
    /// Why a tier could not be attached; the best tier's reason.
    pub refused: Option<Unavailable>,
    pub ring_bytes: u32,
    /// Whether the kernel counts runs of probes that it skips; `None` without probes.
    pub(super) counts_misses: Option<bool>,
    pub(super) alternatives: Vec<Alternative>,
    /// The hooks of the plan.
    pub(super) planned: Option<Vec<Hook>>,
}

impl Trial {
    pub(super) fn is_planned(&self, hook: Hook) -> bool {
        self.planned.as_ref().is_some_and(|planned| planned.contains(&hook))
    }

    pub(super) fn has_plan(&self) -> bool {
        self.planned.is_some()
    }
}

/// Reads the facts of the host and tries each tier.
pub(crate) fn run(root: &Root, policy: &Policy, btf_file: &Path) -> (HostFacts, Trial) {
    let wanted = wanted();
    let btf = KernelBtf::open(btf_file, &wanted);
    let mut facts = HostFacts::collect(root, btf.as_ref().ok(), &wanted);
    if load::probe_read_allowed() == Some(false) {
        facts.lockdown = Lockdown::Confidentiality;
    }
    let mut trial = nothing(btf_file);
    let resolved = btf.as_ref().map_or_else(|_| Resolved::nothing(), offsets::resolve);
    let hooks = btf.as_ref().map_or_else(|_| KernelBtf::no_hooks(), KernelBtf::hooks);
    trial.refused = btf.as_ref().err().map(unusable_btf);
    trial.alternatives = unavailable::alternatives(&facts, &resolved);
    // Without BTF only the last of them works.
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
        counts_misses: None,
        alternatives: Vec::new(),
        planned: None,
    }
}

fn unusable_btf(error: &BtfError) -> Unavailable {
    let BtfError::Unreadable { error: source, .. } = error else {
        return unusable(error);
    };
    let text = error.to_string();
    let why = text.lines().next().unwrap_or_default();
    let fix = "run as root, or give a readable file with --btf FILE";
    match source.kind() {
        io::ErrorKind::PermissionDenied => Unavailable::permission(why, fix),
        _ => Unavailable { fix: Some(fix.to_owned()), ..Unavailable::kernel(why) },
    }
}

fn unusable(error: &dyn std::error::Error) -> Unavailable {
    let text = error.to_string();
    let why = text.lines().next().unwrap_or_default();
    let fix = "a kernel with CONFIG_DEBUG_INFO_BTF=y, or the BTF of this very kernel: --btf FILE";
    Unavailable { fix: Some(fix.to_owned()), ..Unavailable::kernel(why) }
}

fn attempt(
    trial: &mut Trial,
    tier: Tier,
    facts: &HostFacts,
    policy: &Policy,
    resolved: &Resolved,
    hooks: &[u8],
) {
    // The reason of the best tier is the one to fix.
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
    trial.counts_misses = Some(probes.counts_misses());
    let failed = probes.failed.iter();
    trial.failed = failed.map(|(planned, why)| (planned.hook, hooks::failure(why))).collect();
    trial.missing = plan.missing;
    trial.missing.extend(without_counters(&probes.settings));
}

fn refused(error: &LoadError, facts: &HostFacts, policy: &Policy) -> Unavailable {
    match error {
        LoadError::Refused { what, errno } if denial::is_denial(errno) => {
            let Denial { why, fix } = denial::explain(facts, policy);
            Unavailable::permission(format!("{why}: {what} is refused ({errno})"), fix)
        }
        _ => hooks::failure(&error.to_string()),
    }
}

/// Uses the kernel log, as `--attach auto` does without probes. Fields that the log does not have
/// are missing because the probes were refused.
fn read_the_log(trial: &mut Trial) {
    trial.tier = Some(Tier::Kmsg);
    let missing = |field: &str| MissingField {
        field: field.to_owned(),
        why: crate::model::report::NOT_IN_LOG.to_owned(),
    };
    trial.missing = NEVER.into_iter().map(missing).collect();
}

/// Fields from files of /proc that cannot be read.
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
