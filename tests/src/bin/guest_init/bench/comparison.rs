//! Compares oomwhy with other tools that report OOM kills, one after another in the same boot.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oomwhy_tests::bench::{Comparison, Measured, Stdout, Tool};

use super::kills::{Arena, PAUSE};
use super::tool::{Running, marker, note};
use super::{status, trace};

/// The kernel prints this clock rounded to microseconds, which is enough here.
const CLOCK: &str = "mono";
const MARK: &str = "mark_victim";
/// The last event before the OOM killer.
const RECLAIM_END: &str = "mm_vmscan_memcg_reclaim_end";
/// The name of a write to trace_marker in the trace.
const LINE: &str = "tracing_mark_write";
const KMSG_LINE: &str = "Killed process";
const TIME_TO_REPORT: Duration = Duration::from_secs(3);
/// The pause after which the start has no more effects on the idle time.
const TIME_TO_SETTLE: Duration = Duration::from_secs(2);
/// The number of kills for the test of a tool's output to a pipe.
const KILLS_ON_PIPE: u32 = 5;

/// The number of measurements of each tool.
pub(super) struct Effort {
    pub(super) starts: u32,
    pub(super) kills: u32,
    pub(super) idle_seconds: u64,
}

/// Measures all tools.
pub(super) fn measure(tools: &[Tool], effort: &Effort) -> Result<Comparison> {
    trace::start(CLOCK, &["vmscan/mm_vmscan_memcg_reclaim_end", "oom/mark_victim"])?;
    let arena = Arena::new("/bench")?;
    arena.set_limit()?;
    let kmsg_latencies_ns = kmsg_latencies(&arena, effort.kills)?;
    let mut measured = Vec::new();
    for tool in tools {
        println!("measuring {}", tool.name);
        measured.push(measure_one(tool, &arena, effort).with_context(|| tool.name.clone())?);
    }
    Ok(Comparison { tools: measured, kmsg_latencies_ns })
}

fn measure_one(tool: &Tool, arena: &Arena, effort: &Effort) -> Result<Measured> {
    let mut starts_ns = Vec::new();
    for _ in 1..effort.starts {
        let running = Running::start(tool)?;
        starts_ns.push(running.started_ns);
        running.stop()?;
    }
    let running = Running::start(tool)?;
    starts_ns.push(running.started_ns);
    let (start_user_ns, start_system_ns) = status::cpu_times(running.pid())?;
    thread::sleep(TIME_TO_SETTLE);
    let memory_ready = status::memory(running.pid())?;
    let before = status::voluntary_switches(running.pid())?;
    thread::sleep(Duration::from_secs(effort.idle_seconds));
    let idle_wakeups = status::voluntary_switches(running.pid())? - before;
    trace::clear()?;
    for _ in 0..effort.kills {
        thread::sleep(PAUSE);
        arena.kill()?;
        running.await_line(&tool.report, TIME_TO_REPORT);
    }
    let latencies_ns = latencies(&tool.report)?;
    let memory_after_kills = status::memory(running.pid())?;
    running.stop()?;
    Ok(Measured {
        name: tool.name.clone(),
        starts_ns,
        start_user_ns,
        start_system_ns,
        memory_ready,
        memory_after_kills,
        idle_wakeups,
        kills: effort.kills,
        latencies_ns,
        lines_on_pipe: lines_on_pipe(tool, arena)?,
    })
}

/// The number of kills, of [`KILLS_ON_PIPE`], that a tool reports to a pipe before it ends.
fn lines_on_pipe(tool: &Tool, arena: &Arena) -> Result<u32> {
    let tool = Tool { stdout: Stdout::Pipe, ..tool.clone() };
    // Its line that it is ready may not arrive on a pipe either.
    let running = Running::spawn(&tool)?;
    running.await_line(&tool.ready, Duration::from_secs(10));
    let mut n_lines = 0;
    for _ in 0..KILLS_ON_PIPE {
        thread::sleep(PAUSE);
        arena.kill()?;
        n_lines += u32::from(running.await_line(&tool.report, TIME_TO_REPORT));
    }
    running.stop()?;
    Ok(n_lines)
}

/// Measures the latency of a reader of the kernel's log.
fn kmsg_latencies(arena: &Arena, kills: u32) -> Result<Vec<u64>> {
    let lines = follow_kmsg()?;
    trace::clear()?;
    for _ in 0..kills {
        thread::sleep(PAUSE);
        arena.kill()?;
        let _ = lines.recv_timeout(TIME_TO_REPORT);
    }
    latencies(KMSG_LINE)
}

fn follow_kmsg() -> Result<Receiver<()>> {
    let mut log = File::open("/dev/kmsg").context("/dev/kmsg cannot be opened")?;
    log.seek(SeekFrom::End(0))?;
    let mut marker = marker()?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut record = vec![0; 16 * 1024];
        while let Ok(length) = log.read(&mut record) {
            let text = String::from_utf8_lossy(&record[..length]);
            if text.contains(KMSG_LINE) {
                note(&mut marker, text.as_bytes());
                // The receiver is gone, so the thread has no more work.
                if sender.send(()).is_err() {
                    return;
                }
            }
        }
    });
    Ok(lines)
}

/// The time from the start of each invocation to its first line, which precedes the next
/// invocation.
fn latencies(report: &str) -> Result<Vec<u64>> {
    let events = trace::read()?;
    let marks = (0..events.len()).filter(|&index| events[index].name == MARK);
    let begins: Vec<usize> = marks
        .filter_map(|mark| {
            let before = events[..mark].iter();
            before.rev().position(|event| event.name == RECLAIM_END).map(|back| mark - 1 - back)
        })
        .collect();
    let ends = begins.iter().copied().skip(1).chain([events.len()]);
    let latencies = begins.iter().zip(ends).filter_map(|(&begin, end)| {
        let line = events[begin..end]
            .iter()
            .find(|event| event.name == LINE && event.fields.contains(report))?;
        Some(nanoseconds(line.time - events[begin].time))
    });
    Ok(latencies.collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few seconds at most, and never negative"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9).round() as u64
}
