//! "Mem-Info:" and the lines after it: the machine's memory when it ran out.

use std::collections::BTreeMap;

use super::{kill::kib, record::digits};

/// Zones and sums that are kept; more are ignored.
const MAX_ZONES: usize = 4096;
const MAX_PAIRS: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemInfo {
    /// By name, as in "active_anon". Pages.
    pub(crate) pages: BTreeMap<String, u64>,
    pub(crate) zones: Vec<ZoneLine>,
    /// The sum of all nodes.
    pub(crate) kernel_stack_kib: Option<u64>,
    pub(crate) hugetlb_kib: Option<u64>,
    pub(crate) ram_pages: Option<u64>,
    pub(crate) reserved_pages: Option<u64>,
    pub(crate) swap_free_kib: Option<u64>,
    pub(crate) swap_total_kib: Option<u64>,
    /// The smallest block of a free list. KiB.
    pub(crate) page_kib: Option<u64>,
    has_nodes: bool,
}

/// `Node 0 DMA32 free:15192kB boost:0kB min:15832kB ...`. KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZoneLine {
    pub(crate) node: u32,
    pub(crate) name: String,
    pub(crate) free: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) present: u64,
    pub(crate) managed: u64,
}

impl MemInfo {
    /// Parses a line; false if it is none of these.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(rest) = line.strip_prefix("Node ") {
            self.has_nodes = true;
            let node = rest.split_once(' ');
            return node.is_some_and(|(node, rest)| self.node(node, rest).is_some());
        }
        if let Some((number, what)) = line.split_once(' ') {
            let slot = match what {
                "pages RAM" => Some(&mut self.ram_pages),
                "pages reserved" => Some(&mut self.reserved_pages),
                _ => None,
            };
            if let (Some(slot), Some(pages)) = (slot, digits(number)) {
                *slot = Some(pages);
                return true;
            }
        }
        if let Some((key, value)) = line.split_once('=') {
            let slot = match key.trim_end() {
                "Free swap" => &mut self.swap_free_kib,
                "Total swap" => &mut self.swap_total_kib,
                _ => return false,
            };
            *slot = kib(value.trim_start());
            return true;
        }
        self.totals(line)
    }

    /// `active_anon:155234 inactive_anon:0 isolated_anon:0`: only before the first node.
    fn totals(&mut self, line: &str) -> bool {
        let pairs: Option<Vec<(&str, u64)>> = line
            .split_whitespace()
            .map(|pair| pair.split_once(':').and_then(|(key, value)| Some((key, digits(value)?))))
            .collect();
        let totals = pairs.filter(|pairs| !pairs.is_empty() && !self.has_nodes);
        for (key, value) in totals.iter().flatten() {
            if self.pages.len() < MAX_PAIRS {
                self.pages.insert((*key).to_owned(), *value);
            }
        }
        totals.is_some()
    }

    fn node(&mut self, node: &str, rest: &str) -> Option<()> {
        let node = u32::try_from(digits(node)?).ok()?;
        let fact = |key: &str| {
            let words = rest.split_whitespace();
            words.filter_map(|word| word.split_once(':')).find(|(name, _)| *name == key)
        };
        let size = |key: &str| fact(key).and_then(|(_, value)| kib(value));
        // Up to 5.10 each zone has this, later each node.
        if let Some(stack) = size("kernel_stack") {
            self.kernel_stack_kib = Some(self.kernel_stack_kib.unwrap_or(0).checked_add(stack)?);
        }
        if let Some((_, sizes)) = rest.split_once("hugepages_total=") {
            let (total, rest) = sizes.split_once(' ')?;
            let (_, size) = rest.split_once("hugepages_size=")?;
            let kib = digits(total)?.checked_mul(kib(size)?)?;
            self.hugetlb_kib = Some(self.hugetlb_kib.unwrap_or(0).checked_add(kib)?);
        } else if let Some((_, blocks)) = rest.split_once(": ").filter(|it| it.1.contains('*')) {
            let (_, block) = blocks.split_whitespace().next()?.split_once('*')?;
            self.page_kib = Some(kib(block)?);
        } else if let Some(free) = size("free") {
            let name = rest.split(' ').next().filter(|name| !name.contains(':'))?;
            let zone = ZoneLine {
                node,
                name: name.to_owned(),
                free,
                min: size("min")?,
                low: size("low")?,
                high: size("high")?,
                present: size("present")?,
                managed: size("managed")?,
            };
            (self.zones.len() < MAX_ZONES).then(|| self.zones.push(zone))?;
        }
        Some(())
    }
}
