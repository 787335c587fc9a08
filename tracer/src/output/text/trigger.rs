//! Whose allocation it was: the trigger, what it asked for, and from where.

use anstyle::Style;

use super::{Detail, section, who};
use crate::{
    compose::names,
    fmt::{
        page::{Page, Section},
        units,
    },
    model::report::{Frame, GfpMask, OomReport, Trigger},
    output::view::stacks,
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
    let is_shown = report.victims.iter().any(|victim| victim.home == trigger.home);
    if !is_shown {
        lines.facts(names::home(&trigger.home));
    }
    lines.facts(request(trigger, report.page_size));
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

fn request(trigger: &Trigger, page_size: Option<u64>) -> impl Iterator<Item = String> {
    let gfp = trigger.gfp_mask.as_ref().map(|GfpMask { value, names }| match names.as_slice() {
        [] => format!("gfp_mask {value:#x}"),
        names => format!("gfp_mask {value:#x} {}", names.join("|")),
    });
    let order = trigger.order.filter(|order| *order >= 0).map(|order| {
        let shift = u32::try_from(order).ok();
        let size = page_size.zip(shift).and_then(|(page, shift)| page.checked_shl(shift));
        let size = size.map(|size| format!(" ({})", units::bytes(size)));
        format!("order {order}{}", size.unwrap_or_default())
    });
    [gfp, order].into_iter().flatten()
}

/// A stack, innermost first; nothing is left out.
pub(super) fn write_stack(lines: &mut Section<'_>, lead: &str, stack: Option<&[Frame]>) {
    let frames = stacks::folded(stack);
    if !frames.is_empty() {
        lines.joined(lead, &frames, " < ", Style::new());
    }
}
