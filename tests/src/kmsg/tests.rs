//! The parser on logs of real kernels (tests/fixtures/kmsg).

use super::*;

macro_rules! log {
    ($name:literal) => {
        Log::parse(include_str!(concat!("../../fixtures/kmsg/", $name, ".txt")))
    };
}

#[test]
fn block_of_every_kernel_is_complete() {
    let logs = [
        ("5.10", log!("5.10-memcg-v2")),
        ("6.1", log!("6.1-memcg-v2")),
        ("6.12", log!("6.12-memcg-v2")),
        ("6.18", log!("6.18-memcg-v2")),
        ("7.3", log!("7.3-memcg-v2")),
    ];
    for (kernel, log) in logs {
        assert_eq!((log.blocks.len(), log.n_invocations()), (1, 1), "{kernel}");
        let block = &log.blocks[0];
        assert_eq!(block.trigger.gfp_names, ["GFP_KERNEL"], "{kernel}");
        assert_eq!(block.counters["memory"].limit_kib, 49152, "{kernel}");
        assert_eq!(block.stat_path.as_deref(), Some("/pod.slice/ctr1"), "{kernel}");
        assert!(block.stat["anon"] > 40 << 20, "{kernel}");
        assert_eq!(block.tasks.len(), 3, "{kernel}");
        assert_eq!(block.kills.len(), 1, "{kernel}");
        let summary = block.summary.as_ref().unwrap();
        assert_eq!(summary.oom_memcg.as_deref(), Some("/pod.slice/ctr1"), "{kernel}");
        assert_eq!(summary.pid, block.kills[0].tid, "{kernel}");
        assert_eq!(block.trigger.tid, Some(summary.pid), "{kernel}");
    }
}

#[test]
fn header_is_read_completely() {
    let log = log!("7.3-global");
    let expected = Trigger {
        comm: "hog".into(),
        tid: Some(126),
        gfp_mask: 0x14_0dca,
        gfp_names: ["GFP_HIGHUSER_MOVABLE", "__GFP_ZERO", "__GFP_COMP"].map(String::from).into(),
        order: 0,
        oom_score_adj: 300,
    };
    assert_eq!(log.blocks[0].trigger, expected);
}

#[test]
fn global_oom_has_no_oom_memcg() {
    for log in [log!("5.10-global"), log!("6.1-global"), log!("6.12-global"), log!("6.18-global")] {
        let summary = log.blocks[0].summary.as_ref().unwrap();
        assert_eq!((summary.constraint.as_str(), &summary.oom_memcg), ("NONE", &None));
        assert_eq!(log.kills().count(), 1);
        assert!(log.blocks[0].counters.is_empty());
        assert!(log.blocks[0].ram_pages > log.blocks[0].reserved_pages);
    }
}

#[test]
fn task_table_of_either_layout_is_read() {
    let short = &log!("5.10-memcg-v2").blocks[0].tasks[2];
    let expected = TaskRow {
        tid: 95,
        tgid: 95,
        uid: 0,
        total_vm: 51725,
        rss: 12370,
        rss_parts: None,
        pgtables_bytes: 135_168,
        swapents: 0,
        oom_score_adj: 100,
        comm: "hog".into(),
    };
    assert_eq!(short, &expected);

    let long = &log!("7.3-memcg-v2").blocks[0].tasks[1];
    assert_eq!(long.rss_parts, Some([13, 1, 347]));
    assert_eq!((long.tgid, long.uid, long.oom_score_adj, long.rss), (116, 1234, 500, 361));
}

#[test]
fn kill_line_is_read_completely() {
    let expected = Kill {
        message: "Memory cgroup out of memory".into(),
        tid: 118,
        comm: "hog".into(),
        uid: 0,
        total_vm_kib: 206_908,
        rss_kib: [48780, 4, 700],
        pgtables_kib: 140,
        oom_score_adj: 100,
    };
    assert_eq!(log!("7.3-memcg-v2").blocks[0].kills, [expected]);
}

#[test]
fn member_of_group_is_counted_once() {
    for log in [log!("5.10-oom-group"), log!("6.1-oom-group"), log!("7.3-oom-group")] {
        assert!(log.blocks[0].is_group);
        assert_eq!(log.blocks[0].kills.len(), 2);
        assert!(log.bare_kills.is_empty());
    }
}

#[test]
fn name_with_words_of_the_kernel_is_read() {
    let kill = lines::kill(
        "Out of memory: Killed process 5 (a) total-vm:1) total-vm:8kB, anon-rss:4kB, \
         file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:4kB oom_score_adj:-5",
    );
    assert_eq!(kill.unwrap().comm, "a) total-vm:1");
    let summary = lines::summary(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,\
         global_oom,task_memcg=/x,task=a,pid=1,pid=2,uid=3",
    );
    let summary = summary.unwrap();
    assert_eq!((summary.comm.as_str(), summary.pid), ("a,pid=1", 2));
}

#[test]
fn kill_without_block_is_counted() {
    let log = Log::parse(
        "[    1.0] Memory cgroup out of memory: Killed process 5 (a) total-vm:8kB, \
         anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:4kB oom_score_adj:0\n\
         [    3.0] oom_reaper: reaped process 5 (a), now anon-rss:0kB, file-rss:0kB",
    );
    assert_eq!((log.bare_kills.len(), log.n_invocations()), (1, 1));
    assert_eq!(log.reaped, [Reaped { tid: 5, comm: "a".into() }]);
}

#[test]
fn name_with_newline_does_not_end_its_line() {
    let log = Log::parse(
        "6,1,1,-;a\\x0ab invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=1\n\
         6,2,1,-;CPU: 0 PID: 7 Comm: a\\x0ab Not tainted\n\
         6,3,1,-;anon 1\\x0afile 2\n\
         6,4,1,-;[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n\
         6,5,1,-;[      7]     0     7      567      361    40960        0             1 a\\x0ab\n\
         6,6,1,-;Memory cgroup out of memory: Killed process 7 (a\\x0ab) total-vm:8kB, anon-rss:4kB, \
         file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:4kB oom_score_adj:0",
    );
    let block = &log.blocks[0];
    assert_eq!((block.trigger.comm.as_str(), block.trigger.tid), ("a\nb", Some(7)));
    assert_eq!(block.tasks[0].comm, "a\nb");
    assert_eq!(block.kills[0].comm, "a\nb");
    assert_eq!(log.kill_lines, [7]);
}

#[test]
fn kill_belongs_to_block_without_summary() {
    let block = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
         [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n\
         [      7]     0     7      567      361    40960        0             1 a\n";
    let kill = |tid: u32| {
        format!(
            "{block}Memory cgroup out of memory: Killed process {tid} (a) total-vm:8kB, \
             anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:4kB oom_score_adj:0"
        )
    };
    assert_eq!(Log::parse(&kill(7)).blocks[0].kills.len(), 1);
    assert_eq!(Log::parse(&kill(8)).bare_kills.len(), 1);
}

#[test]
fn nodes_are_read_from_lists_and_zones() {
    let summary = |nodes: &str| {
        lines::summary(&format!(
            "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask={nodes},cpuset=/a,mems_allowed=0-1,3,\
             global_oom,task_memcg=/x,task=a,pid=1,uid=3"
        ))
        .unwrap()
    };
    assert_eq!(summary("(null)").nodemask, None);
    assert_eq!(summary("1").nodemask, Some(vec![1]));
    assert_eq!(summary("(null)").mems_allowed, [0, 1, 3]);
    let zone = "Node 1 Normal free:1144kB min:1kB present:196608kB managed:1kB mlocked:0kB";
    assert_eq!(lines::zone(zone), Some((1, 196_608)));
    assert_eq!(lines::zone("Node 1 hugepages_total=0 hugepages_free=0"), None);
}
