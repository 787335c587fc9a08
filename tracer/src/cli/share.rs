//! A share of a limit: "50%".

/// Returns percent, 0 to 100.
pub(super) fn parse(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse() {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err("a share is a number from 0% to 100%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_parses_with_and_without_percent_sign() {
        assert_eq!([parse("50%"), parse("0"), parse("100 %")], [Ok(50), Ok(0), Ok(100)]);
        for wrong in ["101%", "-1%", "half", "", "%"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
