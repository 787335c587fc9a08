//! Whose allocation it was: the trigger, what it asked for, and from where.

use anstyle::Style;

use super::{Detail, who};
use crate::{
    compose::names,
    fmt::{
        layout::{Block, Section, elide},
        sanitize::sanitize,
        units,
    },
    model::report::{Frame, GfpMask, OomReport, Trigger},
};

/// Columns of a frame: a mangled or hostile symbol must not take a screen.
const FRAME: usize = 60;

/// Writes the trigger.
pub(super) fn write(block: &mut Block, report: &OomReport, detail: Detail) {
    let Some(trigger) = &report.trigger else {
        return;
    };
    let mut section = block.section("trigger");
    section.facts(identity(trigger));
    let is_victim = report.victims.iter().any(|victim| victim.pid == trigger.pid);
    if !is_victim {
        who::write(&mut section, &trigger.who, detail);
    }
    if let Some(path) = trigger.cgroup.as_ref().and_then(names::cgroup) {
        section.joined(&[path], "", "in ", Style::new());
    }
    let is_told = report.victims.iter().any(|victim| victim.home == trigger.home);
    if !is_told {
        section.facts(names::home(&trigger.home));
    }
    section.facts(request(trigger, report.page_size));
    write_stack(&mut section, "kernel: ", trigger.kernel_stack.as_deref());
    write_stack(&mut section, "user: ", trigger.user_stack.as_deref());
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

/// Whether functions of it in user space have names.
pub(super) fn is_named(report: &OomReport) -> bool {
    let stack = report.trigger.as_ref().and_then(|trigger| trigger.user_stack.as_deref());
    stack.unwrap_or_default().iter().any(|frame| frame.symbol.is_some())
}

/// A stack, innermost first; repeated frames are counted, nothing is left out.
pub(super) fn write_stack(section: &mut Section<'_>, lead: &str, stack: Option<&[Frame]>) {
    let names: Vec<String> = stack.unwrap_or_default().iter().map(frame).collect();
    let folded: Vec<String> = names
        .chunk_by(|a, b| a == b)
        .filter_map(|same| match same {
            [name] => Some(name.clone()),
            [name, ..] => Some(format!("{name} x{}", same.len())),
            [] => None,
        })
        .collect();
    if !folded.is_empty() {
        section.joined(&folded, " < ", lead, Style::new());
    }
}

/// A symbol; else a place in a file that can be looked up; else the address.
fn frame(frame: &Frame) -> String {
    let Frame { ip, symbol, module, file, build_id, file_offset, offset: _ } = frame;
    let file = file.as_deref().map(|file| file.rsplit('/').next().unwrap_or(file));
    let home = file.or(module.as_deref());
    let text = match (symbol, home, build_id, file_offset) {
        (Some(symbol), Some(home), ..) => format!("{symbol} ({home})"),
        (Some(symbol), None, ..) => symbol.clone(),
        (None, Some(home), _, Some(offset)) => format!("{home}+{offset:#x}"),
        (None, None, Some(id), Some(offset)) => {
            format!("build {}+{offset:#x}", id.get(..12).unwrap_or(id))
        }
        (None, Some(home), _, None) => format!("? ({home})"),
        (None, None, ..) => ip.clone().unwrap_or_else(|| "?".to_owned()),
    };
    elide(&sanitize(text.as_bytes()), FRAME)
}
