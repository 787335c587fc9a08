//! A curve that goes up and down: its peaks and its low points. Pure.

/// By how much usage must have moved to count: a quarter of the curve's range, and something.
pub(crate) fn moved(usages: &[u64]) -> Option<u64> {
    Some(((usages.iter().max()? - usages.iter().min()?) / 4).max(1))
}

/// Once up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tooth {
    /// Which point is its highest.
    pub peak: usize,
    /// Which is the lowest after that; `None` where usage has not gone up again from there.
    pub low: Option<usize>,
}

/// The peaks from which usage fell, and the low points from which it rose again.
pub(crate) fn teeth(usages: &[u64]) -> Vec<Tooth> {
    let Some(moved) = moved(usages) else { return Vec::new() };
    let has_moved = |from: u64, to: u64| to.saturating_sub(from) >= moved;
    let mut teeth = Vec::new();
    let mut peak = (0, 0);
    let mut low: Option<(u64, usize)> = None;
    for (index, &usage) in usages.iter().enumerate() {
        match low {
            None if usage > peak.0 => peak = (usage, index),
            None if has_moved(usage, peak.0) => low = Some((usage, index)),
            Some((lowest, at)) if has_moved(lowest, usage) => {
                teeth.push(Tooth { peak: peak.1, low: Some(at) });
                (peak, low) = ((usage, index), None);
            }
            Some((lowest, _)) if usage < lowest => low = Some((usage, index)),
            _ => {}
        }
    }
    teeth.extend(low.map(|_| Tooth { peak: peak.1, low: None }));
    teeth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(usages: &[u64]) -> Vec<(usize, Option<usize>)> {
        teeth(usages).iter().map(|tooth| (tooth.peak, tooth.low)).collect()
    }

    #[test]
    fn a_tooth_has_a_peak_and_the_lowest_point_after_it() {
        assert_eq!(of(&[0, 80, 5, 40, 60, 82, 10, 3, 90]), [(1, Some(2)), (5, Some(7))]);
        // Not up again yet.
        assert_eq!(of(&[0, 50, 100, 60]), [(2, None)]);
    }

    #[test]
    fn small_ups_and_downs_are_none() {
        assert_eq!(of(&[0, 40, 30, 60, 50, 100]), []);
        assert_eq!(of(&[7, 7, 7]), []);
        assert_eq!(of(&[5]), []);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[u64::MAX, 0, u64::MAX]), [(0, Some(1))]);
    }
}
