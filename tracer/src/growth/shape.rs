//! The shape of a usage curve. docs/verdicts.md describes the rules. Pure.

use crate::model::recorded_growth::Usage;

/// Parts of equal length that the time is cut into.
const PARTS: u64 = 8;
/// A shorter curve is a burst or has no shape. ns.
const SHORT_NS: u64 = 10_000_000_000;

/// The shape of a usage curve: `growth.kind` in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrowthShape {
    Burst,
    Sawtooth,
    PlateauThenJump,
    Steady,
    Unknown,
}

impl GrowthShape {
    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Sawtooth => "sawtooth",
            Self::PlateauThenJump => "plateau_then_jump",
            Self::Steady => "steady",
            Self::Unknown => "unknown",
        }
    }
}

/// Classifies a curve, oldest point first.
pub(crate) fn shape(curve: &[Usage]) -> GrowthShape {
    let (Some(first), Some(last)) = (curve.first(), curve.last()) else {
        return GrowthShape::Unknown;
    };
    let span_ns = last.t_ns.saturating_sub(first.t_ns);
    let rise = last.usage.saturating_sub(first.usage);
    if span_ns < SHORT_NS {
        let is_burst = is_share(rise, 40, last.max);
        return if is_burst { GrowthShape::Burst } else { GrowthShape::Unknown };
    }
    let usages = || curve.iter().map(|point| point.usage);
    let range = usages().max().unwrap_or_default() - usages().min().unwrap_or_default();
    let falls: u64 = curve.windows(2).map(|pair| pair[0].usage.saturating_sub(pair[1].usage)).sum();
    let rises: u64 = curve.windows(2).map(|pair| pair[1].usage.saturating_sub(pair[0].usage)).sum();
    if range > 0 && is_share(falls.min(rises), 75, range) {
        return GrowthShape::Sawtooth;
    }
    if rise == 0 || !is_share(rise, 50, range) {
        return GrowthShape::Unknown;
    }
    let steps = steps(curve, first, span_ns);
    let last_quarter = steps.iter().rev().take(2).sum();
    if is_share(last_quarter, 75, rise) {
        return GrowthShape::PlateauThenJump;
    }
    if steps.iter().any(|&step| is_share(step, 60, rise)) {
        return GrowthShape::Burst;
    }
    let growing = steps.iter().filter(|&&step| is_share(step, 3, rise)).count();
    if growing + 2 >= steps.len() { GrowthShape::Steady } else { GrowthShape::Unknown }
}

/// Whether `part` is at least `percent` percent of `whole`.
fn is_share(part: u64, percent: u64, whole: u64) -> bool {
    u128::from(part) * 100 >= u128::from(whole) * u128::from(percent)
}

/// The rise of usage in each part of the time. Usage stays the same where nothing was charged.
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
    use super::{GrowthShape::*, *};

    /// A point every two seconds, below a limit of 1000 pages.
    fn curve(usages: &[u64]) -> Vec<Usage> {
        let points = usages.iter().zip(1_u64..);
        points.map(|(&usage, n)| Usage { t_ns: n * 2_000_000_000, usage, max: 1000 }).collect()
    }

    #[test]
    fn leak_with_pauses_is_steady() {
        assert_eq!(shape(&curve(&[100, 200, 310, 420, 500, 610, 720, 800, 900])), Steady);
        assert_eq!(shape(&curve(&[100, 200, 200, 420, 500, 500, 720, 800, 900])), Steady);
    }

    #[test]
    fn early_jump_is_burst_late_jump_follows_plateau() {
        assert_eq!(shape(&curve(&[500, 505, 500, 505, 510, 505, 510, 515, 990])), PlateauThenJump);
        assert_eq!(shape(&curve(&[500, 505, 900, 910, 920, 930, 940, 950, 960])), Burst);
    }

    #[test]
    fn repeated_falls_are_sawtooth() {
        assert_eq!(shape(&curve(&[500, 800, 500, 850, 520, 900, 510, 900, 990])), Sawtooth);
    }

    #[test]
    fn short_curve_is_burst_if_rise_is_large() {
        assert_eq!(shape(&curve(&[500, 999])), Burst);
        assert_eq!(shape(&curve(&[800, 999])), Unknown);
    }

    #[test]
    fn flat_and_falling_curves_have_no_shape() {
        assert_eq!(shape(&curve(&[990; 9])), Unknown);
        assert_eq!(shape(&curve(&[990, 980, 970, 960, 950, 940, 930, 920, 910])), Unknown);
        assert_eq!(shape(&[]), Unknown);
        assert_eq!(shape(&curve(&[500])), Unknown);
    }
}
