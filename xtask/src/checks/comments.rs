//! No doc comment has only one or two words. Such a comment repeats the name of its item: it gives
//! no unit, no shape, no source and no reason.

use anyhow::Result;

const MIN_WORDS: usize = 3;

pub(super) fn run() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for source in super::sources("", &["rs"])? {
        problems.extend(too_short(&source.text).into_iter().map(|(line, comment)| {
            format!("{}:{line}: the doc comment is only \"{comment}\"", source.path.display())
        }));
    }
    Ok(problems)
}

/// The number of the first line and the text of each doc comment that is too short.
fn too_short(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<_> = text.lines().map(doc_line).collect();
    let mut found = Vec::new();
    let mut number = 1;
    for block in lines.chunk_by(|first, second| mark(*first) == mark(*second)) {
        let words: Vec<&str> =
            block.iter().flatten().flat_map(|(_, text)| text.split_whitespace()).collect();
        if block[0].is_some() && words.len() < MIN_WORDS {
            found.push((number, words.join(" ")));
        }
        number += block.len();
    }
    found
}

fn mark<'a>(line: Option<(&'a str, &'a str)>) -> Option<&'a str> {
    line.map(|(mark, _)| mark)
}

/// The mark and the text of a line that belongs to a doc comment. Four slashes begin no doc
/// comment.
fn doc_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (mark, text) = line.split_at_checked(3)?;
    let is_doc = mark == "//!" || mark == "///" && !text.starts_with('/');
    is_doc.then_some((mark, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_comment_of_two_words_is_too_short() {
        let text =
            "//! Writes BTF.\n\n/// Bytes.\npub a: u64,\n    /// Its name.\n    pub b: u64,\n";
        let expected = [(1, "Writes BTF."), (3, "Bytes."), (5, "Its name.")];
        assert_eq!(too_short(text), expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(too_short("///\nfn f() {}"), [(1, String::new())]);
        assert_eq!(
            too_short("//! One.\n/// Two words.\n"),
            [(1, "One.".into()), (2, "Two words.".into())]
        );
    }

    #[test]
    fn doc_comment_of_three_words_is_fine() {
        assert_eq!(too_short("/// Time in ms.\nfn f() {}"), []);
        assert_eq!(too_short("/// Time\n/// in ms.\nfn f() {}"), []);
        assert_eq!(too_short("/// Time.\n///\n/// In ms.\nfn f() {}"), []);
    }

    #[test]
    fn other_comment_may_be_short() {
        assert_eq!(
            too_short("// SAFETY:\n//// Bytes.\nfn f() {} // Bytes.\nlet x = \"/// Bytes.\";"),
            []
        );
    }
}
