//! Composes the records about what was lost and what was not seen. Pure.

use super::{fact_store::FactStore, gaps::Gap};
use crate::{
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{
        host::Host,
        record_id,
        report::{
            Cgroup, GapReport, LossReason, LossReport, LossStage, Record, RecordId, SCHEMA, Tier,
        },
    },
};

/// Records that were lost for one reason.
#[derive(Default)]
pub(super) struct LostRecords {
    pub stage: Option<LossStage>,
    pub name: Option<String>,
    pub reason: Option<LossReason>,
    pub count: u64,
}

impl LostRecords {
    /// The record of this loss, which was first and last detected at these times, `CLOCK_BOOTTIME`
    /// ns.
    pub(super) fn record(self, host: &Host, facts: &FactStore, detected_ns: [u64; 2]) -> Record {
        let Self { stage, name, reason, count } = self;
        let [_, last_ns] = detected_ns;
        let what = (stage, reason, name.as_deref());
        let id = record_id::loss(host.boot_id.as_deref(), last_ns, what);
        let [first, last] = detected_ns.map(|ns| facts.time(host, ns));
        Record::Loss(LossReport {
            schema: SCHEMA,
            number: RecordId::new(id),
            tier: (host.tier == Tier::Kmsg).then_some(Tier::Kmsg),
            host: host.hostname.clone(),
            boot_id: host.boot_id.clone(),
            stage,
            name,
            reason,
            count,
            first,
            last,
        })
    }
}

/// The record of a gap, in the counter of the host or of a cgroup.
pub(super) fn gap(
    host: &Host,
    facts: &FactStore,
    gap: Gap,
    cgroup: Option<CountedCgroup>,
) -> Record {
    let Gap { expected, seen, drops, since_ns, at_ns } = gap;
    let cgroup_id = cgroup.as_ref().map(|cgroup| cgroup.id);
    let id = record_id::gap(host.boot_id.as_deref(), at_ns, cgroup_id);
    Record::Gap(GapReport {
        schema: SCHEMA,
        number: RecordId::new(id),
        time: Some(facts.time(host, at_ns)),
        host: host.hostname.clone(),
        boot_id: host.boot_id.clone(),
        cgroup: cgroup.map(|CountedCgroup { id, path }| Cgroup {
            id: Some(id.to_string()),
            path: Some(path),
            ..Cgroup::default()
        }),
        expected,
        seen,
        drops: Some(drops),
        since: facts.time(host, since_ns),
    })
}
