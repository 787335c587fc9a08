//! What each hook offers on this host, per tier: by which means, or why not. Part of [`super`]: pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Candidates, Refusal};
use crate::{
    host::{
        files::{Lockdown, Privileges},
        support::{BtfSource, FUNCTIONS, HostFacts, MarkVictim, tracepoints},
    },
    model::report::Tier,
};

/// By which means a hook is to be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Means {
    /// A BPF trampoline at a function.
    Trampoline,
    /// A breakpoint at a function.
    Kprobe,
    /// A tracepoint whose arguments the kernel's BTF describes.
    TypedTracepoint,
    /// A tracepoint whose arguments are plain numbers to the verifier.
    RawTracepoint,
}

/// What the hooks of a tier offer.
#[derive(Clone, Debug)]
pub(crate) struct Hooks(BTreeMap<&'static str, Result<Means, String>>);

impl Hooks {
    /// Asks the facts about every function and tracepoint that is hooked.
    pub(crate) fn of(tier: Tier, facts: &HostFacts) -> Self {
        let functions = FUNCTIONS.iter().map(|&name| (name, function(tier, facts, name)));
        let tracepoints = tracepoints().map(|name| (name, tracepoint(tier, facts, name)));
        Self(functions.chain(tracepoints).collect())
    }

    /// The means for one.
    pub(crate) fn means(&self, hook: &str) -> Option<Means> {
        self.0.get(hook)?.as_ref().ok().copied()
    }

    /// Whether there is any.
    pub(crate) fn has(&self, hook: &str) -> bool {
        self.means(hook).is_some()
    }

    /// Why there is none.
    pub(super) fn why_not(&self, hook: &str) -> &str {
        self.0.get(hook).and_then(|offer| offer.as_ref().err()).map_or("", String::as_str)
    }

    /// Symbols of the functions that are hooked by kprobe under another name than theirs.
    pub(super) fn symbols(
        &self,
        candidates: Candidates,
        facts: &HostFacts,
    ) -> BTreeMap<&'static str, String> {
        let by_kprobe = FUNCTIONS.iter().filter(|name| self.means(name) == Some(Means::Kprobe));
        let symbol = |name: &&'static str| {
            let symbols = &facts.kallsyms;
            let other = if *name == "oom_badness" && candidates == Candidates::BadnessPart {
                symbols.changed(name)
            } else if is_return_only(name) {
                symbols.whole(name).or_else(|| symbols.changed(name))
            } else {
                symbols.whole(name)
            };
            let other = other.filter(|other| other != name)?;
            Some((*name, other.to_owned()))
        };
        by_kprobe.filter_map(symbol).collect()
    }
}

/// Hooks that need nothing but the moment of the return: a copy of the function that the compiler
/// gave other arguments (`.isra.0`, `.constprop.0`, `.part.0`) serves as well. Where arguments are
/// needed it does not: which of them it still has, nobody says.
fn is_return_only(function: &str) -> bool {
    function == "mem_cgroup_print_oom_meminfo"
}

fn function(tier: Tier, facts: &HostFacts, name: &'static str) -> Result<Means, String> {
    if tier == Tier::Fentry && facts.btf.has(name) {
        return Ok(Means::Trampoline);
    }
    let found = symbol(facts, name)?;
    // Of these two, a kprobe tier is what permits it; in the better tier it is one hook more.
    match permitted(Tier::Kprobe, facts) {
        Ok(()) if found => Ok(Means::Kprobe),
        Ok(()) => Err(format!("{name} is not known to be in this kernel")),
        Err(refusal) => Err(format!("{name} is not in the kernel's BTF, and {}", brief(&refusal))),
    }
}

/// Whether a kprobe finds the function with its arguments.
fn symbol(facts: &HostFacts, name: &'static str) -> Result<bool, String> {
    let symbols = &facts.kallsyms;
    if !symbols.is_known() {
        return Ok(facts.btf.has(name));
    }
    if symbols.whole(name).is_some() {
        return Ok(true);
    }
    match symbols.changed(name) {
        Some(_) if is_return_only(name) => Ok(true),
        Some(other) => Err(format!(
            "the compiler of this kernel has made {other} of {name}, whose arguments are not known"
        )),
        None => Err(format!("{name} is not in this kernel, or inlined by its compiler")),
    }
}

fn tracepoint(tier: Tier, facts: &HostFacts, name: &'static str) -> Result<Means, String> {
    let is_understood = name != "mark_victim" || facts.btf.mark_victim != MarkVictim::Absent;
    if !facts.btf.has_tracepoint(name) || !is_understood {
        return Err(format!("no tracepoint {name} that is known"));
    }
    match (tier, facts.btf_source) {
        (Tier::Fentry, _) | (_, BtfSource::Kernel) => Ok(Means::TypedTracepoint),
        _ => Ok(Means::RawTracepoint),
    }
}

/// Whether the host allows a tier at all, as far as the facts tell.
pub(crate) fn permitted(tier: Tier, facts: &HostFacts) -> Result<(), Refusal> {
    match tier {
        Tier::Fentry => trampolines(facts),
        Tier::Kprobe => kprobes(facts),
        Tier::Tracepoint | Tier::Kmsg => Ok(()),
    }
}

fn trampolines(facts: &HostFacts) -> Result<(), Refusal> {
    if facts.btf_source == BtfSource::Kernel {
        return Ok(());
    }
    Err(Refusal::Lacking {
        what: "the kernel has no BTF of its own (/sys/kernel/btf/vmlinux), and no trampolines \
               without",
        mend: "`--attach kprobe --btf FILE`, or a kernel with CONFIG_DEBUG_INFO_BTF=y",
    })
}

fn kprobes(facts: &HostFacts) -> Result<(), Refusal> {
    if facts.lockdown == Lockdown::Confidentiality {
        return Err(Refusal::Forbidden {
            what: "lockdown=confidentiality forbids kprobes and reading the kernel's memory",
            mend: "`--attach fentry` does without both",
        });
    }
    if facts.btf_source == BtfSource::Nobody {
        return Err(Refusal::Lacking {
            what: "there is no BTF of this kernel to find its fields by",
            mend: "give it with --btf FILE; `--attach tracepoint` does without",
        });
    }
    if !facts.kprobes {
        return Err(Refusal::Lacking {
            what: "this kernel has no kprobes for perf events (CONFIG_KPROBE_EVENTS), or /sys is \
                   not mounted",
            mend: "`--attach tracepoint` does without",
        });
    }
    perf_events(facts)
}

/// Whether perf events may be opened: kprobes and tracepoints with records are such.
pub(super) fn perf_events(facts: &HostFacts) -> Result<(), Refusal> {
    // Upstream knows no level above 2; Debian's and Ubuntu's 3 keeps all but CAP_SYS_ADMIN out.
    let is_closed = facts.perf_event_paranoid.is_some_and(|level| level >= 3);
    if is_closed && facts.privileges.is_some_and(|it| !it.has(Privileges::SYS_ADMIN)) {
        return Err(Refusal::Forbidden {
            what: "kernel.perf_event_paranoid is 3 or more: perf events need CAP_SYS_ADMIN",
            mend: "run as root, or `sysctl kernel.perf_event_paranoid=2` and CAP_PERFMON",
        });
    }
    Ok(())
}

/// A refusal without its hint.
fn brief(refusal: &Refusal) -> String {
    let text = refusal.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
