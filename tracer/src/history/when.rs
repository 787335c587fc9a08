//! Parses times as people write them. Pure: the caller passes the current time.

use jiff::{Span, Timestamp, ZonedDateTime, civil};

const HINT: &str =
    "not a time; write e.g. \"2026-11-25 10:00\", 10:00, today, yesterday, \"2 hours ago\" or 2h";

/// Parses a time in the local zone ("2026-11-25 10:00"), RFC 3339, "@SECONDS" since 1970, or a time
/// before now ("2 hours ago", "-2h", "2h").
pub(crate) fn parse(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let trimmed = text.trim();
    word(trimmed, now)
        .or_else(|| seconds(trimmed))
        .or_else(|| trimmed.parse().ok())
        .or_else(|| local(trimmed, now))
        .or_else(|| before(trimmed, now))
        .ok_or_else(|| HINT.to_owned())
}

fn word(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let day = match text {
        "now" => return Some(now.timestamp()),
        "today" => now.date(),
        "yesterday" => now.date().yesterday().ok()?,
        _ => return None,
    };
    Some(day.to_zoned_datetime(now.time_zone().clone()).ok()?.timestamp())
}

fn seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.strip_prefix('@')?.parse().ok()?).ok()
}

fn local(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let moment = match text.parse::<civil::Time>() {
        Ok(time) if text.contains(':') && !text.contains('-') => now.date().to_datetime(time),
        _ => text.parse::<civil::DateTime>().ok()?,
    };
    Some(moment.to_zoned_datetime(now.time_zone().clone()).ok()?.timestamp())
}

/// A span without a sign is in the past too, as in kubectl: nothing was stored in the future.
fn before(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let span: Span = text.parse().ok()?;
    let past = if span.is_negative() { span } else { span.negate() };
    (!text.starts_with('+')).then(|| now.checked_add(past).ok())?.map(|it| it.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::ZonedDateTime;
    use proptest::prelude::*;

    use super::parse;

    fn now() -> ZonedDateTime {
        "2026-11-25T17:30:15+01:00[Europe/Berlin]".parse().unwrap()
    }

    #[test]
    fn parse_accepts_times_of_people_and_machines() {
        for (text, expected) in [
            ("now", "2026-11-25T16:30:15Z"),
            ("today", "2026-11-24T23:00:00Z"),
            ("yesterday", "2026-11-23T23:00:00Z"),
            ("2 hours ago", "2026-11-25T14:30:15Z"),
            ("1 hour 30 minutes ago", "2026-11-25T15:00:15Z"),
            ("-1h", "2026-11-25T15:30:15Z"),
            ("90min", "2026-11-25T15:00:15Z"),
            ("5m", "2026-11-25T16:25:15Z"),
            ("2d", "2026-11-23T16:30:15Z"),
            ("1 week ago", "2026-11-18T16:30:15Z"),
            ("2 months ago", "2026-09-25T15:30:15Z"),
            ("2026-11-25 10:00", "2026-11-25T09:00:00Z"),
            ("2026-11-25 10:00:30", "2026-11-25T09:00:30Z"),
            ("2026-11-25T10:00:30", "2026-11-25T09:00:30Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("10:00", "2026-11-25T09:00:00Z"),
            ("10:00:30", "2026-11-25T09:00:30Z"),
            ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z"),
            ("2026-11-25T10:00:00.5-05:00", "2026-11-25T15:00:00.5Z"),
            ("@1767225600", "2026-01-01T00:00:00Z"),
            ("  today ", "2026-11-24T23:00:00Z"),
        ] {
            assert_eq!(parse(text, &now()), Ok(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn parse_invalid_time_fails_with_an_example() {
        for text in ["", "tuesday", "+1h", "2026-13-01", "25:00", "1767225600", "@x", "10", "-"] {
            assert!(parse(text, &now()).unwrap_err().contains("e.g."), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_random_text_does_not_panic(text in "\\PC{0,24}") {
            let _ = parse(&text, &now());
        }
    }
}
