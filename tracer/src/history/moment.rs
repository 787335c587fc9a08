//! Time for the history: by the wall clock, which can be set, and by a clock that cannot.

use std::time::Duration;

use jiff::Timestamp;

use crate::host::clock;

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_REALTIME`, which somebody can set.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`, which nobody can set.
    pub since_boot: Duration,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { wall: Timestamp::now(), since_boot: Duration::from_nanos(clock::boottime_ns()) }
    }

    /// The time that has passed since an earlier moment of the same boot.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        self.since_boot.saturating_sub(earlier.since_boot)
    }

    /// The wall clock as it would be if it had not been set forward since the start of a run.
    pub(super) fn steady_wall(&self, start: &Self) -> Timestamp {
        let unset = start.wall.checked_add(self.since(start)).unwrap_or(Timestamp::MAX);
        self.wall.min(unset)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use super::Moment;

    #[test]
    fn clock_that_is_set_forward_does_not_count() {
        let start = Moment { wall: Timestamp::UNIX_EPOCH, since_boot: Duration::from_secs(100) };
        let later = |wall: i64| Moment {
            wall: start.wall + SignedDuration::from_secs(wall),
            since_boot: start.since_boot + Duration::from_mins(1),
        };
        let steady = |wall| later(wall).steady_wall(&start).as_second();
        assert_eq!([steady(60), steady(1_000_000), steady(-500)], [60, 60, -500]);
        assert_eq!(start.since(&later(60)), Duration::ZERO);
    }
}
