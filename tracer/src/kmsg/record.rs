//! A line of a kernel log, without what stands before the kernel's own words: /dev/kmsg's numbers,
//! dmesg's times in all its formats, the prefixes of syslog and of journalctl.

use jiff::Timestamp;

use super::{bytes, date, date::Date};

/// What the log says of when something was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The log's own clock, which starts with the kernel. ns.
    pub(super) log_ns: Option<u64>,
    /// The wall clock.
    pub(super) wall: Option<Timestamp>,
    /// A date without a time zone or without a year, as the log has it.
    pub(super) vague: Option<String>,
}

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) stamp: Stamp,
    /// Who wrote it to its syslog.
    pub(super) host: Option<String>,
    /// Who called printk, as "T123" (a task) or "C1" (a CPU in an interrupt).
    pub(super) caller: Option<String>,
    /// It goes on with the record before: no line of the kernel's begins here.
    pub(super) is_rest: bool,
    /// The kernel's words; newlines in it are part of them.
    pub(super) text: String,
}

/// Reads records; what a line is can depend on the lines before it.
#[derive(Debug, Default)]
pub(super) struct Records {
    has_prefixes: bool,
    is_raw: bool,
}

impl Records {
    /// Whether these are /dev/kmsg's own, in which a newline in a name is escaped.
    pub(super) fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// The record of a line; `None` for a line that is not the kernel's.
    pub(super) fn line(&mut self, line: &[u8]) -> Option<Record> {
        let text = bytes::text(line);
        let text = text.trim_end_matches(['\r', '\n']);
        if let Some(record) = raw(text) {
            (self.is_raw, self.has_prefixes) = (true, true);
            return Some(record);
        }
        if self.is_raw && text.starts_with(' ') {
            // Keys and values that belong to the record before.
            return None;
        }
        let mut record = Record::default();
        let rest = level(text);
        let (rest, has_prefix) = match prefix(rest, &mut record) {
            Prefix::Kernels(rest) => (rest, true),
            Prefix::Foreign => return None,
            Prefix::Absent => (rest, false),
        };
        record.is_rest = self.has_prefixes && !has_prefix;
        self.has_prefixes |= has_prefix;
        rest.clone_into(&mut record.text);
        Some(record)
    }
}

/// `6,446,2162402,-,caller=T123;text`: level, number, µs, flags.
fn raw(line: &str) -> Option<Record> {
    let (prefix, text) = line.split_once(';')?;
    let mut fields = prefix.split(',');
    let number = |field: Option<&str>| digits(field?);
    number(fields.next())?;
    number(fields.next())?;
    let us = number(fields.next())?;
    fields.next().filter(|flags| flags.len() == 1)?;
    let caller = fields.find_map(|field| field.strip_prefix("caller=")).map(str::to_owned);
    let stamp = Stamp { log_ns: us.checked_mul(1000), ..Stamp::default() };
    Some(Record { stamp, caller, text: unescape(text), ..Record::default() })
}

/// /dev/kmsg writes what is not printable ASCII, and a backslash, as \xNN.
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

/// Without `<6>`, or `kern  :warn  : `.
fn level(text: &str) -> &str {
    let angle = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    if let Some((_, rest)) = angle.filter(|(level, _)| digits(level).is_some()) {
        // RFC 5424 has its version here.
        return rest.strip_prefix("1 ").unwrap_or(rest);
    }
    let mut words = text.splitn(3, ':');
    match (words.next().map(str::trim_end), words.next().map(str::trim_end), words.next()) {
        (Some("kern"), Some(level), Some(rest)) if level.chars().all(char::is_alphabetic) => {
            rest.strip_prefix(' ').unwrap_or(rest)
        }
        _ => text,
    }
}

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
    let rest = rest.strip_prefix("kernel: ").or_else(|| rest.strip_prefix("kernel - - - "))?;
    record.host = Some(host.to_owned());
    Some(rest)
}

/// `[   12.345678] `, `[Tue Nov 25 17:00:00 2025] ` and the like, with printk's caller behind it.
fn bracket<'a>(text: &'a str, record: &mut Record) -> Option<&'a str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let inside = inside.split('<').next().unwrap_or_default().trim();
    if let Some(log_ns) = date::seconds(inside) {
        record.stamp.log_ns = Some(log_ns);
    } else if date::is_dmesg_date(inside) {
        record.stamp.vague = Some(inside.to_owned());
    } else if !date::is_dmesg_delta(inside) {
        return None;
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let Some((caller, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
    else {
        return Some(rest);
    };
    let caller = caller.trim();
    if caller.strip_prefix(['T', 'C']).and_then(digits).is_none() {
        return Some(rest);
    }
    record.caller = Some(caller.to_owned());
    Some(behind.strip_prefix(' ').unwrap_or(behind))
}

/// A number of nothing but digits.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
