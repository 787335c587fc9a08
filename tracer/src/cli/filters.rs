//! Options that take a word. A value that can never match, or does nothing, is refused.

/// Bytes of a task's name in the kernel: `TASK_COMM_LEN` less its NUL, include/linux/sched.h.
const MAX_COMM_BYTES: usize = 15;

/// A value of `--comm`.
pub(super) fn comm(text: &str) -> Result<String, String> {
    let name = not_empty(text)?;
    match name.len() {
        ..=MAX_COMM_BYTES => Ok(name),
        length => Err(format!(
            "must have at most {MAX_COMM_BYTES} bytes, as the kernel's name of a task, not {length}"
        )),
    }
}

/// Any other filter or expression.
pub(super) fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{comm, not_empty};

    #[test]
    fn comm_that_no_task_has_is_refused() {
        for name in ["java", "Web Content", "fifteen-bytes-1"] {
            assert_eq!(comm(name).as_deref(), Ok(name));
        }
        assert_eq!(comm("").unwrap_err(), "must not be empty");
        // Bytes count, not letters.
        for long in ["abcdefghijklmnopqrst", "sixteen-bytes-01", "ääääääää"] {
            assert!(comm(long).unwrap_err().contains("at most 15 bytes"), "{long}");
        }
    }

    #[test]
    fn empty_word_is_refused() {
        assert_eq!(not_empty(" ").as_deref(), Ok(" "));
        assert_eq!(not_empty("").unwrap_err(), "must not be empty");
    }
}
