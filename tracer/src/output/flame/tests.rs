use std::io::Read as _;

use flate2::read::GzDecoder;

use super::{folded, pprof, svg};
use crate::{
    model::report::{Frame, Growth, GrowthStack, OomReport},
    output::fixtures,
};

fn report() -> OomReport {
    let frame = |symbol: &str| Frame {
        symbol: Some(symbol.to_owned()),
        file: Some("/usr/bin/app".to_owned()),
        build_id: Some("ab".repeat(20)),
        file_offset: Some(symbol.len() as u64),
        ..Frame::default()
    };
    let kernel = Frame {
        ip: Some("0xffffffff81000000".to_owned()),
        symbol: Some("charge_memcg".to_owned()),
        ..Frame::default()
    };
    let stack = |bytes, inner: &str| GrowthStack {
        bytes,
        pid: Some(4242),
        comm: Some("ja;va\n".to_owned()),
        user_stack: Some(vec![frame(inner), frame("main")]),
        kernel_stack: Some(vec![kernel.clone()]),
    };
    let behalf = GrowthStack {
        bytes: 4096,
        pid: None,
        comm: None,
        user_stack: None,
        kernel_stack: Some(vec![kernel.clone()]),
    };
    let growth = Growth {
        since: None,
        rate_bytes_per_s: None,
        kind: None,
        curve: Vec::new(),
        stacks: vec![stack(1 << 20, "<Vec as Push>::push"), stack(2 << 20, "read"), behalf],
        unwound_share: None,
    };
    OomReport { growth: Some(growth), ..fixtures::memcg_kill() }
}

#[test]
fn folded_stacks_begin_outside_and_end_in_the_kernel() {
    let text = folded(&report());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.contains(&"on behalf of another cgroup;charge_memcg_[k] 4096"), "{text}");
    let pushed = lines.iter().find(|line| line.ends_with(" 1048576")).unwrap();
    assert_eq!(pushed.split(';').count(), 4, "{text}");
    assert!(pushed.contains(";main;<Vec as Push>::push;charge_memcg_[k] "), "{text}");
}

#[test]
fn svg_has_title_unit_and_escaped_names() {
    let svg = svg(&report()).unwrap();
    assert!(svg.contains("What grew before the OOM kill of "), "{svg}");
    assert!(svg.contains("bytes"), "{svg}");
    assert!(svg.contains("&lt;Vec as Push&gt;::push"), "{svg}");
    assert!(!svg.contains("<Vec"), "{svg}");
}

#[test]
fn without_growth_there_is_nothing_to_draw() {
    let nothing = OomReport { growth: None, ..report() };
    assert_eq!(&*folded(&nothing), "");
    assert!(svg(&nothing).is_err());
}

#[test]
fn pprof_is_gzipped_and_has_each_name_once() {
    let mut raw = Vec::new();
    GzDecoder::new(pprof(&report()).unwrap().as_slice()).read_to_end(&mut raw).unwrap();
    let count = |text: &str| raw.windows(text.len()).filter(|it| *it == text.as_bytes()).count();
    assert_eq!((count("charge_memcg"), count("/usr/bin/app"), count("charged")), (1, 1, 1));
}
