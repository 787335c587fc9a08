//! The space that the history leaves free on its file system for others. Pure.

/// How much of the file system stays free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepFree {
    Bytes(u64),
    /// Of the size of the file system.
    Percent(u8),
}

/// The space of a file system, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub total: u64,
    /// What a process without privileges can still use.
    pub available: u64,
}

impl KeepFree {
    /// Whether enough stays free when so many bytes are added.
    pub(super) fn allows(self, space: Space, added: u64) -> bool {
        let kept = match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => space.total / 100 * u64::from(percent),
        };
        space.available >= kept.saturating_add(added)
    }
}

#[cfg(test)]
mod tests {
    use super::{KeepFree, Space};

    #[test]
    fn added_bytes_must_leave_the_wanted_space() {
        let space = Space { total: 1000, available: 300 };
        for (keep, added, expected) in [
            (KeepFree::Bytes(250), 50, true),
            (KeepFree::Bytes(250), 51, false),
            (KeepFree::Bytes(u64::MAX), 1, false),
            (KeepFree::Percent(25), 50, true),
            (KeepFree::Percent(25), 51, false),
            (KeepFree::Percent(99), 0, false),
        ] {
            assert_eq!(keep.allows(space, added), expected, "{keep:?} {added}");
        }
    }
}
