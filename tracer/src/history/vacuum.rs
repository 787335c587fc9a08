//! Which segments go. Pure.

use jiff::Timestamp;

use super::{directory::Listed, store::Limits};

/// Of the closed segments, oldest first, those that go: all of the oldest that are too many for
/// `max_use` once the next one is full, and all that are too old.
pub(crate) fn to_remove<'a>(
    closed: &'a [Listed],
    limits: &Limits,
    now: Timestamp,
) -> Vec<&'a Listed> {
    let room = limits.max_use_bytes.saturating_sub(limits.segment_bytes());
    let mut used: u64 = closed.iter().map(|listed| listed.bytes).sum();
    let oldest = limits.max_age.and_then(|age| {
        now.as_second().checked_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    });
    let mut goes = |listed: &&Listed| {
        let is_old = oldest.is_some_and(|oldest| listed.modified < oldest);
        let goes = is_old || used > room;
        if goes {
            used = used.saturating_sub(listed.bytes);
        }
        goes
    };
    closed.iter().filter(|listed| listed.is_file).filter(|listed| goes(listed)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::to_remove;
    use crate::history::{directory::Listed, segment::Segment, store::Limits};

    /// Segments of these sizes, one a day, the last one now.
    fn segments(now: Timestamp, sizes: &[u64]) -> Vec<Listed> {
        let days = (0..sizes.len()).rev();
        let listed = days.zip(sizes).map(|(days, &bytes)| {
            let end = now - Duration::from_hours(24 * days as u64);
            let segment = Segment::begun(end, "00");
            Listed { segment, is_file: true, bytes, modified: end.as_second() }
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
    fn the_oldest_go_until_there_is_room_for_one_more() {
        let mib = |count: u64| count << 20;
        let sizes = [mib(3); 4];
        assert_eq!(n_removed(&sizes, mib(16), None), 0);
        assert_eq!(n_removed(&sizes, mib(13), None), 1);
        assert_eq!(n_removed(&sizes, mib(8), None), 2);
        assert_eq!(n_removed(&sizes, mib(1), None), 4);
        assert_eq!(n_removed(&[], mib(1), None), 0);
    }

    #[test]
    fn what_is_too_old_goes_whatever_its_size() {
        let days = |days: u64| Some(Duration::from_hours(24 * days));
        assert_eq!(n_removed(&[1; 5], 16 << 20, days(10)), 0);
        assert_eq!(n_removed(&[1; 5], 16 << 20, days(2)), 2);
        assert_eq!(n_removed(&[1; 5], 16 << 20, Some(Duration::ZERO)), 4);
        assert_eq!(n_removed(&[1; 5], 16 << 20, Some(Duration::MAX)), 0);
    }
}
