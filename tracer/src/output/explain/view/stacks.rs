//! Stacks: where the trigger was, where the victims were.

use crate::{
    compose::names,
    model::report::{Frame, OomReport},
};

/// A stack with its title, innermost frame first.
#[derive(Clone, Debug)]
pub(in crate::output::explain) struct Stack {
    pub(in crate::output::explain) title: String,
    pub(in crate::output::explain) frames: Vec<String>,
}

/// All stacks of a report.
pub(in crate::output::explain) fn stacks(report: &OomReport) -> Vec<Stack> {
    let mut stacks = Vec::new();
    let mut add = |title: String, frames: Option<&Vec<Frame>>| {
        if let Some(frames) = frames.filter(|frames| !frames.is_empty()) {
            stacks.push(Stack { title, frames: frames.iter().map(frame).collect() });
        }
    };
    if let Some(trigger) = &report.trigger {
        let name = names::trigger(trigger);
        add(format!("{name}, the trigger, in the kernel"), trigger.kernel_stack.as_ref());
        add(format!("{name}, the trigger, in user space"), trigger.user_stack.as_ref());
    }
    for victim in &report.victims {
        let name = names::victim(victim);
        add(format!("{name}, the victim, in user space"), victim.user_stack.as_ref());
    }
    stacks
}

/// "function+0x1f (libc.so.6)", as much of it as is known.
pub(in crate::output::explain) fn frame(frame: &Frame) -> String {
    let offset = frame.offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
    let file = frame.module.as_deref().or(frame.file.as_deref()).map(super::safe);
    let build = frame.build_id.as_deref().map(|id| {
        let id: String = id.chars().take(12).collect();
        let offset = frame.file_offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
        format!("build {}{offset}", super::safe(&id))
    });
    match (frame.symbol.as_deref().map(super::safe), file) {
        (Some(symbol), Some(file)) => format!("{symbol}{offset} ({file})"),
        (Some(symbol), None) => format!("{symbol}{offset}"),
        (None, Some(file)) => {
            let offset = frame.file_offset.map(|offset| format!("+{offset:#x}"));
            format!("{file}{}", offset.unwrap_or_default())
        }
        (None, None) => build
            .or_else(|| frame.ip.as_deref().map(super::safe))
            .unwrap_or_else(|| "(not known)".to_owned()),
    }
}
