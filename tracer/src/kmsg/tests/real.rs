//! Every number of every real log, compared with the number beside its words in the log.

use super::{FIXTURES, fixture, only};
use crate::model::report::{Candidate, Constraint, OomReport, Outcome, Reason, Tier, Victim};

/// The lines without their times.
fn lines(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| line.split_once("] ").map(|(_, words)| words))
}

fn find<'a>(log: &'a str, words: &str) -> Option<&'a str> {
    lines(log).find(|line| line.contains(words))
}

/// The number behind these words.
fn number(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.split_once(words)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn rows(log: &str) -> impl Iterator<Item = Vec<&str>> {
    let table = lines(log).skip_while(|line| !line.contains("  pid  ]")).skip(1);
    table
        .take_while(|line| line.starts_with('['))
        .map(|line| line.split(['[', ']', ' ']).filter(|word| !word.is_empty()).collect())
}

#[test]
fn trigger_matches_header_of_real_logs() {
    for (name, log) in FIXTURES {
        let report = only(log);
        let trigger = report.trigger.as_ref().unwrap();
        let header = find(log, "invoked oom-killer").unwrap();
        let cpu = find(log, " Comm: ").unwrap();
        let comm = header.split(' ').next().unwrap();
        assert_eq!(trigger.comm.as_deref(), Some(comm), "{name}");
        let pid = number(cpu, "PID: ").unwrap();
        assert_eq!(u64::try_from(trigger.pid).ok(), Some(pid), "{name}");
        assert!(trigger.tid.is_none() && trigger.uid.is_some(), "{name}");
        let gfp = trigger.gfp_mask.as_ref().unwrap();
        let printed = format!("gfp_mask={:#x}({})", gfp.value, gfp.names.join("|"));
        assert!(header.contains(&printed), "{name}: {printed}");
        let order = format!(
            "order={}, oom_score_adj={}",
            trigger.order.unwrap(),
            trigger.oom_score_adj.unwrap()
        );
        assert!(header.ends_with(&order), "{name}: {order}");
        assert!(cpu.contains(&format!(" {} #1", report.kernel.unwrap())), "{name}");
        assert_eq!(report.source.tier, Tier::Kmsg);
    }
}

#[test]
fn call_trace_omits_guesses_and_printing_frames() {
    for (name, log) in FIXTURES {
        let report = only(log);
        let stack = report.trigger.unwrap().kernel_stack.unwrap();
        let printed = lines(log).filter(|line| line.starts_with(' ') && line.contains("+0x"));
        let printed: Vec<&str> = printed
            .map(str::trim)
            .filter(|line| !line.starts_with('?'))
            .skip_while(|line| line.starts_with("dump_"))
            .collect();
        let read: Vec<String> = stack
            .iter()
            .map(|it| format!("{}+{:#x}/", it.symbol.as_ref().unwrap(), it.offset.unwrap()))
            .collect();
        assert_eq!(read.len(), printed.len(), "{name}");
        assert!(read.iter().zip(&printed).all(|(read, line)| line.starts_with(read)), "{name}");
        let has = |symbol: &str| stack.iter().any(|it| it.symbol.as_deref() == Some(symbol));
        assert!(has("out_of_memory"), "{name}");
        assert_eq!(has("mem_cgroup_out_of_memory"), !name.contains("global"), "{name}");
    }
}

#[test]
fn oom_memcg_matches_lines_of_real_logs() {
    for (name, log) in FIXTURES.into_iter().filter(|(name, _)| !name.contains("global")) {
        let report = only(log);
        assert_eq!(report.constraint, Some(Constraint::Memcg), "{name}");
        assert_eq!(report.message.as_deref(), Some("Memory cgroup out of memory"), "{name}");
        let memcg = report.oom_memcg.as_ref().unwrap();
        let memory = find(log, "memory: usage").unwrap();
        assert_eq!(memcg.usage_bytes, number(memory, "usage ").map(|kib| kib * 1024), "{name}");
        assert_eq!(memcg.max_bytes, number(memory, "limit ").map(|kib| kib * 1024), "{name}");
        let header = find(log, "Memory cgroup stats for ").unwrap();
        let path = header.split([' ', ':']).nth(4).unwrap();
        assert_eq!(memcg.cgroup.path.as_deref(), Some(path), "{name}");
        if name.starts_with("4.19") {
            continue;
        }
        let swap = find(log, "swap: usage").unwrap();
        assert_eq!(memcg.swap_usage_bytes, Some(0), "{name}");
        let no_limit = swap.contains("limit 9007199254740988kB");
        assert_eq!(memcg.swap_no_limit, no_limit, "{name}");
        assert_eq!(memcg.swap_max_bytes, (!no_limit).then_some(0), "{name}");
        let summary = find(log, "oom-kill:").unwrap();
        assert!(summary.contains(&format!("oom_memcg={path},")), "{name}");
        assert_eq!(report.mems_allowed.as_deref(), Some("0"), "{name}");
        assert_eq!(report.nodemask, None, "{name}");
        // The log does not contain the size of the swap.
        let pages = memcg.max_bytes.map(|bytes| bytes / 4096).filter(|_| !no_limit);
        assert_eq!(report.totalpages, pages, "{name}");
        let printed = lines(log).skip_while(|line| !line.contains("cgroup stats")).skip(1);
        let printed: Vec<(&str, u64)> = printed
            .map_while(|line| {
                line.split_once(' ').filter(|(_, value)| value.parse::<u64>().is_ok())
            })
            .map(|(item, value)| (item, value.parse().unwrap()))
            .collect();
        let stat = memcg.stat.as_ref().unwrap();
        assert_eq!(stat.len(), printed.len(), "{name}");
        assert!(printed.len() >= 25, "{name}");
        for (item, value) in printed {
            assert_eq!(stat.get(item), Some(&value), "{name}: {item}");
        }
    }
}

#[test]
fn each_row_of_real_logs_is_a_candidate() {
    for (name, log) in FIXTURES {
        let report = only(log);
        let candidates = report.candidates.as_ref().unwrap();
        assert_eq!(candidates.considered, rows(log).count() as u64, "{name}");
        assert_eq!(candidates.recorded, candidates.considered, "{name}");
        for row in rows(log) {
            let value = |index: usize| row[index].parse::<i64>().unwrap();
            let candidate =
                candidates.list.iter().find(|it| i64::from(it.pid) == value(2)).unwrap();
            row_is(&report, name, &row, candidate);
        }
        let points: Vec<i64> = candidates.list.iter().filter_map(|row| row.points).collect();
        assert!(points.is_sorted_by(|a, b| a >= b), "{name}: {points:?}");
        let chosen: Vec<&Candidate> = candidates.list.iter().filter(|row| row.chosen).collect();
        assert_eq!(chosen.len(), 1, "{name}");
        assert!(candidates.list[0].chosen, "{name}");
    }
}

fn row_is(report: &OomReport, name: &str, row: &[&str], candidate: &Candidate) {
    let value = |index: usize| row[index].parse::<i64>().unwrap();
    let (uid, total_vm, rss) = (value(1), value(3), value(4));
    let n = row.len();
    let (pgtables, swap, adj, comm) = (value(n - 4) / 4096, value(n - 3), value(n - 2), row[n - 1]);
    assert_eq!(candidate.comm.as_deref(), Some(comm), "{name}");
    assert_eq!(candidate.uid.map(i64::from), Some(uid), "{name}");
    assert_eq!(candidate.total_vm_bytes, u64::try_from(total_vm * 4096).ok(), "{name}");
    assert_eq!(candidate.pgtables_pages, Some(pgtables), "{name}");
    assert_eq!(candidate.swap_pages, Some(swap), "{name}");
    assert_eq!(candidate.oom_score_adj.map(i64::from), Some(adj), "{name}");
    assert_eq!(candidate.eligible, adj != -1000, "{name}");
    let parts = [candidate.anon_pages, candidate.file_pages, candidate.shmem_pages];
    let printed = (n == 12).then(|| [value(5), value(6), value(7)]);
    assert_eq!(
        parts.into_iter().flatten().collect::<Vec<_>>(),
        printed.into_iter().flatten().collect::<Vec<_>>(),
        "{name}"
    );
    assert_eq!(candidate.rss_pages, (n != 12).then_some(rss), "{name}");
    if adj == -1000 || (adj != 0 && report.totalpages.is_none()) {
        assert_eq!(candidate.points, None, "{name}");
    } else {
        let unit = report.totalpages.map_or(0, |pages| i64::try_from(pages / 1000).unwrap());
        assert_eq!(candidate.points, Some(rss + swap + pgtables + adj * unit), "{name}");
        assert_eq!(candidate.adj_pages, Some(adj * unit), "{name}");
    }
}

#[test]
fn each_killed_process_is_a_victim_once() {
    for (name, log) in FIXTURES {
        let report = only(log);
        assert_eq!(report.outcome, Outcome::Killed, "{name}");
        assert_eq!(report.reason, Some(Reason::Selection), "{name}");
        let mut printed: Vec<&str> =
            lines(log).filter(|line| line.contains("Killed process")).collect();
        printed.sort_unstable();
        printed.dedup_by_key(|line| number(line, "Killed process "));
        assert_eq!(report.victims.len(), printed.len(), "{name}");
        for line in printed {
            let pid = number(line, "Killed process ").unwrap();
            let is_of = |victim: &&Victim| u64::try_from(victim.pid).ok() == Some(pid);
            victim_is(name, line, report.victims.iter().find(is_of).unwrap());
        }
        let chosen = report.victims.iter().find(|victim| victim.chosen).unwrap();
        if let Some(summary) = find(log, "oom-kill:") {
            assert_eq!(number(summary, ",pid="), u64::try_from(chosen.pid).ok(), "{name}");
            let path = chosen.cgroup.as_ref().unwrap().path.as_ref().unwrap();
            assert!(summary.contains(&format!("task_memcg={path},task=")), "{name}");
        }
        let row = report.candidates.as_ref().unwrap().list.iter().find(|row| row.chosen).unwrap();
        assert_eq!((chosen.pid, chosen.points), (row.pid, row.points), "{name}");
    }
}

fn victim_is(name: &str, line: &str, victim: &Victim) {
    let bytes = |words: &str| number(line, words).map(|kib| kib * 1024);
    let comm = line.split(['(', ')']).nth(1);
    assert_eq!(victim.comm.as_deref(), comm, "{name}");
    assert_eq!(victim.total_vm_bytes, bytes("total-vm:"), "{name}");
    assert_eq!(victim.anon_rss_bytes, bytes("anon-rss:"), "{name}");
    assert_eq!(victim.file_rss_bytes, bytes("file-rss:"), "{name}");
    assert_eq!(victim.shmem_rss_bytes, bytes("shmem-rss:"), "{name}");
    assert_eq!(victim.swap_bytes, Some(0), "{name}");
    if line.contains("UID:") {
        assert_eq!(victim.uid.map(u64::from), number(line, "UID:"), "{name}");
        assert_eq!(victim.pgtables_bytes, bytes("pgtables:"), "{name}");
        let adj = format!("oom_score_adj:{}", victim.oom_score_adj.unwrap());
        assert!(line.ends_with(&adj), "{name}");
    }
}

#[test]
fn killed_group_is_one_report() {
    for (kernel, chosen, member) in [
        ("5.10", 111, 107),
        ("6.1", 119, 115),
        ("6.12", 175, 171),
        ("6.18", 162, 158),
        ("7.3", 134, 130),
    ] {
        let report = only(fixture(&format!("{kernel}-oom-group")));
        let victims: Vec<(i32, bool)> =
            report.victims.iter().map(|victim| (victim.pid, victim.chosen)).collect();
        assert_eq!(victims, [(chosen, true), (member, false)], "{kernel}");
        // The group is below the memcg at its limit.
        assert_eq!(report.oom_memcg.unwrap().oom_group, None);
    }
}

#[test]
fn global_report_has_zones_of_the_machine() {
    for (name, log) in FIXTURES.into_iter().filter(|(name, _)| name.contains("global")) {
        let report = only(log);
        assert_eq!((report.constraint, report.oom_memcg.clone()), (Some(Constraint::None), None));
        assert_eq!(report.page_size, Some(4096), "{name}");
        let system = report.system.as_ref().unwrap();
        let pages = |words: &str| number(log, words).map(|pages| pages * 4096);
        let ram = number(find(log, "pages RAM").unwrap(), "").unwrap();
        let reserved = number(find(log, "pages reserved").unwrap(), "").unwrap();
        assert_eq!(report.totalpages, Some(ram - reserved), "{name}");
        assert_eq!(system.total_bytes, Some((ram - reserved) * 4096), "{name}");
        assert_eq!(system.free_bytes, pages("\u{20}free:"), "{name}");
        assert_eq!(system.shmem_bytes, pages(" shmem:"), "{name}");
        assert_eq!(system.slab_reclaimable_bytes, pages(" slab_reclaimable:"), "{name}");
        assert_eq!(system.slab_unreclaimable_bytes, pages(" slab_unreclaimable:"), "{name}");
        assert_eq!(system.page_tables_bytes, pages(" pagetables:"), "{name}");
        assert_eq!(system.unevictable_bytes, pages(" unevictable:"), "{name}");
        assert_eq!((system.swap_total_bytes, system.swap_free_bytes), (Some(0), Some(0)));
        assert_eq!(system.hugetlb_bytes, Some(0), "{name}");
        let stack = lines(log).filter_map(|line| number(line, "kernel_stack:")).sum::<u64>();
        assert_eq!(system.kernel_stack_bytes, Some(stack * 1024), "{name}");
        let printed = lines(log).filter(|line| line.contains(" managed:"));
        let zones = system
            .nodes
            .iter()
            .flatten()
            .flat_map(|node| node.zones.iter().map(move |zone| (node.node, zone)));
        let mut count = 0;
        for (line, (node, zone)) in printed.zip(zones) {
            assert!(line.starts_with(&format!("Node {node} {} free:", zone.name)), "{name}");
            for (words, bytes) in [
                (" free:", zone.free_bytes),
                (" min:", zone.min_bytes),
                (" low:", zone.low_bytes),
                (" high:", zone.high_bytes),
                (" managed:", zone.managed_bytes),
            ] {
                assert_eq!(number(line, words), Some(bytes / 1024), "{name}: {line}");
            }
            count += 1;
        }
        assert_eq!(count, 3, "{name}");
    }
}

#[test]
fn report_matches_numbers_computed_by_hand() {
    let report = only(fixture("7.3-global"));
    let hog = &report.candidates.as_ref().unwrap().list[0];
    // (196478 - 14622) / 1000 * 300 = 54300
    assert_eq!((report.totalpages, hog.adj_pages), (Some(181_856), Some(54_300)));
    assert_eq!(hog.points, Some(154_701 + 313 + 54_300));
    assert_eq!(
        (hog.anon_pages, hog.file_pages, hog.shmem_pages),
        (Some(154_525), Some(1), Some(175))
    );
    assert_eq!(report.victims[0].anon_rss_bytes, Some(618_100 * 1024));
    assert_eq!(report.kernel.as_deref(), Some("7.3.4+deb13-cloud-amd64"));
    let report = only(fixture("5.10-memcg-v2"));
    let memcg = report.oom_memcg.unwrap();
    assert_eq!((memcg.usage_bytes, memcg.max_bytes), (Some(48 << 20), Some(48 << 20)));
    assert_eq!(memcg.stat.unwrap().get("pgfault"), Some(&12_309));
    let hog = &report.candidates.unwrap().list[0];
    assert_eq!((hog.points, hog.adj_pages), (Some(12_370 + 33 + 1200), Some(1200)));
}
