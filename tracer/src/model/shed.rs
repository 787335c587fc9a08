//! Details that the probes shed because the ring was short of room.

use oomwhy_common::valid::shed;
use serde::{Serialize, Serializer};

/// The details that were shed from an invocation: bits of [`oomwhy_common::valid::shed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed(u64);

/// All bits, each with its name in events.
const PARTS: [(u64, &str); 7] = [
    (shed::CANDIDATES, "candidates"),
    (shed::CONTEXT, "context"),
    (shed::STAT, "stat"),
    (shed::PATHS, "paths"),
    (shed::LEVELS, "levels"),
    (shed::STACKS, "stacks"),
    (shed::VICTIMS, "victims"),
];

impl Shed {
    /// The bits of a record's header. `valid` may have others.
    pub(crate) fn from_header(valid: u64) -> Self {
        Self(PARTS.iter().map(|(bit, _)| valid & bit).sum())
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_nothing(&self) -> bool {
        self.0 == 0
    }

    /// Whether this part was shed.
    pub(crate) fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Serialize for Shed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(PARTS.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| name))
    }
}
