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
    let names = names.split('/').filter(|name| !name.is_empty());
    CgroupPath { id, names: names.map(|name| Name(name.as_bytes().to_vec())).collect(), truncated }
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
fn the_level_that_was_hit_is_that_of_the_oom_memcg() {
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
fn no_level_is_said_to_be_hit_where_paths_are_not_whole() {
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

#[test]
fn paths_that_userspace_found_serve_as_well() {
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
fn a_chain_longer_than_its_path_has_levels_without_a_name() {
    let chain = chain(&account(APP, &[path(APP, "/app", false)]));
    assert_eq!(paths(&chain), [Some("/app"), Some("/"), None, None]);
}

#[test]
fn a_global_kill_hits_no_level() {
    let mut account = account(APP, &[]);
    account.invocation.as_mut().unwrap().oom_memcg = None;
    account.levels.as_mut().unwrap().truncated = true;
    let report = report_on(&host(), &account);
    assert_eq!(report.oom_memcg, None);
    assert!(report.limit_chain_truncated);
    assert_eq!(hits(&report.limit_chain.unwrap()), [false; 4]);
}

#[test]
fn no_limit_is_said_and_not_a_number() {
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
fn the_second_counter_is_swap_on_v2_and_memory_and_swap_on_v1() {
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
fn what_was_left_is_told_where_there_is_a_limit_that_was_not_hit() {
    let account =
        account(POD, &[path(APP, "kubepods/pod/app", false), path(POD, "kubepods/pod", false)]);
    let room = chain(&account).iter().map(|level| level.headroom_bytes).collect::<Vec<_>>();
    assert_eq!(room, [Some(10 * 4096), None, Some(30 * 4096), None]);
}

#[test]
fn what_the_kernel_uses_itself_is_counted_apart_on_cgroup_v1_only() {
    let account = account(APP, &[]);
    for (memory_on_v2, usage, no_limit) in
        [(Some(false), Some(3 * 4096), true), (Some(true), None, false), (None, None, false)]
    {
        let host = Host { memory_on_v2, ..host() };
        let level = report_on(&host, &account).limit_chain.unwrap().remove(0);
        assert_eq!((level.kmem_usage_bytes, level.kmem_no_limit), (usage, no_limit));
    }
}
