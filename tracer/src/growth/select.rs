//! Picks the data of one memcg from what the maps hold. Pure.

use std::collections::BTreeMap;

use oomwhy_common::growth::{Charged, Charger, Curve, EPOCH_NS, Level, Point, Ring, Step};

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

/// A process and the hashes of the two stacks from which it charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) tgid: u64,
    pub(super) user_stack: u64,
    pub(super) kernel_stack: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) pages: u64,
    pub(super) comm: Vec<u8>,
}

/// Sums what was charged below `cgroup_id` in the epoch of `chosen_ns` and in the one before,
/// largest first. The maps keep no time within an epoch, so a late reading includes the charges
/// after `chosen_ns`.
pub(super) fn sums(
    entries: &[(Charger, Charged)],
    cgroup_id: u64,
    chosen_ns: u64,
) -> Vec<(Origin, Sum)> {
    let mut sums: BTreeMap<Origin, Sum> = BTreeMap::new();
    for (charger, charged) in entries {
        let pages = recent(charged, chosen_ns / EPOCH_NS);
        if !charged.near.contains(&cgroup_id) || pages == 0 {
            continue;
        }
        let origin = Origin {
            tgid: charger.tgid,
            user_stack: charger.user_stack,
            kernel_stack: charger.kernel_stack,
        };
        let comm = charged.comm.split(|&byte| byte == 0).next().unwrap_or_default();
        let sum = sums.entry(origin).or_insert_with(|| Sum { pages: 0, comm: comm.to_vec() });
        sum.pages += pages;
    }
    largest_first(sums)
}

/// Merges origins that differ only in the kernel stack, largest first.
pub(super) fn by_user_stack(sums: Vec<(Origin, Sum)>) -> Vec<(Origin, Sum)> {
    let mut merged: BTreeMap<Origin, Sum> = BTreeMap::new();
    for (origin, sum) in sums {
        let origin = Origin { kernel_stack: 0, ..origin };
        if let Some(known) = merged.get_mut(&origin) {
            known.pages += sum.pages;
        } else {
            merged.insert(origin, sum);
        }
    }
    largest_first(merged)
}

fn largest_first(sums: BTreeMap<Origin, Sum>) -> Vec<(Origin, Sum)> {
    let mut sorted: Vec<_> = sums.into_iter().collect();
    sorted.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.pages));
    sorted
}

fn recent(charged: &Charged, epoch: u64) -> u64 {
    match epoch.checked_sub(charged.epoch) {
        Some(0) => charged.pages + charged.pages_before,
        Some(1) => charged.pages,
        None if charged.epoch == epoch + 1 => charged.pages_before,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use oomwhy_common::growth::Extremes;
    use zerocopy::FromZeros as _;

    use super::*;

    fn charger(tgid: u64, user_stack: u64, cpu: u64) -> Charger {
        Charger { cgroup_id: 7, tgid, user_stack, kernel_stack: 1, cpu }
    }

    fn charged(epoch: u64, pages: u64, pages_before: u64) -> Charged {
        let mut comm = [0; 16];
        comm[..3].copy_from_slice(b"app");
        Charged { epoch, pages, pages_before, near: [7, 3, 0, 0], comm }
    }

    #[test]
    fn charges_of_all_cpus_are_summed_largest_first() {
        let entries = [
            (charger(10, 1, 0), charged(5, 64, 0)),
            (charger(10, 2, 0), charged(5, 64, 36)),
            (charger(10, 1, 1), charged(5, 128, 0)),
        ];
        let sums = sums(&entries, 3, 5 * EPOCH_NS);
        let seen: Vec<_> =
            sums.iter().map(|(origin, sum)| (origin.user_stack, sum.pages)).collect();
        assert_eq!(seen, [(1, 192), (2, 100)]);
        assert_eq!(sums[0].1.comm, b"app");
    }

    #[test]
    fn user_stack_with_two_kernel_stacks_is_one_origin() {
        let other = Charger { kernel_stack: 2, ..charger(10, 1, 0) };
        let entries = [
            (charger(10, 2, 0), charged(5, 150, 0)),
            (charger(10, 1, 0), charged(5, 100, 0)),
            (other, charged(5, 90, 0)),
        ];
        let merged = by_user_stack(sums(&entries, 7, 5 * EPOCH_NS));
        let seen: Vec<_> =
            merged.iter().map(|(origin, sum)| (origin.user_stack, sum.pages)).collect();
        assert_eq!(seen, [(1, 190), (2, 150)]);
    }

    #[test]
    fn charges_of_old_epochs_and_other_memcgs_are_ignored() {
        let entries = [(charger(10, 1, 0), charged(5, 64, 36))];
        let pages = |cgroup, epoch: u64| {
            sums(&entries, cgroup, epoch * EPOCH_NS).iter().map(|(_, sum)| sum.pages).sum::<u64>()
        };
        assert_eq!([pages(7, 5), pages(7, 6), pages(7, 7), pages(8, 5)], [100, 64, 0, 0]);
        // Read one epoch and two epochs later.
        assert_eq!([pages(7, 4), pages(7, 3)], [36, 0]);
    }

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
