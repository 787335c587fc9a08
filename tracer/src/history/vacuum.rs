//! Selects the segments to remove. Pure.

use jiff::Timestamp;

use super::{directory::ListedSegment, store::Limits};

/// Selects from the closed segments, given oldest first: all that are too old, and the oldest ones
/// that must make room for one more full segment within `max_use_bytes`.
pub(crate) fn to_remove<'a>(
    closed: &'a [ListedSegment],
    limits: &Limits,
    now: Timestamp,
) -> Vec<&'a ListedSegment> {
    let room = limits.max_use_bytes.saturating_sub(limits.segment_bytes());
    let mut used: u64 = closed.iter().map(|listed| listed.bytes).sum();
    let oldest = limits.max_age.and_then(|age| {
        now.as_second().checked_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    });
    let mut must_go = |listed: &&ListedSegment| {
        let is_old = oldest.is_some_and(|oldest| listed.modified < oldest);
        let is_removed = is_old || used > room;
        if is_removed {
            used = used.saturating_sub(listed.bytes);
        }
        is_removed
    };
    closed.iter().filter(|listed| listed.is_file).filter(|listed| must_go(listed)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::to_remove;
    use crate::history::{directory::ListedSegment, segment::Segment, store::Limits};

    /// Segments of these sizes, one per day, the last one of today.
    fn segments(now: Timestamp, sizes: &[u64]) -> Vec<ListedSegment> {
        let days = (0..sizes.len()).rev();
        let listed = days.zip(sizes).map(|(days, &bytes)| {
            let end = now - Duration::from_hours(24 * days as u64);
            let segment = Segment::begun(end, "00");
            ListedSegment { segment, is_file: true, bytes, modified: end.as_second() }
        });
        listed.collect()
    }

    fn n_removed(sizes: &[u64], max_use_bytes: u64, max_age: Option<Duration>) -> usize {
        let now = "2026-11-23T09:21:07Z".parse().unwrap();
        let closed = segments(now, sizes);
        let removed = to_remove(&closed, &Limits { max_use_bytes, max_age }, now);
        // Always the oldest.
        assert!(removed.iter().zip(&closed).all(|(removed, oldest)| *removed == oldest));
        removed.len()
    }

    #[test]
    fn oldest_segments_are_removed_until_one_more_fits() {
        let mib = |count: u64| count << 20;
        let sizes = [mib(3); 4];
        assert_eq!(n_removed(&sizes, mib(16), None), 0);
        assert_eq!(n_removed(&sizes, mib(13), None), 1);
        assert_eq!(n_removed(&sizes, mib(8), None), 2);
        assert_eq!(n_removed(&sizes, mib(1), None), 4);
        assert_eq!(n_removed(&[], mib(1), None), 0);
    }

    #[test]
    fn old_segment_is_removed_whatever_its_size() {
        let days = |days: u64| Some(Duration::from_hours(24 * days));
        assert_eq!(n_removed(&[1; 5], 16 << 20, days(10)), 0);
        assert_eq!(n_removed(&[1; 5], 16 << 20, days(2)), 2);
        assert_eq!(n_removed(&[1; 5], 16 << 20, Some(Duration::ZERO)), 4);
        assert_eq!(n_removed(&[1; 5], 16 << 20, Some(Duration::MAX)), 0);
    }
}
