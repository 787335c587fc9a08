//! The curve of usage as a picture in SVG.

use maud::{Markup, html};

use crate::{fmt::units, output::view::growth::Curve};

const WIDTH: u64 = 720;
const HEIGHT: u64 = 180;

/// Usage as an area, the limit as a line above it.
pub(super) fn chart(curve: &Curve) -> Markup {
    let spot = |across: u64, up: u64| {
        let (x, y) = (across * WIDTH, (1000 - up) * HEIGHT);
        format!("{}.{:03} {}.{:03}", x / 1000, x % 1000, y / 1000, y % 1000)
    };
    let line: Vec<String> = curve.points.iter().map(|point| spot(point.across, point.up)).collect();
    let area = format!("M0 {HEIGHT} L{} L{WIDTH} {HEIGHT} Z", line.join(" L"));
    let limits: Vec<String> =
        curve.points.iter().filter_map(|point| Some(spot(point.across, point.limit?))).collect();
    let [top, first, last] =
        [curve.top_bytes, curve.first_bytes, curve.last_bytes].map(units::bytes);
    let span = units::duration(curve.span);
    html! {
        figure.chart {
            svg viewBox=(format!("0 -4 {WIDTH} {}", HEIGHT + 8))
                preserveAspectRatio="none" role="img"
                aria-label=(format!("Usage from {first} to {last} in {span}")) {
                @for y in (1..4).map(|quarter| quarter * HEIGHT / 4) {
                    line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                }
                path.area d=(area) {}
                polyline.usage points=(line.join(" ")) {}
                @if !limits.is_empty() { polyline.limit points=(limits.join(" ")) {} }
            }
            figcaption {
                span { (first) " " span.dim { (span) " before" } }
                span { "top: " (top) @if !limits.is_empty() { span.key.limit { "limit" } } }
                span { (last) " " span.dim { "at the end" } }
            }
        }
    }
}
