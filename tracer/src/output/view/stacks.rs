//! Stacks: where the trigger was, where the victims were.

use crate::{
    compose::names,
    model::report::{Frame, OomReport},
};

/// A stack with its title, innermost frame first.
#[derive(Clone, Debug)]
pub(crate) struct StackView {
    pub(crate) title: String,
    pub(crate) frames: Vec<String>,
}

pub(crate) fn stacks(report: &OomReport) -> Vec<StackView> {
    let mut stacks = Vec::new();
    let mut add = |title: String, frames: Option<&Vec<Frame>>| {
        if let Some(frames) = frames.filter(|frames| !frames.is_empty()) {
            stacks
                .push(StackView { title, frames: frames.iter().map(names::whole_frame).collect() });
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

/// The frames by their names; those that repeat in a row are counted.
pub(crate) fn folded(frames: Option<&[Frame]>) -> Vec<String> {
    let names: Vec<String> = frames.unwrap_or_default().iter().map(names::frame_in_file).collect();
    let folded = names.chunk_by(|a, b| a == b).filter_map(|same| match same {
        [name] => Some(name.clone()),
        [name, ..] => Some(format!("{name} x{}", same.len())),
        [] => None,
    });
    folded.collect()
}
