//! `--cross-check`: how long an idle host may be left alone.

use std::time::Duration;

use jiff::SignedDuration;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24);

/// "90s", "10min" or "1h 30m".
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "write it with a unit, e.g. 90s, 10min or 1h".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if (SHORTEST..=LONGEST).contains(&duration) => Ok(duration),
        _ => Err("must be from 1s to 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn durations_have_a_unit_and_bounds() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("10min"), Ok(Duration::from_mins(10)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse("24h"), Ok(Duration::from_hours(24)));
        for wrong in ["", "10", "0s", "999ms", "24h 1s", "-10min", "1 week", "9999999999999999h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
