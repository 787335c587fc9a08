//! The shape of a curve: rules, in words in docs/verdicts.md. Pure.

use super::Usage;

/// Fewer points have no shape.
const FEWEST_POINTS: usize = 5;
/// Nor has what lasted less. ns.
const SHORTEST_NS: u64 = 4_000_000_000;
/// Parts of equal length that the time is cut into.
const PARTS: usize = 8;

/// "steady", "burst", "`plateau_then_jump`", "sawtooth" or "unknown".
pub fn kind(curve: &[Usage]) -> &'static str {
    let (Some(first), Some(last)) = (curve.first(), curve.last()) else {
        return "unknown";
    };
    let span_ns = last.t_ns.saturating_sub(first.t_ns);
    if curve.len() < FEWEST_POINTS || span_ns < SHORTEST_NS {
        return "unknown";
    }
    let levels = levels(curve, first.t_ns, span_ns);
    let steps: Vec<f64> = levels.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let range = {
        let least = curve.iter().map(|point| point.usage).min().unwrap_or_default();
        pages(curve.iter().map(|point| point.usage).max().unwrap_or_default() - least)
    };
    if range <= 0.0 {
        return "unknown";
    }
    let falls: f64 = steps.iter().filter(|step| **step < 0.0).map(|step| -step).sum();
    let rise =
        levels.last().copied().unwrap_or_default() - levels.first().copied().unwrap_or_default();
    let falls_of_points: f64 =
        curve.windows(2).map(|pair| pages(pair[0].usage.saturating_sub(pair[1].usage))).sum();
    // What went up came down again, at least once over.
    if falls.max(falls_of_points) >= range * 0.75 {
        return "sawtooth";
    }
    if rise < range * 0.5 {
        return "unknown";
    }
    let largest = steps.iter().copied().fold(0.0, f64::max);
    let last_steps: f64 = steps.iter().rev().take(2).filter(|step| **step > 0.0).sum();
    if last_steps >= range * 0.75 {
        // Nearly all of it in the last quarter of the time, which was level before.
        return "plateau_then_jump";
    }
    if largest >= range * 0.6 {
        return "burst";
    }
    // No part of the time without its share, and none with much more.
    let growing = steps.iter().filter(|step| **step >= range / 32.0).count();
    if growing + 2 >= steps.len() { "steady" } else { "unknown" }
}

/// Usage at the begin, and at the end of each part. Where nothing was charged it stayed as it was.
fn levels(curve: &[Usage], since_ns: u64, span_ns: u64) -> Vec<f64> {
    let parts = PARTS as u64;
    let at = |part: u64| {
        let until_ns =
            since_ns + span_ns / parts * part + if part == parts { span_ns % parts } else { 0 };
        let before = curve.iter().take_while(|point| point.t_ns <= until_ns);
        before.last().map_or(0.0, |point| pages(point.usage))
    };
    (0..=parts).map(at).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shares of a range")]
fn pages(count: u64) -> f64 {
    count as f64
}
