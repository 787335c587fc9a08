//! Sizes, durations, shares and counts in text.

use std::{fmt::Display, time::Duration};

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size in IEC units, one decimal where it is not whole: "0 B", "4 KiB", "498.1 MiB".
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit_bytes = 1024_u128;
    let mut text = String::new();
    for unit in UNITS {
        let tenths = (u128::from(bytes) * 10 + unit_bytes / 2) / unit_bytes;
        text = match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole} {unit}"),
            (whole, tenth) => format!("{whole}.{tenth} {unit}"),
        };
        if tenths < 10 * 1024 {
            break;
        }
        unit_bytes *= 1024;
    }
    text
}

/// A duration to three digits or so: "12 ms", "3.2 s", "5 min".
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

/// A share of a thousand: "64 %", "0.4 %".
pub(crate) fn percent(permille: u64) -> String {
    match (permille / 10, permille % 10) {
        (whole @ 0..10, tenth @ 1..) => format!("{whole}.{tenth} %"),
        (whole, _) => format!("{whole} %"),
    }
}

/// "1 task", "2 tasks", "2 processes".
pub(crate) fn count(number: impl Display, noun: &str) -> String {
    let digits = number.to_string();
    let ending = match digits.as_str() {
        "1" => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{digits} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, count, duration};

    #[test]
    fn nouns_have_a_plural_unless_there_is_one() {
        assert_eq!(count(0, "task"), "0 tasks");
        assert_eq!(count(1, "process"), "1 process");
        assert_eq!(count(2, "process"), "2 processes");
    }

    #[test]
    fn sizes_are_iec_with_one_decimal() {
        for (size, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (4096, "4 KiB"),
            (1536, "1.5 KiB"),
            (512 << 20, "512 MiB"),
            (522_302_976, "498.1 MiB"),
            ((1 << 30) - 1, "1 GiB"),
            ((1 << 20) - 1, "1 MiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(size), expected, "{size}");
        }
    }

    #[test]
    fn durations_are_short() {
        for (millis, expected) in
            [(0, "0 ms"), (999, "999 ms"), (3_250, "3.2 s"), (300_000, "5 min"), (7_200_000, "2 h")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }
}
