//! The flame graph in the page: a picture, whose styles and names stay its own.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::{model::report::OomReport, output::flame};

/// Where stacks were recorded.
pub(super) fn flame_graph(report: &OomReport) -> Markup {
    html! {
        @if let Ok(svg) = flame::still(report) {
            details.allocation open {
                summary { b { "As a flame graph" } }
                img src=(data_uri(&svg)) alt="Flame graph of the bytes charged" style="width:100%";
            }
        }
    }
}

/// RFC 2397, percent-encoded: nothing in it ends the attribute.
fn data_uri(svg: &[u8]) -> String {
    let mut uri = "data:image/svg+xml,".to_owned();
    for &byte in svg {
        if byte.is_ascii_alphanumeric() || b" -._~/:=;,()".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Into a String: cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_picture_ends_the_attribute() {
        assert_eq!(data_uri(b"<a b='\"#%'>"), "data:image/svg+xml,%3Ca b=%27%22%23%25%27%3E");
    }
}
