//! The shape of a curve: rules, in words in docs/verdicts.md. Pure.

use crate::model::recorded_growth::Usage;

/// Parts of equal length that the time is cut into.
const PARTS: u64 = 8;
/// What lasted less has no shape, but can be a burst. ns.
const SHORT_NS: u64 = 10_000_000_000;

/// `burst`, `sawtooth`, `plateau_then_jump`, `steady` or `unknown`.
pub(crate) fn kind(curve: &[Usage]) -> &'static str {
    let (Some(first), Some(last)) = (curve.first(), curve.last()) else {
        return "unknown";
    };
    let span_ns = last.t_ns.saturating_sub(first.t_ns);
    let rise = last.usage.saturating_sub(first.usage);
    if span_ns < SHORT_NS {
        return if share_of(rise, 40, last.max) { "burst" } else { "unknown" };
    }
    let usages = || curve.iter().map(|point| point.usage);
    let range = usages().max().unwrap_or_default() - usages().min().unwrap_or_default();
    let falls: u64 = curve.windows(2).map(|pair| pair[0].usage.saturating_sub(pair[1].usage)).sum();
    let rises: u64 = curve.windows(2).map(|pair| pair[1].usage.saturating_sub(pair[0].usage)).sum();
    if range > 0 && share_of(falls.min(rises), 75, range) {
        return "sawtooth";
    }
    if rise == 0 || !share_of(rise, 50, range) {
        return "unknown";
    }
    let steps = steps(curve, first, span_ns);
    let last_quarter = steps.iter().rev().take(2).sum();
    if share_of(last_quarter, 75, rise) {
        return "plateau_then_jump";
    }
    if steps.iter().any(|&step| share_of(step, 60, rise)) {
        return "burst";
    }
    let growing = steps.iter().filter(|&&step| share_of(step, 3, rise)).count();
    if growing + 2 >= steps.len() { "steady" } else { "unknown" }
}

fn share_of(part: u64, percent: u64, whole: u64) -> bool {
    u128::from(part) * 100 >= u128::from(whole) * u128::from(percent)
}

/// By how much usage rose in each part of the time. Where nothing was charged it stayed as it was.
fn steps(curve: &[Usage], first: &Usage, span_ns: u64) -> Vec<u64> {
    let level = |part: u64| {
        let until =
            u128::from(first.t_ns) + u128::from(span_ns) * u128::from(part) / u128::from(PARTS);
        let before = curve.iter().take_while(|point| u128::from(point.t_ns) <= until);
        before.last().map_or(first.usage, |point| point.usage)
    };
    (0..PARTS).map(|part| level(part + 1).saturating_sub(level(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point every two seconds, below a limit of 1000 pages.
    fn curve(usages: &[u64]) -> Vec<Usage> {
        let points = usages.iter().zip(1_u64..);
        points.map(|(&usage, n)| Usage { t_ns: n * 2_000_000_000, usage, max: 1000 }).collect()
    }

    #[test]
    fn a_leak_is_steady_also_with_a_few_pauses() {
        assert_eq!(kind(&curve(&[100, 200, 310, 420, 500, 610, 720, 800, 900])), "steady");
        assert_eq!(kind(&curve(&[100, 200, 200, 420, 500, 500, 720, 800, 900])), "steady");
    }

    #[test]
    fn a_jump_after_a_level_is_told_from_one_before_it() {
        assert_eq!(
            kind(&curve(&[500, 505, 500, 505, 510, 505, 510, 515, 990])),
            "plateau_then_jump"
        );
        assert_eq!(kind(&curve(&[500, 505, 900, 910, 920, 930, 940, 950, 960])), "burst");
    }

    #[test]
    fn what_comes_down_again_is_a_sawtooth() {
        assert_eq!(kind(&curve(&[500, 800, 500, 850, 520, 900, 510, 900, 990])), "sawtooth");
    }

    #[test]
    fn what_is_over_at_once_is_a_burst_if_it_is_much() {
        assert_eq!(kind(&curve(&[500, 999])), "burst");
        assert_eq!(kind(&curve(&[800, 999])), "unknown");
    }

    #[test]
    fn a_level_and_a_fall_have_no_kind() {
        assert_eq!(kind(&curve(&[990; 9])), "unknown");
        assert_eq!(kind(&curve(&[990, 980, 970, 960, 950, 940, 930, 920, 910])), "unknown");
        assert_eq!(kind(&[]), "unknown");
        assert_eq!(kind(&curve(&[500])), "unknown");
    }
}
