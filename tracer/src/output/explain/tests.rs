//! Both forms of every kind of report, and hostile names.

use jiff::tz::TimeZone;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

use super::{Form, LongSink, render};
use crate::{
    fmt::width::columns,
    model::report::{
        Frame, Growth, GrowthPoint, GrowthRate, GrowthStack, Missing, OomReport, Record, lossy,
    },
    output::fixtures,
    pipeline::sink::Sink as _,
};

fn long(records: &[Record], form: Form) -> String {
    let mut out = Vec::new();
    render(records, form, TimeZone::UTC, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(records: &[Record]) -> String {
    anstream::adapter::strip_str(&long(records, Form::Text)).to_string()
}

fn one(report: OomReport) -> [Record; 1] {
    [Record::Oom(Box::new(report))]
}

/// Steady for an hour, by two places in the code.
fn grown() -> OomReport {
    let minute = 60_000_000_000;
    let point = |index: u64| GrowthPoint {
        t_ns: index * minute,
        usage_bytes: (200 + 5 * index) * fixtures::MIB,
        limit_bytes: Some(512 * fixtures::MIB),
    };
    let frame = |symbol: &str| Frame { symbol: Some(symbol.to_owned()), ..Frame::default() };
    let stack = |bytes: u64, symbol: &str| GrowthStack {
        bytes: bytes * fixtures::MIB,
        pid: Some(4242),
        comm: Some("java".to_owned()),
        user_stack: Some(vec![frame(symbol), frame("main")]),
        kernel_stack: None,
    };
    let growth = Growth {
        since: "2026-11-23T08:21:07Z".parse().ok(),
        rate_bytes_per_s: Some(GrowthRate { last_minute: Some(87_381), whole: Some(87_000) }),
        kind: Some("steady".to_owned()),
        curve: (0..=60).map(point).collect(),
        stacks: vec![stack(90, "Cache::insert"), stack(210, "parse<Batch>")],
        unwound_share: Some(0.97),
    };
    OomReport { growth: Some(growth), ..fixtures::memcg_kill() }
}

#[test]
fn text_matches_its_snapshots() {
    for (name, report) in [
        ("memcg_kill", fixtures::memcg_kill()),
        ("grown", grown()),
        ("global_kill", fixtures::global_kill()),
        ("no_victim", fixtures::all().into_iter().find_map(no_victim).unwrap()),
        ("minimal", fixtures::minimal()),
        ("hostile", fixtures::hostile()),
    ] {
        insta::assert_snapshot!(format!("text_{name}"), plain(&one(report)));
    }
}

fn no_victim((name, record): (&'static str, Record)) -> Option<OomReport> {
    match record {
        Record::Oom(report) if name == "no_victim" => Some(*report),
        _ => None,
    }
}

#[test]
fn lines_are_no_wider_than_the_page_and_without_foreign_escapes() {
    for (name, record) in fixtures::all() {
        let records = [record];
        for width in [40, 60, 79, 99] {
            let mut out = Vec::new();
            let mut sink = LongSink::new(&mut out, Form::Text, TimeZone::UTC).with_width(width);
            sink.write(&records[0]).unwrap();
            let text = String::from_utf8(out).unwrap();
            for line in anstream::adapter::strip_str(&text).to_string().lines() {
                assert!(columns(line) <= width, "{name}, {width}: {line}");
            }
        }
        let text = long(&records, Form::Text);
        for escape in text.split('\x1b').skip(1) {
            let code = escape.split('m').next().unwrap();
            let is_color = code
                .strip_prefix('[')
                .is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(is_color, "{name}: {escape:?}");
        }
    }
}

#[test]
fn five_questions_come_in_order() {
    let text = plain(&one(grown()));
    let page = long(&one(grown()), Form::Html);
    for whole in [text, page] {
        let questions = [
            "Who was killed",
            "Whose limit was hit?",
            "Why that one?",
            "What grew?",
            "What to change?",
        ];
        let places: Vec<usize> = questions.iter().map(|it| whole.find(it).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn growth_is_drawn_with_its_functions() {
    let text = plain(&one(grown()));
    assert!(text.contains("█") && text.contains("200 MiB to 500 MiB in 60 min"), "{text}");
    assert!(text.contains("parse<Batch> < main"), "{text}");
    let page = long(&one(grown()), Form::Html);
    assert!(page.contains("<polyline class=\"usage\"") && page.contains("parse&lt;Batch&gt;"));
}

#[test]
fn page_is_one_document_and_fetches_nothing() {
    let records: Vec<Record> = fixtures::all().into_iter().map(|(_, record)| record).collect();
    let page = long(&records, Form::Html);
    assert_eq!(page.matches("<!DOCTYPE").count(), 1);
    assert_eq!(page.matches("<article>").count(), records.len());
    assert_eq!(page.matches("<article>").count(), page.matches("</article>").count());
    assert!(page.ends_with("</html>\n"));
    // Pictures are in the page itself.
    let mut parts = page.split(" src=\"data:image/svg+xml,");
    let first = parts.next().unwrap_or_default().to_owned();
    let page = parts.fold(first, |page, part| page + part.split_once('"').unwrap().1);
    for foreign in ["<script", "src=", "href=", "url(", "http://", "@import", "<iframe", "onload"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn json_on_the_page_is_the_report() {
    let record = Record::Oom(Box::new(fixtures::concluded(fixtures::hostile())));
    let page = long(std::slice::from_ref(&record), Form::Html);
    let json = page.split("<pre class=\"json\">").nth(1).unwrap().split("</pre>").next().unwrap();
    let quoted = json.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    let plain = quoted.replace("&amp;", "&");
    assert!(plain.is_ascii());
    assert_eq!(serde_json::from_str::<Record>(&plain).unwrap(), record);
}

#[test]
fn report_without_a_verdict_gets_one_and_a_stored_verdict_is_kept() {
    let json = long(&one(fixtures::memcg_kill()), Form::Json);
    let verdict = |json: &str| match serde_json::from_str::<Record>(json).unwrap() {
        Record::Oom(report) => report.verdict.unwrap(),
        other => panic!("{other:?}"),
    };
    let mut kept = verdict(&json);
    kept.headline = "as it was said then".to_owned();
    let report = OomReport { verdict: Some(kept.clone()), ..fixtures::memcg_kill() };
    assert_eq!(verdict(&long(&one(report), Form::Json)), kept);
}

/// A report with this text wherever somebody else chose it.
fn full_of(bytes: &[u8]) -> OomReport {
    let (text, hex) = lossy(bytes);
    let mut report = fixtures::concluded(grown());
    let frame = Frame {
        symbol: Some(text.clone()),
        file: Some(text.clone()),
        module: Some(text.clone()),
        ..Frame::default()
    };
    for victim in &mut report.victims {
        victim.comm = Some(text.clone());
        victim.comm_hex.clone_from(&hex);
        victim.who.cmdline = Some(vec![text.clone(), text.clone()]);
        victim.who.exe = Some(text.clone());
        victim.user_stack = Some(vec![frame.clone()]);
        victim.cgroup.iter_mut().for_each(|cgroup| cgroup.path = Some(text.clone()));
    }
    if let Some(trigger) = &mut report.trigger {
        trigger.comm = Some(text.clone());
        trigger.who.cmdline = Some(vec![text.clone()]);
        trigger.cgroup.iter_mut().for_each(|cgroup| cgroup.path = Some(text.clone()));
        trigger.gfp_mask.iter_mut().for_each(|mask| mask.names = vec![text.clone()]);
        trigger.kernel_stack = Some(vec![frame.clone()]);
    }
    if let Some(memcg) = &mut report.oom_memcg {
        memcg.cgroup.path = Some(text.clone());
        memcg.stat = Some([(text.clone(), 1), ("anon".to_owned(), 2)].into());
    }
    for level in report.limit_chain.iter_mut().flatten() {
        level.cgroup.path = Some(text.clone());
    }
    for task in report.candidates.iter_mut().flat_map(|all| &mut all.list) {
        task.comm = Some(text.clone());
    }
    if let Some(growth) = &mut report.growth {
        growth.kind = Some(text.clone());
        for stack in &mut growth.stacks {
            stack.comm = Some(text.clone());
            stack.user_stack = Some(vec![frame.clone()]);
        }
    }
    if let Some(verdict) = &mut report.verdict {
        verdict.headline.clone_from(&text);
        verdict.cause.clone_from(&text);
        verdict.also = vec![text.clone()];
        verdict.evidence = vec![text.clone()];
        verdict.advice = vec![text.clone()];
    }
    report.source.missing = vec![Missing { field: text.clone(), why: text.clone() }];
    report.host = Some(text.clone());
    report.kernel = Some(text.clone());
    report.id = text;
    report
}

/// The tags of the page without the text between them. Untrusted names must add none.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()).collect()
}

#[test]
fn markup_in_names_stays_text() {
    let calm = long(&one(full_of(b"calm")), Form::Html);
    for harm in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</title></style></pre><svg/onload=alert(1)>",
        "--><!--",
        "&lt;b&gt;",
        "]]>",
    ] {
        let page = long(&one(full_of(harm.as_bytes())), Form::Html);
        assert_eq!(tags(&page).len(), tags(&calm).len(), "{harm}");
        let names = |page: &str| {
            let names = tags(page).into_iter().map(|tag| tag.split(' ').next().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(&page), names(&calm), "{harm}");
        assert!(!page.contains("<script") && !page.contains("<img src=x"), "{harm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any bytes: as many tags as with harmless ones, no control byte, and lines within the width.
    #[test]
    fn any_bytes_in_names_stay_text(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        let report = full_of(&bytes);
        let page = long(&one(report.clone()), Form::Html);
        let calm = long(&one(full_of(b"calm")), Form::Html);
        prop_assert!(tags(&page).len() == tags(&calm).len(), "{bytes:?}");
        prop_assert!(!page.chars().any(|it| it.is_control() && it != '\n'));
        let text = plain(&one(report));
        prop_assert!(!text.chars().any(|it| it.is_control() && it != '\n'));
        for line in text.lines() {
            prop_assert!(columns(line) < 80, "{line}");
        }
    }

    /// Whatever numbers a file holds, nothing panics.
    #[test]
    fn numbers_of_any_size_render(
        number in any::<u64>(),
        signed in any::<i64>(),
        order in any::<i32>(),
    ) {
        let mut report = grown();
        report.page_size = Some(number);
        report.totalpages = Some(number);
        report.boottime_ns = Some(number);
        report.waited_ns = Some(number);
        for victim in &mut report.victims {
            victim.anon_rss_bytes = Some(number);
            victim.shmem_rss_bytes = Some(number);
            victim.marked_at_ns = Some(number);
            victim.freed_after_ns = Some(number);
            victim.points = Some(signed);
        }
        for task in report.candidates.iter_mut().flat_map(|all| &mut all.list) {
            task.points = Some(signed);
            task.adj_pages = Some(signed.wrapping_neg());
            task.anon_pages = Some(signed);
            task.oom_score_adj = Some(order);
        }
        for level in report.limit_chain.iter_mut().flatten() {
            level.usage_bytes = Some(number);
            level.headroom_bytes = Some(number);
        }
        if let Some(memcg) = &mut report.oom_memcg {
            memcg.usage_bytes = Some(number);
            memcg.swap_usage_bytes = Some(number);
            let kinds = ["anon", "kernel", "sock"];
            memcg.stat = Some(kinds.map(|kind| (kind.to_owned(), number)).into());
        }
        if let Some(growth) = &mut report.growth {
            let rate = GrowthRate { last_minute: Some(signed), whole: Some(signed) };
            growth.rate_bytes_per_s = Some(rate);
            growth.curve.iter_mut().for_each(|point| point.usage_bytes = number);
            growth.curve.truncate(5);
            growth.stacks.iter_mut().for_each(|stack| stack.bytes = number);
        }
        report.trigger.iter_mut().for_each(|trigger| trigger.order = Some(order));
        for form in [Form::Text, Form::Html, Form::Json] {
            prop_assert!(!long(&one(report.clone()), form).is_empty());
        }
    }
}
