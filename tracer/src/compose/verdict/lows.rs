//! The low points of a curve that goes up and down: whether all comes back. Pure.

use crate::{
    growth::{Cycle, cycles, hysteresis},
    model::report::Growth,
};

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
    let low = |cycle: &Cycle| usages.get(cycle.trough?).copied();
    let lows: Vec<u64> = cycles(&usages).iter().filter_map(low).collect();
    let [first_bytes, .., last_bytes] = *lows.as_slice() else { return None };
    let is_rising = last_bytes.saturating_sub(first_bytes) >= hysteresis(&usages)?;
    Some(Lows { first_bytes, last_bytes, is_rising })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::GrowthPoint;

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
