//! The flame graph, by inferno.

use inferno::flamegraph::{self, Options, Palette, color::BasicPalette};

use super::{folded::lines, title};
use crate::{fmt::lines::Lines, model::report::OomReport};

/// An SVG that needs nothing else; wide as the bytes.
///
/// # Errors
/// Fails if there is nothing to draw.
pub(crate) fn svg(report: &OomReport) -> std::io::Result<Lines> {
    let svg = draw(report, false)?;
    Ok(Lines::from(String::from_utf8_lossy(&svg).as_ref()))
}

/// The same without its script: a picture in a page.
///
/// # Errors
/// Fails as [`svg`] does.
pub(crate) fn still(report: &OomReport) -> std::io::Result<Vec<u8>> {
    draw(report, true)
}

fn draw(report: &OomReport, is_still: bool) -> std::io::Result<Vec<u8>> {
    let stacks = lines(report);
    let mut options = Options::default();
    options.title = title(report);
    "bytes".clone_into(&mut options.count_name);
    options.no_javascript = is_still;
    options.colors = Palette::Basic(BasicPalette::Mem);
    if stacks.is_empty() {
        return Err(std::io::Error::other("no stacks were recorded"));
    }
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, stacks.iter().map(String::as_str), &mut svg)?;
    Ok(svg)
}
