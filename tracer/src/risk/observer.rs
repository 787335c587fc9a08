//! Reads the cgroups repeatedly and builds the report.

use std::{collections::BTreeMap, fs};

use jiff::{SignedDuration, Timestamp};

use super::{
    GrowthSource, RecorderSeen, Risk, RiskReport, SCHEMA,
    groups::{self, LimitedCgroup, LimitedCgroups},
    names::FunctionNames,
    next_victim,
    processes::{self, Process, Swap},
    recorders::{Open, Recorders},
    time_to_limit::{self, BATCH_BYTES, Sample},
    trend::{Read, Trend, trend},
};
use crate::{
    host::files::{CgroupMounts, Root},
    model::{
        recorded_growth::AllocationSite,
        report::{GrowthStack, lossy},
    },
};

/// Readings kept per cgroup: the width of a sparkline.
const MAX_READINGS: usize = 60;
/// Allocation sites per cgroup in the report.
const MAX_GROWING: usize = 5;

/// Keeps the readings and the names of functions from one report to the next.
#[derive(Debug)]
pub(crate) struct Observer {
    root: Root,
    mounts: CgroupMounts,
    pub(super) samples: BTreeMap<String, Vec<Sample>>,
    recorders: Option<Recorders>,
    names: FunctionNames,
    page_bytes: u64,
    /// The kernel updates memory.stat when the CPUs have this much to add, so it may lag behind by
    /// that.
    stat_error_bytes: u64,
}

/// The part of a reading that all cgroups share.
struct Host<'a> {
    time: Timestamp,
    at_ns: u64,
    swap: Swap,
    oom_groups: &'a [String],
    recorders: &'a [Open],
}

impl Observer {
    /// Observes the cgroups below these mounts.
    pub(crate) fn new(root: Root, mounts: CgroupMounts) -> Self {
        let stat = fs::read_to_string(root.path("/proc/stat")).unwrap_or_default();
        let is_cpu = |line: &&str| {
            line.strip_prefix("cpu")
                .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
        };
        let cpus = u64::try_from(stat.lines().filter(is_cpu).count()).unwrap_or_default().max(1);
        Self {
            root,
            mounts,
            samples: BTreeMap::new(),
            recorders: None,
            names: FunctionNames::default(),
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
            stat_error_bytes: cpus * BATCH_BYTES,
        }
    }

    /// Also reads growth recorders. Then every `at_ns` must be a time of `CLOCK_BOOTTIME`, which
    /// they use.
    #[must_use]
    pub(crate) fn with_recorders(self) -> Self {
        Self { recorders: Some(Recorders::default()), ..self }
    }

    /// Reads usage and limits at `at_ns`, a time of any monotonic clock, and drops the readings of
    /// removed cgroups.
    pub(crate) fn sample(&mut self, at_ns: u64) -> LimitedCgroups {
        let groups = groups::read(&self.root, &self.mounts);
        self.samples.retain(|path, _| groups.limited.iter().any(|group| group.path == *path));
        for group in &groups.limited {
            let samples = self.samples.entry(group.path.clone()).or_default();
            samples.push(sample(group, at_ns));
            if samples.len() > MAX_READINGS {
                samples.remove(0);
            }
        }
        groups
    }

    /// Whether the recorders have the growth of all wanted cgroups, so that one reading is enough.
    pub(crate) fn is_recorded(&mut self, at_ns: u64, wanted: impl Fn(&str) -> bool) -> bool {
        let open = self.open(at_ns);
        if open.is_empty() {
            return false;
        }
        let groups = groups::read(&self.root, &self.mounts);
        let mut wanted = groups.limited.iter().filter(|group| wanted(&group.path));
        wanted.all(|group| self.recorded(&open, group, &[sample(group, at_ns)]).is_some())
    }

    /// Takes another reading and builds the report from all readings.
    pub(crate) fn report(&mut self, at_ns: u64, wanted: impl Fn(&str) -> bool) -> RiskReport {
        let time = Timestamp::now();
        let swap = processes::swap(&self.root);
        let groups = self.sample(at_ns);
        // Opened after the reading: later charges make later points, which `trend` ignores.
        let recorders = self.open(at_ns);
        let oom_groups = &groups.oom_groups;
        let host = Host { time, at_ns, swap, oom_groups, recorders: &recorders };
        let wanted = groups.limited.iter().filter(|group| wanted(&group.path));
        let mut cgroups: Vec<Risk> = wanted.map(|group| self.risk(group, &host)).collect();
        cgroups.sort_by(|a, b| {
            a.urgency().total_cmp(&b.urgency()).then(b.share().total_cmp(&a.share()))
        });
        let recorder = seen(&host);
        drop(recorders);
        let mut stacks: Vec<&mut GrowthStack> =
            cgroups.iter_mut().flat_map(|risk| &mut risk.growing).collect();
        self.names.name(&mut stacks);
        let refused = self.recorders.as_ref().and_then(Recorders::refused);
        let recorder_unused = refused.map(str::to_owned);
        RiskReport {
            schema: SCHEMA,
            kind: "risk",
            time,
            boottime_ns: at_ns,
            recorder,
            recorder_unused,
            cgroups,
        }
    }

    fn open(&mut self, at_ns: u64) -> Vec<Open> {
        self.recorders.as_mut().map(|it| it.open(at_ns)).unwrap_or_default()
    }

    /// The growth of a cgroup, from the newest recorder that has it.
    fn recorded<'a>(
        &self,
        open: &'a [Open],
        group: &LimitedCgroup,
        readings: &[Sample],
    ) -> Option<(&'a Open, Trend)> {
        let (open, curve) = open.iter().find_map(|open| Some((open, open.curve(group)?)))?;
        let read = Read {
            readings,
            limit_bytes: group.limit_bytes,
            page_bytes: self.page_bytes,
            stat_error_bytes: self.stat_error_bytes,
        };
        Some((open, trend(&curve, read)?))
    }

    fn risk(&self, group: &LimitedCgroup, host: &Host<'_>) -> Risk {
        let readings = self.samples.get(&group.path).map_or(&[][..], Vec::as_slice);
        let tasks = processes::below(&self.root, &group.directory);
        let choice = next_victim::choose(&tasks, group.totalpages(host.swap));
        let recorded = self.recorded(host.recorders, group, readings);
        let (open, trend) = recorded.unzip();
        let samples = trend.as_ref().map_or(readings, |trend| &trend.samples);
        let history = trend.as_ref().map(|trend| trend.history.clone());
        let since = trend.as_ref().and_then(|trend| trend.growing_since_ns);
        Risk {
            path: group.path.clone(),
            usage_bytes: group.usage_bytes,
            limit_bytes: group.limit_bytes,
            headroom_bytes: group.limit_bytes.saturating_sub(group.usage_bytes),
            reclaimable_bytes: group.reclaimable_bytes,
            need_bytes: group.need_bytes(),
            source: if trend.is_some() { GrowthSource::Recorder } else { GrowthSource::Readings },
            growth_bytes_per_s: time_to_limit::rate(samples),
            usage_growth_bytes_per_s: time_to_limit::usage_rate(samples),
            growth_over_s: time_to_limit::time(samples),
            growth_kind: trend.as_ref().map(|trend| trend.shape.name()),
            growing_since: since.and_then(|since_ns| host.time(since_ns)),
            growing: open.map(|open| self.growing(open.sites(group), &tasks)).unwrap_or_default(),
            time_to_limit: time_to_limit::forecast(samples, group.limit_bytes),
            swap_headroom_bytes: group.swap_headroom(host.swap),
            pressure: group.pressure,
            oom_kills: group.oom_kills,
            next_victim: choice.map(|choice| choice.with_group(&group.path, host.oom_groups)),
            history: history
                .unwrap_or_else(|| readings.iter().map(|sample| sample.need_bytes).collect()),
        }
    }

    /// The allocation sites of running processes. Their frames have no names yet.
    fn growing(&self, sites: Vec<AllocationSite>, tasks: &[Process]) -> Vec<GrowthStack> {
        let stack = |site: AllocationSite| {
            let task = tasks.iter().find(|task| task.pid == site.tgid);
            let comm = task.map_or_else(|| lossy(&site.comm).0, |task| task.comm.clone());
            (task.is_some() || site.tgid == 0).then(|| GrowthStack {
                bytes: site.pages * self.page_bytes,
                pid: (site.tgid != 0).then_some(site.tgid),
                comm: (site.tgid != 0).then_some(comm),
                user_stack: (!site.user.is_empty()).then_some(site.user),
                kernel_stack: None,
            })
        };
        sites.into_iter().filter_map(stack).take(MAX_GROWING).collect()
    }
}

impl Host<'_> {
    /// Converts a time of `CLOCK_BOOTTIME` to wall-clock time.
    fn time(&self, at_ns: u64) -> Option<Timestamp> {
        let ago = i64::try_from(self.at_ns.checked_sub(at_ns)?).ok()?;
        self.time.checked_sub(SignedDuration::from_nanos(ago)).ok()
    }
}

fn sample(group: &LimitedCgroup, at_ns: u64) -> Sample {
    Sample { at_ns, usage_bytes: group.usage_bytes, need_bytes: group.need_bytes() }
}

fn seen(host: &Host<'_>) -> Option<RecorderSeen> {
    let newest = host.recorders.first()?.running;
    let others = host.recorders.len() - 1;
    Some(RecorderSeen {
        pid: newest.pid,
        since: host.time(newest.started_ns)?,
        above_percent: newest.above_percent,
        others: (others > 0).then_some(others),
    })
}
