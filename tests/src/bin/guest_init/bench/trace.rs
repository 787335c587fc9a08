//! The stopwatch: trace events of the kernel itself, read back as text.
//!
//! Only static trace events: a kprobe on a function that carries one of our trampolines would
//! change what the trampoline costs.

use std::fs;

use anyhow::{Context as _, Result};

const TRACEFS: &str = "/sys/kernel/tracing";
/// What is written here stands in the trace, with the time of the write.
pub(super) const MARKER: &str = "/sys/kernel/tracing/trace_marker";

/// One line of the trace.
#[derive(Debug)]
pub(super) struct Event {
    /// In units of the clock.
    pub(super) time: f64,
    pub(super) name: String,
    /// What follows the name.
    pub(super) fields: String,
}

/// Starts tracing these events (`system/name`), timed by this clock.
pub(super) fn start(clock: &str, events: &[&str]) -> Result<()> {
    write("trace_clock", clock)?;
    for event in events {
        write(&format!("events/{event}/enable"), "1")?;
    }
    write("tracing_on", "1")
}

/// Only what matches is traced of this event.
pub(super) fn filter(event: &str, filter: &str) -> Result<()> {
    write(&format!("events/{event}/filter"), filter)
}

/// Forgets what was traced.
pub(super) fn clear() -> Result<()> {
    write("trace", "")
}

/// Everything that was traced since, in the order of time.
pub(super) fn read() -> Result<Vec<Event>> {
    let path = format!("{TRACEFS}/trace");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// `  hog-71   [000] .....  12.345678: mark_victim: pid=71 ...`
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
