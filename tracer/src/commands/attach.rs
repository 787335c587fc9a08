//! Attaches the best tier that the host allows: reads the facts, plans a tier, tries it, and goes
//! on with the next one if it is refused.

use std::time::Duration;

use oomwhy_common::maps::WAITS_FOR_VICTIM_NS;

use super::{Failure, pinned::Pins, watch::unusable_btf, watch_log};
use crate::{
    bpf::{
        hooks,
        load::{self, LoadError, Probes},
        pin::{Attachment, TakenOver},
        plan::{MissingField, Plan, Refusal, plan, without_counters},
        verified,
    },
    cli::WatchArgs,
    commands::exit::Exit,
    fmt::lines::log_stderr,
    host::{
        btf::{BtfError, KernelBtf},
        capabilities::denial::{self, Denial},
        facts::HostFacts,
        files::{Lockdown, Root, btf_path},
        offsets::{self, Resolved},
        policy::Policy,
    },
    model::report::{Missing, Tier},
};

/// How the kernel is watched.
pub(super) enum Watching {
    Probes(Box<Attached>),
    /// The kernel log, with the reason why there are no probes.
    KernelLog(Failure),
}

pub(super) struct Attached {
    pub(super) facts: HostFacts,
    pub(super) attachment: Attachment,
    pub(super) ours: Ours,
}

/// Probes of this run, or pinned probes that outlive it.
pub(super) enum Ours {
    Own(Probes),
    Pinned(TakenOver),
}

impl Ours {
    pub(super) fn probes(&self) -> &Probes {
        match self {
            Self::Own(probes) => probes,
            Self::Pinned(ours) => &ours.probes,
        }
    }

    pub(super) fn probes_mut(&mut self) -> &mut Probes {
        match self {
            Self::Own(probes) => probes,
            Self::Pinned(ours) => &mut ours.probes,
        }
    }

    /// How pinned probes were attached, if it was stored with them.
    pub(super) fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Own(_) => None,
            Self::Pinned(ours) => ours.attachment.as_ref(),
        }
    }

    pub(super) fn into_probes(self) -> Probes {
        match self {
            Self::Own(probes) => probes,
            Self::Pinned(ours) => ours.probes,
        }
    }
}

/// A tier that was refused.
struct Passed {
    tier: Tier,
    failure: Failure,
}

/// Attaches the first tier that works, of those that `--attach` allows.
pub(super) fn attach(
    root: &Root,
    arguments: &WatchArgs,
    mut pins: Option<&mut Pins>,
) -> Result<Watching, Failure> {
    let host = Examined::host(root, arguments)?;
    let tiers = arguments.attach.tiers();
    // Pinned probes keep their tier, whatever this host allows now.
    if let Some(ours) = pins.as_deref_mut().and_then(|pins| pins.take_ours(tiers))
        && let Some(attachment) = ours.attachment.clone()
    {
        let (facts, ours) = (host.facts, Ours::Pinned(ours));
        return Ok(Watching::Probes(Box::new(Attached { facts, attachment, ours })));
    }
    let mut passed = Vec::new();
    for &tier in tiers {
        if tier == Tier::Kmsg {
            break;
        }
        match host.attach(tier, arguments, pins.as_deref_mut(), &passed, root) {
            Ok((attachment, ours)) => {
                let facts = host.facts;
                return Ok(Watching::Probes(Box::new(Attached { facts, attachment, ours })));
            }
            Err(failure) => passed.push(Passed { tier, failure }),
        }
    }
    // The reason of the best tier is the one to fix.
    match passed.into_iter().next() {
        Some(first) if watch_log::is_a_way_out(arguments) => Ok(Watching::KernelLog(first.failure)),
        Some(first) => Err(naming_other_tiers(first.failure, tiers)),
        None => Err(Failure { exit: Exit::Usage, message: NO_TIER.to_owned() }),
    }
}

/// If the only tier that was asked for is refused, the hint names a way to the others.
fn naming_other_tiers(mut failure: Failure, tiers: &[Tier]) -> Failure {
    if tiers.len() == 1 && !failure.message.contains("`--attach ") {
        let joint = if failure.message.contains("\nhint: ") { "; " } else { "\nhint: " };
        failure.message += joint;
        failure.message += "`--attach auto` uses the best tier that this host allows";
    }
    failure
}

const NO_TIER: &str = "--attach: no tier to try\nhint: `--attach auto` tries all of them";

/// The facts of the host.
struct Examined {
    facts: HostFacts,
    resolved: Resolved,
    /// BTF with the ids of the hooks.
    hooks: Vec<u8>,
    /// Why there is no BTF.
    no_btf: Option<Failure>,
}

impl Examined {
    fn host(root: &Root, arguments: &WatchArgs) -> Result<Self, Failure> {
        let wanted = hooks::wanted();
        let btf = KernelBtf::open(&btf_path(root, arguments.btf.as_deref()), &wanted);
        // A file that was given must be usable.
        if let (Err(error), Some(_)) = (&btf, &arguments.btf) {
            return Err(unusable_btf(error));
        }
        let resolved = btf.as_ref().map_or_else(|_| Resolved::nothing(), offsets::resolve);
        if arguments.output.verbose {
            log_stderr(resolved.to_string().trim_end());
        }
        let mut facts = HostFacts::collect(root, btf.as_ref().ok(), &wanted);
        if load::probe_read_allowed() == Some(false) {
            facts.lockdown = Lockdown::Confidentiality;
        }
        let hooks = btf.as_ref().map_or_else(|_| KernelBtf::no_hooks(), KernelBtf::hooks);
        let no_btf = btf.err().map(|error: BtfError| unusable_btf(&error));
        Ok(Self { facts, resolved, hooks, no_btf })
    }

    fn attach(
        &self,
        tier: Tier,
        arguments: &WatchArgs,
        pins: Option<&mut Pins>,
        passed: &[Passed],
        root: &Root,
    ) -> Result<(Attachment, Ours), Failure> {
        if let (Some(failure), Tier::Fentry | Tier::Kprobe) = (&self.no_btf, tier) {
            return Err(failure.clone());
        }
        let mut plan = plan(tier, &self.facts, &self.resolved).map_err(|it| unplanned(&it))?;
        plan.settings.no_cmdlines = u32::from(arguments.privacy.no_cmdline);
        // A report that is closed earlier cannot count the invocations that come later.
        let waits = Duration::from_nanos(WAITS_FOR_VICTIM_NS);
        plan.settings.counts_waits =
            u32::from(arguments.close_after.is_none_or(|patience| patience >= waits));
        if let Some(above) = arguments.growth_above_percent() {
            plan = plan.with_growth(above, &self.facts, &self.resolved);
        }
        let offsets = &self.resolved.offsets;
        let mut probes = load::attach(&plan, offsets, &self.hooks, arguments.ring_size)
            .map_err(|error| refused(&error, &self.facts, root))?;
        if arguments.output.verbose && probes.verified.is_empty() {
            probes.verified = verified::by_log(&plan, &probes, offsets, &self.hooks);
        }
        let attachment = attachment(&plan, &probes, passed);
        let ours = match pins {
            Some(pins) => Ours::Pinned(pins.pin(probes, attachment.clone())?),
            None => Ours::Own(probes),
        };
        Ok((attachment, ours))
    }
}

fn attachment(plan: &Plan, probes: &Probes, passed: &[Passed]) -> Attachment {
    let planned = plan
        .missing
        .iter()
        .cloned()
        .chain(without_counters(&probes.settings))
        .map(|MissingField { field, why }| Missing { field, why });
    let failed = probes.failed.iter().map(|(planned, why)| Missing {
        field: format!("hook {}", planned.hook.key()),
        why: why.lines().next().unwrap_or_default().to_owned(),
    });
    let of_tiers = passed.iter().map(passed_over);
    Attachment { tier: plan.tier, missing: planned.chain(failed).chain(of_tiers).collect() }
}

/// The fields that only a better tier has are missing because the host refuses that tier.
fn passed_over(passed: &Passed) -> Missing {
    let field = format!("tier {}", passed.tier.name());
    Missing { field, why: passed.failure.message.replace("\nhint: ", "; ") }
}

fn unplanned(refusal: &Refusal) -> Failure {
    let exit = if refusal.is_forbidden() { Exit::NotPermitted } else { Exit::Unavailable };
    Failure { exit, ..Failure::unavailable(refusal) }
}

/// Explains a denial: "Operation not permitted" alone does not name the missing permission.
fn refused(error: &LoadError, facts: &HostFacts, root: &Root) -> Failure {
    let LoadError::Refused { what, errno } = error else {
        return Failure::unavailable(error);
    };
    if !denial::is_denial(errno) {
        return Failure::unavailable(error);
    }
    let Denial { why, fix } = denial::explain(facts, &Policy::collect(root));
    Failure {
        exit: Exit::NotPermitted,
        message: format!("{why}, so the kernel refuses {what} ({errno})\nhint: {fix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_the_only_tier_names_the_others_once() {
        let refused = |message: &str, tiers: &[Tier]| {
            let failure = Failure { exit: Exit::Unavailable, message: message.to_owned() };
            naming_other_tiers(failure, tiers).message
        };
        let auto = "`--attach auto` uses the best tier that this host allows";
        assert_eq!(refused("why", &[Tier::Fentry]), format!("why\nhint: {auto}"));
        assert_eq!(refused("why\nhint: do", &[Tier::Kprobe]), format!("why\nhint: do; {auto}"));
        let named = "why\nhint: `--attach kmsg` does without";
        assert_eq!(refused(named, &[Tier::Tracepoint]), named);
        assert_eq!(refused("why", &[Tier::Fentry, Tier::Kmsg]), "why");
    }
}
