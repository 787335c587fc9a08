//! One walk through /proc/kallsyms: it has 5 to 10 MB, of which two or three lines matter. Making those
//! takes the kernel longer than all else that is read at start, so reading ends where these
//! lines must have been seen.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
};

use super::{files::Root, support::FUNCTIONS};

/// The kernel makes a page of it per read, whatever we ask for.
const BUFFER_BYTES: usize = 8 * 1024;

/// Symbols are sorted by address, so no function of the kernel proper follows this one but those
/// for booting; `oom_badness` and its parts are none. Modules have no part of it either.
const END_OF_TEXT: &[u8] = b"_etext";

/// What the compiler puts behind the name of a function whose arguments it has changed.
const CHANGED: [&str; 3] = [".isra.", ".constprop.", ".part."];

/// What kernel symbols tell.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Kallsyms {
    /// The symbols of each of [`FUNCTIONS`]: its own name, and that with what the compiler appended.
    pub functions: BTreeMap<&'static str, Vec<String>>,
    /// The compiler split `oom_badness` and the selection loop calls the part, so a hook on
    /// `oom_badness` itself never fires. `None`: kallsyms could not be read.
    pub badness_is_split: Option<bool>,
    /// Address of `__per_cpu_offset`; `None` where it is hidden from us.
    pub per_cpu_offset: Option<u64>,
    /// Address of `mem_cgroup_stats_index`; `None` where it is hidden from us, or not looked for.
    pub stat_places: Option<u64>,
}

impl Kallsyms {
    /// Whether kallsyms could be read.
    pub(crate) fn is_known(&self) -> bool {
        self.badness_is_split.is_some()
    }

    /// The symbol at which a function is entered with the arguments it was written with: its name,
    /// or that with a suffix that says nothing about arguments (`.llvm.` of a link-time optimizer).
    pub(crate) fn whole(&self, function: &str) -> Option<&str> {
        let mut symbols = self.functions.get(function)?.iter().map(String::as_str);
        let is_whole = |name: &&str| *name == function || name.contains(".llvm.");
        symbols.clone().find(|name| *name == function).or_else(|| symbols.find(is_whole))
    }

    /// A copy or part of a function, whose arguments may be others but whose return is the same;
    /// `None` where there are several, of which one might be missed.
    pub(crate) fn changed(&self, function: &str) -> Option<&str> {
        let symbols = self.functions.get(function)?.iter().map(String::as_str);
        let mut changed = symbols.filter(|name| CHANGED.iter().any(|it| name.contains(it)));
        changed.next().filter(|_| changed.next().is_none())
    }
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
            Some((_, name)) => symbols.note(name),
            None => {}
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

impl Kallsyms {
    /// Keeps a symbol of one of [`FUNCTIONS`].
    fn note(&mut self, name: &[u8]) {
        // A quick end for nearly all of the 200,000.
        if !matches!(name.first(), Some(b'_' | b'e' | b'm' | b'o' | b'p')) {
            return;
        }
        let is_of = |function: &&&str| {
            let rest = name.strip_prefix(function.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(b".") && !is_cold(rest)))
        };
        if let (Some(function), Ok(name)) = (FUNCTIONS.iter().find(is_of), str::from_utf8(name)) {
            self.functions.entry(function).or_default().push(name.to_owned());
            if *function == "oom_badness" && name != *function && !name.contains(".llvm.") {
                self.badness_is_split = Some(true);
            }
        }
    }
}

/// A .cold part is only the unlikely end of the function: its entry stays where it is.
fn is_cold(suffix: &[u8]) -> bool {
    suffix.windows(5).any(|part| part == b".cold")
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
    fn functions_are_found_under_the_names_that_compilers_give_them() {
        let seen = scanned(
            "1 t oom_kill_process\n2 t oom_kill_process.cold\n3 t exit_mmap.llvm.12345\n\
             4 t oom_evaluate_task.constprop.0\n5 t oom_badness.part.0\n6 t oom_badness.isra.0\n\
             7 t oom_evaluate_task.constprop.0.cold\n",
        );
        assert_eq!(seen.whole("oom_kill_process"), Some("oom_kill_process"));
        assert_eq!(seen.changed("oom_kill_process"), None);
        assert_eq!(seen.whole("exit_mmap"), Some("exit_mmap.llvm.12345"));
        assert_eq!(seen.whole("oom_evaluate_task"), None);
        assert_eq!(seen.changed("oom_evaluate_task"), Some("oom_evaluate_task.constprop.0"));
        // Which of two would be called?
        assert_eq!((seen.whole("oom_badness"), seen.changed("oom_badness")), (None, None));
        assert_eq!(seen.badness_is_split, Some(true));
        assert_eq!(seen.whole("out_of_memory"), None);
        assert!(seen.is_known() && !Kallsyms::default().is_known());
    }

    #[test]
    fn no_kallsyms_is_unknown() {
        assert_eq!(scan(&Root::new("/nonexistent"), true), Kallsyms::default());
        assert_eq!(scanned(""), Kallsyms::default());
    }
}
