//! The low points of a curve that goes up and down: whether all comes back. Pure.

use crate::report::Growth;

/// What must lie between a high and a low point, and by what low points must differ to have moved; as a
/// share of the curve's range.
const MOVED_PERCENT: u64 = 25;

/// The first low point and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lows {
    pub(super) first_bytes: u64,
    pub(super) last_bytes: u64,
    /// The last one is higher: some of what was taken stayed.
    pub(super) is_rising: bool,
}

/// `None` where usage did not come down and go up again at least twice.
pub(super) fn lows(growth: &Growth) -> Option<Lows> {
    let usages: Vec<u64> = growth.curve.iter().map(|point| point.usage_bytes).collect();
    let range = usages.iter().max()? - usages.iter().min()?;
    let moved = u64::try_from(u128::from(range) * u128::from(MOVED_PERCENT) / 100).ok()?.max(1);
    let lows = low_points(&usages, moved);
    let [first_bytes, .., last_bytes] = *lows.as_slice() else { return None };
    let is_rising = last_bytes.saturating_sub(first_bytes) >= moved;
    Some(Lows { first_bytes, last_bytes, is_rising })
}

/// Those after a fall by `moved` at least, and before such a rise.
fn low_points(usages: &[u64], moved: u64) -> Vec<u64> {
    let mut lows = Vec::new();
    let mut high = 0;
    let mut low: Option<u64> = None;
    for &usage in usages {
        match low {
            None => {
                high = usage.max(high);
                low = (high - usage >= moved).then_some(usage);
            }
            Some(lowest) if usage.saturating_sub(lowest) >= moved => {
                lows.push(lowest);
                (high, low) = (usage, None);
            }
            Some(lowest) => low = Some(lowest.min(usage)),
        }
    }
    lows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::GrowthPoint;

    fn of(usages: &[u64]) -> Option<Lows> {
        let point = |(&usage_bytes, t_ns)| GrowthPoint { t_ns, usage_bytes, limit_bytes: None };
        let curve = usages.iter().zip(0..).map(point).collect();
        let (since, rate_bytes_per_s, kind) = (None, None, None);
        let stacks = Vec::new();
        lows(&Growth { since, rate_bytes_per_s, kind, curve, stacks, unwound_share: None })
    }

    #[test]
    fn what_comes_back_to_where_it_was_has_low_points_that_stay() {
        let lows = of(&[0, 80, 5, 40, 60, 82, 10, 3, 90]).unwrap();
        assert_eq!(lows, Lows { first_bytes: 5, last_bytes: 3, is_rising: false });
    }

    #[test]
    fn what_keeps_a_part_each_time_has_low_points_that_rise() {
        let lows = of(&[0, 50, 10, 30, 50, 70, 30, 35, 50, 90, 50, 100]).unwrap();
        assert_eq!(lows, Lows { first_bytes: 10, last_bytes: 50, is_rising: true });
    }

    #[test]
    fn one_low_point_and_small_ones_tell_nothing() {
        assert_eq!(of(&[0, 90, 10, 100]), None);
        assert_eq!(of(&[0, 40, 30, 60, 50, 100]), None);
        assert_eq!(of(&[90, 10]), None);
        assert_eq!(of(&[7, 7, 7]), None);
        assert_eq!(of(&[]), None);
    }
}
