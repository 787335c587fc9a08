//! The identity of a process: command line, executable, age, ancestors.

use std::time::Duration;

use anstyle::Style;

use super::Detail;
use crate::{
    compose::names,
    fmt::{page::Section, units, width::cut},
    model::report::Who,
};

/// Lines of a command line that are shown; with -v all of it is.
const BRIEF_LINES: usize = 3;

/// Writes it; the age only if it is not known already.
pub(super) fn write(section: &mut Section<'_>, who: &Who, with_age: bool, detail: Detail) {
    let lead = "runs ";
    if let Some(cmdline) = names::cmdline(who) {
        let room = match detail {
            Detail::Brief => BRIEF_LINES * section.width().saturating_sub(lead.len() + 2),
            Detail::Full => usize::MAX,
        };
        section.words(lead, Style::new(), cut(&cmdline, room));
    }
    let exe = names::exe(who).filter(|exe| !begins_with(who, exe));
    let age = who.age_ns.filter(|_| with_age).map(Duration::from_nanos);
    let started = age.map(|age| format!("started {} before", units::duration(age)));
    section.facts(exe.map(|exe| format!("exe {exe}")).into_iter().chain(started));
    let parents = names::parents(who);
    if !parents.is_empty() {
        section.joined("child of ", &parents, " < ", Style::new());
    }
}

/// Whether the command line says the same already.
fn begins_with(who: &Who, exe: &str) -> bool {
    let first = who.cmdline.as_ref().and_then(|arguments| arguments.first());
    first.is_some_and(|first| first == exe)
}
