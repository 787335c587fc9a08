//! The entries of `tracer/src` use each other in one direction: each may use those before it in the
//! list of ARCHITECTURE.md. Only one entry uses aya.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Source, sources};
use crate::workspace;

const DOCUMENT: &str = "ARCHITECTURE.md";
const TREE: &str = "tracer/src";
/// The roots of the library and of the program, which use everything.
const ROOTS: &[&str] = &["lib", "main"];
/// The marker before the list; a code block with one entry per line follows, each with an optional
/// description.
const MARKER: &str = "<!-- order -->";
/// The one entry that uses the crates of aya.
const USER_OF_AYA: &str = "bpf";
const AYA: &[&str] = &["aya", "aya_obj", "aya_log"];
/// The entries that use no other one.
const LEAVES: &[&str] = &["fmt", "model"];

pub(super) fn run() -> Result<Vec<String>> {
    let document = fs::read_to_string(workspace::root().join(DOCUMENT))
        .with_context(|| format!("{DOCUMENT} cannot be read"))?;
    let order = order(&document).with_context(|| {
        format!("{DOCUMENT} has no code block with a list of entries after {MARKER}")
    })?;
    Ok(violations(&order, &sources(TREE, &["rs"])?))
}

fn order(document: &str) -> Option<Vec<String>> {
    let (_, after) = document.split_once(MARKER)?;
    let (_, block) = after.split_once("```")?;
    let (block, _) = block.split_once("```")?;
    // The first line has the language of the block.
    let entries = block.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = entries.map(|name| name.trim_end_matches('/').to_owned()).collect();
    (!names.is_empty()).then_some(names)
}

fn violations(order: &[String], sources: &[Source]) -> Vec<String> {
    let rank = |name: &str| order.iter().position(|entry| entry == name);
    let mut problems = Vec::new();
    for source in sources {
        let module = module(&source.path);
        let Some(entry) = module.first().filter(|entry| !ROOTS.contains(&entry.as_str())) else {
            continue;
        };
        let place = source.path.display();
        let Some(own_rank) = rank(entry) else {
            problems.push(format!("{place}: {entry} is not in the list of {DOCUMENT}"));
            continue;
        };
        let all = tokens(&source.text);
        if entry != USER_OF_AYA {
            let uses = all.iter().filter(|token| AYA.contains(&token.text));
            problems.extend(
                uses.map(|it| format!("{place}:{}: only {USER_OF_AYA} uses {}", it.line, it.text)),
            );
        }
        if is_test_file(&source.path) {
            continue;
        }
        for used in uses(&module, &without_tests(&all)) {
            // A name of the crate root that is no entry is a macro or a re-export.
            let Some(rank) = rank(used.text) else { continue };
            let why = if rank > own_rank {
                format!("{entry} uses {}, which comes after it", used.text)
            } else if rank < own_rank && LEAVES.contains(&entry.as_str()) {
                format!("{entry} uses {}, but it is a leaf", used.text)
            } else {
                continue;
            };
            problems.push(format!("{place}:{}: {why}", used.line));
        }
    }
    let exists =
        |entry: &str| sources.iter().any(|it| module(&it.path).first() == Some(&entry.to_owned()));
    let missing = order.iter().filter(|entry| !exists(entry));
    problems.extend(missing.map(|entry| format!("{DOCUMENT}: {TREE} has no entry {entry}")));
    problems
}

/// The path of a file's module, without the crate: `a::b` of `a/b.rs` and `a/b/mod.rs`.
fn module(path: &Path) -> Vec<String> {
    let path = path.strip_prefix(TREE).unwrap_or(path).with_extension("");
    let mut module: Vec<String> =
        path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    module.pop_if(|last| last == "mod");
    module
}

pub(super) fn is_test_file(path: &Path) -> bool {
    path.with_extension("").iter().any(|part| part == "tests" || part == "testing")
}

/// An identifier or a sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

/// The tokens of Rust code, without comments and literals.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest).unwrap_or_else(|| {
            let is_word = |it: char| it.is_alphanumeric() || it == '_';
            let word = rest.find(|it: char| !is_word(it)).unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
            if !first.is_whitespace() {
                tokens.push(Token { text: &rest[..length], line });
            }
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of the comment or literal at the start of the text.
fn literal_or_comment(text: &str) -> Option<usize> {
    let until = |begin: usize, end: &str| {
        text[begin..].find(end).map_or(text.len(), |at| begin + at + end.len())
    };
    if text.starts_with("//") {
        return Some(until(2, "\n"));
    }
    if text.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    if let Some(raw) = text.strip_prefix("br").or_else(|| text.strip_prefix('r')) {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let begin = text.len() - raw.len() + marks + 1;
            return Some(until(begin, &format!("\"{}", "#".repeat(marks))));
        }
    }
    if text.starts_with('"') {
        let mut is_escaped = false;
        let end = text.char_indices().skip(1).find(|(_, it)| {
            let is_end = *it == '"' && !is_escaped;
            is_escaped = *it == '\\' && !is_escaped;
            is_end
        });
        return Some(end.map_or(text.len(), |(at, _)| at + 1));
    }
    // A character, not a lifetime.
    let mut chars = text.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', escaped) => Some(until(2 + escaped.len_utf8(), "'")),
        (any, '\'') => Some(2 + any.len_utf8()),
        _ => None,
    }
}

/// The tokens without the items that `#[cfg(test)]` marks.
pub(super) fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_mark = tokens[at..].iter().map(|token| token.text).take(MARK.len()).eq(MARK);
        if is_mark {
            at = end_of_item(tokens, at + MARK.len());
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// The index after an item: after its `;`, or after its body.
fn end_of_item(tokens: &[Token<'_>], begin: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(begin) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    // A `use` has a `;` after its braces.
                    let has_end = tokens.get(at + 1).is_some_and(|next| next.text == ";");
                    return at + 1 + usize::from(has_end);
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The names that the code uses from the root of the crate: after `crate::`, or after as many
/// `super::` as lead there.
fn uses<'a>(module: &[String], tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let n_supers =
            (at..tokens.len()).step_by(2).take_while(|&it| is_path(tokens, it, "super")).count();
        if is_path(tokens, at, "crate") {
            at += 2;
            found.extend(names_at_root(&tokens[at..], 0));
        } else if n_supers > 0 {
            found.extend(names_at_root(&tokens[at..], module.len()));
            at += 2 * n_supers;
        } else {
            at += 1;
        }
    }
    found
}

fn is_path(tokens: &[Token<'_>], at: usize, name: &str) -> bool {
    let text = |at: usize| tokens.get(at).map(|token| token.text);
    text(at) == Some(name) && text(at + 1) == Some("::")
}

/// The names that a path, or each path in braces, uses from the root of the crate. The root is
/// `n_levels` above the module in which the path begins.
fn names_at_root<'a>(tokens: &[Token<'a>], n_levels: usize) -> Vec<Token<'a>> {
    let n_supers =
        (0..tokens.len()).step_by(2).take_while(|&at| is_path(tokens, at, "super")).count();
    let (path, Some(n_levels)) = (&tokens[2 * n_supers..], n_levels.checked_sub(n_supers)) else {
        return Vec::new();
    };
    match path.first() {
        Some(first) if first.text == "{" => branches(path)
            .into_iter()
            .flat_map(|begin| names_at_root(&path[begin..], n_levels))
            .collect(),
        first if n_levels == 0 => first.copied().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The index of the first token of each path in the braces at the start.
fn branches(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut branches = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let begins = token.text == "{" && at == 0 || token.text == "," && depth == 1;
        let has_path = tokens.get(at + 1).is_some_and(|next| next.text != "}");
        if begins && has_path {
            branches.push(at + 1);
        }
    }
    branches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::sources_below;

    const LIST: &str =
        "# A\n<!-- order -->\n```text\nfmt\nmodel   a leaf\nbpf/\ncompose\n```\nmore";
    const ROOT_FILES: [(&str, &str); 4] =
        [("fmt.rs", ""), ("model/mod.rs", ""), ("bpf.rs", ""), ("compose/mod.rs", "")];

    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in ROOT_FILES.iter().chain(files) {
            let path = tree.path().join(TREE).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sources = sources_below(tree.path(), Path::new(TREE), &["rs"]).unwrap();
        violations(&order(LIST).unwrap(), &sources)
    }

    #[test]
    fn list_is_read_from_code_block_after_marker() {
        assert_eq!(order(LIST).unwrap(), ["fmt", "model", "bpf", "compose"]);
        assert_eq!(order("```\nmodel\n```"), None);
        assert_eq!(order("<!-- order -->\nmodel"), None);
    }

    #[test]
    fn use_of_earlier_entry_is_fine() {
        let text = "use crate::model::{A, B};\nuse super::parts;\nfn f() { crate::bpf::load() }";
        assert_eq!(
            check(&[("compose/kill.rs", text), ("lib.rs", "mod compose; use crate::x;")]),
            [""; 0]
        );
    }

    #[test]
    fn use_of_later_entry_is_found_in_every_form() {
        for text in [
            "use crate::compose::Kill;",
            "use crate::{model::{compose, A}, compose::Kill};",
            "pub(crate) use crate::compose;",
            "fn f() -> crate::compose::Kill {}",
            "use super::super::compose;",
            "use super::{super::compose::Kill, parts};",
            "use super::{super::{model, compose}};",
            "mod m { use super::super::super::x; }\nuse super::super::{compose::Kill};",
            "#[cfg(test)]\nmod tests;\nuse crate::compose::Kill;",
            "#[cfg(test)]\nuse crate::{compose::A};\nuse crate::compose::Kill;",
        ] {
            let found = check(&[("model/task.rs", text)]);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains("model uses compose, which comes after it"), "{found:?}");
        }
        let found = check(&[("model/task.rs", "\n\nuse crate::compose;")]);
        assert!(found[0].starts_with("tracer/src/model/task.rs:3: "), "{found:?}");
    }

    #[test]
    fn use_of_another_leaf_by_a_leaf_is_found() {
        let found = check(&[("model/task.rs", "use crate::{fmt, model::A};")]);
        assert_eq!(found, ["tracer/src/model/task.rs:1: model uses fmt, but it is a leaf"]);
        assert_eq!(check(&[("bpf.rs", "use crate::{fmt, model::A};")]), [""; 0]);
    }

    #[test]
    fn test_code_comment_and_text_are_no_use() {
        let text = r##"
            // crate::compose
            /* crate::compose */
            const A: &str = "crate::compose \" crate::compose";
            const B: &str = r#"crate::compose " "#;
            const C: char = '"'; fn f<'a>(x: &'a str) {}
            const D: char = '\''; use crate::model::compose;
            #[cfg(test)]
            mod tests { use crate::compose; fn g() { h({}) } }
        "##;
        let tests = ("model/tests/wire.rs", "use crate::compose;");
        assert_eq!(check(&[("model/task.rs", text), tests]), [""; 0]);
    }

    #[test]
    fn entry_without_rank_and_rank_without_entry_are_found() {
        let found = check(&[("extra.rs", "")]);
        assert_eq!(found, ["tracer/src/extra.rs: extra is not in the list of ARCHITECTURE.md"]);
        let found = violations(&["gone".to_owned()], &[]);
        assert_eq!(found, ["ARCHITECTURE.md: tracer/src has no entry gone"]);
    }

    #[test]
    fn aya_outside_bpf_is_found() {
        let text = "use aya::Ebpf;\n#[cfg(test)] mod tests { fn f() { aya_obj::x() } }";
        assert_eq!(check(&[("bpf.rs", text)]), [""; 0]);
        let found = check(&[("compose/kill.rs", text)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(check(&[("compose/kill.rs", "fn aya_like() { playa() }")]), [""; 0]);
    }
}
