//! The host's memory, with its age.

use super::Facts;
use crate::model::report::System;

/// `started_ns`: entry into `out_of_memory`, `CLOCK_BOOTTIME`.
pub(super) fn system(facts: Facts<'_>, started_ns: u64) -> Option<System> {
    let (at_ns, memory) = facts.account.system.as_ref()?;
    let age_ns = at_ns.checked_sub(started_ns);
    Some(System { time: facts.time(*at_ns), age_ns, ..memory.clone() })
}
