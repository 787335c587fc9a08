//! The small reports: the plain one, changed so that one rule holds.

use crate::{
    model::report::{
        Constraint, Frame, Growth, GrowthPoint, GrowthRate, GrowthStack, LimitLevel, Node,
        OomReport, Outcome, Reaped, Reason, System, Trigger, Victim, WhyNot, Zone,
    },
    output::fixtures::{
        self, CONTAINER, MIB, POD,
        parts::{candidate, ineligible, level, ranked, stack},
    },
};

/// A report and the cause that it must have.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) cause: &'static str,
    pub(super) report: OomReport,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, cause, report| cases.push(Case { name, cause, report });
    for (outcome, cause) in [
        (Outcome::Disabled, "disabled"),
        (Outcome::Reclaimed, "reclaimed"),
        (Outcome::VictimPending, "victim_pending"),
        (Outcome::AlreadyExiting, "already_exiting"),
        (Outcome::WillFreeMem, "will_free_mem"),
        (Outcome::Unknown, "unknown"),
    ] {
        add("outcome", cause, OomReport { outcome, ..memcg() });
    }
    add("a driver freed memory", "reclaimed", silent(Outcome::Reclaimed));
    add("no __GFP_FS", "not_allowed", silent(Outcome::NotAllowed));
    add("hibernation", "suspended", silent(Outcome::Suspended));
    add("a victim asks again", "will_free_mem", silent(Outcome::WillFreeMem));
    add("all have -1000", "no_killable_task", unkillable());
    add("a key was pressed", "sysrq", fixtures::sysrq());
    add("memory.max was written", "limit_lowered", lowered());
    add("pieces are too small", "fragmentation", fragmented());
    add("cpuset, node 1 is free", "node_full", one_node(Constraint::Cpuset));
    add("policy, node 1 is free", "node_full", one_node(Constraint::MemoryPolicy));
    add("huge pages set aside", "hugetlb", huge_pages());
    add("sockets", "kernel_memory", of_kind(&[("kernel", 80), ("sock", 300), ("anon", 100)]));
    add("slab, before 5.18", "kernel_memory", of_kind(&[("slab_unreclaimable", 400)]));
    add("tmpfs", "shared_memory", of_kind(&[("anon", 100), ("file", 402), ("shmem", 400)]));
    add("unwritten", "page_cache", of_kind(&[("file", 450), ("file_dirty", 300), ("anon", 9)]));
    add("cached by v1", "page_cache", of_kind(&[("cache", 450), ("rss", 9)]));
    add("memory.min below", "protected_memory", protected());
    add("a pod's limit", "parent_limit", parents());
    add("the sysctl is set", "allocating_task", allocating());
    add("a weight of its own", "oom_score_adj", with_oom_score_adj(0, 900));
    add("the other is spared", "oom_score_adj", with_oom_score_adj(-800, 0));
    add("grown at once", "burst", grown("burst"));
    add("a level, then a jump", "burst", grown("plateau_then_jump"));
    add("grown steadily", "steady_growth", grown("steady"));
    add("grown and shrunk", "peaks", grown("sawtooth"));
    add("comes down again", "peaks", sawtooth(&[40, 400, 60, 150, 300, 420, 50, 512]));
    add(
        "comes down less each time",
        "steady_growth",
        sawtooth(&[40, 200, 60, 100, 200, 320, 200, 512]),
    );
    add("no shape", "one_process", grown("unknown"));
    add("plain", "one_process", memcg());
    add("v1, memory and swap", "one_process", v1());
    add("below the limit again", "one_process", below());
    add("a pool of workers", "many_processes", many());
    add("swap is full", "one_process", swapping());
    add("oom.group", "one_process", group());
    add("a victim that stays", "one_process", stuck());
    add("host, nothing stands out", "host_short", host());
    add("nothing stands out", "unknown", of_kind(&[("anon", 160), ("file", 160), ("kernel", 160)]));
    add("a pid and a name", "unknown", fixtures::minimal());
    cases
}

/// An invocation for the host that chose no process.
fn silent(outcome: Outcome) -> OomReport {
    OomReport {
        outcome,
        reason: None,
        constraint: None,
        candidates: None,
        victims: Vec::new(),
        ..host()
    }
}

/// One process holds most of a container's 512 MiB.
fn memcg() -> OomReport {
    let mut report = fixtures::memcg_kill();
    report.limit_chain = Some(vec![
        LimitLevel { hit: true, ..level(POD, 512 * MIB, Some(512 * MIB)) },
        level("/", 7 << 30, None),
    ]);
    report
}

fn v1() -> OomReport {
    let mut report = memcg();
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.usage_bytes = Some(511 * MIB);
        memcg.swap_usage_bytes = None;
        memcg.memsw_usage_bytes = Some(600 * MIB);
        memcg.memsw_max_bytes = Some(600 * MIB);
    }
    report
}

/// As often on v1: memory that was charged ahead was uncharged before the choice.
fn below() -> OomReport {
    let mut report = memcg();
    report.oom_memcg.iter_mut().for_each(|memcg| memcg.usage_bytes = Some(511 * MIB));
    report
}

fn unkillable() -> OomReport {
    let mut report = fixtures::memcg_kill();
    report.outcome = Outcome::NoVictim;
    report.victims.clear();
    report.candidates = Some(ranked(
        3,
        vec![
            ineligible("agent", 4300, WhyNot::OomScoreAdjMin),
            ineligible("audit", 4301, WhyNot::OomScoreAdjMin),
            ineligible("gone", 4302, WhyNot::OomSkip),
        ],
    ));
    report
}

fn lowered() -> OomReport {
    let mut report = memcg();
    report.trigger = Some(Trigger {
        kernel_stack: Some(stack("out_of_memory mem_cgroup_out_of_memory memory_max_write")),
        ..fixtures::parts::trigger("systemd", 1)
    });
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.max_bytes = Some(400 * MIB);
    }
    report
}

/// memory.stat in MiB, and no candidate of any size.
fn of_kind(stat: &[(&str, u64)]) -> OomReport {
    let mut report = memcg();
    let items = stat.iter().map(|(name, size)| ((*name).to_owned(), size * MIB));
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.stat = Some(items.collect());
    }
    report.candidates = Some(ranked(1, vec![candidate("java", 4242, [900, 20, 0, 0, 9], 0, 131)]));
    report
}

fn protected() -> OomReport {
    let mut report = of_kind(&[("anon", 220), ("file", 200), ("file_dirty", 10)]);
    let own = LimitLevel { min_bytes: Some(300 * MIB), ..level(CONTAINER, 505 * MIB, None) };
    report.limit_chain.iter_mut().for_each(|chain| chain.insert(0, own.clone()));
    report
}

fn parents() -> OomReport {
    let mut report = memcg();
    let own = LimitLevel {
        headroom_bytes: Some(38 * MIB),
        ..level(CONTAINER, 474 * MIB, Some(512 * MIB))
    };
    report.limit_chain.iter_mut().for_each(|chain| chain.insert(0, own.clone()));
    report
}

fn allocating() -> OomReport {
    OomReport { reason: Some(Reason::AllocatingTask), candidates: None, ..memcg() }
}

/// Two of similar size: the smaller one was chosen because of an oom_score_adj.
fn with_oom_score_adj(adj_of_postgres: i32, adj_of_java: i32) -> OomReport {
    let mut report = memcg();
    report.candidates = Some(ranked(
        2,
        vec![
            candidate("java", 4242, [50_000, 100, 0, 0, 120], adj_of_java, 131),
            candidate("postgres", 77, [70_000, 100, 0, 0, 150], adj_of_postgres, 131),
        ],
    ));
    report
}

fn grown(kind: &str) -> OomReport {
    let rate = GrowthRate { last_minute: Some(2 * 1_048_576), whole: Some(700_000) };
    let growth = Growth {
        since: None,
        rate_bytes_per_s: Some(rate),
        kind: Some(kind.to_owned()),
        curve: Vec::new(),
        stacks: Vec::new(),
        unwound_share: None,
    };
    OomReport { growth: Some(growth), ..memcg() }
}

/// Usage in MiB, with its allocation sites.
fn sawtooth(usages: &[u64]) -> OomReport {
    let mut report = grown("sawtooth");
    if let Some(growth) = &mut report.growth {
        growth.curve = usages
            .iter()
            .zip(1..)
            .map(|(usage, t_ns)| GrowthPoint {
                t_ns,
                usage_bytes: usage * MIB,
                limit_bytes: Some(512 * MIB),
            })
            .collect();
        growth.stacks =
            vec![allocated(300, &["memset", "parse", "handle", "main"]), allocated(90, &["log"])];
    }
    report
}

fn allocated(mib: u64, functions: &[&str]) -> GrowthStack {
    let frame = |name: &&str| Frame { symbol: Some((*name).to_owned()), ..Frame::default() };
    GrowthStack {
        bytes: mib * MIB,
        pid: Some(4242),
        comm: Some("java".to_owned()),
        user_stack: Some(functions.iter().map(frame).collect()),
        kernel_stack: None,
    }
}

fn many() -> OomReport {
    let mut report = memcg();
    let workers = (0..20_i64).map(|index| {
        let parts = [6_400 - index, 100, 0, 0, 30];
        candidate("worker", 5000 + i32::try_from(index).unwrap_or(0), parts, 0, 131)
    });
    report.candidates = Some(ranked(20, workers.collect()));
    report
}

fn swapping() -> OomReport {
    let mut report = memcg();
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.swap_usage_bytes = Some(64 * MIB);
        memcg.swap_max_bytes = Some(64 * MIB);
    }
    report
}

fn group() -> OomReport {
    OomReport { limit_chain: None, ..fixtures::oom_group() }
}

fn stuck() -> OomReport {
    let mut report = memcg();
    report.victims.iter_mut().for_each(|victim| victim.stuck = true);
    report
}

/// A host on which each of many processes has a little memory.
fn host() -> OomReport {
    let mut report = fixtures::global_kill();
    let small = (0..3).map(|index| candidate("app", 900 + index, [90_000, 0, 0, 0, 90], 0, 4063));
    report.candidates = Some(ranked(3, small.collect()));
    report.limit_chain =
        Some(vec![level("/user.slice", 400 * MIB, None), level("/", 9 << 30, None)]);
    report
}

/// The figures were read 1 ms after the entry; the victim was marked after 2 ms and had exited
/// after 5 ms.
fn at_the_moment(mut report: OomReport) -> OomReport {
    let start = report.boottime_ns.unwrap_or(0);
    report.system = report.system.map(|system| System { age_ns: Some(1_000_000), ..system });
    report.victims = vec![Victim {
        pid: 900,
        comm: Some("app".to_owned()),
        chosen: true,
        marked_at_ns: Some(start + 2_000_000),
        freed_after_ns: Some(3_000_000),
        reaped: Some(Reaped { started_after_ns: Some(3_500_000), ..Reaped::default() }),
        ..Victim::default()
    }];
    report
}

fn zone(free: u64) -> Zone {
    Zone {
        name: "Normal".to_owned(),
        free_bytes: free * MIB,
        min_bytes: 48 * MIB,
        low_bytes: 60 * MIB,
        high_bytes: 72 * MIB,
        managed_bytes: 7800 * MIB,
    }
}

fn node(node: u32, free: u64) -> Node {
    Node { node, free_bytes: free * MIB, zones: vec![zone(free)] }
}

fn fragmented() -> OomReport {
    let mut report = at_the_moment(host());
    let system = report.system.take().unwrap_or_default();
    report.system = Some(System { nodes: Some(vec![node(0, 90)]), ..system });
    report
}

fn one_node(constraint: Constraint) -> OomReport {
    let mut report = at_the_moment(host());
    report.constraint = Some(constraint);
    report.mems_allowed = Some("0".to_owned());
    report.nodemask = Some("0".to_owned());
    let system = report.system.take().unwrap_or_default();
    report.system = Some(System { nodes: Some(vec![node(0, 31), node(1, 3060)]), ..system });
    report.trigger = report.trigger.map(|trigger| Trigger { order: Some(0), ..trigger });
    report
}

fn huge_pages() -> OomReport {
    let mut report = host();
    report.system =
        report.system.map(|system| System { hugetlb_bytes: Some(9000 * MIB), ..system });
    report
}
