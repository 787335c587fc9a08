//! Measures time with the kernel's trace events, which are read back as text.
//!
//! Only static trace events are used. A kprobe on a function with one of oomwhy's trampolines would
//! change the cost of the trampoline.

use std::fs;

use anyhow::{Context as _, Result};

const TRACEFS: &str = "/sys/kernel/tracing";
/// A write to this file adds an event to the trace, with the time of the write.
pub(super) const MARKER: &str = "/sys/kernel/tracing/trace_marker";

/// An event: one line of the trace.
#[derive(Debug)]
pub(super) struct Event {
    /// The time in units of the clock.
    pub(super) time: f64,
    pub(super) name: String,
    /// The text after the name.
    pub(super) fields: String,
}

/// Starts tracing these events (`system/name`) with this clock.
pub(super) fn start(clock: &str, events: &[&str]) -> Result<()> {
    write("trace_clock", clock)?;
    for event in events {
        write(&format!("events/{event}/enable"), "1")?;
    }
    write("tracing_on", "1")
}

/// Sets a filter for an event.
pub(super) fn filter(event: &str, filter: &str) -> Result<()> {
    write(&format!("events/{event}/filter"), filter)
}

/// Clears the trace.
pub(super) fn clear() -> Result<()> {
    write("trace", "")
}

/// The events since the last [`clear`], in the order of time.
pub(super) fn read() -> Result<Vec<Event>> {
    let path = format!("{TRACEFS}/trace");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Parses `  hog-71   [000] .....  12.345678: mark_victim: pid=71 ...`.
fn parse(line: &str) -> Option<Event> {
    let (head, event) = line.split_once(": ")?;
    let (name, fields) = event.split_once(':')?;
    Some(Event {
        time: head.split_whitespace().next_back()?.parse().ok()?,
        name: name.to_owned(),
        fields: fields.trim().to_owned(),
    })
}

fn write(file: &str, value: &str) -> Result<()> {
    let path = format!("{TRACEFS}/{file}");
    fs::write(&path, value).with_context(|| format!("{value:?} cannot be written to {path}"))
}
