//! Reports for the tests of the sinks, one per kind of invocation.

mod parts;

use self::parts::{
    candidate, cgroup, ineligible, level, ranked, report, stack, symbol, trigger, victim,
};
use crate::report::{
    Candidate, Cgroup, Constraint, GapReport, GfpMask, LimitLevel, LossReport, Missing, OomMemcg,
    OomReport, Outcome, Reason, Record, SCHEMA, Source, Tier, Trigger, Victim, WhyNot, lossy,
};

pub(super) const MIB: u64 = 1 << 20;
const POD: &str = "/kubepods/burstable/pod7c1f";
const CONTAINER: &str = "/kubepods/burstable/pod7c1f/ctr-app";

/// Every report with a name for its snapshots.
pub(super) fn all() -> Vec<(&'static str, Record)> {
    let reports = [
        ("memcg_kill", memcg_kill()),
        ("oom_group", oom_group()),
        ("global_kill", global_kill()),
        ("no_victim", no_victim()),
        ("victim_pending", victim_pending()),
        ("already_exiting", already_exiting()),
        ("hostile", hostile()),
        ("minimal", minimal()),
        ("huge", huge()),
    ];
    let reports = reports
        .into_iter()
        .map(|(name, report)| (name, Record::Oom(Box::new(report))));
    reports.chain([("gap", gap()), ("loss", loss())]).collect()
}

pub(super) fn memcg_kill() -> OomReport {
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
        LimitLevel {
            hit: true,
            ..level(POD, 512 * MIB, Some(512 * MIB))
        },
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
        ..java
    }];
    report
}

pub(super) fn oom_group() -> OomReport {
    let mut report = memcg_kill();
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.oom_group = Some(true);
        memcg.cgroup.path = Some(CONTAINER.to_owned());
    }
    let members = [("sidecar", 4260), ("worker", 4250)];
    let members = members.map(|(comm, pid)| Victim {
        anon_rss_bytes: Some(8 * MIB),
        file_rss_bytes: Some(MIB),
        ..victim(comm, pid, cgroup(4711, CONTAINER))
    });
    report.victims.extend(members);
    report.limit_chain = None;
    report
}

pub(super) fn global_kill() -> OomReport {
    let mut report = report(Outcome::Killed);
    report.reason = Some(Reason::Selection);
    report.constraint = Some(Constraint::None);
    report.message = Some("Out of memory".to_owned());
    report.totalpages = Some(4_063_232);
    let names = ["GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_ZERO"].map(str::to_owned);
    report.trigger = Some(Trigger {
        gfp_mask: Some(GfpMask {
            value: 0x14_0dca,
            names: names.to_vec(),
        }),
        order: Some(3),
        ..trigger("kswapd-helper", 77)
    });
    let tasks = (0..32_i32).map(|index| {
        let size = i64::from(3_000_000 / (index + 1));
        let parts = [size, 1_200, 3_000, i64::from(index), size / 400];
        candidate(
            &format!("postgres-{index}"),
            20_000 + index,
            parts,
            index % 3 * -100,
            4063,
        )
    });
    let mut tasks: Vec<Candidate> = tasks.collect();
    tasks.sort_by_key(|task| -task.points.unwrap_or(0));
    report.candidates = Some(ranked(10_000, tasks));
    report.victims = vec![Victim {
        chosen: true,
        anon_rss_bytes: Some(3_000_000 * 4096),
        ..victim(
            "postgres-0",
            20_000,
            cgroup(99, "/system.slice/postgresql.service"),
        )
    }];
    report
}

pub(super) fn no_victim() -> OomReport {
    let mut report = report(Outcome::NoVictim);
    report.constraint = Some(Constraint::Memcg);
    report.repeats = Some(23_648);
    report.repeats_until = "2026-11-23T09:21:10.300Z".parse().ok();
    report.trigger = Some(Trigger {
        kernel_stack: Some(stack(
            "out_of_memory mem_cgroup_out_of_memory memory_max_write vfs_write",
        )),
        user_stack: None,
        ..trigger("systemd", 1)
    });
    report.oom_memcg = Some(OomMemcg {
        cgroup: cgroup(4242, "/system.slice/cache.service"),
        usage_bytes: Some(60 * MIB),
        max_bytes: Some(48 * MIB),
        swap_no_limit: true,
        ..OomMemcg::default()
    });
    report.candidates = Some(ranked(
        1,
        vec![ineligible("cached", 812, WhyNot::OomScoreAdjMin)],
    ));
    report
}

pub(super) fn victim_pending() -> OomReport {
    let mut report = no_victim();
    report.outcome = Outcome::VictimPending;
    report.repeats = Some(1);
    report.candidates = None;
    report.trigger = Some(trigger("worker", 4250));
    report
}

pub(super) fn already_exiting() -> OomReport {
    let mut report = memcg_kill();
    report.outcome = Outcome::AlreadyExiting;
    report.limit_chain = None;
    report.victims = Vec::new();
    report
}

/// Names chosen to do harm, a path longer than any line, a fact of each kind missing.
pub(super) fn hostile() -> OomReport {
    let mut report = memcg_kill();
    let (comm, comm_hex) = lossy(b"\x1b]52;c;eA==\x07\n\xff\xfe");
    let path = b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7c1f0b52_5a3e_4f.\
        slice/cri-containerd-2b1f6f0b8c1d4e5fa6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f80910a1b.scope\
        /\x1b[2J\xe2\x80\xae/x\xc3";
    let (path, path_hex) = lossy(path);
    let place = Cgroup {
        id: None,
        path: Some(path),
        path_hex,
        path_truncated: true,
    };
    if let Some(victim) = report.victims.first_mut() {
        victim.comm = Some(comm.clone());
        victim.comm_hex.clone_from(&comm_hex);
        victim.cgroup = Some(place.clone());
    }
    if let Some(trigger) = &mut report.trigger {
        trigger.comm = Some("\u{202e}evil\u{9b}31m\r".to_owned());
        trigger.cgroup = Some(Cgroup {
            id: Some("18446744073709551615".into()),
            ..Cgroup::default()
        });
        trigger.kernel_stack = Some(vec![symbol("do_loop"); 60]);
    }
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.cgroup = place.clone();
    }
    if let Some(task) = report
        .candidates
        .iter_mut()
        .flat_map(|all| &mut all.list)
        .next()
    {
        task.comm = Some(comm);
        task.comm_hex = comm_hex;
    }
    for level in report.limit_chain.iter_mut().flatten() {
        level.cgroup = place.clone();
        level.swap_usage_bytes = Some(1023 * MIB + 1);
        level.high_no_limit = false;
    }
    let why =
        "this kernel has no BTF for it, and a very long explanation has to be wrapped somewhere";
    report.source.missing = ["trigger.user_stack", "victims.vpid", "oom_memcg.stat"]
        .map(|field| Missing {
            field: field.to_owned(),
            why: why.to_owned(),
        })
        .to_vec();
    report.source.drops = Some(7);
    report
}

/// What an old kernel's oom:mark_victim gives.
pub(super) fn minimal() -> OomReport {
    let mut report = OomReport::new(
        "00000000-0000000b".to_owned(),
        Outcome::Killed,
        Source::new(Tier::Tracepoint),
    );
    report.victims = vec![Victim {
        pid: 4242,
        comm: Some("java".to_owned()),
        ..Victim::default()
    }];
    report
}

/// A host with terabytes: numbers as wide as they get.
pub(super) fn huge() -> OomReport {
    let mut report = global_kill();
    let parts = [268_435_456, 33_554_432, 67_108_864, 134_217_728, 1_048_576];
    report.totalpages = Some(805_306_368);
    report.candidates = Some(ranked(
        40_000,
        vec![
            Candidate {
                drift_pages: Some(-123_456),
                points: Some(1_309_547_600),
                ..candidate("very-long-comm1", 4_194_304, parts, 1000, 805_306)
            },
            candidate("very-long-comm2", 4_194_303, parts, -999, 805_306),
        ],
    ));
    report
}

fn gap() -> Record {
    Record::Gap(GapReport {
        schema: SCHEMA,
        time: "2026-11-23T09:21:07Z".parse().ok(),
        host: None,
        boot_id: None,
        expected: 5,
        seen: 3,
        since: jiff::Timestamp::UNIX_EPOCH,
    })
}

fn loss() -> Record {
    Record::Loss(LossReport {
        schema: SCHEMA,
        host: None,
        boot_id: None,
        count: 12,
        first: jiff::Timestamp::UNIX_EPOCH,
        last: jiff::Timestamp::UNIX_EPOCH,
    })
}
