//! Snapshots of every kind of block, and tests of their common properties.

use jiff::tz::{TimeZone, offset};

use super::{Detail, TextSink};
use crate::{
    fmt::width,
    model::report::{Frame, Missing, OomReport, Record, Source, Tier, Truncated},
    output::fixtures,
    pipeline::sink::{Sink, SinkError},
};

fn render(record: &Record, detail: Detail) -> String {
    let mut out = Vec::new();
    let zone = TimeZone::fixed(offset(1));
    TextSink::new(&mut out, zone, detail).write(record).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn blocks_match_their_snapshots() {
    for (name, record) in fixtures::all() {
        insta::assert_snapshot!(name, plain(&render(&record, Detail::Brief)));
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, record) in fixtures::all() {
        for (detail, width) in [(Detail::Brief, 40), (Detail::Full, 40), (Detail::Brief, 99)] {
            let mut out = Vec::new();
            let mut sink = TextSink::new(&mut out, TimeZone::UTC, detail).with_width(width);
            sink.provisional(&record).unwrap();
            sink.update(&record).unwrap();
            for line in plain(&String::from_utf8(out).unwrap()).lines() {
                assert!(width::columns(line) <= width, "{name}, {width}: {line}");
            }
        }
        for detail in [Detail::Brief, Detail::Full] {
            for line in plain(&render(&record, detail)).lines() {
                assert!(width::columns(line) <= 79, "{name}: {line}");
            }
        }
    }
}

#[test]
fn only_our_own_escapes_reach_the_terminal() {
    let text = render(&Record::Oom(Box::new(fixtures::hostile())), Detail::Full);
    let escapes = text.split('\x1b').skip(1);
    for escape in escapes {
        let end = escape.find('m').unwrap_or(0);
        let code = &escape[..end];
        assert!(
            code.starts_with('[') && code[1..].bytes().all(|b| b.is_ascii_digit()),
            "{escape:?}"
        );
    }
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\x1b';
    assert!(!text.chars().any(is_control));
}

#[test]
fn full_detail_shows_all_candidates() {
    let record = Record::Oom(Box::new(fixtures::global_kill()));
    let brief = plain(&render(&record, Detail::Brief));
    let full = plain(&render(&record, Detail::Full));
    assert_eq!(brief.matches("postgres-").count() + 22, full.matches("postgres-").count());
}

#[test]
fn closed_pipe_differs_from_other_failures() {
    struct Broken(std::io::ErrorKind);
    impl std::io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let record = Record::Oom(Box::new(fixtures::minimal()));
    let write = |kind| TextSink::new(Broken(kind), TimeZone::UTC, Detail::Brief).write(&record);
    assert!(matches!(write(std::io::ErrorKind::BrokenPipe), Err(SinkError::BrokenPipe)));
    assert!(matches!(write(std::io::ErrorKind::StorageFull), Err(SinkError::Write(_))));
}

/// The output of the sink for a report that is provisional first and then final.
fn provisional_and_final(provisional: &OomReport, last: &OomReport) -> String {
    let mut out = Vec::new();
    let mut sink = TextSink::new(&mut out, TimeZone::UTC, Detail::Brief);
    sink.provisional(&Record::Oom(Box::new(provisional.clone()))).unwrap();
    sink.update(&Record::Oom(Box::new(last.clone()))).unwrap();
    drop(sink);
    plain(std::str::from_utf8(&out).unwrap())
}

#[test]
fn command_line_found_after_the_kill_is_printed_once_and_the_age_not_again() {
    let last = fixtures::memcg_kill();
    let mut provisional = last.clone();
    provisional.victims[0].who.cmdline = None;
    for first in [&provisional, &last] {
        let text = provisional_and_final(first, &last);
        assert_eq!(text.matches("runs /usr/bin/java").count(), 1, "{text}");
        let started = text.lines().filter(|line| line.contains("started "));
        let of_victim = started.filter(|line| line.contains("before"));
        assert_eq!(of_victim.count(), ages(&provisional), "{text}");
    }
}

/// Processes of a report whose age the text shows.
fn ages(report: &OomReport) -> usize {
    let record = Record::Oom(Box::new(report.clone()));
    plain(&render(&record, Detail::Brief)).matches("started ").count()
}

#[test]
fn functions_found_after_the_kill_are_printed_once() {
    let mut last = fixtures::memcg_kill();
    let frame = Frame {
        symbol: Some("grow_in_c".to_owned()),
        file: Some("/bin/app".to_owned()),
        ..Frame::default()
    };
    last.trigger.as_mut().unwrap().user_stack = Some(vec![frame]);
    let mut provisional = last.clone();
    let stack = provisional.trigger.as_mut().unwrap().user_stack.as_mut().unwrap();
    (stack[0].symbol, stack[0].ip) = (None, Some("0x10".to_owned()));
    for first in [&provisional, &last] {
        let text = provisional_and_final(first, &last);
        assert_eq!(text.matches("grow_in_c (app)").count(), 1, "{text}");
    }
}

#[test]
fn missing_fields_of_the_tier_are_counted_and_listed_on_demand() {
    let mut report = fixtures::memcg_kill();
    let missing = |field: &str, why: &str| Missing { field: field.into(), why: why.into() };
    let of_tier = "tier tracepoint: oom:mark_victim only shows which task is marked to die";
    report.source = Source {
        missing: vec![
            missing("limit_chain", of_tier),
            missing("candidates", of_tier),
            missing("tier fentry", "the policy forbids it"),
            missing("growth", "--growth was not given"),
        ],
        ..Source::new(Tier::Tracepoint)
    };
    let record = Record::Oom(Box::new(report));
    let brief = plain(&render(&record, Detail::Brief));
    assert!(brief.contains("growth: --growth was not given"), "{brief}");
    assert!(brief.contains("2 fields that tier tracepoint does not have"), "{brief}");
    assert!(!brief.contains("limit_chain") && !brief.contains("tier fentry"), "{brief}");
    let full = plain(&render(&record, Detail::Full));
    for field in ["limit_chain, candidates: tier", "tier fentry: the policy", "growth: "] {
        assert!(full.contains(field), "{full}");
    }
}

#[test]
fn figures_read_when_memory_was_back_do_not_show_that_no_zone_was_short() {
    let reads_no_zone = |age_ns| {
        let mut report = fixtures::global_kill();
        report.boottime_ns = Some(1);
        let system = report.system.as_mut().unwrap();
        system.age_ns = Some(age_ns);
        for zone in system.nodes.iter_mut().flatten().flat_map(|node| &mut node.zones) {
            zone.free_bytes = zone.managed_bytes;
        }
        for victim in &mut report.victims {
            victim.marked_at_ns = Some(1);
            victim.exited_after_ns = Some(10);
            (victim.reaped, victim.freed_after_ns) = (None, None);
        }
        let text = plain(&render(&Record::Oom(Box::new(report)), Detail::Brief));
        text.contains("no zone is below its low watermark")
    };
    assert!(reads_no_zone(5));
    assert!(!reads_no_zone(778_000_000));
}

#[test]
fn list_that_was_cut_has_a_line() {
    let mut report = fixtures::oom_group();
    let listed = u64::try_from(report.victims.len()).unwrap();
    report.victims_total = Some(300);
    let cut = |field: &str, kept, total| Truncated { field: field.to_owned(), kept, total };
    report.truncated = vec![cut("victims", listed, 300), cut("growth.stacks", 8, 32)];
    let text = plain(&render(&Record::Oom(Box::new(report)), Detail::Brief));
    let line = format!("cut      in full only: victims ({listed} of 300), growth.stacks (8 of 32)");
    assert!(text.contains(&line), "{text}");
    assert!(
        text.contains(&format!("300 processes, > is the chosen one, {} not listed", 300 - listed)),
        "{text}"
    );
}
