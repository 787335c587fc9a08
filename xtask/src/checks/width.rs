//! Markdown and comment lines of Rust wrap at 100 columns. Tables, code blocks and words that
//! cannot be broken, such as URLs, may be longer.

use anyhow::Result;

const MAX_COLUMNS: usize = 100;

pub(super) fn run() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for source in super::sources("", &["md", "rs"])? {
        let is_markdown = source.path.extension().is_some_and(|it| it == "md");
        let find = if is_markdown { long_in_markdown } else { long_in_rust };
        problems.extend(
            find(&source.text).into_iter().map(|(line, columns)| {
                format!("{}:{line}: {columns} columns", source.path.display())
            }),
        );
    }
    Ok(problems)
}

/// The number and the width of each line that is too long.
fn long_in_markdown(text: &str) -> Vec<(usize, usize)> {
    let mut blocks = Blocks::default();
    too_long(text.lines().filter(|line| blocks.is_prose(line)).map(|line| (line, line)), text)
}

fn long_in_rust(text: &str) -> Vec<(usize, usize)> {
    let mut blocks = Blocks::default();
    let comments = text.lines().filter_map(|line| {
        let Some(comment) = comment(line) else {
            // A code block ends with its comment.
            blocks = Blocks::default();
            return None;
        };
        blocks.is_prose(comment).then_some((line, comment))
    });
    too_long(comments, text)
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let marks = ["///", "//!", "//"];
    marks.iter().find_map(|mark| line.trim_start().strip_prefix(mark)).map(|comment| {
        // The space that separates it from its mark.
        comment.strip_prefix(' ').unwrap_or(comment)
    })
}

fn too_long<'a>(
    prose: impl Iterator<Item = (&'a str, &'a str)>,
    text: &'a str,
) -> Vec<(usize, usize)> {
    let number = |line: &str| {
        let offset = line.as_ptr().addr() - text.as_ptr().addr();
        text[..offset].matches('\n').count() + 1
    };
    prose
        .filter(|(line, prose)| line.chars().count() > MAX_COLUMNS && can_be_wrapped(prose))
        .map(|(line, _)| (number(line), line.chars().count()))
        .collect()
}

/// Whether a line has a space at which it can be broken into two lines that fit.
fn can_be_wrapped(prose: &str) -> bool {
    let prose = prose.trim_start_matches([' ', '-', '*', '>']);
    let is_unbreakable = |word: &&str| word.contains("://") || word.contains("](");
    let unbreakable: usize =
        prose.split(' ').filter(is_unbreakable).map(|word| word.chars().count()).sum();
    prose.contains(' ') && prose.chars().count() - unbreakable > MAX_COLUMNS / 2
        || prose.contains(' ') && unbreakable == 0
}

/// Which lines of a Markdown text are prose.
#[derive(Default)]
struct Blocks {
    is_fenced: bool,
    is_list: bool,
}

impl Blocks {
    fn is_prose(&mut self, line: &str) -> bool {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.starts_with("```") || text.starts_with("~~~") {
            self.is_fenced = !self.is_fenced;
            return false;
        }
        if !text.is_empty() && indent < 2 {
            self.is_list = is_item(text);
        }
        let is_indented_code = indent >= 4 && !self.is_list;
        !self.is_fenced && !is_indented_code && !text.starts_with('|')
    }
}

fn is_item(text: &str) -> bool {
    let digits = text.trim_start_matches(|it: char| it.is_ascii_digit());
    text.starts_with("- ") || text.starts_with("* ") || digits.starts_with(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose(columns: usize) -> String {
        "word ".repeat(columns.div_ceil(5))[..columns - 1].to_owned() + "x"
    }

    #[test]
    fn line_of_101_columns_is_too_long() {
        assert_eq!(long_in_markdown(&prose(100)), []);
        assert_eq!(long_in_markdown(&format!("short\n{}\n", prose(101))), [(2, 101)]);
        let rust = |columns: usize| format!("let x = 1;\n    /// {}\n", prose(columns - 8));
        assert_eq!(long_in_rust(&rust(100)), []);
        assert_eq!(long_in_rust(&rust(101)), [(2, 101)]);
    }

    #[test]
    fn code_is_no_comment() {
        assert_eq!(long_in_rust(&format!("let x = \"{}\"; // y", prose(120))), []);
    }

    #[test]
    fn table_and_code_block_may_be_long() {
        let long = prose(120);
        let text = format!(
            "| {long} |\n\n    {long}\n\n```\n{long}\n```\n- item\n\n  ```\n{long}\n  ```\n"
        );
        assert_eq!(long_in_markdown(&text), []);
        assert_eq!(long_in_markdown(&format!("- item\n\n    {long}\n")), [(3, 124)]);
        let rust = format!("/// ```text\n/// {long}\n/// ```\n///\n///     {long}\n");
        assert_eq!(long_in_rust(&rust), []);
        assert_eq!(long_in_rust(&format!("/// ```\nfn f() {{}}\n/// {long}\n")), [(3, 124)]);
    }

    #[test]
    fn url_may_be_long() {
        let url = format!("https://example.com/{}", "x".repeat(100));
        for text in [url.clone(), format!("- {url}"), format!("see {url}"), format!("[a]({url})")] {
            assert_eq!(long_in_markdown(&text), [], "{text}");
        }
        let wordy = format!("{} {url}", prose(80));
        assert_eq!(long_in_markdown(&wordy).len(), 1);
    }
}
