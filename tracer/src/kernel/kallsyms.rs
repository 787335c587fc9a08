//! One walk through /proc/kallsyms, line by line: it has 5 to 10 MB, of which two lines matter.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

use super::files::Root;

/// The kernel makes a page of it per read, whatever we ask for.
const BUFFER_BYTES: usize = 8 * 1024;

/// What kernel symbols tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kallsyms {
    /// The compiler split `oom_badness` and the selection loop calls the part, so a hook on
    /// `oom_badness` itself never fires. `None`: kallsyms could not be read.
    pub badness_is_split: Option<bool>,
    /// Address of `__per_cpu_offset`; `None` where it is hidden from us.
    pub per_cpu_offset: Option<u64>,
}

/// Reads what can be read; what cannot is `None`.
pub(super) fn scan(root: &Root) -> Kallsyms {
    File::open(root.path("/proc/kallsyms"))
        .and_then(|file| scan_lines(BufReader::with_capacity(BUFFER_BYTES, file)))
        .unwrap_or_default()
}

fn scan_lines(mut source: impl BufRead) -> io::Result<Kallsyms> {
    let mut symbols = Kallsyms::default();
    let mut line = Vec::new();
    while source.read_until(b'\n', &mut line)? > 0 {
        symbols.take(&line);
        line.clear();
    }
    Ok(symbols)
}

impl Kallsyms {
    /// A line is `ADDRESS TYPE NAME`, with a tab and `[MODULE]` behind a module's.
    fn take(&mut self, line: &[u8]) {
        self.badness_is_split.get_or_insert(false);
        // No allocation and no text check for the 200,000 lines that are not ours.
        let mut words = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
        let (Some(address), Some(_kind), Some(name)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        if name == b"__per_cpu_offset" {
            self.per_cpu_offset = parse_address(address);
        } else if name.starts_with(b"oom_badness.") && !name.starts_with(b"oom_badness.cold") {
            // A .cold part is only the unlikely end of the function: its entry stays where it is.
            self.badness_is_split = Some(true);
        }
    }
}

/// All zeroes is how the kernel hides an address.
fn parse_address(hexadecimal: &[u8]) -> Option<u64> {
    let text = str::from_utf8(hexadecimal).ok()?;
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|address| *address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Kallsyms {
        scan_lines(text.as_bytes()).expect("bytes can be read")
    }

    #[test]
    fn a_split_oom_badness_is_seen() {
        let whole = "ffffffff81000000 T oom_badness\nffffffff81000010 t oom_badness.cold\n";
        assert_eq!(scanned(whole).badness_is_split, Some(false));
        let split = "ffffffff81000000 T oom_badness\nffffffff81000010 t oom_badness.part.0\n";
        assert_eq!(scanned(split).badness_is_split, Some(true));
    }

    #[test]
    fn an_address_is_taken_unless_it_is_hidden() {
        let shown = "ffffffff82a0b0c0 D __per_cpu_offset\n";
        assert_eq!(scanned(shown).per_cpu_offset, Some(0xffff_ffff_82a0_b0c0));
        assert_eq!(
            scanned("0000000000000000 D __per_cpu_offset\n").per_cpu_offset,
            None
        );
    }

    #[test]
    fn names_that_only_resemble_ours_are_passed_over() {
        let text = "1 t oom_badnesses\n2 D __per_cpu_offsets\n3\nx y z w\n\
                    4 D __per_cpu_offset\t[module]\n";
        let seen = Kallsyms {
            badness_is_split: Some(false),
            per_cpu_offset: None,
        };
        assert_eq!(scanned(text), seen);
    }

    #[test]
    fn no_kallsyms_is_unknown() {
        assert_eq!(scan(&Root::new("/nonexistent")), Kallsyms::default());
        assert_eq!(scanned(""), Kallsyms::default());
    }
}
