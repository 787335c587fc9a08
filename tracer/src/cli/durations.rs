//! Options that take a duration, with their bounds.

use std::time::Duration;

use jiff::SignedDuration;

/// `--cross-check`: the longest time between two comparisons. "90s", "10min" or "1h 30m".
pub(super) fn cross_check(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_hours(24), "from 1s to 24h")
}

/// `--close-after`: how long a report waits for its victims to exit.
pub(super) fn close_after(text: &str) -> Result<Duration, String> {
    within(text, Duration::ZERO, Duration::from_mins(10), "from 0s to 10min")
}

/// `--interval` of `risk`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(100), Duration::from_hours(1), "from 100ms to 1h")
}

fn within(
    text: &str,
    shortest: Duration,
    longest: Duration,
    bounds: &str,
) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "write it with a unit, e.g. 90s, 10min or 1h".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if (shortest..=longest).contains(&duration) => Ok(duration),
        _ => Err(format!("must be {bounds}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{close_after, cross_check};

    #[test]
    fn durations_need_unit_and_bounds() {
        assert_eq!(cross_check("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(cross_check("10min"), Ok(Duration::from_mins(10)));
        assert_eq!(cross_check("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(cross_check("24h"), Ok(Duration::from_hours(24)));
        for wrong in ["", "10", "0s", "999ms", "24h 1s", "-10min", "1 week", "9999999999999999h"] {
            assert!(cross_check(wrong).is_err(), "{wrong}");
        }
        assert_eq!(close_after("0s"), Ok(Duration::ZERO));
        assert!(close_after("11min").is_err());
    }
}
