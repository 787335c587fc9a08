//! The first line or two: the essence of an invocation in words, a wording per outcome.

use anstyle::{AnsiColor, Style};

use super::section;
use crate::{
    compose::{names, verdict::LIMIT_SETTERS},
    fmt::{
        page::Page,
        units,
        width::{columns, elide},
    },
    model::report::{Candidate, Constraint, OomReport, Outcome, Reason, Trigger, Victim},
};

/// The style of a headline with a task that was killed or is about to exit.
const DEATH: Style = AnsiColor::Red.on_default().bold();
/// The style of any other headline.
pub(super) const ALARM: Style = AnsiColor::Yellow.on_default().bold();

/// Columns that a cgroup's path has at least; the sections below have it whole.
const SHORTEST_PATH: usize = 20;

/// A phrase with a path in it that gives way when there is no room.
struct Phrase {
    before: String,
    path: Option<String>,
    after: String,
}

impl From<String> for Phrase {
    fn from(before: String) -> Self {
        Self { before, path: None, after: String::new() }
    }
}

impl Phrase {
    fn fit(&self, width: usize) -> String {
        let Self { before, path, after } = self;
        let room = width.saturating_sub(columns(before) + columns(after));
        let short = elide(path.as_deref().unwrap_or_default(), room.max(SHORTEST_PATH));
        format!("{before}{short}{after}")
    }
}

/// Writes the headline: one line if it fits, else the essence and the cause on two.
pub(super) fn write(block: &mut Page, report: &OomReport, time: &str) {
    let whole = sentence(report);
    let mut lines = section(block, time);
    let width = lines.width();
    if columns(&whole) <= width {
        return lines.line(style(report), &whole);
    }
    let mut what = essence(report);
    what.before.insert_str(0, "OOM: ");
    for phrase in std::iter::once(what).chain(cause(report)) {
        lines.words("", style(report), phrase.fit(width));
    }
}

pub(crate) fn style(report: &OomReport) -> Style {
    match report.outcome {
        Outcome::Killed | Outcome::WillFreeMem => DEATH,
        _ => ALARM,
    }
}

/// The whole of it as one sentence.
pub(crate) fn sentence(report: &OomReport) -> String {
    let phrases = std::iter::once(essence(report)).chain(cause(report));
    let whole: Vec<String> = phrases.map(|phrase| phrase.fit(usize::MAX)).collect();
    format!("OOM: {}", whole.join(": "))
}

fn essence(report: &OomReport) -> Phrase {
    let times = times(report);
    let text = match (report.outcome, report.victims.as_slice()) {
        (Outcome::Killed, []) => "a kill, its victim unknown".to_owned(),
        (Outcome::Killed, victims @ [first, ..]) => {
            let chosen = victims.iter().find(|victim| victim.chosen).unwrap_or(first);
            return killed(report, chosen);
        }
        (Outcome::WillFreeMem, [victim, ..]) => {
            format!("{} was already exiting, no task selected", sized(victim))
        }
        (Outcome::WillFreeMem, []) => {
            "the trigger was already exiting, no task selected".to_owned()
        }
        (Outcome::AlreadyExiting, [victim, ..]) => {
            format!("no task killed, {} was already exiting", sized(victim))
        }
        (Outcome::AlreadyExiting, []) => {
            let name = chosen(report).map_or("the chosen task".to_owned(), names::candidate);
            format!("no task killed, {name} was already exiting")
        }
        (Outcome::VictimPending, _) => {
            format!("no task killed, an earlier victim is still exiting{times}")
        }
        (Outcome::NoVictim, _) => format!("no task killed, none is killable{times}"),
        (Outcome::Reclaimed, _) => format!("no task killed, there was room again{times}"),
        (Outcome::NotAllowed, _) => {
            format!("no task killed, the allocation may not kill and tries again{times}")
        }
        (Outcome::Suspended, _) => {
            format!("no task killed, the OOM killer is disabled during suspend{times}")
        }
        (Outcome::Disabled, _) => {
            format!("no task killed, the OOM killer is disabled: tasks wait{times}")
        }
        (Outcome::Unknown, _) => "the end of this invocation was not seen".to_owned(),
    };
    Phrase::from(text)
}

fn killed(report: &OomReport, chosen: &Victim) -> Phrase {
    let count = report.n_victims();
    let is_group = report.oom_memcg.as_ref().and_then(|memcg| memcg.oom_group) == Some(true);
    if is_group && count > 1 {
        // Memory of processes without a record is unknown.
        let are_all = count == report.victims.len();
        let sizes = || report.victims.iter().map(names::resident).sum::<Option<u64>>();
        let total = are_all.then(sizes).flatten();
        let size = total.map(|total| format!(" ({})", units::bytes(total))).unwrap_or_default();
        let name = names::victim(chosen);
        let processes = units::count(count, "process");
        return format!("killed {processes} by oom.group{size}, {name} chosen").into();
    }
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let path = cgroup_name(report, chosen);
    let joint = if path.is_some() { " in " } else { "" };
    let before = format!("killed {}{others}{joint}", sized(chosen));
    Phrase { before, path, after: String::new() }
}

fn sized(victim: &Victim) -> String {
    let size = names::resident(victim).map(|size| format!(" ({})", units::bytes(size)));
    format!("{}{}", names::victim(victim), size.unwrap_or_default())
}

/// The victim's cgroup, unless it is the one that hit its limit: the cause names that one.
fn cgroup_name(report: &OomReport, victim: &Victim) -> Option<String> {
    let task_memcg = victim.cgroup.as_ref()?;
    let is_same = report.oom_memcg.as_ref().is_some_and(|memcg| {
        let same_id = memcg.cgroup.id.is_some() && memcg.cgroup.id == task_memcg.id;
        same_id || (memcg.cgroup.path.is_some() && memcg.cgroup.path == task_memcg.path)
    });
    if is_same { None } else { names::cgroup(task_memcg) }
}

fn times(report: &OomReport) -> String {
    let Some(repeats @ 2..) = report.repeats else {
        return String::new();
    };
    let span = report.time.zip(report.repeats_until).map(|(from, to)| to.duration_since(from));
    let in_span = span
        .and_then(|span| span.try_into().ok())
        .map(|span| format!(" in {}", units::duration(span)))
        .unwrap_or_default();
    format!(" ({repeats} times{in_span})")
}

/// The limit that was hit or the memory that ran out, and the action of the trigger.
fn cause(report: &OomReport) -> Option<Phrase> {
    if report.reason == Some(Reason::Sysrq) {
        return Some("asked for with sysrq-f".to_owned().into());
    }
    let trigger = report.trigger.as_ref();
    let action = trigger
        .map(|trigger| format!(" when {}", trigger_action(report, trigger)))
        .unwrap_or_default();
    if let Some(memcg) = &report.oom_memcg {
        let path = names::cgroup(&memcg.cgroup).unwrap_or_else(|| "a cgroup".to_owned());
        let size = memcg.max_bytes.map(|max| format!("{} ", units::bytes(max)));
        let after = format!(" hit its {}limit{action}", size.unwrap_or_default());
        return Some(Phrase { before: String::new(), path: Some(path), after });
    }
    let owner = trigger.map_or_else(|| "the trigger".to_owned(), names::trigger);
    let domain = match report.constraint {
        Some(Constraint::Memcg) => "a cgroup hit its limit".to_owned(),
        Some(Constraint::None) => "host out of memory".to_owned(),
        Some(Constraint::Cpuset) => {
            return Some(format!("{owner} found the memory nodes of its cpuset full").into());
        }
        Some(Constraint::MemoryPolicy) => {
            return Some(format!("{owner} found the nodes of its memory policy full").into());
        }
        None if trigger.is_some() => "memory ran out".to_owned(),
        None => return None,
    };
    Some(format!("{domain}{action}").into())
}

/// The action of the trigger: an allocation, unless its stack shows that it lowered the limit.
fn trigger_action(report: &OomReport, trigger: &Trigger) -> String {
    let who = names::trigger(trigger);
    let Some(frames) = &trigger.kernel_stack else {
        return format!("{who} needed room");
    };
    let mut symbols = frames.iter().filter_map(|frame| frame.symbol.as_deref());
    if symbols.any(|symbol| LIMIT_SETTERS.contains(&symbol)) {
        return format!("{who} lowered it");
    }
    match report.reason {
        Some(Reason::AllocatingTask) => format!("{who} allocated (oom_kill_allocating_task)"),
        _ => format!("{who} allocated"),
    }
}

fn chosen(report: &OomReport) -> Option<&Candidate> {
    report.candidates.iter().flat_map(|candidates| &candidates.list).find(|task| task.chosen)
}
