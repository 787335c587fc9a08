//! Which hooks this host can attach in a tier, by which method and under which name, or why not.
//! Part of [`super`]: pure.

use std::collections::BTreeMap;

use super::{Candidates, Refusal};
use crate::{
    bpf::hooks::{AttachMethod, HOOKS, HookSpec},
    host::{
        facts::{BtfSource, HookKind, HostFacts, MarkVictim},
        files::{Lockdown, Privileges},
    },
    model::{hook::Hook, report::Tier},
};

/// How a hook is attached.
#[derive(Clone, Debug)]
struct Attachable {
    method: AttachMethod,
    /// The name of the function or tracepoint in this kernel.
    symbol: String,
}

/// The hooks of a tier.
#[derive(Clone, Debug)]
pub(crate) struct AttachableHooks(BTreeMap<Hook, Result<Attachable, String>>);

impl AttachableHooks {
    pub(crate) fn of(tier: Tier, facts: &HostFacts) -> Self {
        let attachable = |spec: &HookSpec| match spec.kind {
            HookKind::Function => (spec.hook, function(tier, facts, spec)),
            HookKind::Tracepoint => (spec.hook, tracepoint(tier, facts, spec.hook)),
        };
        Self(HOOKS.iter().map(attachable).collect())
    }

    pub(crate) fn method(&self, hook: Hook) -> Option<AttachMethod> {
        Some(self.0.get(&hook)?.as_ref().ok()?.method)
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.method(hook).is_some()
    }

    /// Why a hook cannot be attached; empty if it can.
    pub(super) fn why_not(&self, hook: Hook) -> &str {
        self.0.get(&hook).and_then(|found| found.as_ref().err()).map_or("", String::as_str)
    }

    /// The names in this kernel of those hooks whose name is not their key.
    pub(super) fn symbols(
        &self,
        candidates: Candidates,
        facts: &HostFacts,
    ) -> BTreeMap<Hook, String> {
        let found = self.0.iter().filter_map(|(hook, found)| Some((*hook, found.as_ref().ok()?)));
        let mut symbols: BTreeMap<Hook, String> =
            found.map(|(hook, attachable)| (hook, attachable.symbol.clone())).collect();
        if candidates == Candidates::BadnessPart
            && let Some(part) = facts.kallsyms.changed(Hook::OomBadness)
        {
            symbols.insert(Hook::OomBadness, part.to_owned());
        }
        symbols.retain(|hook, symbol| symbol != hook.key());
        symbols
    }
}

fn function(tier: Tier, facts: &HostFacts, spec: &HookSpec) -> Result<Attachable, String> {
    if tier == Tier::Fentry
        && let Some(name) = facts.btf.name(spec.hook)
    {
        return Ok(Attachable { method: AttachMethod::Trampoline, symbol: name.to_owned() });
    }
    let symbol = kprobe_symbol(facts, spec)?;
    let key = spec.hook.key();
    // A fentry tier uses a kprobe for a function that has no trampoline.
    match (permitted(Tier::Kprobe, facts), symbol) {
        (Ok(()), Some(symbol)) => {
            Ok(Attachable { method: AttachMethod::Kprobe, symbol: symbol.to_owned() })
        }
        (Ok(()), None) => Err(format!("{key} is not known to be in this kernel")),
        (Err(refusal), _) => {
            Err(format!("{key} is not in the kernel's BTF, and {}", first_line(&refusal)))
        }
    }
}

/// The symbol at which a kprobe finds the arguments of the function.
fn kprobe_symbol<'a>(facts: &'a HostFacts, spec: &HookSpec) -> Result<Option<&'a str>, String> {
    let symbols = &facts.kallsyms;
    if !symbols.is_read {
        return Ok(facts.btf.name(spec.hook));
    }
    if let Some(symbol) = symbols.whole(spec.hook) {
        return Ok(Some(symbol));
    }
    let key = spec.hook.key();
    match symbols.changed(spec.hook) {
        Some(symbol) if spec.is_return_only => Ok(Some(symbol)),
        Some(other) => Err(format!(
            "the compiler of this kernel has made {other} of {key}, whose arguments are not known"
        )),
        None => Err(format!("{key} is not in this kernel, or inlined by its compiler")),
    }
}

fn tracepoint(tier: Tier, facts: &HostFacts, hook: Hook) -> Result<Attachable, String> {
    let is_understood = hook != Hook::MarkVictim || facts.btf.mark_victim != MarkVictim::Absent;
    let name = facts
        .btf
        .name(hook)
        .filter(|_| is_understood)
        .ok_or_else(|| format!("no tracepoint {} that is known", hook.key()))?;
    let method = match (tier, facts.btf_source) {
        (Tier::Fentry, _) | (_, BtfSource::Kernel) => AttachMethod::TypedTracepoint,
        _ => AttachMethod::RawTracepoint,
    };
    Ok(Attachable { method, symbol: name.to_owned() })
}

/// Whether the host allows a tier, as far as the facts show.
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
    Err(Refusal::Unsupported {
        what: "the kernel has no BTF of its own (/sys/kernel/btf/vmlinux), and no trampolines \
               without",
        fix: "`--attach kprobe --btf FILE`, or a kernel with CONFIG_DEBUG_INFO_BTF=y; `--attach \
              tracepoint` and `--attach kmsg` do without",
    })
}

fn kprobes(facts: &HostFacts) -> Result<(), Refusal> {
    if facts.lockdown == Lockdown::Confidentiality {
        return Err(Refusal::Forbidden {
            what: "lockdown=confidentiality forbids kprobes and reading the kernel's memory",
            fix: "`--attach fentry` does without both",
        });
    }
    if facts.btf_source == BtfSource::Absent {
        return Err(Refusal::Unsupported {
            what: "there is no BTF of this kernel to find its fields by",
            fix: "give it with --btf FILE; `--attach tracepoint` does without",
        });
    }
    if !facts.sysfs {
        return Err(Refusal::Unsupported {
            what: "/sys is not mounted, which shows whether this kernel has kprobes",
            fix: "`mount -t sysfs sysfs /sys`, or `--attach tracepoint`",
        });
    }
    if !facts.kprobes {
        return Err(Refusal::Unsupported {
            what: "this kernel has no kprobes for perf events (CONFIG_KPROBE_EVENTS)",
            fix: "`--attach tracepoint` does without",
        });
    }
    perf_events(facts)
}

/// Whether perf events may be opened, which kprobes and tracepoints with records need.
pub(super) fn perf_events(facts: &HostFacts) -> Result<(), Refusal> {
    // Upstream knows no level above 2; Debian's and Ubuntu's 3 keeps all but CAP_SYS_ADMIN out.
    let is_closed = facts.perf_event_paranoid.is_some_and(|level| level >= 3);
    if is_closed && facts.privileges.is_some_and(|it| !it.has(Privileges::SYS_ADMIN)) {
        return Err(Refusal::Forbidden {
            what: "kernel.perf_event_paranoid is 3 or more: perf events need CAP_SYS_ADMIN",
            fix: "run as root, or `sysctl kernel.perf_event_paranoid=2` and CAP_PERFMON",
        });
    }
    Ok(())
}

/// A refusal without its hint.
fn first_line(refusal: &Refusal) -> String {
    let text = refusal.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
