//! The dates before the lines of a log. Only a date with a time zone is a point in time.

use jiff::Timestamp;

use super::record::{Stamp, digits};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) stamp: Stamp,
    /// The name of a program must follow.
    pub(crate) is_tagged: bool,
}

/// The date at the beginning of a line, and the rest of the line.
pub(crate) fn date(text: &str) -> Option<(Date, &str)> {
    iso(text).or_else(|| syslog(text)).or_else(|| full(text)).or_else(|| unix(text))
}

/// `2025-11-25T17:00:00+0000 host kernel: `, with parts of a second or not; with a comma it is
/// dmesg's.
fn iso(text: &str) -> Option<(Date, &str)> {
    let (date, rest) = text.split_once(' ')?;
    let is_date = date.len() >= 19
        && date.is_ascii()
        && date.as_bytes().get(10) == Some(&b'T')
        && digits(date.get(..4)?).is_some();
    let is_tagged = !date.contains(',');
    let wall = date.replace(',', ".").parse().ok();
    is_date.then(|| (Date { stamp: stamp(wall, date), is_tagged }, rest))
}

/// `Nov 25 17:00:00 host kernel: `, with parts of a second or not.
fn syslog(text: &str) -> Option<(Date, &str)> {
    let month = MONTHS.iter().find(|month| text.starts_with(**month))?;
    let rest = text.get(month.len()..)?.strip_prefix(' ')?;
    let (day, rest) = rest.trim_start().split_once(' ')?;
    digits(day)?;
    let (time, rest) = rest.split_once(' ')?;
    let date = text.get(..text.len().checked_sub(rest.len() + 1)?)?;
    is_time(time).then(|| (Date { stamp: stamp(None, date), is_tagged: true }, rest))
}

/// journalctl's `short-full`: `Tue 2025-11-25 17:00:00 UTC host kernel: `.
fn full(text: &str) -> Option<(Date, &str)> {
    let mut words = text.splitn(5, ' ');
    let day = words.next()?;
    let (date, time, zone, rest) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if !DAYS.contains(&day) || !is_time(time) || date.len() != 10 {
        return None;
    }
    let wall = (zone == "UTC").then(|| format!("{date}T{time}Z").parse().ok()).flatten();
    let shown = format!("{date} {time} {zone}");
    Some((Date { stamp: stamp(wall, &shown), is_tagged: true }, rest))
}

/// journalctl's `short-unix`: `1764090000.123456 host kernel: `.
fn unix(text: &str) -> Option<(Date, &str)> {
    let (number, rest) = text.split_once(' ')?;
    let ns = seconds(number).filter(|ns| *ns >= 1_000_000_000_000_000)?;
    let wall = Timestamp::from_nanosecond(i128::from(ns)).ok();
    Some((Date { stamp: stamp(wall, number), is_tagged: true }, rest))
}

fn stamp(wall: Option<Timestamp>, shown: &str) -> Stamp {
    Stamp { log_ns: None, wall, vague: wall.is_none().then(|| shown.to_owned()) }
}

/// Whether a text is like `17:00:00` or `17:00:00.123456`.
fn is_time(text: &str) -> bool {
    let (clock, parts) = text.split_once('.').unwrap_or((text, "0"));
    let fields: Vec<&str> = clock.split(':').collect();
    fields.len() == 3 && fields.iter().chain([&parts]).all(|field| digits(field).is_some())
}

/// Nanoseconds of `12.345678`.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let (whole, parts) = text.split_once('.')?;
    let places = u32::try_from(parts.len()).ok().filter(|places| (1..=9).contains(places))?;
    let parts = digits(parts)?.checked_mul(10_u64.pow(9 - places))?;
    digits(whole)?.checked_mul(1_000_000_000)?.checked_add(parts)
}

/// dmesg -T: `Tue Nov 25 17:00:00 2025`; and --reltime, once a minute: `Nov25 17:00`.
pub(crate) fn is_dmesg_date(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [day, month, date, time, year] => {
            DAYS.contains(day)
                && MONTHS.contains(month)
                && is_time(time)
                && [date, year].iter().all(|number| digits(number).is_some())
        }
        [date, time] => MONTHS.iter().any(|month| date.starts_with(month)) && time.contains(':'),
        _ => false,
    }
}

/// dmesg --reltime: `+0.000004`.
pub(crate) fn is_dmesg_delta(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|delta| seconds(delta).is_some())
}
