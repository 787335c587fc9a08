//! A host made of files: the values that are read, and the risk report that follows from them.

use std::fs;

use super::*;
use crate::{
    host::files::{CgroupMounts, Root, write_below},
    model::report::Frame,
};

const STATUS: &str = "Name:\tapp\nUid:\t1000\t0\t0\t0\nVmPTE:\t 40 kB\nVmSwap:\t 8 kB\n\
    RssAnon:\t 20480 kB\nRssFile:\t 1024 kB\nRssShmem:\t 0 kB\n";

/// A pod of 64 MiB, whose container has no limit of its own and two processes.
fn host() -> (tempfile::TempDir, Observer) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pod = "sys/fs/cgroup/pod";
    write_below(root, &format!("{pod}/memory.max"), "67108864\n");
    write_below(root, &format!("{pod}/memory.current"), "50331648\n");
    write_below(root, &format!("{pod}/memory.swap.max"), "max\n");
    write_below(root, &format!("{pod}/memory.swap.current"), "0\n");
    write_below(root, &format!("{pod}/memory.oom.group"), "0\n");
    write_below(root, &format!("{pod}/memory.events"), "oom 4\noom_kill 3\n");
    let stat = "anon 1\ninactive_file 4194304\nactive_file 4194304\nfile_dirty 1048576\n\
        slab_reclaimable 0\n";
    write_below(root, &format!("{pod}/memory.stat"), stat);
    let psi = "some avg10=12.50 avg60=1.00 total=1\nfull avg10=3.25 avg60=0.00 total=1\n";
    write_below(root, &format!("{pod}/memory.pressure"), psi);
    write_below(root, &format!("{pod}/ctr/memory.max"), "max\n");
    write_below(root, &format!("{pod}/ctr/memory.oom.group"), "1\n");
    write_below(root, &format!("{pod}/ctr/cgroup.procs"), "71\n72\n73\n");
    for (pid, adj) in [(71, "0\n"), (72, "500\n")] {
        write_below(root, &format!("proc/{pid}/status"), STATUS);
        write_below(root, &format!("proc/{pid}/comm"), "app\x1b[2J\n");
        write_below(root, &format!("proc/{pid}/oom_score_adj"), adj);
    }
    write_below(root, "proc/meminfo", "SwapTotal:  1024 kB\nSwapFree:   512 kB\n");
    write_below(root, "proc/sys/vm/swappiness", "60\n");
    let mounts = CgroupMounts { v2: Some("/sys/fs/cgroup".into()), v1_memory: None };
    let observer = Observer::new(Root::new(root), mounts);
    (folder, observer)
}

#[test]
fn cgroup_with_a_limit_has_its_figures_and_next_victim() {
    let (_folder, mut observer) = host();
    let report = observer.report(0, |_| true);
    let [risk] = report.cgroups.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (risk.path.as_str(), risk.limit_bytes, risk.headroom_bytes),
        ("/pod", 64 << 20, 16 << 20)
    );
    assert_eq!((risk.reclaimable_bytes, risk.need_bytes), (Some(7 << 20), 41 << 20));
    assert_eq!((risk.swap_headroom_bytes, risk.oom_kills), (Some(512 << 10), Some(3)));
    assert_eq!(risk.pressure, Some(Pressure { some_avg10: 12.5, full_avg10: 3.25 }));
    let choice = risk.next_victim.as_ref().unwrap();
    // 21 MiB resident, 2 pages of swap, 10 of page tables. Limit and 1 MiB of swap: 16,640 pages.
    assert_eq!((choice.pid, choice.uid, choice.points), (72, 1000, 5376 + 2 + 10 + 500 * 16));
    assert_eq!(choice.kills_group.as_deref(), Some("/pod/ctr"));
    assert_eq!((risk.growth_bytes_per_s, &risk.time_to_limit), (None, &None));
}

#[test]
fn growth_appears_with_the_second_reading_and_goes_with_the_cgroup() {
    let (folder, mut observer) = host();
    observer.sample(0);
    let current = folder.path().join("sys/fs/cgroup/pod/memory.current");
    fs::write(&current, (54_u64 << 20).to_string()).unwrap();
    let report = observer.report(1_000_000_000, |_| true);
    let risk = &report.cgroups[0];
    assert_eq!(risk.growth_bytes_per_s, Some(6 << 20));
    // 64 MiB less 47 MiB at 6 MiB a second.
    assert_eq!(risk.time_to_limit.as_ref().map(table::time).as_deref(), Some("3 s"));
    fs::write(folder.path().join("sys/fs/cgroup/pod/memory.max"), "max").unwrap();
    assert!(observer.report(2_000_000_000, |_| true).cgroups.is_empty());
    assert!(observer.samples.is_empty());
}

#[test]
fn table_escapes_names() {
    let (_folder, mut observer) = host();
    let report = observer.report(0, |path| path == "/pod");
    let lines: Vec<_> = table::lines(&report, None).into_iter().map(|(_, line)| line).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    CGROUP   USED  LIMIT NEED   LEFT GROWTH/s FULL IN PSI WOULD DIE
    /pod   48 MiB 64 MiB  64% 16 MiB        -       - 12% app\x1b[2J[72] 21 MiB, all its group
    ");
    assert!(observer.report(0, |_| false).cgroups.is_empty());
}

#[test]
fn screen_shows_the_rows_and_the_curve_of_the_selected_cgroup() {
    let (_folder, mut observer) = host();
    let report = observer.report(0, |_| true);
    let backend = ratatui::backend::TestBackend::new(90, 16);
    let mut terminal = ratatui::Terminal::new(backend).unwrap();
    let mut rows = ratatui::widgets::TableState::default().with_selected(0);
    terminal.draw(|frame| screen::draw(frame, &report, &mut rows)).unwrap();
    let picture = terminal.backend().to_string();
    for words in ["/pod", "41 MiB", "64 MiB", "app\\x1b[2J[72]", "7 MiB can be reclaimed"] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
}

#[test]
fn v1_limits_are_read_and_unlimited_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let group = "sys/fs/cgroup/memory/a";
    write_below(root, &format!("{group}/memory.limit_in_bytes"), "16777216\n");
    write_below(root, &format!("{group}/memory.usage_in_bytes"), "8388608\n");
    write_below(root, &format!("{group}/memory.memsw.limit_in_bytes"), "33554432\n");
    write_below(root, &format!("{group}/memory.memsw.usage_in_bytes"), "9437184\n");
    write_below(root, &format!("{group}/memory.oom_control"), "under_oom 0\noom_kill 2\n");
    write_below(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write_below(root, "proc/meminfo", "SwapTotal:  1048576 kB\nSwapFree:   1048576 kB\n");
    let mounts = CgroupMounts { v2: None, v1_memory: Some("/sys/fs/cgroup/memory".into()) };
    let report = Observer::new(Root::new(root), mounts).report(0, |_| true);
    let [risk] = report.cgroups.as_slice() else { panic!("{report:?}") };
    assert_eq!((risk.path.as_str(), risk.limit_bytes, risk.usage_bytes), ("/a", 16 << 20, 8 << 20));
    assert_eq!((risk.swap_headroom_bytes, risk.oom_kills), (Some(15 << 20), Some(2)));
    assert_eq!((risk.reclaimable_bytes, &risk.next_victim), (None, &None));
}

/// With the growth of the one cgroup from a recorder.
fn recorded() -> RiskReport {
    let (_folder, mut observer) = host();
    let mut report = observer.report(0, |_| true);
    let ago = |seconds| report.time - jiff::SignedDuration::from_secs(seconds);
    let since = "2026-11-26T05:00:00Z".parse().unwrap();
    report.recorder = Some(RecorderSeen { pid: 7, since, above_percent: 50, others: Some(1) });
    let frame = |symbol: &str| Frame { symbol: Some(symbol.to_owned()), ..Frame::default() };
    let growing_since = Some(ago(41));
    let risk = &mut report.cgroups[0];
    risk.source = GrowthSource::Recorder;
    risk.growth_kind = Some("plateau_then_jump");
    risk.growing_since = growing_since;
    risk.growing = vec![GrowthStack {
        bytes: 30 << 20,
        pid: Some(72),
        comm: Some("app\x1b".to_owned()),
        user_stack: Some(["touch", "run", "main", "_start"].map(frame).to_vec()),
        kernel_stack: None,
    }];
    report
}

#[test]
fn growing_process_stands_below_its_row_within_the_terminal() {
    let report = recorded();
    let texts = |width| {
        let lines = table::lines(&report, width);
        lines.into_iter().map(|(_, text)| text).collect::<Vec<String>>()
    };
    let lines = texts(None);
    let grown = "  plateau then jump for 41 s; app\\x1b[72] 30 MiB: touch < run < main";
    assert_eq!(lines[2], grown);
    let narrow = texts(Some(40));
    assert!(narrow.contains(&"  plateau then jump for 41 s; app\\x1b...".to_owned()), "{narrow:?}");
    assert!(narrow.iter().all(|line| line.len() <= 40), "{narrow:?}");
    let whole = narrow.join("");
    assert!(whole.contains("WOULD DIE app") && whole.contains("its group"), "{narrow:?}");
    assert_eq!(
        table::recorder(&report).as_deref(),
        Some(
            "growth is from the recorder of oomwhy[7], since 2026-11-26T05:00:00Z, of cgroups \
             above 50 % of their limit, and from 1 more; the newest one that has a cgroup is used \
             for it"
        )
    );
}

#[test]
fn screen_shows_the_growing_process_of_the_selected_cgroup() {
    let report = recorded();
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(90, 16)).unwrap();
    let mut rows = ratatui::widgets::TableState::default().with_selected(0);
    terminal.draw(|frame| screen::draw(frame, &report, &mut rows)).unwrap();
    let picture = terminal.backend().to_string();
    assert!(picture.contains("[72] 30 MiB: touch < run < main"), "{picture}");
    assert!(picture.contains("from the recorder of oomwhy[7]"), "{picture}");
}

#[test]
fn json_has_the_source_of_the_growth() {
    let json = serde_json::to_value(recorded()).unwrap();
    assert_eq!(json["recorder"]["above_percent"], 50);
    let risk = &json["cgroups"][0];
    assert_eq!((&risk["source"], &risk["growers"][0]["pid"]), (&"recorder".into(), &72.into()));
    assert_eq!(risk["growers"][0]["user_stack"][0]["symbol"], "touch");
    let (_folder, mut observer) = host();
    observer.sample(0);
    let report = observer.report(2_000_000_000, |_| true);
    let json = serde_json::to_value(&report).unwrap();
    let risk = &json["cgroups"][0];
    assert_eq!((&risk["source"], &risk["growth_over_s"]), (&"readings".into(), &2.0.into()));
    assert_eq!(risk["usage_growth_bytes_per_s"], 0);
    assert!(risk["growers"].is_null() && json["recorder"].is_null());
    assert_eq!(table::recorder(&report), None);
}
