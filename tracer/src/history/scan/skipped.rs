//! Counts of what could not be read.

/// Counts of the records and segments that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Damaged lines, or ends of segments.
    pub damaged: u64,
    /// Records of a later version.
    pub newer: u64,
    /// Segments that are not regular files, or may not be read.
    pub unreadable: u64,
    /// Those of them for which a permission is missing.
    pub denied: u64,
    /// The oldest records that match, if all of them would take too much memory.
    pub older: u64,
}

impl Skipped {
    pub(super) fn add(&mut self, other: Self) {
        self.damaged += other.damaged;
        self.newer += other.newer;
        self.unreadable += other.unreadable;
        self.denied += other.denied;
        self.older += other.older;
    }

    /// A sentence for people. `None` if nothing was skipped.
    pub(crate) fn message(&self) -> Option<String> {
        let count = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        };
        let parts: Vec<String> = [
            count(self.damaged, "damaged line", "damaged lines"),
            count(self.newer, "record of a newer oomwhy", "records of a newer oomwhy"),
            count(self.unreadable, "file that cannot be read", "files that cannot be read"),
            count(
                self.older,
                "older record that would take too much memory",
                "older records that would take too much memory",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| format!("skipped {}", parts.join(", ")))
    }
}
