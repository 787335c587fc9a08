//! The trigger, its request for memory, and its stacks.

use anstyle::Style;

use super::{Detail, section, who};
use crate::{
    compose::names,
    fmt::page::{Page, Section},
    model::report::{Frame, OomReport, Trigger},
    output::view::{Fact, processes, stacks},
};

/// Writes the trigger.
pub(super) fn write(block: &mut Page, report: &OomReport, detail: Detail) {
    let Some(trigger) = &report.trigger else {
        return;
    };
    let mut lines = section(block, "trigger");
    lines.facts(identity(trigger));
    let is_victim = report.victims.iter().any(|victim| victim.pid == trigger.pid);
    if !is_victim {
        who::write(&mut lines, &trigger.who, true, detail);
    }
    if let Some(path) = trigger.cgroup.as_ref().and_then(names::cgroup) {
        lines.joined("in ", &[path], "", Style::new());
    }
    let owner_is_shown = report.victims.iter().any(|victim| victim.owner == trigger.owner);
    if !owner_is_shown {
        lines.facts(names::owner(&trigger.owner));
    }
    let request = processes::request(report);
    lines.facts(request.iter().map(|Fact { name, value }| format!("{name} {value}")));
    write_stack(&mut lines, "kernel: ", trigger.kernel_stack.as_deref());
    write_stack(&mut lines, "user: ", trigger.user_stack.as_deref());
}

fn identity(trigger: &Trigger) -> impl Iterator<Item = String> {
    let Trigger { tid, uid, who, oom_score_adj, .. } = trigger;
    let facts = [
        Some(names::trigger(trigger)),
        tid.map(|tid| format!("thread {tid}")),
        names::user(who, *uid),
        oom_score_adj.map(|adj| format!("oom_score_adj {adj}")),
    ];
    facts.into_iter().flatten()
}

/// A stack, innermost first; nothing is left out.
pub(super) fn write_stack(lines: &mut Section<'_>, lead: &str, stack: Option<&[Frame]>) {
    let frames = stacks::folded(stack);
    if !frames.is_empty() {
        lines.joined(lead, &frames, " < ", Style::new());
    }
}
