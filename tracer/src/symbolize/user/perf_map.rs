//! Perf maps, in which just-in-time compilers describe their code: lines of `START SIZE NAME`, the
//! numbers in hex. If code at an address was compiled again, the latest line counts.
//! <https://github.com/torvalds/linux/blob/v6.12/tools/perf/Documentation/jit-interface.txt>

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
};

use super::received_file::FromStart;
use crate::model::names::Name;

/// Bytes of a file that are read. A server that has run for months wrote a tenth of that.
const MAX_BYTES: u64 = 256 << 20;
/// Longer names are cut.
const MAX_NAME_BYTES: usize = 512;

/// The name of each address, from the first file that has one.
pub(super) fn names<'a>(
    files: impl IntoIterator<Item = &'a File>,
    addresses: &[u64],
) -> Vec<Option<Name>> {
    let mut names = vec![None; addresses.len()];
    for file in files {
        let found = names_in(file, addresses);
        names.iter_mut().zip(found).for_each(|(name, found)| *name = name.take().or(found));
    }
    names
}

fn names_in(file: &File, addresses: &[u64]) -> Vec<Option<Name>> {
    let mut names = vec![None; addresses.len()];
    let mut lines = BufReader::new(FromStart::new(file).take(MAX_BYTES));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        if let Some((start, size, text)) = parse(&line) {
            let slots = addresses.iter().zip(&mut names);
            for (address, name) in slots {
                if let Some(offset) = address.checked_sub(start).filter(|offset| *offset < size) {
                    *name = Some(named(text, offset));
                }
            }
        }
        line.clear();
    }
    names
}

fn named(text: &[u8], offset: u64) -> Name {
    let text = String::from_utf8_lossy(text.get(..MAX_NAME_BYTES).unwrap_or(text)).into_owned();
    Name { symbol: Some(text), offset: Some(offset), file: None }
}

fn parse(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut words = line.strip_suffix(b"\n").unwrap_or(line).splitn(3, |&byte| byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(words.next()?).ok()?;
        u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    Some((start, size, words.next().filter(|name| !name.is_empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_with_several_names_gets_the_latest_and_malformed_lines_are_skipped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = b"1000 20 LazyCompile:~old /a.js:1\nx\n\n1000 zz bad\n2000 10\n\
                      1000 10 *new a b\n0x3000 0x8 py::f\nffffffffffffffff ffffffffffffffff end\n";
        std::fs::write(file.path(), lines).unwrap();
        let found = names([file.as_file()], &[0x1004, 0x1018, 0x2000, 0x3007, 0x3008]);
        let expected = [
            Some(named(b"*new a b", 4)),
            Some(named(b"LazyCompile:~old /a.js:1", 0x18)),
            None,
            Some(named(b"py::f", 7)),
            None,
        ];
        assert_eq!(found, expected);
        assert_eq!(names([], &[1]), [None]);
        let own = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(own.path(), "3000 4 own\n").unwrap();
        let found = names([own.as_file(), file.as_file()], &[0x3003, 0x3004]);
        assert_eq!(found, [Some(named(b"own", 3)), Some(named(b"py::f", 4))]);
    }
}
