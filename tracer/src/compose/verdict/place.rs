//! Where in the code most of what a process took was taken. Pure.

use std::collections::BTreeMap;

use super::domain::percent;
use crate::{
    fmt::{sanitize::sanitize, units, width::elide},
    model::report::{Frame, Growth, GrowthStack},
};

/// Functions that say where: who touched it, who called, and who called that one.
const FUNCTIONS: usize = 3;
/// Columns of a function's name: those of templates have no end.
const NAME_COLUMNS: usize = 60;

/// "of what java[7] was seen to take, 70 % (210 MiB) came from parse < main"; `None` where no function
/// of it has a name.
pub(super) fn largest(growth: &Growth, pid: i32, name: &str) -> Option<String> {
    let own = || growth.stacks.iter().filter(|stack| stack.pid == Some(pid));
    let total = own().map(|stack| stack.bytes).fold(0, u64::saturating_add);
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for stack in own() {
        if let Some(place) = place(stack) {
            let sum = sums.entry(place).or_default();
            *sum = sum.saturating_add(stack.bytes);
        }
    }
    let (place, bytes) = sums.into_iter().max_by_key(|(_, bytes)| *bytes)?;
    Some(format!(
        "of what {name} was seen to take, {} ({}) came from {place}",
        percent(bytes, total),
        units::bytes(bytes)
    ))
}

/// The innermost functions that have names.
fn place(stack: &GrowthStack) -> Option<String> {
    let frames = stack.user_stack.as_deref().unwrap_or_default();
    let symbol =
        |frame: &Frame| Some(elide(&sanitize(frame.symbol.as_deref()?.as_bytes()), NAME_COLUMNS));
    let named: Vec<String> = frames.iter().filter_map(symbol).take(FUNCTIONS).collect();
    (!named.is_empty()).then(|| named.join(" < "))
}
