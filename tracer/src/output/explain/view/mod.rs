//! The parts of a report, ready to be shown: named, in order, with their shares. Every untrusted byte
//! has passed through [`crate::fmt::sanitize`] here; HTML escapes on top of that.

pub(super) mod candidates;
pub(super) mod growth;
pub(super) mod limits;
pub(super) mod memory;
pub(super) mod people;
pub(super) mod stacks;
pub(super) mod timeline;

use jiff::{Timestamp, tz::TimeZone};

use crate::{fmt::sanitize::sanitize, model::report::Tier};

/// A name and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

pub(super) fn fact(name: &'static str, value: Option<String>) -> Option<Fact> {
    value.map(|value| Fact { name, value })
}

/// Thousandths of a whole.
pub(super) fn permille(part: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(part) * 1000).checked_div(u128::from(whole))?;
    Some(u64::try_from(share).unwrap_or(u64::MAX).min(1000))
}

/// "64 %", "0.4 %"
pub(super) fn percent(permille: u64) -> String {
    match (permille / 10, permille % 10) {
        (whole @ 0..10, tenth @ 1..) => format!("{whole}.{tenth} %"),
        (whole, _) => format!("{whole} %"),
    }
}

pub(super) fn safe(text: &str) -> String {
    sanitize(text.as_bytes())
}

/// A day and time, with the zone.
pub(super) fn moment(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone()).strftime("%F %T%.3f %:z").to_string()
}

pub(super) fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Fentry => "fentry",
        Tier::Kprobe => "kprobe",
        Tier::Tracepoint => "tracepoint",
        Tier::Kmsg => "kmsg",
    }
}
