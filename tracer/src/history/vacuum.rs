//! Selects the segments to remove, always the oldest ones and never the newest one, which has the
//! number of the latest record. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::{directory::ListedSegment, store::Limits};

/// The segments, given oldest first, that must make room for one more full segment within
/// `max_use_bytes`.
pub(super) fn exceeding<'a>(
    closed: &'a [ListedSegment],
    limits: &Limits,
) -> impl Iterator<Item = &'a ListedSegment> {
    let room = limits.max_use_bytes.saturating_sub(limits.segment_bytes());
    let mut used: u64 = closed.iter().map(|listed| listed.bytes).sum();
    removable(closed).take_while(move |listed| {
        let is_removed = used > room;
        used = used.saturating_sub(listed.bytes);
        is_removed
    })
}

/// The segments, given oldest first, whose last report is older than `max_age`.
///
/// A clock that was set wrong deletes nothing. A segment is not older than one before it, whatever
/// its time. A segment from the future has an unknown age, so it stays, with all that come after.
pub(super) fn expired(
    segments: &[ListedSegment],
    max_age: Duration,
    now: Timestamp,
) -> impl Iterator<Item = &ListedSegment> {
    let age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let oldest = now.as_second().checked_sub(age);
    let mut latest = i64::MIN;
    removable(segments).take_while(move |listed| {
        latest = latest.max(listed.modified);
        oldest.is_some_and(|oldest| latest < oldest)
    })
}

/// All files but the newest one.
fn removable(segments: &[ListedSegment]) -> impl Iterator<Item = &ListedSegment> {
    let (_newest, before) = segments.split_last().unzip();
    before.unwrap_or_default().iter().filter(|listed: &&ListedSegment| listed.is_file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use super::{exceeding, expired};
    use crate::history::{directory::ListedSegment, segment::Segment, store::Limits};

    const DAY: u64 = 24 * 3600;

    fn now() -> Timestamp {
        "2026-11-23T09:21:07Z".parse().unwrap()
    }

    /// Segments with these sizes and ages in days, oldest first.
    fn segments(sizes_and_ages: impl IntoIterator<Item = (u64, i64)>) -> Vec<ListedSegment> {
        let listed = sizes_and_ages.into_iter().map(|(bytes, days)| {
            let end = now() - SignedDuration::from_hours(24 * days);
            let segment = Segment::begun(end, "00");
            ListedSegment { segment, is_file: true, bytes, modified: end.as_second() }
        });
        listed.collect()
    }

    fn n_exceeding(sizes: &[u64], max_use_bytes: u64) -> usize {
        let closed = segments(sizes.iter().map(|size| (*size, 0)));
        let limits = Limits { max_use_bytes, ..Limits::default() };
        let removed: Vec<_> = exceeding(&closed, &limits).collect();
        assert!(removed.iter().zip(&closed).all(|(removed, oldest)| *removed == oldest));
        removed.len()
    }

    fn n_expired(ages: &[i64], max_days: u64) -> usize {
        let all = segments(ages.iter().map(|days| (1, *days)));
        let removed: Vec<_> = expired(&all, Duration::from_secs(max_days * DAY), now()).collect();
        assert!(removed.iter().zip(&all).all(|(removed, oldest)| *removed == oldest));
        removed.len()
    }

    #[test]
    fn oldest_segments_are_removed_until_one_more_fits() {
        let mib = |count: u64| count << 20;
        let sizes = [mib(3); 4];
        assert_eq!(n_exceeding(&sizes, mib(16)), 0);
        assert_eq!(n_exceeding(&sizes, mib(13)), 1);
        assert_eq!(n_exceeding(&sizes, mib(8)), 2);
        assert_eq!(n_exceeding(&[], mib(1)), 0);
    }

    #[test]
    fn newest_segment_is_never_removed() {
        assert_eq!(n_exceeding(&[3 << 20; 4], 1 << 20), 3);
        assert_eq!(n_exceeding(&[9 << 20], 1 << 20), 0);
        assert_eq!(n_expired(&[9, 8, 7], 1), 2);
        assert_eq!(n_expired(&[9], 1), 0);
    }

    #[test]
    fn old_segment_expires_whatever_its_size() {
        assert_eq!(n_expired(&[4, 3, 2, 1, 0], 10), 0);
        assert_eq!(n_expired(&[4, 3, 2, 1, 0], 2), 2);
        assert_eq!(n_expired(&[4, 3, 2, 1, 0], 0), 4);
        assert_eq!(n_expired(&[4, 3, 2, 1, 0], u64::MAX / DAY), 0);
    }

    #[test]
    fn wrong_time_of_a_segment_deletes_nothing() {
        // Written while the clock was years behind: it is not older than the one before it.
        assert_eq!(n_expired(&[3, 2, 9_999, 1, 0], 3), 0);
        assert_eq!(n_expired(&[5, 9_999, 1, 0], 3), 2);
        // Written while the clock was ahead: nothing is known about its age.
        assert_eq!(n_expired(&[5, -9_999, 4, 0], 3), 1);
    }
}
