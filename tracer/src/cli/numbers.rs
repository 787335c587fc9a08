//! Options that take a whole number of 1 or more.

use std::num::{IntErrorKind, ParseIntError};

/// `--count` and `-n`: how many reports.
pub(super) fn reports(text: &str) -> Result<u64, String> {
    one_or_more(text)
}

/// `--pid`, one of its values.
pub(super) fn pid(text: &str) -> Result<i32, String> {
    one_or_more(text)
}

fn one_or_more<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    let number = text.parse::<i128>().map_err(|error| reason(&error).to_owned())?;
    if number < 1 {
        return Err("must be 1 or more".to_owned());
    }
    T::try_from(number).map_err(|_| TOO_LARGE.to_owned())
}

const TOO_LARGE: &str = "the number is too large";

fn reason(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::Empty => "the number is missing",
        IntErrorKind::PosOverflow => TOO_LARGE,
        _ => "not a whole number",
    }
}

#[cfg(test)]
mod tests {
    use super::{pid, reports};

    #[test]
    fn number_out_of_range_is_refused_with_its_reason() {
        assert_eq!(reports("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(pid("4242"), Ok(4242));
        for (text, reason) in [
            ("0", "must be 1 or more"),
            ("-3", "must be 1 or more"),
            ("", "the number is missing"),
            ("abc", "not a whole number"),
            ("1.5", "not a whole number"),
            ("99999999999999999999", "the number is too large"),
        ] {
            assert_eq!(pid(text), Err(reason.to_owned()), "{text}");
            assert_eq!(reports(text), Err(reason.to_owned()), "{text}");
        }
        assert_eq!(pid("2147483648"), Err("the number is too large".to_owned()));
    }
}
