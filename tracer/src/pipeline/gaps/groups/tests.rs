//! Victims in groups, and the counters of the groups.

use super::{GroupGaps, MAX_GROUPS, Reading, may_live_in};
use crate::{
    host::cgroupfs::kill_counter::CountedCgroup,
    model::{
        account::{Account, InvocationAccount},
        events::{
            Chosen, End, Invocation,
            samples::{invocation, memcg, task},
        },
        report::{Cgroup, OomMemcg, OomReport, Outcome, Source, Tier, Victim},
    },
    pipeline::assemble::InFlight,
};

const READ_AT: [u64; 2] = [1_000_000_000, 3_000_000_000];

/// An invocation for the limit of group 7 at `/a`, whose victims lived in these groups.
fn kill(homes: &[Option<&str>], oom_kill_calls: u32) -> (Account, OomReport) {
    let end = End {
        result: true,
        chosen: Chosen::Task,
        kill_calls: 1,
        oom_kill_calls: Some(oom_kill_calls),
        victims: u32::try_from(homes.len()).unwrap(),
        selected: true,
    };
    let account = InvocationAccount {
        invocation: Some(Invocation { oom_memcg: Some(memcg(7)), ..invocation(task(1)) }),
        end: Some(end),
        ..InvocationAccount::default()
    };
    let mut report = OomReport::new(String::new(), Outcome::Killed, Source::new(Tier::Fentry));
    let cgroup = |path: &str| Cgroup { path: Some(path.to_owned()), ..Cgroup::default() };
    report.oom_memcg = Some(OomMemcg { cgroup: cgroup("/a"), ..OomMemcg::default() });
    report.victims =
        homes.iter().map(|home| Victim { cgroup: home.map(cgroup), ..Victim::default() }).collect();
    (account.into(), report)
}

/// A first kill makes the group known. Then the kernel counts `counted` more while `seen` are
/// reported. Returns the number of missed kills.
fn missed(is_hierarchical: bool, counted: u64, seen: &[(&[Option<&str>], u32)]) -> Option<u64> {
    let mut groups = GroupGaps::new(is_hierarchical);
    let (account, report) = kill(&[Some("/a")], 1);
    groups.add(&account, &report);
    assert_eq!(groups.new_groups(), [CountedCgroup { id: 7, path: "/a".to_owned() }]);
    assert_eq!(groups.check(7, Reading { kills: 1, at_ns: 0 }, InFlight::Nothing), None);
    assert_eq!(groups.waiting(), []);
    for (homes, calls) in seen {
        let (account, report) = kill(homes, *calls);
        groups.add(&account, &report);
    }
    let readings = READ_AT.map(|at_ns| Reading { kills: 1 + counted, at_ns });
    let gaps = readings.map(|reading| groups.check(7, reading, InFlight::Nothing));
    assert_eq!(groups.waiting(), []);
    gaps.into_iter().flatten().map(|gap| gap.expected - gap.seen).next()
}

#[test]
fn group_on_v2_counts_kills_in_and_below_it() {
    assert_eq!(missed(true, 2, &[(&[Some("/a")], 1), (&[Some("/a/b/c")], 1)]), None);
    assert_eq!(missed(true, 1, &[(&[Some("/ab")], 1)]), Some(1));
    assert_eq!(missed(true, 3, &[(&[Some("/a")], 1), (&[Some("/b")], 1)]), Some(2));
}

#[test]
fn group_on_v1_counts_no_kills_below_it() {
    assert_eq!(missed(false, 1, &[(&[Some("/a")], 1)]), None);
    assert_eq!(missed(false, 1, &[(&[Some("/a/b")], 1)]), Some(1));
}

#[test]
fn victim_without_path_may_have_lived_in_the_group() {
    assert_eq!(missed(true, 1, &[(&[None], 1)]), None);
    // More calls than victims: a memory.oom.group, or records that were lost.
    assert_eq!(missed(true, 3, &[(&[Some("/a"), Some("/a")], 3)]), None);
    assert_eq!(missed(true, 1, &[(&[], 1)]), None);
}

#[test]
fn root_group_contains_every_victim() {
    let victim = |path: &str| Victim {
        cgroup: Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
        ..Victim::default()
    };
    assert!(may_live_in(&victim("/a"), "/", true));
    assert!(may_live_in(&victim("/"), "/", false));
    assert!(!may_live_in(&victim("/a"), "/", false));
}

#[test]
fn groups_over_their_limit_last_are_kept() {
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
