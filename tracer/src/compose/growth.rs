//! The growth of the memory cgroup before it ran out of memory.

use std::{collections::BTreeMap, time::Duration};

use super::{ComposeContext, missing::missing, size_limit::that_fit, stacks::kernel_frames};
use crate::{
    fmt::units,
    growth::shape,
    model::{
        events::Invocation,
        hook::Hook,
        names::Name,
        recorded_growth::{AllocationSite, Recorded, Usage},
        report::{Frame, Growth, GrowthPoint, GrowthRate, GrowthStack, Missing, Truncated, lossy},
    },
};

const MINUTE_NS: u64 = 60_000_000_000;

/// The growth as it was recorded; `None` if the recorder did not run, or saw nothing of this
/// memcg.
pub(super) fn growth(context: ComposeContext<'_>, names: &BTreeMap<i32, String>) -> Option<Growth> {
    let recorded = context.account.growth.as_ref()?;
    let point = |usage: &Usage| GrowthPoint {
        t_ns: usage.t_ns,
        usage_bytes: context.bytes(usage.usage),
        limit_bytes: Some(context.bytes(usage.max)),
    };
    let curve: Vec<GrowthPoint> = recorded.curve.iter().map(point).collect();
    let functions = FrameNames::new(context);
    let stack = |site| stack(context, site, names, &functions);
    Some(Growth {
        since: curve.first().and_then(|first| context.time(first.t_ns)),
        rate_bytes_per_s: rates(&curve),
        kind: (!curve.is_empty()).then(|| shape(&recorded.curve).name().to_owned()),
        stacks: that_fit(recorded.sites.iter().map(stack)),
        unwound_share: share(recorded),
        curve,
    })
}

/// The stacks that were left out because a report has a limited size.
pub(super) fn truncated(context: ComposeContext<'_>, growth: Option<&Growth>) -> Option<Truncated> {
    let (kept, total) = (growth?.stacks.len(), context.account.growth.as_ref()?.sites.len());
    let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    let field = "growth.stacks".to_owned();
    (kept < total).then(|| Truncated { field, kept: count(kept), total: count(total) })
}

/// The fields of the growth that are missing although the recorder ran.
pub(super) fn unrecorded(context: ComposeContext<'_>) -> Vec<Missing> {
    if let Some(recorded) = &context.account.growth {
        let whys = [no_room(recorded), skipped(recorded), late(recorded)];
        return whys.into_iter().flatten().map(|why| missing("growth.stacks", why)).collect();
    }
    let is_recorded = context.host.has_hook(Hook::PageCounterTryCharge);
    let invocation = context.account.invocation.as_ref().filter(|_| is_recorded);
    invocation.map(|it| missing("growth", not_recorded(it))).into_iter().collect()
}

fn no_room(recorded: &Recorded) -> Option<String> {
    let Recorded { pushed_out, dropped, .. } = *recorded;
    (pushed_out != 0 || dropped != 0).then(|| {
        format!(
            "since the start the recorder had no room for {dropped} charges and stacks, and \
             {pushed_out} places gave way to newer ones"
        )
    })
}

fn skipped(recorded: &Recorded) -> Option<String> {
    recorded.skipped.filter(|&skipped| skipped > 0).map(|skipped| {
        format!(
            "since the start the kernel skipped the recorder at {skipped} charges, of whatever \
             cgroup: it was running on that CPU already"
        )
    })
}

fn late(recorded: &Recorded) -> Option<String> {
    recorded.late_ns.map(|late| {
        let late = units::duration(Duration::from_nanos(late));
        format!(
            "the recorder was read {late} after the choice, when oomwhy came to it: what was \
             charged since counts too, and what was pushed out is gone"
        )
    })
}

fn not_recorded(invocation: &Invocation) -> &'static str {
    if !invocation.choice_made {
        "it is read when a process is chosen, and none was"
    } else if invocation.is_memcg == Some(false) {
        "the whole host ran out of memory: growth is recorded below the limits of memory cgroups"
    } else if invocation.oom_memcg.as_ref().is_none_or(|memcg| memcg.id.is_none()) {
        "which memory cgroup was at its limit is not known"
    } else {
        "nothing was charged to the memory cgroup while it was above its share of the limit \
         (--growth-above)"
    }
}

fn rates(curve: &[GrowthPoint]) -> Option<GrowthRate> {
    let last = curve.last()?;
    let recent = curve.iter().find(|point| last.t_ns - point.t_ns <= MINUTE_NS);
    let whole = rate(curve.first()?, last);
    whole.map(|whole| GrowthRate {
        last_minute: recent.and_then(|first| rate(first, last)),
        whole: Some(whole),
    })
}

/// Bytes per second; `None` if both points are of the same time.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rounded rate")]
fn rate(from: &GrowthPoint, to: &GrowthPoint) -> Option<i64> {
    let ns = to.t_ns.checked_sub(from.t_ns).filter(|&ns| ns > 0)?;
    let bytes = to.usage_bytes as f64 - from.usage_bytes as f64;
    Some((bytes * 1e9 / ns as f64).round() as i64)
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(recorded: &Recorded) -> Option<f64> {
    let share = recorded.unwound_pages as f64 / recorded.pages as f64;
    (recorded.pages > 0).then(|| (share * 1000.0).round() / 1000.0)
}

fn stack(
    context: ComposeContext<'_>,
    site: &AllocationSite,
    names: &BTreeMap<i32, String>,
    functions: &FrameNames<'_>,
) -> GrowthStack {
    // The name of the process if the report has it, else that of the thread.
    let comm = names.get(&site.tgid).cloned().unwrap_or_else(|| lossy(&site.comm).0);
    GrowthStack {
        bytes: context.bytes(site.pages),
        pid: (site.tgid != 0).then_some(site.tgid),
        comm: (site.tgid != 0).then_some(comm),
        user_stack: (!site.user.is_empty())
            .then(|| site.user.iter().map(|frame| functions.of(site.tgid, frame)).collect()),
        kernel_stack: (!site.kernel.is_empty())
            .then(|| kernel_frames(context.findings, &site.kernel)),
    }
}

/// Names of frames. An address belongs to one process, an offset in a file is the same for all.
struct FrameNames<'a> {
    offsets: BTreeMap<(&'a str, u64), &'a Name>,
    ips: BTreeMap<(i32, String), &'a Name>,
}

impl<'a> FrameNames<'a> {
    fn new(context: ComposeContext<'a>) -> Self {
        let seq = context.account.seq;
        let mut names = Self { offsets: BTreeMap::new(), ips: BTreeMap::new() };
        let found = context.findings.user_names.range((seq, i32::MIN)..=(seq, i32::MAX));
        for ((_, pid), found) in found {
            let offsets = found.offsets.iter();
            names
                .offsets
                .extend(offsets.map(|(at, name)| ((at.build_id.as_str(), at.file_offset), name)));
            let ips = found.addresses.iter();
            names.ips.extend(ips.map(|(ip, name)| ((*pid, format!("{ip:#x}")), name)));
        }
        names
    }

    /// The frame with its name, if it has none yet.
    fn of(&self, pid: i32, frame: &Frame) -> Frame {
        let name = match frame {
            Frame { build_id: Some(build_id), file_offset: Some(offset), .. } => {
                self.offsets.get(&(build_id.as_str(), *offset))
            }
            Frame { ip: Some(ip), .. } => self.ips.get(&(pid, ip.clone())),
            _ => None,
        };
        let (Some(name), None) = (name, &frame.file) else {
            return frame.clone();
        };
        let Name { symbol, offset, file } = (*name).clone();
        Frame { symbol, offset, file, ..frame.clone() }
    }
}
