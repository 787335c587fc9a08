//! Converts a memcg's raw statistics to bytes, by the names of memory.stat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::events::Stat;

/// Parts of `kernel`, the kernel's own memory of a memcg.
pub(crate) const KERNEL_PARTS: [&str; 7] = [
    "slab_unreclaimable",
    "slab_reclaimable",
    "kernel_stack",
    "pagetables",
    "sec_pagetables",
    "percpu",
    "vmalloc",
];

/// The unit of a statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Pages of the kernel's page size.
    Pages,
    /// Units of 1024 bytes.
    Kib,
    /// Bytes, without conversion.
    Bytes,
}

/// A statistic that this kernel keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatItem {
    /// The name in memory.stat and in the kernel log.
    pub name: String,
    /// Its value of `enum node_stat_item` or `memcg_stat_item`.
    pub enumerator: u32,
    /// The unit of its counter.
    pub unit: Unit,
}

/// The items in bytes. An item that this kernel does not keep for memcgs is absent. A negative one
/// is a race of per-CPU parts; it becomes 0, as in the kernel (`memcg_page_state`).
pub(crate) fn items(stat: &Stat, items: &[StatItem], page_size: u64) -> BTreeMap<String, u64> {
    let known = items.iter().filter_map(|item| {
        let count = stat.counters.get(index(stat, item.enumerator)?)?;
        let count = u64::try_from(*count).unwrap_or_default();
        let bytes = match item.unit {
            Unit::Pages => count.saturating_mul(page_size),
            Unit::Kib => count.saturating_mul(1024),
            Unit::Bytes => count,
        };
        Some((item.name.clone(), bytes))
    });
    known.collect()
}

/// The index of a counter. Since 6.11 a table maps the enumerator to it; 0xff means that the item
/// is not kept for memcgs.
/// <https://github.com/torvalds/linux/blob/v6.12/mm/memcontrol.c>
fn index(stat: &Stat, enumerator: u32) -> Option<usize> {
    let enumerator = usize::try_from(enumerator).ok()?;
    match &stat.fields {
        None => Some(enumerator),
        Some(fields) => {
            fields.get(enumerator).map(|&index| usize::from(index)).filter(|&index| index != 0xff)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, enumerator: u32, unit: Unit) -> StatItem {
        StatItem { name: name.to_owned(), enumerator, unit }
    }

    #[test]
    fn items_are_bytes_and_negative_ones_zero() {
        let stat = Stat { fresh: true, counters: vec![3, 5, 7, -1], fields: None };
        let wanted = [
            item("anon", 0, Unit::Pages),
            item("kernel_stack", 1, Unit::Kib),
            item("percpu", 2, Unit::Bytes),
            item("file", 3, Unit::Pages),
            item("beyond", 4, Unit::Pages),
        ];
        let expected = [("anon", 12288), ("file", 0), ("kernel_stack", 5120), ("percpu", 7)]
            .map(|(name, bytes)| (name.to_owned(), bytes));
        assert_eq!(items(&stat, &wanted, 4096), BTreeMap::from(expected));
    }

    #[test]
    fn items_are_found_through_index_table() {
        let stat = Stat { fresh: true, counters: vec![3, 5], fields: Some(vec![0xff, 1, 0]) };
        let wanted =
            [item("a", 0, Unit::Bytes), item("b", 1, Unit::Bytes), item("c", 9, Unit::Bytes)];
        assert_eq!(items(&stat, &wanted, 4096), BTreeMap::from([("b".to_owned(), 5)]));
    }
}
