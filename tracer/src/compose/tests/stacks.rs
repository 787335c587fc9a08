//! The trigger's stacks, without the frames that tracing itself puts on them.

use super::{Findings, compose, kill, parts::host};
use crate::model::{
    events::UserFrame,
    names::Symbol,
    report::{Frame, Trigger},
};

/// A stack written as "function+offset", "?" for an address without a symbol.
fn trigger(stack: &[&str]) -> Trigger {
    let mut findings = Findings::default();
    let frames = (0xffff_ffff_8100_0000_u64..).zip(stack);
    for (ip, frame) in frames.clone() {
        if let Some((name, offset)) = frame.split_once('+') {
            let symbol = Symbol {
                name: name.to_owned(),
                offset: offset.parse().unwrap(),
                module: name.strip_prefix("xfs_").map(|_| "xfs".to_owned()),
            };
            findings.symbols.insert(ip, symbol);
        }
    }
    let mut account = kill();
    let invocation = account.invocation.as_mut().unwrap();
    invocation.kernel_stack = Some(frames.map(|(ip, _)| ip).collect());
    compose(&account, &host(), &findings).trigger.unwrap()
}

#[track_caller]
fn check(stack: &[&str], expected: &[&str]) {
    let text = |frame: &Frame| match (&frame.symbol, frame.offset) {
        (Some(name), Some(offset)) => format!("{name}+{offset}"),
        _ => "?".to_owned(),
    };
    let kept = trigger(stack).kernel_stack.unwrap();
    assert_eq!(kept.iter().map(text).collect::<Vec<_>>(), expected);
}

#[test]
fn kernel_stack_omits_programs_and_trampolines() {
    check(
        &[
            "bpf_prog_0123456789abcdef_oom_kill_process+1200",
            "bpf_trampoline_6442535119+60",
            "oom_kill_process+9",
            "out_of_memory+599",
            "bpf_trampoline_6442535118+78",
            "out_of_memory+9",
            "mem_cgroup_out_of_memory+298",
            "bpf_trampoline_6442535117+87",
            "mem_cgroup_out_of_memory+5",
            "try_charge_memcg+1741",
        ],
        &[
            "oom_kill_process+9",
            "out_of_memory+599",
            "mem_cgroup_out_of_memory+298",
            "try_charge_memcg+1741",
        ],
    );
}

#[test]
fn kernel_stack_keeps_recursion() {
    let recursion = ["shrink_node+7", "shrink_node+7", "?", "?", "xfs_alloc+1"];
    check(&recursion, &recursion);
    // A different function behind a trampoline is its caller.
    let stack = ["a+1", "bpf_trampoline_1+2", "b+3", "a+4"];
    check(&stack, &["a+1", "b+3", "a+4"]);
    check(&["?", "bpf_trampoline_1+2", "?"], &["?", "?"]);
    check(&["bpf_trampoline_1+2"], &[]);
    check(&[], &[]);
}

#[test]
fn frame_without_symbol_has_address() {
    let trigger = trigger(&["xfs_alloc+1", "?"]);
    let frames = trigger.kernel_stack.unwrap();
    assert_eq!(frames[0].ip.as_deref(), Some("0xffffffff81000000"));
    assert_eq!(frames[0].module.as_deref(), Some("xfs"));
    let expected = Frame { ip: Some("0xffffffff81000001".to_owned()), ..Frame::default() };
    assert_eq!(frames[1], expected);
    assert_eq!(trigger.user_stack, None);
}

#[test]
fn user_frame_is_file_offset_or_address() {
    let mut account = kill();
    account.invocation.as_mut().unwrap().user_stack = Some(vec![
        UserFrame::File { build_id: "abcd".to_owned(), file_offset: 4096 },
        UserFrame::Ip { ip: u64::MAX },
    ]);
    let trigger = compose(&account, &host(), &Findings::default()).trigger;
    let expected = [
        Frame { build_id: Some("abcd".to_owned()), file_offset: Some(4096), ..Frame::default() },
        Frame { ip: Some("0xffffffffffffffff".to_owned()), ..Frame::default() },
    ];
    assert_eq!(trigger.unwrap().user_stack.as_deref(), Some(expected.as_slice()));
}
