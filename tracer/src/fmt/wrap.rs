//! Words broken into lines. Not textwrap: facts and frames break only between each other, not at
//! the blanks inside them. If a line begins with a lead, the next lines hang below the word after
//! it.

use super::width::{char_columns, columns};

/// Columns that a lead leaves for the words beside it.
const MIN_BESIDE: usize = 20;
/// Indent of the words below a lead that leaves less.
const BELOW: usize = 6;

/// Lines of words; the first begins with `lead`, the others are indented as far. A word that is
/// longer than a line is broken. Beside a lead that takes nearly the whole line there is no room:
/// then it wraps like the words, without its blanks for alignment.
pub(super) fn wrap(words: &[String], joint: &str, lead: &str, width: usize) -> Vec<String> {
    let is_wide = columns(lead) >= MIN_BESIDE && columns(lead) + MIN_BESIDE > width;
    if !is_wide {
        return hung(words, joint, lead, columns(lead), width);
    }
    let margin = lead.chars().take_while(|character| *character == ' ').collect::<String>();
    let lead_words = lead.split_whitespace().map(|word| format!("{word} "));
    let joined = words.iter().enumerate().map(|(index, word)| {
        let is_last = index + 1 == words.len();
        if is_last { word.clone() } else { format!("{word}{joint}") }
    });
    let all: Vec<String> = lead_words.chain(joined).collect();
    hung(&all, "", &margin, BELOW, width)
}

/// Lines of words, the first behind `lead`, the others behind `indent` columns.
fn hung(words: &[String], joint: &str, lead: &str, indent: usize, width: usize) -> Vec<String> {
    let indent = indent.min(width.saturating_sub(1));
    let margin = " ".repeat(indent);
    let mut lines = Vec::new();
    let mut line = lead.to_owned();
    let mut used = columns(lead);
    let last = words.len().saturating_sub(1);
    for (index, word) in words.iter().enumerate() {
        let piece = if index == last { word.clone() } else { format!("{word}{joint}") };
        let (body, blanks) = piece.split_at(piece.trim_end().len());
        if index > 0 && used + columns(body) > width {
            lines.push(std::mem::replace(&mut line, margin.clone()));
            used = indent;
        }
        for character in body.chars() {
            if used + char_columns(character) > width && used > indent {
                lines.push(std::mem::replace(&mut line, margin.clone()));
                used = indent;
            }
            line.push(character);
            used += char_columns(character);
        }
        // Blanks at the end of a line are not shown.
        line.push_str(blanks);
        used += columns(blanks);
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
    fn words_wrap_below_a_lead_that_leaves_no_room_beside_it() {
        let words = ["alpha", "beta", "gamma"].map(str::to_owned);
        let lead = "  yes  oom_kill_process     fentry  ";
        let lines = wrap(&words, " ", lead, 36);
        assert_eq!(lines, ["  yes oom_kill_process fentry alpha ", "      beta gamma"]);
    }

    #[test]
    fn time_to_wrap_is_linear() {
        let word = |length: usize| ["x".repeat(length)];
        let (short, long) = (word(100_000), word(200_000));
        let wrap = |words: &[String]| wrap(words, ", ", "> ", 79);
        crate::fmt::timing::assert_linear(|| wrap(&short), || wrap(&long));
    }

    #[test]
    fn word_longer_than_a_line_is_broken() {
        let lines = wrap(&["0123456789".to_owned()], ", ", "> ", 6);
        assert_eq!(lines, ["> 0123", "  4567", "  89"]);
    }
}
