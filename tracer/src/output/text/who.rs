//! Who a process is: command line, executable, age, ancestors.

use std::time::Duration;

use anstyle::Style;

use super::Detail;
use crate::{
    compose::names,
    fmt::{
        layout::{BODY, Section, columns, take_columns},
        units,
    },
    model::report::Who,
};

/// Lines of a command line that are shown; with -v all of it is.
const BRIEF_LINES: usize = 3;

/// Writes it.
pub(super) fn write(section: &mut Section<'_>, who: &Who, detail: Detail) {
    let lead = "runs ";
    if let Some(cmdline) = names::cmdline(who) {
        let room = match detail {
            Detail::Brief => BRIEF_LINES * (BODY - lead.len()) - 2 * BRIEF_LINES,
            Detail::Full => usize::MAX,
        };
        let short = cut(&cmdline, room);
        let words: Vec<String> = short.split(' ').map(str::to_owned).collect();
        section.joined(&words, " ", lead, Style::new());
    }
    let exe = names::exe(who).filter(|exe| !begins_with(who, exe));
    let age = who
        .age_ns
        .map(|ns| format!("started {} before", units::duration(Duration::from_nanos(ns))));
    section.facts(exe.map(|exe| format!("exe {exe}")).into_iter().chain(age));
    let parents = names::parents(who);
    if !parents.is_empty() {
        section.joined(&parents, " < ", "child of ", Style::new());
    }
}

/// Its begin tells most of a command line.
fn cut(text: &str, room: usize) -> String {
    const MORE: &str = " ...";
    if columns(text) <= room {
        return text.to_owned();
    }
    format!("{}{MORE}", take_columns(text.chars(), room.saturating_sub(MORE.len())))
}

/// Whether the command line says the same already.
fn begins_with(who: &Who, exe: &str) -> bool {
    let first = who.cmdline.as_ref().and_then(|arguments| arguments.first());
    first.is_some_and(|first| first == exe)
}
