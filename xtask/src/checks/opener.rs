//! Only the opener opens files that somebody else can name. Every other file of the tracer that
//! opens or inspects a path is listed here, with the reason why nobody else chooses that path.

use anyhow::Result;

use super::order::{Token, is_test_file, tokens, without_tests};
use super::{Source, sources};

const TREE: &str = "tracer/src";
const OPENER: &str = "host/opener/";

/// Files and directories below [`TREE`] that may open paths, and what these paths are.
const ALLOWED: &[(&str, &[&str])] = &[
    ("checked paths", &[OPENER]),
    (
        "files of /proc and /sys, and cgroups",
        &[
            "bpf/misses.rs",
            "commands/self_test/temporary_cgroup.rs",
            "commands/watch_log.rs",
            "host/btf.rs",
            "host/cgroupfs/",
            "host/files.rs",
            "host/footprint.rs",
            "host/kallsyms.rs",
            "host/policy.rs",
            "host/procfs/",
            "pipeline/live/records.rs",
            "pipeline/stop_signals.rs",
            "risk/groups.rs",
            "risk/observer.rs",
            "risk/processes.rs",
        ],
    ),
    (
        "files that the user of the command named",
        &[
            "commands/explain.rs",
            "commands/output_file.rs",
            "commands/pinned.rs",
            "commands/symbolize.rs",
            "pipeline/kernel_log.rs",
            "pipeline/recording.rs",
        ],
    ),
    ("fixtures of tests", &["host/fixtures.rs"]),
    ("files of oomwhy, which check their directory", &["bpf/pin.rs", "history/"]),
    (
        "descriptors of a helper process, and files that the user of the command named",
        &[
            "symbolize/user/elf_files.rs",
            "symbolize/user/helper.rs",
            "symbolize/user/received_file.rs",
        ],
    ),
];

/// Functions that open or inspect a path.
const OPENS: &[&[&str]] = &[
    &["File", "::", "open"],
    &["File", "::", "options"],
    &["OpenOptions"],
    &["fs", "::", "canonicalize"],
    &["fs", "::", "exists"],
    &["fs", "::", "metadata"],
    &["fs", "::", "open"],
    &["fs", "::", "read"],
    &["fs", "::", "read_dir"],
    &["fs", "::", "read_link"],
    &["fs", "::", "read_to_string"],
    &["fs", "::", "symlink_metadata"],
    &["openat"],
    &["openat2"],
    &["statat"],
    &["libc", "::", "open"],
    // They open a path too.
    &["Elf", "::", "new"],
    &["read_elf_build_id"],
];
/// Methods of `Path` that inspect it.
const INSPECTS: &[&str] =
    &["canonicalize", "exists", "is_dir", "is_file", "read_dir", "try_exists"];

pub(super) fn run() -> Result<Vec<String>> {
    Ok(violations(&sources(TREE, &["rs"])?))
}

fn violations(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut used = Vec::new();
    for source in sources.iter().filter(|source| !is_test_file(&source.path)) {
        let Ok(path) = source.path.strip_prefix(TREE) else { continue };
        let all = tokens(&source.text);
        let opens = opens(&without_tests(&all));
        if let Some(allowed) = allowed().find(|allowed| path.starts_with(allowed)) {
            if !opens.is_empty() {
                used.push(allowed);
            }
            continue;
        }
        let place = source.path.display();
        problems.extend(opens.iter().map(|it| {
            format!("{place}:{}: {} opens a path; use {TREE}/{OPENER}", it.line, it.text)
        }));
    }
    let unused = allowed().filter(|allowed| !used.contains(allowed));
    problems
        .extend(unused.map(|it| format!("{TREE}/{it} opens no path, so it need not be listed")));
    problems
}

fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().flat_map(|(_, paths)| *paths).copied()
}

fn opens<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let text = |at: usize| tokens.get(at).map(|token| token.text);
    let has_rustix = tokens.iter().any(|token| token.text == "rustix");
    let is_open = |at: usize| {
        let starts = |words: &&[&str]| (0..words.len()).all(|it| text(at + it) == Some(words[it]));
        let before = at.checked_sub(1).and_then(text);
        let is_method = before == Some(".") && text(at + 1) == Some("(");
        let is_inspected = is_method && text(at).is_some_and(|it| INSPECTS.contains(&it));
        // A function that was imported by its name, and its import.
        let is_import = before.is_some_and(|it| [",", "{"].contains(&it))
            && text(at + 1).is_some_and(|it| [",", "}"].contains(&it));
        let is_call =
            text(at + 1) == Some("(") && ![Some("."), Some("fn"), Some("::")].contains(&before);
        let is_free = has_rustix && text(at) == Some("open") && (is_call || is_import);
        OPENS.iter().any(starts) || is_inspected || is_free
    };
    (0..tokens.len()).filter(|at| is_open(*at)).filter_map(|at| tokens.get(at).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: format!("{TREE}/{path}").into(), text: text.to_owned() };
        let found = violations(&[source]);
        found.into_iter().filter(|problem| !problem.contains("need not be listed")).collect()
    }

    #[test]
    fn every_form_of_opening_is_found() {
        for text in [
            "fn f() { File::open(path) }",
            "fn f() { std::fs::File::open(path) }",
            "fn f() { File::options().read(true) }",
            "use std::fs::OpenOptions;",
            "fn f() { fs::read(path) }",
            "use std::fs::read_to_string;",
            "fn f() { fs::metadata(path) }",
            "use rustix::fs::{Mode, open, openat2};",
            "use rustix::fs::open;",
            "fn f() { rustix::fs::openat(fd, path) }",
            "fn f() { let _ = open(path, flags); } use rustix::fs::Mode;",
            "fn f() { path.exists() }",
            "fn f() { read_elf_build_id(path) }",
        ] {
            let found = check("enrich/passwd.rs", text);
            assert!(!found.is_empty(), "{text}");
            assert!(found[0].starts_with("tracer/src/enrich/passwd.rs:1: "), "{found:?}");
        }
    }

    #[test]
    fn other_code_tests_and_listed_files_are_fine() {
        let opens = "fn f() { File::open(path) }";
        assert_eq!(check("host/opener/walk.rs", opens), [""; 0]);
        assert_eq!(check("history/scan.rs", opens), [""; 0]);
        assert_eq!(check("enrich/runtime_files/tests.rs", opens), [""; 0]);
        for text in [
            "// File::open(path)",
            "#[cfg(test)]\nmod tests { fn f() { fs::read(path) } }",
            "use super::{find, open}; fn f() { open(directory) }",
            "fn open(&self) { self.open(target); root.read(target) }",
            "fn f() { let open = VecDeque::new(); g(&open, open.len()) }",
        ] {
            assert_eq!(check("enrich/passwd.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn listed_file_that_opens_nothing_is_found() {
        let found =
            violations(&[Source { path: "tracer/src/bpf/pin.rs".into(), text: String::new() }]);
        assert!(
            found.iter().any(|problem| problem.starts_with("tracer/src/bpf/pin.rs opens no path"))
        );
    }
}
