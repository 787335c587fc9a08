//! The peaks and troughs of a curve that goes up and down. Pure.

/// The change of usage that ends a rise or a fall, in the unit of the curve: a quarter of its
/// range, at least 1. Smaller changes are noise.
pub(crate) fn hysteresis(usages: &[u64]) -> Option<u64> {
    Some(((usages.iter().max()? - usages.iter().min()?) / 4).max(1))
}

/// One rise and fall. Both fields are indexes into the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub peak: usize,
    /// The lowest point after the peak; `None` if usage has not risen again from there.
    pub trough: Option<usize>,
}

/// Finds the peaks from which usage fell and the troughs from which it rose again, in order.
pub(crate) fn cycles(usages: &[u64]) -> Vec<Cycle> {
    let Some(hysteresis) = hysteresis(usages) else { return Vec::new() };
    let has_risen = |from: u64, to: u64| to.saturating_sub(from) >= hysteresis;
    let mut cycles = Vec::new();
    let mut peak = (0, 0);
    let mut trough: Option<(u64, usize)> = None;
    for (index, &usage) in usages.iter().enumerate() {
        match trough {
            None if usage > peak.0 => peak = (usage, index),
            None if has_risen(usage, peak.0) => trough = Some((usage, index)),
            Some((lowest, at)) if has_risen(lowest, usage) => {
                cycles.push(Cycle { peak: peak.1, trough: Some(at) });
                (peak, trough) = ((usage, index), None);
            }
            Some((lowest, _)) if usage < lowest => trough = Some((usage, index)),
            _ => {}
        }
    }
    cycles.extend(trough.map(|_| Cycle { peak: peak.1, trough: None }));
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peaks_and_troughs(usages: &[u64]) -> Vec<(usize, Option<usize>)> {
        cycles(usages).iter().map(|cycle| (cycle.peak, cycle.trough)).collect()
    }

    #[test]
    fn cycle_has_peak_and_lowest_point_after_it() {
        let two = peaks_and_troughs(&[0, 80, 5, 40, 60, 82, 10, 3, 90]);
        assert_eq!(two, [(1, Some(2)), (5, Some(7))]);
        // Usage has not risen again.
        assert_eq!(peaks_and_troughs(&[0, 50, 100, 60]), [(2, None)]);
    }

    #[test]
    fn changes_below_hysteresis_are_no_cycles() {
        assert_eq!(peaks_and_troughs(&[0, 40, 30, 60, 50, 100]), []);
        assert_eq!(peaks_and_troughs(&[7, 7, 7]), []);
        assert_eq!(peaks_and_troughs(&[5]), []);
        assert_eq!(peaks_and_troughs(&[]), []);
        assert_eq!(peaks_and_troughs(&[u64::MAX, 0, u64::MAX]), [(0, Some(1))]);
    }
}
