//! Groups kills that repeat. Pure.

use std::{collections::HashMap, fmt::Write as _};

use jiff::Timestamp;

use super::scan::FoundRecord;
use crate::compose::fingerprint::kill;

/// A group with fewer kills has no interval.
const MIN_REGULAR: usize = 4;

/// Kills with the same fingerprint.
#[derive(Clone, Debug)]
pub(crate) struct RepeatedKill {
    /// The part of the fingerprint that does not depend on the allocation site.
    pub fingerprint: String,
    pub latest: FoundRecord,
    /// Times of the kills, oldest first.
    pub times: Vec<Timestamp>,
    /// Number of kills. Some may have no time.
    pub count: usize,
}

/// Groups records. The group with the latest kill is last. Records without a fingerprint are left
/// out.
pub(crate) fn group(records: Vec<FoundRecord>) -> Vec<RepeatedKill> {
    let mut groups: Vec<RepeatedKill> = Vec::new();
    let mut indexes: HashMap<String, usize> = HashMap::new();
    for record in records {
        let Some(fingerprint) = record.summary.fingerprint.as_deref().map(kill) else {
            continue;
        };
        let index = *indexes.entry(fingerprint.to_owned()).or_insert_with(|| {
            groups.push(RepeatedKill {
                fingerprint: fingerprint.to_owned(),
                latest: record.clone(),
                times: vec![],
                count: 0,
            });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(index) {
            group.times.extend(record.summary.time());
            group.count += 1;
            group.latest = record;
        }
    }
    // Records are in the order in which they were stored.
    for group in &mut groups {
        group.times.sort_unstable();
    }
    groups.sort_by_key(|group| group.times.last().copied());
    groups
}

impl RepeatedKill {
    /// "12 times in 24 h, every 31 min".
    pub(crate) fn rhythm(&self) -> String {
        let mut text: String =
            if self.count == 1 { "once".into() } else { format!("{} times", self.count) };
        if let (Some(first), Some(last), 2..) = (self.times.first(), self.times.last(), self.count)
        {
            // Writing to a String cannot fail.
            let _ = write!(text, " in {}", span(last.as_second() - first.as_second()));
        }
        if let Some(seconds) = self.interval() {
            let _ = write!(text, ", every {}", span(seconds));
        }
        text
    }

    /// Median time between two kills in seconds, if the kills are regular: half of the times must
    /// be within a quarter of it.
    pub(crate) fn interval(&self) -> Option<i64> {
        let pairs = self.times.iter().zip(self.times.iter().skip(1));
        let between: Vec<i64> = pairs.map(|(a, b)| b.as_second() - a.as_second()).collect();
        let interval = median(between.clone())?;
        let deviation = median(between.iter().map(|it| (it - interval).abs()).collect())?;
        let is_regular =
            self.times.len() >= MIN_REGULAR && interval > 0 && deviation * 4 <= interval;
        is_regular.then_some(interval)
    }
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// A rounded duration with about two digits: "45 s", "31 min", "24 h", "12 days".
fn span(seconds: i64) -> String {
    let rounded = |unit: i64| (seconds + unit / 2) / unit;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_170 => format!("{} min", rounded(60)),
        7_170..257_400 => format!("{} h", rounded(3_600)),
        _ => format!("{} days", rounded(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{RepeatedKill, group, span};
    use crate::history::{scan::FoundRecord, summary::Summary};

    fn kills(fingerprint: &str, seconds: &[i64]) -> Vec<FoundRecord> {
        let kill = |second: &i64| {
            let time = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(*second);
            let fingerprint = Some(fingerprint.to_owned());
            FoundRecord::unstored(Summary { time: Some(time), fingerprint, ..Summary::default() })
        };
        seconds.iter().map(kill).collect()
    }

    fn rhythm(seconds: &[i64]) -> String {
        let groups = group(kills("a", seconds));
        assert_eq!(groups.len(), 1);
        groups[0].rhythm()
    }

    #[test]
    fn rhythm_of_irregular_kills_has_no_interval() {
        let regular: Vec<i64> = (0..12).map(|n| n * 1_860 + n % 3 * 40).collect();
        assert_eq!(rhythm(&regular), "12 times in 6 h, every 32 min");
        assert_eq!(rhythm(&[0, 60, 120, 180]), "4 times in 3 min, every 60 s");
        // One long pause leaves the kills regular.
        assert_eq!(rhythm(&[0, 600, 1_200, 90_000, 90_600]), "5 times in 25 h, every 10 min");
        assert_eq!(rhythm(&[0]), "once");
        assert_eq!(rhythm(&[0, 600]), "2 times in 10 min");
        assert_eq!(rhythm(&[0, 600, 1_200]), "3 times in 20 min");
        assert_eq!(rhythm(&[0, 10, 600, 4_000, 4_100]), "5 times in 68 min");
        assert_eq!(rhythm(&[5, 5, 5, 5]), "4 times in 0 s");
    }

    #[test]
    fn group_ignores_the_site_and_sorts_by_the_latest_kill() {
        let mut found = kills("b", &[50]);
        found.extend(kills("a-1", &[10]));
        found.extend(kills("a-2", &[90]));
        found.push(FoundRecord::unstored(Summary::default()));
        let groups = group(found);
        let names: Vec<(&str, usize)> = groups
            .iter()
            .map(|RepeatedKill { fingerprint, count, .. }| (fingerprint.as_str(), *count))
            .collect();
        assert_eq!(names, [("b", 1), ("a", 2)]);
        assert_eq!(groups[1].latest.summary.fingerprint.as_deref(), Some("a-2"));
    }

    #[test]
    fn span_is_rounded_to_two_digits() {
        for (seconds, expected) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (1_889, "31 min"),
            (7_169, "119 min"),
            (7_170, "2 h"),
            (86_400, "24 h"),
            (257_400, "3 days"),
            (1_000_000, "12 days"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
