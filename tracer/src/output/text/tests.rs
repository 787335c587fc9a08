//! Snapshots of every kind of block, and what holds for all of them.

use jiff::tz::{TimeZone, offset};

use super::{Detail, TextSink};
use crate::{
    fmt::layout,
    model::report::Record,
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
fn blocks_are_as_recorded() {
    for (name, record) in fixtures::all() {
        insta::assert_snapshot!(name, plain(&render(&record, Detail::Brief)));
    }
}

#[test]
fn no_line_is_wider_than_79_columns() {
    for (name, record) in fixtures::all() {
        for detail in [Detail::Brief, Detail::Full] {
            for line in plain(&render(&record, detail)).lines() {
                assert!(layout::columns(line) <= 79, "{name}: {line}");
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
fn everything_recorded_is_shown_on_demand() {
    let record = Record::Oom(Box::new(fixtures::global_kill()));
    let brief = plain(&render(&record, Detail::Brief));
    let full = plain(&render(&record, Detail::Full));
    assert_eq!(brief.matches("postgres-").count() + 22, full.matches("postgres-").count());
}

#[test]
fn a_closed_pipe_is_told_from_other_failures() {
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

#[test]
fn a_command_line_that_comes_after_the_block_is_told_behind_it_and_once() {
    let closed = fixtures::memcg_kill();
    let mut told = closed.clone();
    told.victims[0].who.cmdline = None;
    let later = |told: &crate::model::report::OomReport| {
        let mut out = Vec::new();
        let mut sink = TextSink::new(&mut out, TimeZone::UTC, Detail::Brief);
        sink.provisional(&Record::Oom(Box::new(told.clone()))).unwrap();
        sink.update(&Record::Oom(Box::new(closed.clone()))).unwrap();
        drop(sink);
        plain(std::str::from_utf8(&out).unwrap()).matches("runs /usr/bin/java").count()
    };
    assert_eq!(later(&told), 1);
    assert_eq!(later(&closed), 1);
}

#[test]
fn functions_that_come_after_the_block_are_told_behind_it_and_once() {
    let mut closed = fixtures::memcg_kill();
    let frame = crate::model::report::Frame {
        symbol: Some("grow_in_c".to_owned()),
        file: Some("/bin/app".to_owned()),
        ..crate::model::report::Frame::default()
    };
    closed.trigger.as_mut().unwrap().user_stack = Some(vec![frame]);
    let mut told = closed.clone();
    let stack = told.trigger.as_mut().unwrap().user_stack.as_mut().unwrap();
    (stack[0].symbol, stack[0].ip) = (None, Some("0x10".to_owned()));
    let later = |told: &crate::model::report::OomReport| {
        let mut out = Vec::new();
        let mut sink = TextSink::new(&mut out, TimeZone::UTC, Detail::Brief);
        sink.provisional(&Record::Oom(Box::new(told.clone()))).unwrap();
        sink.update(&Record::Oom(Box::new(closed.clone()))).unwrap();
        drop(sink);
        plain(std::str::from_utf8(&out).unwrap()).matches("grow_in_c (app)").count()
    };
    assert_eq!(later(&told), 1);
    assert_eq!(later(&closed), 1);
}
