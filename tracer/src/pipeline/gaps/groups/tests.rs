//! Victims in groups, and what the groups' counters say.

use super::*;
use crate::{
    host::cgroupfs::kill_counter::Group,
    model::{
        events::{Chosen, End, Invocation, Memcg, Task},
        report::{Cgroup, OomMemcg, Outcome, Source, Tier},
    },
};

const READ_AT: [u64; 2] = [1_000_000_000, 3_000_000_000];

/// An invocation for the limit of group 7 at `/a`, whose victims lived in these groups.
fn kill(homes: &[Option<&str>], shots: u32) -> (Account, OomReport) {
    let end = End {
        result: true,
        chosen: Chosen::Task,
        kill_calls: 1,
        shots: Some(shots),
        victims: u32::try_from(homes.len()).unwrap(),
        selected: true,
    };
    let memcg = Memcg { id: Some(7), memory: None, swap: None, oom_group: None };
    let invocation = Invocation { oom_memcg: Some(memcg), ..invocation() };
    let account = Account { invocation: Some(invocation), end: Some(end), ..Account::default() };
    let mut report = OomReport::new(String::new(), Outcome::Killed, Source::new(Tier::Fentry));
    let cgroup = |path: &str| Cgroup { path: Some(path.to_owned()), ..Cgroup::default() };
    report.oom_memcg = Some(OomMemcg { cgroup: cgroup("/a"), ..OomMemcg::default() });
    report.victims =
        homes.iter().map(|home| Victim { cgroup: home.map(cgroup), ..Victim::default() }).collect();
    (account, report)
}

fn invocation() -> Invocation {
    let trigger = Task {
        tgid: 1,
        tid: 1,
        comm: crate::model::events::Name::default(),
        uid: 0,
        start_boottime_ns: None,
        oom_score_adj: None,
        cgroup_id: None,
    };
    Invocation {
        started_ns: 0,
        trigger,
        control: None,
        is_memcg: Some(true),
        oom_memcg: None,
        chosen: None,
        considered: 1,
        choice_made: true,
        nodemask: None,
        mems_allowed: None,
        message: None,
        kernel_stack: None,
        user_stack: None,
    }
}

/// After a first kill, which makes the group known, the kernel counts so many more while these are
/// seen. What was missed.
fn missed(is_hierarchical: bool, counted: u64, seen: &[(&[Option<&str>], u32)]) -> Option<u64> {
    let mut groups = GroupGaps::new(is_hierarchical);
    let (account, report) = kill(&[Some("/a")], 1);
    groups.saw(&account, &report);
    assert_eq!(groups.new_groups(), [Group { id: 7, path: "/a".to_owned() }]);
    assert_eq!(groups.check(7, Reading { kills: 1, at_ns: 0 }, Amid::Nothing), None);
    assert_eq!(groups.waiting(), []);
    for (homes, shots) in seen {
        let (account, report) = kill(homes, *shots);
        groups.saw(&account, &report);
    }
    let readings = READ_AT.map(|at_ns| Reading { kills: 1 + counted, at_ns });
    let gaps = readings.map(|reading| groups.check(7, reading, Amid::Nothing));
    assert_eq!(groups.waiting(), []);
    gaps.into_iter().flatten().map(|gap| gap.expected - gap.seen).next()
}

#[test]
fn kills_in_the_group_and_below_it_are_its_own() {
    assert_eq!(missed(true, 2, &[(&[Some("/a")], 1), (&[Some("/a/b/c")], 1)]), None);
    assert_eq!(missed(true, 1, &[(&[Some("/ab")], 1)]), Some(1));
    assert_eq!(missed(true, 3, &[(&[Some("/a")], 1), (&[Some("/b")], 1)]), Some(2));
}

#[test]
fn on_cgroup_v1_those_below_are_not() {
    assert_eq!(missed(false, 1, &[(&[Some("/a")], 1)]), None);
    assert_eq!(missed(false, 1, &[(&[Some("/a/b")], 1)]), Some(1));
}

#[test]
fn who_lived_somewhere_may_have_lived_there() {
    assert_eq!(missed(true, 1, &[(&[None], 1)]), None);
    // More calls than victims: a memory.oom.group, or records that were lost.
    assert_eq!(missed(true, 3, &[(&[Some("/a"), Some("/a")], 3)]), None);
    assert_eq!(missed(true, 1, &[(&[], 1)]), None);
}

#[test]
fn the_root_has_everybody() {
    let victim = |path: &str| Victim {
        cgroup: Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
        ..Victim::default()
    };
    assert!(may_live_in(&victim("/a"), "/", true));
    assert!(may_live_in(&victim("/"), "/", false));
    assert!(!may_live_in(&victim("/a"), "/", false));
}

#[test]
fn the_groups_that_were_over_their_limit_last_are_kept() {
    let mut groups = GroupGaps::new(true);
    for id in 0..=MAX_GROUPS as u64 {
        groups.n_reports = id;
        groups.watch(id, "/x");
    }
    let kept = groups.new_groups();
    assert_eq!(kept.len(), MAX_GROUPS);
    assert!(kept.iter().all(|group| group.id != 0));
    groups.forget(1);
    assert_eq!(groups.new_groups().len(), MAX_GROUPS - 1);
}
