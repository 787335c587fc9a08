//! The parts of a report, ready to be shown in any form: named, in order, with their shares. Every
//! untrusted byte has passed through [`crate::fmt::sanitize`] here; HTML escapes on top of that.

pub(crate) mod candidates;
pub(crate) mod growth;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod missing;
pub(crate) mod processes;
pub(crate) mod stacks;
pub(crate) mod timeline;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    fmt::{sanitize::sanitize, units::count},
    model::report::{
        GapReport, LossReason, LossReport, LossStage, OomReport, Source, Tier, Truncated,
    },
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

pub(crate) fn fact(name: &'static str, value: Option<String>) -> Option<Fact> {
    value.map(|value| Fact { name, value })
}

/// A share in thousandths, at most 1000; `None` of an empty whole.
pub(crate) fn permille(part: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(part) * 1000).checked_div(u128::from(whole))?;
    Some(u64::try_from(share).unwrap_or(u64::MAX).min(1000))
}

pub(crate) fn safe(text: &str) -> String {
    sanitize(text.as_bytes())
}

/// A day and time with the offset from UTC.
pub(crate) fn moment(time: Timestamp, zone: &TimeZone) -> String {
    local(time, zone, "%F %T%.3f %:z")
}

pub(crate) fn gap(gap: &GapReport, zone: &TimeZone) -> String {
    let GapReport { expected, seen, since, drops, cgroup, .. } = gap;
    let kills = count(expected, "OOM kill");
    let path = cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
    let place = path.map(|path| format!(" in {}", safe(path))).unwrap_or_default();
    let since = local(*since, zone, "%F %T");
    let why = match drops {
        None => String::new(),
        Some(0) => "; no record was lost, the probes did not see the others".to_owned(),
        Some(1) => "; 1 record was lost (see --ring-size)".to_owned(),
        Some(drops) => format!("; {drops} records were lost (see --ring-size)"),
    };
    format!("gap: the kernel counted {kills}{place} since {since}, {seen} of them were seen{why}")
}

pub(crate) fn loss(loss: &LossReport, zone: &TimeZone) -> String {
    let first = local(loss.first, zone, "%F %T");
    match loss.tier {
        _ if matches!(loss.stage, Some(LossStage::Queue | LossStage::Store)) => format!(
            "loss: {} not written to {} since {first}, because {}",
            count(loss.count, "record"),
            safe(loss.name.as_deref().unwrap_or("an output")),
            match loss.reason {
                Some(LossReason::QueueFull) => "it was slow or blocked",
                Some(LossReason::WriteFailed) => "it failed",
                _ => "it was slow or failed",
            },
        ),
        _ if matches!(loss.stage, Some(LossStage::Helper | LossStage::Names)) => format!(
            "loss: {} without a result since {first}, because {}",
            count(loss.count, "look-up"),
            match loss.reason {
                Some(LossReason::HelpersHang) => "earlier helper processes hang",
                Some(LossReason::Late) => "it came too late for its report",
                _ => "a tenant had used up its share, or too many were waiting",
            },
        ),
        _ if loss.stage == Some(LossStage::Hints) => format!(
            "loss: {} of cgroups and growing processes since {first}, which came too fast",
            count(loss.count, "record"),
        ),
        _ if loss.stage == Some(LossStage::Decode) => format!(
            "loss: {} since {first} had a form that this oomwhy does not know",
            count(loss.count, "record"),
        ),
        Some(Tier::Kmsg) => format!(
            "loss: {} of the kernel's log since {first}, overwritten before they were read",
            count(loss.count, "record")
        ),
        _ if loss.stage == Some(LossStage::Kills) => format!(
            "loss: {} without a record since {first}, the buffer of kills was full{}",
            count(loss.count, "kill"),
            loss.reason.map(killed_as).unwrap_or_default(),
        ),
        _ if loss.stage == Some(LossStage::Probe) => format!(
            "loss: the kernel skipped {} of {}, whose records are missing; detected at {first}",
            count(loss.count, "run"),
            safe(loss.name.as_deref().unwrap_or("a probe")),
        ),
        _ => format!(
            "loss: {} since {first}, the ring was full (see --ring-size)",
            count(loss.count, "kernel-side record")
        ),
    }
}

fn killed_as(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Marked => "; first victims of an invocation",
        LossReason::GroupMember => "; members of a group that was killed as a whole",
        LossReason::SharesMm => "; processes that shared a victim's memory",
        _ => "",
    }
}

/// A sentence about the records that were lost before a report, if there are any.
pub(crate) fn drops(source: &Source) -> Option<String> {
    let drops = source.drops.filter(|drops| *drops > 0)?;
    Some(format!("{} lost since the last report: the ring was full", count(drops, "record")))
}

/// The keys that the probes shed from a report, if there are any.
pub(crate) fn shed(source: &Source) -> Option<String> {
    let keys = Some(source.shed.join(", ")).filter(|keys| !keys.is_empty())?;
    Some(format!("left out because the ring was short of room (see --ring-size): {keys}"))
}

/// The lists that were cut, if there are any.
pub(crate) fn cut(report: &OomReport) -> Option<String> {
    let list = |it: &Truncated| format!("{} ({} of {})", safe(&it.field), it.kept, it.total);
    let lists: Vec<String> = report.truncated.iter().map(list).collect();
    (!lists.is_empty()).then(|| format!("in full only: {}", lists.join(", ")))
}

fn local(time: Timestamp, zone: &TimeZone, format: &str) -> String {
    time.to_zoned_datetime(zone.clone()).strftime(format).to_string()
}
