//! A log can contain anything: no panic, and no victim that no line of the kernel names.

use std::{collections::BTreeSet, fmt::Write as _};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{FIXTURES, reports};

/// The victims that the lines name, parsed in the simplest way.
fn named(log: &[u8]) -> BTreeSet<i32> {
    let text = String::from_utf8_lossy(log);
    let behind = text.split("Killed process ").skip(1);
    behind.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
}

fn named_in(log: &str) -> BTreeSet<i32> {
    named(log.as_bytes())
}

fn check(log: &[u8]) -> Result<(), TestCaseError> {
    let named = named(log);
    for report in reports(log) {
        for victim in &report.victims {
            // The line has the victim's thread, the table its process.
            let tid = victim.tid.unwrap_or(victim.pid);
            prop_assert!(named.contains(&tid), "{} of {:?}", tid, named);
        }
        prop_assert!(serde_json::to_string(&report).is_ok());
    }
    Ok(())
}

/// Printable text with words of the kernel.
fn text() -> impl Strategy<Value = String> {
    "(\\[ *[0-9.]{1,9}\\] )?\
     (oom-kill:|Killed process |Node |Mem-Info:|\\[|,pid=|[ -~\n]){0,60}"
}

/// Lines of real logs, in any order.
fn shuffled() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<Index>(), any::<Index>(), any::<Option<Index>>()), 0..80).prop_map(|picks| {
        let mut log = Vec::new();
        for (fixture, line, cut) in picks {
            let (_, text) = FIXTURES[fixture.index(FIXTURES.len())];
            let lines: Vec<&str> = text.lines().collect();
            let line = lines[line.index(lines.len())].as_bytes();
            let end = cut.map_or(line.len(), |cut| cut.index(line.len() + 1));
            log.extend_from_slice(&line[..end]);
            log.push(b'\n');
        }
        log
    })
}

/// A part of a real log with some bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let picks =
        (any::<Index>(), any::<Index>(), any::<Index>(), vec((any::<Index>(), any::<u8>()), 0..20));
    picks.prop_map(|(fixture, from, to, changes)| {
        let log = FIXTURES[fixture.index(FIXTURES.len())].1.as_bytes();
        let (a, b) = (from.index(log.len()), to.index(log.len()));
        let mut log = log[a.min(b)..a.max(b)].to_vec();
        let has_bytes = !log.is_empty();
        for &(at, byte) in changes.iter().filter(|_| has_bytes) {
            let index = at.index(log.len());
            log[index] = byte;
        }
        log
    })
}

/// Two real logs whose lines alternate at random.
fn interleaved() -> impl Strategy<Value = (Vec<u8>, [i32; 2])> {
    let singles = || any::<Index>();
    (singles(), singles(), vec(any::<bool>(), 400), any::<bool>()).prop_map(
        |(a, b, turns, named)| {
            let logs: Vec<&str> =
                FIXTURES.iter().filter(|it| !it.0.contains("group")).map(|it| it.1).collect();
            let (a, b) = (logs[a.index(logs.len())], logs[b.index(logs.len())]);
            let mut sources = [a.lines(), b.lines()];
            let mut log = String::new();
            let mut push = |source: usize, line: &str| match line.split_once("] ") {
                Some((time, words)) if named => {
                    let _ = writeln!(log, "{time}][  T{source}] {words}");
                }
                _ => {
                    let _ = writeln!(log, "{line}");
                }
            };
            for turn in turns {
                if let Some(line) = sources[usize::from(turn)].next() {
                    push(usize::from(turn), line);
                }
            }
            for (index, rest) in sources.into_iter().enumerate() {
                rest.for_each(|line| push(index, line));
            }
            let victim = |log: &str| *named_in(log).first().unwrap();
            (log.into_bytes(), [victim(a), victim(b)])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_name_no_other_victim(log: Vec<u8>) {
        check(&log)?;
    }

    #[test]
    fn arbitrary_text_names_no_other_victim(log in text()) {
        check(log.as_bytes())?;
    }

    #[test]
    fn shuffled_lines_name_no_other_victim(log in shuffled()) {
        check(&log)?;
    }

    #[test]
    fn damaged_logs_name_no_other_victim(log in damaged()) {
        check(&log)?;
    }

    #[test]
    fn interleaved_logs_keep_their_victims((log, victims) in interleaved()) {
        check(&log)?;
        let mut killed: Vec<i32> = reports(&log)
            .iter()
            .flat_map(|report| report.victims.iter().map(|it| it.pid).collect::<Vec<_>>())
            .collect();
        killed.sort_unstable();
        killed.dedup();
        let mut expected = victims.to_vec();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(killed, expected);
    }
}
