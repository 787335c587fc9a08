//! Hooks to programs, in the order in which they are attached. Part of [`super`]: pure.

use super::{Candidates, Planned, attach_methods::AttachableHooks};
use crate::{
    bpf::hooks::Program,
    host::facts::{HostFacts, MarkVictim},
    model::hook::Hook,
};

/// The inner hooks come first: an invocation that begins during the attaching is then seen as a
/// whole or not at all, because the entry of `out_of_memory` opens it.
const BEFORE_CANDIDATES: [Hook; 3] = [Hook::MarkVictim, Hook::KillProcess, Hook::OomKillProcess];
const AFTER_CANDIDATES: [Hook; 13] = [
    Hook::CgroupMkdir,
    Hook::MemCgroupPrintOomMeminfo,
    Hook::SignalGenerate,
    Hook::DoGroupExit,
    Hook::WakeReaper,
    Hook::StartTaskReaping,
    Hook::FinishTaskReaping,
    Hook::SkipTaskReaping,
    Hook::SchedProcessExit,
    Hook::ExitMmap,
    Hook::MemCgroupOomSynchronize,
    Hook::OutOfMemory,
    Hook::MemCgroupOutOfMemory,
];

/// The programs of all hooks that can be attached.
pub(super) fn all(
    hooks: &AttachableHooks,
    facts: &HostFacts,
    candidates: Candidates,
) -> Vec<Planned> {
    let mark_victim = facts.btf.mark_victim;
    let mut programs = Vec::new();
    for hook in BEFORE_CANDIDATES {
        programs.extend(of_hook(hooks, hook, mark_victim));
    }
    programs.extend(of_candidates(hooks, candidates));
    for hook in AFTER_CANDIDATES {
        programs.extend(of_hook(hooks, hook, mark_victim));
    }
    programs
}

/// The programs of one hook, by the method that this host has for it.
pub(super) fn of_hook(
    hooks: &AttachableHooks,
    hook: Hook,
    mark_victim: MarkVictim,
) -> impl Iterator<Item = Planned> {
    let method = hooks.method(hook);
    let fits = move |program: &&Program| {
        method.is_some_and(|method| program.kind.is_for(method)) && program.fits(mark_victim)
    };
    let planned =
        move |program: &Program| Planned { program: program.name, hook, kind: program.kind };
    hook.spec().programs.iter().filter(fits).map(planned)
}

fn of_candidates(hooks: &AttachableHooks, candidates: Candidates) -> Vec<Planned> {
    let (at_return, at_entry) = match candidates {
        Candidates::Badness => (Hook::OomBadness, Hook::OomBadness),
        Candidates::BadnessPart => (Hook::OomBadness, Hook::OomEvaluateTask),
        Candidates::EvaluateTask => (Hook::OomEvaluateTask, Hook::OomEvaluateTask),
        Candidates::Unavailable => return Vec::new(),
    };
    let programs = |hook| of_hook(hooks, hook, MarkVictim::Absent);
    let returns = programs(at_return).filter(|planned| planned.kind.is_return());
    let entries = programs(at_entry).filter(|planned| !planned.kind.is_return());
    returns.chain(entries).collect()
}
