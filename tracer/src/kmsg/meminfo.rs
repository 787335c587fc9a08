//! "Mem-Info:" and what follows: the machine's memory when it ran out.

use std::collections::BTreeMap;

use super::{kill::kib, record::digits};

/// Nodes and zones that are kept.
const ZONES: usize = 4096;
/// Sums that are kept.
const PAIRS: usize = 64;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemInfo {
    /// By name, as in "active_anon". Pages.
    pub(super) pages: BTreeMap<String, u64>,
    pub(super) zones: Vec<ZoneLine>,
    /// Of all nodes.
    pub(super) kernel_stack_kib: Option<u64>,
    pub(super) hugetlb_kib: Option<u64>,
    pub(super) ram_pages: Option<u64>,
    pub(super) reserved_pages: Option<u64>,
    pub(super) swap_free_kib: Option<u64>,
    pub(super) swap_total_kib: Option<u64>,
    /// The smallest block of a free list. KiB.
    pub(super) page_kib: Option<u64>,
    has_nodes: bool,
}

/// `Node 0 DMA32 free:15192kB boost:0kB min:15832kB ...`. KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ZoneLine {
    pub(super) node: u32,
    pub(super) name: String,
    pub(super) free: u64,
    pub(super) min: u64,
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) present: u64,
    pub(super) managed: u64,
}

impl MemInfo {
    /// Takes a line; false where it is none of these.
    pub(super) fn line(&mut self, line: &str) -> bool {
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
        let pairs = pairs.filter(|pairs| !pairs.is_empty() && !self.has_nodes);
        for (key, value) in pairs.iter().flatten() {
            if self.pages.len() < PAIRS {
                self.pages.insert((*key).to_owned(), *value);
            }
        }
        pairs.is_some()
    }

    fn node(&mut self, node: &str, rest: &str) -> Option<()> {
        let node = u32::try_from(digits(node)?).ok()?;
        let fact = |key: &str| {
            let words = rest.split_whitespace();
            words.filter_map(|word| word.split_once(':')).find(|(name, _)| *name == key)
        };
        let size = |key: &str| fact(key).and_then(|(_, value)| kib(value));
        // Of zones up to 5.10, of nodes since.
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
            (self.zones.len() < ZONES).then(|| self.zones.push(zone))?;
        }
        Some(())
    }
}
