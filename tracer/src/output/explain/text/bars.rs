//! Bars and curves of block characters, readable without color.

use crate::output::{explain::view::growth::Curve, text::highest};

/// A bar of so many columns: full blocks, then dots.
pub(super) fn bar(permille: u64, width: usize) -> String {
    let full = length(permille, width);
    format!("{}{}", "█".repeat(full), "·".repeat(width - full))
}

/// The glyph of each part of a candidate's points, as they are stacked.
pub(super) const GLYPHS: [&str; 6] = ["█", "▓", "▒", "░", "▪", "+"];

/// Parts in a row. Each ends where the sum so far ends, so that rounding does not add up.
pub(super) fn stacked(permilles: &[u64], width: usize) -> String {
    let mut sum = 0_u64;
    let mut drawn = 0;
    let mut text = String::new();
    for (permille, glyph) in permilles.iter().zip(GLYPHS) {
        sum = sum.saturating_add(*permille);
        let end = length(sum.min(1000), width);
        text.push_str(&glyph.repeat(end - drawn));
        drawn = end;
    }
    text.push_str(&" ".repeat(width - drawn));
    text
}

fn length(permille: u64, width: usize) -> usize {
    let permille = usize::try_from(permille.min(1000)).unwrap_or(1000);
    (permille * width + 500) / 1000
}

/// The curve in rows of columns, top row first: each column shows the highest point of its time, the
/// latest one before it where it has none.
pub(super) fn chart(curve: &Curve, width: usize, rows: usize) -> Vec<String> {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let ends = (0..width).map(|column| column as u64 * 1000 / (width.max(2) as u64 - 1));
    let points = curve.points.iter().map(|point| (point.across, point.up));
    let heights: Vec<usize> = highest(points, ends).map(|up| length(up, rows * 8)).collect();
    let row = |row: usize| {
        let floor = (rows - 1 - row) * 8;
        let column = |height: &usize| EIGHTHS[height.saturating_sub(floor).min(8)];
        heights.iter().map(column).collect::<String>()
    };
    (0..rows).map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::output::explain::view::growth::Point;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0, 4), "····");
        assert_eq!(bar(500, 4), "██··");
        assert_eq!(bar(1000, 4), "████");
        assert_eq!(stacked(&[333, 333, 333], 3), "█▓▒");
        assert_eq!(stacked(&[500, 0, 0, 0, 0, 250], 8), "████++  ");
        for (parts, width) in [([167; 6], 20), ([999; 6], 20), ([1; 6], 20)] {
            assert_eq!(stacked(&parts, width).chars().count(), width);
        }
    }

    #[test]
    fn a_curve_rises_to_the_right() {
        let point = |across, up| Point { across, up, limit: None };
        let curve = Curve {
            points: vec![point(0, 0), point(500, 500), point(1000, 1000)],
            span: Duration::from_secs(1),
            top_bytes: 1,
            first_bytes: 0,
            last_bytes: 1,
        };
        assert_eq!(chart(&curve, 3, 2), ["  █", " ██"]);
    }

    #[test]
    fn a_peak_between_two_columns_is_not_lost() {
        let point = |across, up| Point { across, up, limit: None };
        let curve = Curve {
            points: vec![point(0, 0), point(300, 1000), point(400, 500), point(1000, 1000)],
            span: Duration::from_secs(1),
            top_bytes: 1,
            first_bytes: 0,
            last_bytes: 1,
        };
        assert_eq!(chart(&curve, 5, 2), ["  █ █", "  ███"]);
    }
}
