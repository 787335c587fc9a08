//! A line of a kernel log without its prefix: the numbers of /dev/kmsg, the times of dmesg in all
//! formats, the prefixes of syslog and of journalctl.

use jiff::Timestamp;

use super::{bytes, date, date::Date};

/// The times that the log has of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The log's own clock, which starts with the kernel.
    pub(crate) log_ns: Option<u64>,
    pub(crate) wall: Option<Timestamp>,
    /// A date without a time zone or without a year, as the log shows it.
    pub(crate) vague: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) stamp: Stamp,
    /// The host in the prefix of syslog.
    pub(crate) host: Option<String>,
    /// The caller of printk: "T123" (a task) or "C1" (a CPU in an interrupt).
    pub(crate) caller: Option<String>,
    /// It continues the record before it: no line of the kernel begins here.
    pub(crate) is_rest: bool,
    /// The text of the kernel, which can contain newlines.
    pub(crate) text: String,
}

/// Parses records; the meaning of a line can depend on the lines before it.
#[derive(Debug, Default)]
pub(crate) struct Records {
    has_prefixes: bool,
    is_raw: bool,
    /// Whether dmesg -x names the facilities: it names none that it does not know, as local0.
    has_facility_names: bool,
    /// Whether the latest record is not the kernel's. Lines without a prefix continue it.
    is_foreign: bool,
}

impl Records {
    /// Whether these are records of /dev/kmsg, in which a newline in a name is escaped.
    pub(crate) fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// The record of a line; `None` if the kernel did not print it.
    pub(crate) fn line(&mut self, line: &[u8]) -> Option<Record> {
        let decoded = bytes::text(line);
        let text = decoded.trim_end_matches(['\r', '\n']);
        // Within other forms, such a line is part of a text that anybody can have written.
        if (self.is_raw || !self.has_prefixes)
            && let Some((facility, record)) = raw(text)
        {
            (self.is_raw, self.has_prefixes) = (true, true);
            return (facility == KERNEL).then_some(record);
        }
        if self.is_raw && text.starts_with(' ') {
            // The dictionary of the record before.
            return None;
        }
        let mut record = Record::default();
        let (facility, rest) = facility(text);
        let (rest, origin) = match prefix(rest, &mut record) {
            Prefix::Kernels(rest) => (rest, Some(Origin::Kernel)),
            Prefix::Foreign => (rest, Some(Origin::Foreign)),
            Prefix::Absent => (rest, None),
        };
        record.is_rest = !self.begins(facility, origin) && self.has_prefixes;
        self.has_prefixes |= !record.is_rest && (facility.is_some() || origin.is_some());
        if self.is_foreign {
            return None;
        }
        rest.clone_into(&mut record.text);
        Some(record)
    }

    /// Whether a line begins a record. If so, it notes whose record that is.
    fn begins(&mut self, facility: Option<Facility>, prefix: Option<Origin>) -> bool {
        let is_unnamed = facility.is_none() && self.has_facility_names;
        self.has_facility_names |= facility.is_some_and(|facility| facility.is_name);
        if facility.is_none() && prefix.is_none() {
            return false;
        }
        let is_kernels = facility.is_none_or(|facility| facility.origin == Origin::Kernel);
        self.is_foreign = !is_kernels || is_unnamed || prefix == Some(Origin::Foreign);
        true
    }
}

/// Who wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Kernel,
    Foreign,
}

/// The facility in front of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facility {
    origin: Origin,
    /// Whether it is a name, as dmesg -x prints, not a number.
    is_name: bool,
}

/// The facility of the kernel's own records. The kernel does not let a program that writes to
/// /dev/kmsg have it.
/// <https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg>
const KERNEL: u64 = 0;

/// `6,446,2162402,-,caller=T123;text`: facility * 8 + level, number, µs, flags. Returns the
/// facility, too.
fn raw(line: &str) -> Option<(u64, Record)> {
    let (prefix, text) = line.split_once(';')?;
    let mut fields = prefix.split(',');
    let number = |field: Option<&str>| digits(field?);
    let facility = number(fields.next())? >> 3;
    number(fields.next())?;
    let us = number(fields.next())?;
    fields.next().filter(|flags| flags.len() == 1)?;
    let caller = fields.find_map(|field| field.strip_prefix("caller=")).map(str::to_owned);
    let stamp = Stamp { log_ns: us.checked_mul(1000), ..Stamp::default() };
    Some((facility, Record { stamp, caller, text: unescape(text), ..Record::default() }))
}

/// /dev/kmsg escapes a backslash and all that is not printable ASCII as \xNN.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        plain.extend_from_slice(&bytes::bytes(before));
        let code = after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        plain.extend_from_slice(code.as_ref().map_or(b"\\x", std::slice::from_ref));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    plain.extend_from_slice(&bytes::bytes(rest));
    bytes::text(&plain)
}

/// The facility in `<6>` or in `kern  :warn  : `, and the text behind it.
fn facility(text: &str) -> (Option<Facility>, &str) {
    let of = |is_kernels: bool, is_name: bool| {
        let origin = if is_kernels { Origin::Kernel } else { Origin::Foreign };
        Some(Facility { origin, is_name })
    };
    let angle = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    if let Some((priority, rest)) = angle.and_then(|(number, rest)| Some((digits(number)?, rest))) {
        // RFC 5424 has its version here.
        let rest = rest.strip_prefix("1 ").unwrap_or(rest);
        return (of(priority >> 3 == KERNEL, false), rest);
    }
    let mut words = text.splitn(3, ':');
    match (words.next().map(str::trim_end), words.next().map(str::trim_end), words.next()) {
        (Some(name), Some(level), Some(rest))
            if FACILITIES.contains(&name) && LEVELS.contains(&level) =>
        {
            (of(name == "kern", true), rest.strip_prefix(' ').unwrap_or(rest))
        }
        _ => (None, text),
    }
}

/// The names that dmesg -x prints.
const FACILITIES: [&str; 12] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
];
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

enum Prefix<'a> {
    Kernels(&'a str),
    Foreign,
    Absent,
}

fn prefix<'a>(text: &'a str, record: &mut Record) -> Prefix<'a> {
    if let Some(rest) = bracket(text, record) {
        // journalctl's short-monotonic.
        let rest = tagged(rest, record).unwrap_or(rest);
        return Prefix::Kernels(rest);
    }
    let Some((Date { stamp, is_tagged }, rest)) = date::date(text) else {
        return Prefix::Absent;
    };
    if !is_tagged {
        record.stamp = stamp;
        return Prefix::Kernels(rest);
    }
    match tagged(rest, record) {
        Some(rest) => {
            let rest = bracket(rest, record).unwrap_or(rest);
            let log_ns = record.stamp.log_ns;
            record.stamp = Stamp { log_ns, ..stamp };
            Prefix::Kernels(rest)
        }
        None => Prefix::Foreign,
    }
}

/// `host kernel: text`, `kernel: text`, and RFC 5424's `host kernel - - - text`.
fn tagged<'a>(text: &'a str, record: &mut Record) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix("kernel: ") {
        return Some(rest);
    }
    let (host, rest) = text.split_once(' ')?;
    let words = rest.strip_prefix("kernel: ").or_else(|| rest.strip_prefix("kernel - - - "))?;
    record.host = Some(host.to_owned());
    Some(words)
}

/// `[   12.345678] `, `[Tue Nov 25 17:00:00 2025] ` and the like, with printk's caller behind it.
fn bracket<'a>(text: &'a str, record: &mut Record) -> Option<&'a str> {
    let (inside, behind) = text.strip_prefix('[')?.split_once(']')?;
    let time = inside.split('<').next().unwrap_or_default().trim();
    if let Some(log_ns) = date::seconds(time) {
        record.stamp.log_ns = Some(log_ns);
    } else if date::is_dmesg_date(time) {
        record.stamp.vague = Some(time.to_owned());
    } else if !date::is_dmesg_delta(time) {
        return None;
    }
    let rest = behind.strip_prefix(' ').unwrap_or(behind);
    let Some((caller, words)) = caller(rest) else {
        return Some(rest);
    };
    record.caller = Some(caller.to_owned());
    Some(words.strip_prefix(' ').unwrap_or(words))
}

/// `[  T118]`, and the text behind it.
fn caller(text: &str) -> Option<(&str, &str)> {
    let (inside, words) = text.strip_prefix('[')?.split_once(']')?;
    let caller = inside.trim();
    digits(caller.strip_prefix(['T', 'C'])?)?;
    Some((caller, words))
}

/// A number that consists of digits only.
pub(crate) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
