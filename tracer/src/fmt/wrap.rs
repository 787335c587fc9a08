//! Words broken into lines. Not textwrap: facts and frames break only between each other, not at
//! the blanks inside them, and a line that begins with a lead hangs below its first word.

use super::width::{columns, take_columns};

/// Lines of words; the first begins with `lead`, the others are indented as far. A word that is
/// longer than a line is broken.
pub(super) fn wrap(words: &[String], joint: &str, lead: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(columns(lead));
    let mut lines = Vec::new();
    let mut line = lead.to_owned();
    let mut is_fresh = true;
    let last = words.len().saturating_sub(1);
    for (index, word) in words.iter().enumerate() {
        let piece = if index == last { word.clone() } else { format!("{word}{joint}") };
        if !is_fresh && columns(&line) + columns(piece.trim_end()) > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        }
        line.push_str(&piece);
        is_fresh = false;
        while columns(line.trim_end()) > width {
            let head = take_columns(line.chars(), width);
            let rest = format!("{indent}{}", line.get(head.len()..).unwrap_or_default());
            lines.push(head);
            line = rest;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn words_wrap_with_hanging_indent() {
        let words = ["alpha", "beta", "gamma"].map(str::to_owned);
        assert_eq!(wrap(&words, ", ", "in ", 14), ["in alpha, ", "   beta, gamma"]);
    }

    #[test]
    fn word_longer_than_a_line_is_broken() {
        let lines = wrap(&["0123456789".to_owned()], ", ", "> ", 6);
        assert_eq!(lines, ["> 0123", "  4567", "  89"]);
    }
}
