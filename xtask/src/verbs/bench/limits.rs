//! The limits of oomwhy's costs, which docs/overhead.md promises.

use anyhow::{Result, bail};
use oomwhy_tests::bench::StormTracer;

use super::costs::{Costs, to_f64};
use super::peers::OOMWHY;

const PER_CANDIDATE: f64 = 500.0;
const PER_INVOCATION: f64 = 25_000.0;
const DEFAULT_RATIO: f64 = 1.05;
const STORM_RATIO: f64 = 0.97;
const START_RATIO: f64 = 2.0;
const RESIDENT_MB: f64 = 6.0;
const BINARY_MB: f64 = 8.0;
const IDLE_WAKEUPS: f64 = 0.0;

/// One promise on one kernel.
pub(crate) struct Promise {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) limit: f64,
}

impl Promise {
    /// Whether the limit is respected; NaN respects none.
    pub(crate) fn is_kept(&self) -> bool {
        self.value <= self.limit
    }
}

/// Fails with all limits that are exceeded.
pub(crate) fn check(costs: &[Costs]) -> Result<()> {
    let mut missed = Vec::new();
    for costs in costs {
        for promise in promises(costs).iter().filter(|promise| !promise.is_kept()) {
            missed.push(format!(
                "{} on {}: {:.1}, the limit is {}",
                promise.what, costs.release, promise.value, promise.limit
            ));
        }
    }
    if !missed.is_empty() {
        bail!("oomwhy exceeds limits of its costs:\n  {}", missed.join("\n  "));
    }
    Ok(())
}

pub(crate) fn promises(costs: &Costs) -> Vec<Promise> {
    let promise = |what, value, limit| Promise { what, value, limit };
    let candidate = costs.candidate.added.max(costs.candidate.added_in_crowd);
    let mut promises = vec![
        promise("instructions added per candidate", candidate, PER_CANDIDATE),
        promise(
            "instructions added per invocation, without candidates",
            costs.per_invocation,
            PER_INVOCATION,
        ),
        promise(
            "an invocation as long as without, default settings, 1,000 candidates or more",
            costs.default_ratio(1000..=usize::MAX),
            DEFAULT_RATIO,
        ),
        promise("the same with a single candidate", costs.default_ratio(1..=1), DEFAULT_RATIO),
        promise(
            "a storm as long as without, oomwhy on another CPU",
            costs.storm_ratio(StormTracer::Elsewhere).recip(),
            STORM_RATIO.recip(),
        ),
        promise("start, of oomkill's", costs.start_ratio(), START_RATIO),
        promise("MB of binary", millions(costs.binary_bytes), BINARY_MB),
    ];
    if let Some(oomwhy) = costs.tool(OOMWHY) {
        let measured = &oomwhy.measured;
        let (ready, later) = (&measured.memory_ready, &measured.memory_after_kills);
        let resident = millions(ready.resident_bytes.max(later.resident_bytes));
        let silent = f64::from(measured.kills) - to_f64(oomwhy.latency.n as u64);
        promises.extend([
            promise("MB resident", resident, RESIDENT_MB),
            promise("wake-ups in an idle minute", to_f64(measured.idle_wakeups), IDLE_WAKEUPS),
            promise("kills not reported", silent, 0.0),
        ]);
    }
    promises
}

/// Bytes to MB, nanoseconds to ms.
pub(crate) fn millions(value: u64) -> f64 {
    to_f64(value) / 1e6
}
