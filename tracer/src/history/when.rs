//! Times as people write them. Pure: the present comes in.

use jiff::{Span, Timestamp, ZonedDateTime, civil};

const HINT: &str =
    "write e.g. \"2026-11-25 10:00\", 10:00, today, yesterday, \"2 hours ago\" or 2h";

/// A moment: "2026-11-25 10:00" and the like in the local zone, RFC 3339 in its own, "@SECONDS"
/// since 1970, or a time before now ("2 hours ago", "-2h", "2h").
pub(crate) fn parse(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let text = text.trim();
    word(text, now)
        .or_else(|| seconds(text))
        .or_else(|| text.parse().ok())
        .or_else(|| local(text, now))
        .or_else(|| before(text, now))
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

/// A span without a sign is in the past too, as kubectl has it: nothing was stored in the future.
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
    fn people_and_machines_write_times_in_many_ways() {
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
    fn what_is_no_time_is_told_with_an_example() {
        for text in ["", "tuesday", "+1h", "2026-13-01", "25:00", "1767225600", "@x", "10", "-"] {
            assert!(parse(text, &now()).unwrap_err().contains("e.g."), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,24}") {
            let _ = parse(&text, &now());
        }
    }
}
