//! Parses and prints C prototypes. Arrays and function pointers are not supported, because no
//! hooked function has one.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, ensure};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prototype {
    /// `None` for a tracepoint.
    pub(super) returns: Option<Kind>,
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument {
    pub(super) kind: Kind,
    pub(super) name: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    /// Sorted, because C allows any order: `unsigned long` is the `long unsigned int` of BTF.
    pub(super) words: Vec<String>,
    pub(super) pointers: usize,
}

impl FromStr for Prototype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (head, rest) = text.split_once('(').context("no parenthesis")?;
        let arguments = rest.strip_suffix(')').context("nothing may follow the prototype")?;
        let (name, returns) = split_name(head)?;
        let returns = (!returns.is_empty()).then(|| Kind::new(&returns));
        let arguments = if arguments == "void" {
            Vec::new()
        } else {
            arguments.split(',').map(str::parse).collect::<Result<_>>()?
        };
        Ok(Self { returns, name, arguments })
    }
}

impl FromStr for Argument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, kind) = split_name(text)?;
        ensure!(!kind.is_empty(), "the argument {:?} has no type or no name", text.trim());
        Ok(Self { kind: Kind::new(&kind), name })
    }
}

/// Splits text such as `struct page_counter **fail` into the name and the tokens of the type.
fn split_name(text: &str) -> Result<(String, Vec<String>)> {
    let spaced = text.replace('*', " * ");
    let mut tokens: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let name = tokens.pop().with_context(|| format!("{text:?} has no name"))?;
    let is_word = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    ensure!(is_word, "{text:?} does not end in a name");
    Ok((name, tokens))
}

impl Kind {
    pub(super) fn new(tokens: &[String]) -> Self {
        let (pointers, words): (Vec<&String>, Vec<&String>) =
            tokens.iter().partition(|token| *token == "*");
        let mut words: Vec<String> = words.into_iter().cloned().collect();
        if words.iter().any(|word| word == "long" || word == "short") {
            words.retain(|word| word != "int");
        } else if words == ["unsigned"] {
            words.push("int".to_owned());
        }
        words.sort();
        Self { words, pointers: pointers.len() }
    }
}

impl fmt::Display for Prototype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(returns) = &self.returns {
            write!(f, "{returns}")?;
        }
        let arguments: Vec<String> =
            self.arguments.iter().map(|it| format!("{}{}", it.kind, it.name)).collect();
        let none = if arguments.is_empty() { "void" } else { "" };
        write!(f, "{}({none}{})", self.name, arguments.join(", "))
    }
}

/// Prints the type so that a name can follow.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Qualifiers, signs and tags go first.
        let rank = |word: &str| match word {
            "const" | "volatile" => 0,
            "unsigned" | "signed" | "struct" | "union" | "enum" => 1,
            _ => 2,
        };
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        words.sort_by_key(|word| rank(word));
        write!(f, "{} {}", words.join(" "), "*".repeat(self.pointers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prototype_is_printed_as_it_was_read() {
        for text in [
            "bool out_of_memory(struct oom_control *oc)",
            "long oom_badness(struct task_struct *p, unsigned long totalpages)",
            "void oom_kill_process(struct oom_control *oc, const char *message)",
            "bool charge(struct page_counter *counter, struct page_counter **fail)",
            "mark_victim(int pid)",
            "int none(void)",
        ] {
            assert_eq!(text.parse::<Prototype>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_of_one_type_are_equal() {
        let parse = |text: &str| text.parse::<Argument>().unwrap();
        assert_eq!(parse("long unsigned int n"), parse("unsigned long n"));
        assert_eq!(parse("char const * s"), parse("const char *s"));
        assert_ne!(parse("unsigned int n"), parse("int n"));
    }

    #[test]
    fn incomplete_prototype_is_refused() {
        for text in ["f", "f(", "f(int pid", "f(int)", "f(struct a *)", "f(...)", "f(int a), old"] {
            assert!(text.parse::<Prototype>().is_err(), "{text}");
        }
    }
}
