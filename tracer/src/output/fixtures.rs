//! Reports for the tests of the sinks, one per kind of invocation.

mod extreme;
mod growth;
mod no_victim;
pub(crate) mod parts;

use self::no_victim::{
    already_exiting, no_victim, reclaimed, victim_already_exiting, victim_pending, will_free_mem,
};
use self::parts::{
    candidate, cgroup, ineligible, level, owner, ranked, report, stack, system, trigger, victim,
    who,
};
pub(crate) use self::{
    extreme::{hostile, huge, minimal},
    growth::grown,
};
use crate::model::report::{
    Candidate, Constraint, GapReport, GfpMask, LimitLevel, LossReport, OomMemcg, OomReport,
    Outcome, Reason, Record, RecordId, SCHEMA, Trigger, Victim, WhyNot,
};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const POD: &str = "/kubepods/burstable/pod7c1f";
pub(crate) const CONTAINER: &str = "/kubepods/burstable/pod7c1f/ctr-app";

/// Every report with a name for its snapshots.
pub(crate) fn all() -> Vec<(&'static str, Record)> {
    // Not an array: they are large.
    let reports = vec![
        ("memcg_kill", memcg_kill()),
        ("oom_group", oom_group()),
        ("global_kill", global_kill()),
        ("no_victim", no_victim()),
        ("victim_pending", victim_pending()),
        ("already_exiting", already_exiting()),
        ("will_free_mem", will_free_mem()),
        ("reclaimed", reclaimed()),
        ("victim_already_exiting", victim_already_exiting()),
        ("cpuset", constrained(Constraint::Cpuset)),
        ("sysrq", sysrq()),
        ("hostile", hostile()),
        ("minimal", minimal()),
        ("huge", huge()),
        ("grown", grown()),
        ("verdict", concluded(memcg_kill())),
    ];
    let records = reports.into_iter().map(|(name, report)| (name, Record::Oom(Box::new(report))));
    records.chain([("gap", gap()), ("loss", loss())]).collect()
}

pub(crate) fn memcg_kill() -> OomReport {
    let mut report = report(Outcome::Killed);
    report.reason = Some(Reason::Selection);
    report.constraint = Some(Constraint::Memcg);
    report.message = Some("Memory cgroup out of memory".to_owned());
    report.totalpages = Some(131_072);
    report.trigger = Some(trigger("worker", 4250));
    report.oom_memcg = Some(OomMemcg {
        cgroup: cgroup(4242, POD),
        usage_bytes: Some(512 * MIB),
        max_bytes: Some(512 * MIB),
        swap_usage_bytes: Some(0),
        swap_max_bytes: Some(0),
        oom_group: Some(false),
        ..OomMemcg::default()
    });
    report.limit_chain = Some(vec![
        level(CONTAINER, 505 * MIB, None),
        LimitLevel { hit: true, ..level(POD, 512 * MIB, Some(512 * MIB)) },
        level("/kubepods/burstable", 3210 * MIB, None),
        level("/kubepods", 5120 * MIB, Some(15 << 30)),
        level("/", 7 << 30, None),
    ]);
    report.candidates = Some(ranked(
        4,
        vec![
            candidate("java", 4242, [122_880, 4_633, 0, 0, 282], 986, 131),
            candidate("worker", 4250, [2_011, 310, 12, 0, 21], 986, 131),
            Candidate {
                drift_pages: Some(-3),
                points: Some(341),
                ..candidate("pause", 4100, [40, 300, 0, 0, 4], 0, 131)
            },
            ineligible("agent", 4300, WhyNot::OomScoreAdjMin),
        ],
    ));
    let java = victim("java", 4242, cgroup(4711, CONTAINER));
    report.victims = vec![Victim {
        chosen: true,
        vpid: Some(1),
        points: Some(256_961),
        marked_at_ns: Some(8_874_300_000),
        who: who(),
        owner: owner(),
        ..java
    }];
    report
}

pub(crate) fn oom_group() -> OomReport {
    let mut report = memcg_kill();
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.oom_group = Some(true);
        memcg.cgroup.path = Some(CONTAINER.to_owned());
    }
    let members = [("sidecar", 4260), ("worker", 4250)].map(|(comm, pid)| Victim {
        anon_rss_bytes: Some(8 * MIB),
        file_rss_bytes: Some(MIB),
        ..victim(comm, pid, cgroup(4711, CONTAINER))
    });
    report.victims.extend(members);
    report.limit_chain = None;
    report
}

pub(crate) fn global_kill() -> OomReport {
    let mut report = report(Outcome::Killed);
    report.reason = Some(Reason::Selection);
    report.constraint = Some(Constraint::None);
    report.message = Some("Out of memory".to_owned());
    report.totalpages = Some(4_063_232);
    report.system = Some(system());
    let names = ["GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_ZERO"].map(str::to_owned);
    report.trigger = Some(Trigger {
        gfp_mask: Some(GfpMask { value: 0x14_0dca, names: names.to_vec() }),
        order: Some(3),
        ..trigger("kswapd-helper", 77)
    });
    let candidates = (0..32_i32).map(|index| {
        let size = i64::from(3_000_000 / (index + 1));
        let parts = [size, 1_200, 3_000, i64::from(index), size / 400];
        candidate(&format!("postgres-{index}"), 20_000 + index, parts, index % 3 * -100, 4063)
    });
    let mut tasks: Vec<Candidate> = candidates.collect();
    tasks.sort_by_key(|task| -task.points.unwrap_or(0));
    report.candidates = Some(ranked(10_000, tasks));
    report.victims = vec![Victim {
        chosen: true,
        anon_rss_bytes: Some(3_000_000 * 4096),
        ..victim("postgres-0", 20_000, cgroup(99, "/system.slice/postgresql.service"))
    }];
    report
}

pub(crate) fn constrained(constraint: Constraint) -> OomReport {
    OomReport { constraint: Some(constraint), ..global_kill() }
}

pub(crate) fn sysrq() -> OomReport {
    let mut report = global_kill();
    report.reason = Some(Reason::Sysrq);
    report.trigger = Some(Trigger {
        order: Some(-1),
        user_stack: None,
        kernel_stack: Some(stack("out_of_memory moom_callback process_one_work")),
        ..trigger("kworker/0:1", 88)
    });
    report
}

/// The report with its verdict.
pub(crate) fn concluded(report: OomReport) -> OomReport {
    OomReport { verdict: Some(crate::compose::verdict::verdict(&report)), ..report }
}

fn gap() -> Record {
    Record::Gap(GapReport {
        schema: SCHEMA,
        number: RecordId::new("boot-0000000210f0a1b2-gap".to_owned()),
        time: "2026-11-23T09:21:07Z".parse().ok(),
        host: None,
        boot_id: None,
        cgroup: None,
        expected: 5,
        seen: 3,
        drops: Some(7),
        since: jiff::Timestamp::UNIX_EPOCH,
    })
}

fn loss() -> Record {
    Record::Loss(LossReport {
        tier: None,
        schema: SCHEMA,
        number: RecordId::new("boot-0000000210f0a1b3-loss".to_owned()),
        host: None,
        boot_id: None,
        stage: None,
        name: None,
        reason: None,
        count: 12,
        first: jiff::Timestamp::UNIX_EPOCH,
        last: jiff::Timestamp::UNIX_EPOCH,
    })
}
