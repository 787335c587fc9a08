//! Extracts the text of records: "6,446,2162402,-;text" of /dev/kmsg, "[    2.162402] text" of
//! dmesg.

/// The texts of the records. A text can have several lines, because the kernel printed them or
/// because a task's name has a newline.
pub(crate) fn texts(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        // Such a line has a key and a value of the record before.
        .filter(|line| !line.starts_with(' '))
        .map(|line| match raw(line) {
            Some(message) => unescape(message),
            None => stamped(line).unwrap_or(line).to_owned(),
        })
}

fn raw(line: &str) -> Option<&str> {
    let (prefix, message) = line.split_once(';')?;
    let mut fields = prefix.split(',');
    let is_number = |field: &str| !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit());
    let numbers = fields.by_ref().take(3).filter(|field| is_number(field)).count();
    (numbers == 3).then_some(message)
}

fn stamped(line: &str) -> Option<&str> {
    let (stamp, message) = line.strip_prefix('[')?.split_once(']')?;
    let (seconds, _) = stamp.split_once('.')?;
    seconds.trim().parse::<u64>().ok()?;
    Some(message.strip_prefix(' ').unwrap_or(message))
}

/// The kernel prints a byte that is not printable, or a backslash, as \xNN.
fn unescape(message: &str) -> String {
    let mut bytes = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = &after[2..];
        } else {
            bytes.extend_from_slice(b"\\x");
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_give_the_same_lines() {
        let raw = "6,446,2162402,-;anon 1\\x0afile 2\n SUBSYSTEM=memory\n6,447,2162403,c;[  5] x";
        let stamped = "[    2.162402] anon 1\n[    2.162402] file 2\n[    2.162403] [  5] x";
        let lines = |text: &str| texts(text).collect::<Vec<_>>().join("\n");
        assert_eq!(lines(raw), "anon 1\nfile 2\n[  5] x");
        assert_eq!(lines(stamped), lines(raw));
    }
}
