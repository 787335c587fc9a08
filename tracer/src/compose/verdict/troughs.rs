//! The troughs of a curve that goes up and down: they rise if some memory is never freed. Pure.

use crate::{
    growth::{Cycle, cycles, hysteresis},
    model::report::Growth,
};

/// The first trough and the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Troughs {
    pub(super) first_bytes: u64,
    pub(super) last_bytes: u64,
    /// The last one is higher: some of the memory was not freed.
    pub(super) is_rising: bool,
}

/// `None` if usage did not fall and rise again at least twice.
pub(super) fn troughs(growth: &Growth) -> Option<Troughs> {
    let usages: Vec<u64> = growth.curve.iter().map(|point| point.usage_bytes).collect();
    let low = |cycle: &Cycle| usages.get(cycle.trough?).copied();
    let troughs: Vec<u64> = cycles(&usages).iter().filter_map(low).collect();
    let [first_bytes, .., last_bytes] = *troughs.as_slice() else { return None };
    let is_rising = last_bytes.saturating_sub(first_bytes) >= hysteresis(&usages)?;
    Some(Troughs { first_bytes, last_bytes, is_rising })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::GrowthPoint;

    fn of(usages: &[u64]) -> Option<Troughs> {
        let point = |(&usage_bytes, t_ns)| GrowthPoint { t_ns, usage_bytes, limit_bytes: None };
        let curve = usages.iter().zip(0..).map(point).collect();
        let (since, rate_bytes_per_s, kind) = (None, None, None);
        let stacks = Vec::new();
        troughs(&Growth { since, rate_bytes_per_s, kind, curve, stacks, unwound_share: None })
    }

    #[test]
    fn troughs_of_freed_memory_do_not_rise() {
        let troughs = of(&[0, 80, 5, 40, 60, 82, 10, 3, 90]).unwrap();
        assert_eq!(troughs, Troughs { first_bytes: 5, last_bytes: 3, is_rising: false });
    }

    #[test]
    fn troughs_of_kept_memory_rise() {
        let troughs = of(&[0, 50, 10, 30, 50, 70, 30, 35, 50, 90, 50, 100]).unwrap();
        assert_eq!(troughs, Troughs { first_bytes: 10, last_bytes: 50, is_rising: true });
    }

    #[test]
    fn troughs_that_are_single_or_small_do_not_count() {
        assert_eq!(of(&[0, 90, 10, 100]), None);
        assert_eq!(of(&[0, 40, 30, 60, 50, 100]), None);
        assert_eq!(of(&[90, 10]), None);
        assert_eq!(of(&[7, 7, 7]), None);
        assert_eq!(of(&[]), None);
    }
}
