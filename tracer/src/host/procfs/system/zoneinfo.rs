//! Parses /proc/zoneinfo by line. Pages become bytes.

use crate::model::report::{Node, Zone};

#[derive(Debug)]
pub(super) struct Zones {
    page_size: u64,
    nodes: Vec<Node>,
    current: Option<Current>,
}

/// The zone that is being read; in pages.
#[derive(Debug, Default)]
struct Current {
    node: u32,
    name: String,
    free: Option<u64>,
    min: Option<u64>,
    low: Option<u64>,
    high: Option<u64>,
    managed: Option<u64>,
}

impl Zones {
    pub(super) fn new(page_size: u64) -> Self {
        Self { page_size, nodes: Vec::new(), current: None }
    }

    /// "Node 0, zone   Normal", then, among others, "  pages free     3840", "        min      19".
    pub(super) fn line(&mut self, line: &str) {
        if let Some((node, name)) =
            line.strip_prefix("Node ").and_then(|it| it.split_once(", zone"))
        {
            self.close();
            let named = |node| Current { node, name: name.trim().to_owned(), ..Current::default() };
            self.current = node.trim().parse().ok().map(named);
            return;
        }
        let Some(zone) = &mut self.current else {
            return;
        };
        let words = line.trim_start();
        let Some((key, value)) = words.strip_prefix("pages ").unwrap_or(words).split_once(' ')
        else {
            return;
        };
        let slot = match key {
            "free" => &mut zone.free,
            "min" => &mut zone.min,
            "low" => &mut zone.low,
            "high" => &mut zone.high,
            "managed" => &mut zone.managed,
            _ => return,
        };
        *slot = value.trim().parse().ok();
    }

    /// The nodes, each with the zones that have memory.
    pub(super) fn finish(mut self) -> Vec<Node> {
        self.close();
        self.nodes
    }

    /// A zone with an unknown value is left out.
    fn close(&mut self) -> Option<()> {
        let zone = self.current.take()?;
        let bytes = |pages: u64| pages.saturating_mul(self.page_size);
        let closed = Zone {
            name: zone.name,
            free_bytes: bytes(zone.free?),
            min_bytes: bytes(zone.min?),
            low_bytes: bytes(zone.low?),
            high_bytes: bytes(zone.high?),
            managed_bytes: bytes(zone.managed.filter(|managed| *managed > 0)?),
        };
        if self.nodes.last().is_none_or(|node| node.node != zone.node) {
            self.nodes.push(Node { node: zone.node, ..Node::default() });
        }
        let node = self.nodes.last_mut()?;
        node.free_bytes = node.free_bytes.saturating_add(closed.free_bytes);
        node.zones.push(closed);
        Some(())
    }
}
