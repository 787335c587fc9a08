//! Bars and curves of block characters, readable without color. Shares are thousandths.

/// A bar of `width` columns: full blocks, then dots.
pub(crate) fn bar(permille: u64, width: usize) -> String {
    let full = length(permille, width);
    format!("{}{}", "█".repeat(full), "·".repeat(width - full))
}

/// The glyph of each part of a stacked bar.
pub(crate) const GLYPHS: [&str; 6] = ["█", "▓", "▒", "░", "▪", "+"];

/// Parts in a row. Each ends where the sum so far ends, so that rounding does not add up.
pub(crate) fn stacked(permilles: &[u64], width: usize) -> String {
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

/// A curve of points (across, up; by their place across) in rows of columns, top row first. Each
/// column shows the highest point of its part, the latest one before it where it has none.
pub(crate) fn curve(
    points: impl Iterator<Item = (u64, u64)>,
    width: usize,
    rows: usize,
) -> Vec<String> {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut left = points.peekable();
    let mut latest = 0;
    let columns = (0..width).map(|column| {
        let end = column as u64 * 1000 / (width.max(2) as u64 - 1);
        let mut highest = None;
        while let Some((_, up)) = left.next_if(|(across, _)| *across <= end) {
            latest = up;
            highest = highest.max(Some(up));
        }
        length(highest.unwrap_or(latest), rows * 8)
    });
    let heights: Vec<usize> = columns.collect();
    let row = |row: usize| {
        let floor = (rows - 1 - row) * 8;
        let column = |height: &usize| EIGHTHS[height.saturating_sub(floor).min(8)];
        heights.iter().map(column).collect::<String>()
    };
    (0..rows).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn curve_rises_to_the_right() {
        assert_eq!(curve([(0, 0), (500, 500), (1000, 1000)].into_iter(), 3, 2), ["  █", " ██"]);
    }

    #[test]
    fn curve_keeps_a_peak_between_two_columns() {
        let points = [(0, 0), (300, 1000), (400, 500), (1000, 1000)];
        assert_eq!(curve(points.into_iter(), 5, 2), ["  █ █", "  ███"]);
    }
}
