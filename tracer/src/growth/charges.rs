//! The charges of each allocation site below one memcg, summed over all CPUs and two epochs. Pure.

use std::collections::BTreeMap;

use oomwhy_common::growth::{Charged, Charger, EPOCH_NS};

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

/// Sums the charges below `cgroup_id` in the epoch of `chosen_ns` and in the one before, largest
/// first. The maps keep no time within an epoch, so a late reading includes the charges after
/// `chosen_ns`.
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
}
