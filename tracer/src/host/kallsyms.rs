//! One walk through /proc/kallsyms. It has 5 to 10 MB, of which a few lines matter. The kernel
//! needs longer to make them than for everything else that is read at start, so reading ends as
//! soon as these lines must have been seen.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
};

use super::{
    facts::{HookKind, WantedHook},
    files::Root,
};
use crate::model::hook::Hook;

/// The kernel returns at most a page per read.
const BUFFER_BYTES: usize = 8 * 1024;

/// Symbols are sorted by address. Only functions for booting and those of modules follow this one,
/// and no hook is among them.
const END_OF_TEXT: &[u8] = b"_etext";
/// After this symbol, kallsyms lists only variables of modules and per-CPU variables.
const END_OF_DATA: &[u8] = b"__bss_stop";

/// Suffixes that the compiler gives a function whose arguments it has changed.
const CHANGED: [&str; 3] = [".isra.", ".constprop.", ".part."];
/// The suffix of a link-time optimizer, which leaves the arguments as they are.
const LINK_TIME: &str = ".llvm.";

/// Facts from the kernel's symbols.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Kallsyms {
    /// Whether /proc/kallsyms could be read.
    pub is_read: bool,
    /// The symbols of each wanted function: its name, and its name with a suffix of the compiler.
    /// If a hook has several names, the newest that the kernel has.
    pub functions: BTreeMap<Hook, Vec<String>>,
    /// Address of `__per_cpu_offset`; `None` if the kernel hides it from us.
    pub per_cpu_offset: Option<u64>,
    /// Address of `mem_cgroup_stats_index`; `None` if it is hidden from us or was not looked for.
    pub stats_index: Option<u64>,
    /// Address of `oom_lock`; `None` if kallsyms hides it.
    pub oom_lock: Option<u64>,
    /// Address of `oom_killer_disabled`; `None` if kallsyms hides it.
    pub oom_killer_disabled: Option<u64>,
    /// Address of `oom_notify_list`; `None` if kallsyms hides it.
    pub oom_notify_list: Option<u64>,
}

impl Kallsyms {
    fn symbols(&self, function: Hook) -> impl Iterator<Item = &str> {
        self.functions.get(&function).into_iter().flatten().map(String::as_str)
    }

    /// The field for the address of a wanted variable.
    fn variable(&mut self, name: &[u8], stat_table: bool) -> Option<&mut Option<u64>> {
        match name {
            b"__per_cpu_offset" => Some(&mut self.per_cpu_offset),
            b"mem_cgroup_stats_index" if stat_table => Some(&mut self.stats_index),
            b"oom_lock" => Some(&mut self.oom_lock),
            b"oom_killer_disabled" => Some(&mut self.oom_killer_disabled),
            b"oom_notify_list" => Some(&mut self.oom_notify_list),
            _ => None,
        }
    }

    /// The symbol at which a function is entered with the arguments of its source: its name, or
    /// that with a suffix that leaves the arguments as they are (`.llvm.` of a link-time
    /// optimizer).
    pub(crate) fn whole(&self, function: Hook) -> Option<&str> {
        let plain = self.symbols(function).find(|symbol| !symbol.contains('.'));
        plain.or_else(|| self.symbols(function).find(|symbol| symbol.contains(LINK_TIME)))
    }

    /// A copy or part of a function, which may have other arguments but returns the same. `None` if
    /// there are several, because a hook at one of them would miss the others.
    pub(crate) fn changed(&self, function: Hook) -> Option<&str> {
        let is_changed = |symbol: &&str| CHANGED.iter().any(|suffix| symbol.contains(suffix));
        let mut changed = self.symbols(function).filter(is_changed);
        changed.next().filter(|_| changed.next().is_none())
    }

    /// Whether the compiler made copies or parts of a function. `None` if kallsyms cannot be read.
    pub(crate) fn is_split(&self, function: Hook) -> Option<bool> {
        let is_part = |symbol: &str| symbol.contains('.') && !symbol.contains(LINK_TIME);
        self.is_read.then(|| self.symbols(function).any(is_part))
    }
}

/// Reads the wanted symbols; none if the file cannot be read. `stat_table`: the kernel has
/// `mem_cgroup_stats_index`.
pub(super) fn scan(root: &Root, stat_table: bool, hooks: &[WantedHook]) -> Kallsyms {
    File::open(root.path("/proc/kallsyms"))
        .map(|file| BufReader::with_capacity(BUFFER_BYTES, file))
        .and_then(|lines| scan_lines(lines, stat_table, hooks))
        .unwrap_or_default()
}

fn scan_lines(
    mut source: impl BufRead,
    stat_table: bool,
    hooks: &[WantedHook],
) -> io::Result<Kallsyms> {
    let mut symbols = Kallsyms::default();
    let mut functions = Functions::new(hooks);
    let (mut line, mut text_ended, mut data_ended) = (Vec::new(), false, false);
    let mut variables_left = if stat_table { 5 } else { 4 };
    while !(text_ended && (data_ended || variables_left == 0))
        && source.read_until(b'\n', &mut line)? > 0
    {
        symbols.is_read = true;
        match split(&line) {
            Some((_, END_OF_TEXT)) => text_ended = true,
            Some((_, END_OF_DATA)) => data_ended = true,
            Some((address, name)) => match symbols.variable(name, stat_table) {
                Some(variable) => {
                    *variable = parse_address(address);
                    variables_left -= 1;
                }
                None => functions.note(name),
            },
            None => {}
        }
        line.clear();
    }
    symbols.functions = functions.newest(hooks);
    Ok(symbols)
}

/// The address and name of a line `ADDRESS TYPE NAME`. A tab and `[MODULE]` follow the name of a
/// module's symbol. Neither allocates nor validates: 200,000 lines come through here.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (address, rest) = line.split_at_checked(space)?;
    let [b' ', _kind, b' ', name @ ..] = rest else {
        return None;
    };
    Some((address, name.strip_suffix(b"\n").unwrap_or(name)))
}

/// The symbols of wanted functions that were seen, by the name of the function.
struct Functions {
    /// Bytes that a wanted name begins with: nearly all of the 200,000 symbols begin otherwise.
    first_bytes: [bool; 256],
    symbols: Vec<(&'static str, Vec<String>)>,
}

impl Functions {
    fn new(hooks: &[WantedHook]) -> Self {
        let functions = hooks.iter().filter(|wanted| wanted.kind == HookKind::Function);
        let mut seen = Self { first_bytes: [false; 256], symbols: Vec::new() };
        for name in functions.flat_map(|wanted| wanted.names) {
            if let Some(first) = name.bytes().next() {
                seen.first_bytes[usize::from(first)] = true;
            }
            seen.symbols.push((name, Vec::new()));
        }
        seen
    }

    fn note(&mut self, symbol: &[u8]) {
        if !symbol.first().is_some_and(|first| self.first_bytes[usize::from(*first)]) {
            return;
        }
        let is_of = |name: &str| {
            let rest = symbol.strip_prefix(name.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(b".") && !is_cold(rest)))
        };
        if let Some((_, symbols)) = self.symbols.iter_mut().find(|(name, _)| is_of(name))
            && let Ok(symbol) = str::from_utf8(symbol)
        {
            symbols.push(symbol.to_owned());
        }
    }

    /// The symbols of the newest name of each function.
    fn newest(mut self, hooks: &[WantedHook]) -> BTreeMap<Hook, Vec<String>> {
        self.symbols.retain(|(_, symbols)| !symbols.is_empty());
        let symbols = |name: &str| self.symbols.iter().find(|(seen, _)| *seen == name);
        let newest = |wanted: &WantedHook| wanted.names.iter().find_map(|name| symbols(name));
        let found =
            hooks.iter().filter_map(|wanted| Some((wanted.hook, newest(wanted)?.1.clone())));
        found.collect()
    }
}

/// A .cold part is only the unlikely end of the function. The entry stays where it is.
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
    use crate::host::fixtures::HOOKS;

    const BADNESS: Hook = Hook::OomBadness;

    fn scanned(text: &str) -> Kallsyms {
        scan_lines(text.as_bytes(), false, HOOKS).expect("bytes can be read")
    }

    #[test]
    fn split_oom_badness_is_seen() {
        let whole = "ffffffff81000000 T oom_badness\nffffffff81000010 t oom_badness.cold\n";
        assert_eq!(scanned(whole).is_split(BADNESS), Some(false));
        let split = "ffffffff81000000 T oom_badness\nffffffff81000010 t oom_badness.part.0\n";
        assert_eq!(scanned(split).is_split(BADNESS), Some(true));
    }

    #[test]
    fn address_is_read_unless_it_is_hidden() {
        let shown = "ffffffff82a0b0c0 D __per_cpu_offset\n";
        assert_eq!(scanned(shown).per_cpu_offset, Some(0xffff_ffff_82a0_b0c0));
        assert_eq!(scanned("0000000000000000 D __per_cpu_offset\n").per_cpu_offset, None);
    }

    #[test]
    fn reading_ends_after_the_last_wanted_line() {
        let end = "1 T _etext\n2 D __per_cpu_offset\n3 D oom_lock\n4 d oom_killer_disabled\n\
                   5 d oom_notify_list\n";
        let mut source = [end, "6 t unread\n"].concat();
        let mut unread = source.as_bytes();
        scan_lines(&mut unread, false, HOOKS).expect("bytes can be read");
        assert_eq!(unread, b"6 t unread\n");
        // Either alone is not the end.
        source = format!("1 T _etext\n2 t oom_badness.part.0\n{end}");
        assert_eq!(scanned(&source).is_split(BADNESS), Some(true));
        source = format!("2 D __per_cpu_offset\n3 t oom_badness.part.0\n{end}");
        assert_eq!(scanned(&source).is_split(BADNESS), Some(true));
        // A kernel without one of the variables.
        let mut unread = "1 T _etext\n2 D oom_lock\n3 B __bss_stop\n4 t unread\n".as_bytes();
        let seen = scan_lines(&mut unread, false, HOOKS).expect("bytes can be read");
        assert_eq!((unread, seen.oom_lock), (&b"4 t unread\n"[..], Some(2)));
    }

    #[test]
    fn table_of_statistics_is_waited_for_if_the_kernel_has_one() {
        let text = "1 T _etext\n2 D __per_cpu_offset\n3 D oom_lock\n4 d oom_killer_disabled\n\
                    5 d oom_notify_list\n3 d mem_cgroup_stats_index\n";
        let with = scan_lines(text.as_bytes(), true, HOOKS).expect("bytes can be read");
        assert_eq!(with.stats_index, Some(3));
        assert_eq!(scanned(text).stats_index, None);
    }

    #[test]
    fn similar_names_are_ignored() {
        let text = "1 t oom_badnesses\n2 D __per_cpu_offsets\n3\nx y z w\n\
                    4 D __per_cpu_offset\t[module]\n";
        let seen = Kallsyms { is_read: true, ..Kallsyms::default() };
        assert_eq!(scanned(text), seen);
    }

    #[test]
    fn function_is_found_with_suffix_of_compiler() {
        let seen = scanned(
            "1 t oom_kill_process\n2 t oom_kill_process.cold\n3 t exit_mmap.llvm.12345\n\
             4 t oom_evaluate_task.constprop.0\n5 t oom_badness.part.0\n6 t oom_badness.isra.0\n\
             7 t oom_evaluate_task.constprop.0.cold\n",
        );
        assert_eq!(seen.whole(Hook::OomKillProcess), Some("oom_kill_process"));
        assert_eq!(seen.changed(Hook::OomKillProcess), None);
        assert_eq!(seen.whole(Hook::ExitMmap), Some("exit_mmap.llvm.12345"));
        assert_eq!(seen.whole(Hook::OomEvaluateTask), None);
        assert_eq!(seen.changed(Hook::OomEvaluateTask), Some("oom_evaluate_task.constprop.0"));
        // Which of two would be called?
        assert_eq!((seen.whole(BADNESS), seen.changed(BADNESS)), (None, None));
        assert_eq!(seen.is_split(BADNESS), Some(true));
        assert_eq!(seen.whole(Hook::OutOfMemory), None);
        assert!(seen.is_read && Kallsyms::default().is_split(BADNESS).is_none());
    }

    #[test]
    fn renamed_function_is_found_by_the_newest_name_with_any_first_letter() {
        const NAMES: &[&str] = &["zap_process", "oom_kill_process"];
        let hook = Hook::OomKillProcess;
        let hooks = [WantedHook { hook, names: NAMES, kind: HookKind::Function }];
        let scan = |text: &str| scan_lines(text.as_bytes(), false, &hooks).unwrap().functions;
        assert_eq!(scan("1 t zap_process\n")[&hook], ["zap_process"]);
        assert_eq!(scan("1 t oom_kill_process\n")[&hook], ["oom_kill_process"]);
        assert_eq!(scan("1 t oom_kill_process\n2 t zap_process\n")[&hook], ["zap_process"]);
    }

    #[test]
    fn kallsyms_without_file_is_unknown() {
        assert_eq!(scan(&Root::new("/nonexistent"), true, HOOKS), Kallsyms::default());
        assert_eq!(scanned(""), Kallsyms::default());
    }
}
