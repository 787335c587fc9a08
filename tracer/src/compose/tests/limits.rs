//! The memcg whose limit was hit, and the limits up to the root.

use super::{Findings, compose, kill, parts::host};
use crate::model::{
    account::InvocationAccount,
    events::{CgroupPath, Counter, Level, Levels, Memcg, Name},
    host::Host,
    report::{LimitLevel, OomReport},
};

/// `PAGE_COUNTER_MAX` with 4 KiB pages.
const NO_LIMIT: u64 = i64::MAX.unsigned_abs() / 4096;
/// Cgroups of "/kubepods/pod/app", the root first.
const ROOT: u64 = 1;
const KUBEPODS: u64 = 2;
const POD: u64 = 3;
const APP: u64 = 4;

fn path(id: u64, names: &str, truncated: bool) -> CgroupPath {
    let parts = names.split('/').filter(|name| !name.is_empty());
    CgroupPath { id, names: parts.map(|name| Name(name.as_bytes().to_vec())).collect(), truncated }
}

fn level(max: u64) -> Level {
    Level {
        memory: Counter { usage: 10, max },
        high: NO_LIMIT,
        low: 0,
        min: NO_LIMIT,
        swap: Some(Counter { usage: 1, max: NO_LIMIT }),
        kmem: Some(Counter { usage: 3, max: NO_LIMIT }),
    }
}

/// A kill in app by the limit of `oom_memcg`.
fn account(oom_memcg: u64, paths: &[CgroupPath]) -> InvocationAccount {
    let mut account = kill();
    account.invocation.as_mut().unwrap().oom_memcg = Some(Memcg {
        id: Some(oom_memcg),
        memory: Some(Counter { usage: 130, max: 128 }),
        swap: Some(Counter { usage: 2, max: 3 }),
        oom_group: Some(false),
    });
    account.levels = Some(Levels {
        cgroup_id: APP,
        list: [20, 30, 40, NO_LIMIT].map(level).to_vec(),
        truncated: false,
    });
    account.paths = paths.iter().map(|path| (path.id, path.clone())).collect();
    account
}

fn report_on(host: &Host, account: &InvocationAccount) -> OomReport {
    compose(account, host, &Findings::default())
}

fn chain(account: &InvocationAccount) -> Vec<LimitLevel> {
    report_on(&host(), account).limit_chain.unwrap()
}

fn hits(chain: &[LimitLevel]) -> Vec<bool> {
    chain.iter().map(|level| level.hit).collect()
}

fn paths(chain: &[LimitLevel]) -> Vec<Option<&str>> {
    chain.iter().map(|level| level.cgroup.path.as_deref()).collect()
}

#[test]
fn hit_level_is_level_of_oom_memcg() {
    let app = path(APP, "/kubepods/pod/app", false);
    for (oom_memcg, its_path, hit) in [
        (APP, "/kubepods/pod/app", 0),
        (POD, "/kubepods/pod", 1),
        (KUBEPODS, "/kubepods", 2),
        (ROOT, "/", 3),
    ] {
        let known = [app.clone(), path(oom_memcg, its_path, false)];
        let chain = chain(&account(oom_memcg, &known));
        let expected: Vec<bool> = (0..4).map(|index| index == hit).collect();
        assert_eq!(hits(&chain), expected, "{its_path}");
        let all = ["/kubepods/pod/app", "/kubepods/pod", "/kubepods", "/"];
        assert_eq!(paths(&chain), all.map(Some));
        let ids: Vec<bool> = chain.iter().map(|level| level.cgroup.id.is_some()).collect();
        assert_eq!(ids, [true, false, false, false]);
    }
}

#[test]
fn hit_level_is_unknown_with_truncated_paths() {
    let app = path(APP, "/kubepods/pod/app", false);
    let cut = path(APP, "/pod/app", true);
    let pod = path(POD, "/kubepods/pod", false);
    for known in
        [vec![cut.clone(), pod.clone()], vec![app, path(POD, "/pod", true)], vec![pod], vec![]]
    {
        let chain = chain(&account(POD, &known));
        assert_eq!(hits(&chain), [false; 4]);
    }
    // The leaf's own limit needs no path; its ancestors' names are not guessed from half a path.
    let chain = chain(&account(APP, &[cut]));
    assert_eq!(hits(&chain), [true, false, false, false]);
    assert_eq!(paths(&chain), [Some("/pod/app"), None, None, None]);
    assert!(chain[0].cgroup.path_truncated);
}

/// Processes of a container chose the names that are left, for example those of another container.
#[test]
fn path_that_was_cut_has_no_owner() {
    let name = format!("/docker/{}/x.scope", "ab".repeat(32));
    for is_cut in [false, true] {
        let report = report_on(&host(), &account(APP, &[path(APP, &name, is_cut)]));
        let owner = report.oom_memcg.unwrap().owner;
        assert_eq!(owner.container.is_none(), is_cut);
        assert_eq!(owner.unit, None);
    }
    let report = report_on(&host(), &account(APP, &[path(APP, "/a.slice/x.scope", true)]));
    let owner = report.oom_memcg.unwrap().owner;
    assert_eq!((owner.unit, owner.slice), (None, None));
}

#[test]
fn hit_level_is_found_by_paths_of_userspace() {
    let mut findings = Findings::default();
    let app = "/kubepods/pod/app".to_owned();
    findings.cgroup_paths.insert(APP, app.clone());
    findings.cgroup_paths.insert(KUBEPODS, "/kubepods".to_owned());
    let report = compose(&account(KUBEPODS, &[]), &host(), &findings);
    let chain = report.limit_chain.unwrap();
    assert_eq!(hits(&chain), [false, false, true, false]);
    let expected = [&app, "/kubepods/pod", "/kubepods", "/"];
    assert_eq!(paths(&chain), expected.map(Some));
}

#[test]
fn levels_beyond_the_path_have_no_name() {
    let chain = chain(&account(APP, &[path(APP, "/app", false)]));
    assert_eq!(paths(&chain), [Some("/app"), Some("/"), None, None]);
}

#[test]
fn global_kill_hits_no_level() {
    let mut account = account(APP, &[]);
    account.invocation.as_mut().unwrap().oom_memcg = None;
    account.levels.as_mut().unwrap().truncated = true;
    let report = report_on(&host(), &account);
    assert_eq!(report.oom_memcg, None);
    assert!(report.limit_chain_truncated);
    assert_eq!(hits(&report.limit_chain.unwrap()), [false; 4]);
}

#[test]
fn unlimited_counter_has_flag_and_no_number() {
    let chain = chain(&account(APP, &[]));
    let (leaf, root) = (&chain[0], &chain[3]);
    assert_eq!((leaf.max_bytes, leaf.no_limit), (Some(20 * 4096), false));
    assert_eq!((root.max_bytes, root.no_limit), (None, true));
    assert_eq!((leaf.high_bytes, leaf.high_no_limit), (None, true));
    assert_eq!((leaf.low_bytes, leaf.low_no_limit), (Some(0), false));
    assert_eq!((leaf.min_bytes, leaf.min_no_limit), (None, true));
    assert_eq!((leaf.swap_usage_bytes, leaf.swap_no_limit), (Some(4096), true));
    for (max, bytes) in
        [(NO_LIMIT - 1, Some((NO_LIMIT - 1) * 4096)), (NO_LIMIT, None), (u64::MAX, None)]
    {
        let mut account = account(APP, &[]);
        let memcg = account.invocation.as_mut().unwrap().oom_memcg.as_mut();
        memcg.unwrap().memory = Some(Counter { usage: 0, max });
        let memcg = report_on(&host(), &account).oom_memcg.unwrap();
        assert_eq!((memcg.max_bytes, memcg.no_limit), (bytes, bytes.is_none()));
    }
}

#[test]
fn second_counter_is_swap_on_v2_and_memsw_on_v1() {
    let account = account(APP, &[]);
    for (memory_on_v2, swap, memsw) in [
        (Some(true), Some(3 * 4096), None),
        (Some(false), None, Some(3 * 4096)),
        (None, None, None),
    ] {
        let host = Host { memory_on_v2, ..host() };
        let report = report_on(&host, &account);
        let memcg = report.oom_memcg.unwrap();
        assert_eq!((memcg.swap_max_bytes, memcg.memsw_max_bytes), (swap, memsw));
        let leaf = &report.limit_chain.unwrap()[0];
        let flags = (leaf.swap_no_limit, leaf.memsw_no_limit);
        assert_eq!(flags, (swap.is_some(), memsw.is_some()));
    }
}

#[test]
fn headroom_is_known_for_limits_that_were_not_hit() {
    let account =
        account(POD, &[path(APP, "kubepods/pod/app", false), path(POD, "kubepods/pod", false)]);
    let room = chain(&account).iter().map(|level| level.headroom_bytes).collect::<Vec<_>>();
    assert_eq!(room, [Some(10 * 4096), None, Some(30 * 4096), None]);
}

#[test]
fn kmem_is_reported_on_cgroup_v1_only() {
    let account = account(APP, &[]);
    for (memory_on_v2, usage, no_limit) in
        [(Some(false), Some(3 * 4096), true), (Some(true), None, false), (None, None, false)]
    {
        let host = Host { memory_on_v2, ..host() };
        let level = report_on(&host, &account).limit_chain.unwrap().remove(0);
        assert_eq!((level.kmem_usage_bytes, level.kmem_no_limit), (usage, no_limit));
    }
}
