//! One walk through /proc/kallsyms: it has 5 to 10 MB, of which two or three lines matter. Making those
//! takes the kernel longer than all else that is read at start, so reading ends where these
//! lines must have been seen.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

use super::files::Root;

/// The kernel makes a page of it per read, whatever we ask for.
const BUFFER_BYTES: usize = 8 * 1024;

/// Symbols are sorted by address, so no function of the kernel proper follows this one but those
/// for booting; `oom_badness` and its parts are none. Modules have no part of it either.
const END_OF_TEXT: &[u8] = b"_etext";

/// What kernel symbols tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kallsyms {
    /// The compiler split `oom_badness` and the selection loop calls the part, so a hook on
    /// `oom_badness` itself never fires. `None`: kallsyms could not be read.
    pub badness_is_split: Option<bool>,
    /// Address of `__per_cpu_offset`; `None` where it is hidden from us.
    pub per_cpu_offset: Option<u64>,
    /// Address of `mem_cgroup_stats_index`; `None` where it is hidden from us, or not looked for.
    pub stat_places: Option<u64>,
}

/// Reads what can be read; what cannot is `None`. `stat_table`: the kernel has
/// `mem_cgroup_stats_index`.
pub(super) fn scan(root: &Root, stat_table: bool) -> Kallsyms {
    File::open(root.path("/proc/kallsyms"))
        .and_then(|file| scan_lines(BufReader::with_capacity(BUFFER_BYTES, file), stat_table))
        .unwrap_or_default()
}

fn scan_lines(mut source: impl BufRead, stat_table: bool) -> io::Result<Kallsyms> {
    let mut symbols = Kallsyms::default();
    let (mut line, mut text_ended, mut address_seen) = (Vec::new(), false, false);
    let mut table_seen = !stat_table;
    while !(text_ended && address_seen && table_seen) && source.read_until(b'\n', &mut line)? > 0 {
        symbols.badness_is_split.get_or_insert(false);
        match split(&line) {
            Some((_, END_OF_TEXT)) => text_ended = true,
            Some((address, b"__per_cpu_offset")) => {
                symbols.per_cpu_offset = parse_address(address);
                address_seen = true;
            }
            Some((address, b"mem_cgroup_stats_index")) if stat_table => {
                symbols.stat_places = parse_address(address);
                table_seen = true;
            }
            Some((_, name)) if is_part_of_badness(name) => symbols.badness_is_split = Some(true),
            _ => {}
        }
        line.clear();
    }
    Ok(symbols)
}

/// Address and name of a line `ADDRESS TYPE NAME`; behind a module's name are a tab and `[MODULE]`.
/// Neither allocates nor checks the text of the 200,000 lines that are not ours.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (address, rest) = line.split_at_checked(space)?;
    let [b' ', _kind, b' ', name @ ..] = rest else {
        return None;
    };
    Some((address, name.strip_suffix(b"\n").unwrap_or(name)))
}

/// A .cold part is only the unlikely end of the function: its entry stays where it is.
fn is_part_of_badness(name: &[u8]) -> bool {
    name.starts_with(b"oom_badness.") && !name.starts_with(b"oom_badness.cold")
}

/// All zeroes is how the kernel hides an address.
fn parse_address(hexadecimal: &[u8]) -> Option<u64> {
    let text = str::from_utf8(hexadecimal).ok()?;
    u64::from_str_radix(text, 16).ok().filter(|address| *address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Kallsyms {
        scan_lines(text.as_bytes(), false).expect("bytes can be read")
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
        assert_eq!(scanned("0000000000000000 D __per_cpu_offset\n").per_cpu_offset, None);
    }

    #[test]
    fn nothing_is_read_behind_the_end_of_what_matters() {
        let end = "1 T _etext\n2 D __per_cpu_offset\n";
        let mut source = [end, "3 t unread\n"].concat();
        let mut unread = source.as_bytes();
        scan_lines(&mut unread, false).expect("bytes can be read");
        assert_eq!(unread, b"3 t unread\n");
        // Either alone is not the end.
        source = format!("1 T _etext\n2 t oom_badness.part.0\n{end}");
        assert_eq!(scanned(&source).badness_is_split, Some(true));
        source = format!("2 D __per_cpu_offset\n3 t oom_badness.part.0\n{end}");
        assert_eq!(scanned(&source).badness_is_split, Some(true));
    }

    #[test]
    fn the_table_of_statistics_is_waited_for_where_there_is_one() {
        let text = "1 T _etext\n2 D __per_cpu_offset\n3 d mem_cgroup_stats_index\n";
        let with = scan_lines(text.as_bytes(), true).expect("bytes can be read");
        assert_eq!(with.stat_places, Some(3));
        assert_eq!(scanned(text).stat_places, None);
    }

    #[test]
    fn names_that_only_resemble_ours_are_passed_over() {
        let text = "1 t oom_badnesses\n2 D __per_cpu_offsets\n3\nx y z w\n\
                    4 D __per_cpu_offset\t[module]\n";
        let seen = Kallsyms { badness_is_split: Some(false), ..Kallsyms::default() };
        assert_eq!(scanned(text), seen);
    }

    #[test]
    fn no_kallsyms_is_unknown() {
        assert_eq!(scan(&Root::new("/nonexistent"), true), Kallsyms::default());
        assert_eq!(scanned(""), Kallsyms::default());
    }
}
