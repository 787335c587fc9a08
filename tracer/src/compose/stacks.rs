//! The frames of stacks, without those that are there only because the tracer's programs run.

use super::ComposeContext;
use crate::model::{events::UserFrame, facts::Findings, names::named_frame, report::Frame};

/// The trigger's frames without those of the tracer. Its programs come first. If a function is
/// hooked, its trampoline stands between it and its caller. The call site in the function's first
/// bytes follows, so the same function appears once more.
pub(super) fn kernel_frames(findings: &Findings, frames: &[u64]) -> Vec<Frame> {
    let mut kept: Vec<Frame> = Vec::new();
    let mut behind_trampoline = false;
    for &ip in frames {
        let symbol = findings.symbols.get(&ip);
        let name = symbol.map(|symbol| symbol.name.as_str());
        if name.is_some_and(is_ours) {
            behind_trampoline = true;
            continue;
        }
        let twice = behind_trampoline
            && name.is_some()
            && kept.last().is_some_and(|last| last.symbol.as_deref() == name);
        behind_trampoline = false;
        if !twice {
            kept.push(kernel_frame(findings, ip));
        }
    }
    kept
}

/// Whether a function is on the stack only because of tracing.
fn is_ours(name: &str) -> bool {
    const STARTS: [&str; 6] = [
        "bpf_trampoline_",
        "bpf_prog_",
        "bpf_trace_run",
        "__traceiter_",
        "perf_trace_",
        "trace_call_bpf",
    ];
    STARTS.iter().any(|start| name.starts_with(start))
}

fn kernel_frame(findings: &Findings, ip: u64) -> Frame {
    let symbol = findings.symbols.get(&ip);
    Frame {
        ip: Some(format!("{ip:#x}")),
        symbol: symbol.map(|symbol| symbol.name.clone()),
        offset: symbol.map(|symbol| symbol.offset),
        module: symbol.and_then(|symbol| symbol.module.clone()),
        ..Frame::default()
    }
}

/// User frames with the names that were found for this process.
pub(super) fn user_frames(
    context: ComposeContext<'_>,
    pid: i32,
    frames: &[UserFrame],
) -> Vec<Frame> {
    let names = context.findings.user_names.get(&(context.account.seq, pid));
    frames.iter().map(|frame| named_frame(names, frame)).collect()
}
