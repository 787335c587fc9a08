//! What the maps hold -> what belongs to one memcg. Pure.

use std::collections::BTreeMap;

use oomwhy_common::growth::{Charged, Charger, Curve, EPOCH_NS};

use super::{Chosen, Usage};
use crate::events::Counter;

/// The points of a curve, oldest first: those of the last hour, then those of the last minute,
/// then the latest.
pub(super) fn points(curve: &Curve) -> Vec<Usage> {
    let points = curve.coarse.iter().chain(&curve.fine).chain([&curve.latest]);
    let points = points.filter(|point| point.t_ns != 0);
    // By time: rings have no begin, and both may have the same point.
    let by_time: BTreeMap<u64, Usage> = points
        .map(|point| (point.t_ns, Usage { t_ns: point.t_ns, usage: point.usage, max: point.max }))
        .collect();
    by_time.into_values().collect()
}

/// A curve that goes on, as far as it was when a process was chosen: it ends with what the memcg used then.
pub(super) fn until(mut curve: Vec<Usage>, chosen: Chosen) -> Vec<Usage> {
    let Chosen { at_ns, memory } = chosen;
    let n_points = curve.len();
    curve.retain(|point| point.t_ns <= at_ns);
    if let Some(Counter { usage, max }) = memory.filter(|_| curve.len() < n_points) {
        curve.push(Usage { t_ns: at_ns, usage, max });
    }
    curve
}

/// Who charged from where: process, hashes of both stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) tgid: u64,
    pub(super) user_stack: u64,
    pub(super) kernel_stack: u64,
}

/// What one origin charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) pages: u64,
    pub(super) comm: Vec<u8>,
}

/// What was charged below `cgroup_id` in the epoch of `chosen_ns` and the one before, the most first. Where
/// it is read late, that is all of that epoch.
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
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.pages));
    sums
}

/// The same whatever the kernel did there, the most first.
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
    let mut merged: Vec<_> = merged.into_iter().collect();
    merged.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.pages));
    merged
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
    use oomwhy_common::growth::Point;
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
    fn the_cpus_of_a_place_are_one_and_the_largest_place_is_first() {
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
    fn a_place_in_user_space_is_one_whatever_the_kernel_does_for_it() {
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
    fn old_growth_fades_and_other_memcgs_do_not_count() {
        let entries = [(charger(10, 1, 0), charged(5, 64, 36))];
        let pages = |cgroup, epoch: u64| {
            sums(&entries, cgroup, epoch * EPOCH_NS).iter().map(|(_, sum)| sum.pages).sum::<u64>()
        };
        assert_eq!([pages(7, 5), pages(7, 6), pages(7, 7), pages(8, 5)], [100, 64, 0, 0]);
        // Read when the next epoch has begun, and the one after it.
        assert_eq!([pages(7, 4), pages(7, 3)], [36, 0]);
    }

    #[test]
    fn a_curve_that_went_on_ends_where_the_choice_was_made() {
        let point = |t_ns| Usage { t_ns, usage: t_ns * 10, max: 100 };
        let curve = || vec![point(1), point(5), point(9)];
        let memory = Some(Counter { usage: 70, max: 100 });
        let ends = |at_ns, memory| {
            let curve = until(curve(), Chosen { at_ns, memory });
            curve.iter().map(|point| (point.t_ns, point.usage)).collect::<Vec<_>>()
        };
        assert_eq!(ends(7, memory), [(1, 10), (5, 50), (7, 70)]);
        assert_eq!(ends(7, None), [(1, 10), (5, 50)]);
        // The latest charge was before it.
        assert_eq!(ends(9, memory), [(1, 10), (5, 50), (9, 90)]);
        assert_eq!(until(Vec::new(), Chosen { at_ns: 7, memory }), []);
    }

    #[test]
    fn points_are_in_the_order_of_time_each_once() {
        let mut curve = Curve::new_zeroed();
        let point = |t_ns| Point { t_ns, usage: t_ns * 2, max: 100 };
        curve.coarse[0] = point(1);
        curve.fine[0] = point(9);
        curve.fine[1] = point(1);
        curve.fine[2] = point(5);
        curve.latest = point(9);
        let points = points(&curve);
        assert_eq!(points.iter().map(|point| point.t_ns).collect::<Vec<_>>(), [1, 5, 9]);
        assert_eq!(points[2], Usage { t_ns: 9, usage: 18, max: 100 });
    }
}
