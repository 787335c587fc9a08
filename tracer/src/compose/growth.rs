//! What grew before memory ran out.

use std::collections::BTreeMap;

use super::{Facts, kernel_frames};
use crate::{
    growth::{Place, Recorded, Usage, kind},
    report::{Growth, GrowthPoint, GrowthRate, GrowthStack, Missing, lossy},
};

/// ns.
const MINUTE: u64 = 60_000_000_000;

/// What the recorder had; `None` where it did not run, or saw nothing of this memcg.
pub(super) fn growth(facts: Facts<'_>, names: &BTreeMap<i32, String>) -> Option<Growth> {
    let recorded = facts.account.growth.as_ref()?;
    let point = |usage: &Usage| GrowthPoint {
        t_ns: usage.t_ns,
        usage_bytes: facts.bytes(usage.usage),
        limit_bytes: Some(facts.bytes(usage.max)),
    };
    let curve: Vec<GrowthPoint> = recorded.curve.iter().map(point).collect();
    Some(Growth {
        since: curve.first().and_then(|first| facts.time(first.t_ns)),
        rate_bytes_per_s: rates(&curve),
        kind: (!curve.is_empty()).then(|| kind(&recorded.curve).to_owned()),
        stacks: recorded.places.iter().map(|place| stack(facts, place, names)).collect(),
        unwound_share: share(recorded),
        curve,
    })
}

/// What the recorder had no room for.
pub(super) fn missing(recorded: &Recorded) -> Option<Missing> {
    let Recorded { pushed_out, dropped, .. } = *recorded;
    if pushed_out == 0 && dropped == 0 {
        return None;
    }
    let why = format!(
        "since the start the recorder had no room for {dropped} charges and stacks, and {pushed_out} \
         places gave way to newer ones"
    );
    Some(Missing { field: "growth.stacks".to_owned(), why })
}

fn rates(curve: &[GrowthPoint]) -> Option<GrowthRate> {
    let last = curve.last()?;
    let recent = curve.iter().find(|point| last.t_ns - point.t_ns <= MINUTE);
    let whole = rate(curve.first()?, last);
    whole.map(|whole| GrowthRate {
        last_minute: recent.and_then(|first| rate(first, last)),
        whole: Some(whole),
    })
}

/// Bytes a second; `None` within the same moment.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rounded rate")]
fn rate(from: &GrowthPoint, to: &GrowthPoint) -> Option<i64> {
    let ns = to.t_ns.checked_sub(from.t_ns).filter(|&ns| ns > 0)?;
    let bytes = to.usage_bytes as f64 - from.usage_bytes as f64;
    Some((bytes * 1e9 / ns as f64).round() as i64)
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(recorded: &Recorded) -> Option<f64> {
    let share = recorded.unwound_pages as f64 / recorded.pages as f64;
    (recorded.pages > 0).then(|| (share * 1000.0).round() / 1000.0)
}

fn stack(facts: Facts<'_>, place: &Place, names: &BTreeMap<i32, String>) -> GrowthStack {
    // The name of the process, where the report has it; else that of the thread.
    let comm = names.get(&place.tgid).cloned().unwrap_or_else(|| lossy(&place.comm).0);
    GrowthStack {
        bytes: facts.bytes(place.pages),
        pid: (place.tgid != 0).then_some(place.tgid),
        comm: (place.tgid != 0).then_some(comm),
        user_stack: (!place.user.is_empty()).then(|| place.user.clone()),
        kernel_stack: (!place.kernel.is_empty())
            .then(|| kernel_frames(facts.findings, &place.kernel)),
    }
}
