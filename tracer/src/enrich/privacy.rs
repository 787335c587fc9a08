//! Command lines can hold secrets. They are left out or masked before anything else reads them.

use regex_lite::Regex;

use crate::model::{
    events::{Body, Event, Name, Part},
    facts::ProcessFiles,
    report::Missing,
};

/// Replaces the masked text.
const MASK: &str = "***";

/// How command lines are treated.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    /// Leave them out.
    pub no_cmdline: bool,
    /// Mask the matches of this expression, or only its first capture group if it has one.
    pub redact: Option<Regex>,
}

impl Privacy {
    /// The fields that reports miss because of this, except those in `known`.
    pub fn missing(&self, known: &[Missing]) -> Vec<Missing> {
        let fields = ["trigger.cmdline", "victims.cmdline"].into_iter();
        let new_fields = fields.filter(|field| !known.iter().any(|it| it.field == *field));
        let missing = |field: &str| Missing {
            field: field.to_owned(),
            why: "left out: --no-cmdline".to_owned(),
        };
        new_fields.filter(|_| self.no_cmdline).map(missing).collect()
    }

    /// Masks the command line in an event. `false`: the event must be dropped.
    pub fn passes(&self, event: &mut Event) -> bool {
        let Body::Context(context) = &mut event.body else {
            return true;
        };
        let Part::Cmdline(arguments) = &mut context.part else {
            return true;
        };
        if let Some(redact) = &self.redact {
            let texts: Vec<String> =
                arguments.iter().map(|it| String::from_utf8_lossy(&it.0).into_owned()).collect();
            let masked = masked(redact, &texts);
            for ((argument, text), masked) in arguments.iter_mut().zip(texts).zip(masked) {
                // An argument without a match keeps its bytes, which may not be UTF-8.
                if masked != text {
                    *argument = Name(masked.into_bytes());
                }
            }
        }
        !self.no_cmdline
    }

    /// Does the same to a command line from /proc.
    pub fn clean(&self, mut files: ProcessFiles) -> ProcessFiles {
        files.cmdline = files.cmdline.filter(|_| !self.no_cmdline);
        if let (Some(redact), Some(arguments)) = (&self.redact, &mut files.cmdline) {
            *arguments = masked(redact, arguments);
        }
        files
    }
}

/// Matches the line with a blank between arguments, because an option and its value may be two
/// arguments.
fn masked(redact: &Regex, arguments: &[String]) -> Vec<String> {
    let line = arguments.join(" ");
    let ranges: Vec<_> = redact
        .captures_iter(&line)
        .filter_map(|found| found.get(1).or(found.get(0)))
        .map(|found| found.range())
        .filter(|range| !range.is_empty())
        .collect();
    let mut start = 0;
    let mut results = Vec::new();
    for argument in arguments {
        let end = start + argument.len();
        let mut text = String::new();
        let mut at = start;
        for range in ranges.iter().filter(|range| range.start < end && range.end > start) {
            text.push_str(line.get(at..range.start.max(start)).unwrap_or_default());
            text.push_str(MASK);
            at = range.end.min(end);
        }
        text.push_str(line.get(at..end).unwrap_or_default());
        results.push(text);
        start = end + 1;
    }
    results
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::masked;

    fn check(pattern: &str, line: &str, expected: &str) {
        let words: Vec<String> = line.split('|').map(str::to_owned).collect();
        let found = masked(&Regex::new(pattern).unwrap(), &words);
        assert_eq!(found.join("|"), expected, "{pattern}");
    }

    #[test]
    fn match_across_arguments_is_masked() {
        check(r"--password=\S+", "db|--password=x|-v", "db|***|-v");
        check(r"--password[= ](\S+)", "db|--password=x|-v", "db|--password=***|-v");
        check(r"--password[= ](\S+)", "db|--password|x|-v", "db|--password|***|-v");
        check("secret", "a secret|secrets secret", "a ***|***s ***");
        check("b c", "a b|c d", "a ***|*** d");
        check("x*", "ab|", "ab|");
        check("ä", "ä|xä", "***|x***");
    }

    proptest! {
        #[test]
        fn random_arguments_keep_no_match(words in prop::collection::vec("[a-c ä]{0,5}", 1..5)) {
            let redact = Regex::new("[ab]").unwrap();
            let found = masked(&redact, &words);
            prop_assert_eq!(found.len(), words.len());
            prop_assert!(!found.iter().any(|word| redact.is_match(word)));
        }
    }
}
