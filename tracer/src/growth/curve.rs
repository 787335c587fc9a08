//! The curve of one memcg, from the points and extremes that the maps hold. Pure.

use std::collections::BTreeMap;

use oomwhy_common::growth::{Curve, Level, Point, Ring, Step};

use crate::model::{
    events::Counter,
    recorded_growth::{Chosen, Usage},
};

/// The points of a curve, oldest first: those of the last hour, those of the last minute, and the
/// latest. An extreme outside the two points around it is a point of its own.
pub(super) fn points(curve: &Curve) -> Vec<Usage> {
    let points = [&curve.coarse, &curve.fine].map(|ring| of_ring(ring, curve.latest));
    // Both rings may have the same point.
    let by_time: BTreeMap<u64, Usage> =
        points.into_iter().flatten().map(|point| (point.t_ns, point)).collect();
    by_time.into_values().collect()
}

/// The points of a ring and the latest point, with the extremes between them.
fn of_ring(ring: &Ring, latest: Point) -> Vec<Usage> {
    let last = Step { point: latest, extremes: ring.since };
    let mut steps: Vec<&Step> =
        ring.steps.iter().chain([&last]).filter(|step| step.point.t_ns != 0).collect();
    // The oldest step may be anywhere in a ring.
    steps.sort_by_key(|step| step.point.t_ns);
    let before = steps.iter().skip(1).zip(&steps).flat_map(|(step, before)| outside(step, before));
    let usage = |step: &&Step| Usage {
        t_ns: step.point.t_ns,
        usage: step.point.usage,
        max: step.point.max,
    };
    steps.iter().map(usage).chain(before).collect()
}

/// The extremes between two points that are lower or higher than both.
fn outside(step: &Step, before: &Step) -> impl Iterator<Item = Usage> {
    let (one, other) = (before.point.usage, step.point.usage);
    let max = step.point.max;
    let low = Some(step.extremes.low).filter(|low| low.usage < one.min(other));
    let high = Some(step.extremes.high).filter(|high| high.usage > one.max(other));
    let usage = move |Level { t_ns, usage }| Usage { t_ns, usage, max };
    low.into_iter().chain(high).map(usage)
}

/// Cuts off the points after a process was chosen. The curve then ends with the usage of that
/// moment.
pub(super) fn until(mut curve: Vec<Usage>, chosen: Chosen) -> Vec<Usage> {
    let Chosen { at_ns, memory } = chosen;
    let n_points = curve.len();
    curve.retain(|point| point.t_ns <= at_ns);
    if let Some(Counter { usage, max }) = memory.filter(|_| curve.len() < n_points) {
        curve.push(Usage { t_ns: at_ns, usage, max });
    }
    curve
}

#[cfg(test)]
mod tests {
    use oomwhy_common::growth::Extremes;
    use zerocopy::FromZeros as _;

    use super::*;

    #[test]
    fn curve_ends_when_process_was_chosen() {
        let point = |t_ns| Usage { t_ns, usage: t_ns * 10, max: 100 };
        let curve = || vec![point(1), point(5), point(9)];
        let memory = Some(Counter { usage: 70, max: 100 });
        let ends = |at_ns, memory| {
            let curve = until(curve(), Chosen { at_ns, memory });
            curve.iter().map(|point| (point.t_ns, point.usage)).collect::<Vec<_>>()
        };
        assert_eq!(ends(7, memory), [(1, 10), (5, 50), (7, 70)]);
        assert_eq!(ends(7, None), [(1, 10), (5, 50)]);
        // The latest charge came before the choice.
        assert_eq!(ends(9, memory), [(1, 10), (5, 50), (9, 90)]);
        assert_eq!(until(Vec::new(), Chosen { at_ns: 7, memory }), []);
    }

    fn step(point: Point, low: Level, high: Level) -> Step {
        Step { point, extremes: Extremes { low, high } }
    }

    fn point(t_ns: u64, usage: u64) -> Point {
        Point { t_ns, usage, max: 100 }
    }

    fn level(t_ns: u64, usage: u64) -> Level {
        Level { t_ns, usage }
    }

    fn seen(curve: &Curve) -> Vec<(u64, u64)> {
        points(curve).iter().map(|point| (point.t_ns, point.usage)).collect()
    }

    #[test]
    fn points_are_sorted_by_time_and_unique() {
        let mut curve = Curve::new_zeroed();
        let even = |t_ns, usage| step(point(t_ns, usage), level(t_ns, usage), level(t_ns, usage));
        curve.coarse.steps[0] = even(1, 2);
        curve.fine.steps[0] = even(9, 18);
        curve.fine.steps[1] = even(1, 2);
        curve.fine.steps[2] = even(5, 10);
        curve.latest = point(9, 18);
        let since = Extremes { low: level(9, 18), high: level(9, 18) };
        (curve.fine.since, curve.coarse.since) = (since, since);
        assert_eq!(seen(&curve), [(1, 2), (5, 10), (9, 18)]);
        assert_eq!(points(&curve)[2], Usage { t_ns: 9, usage: 18, max: 100 });
        assert_eq!(seen(&Curve::new_zeroed()), []);
    }

    #[test]
    fn extreme_outside_its_points_becomes_a_point() {
        let mut curve = Curve::new_zeroed();
        let first = point(10, 40);
        curve.fine.steps[0] = step(first, level(10, 40), level(10, 40));
        // Up to 80, down to 5, and up again; then evenly.
        curve.fine.steps[1] = step(point(20, 50), level(15, 5), level(14, 80));
        curve.fine.steps[2] = step(point(30, 60), level(20, 50), level(30, 60));
        // The next step is not due yet, but the fall is included.
        curve.fine.since = Extremes { low: level(32, 3), high: level(33, 70) };
        curve.latest = point(33, 70);
        curve.coarse.steps[0] = curve.fine.steps[0];
        curve.coarse.since = Extremes { low: level(32, 3), high: level(14, 80) };
        let expected = [(10, 40), (14, 80), (15, 5), (20, 50), (30, 60), (32, 3), (33, 70)];
        assert_eq!(seen(&curve), expected);
    }
}
