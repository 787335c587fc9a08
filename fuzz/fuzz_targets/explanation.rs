//! `oomwhy explain FILE -o html` makes a page of a report that anybody may have written.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use oomwhy::testing::{Form, Record, render};

/// The elements of a page. Anything else would come from the report.
const ELEMENTS: &str = "html head meta title style body main article header section h1 h2 h3 p b i \
    span div dl dt dd ul ol li time code pre details summary table thead tbody tr th td figure \
    figcaption svg path polyline line img";
/// The flame graph. Within an image, browsers run no script and fetch nothing.
const IMAGE: &str = "data:image/svg+xml,";

fuzz_target!(|data: &[u8]| {
    let Ok(record) = serde_json::from_slice::<Record>(data) else { return };
    for form in [Form::Text, Form::Html] {
        let mut page = Vec::new();
        render(&[record.clone()], form, TimeZone::UTC, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        if form == Form::Html {
            check(&page);
        } else {
            // Only colors may start with an escape character.
            assert!(!page.replace("\u{1b}[", "").chars().any(|it| it.is_control() && it != '\n'));
        }
    }
});

/// A page has only known elements, and no attribute that runs or fetches anything.
fn check(page: &str) {
    let (_, body) = page.split_once("</head>").unwrap();
    for tag in body.split('<').skip(1) {
        let name = tag.trim_start_matches('/').split(['>', ' ']).next().unwrap();
        assert!(ELEMENTS.split_whitespace().any(|it| it == name), "<{tag}");
        let attributes = tag.split('>').next().unwrap();
        let (names, values): (Vec<_>, Vec<_>) =
            attributes.split('"').enumerate().partition(|(index, _)| index % 2 == 0);
        for (_, attribute) in names {
            assert!(!attribute.contains(" on") && !attribute.contains("href"), "<{tag}");
        }
        if name == "img" {
            assert!(values.first().is_some_and(|(_, source)| source.starts_with(IMAGE)), "<{tag}");
        }
    }
}
