//! Counts the instructions of an invocation, with and without oomwhy, for several numbers of
//! candidates.
//!
//! A measurement starts at the end of the last reclaim, which is the last trace event before the
//! OOM killer. It has two ends: the mark of the victim, and the next event of the victim, which is
//! the trigger too (one more reclaim, or its SIGKILL). The guest has one CPU, so oomwhy's own work
//! would be part of the measurement. Therefore oomwhy waits in an idle cgroup. Its wake-up is
//! included.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::bench::{Cell, Counts, Printed, Run, Stdout, Storm, StormTracer, Tool};
use oomwhy_tests::plan::GUEST_OOMWHY;
use oomwhy_tests::scenario::Hierarchy;
use rustix::process::Signal;

use super::kills::{Arena, PAUSE};
use super::tool::Running;
use super::{programs, trace};
use crate::{cgroup, tracer};

/// Counts instructions under -icount. The kernel prints it without rounding to microseconds.
pub(super) const CLOCK: &str = "x86-tsc";
const RECLAIM_END: &str = "mm_vmscan_memcg_reclaim_end";
/// The number of kills of a storm.
const KILLS: u32 = 100;
/// The number of storms of each kind.
const STORMS: u32 = 5;
/// A text that only the first line of a report contains.
const REPORT: &str = " OOM: ";
const TIME_TO_REPORT: Duration = Duration::from_secs(30);
const NEXT: [&str; 2] = ["mm_vmscan_memcg_reclaim_begin", "signal_deliver"];
const MARK: &str = "mark_victim";

/// Measures invocations, programs and storms.
pub(super) fn measure(sleepers: &[usize], repeats: u32) -> Result<Counts> {
    trace::filter("signal/signal_deliver", "sig == 9")?;
    trace::start(
        CLOCK,
        &[
            "vmscan/mm_vmscan_memcg_reclaim_begin",
            "vmscan/mm_vmscan_memcg_reclaim_end",
            "signal/signal_deliver",
            "oom/mark_victim",
        ],
    )?;
    let mut arena = Arena::new("/bench")?;
    let storms = storms(&arena)?;
    let (mut cells, mut programs) = (Vec::new(), Vec::new());
    let mut n_sleepers = 0;
    for &wanted in sleepers {
        arena.add_sleepers(wanted.saturating_sub(n_sleepers))?;
        n_sleepers = wanted;
        println!("{n_sleepers} sleepers");
        arena.set_limit()?;
        for traced in [false, true] {
            let oomwhy = traced.then(|| start_oomwhy(&[])).transpose()?;
            for printed in [Printed::Tasks, Printed::Report, Printed::Line] {
                cells.push(cell(&arena, printed, traced, repeats)?);
            }
            if let Some(oomwhy) = oomwhy {
                let candidates = arena.n_processes()? + 1;
                programs.extend(programs::during(oomwhy.pid(), candidates, || arena.kill())?);
                oomwhy.stop()?;
            }
        }
    }
    Ok(Counts { cells, programs, storms })
}

/// Measures the same kills without oomwhy and with it, in turns, because kills take longer in the
/// course of a boot (15 %).
fn storms(arena: &Arena) -> Result<Vec<Storm>> {
    arena.set_limit()?;
    let mut storms = Vec::new();
    for _ in 0..STORMS {
        arena.kill()?;
        storms.push(storm(arena, StormTracer::None, None)?);
        let oomwhy = start_beside(&[])?;
        // For the first report a helper process reads the kernel's symbols, once.
        arena.kill()?;
        await_reports(Some(&oomwhy), 1)?;
        for tracer in [StormTracer::Elsewhere, StormTracer::SameCpu] {
            storms.push(storm(arena, tracer, Some(&oomwhy))?);
        }
        oomwhy.stop()?;
    }
    Ok(storms)
}

fn storm(arena: &Arena, tracer: StormTracer, oomwhy: Option<&Running>) -> Result<Storm> {
    // Otherwise the kernel would print the complete reports of the first ten kills.
    let printed = arena.silence_kernel()?;
    await_reports(oomwhy, printed)?;
    // A stopped process is not woken, and its ring has room for the storm.
    let waits = oomwhy.filter(|_| tracer == StormTracer::Elsewhere);
    waits.map_or(Ok(()), |oomwhy| oomwhy.signal(Signal::STOP))?;
    let start = Instant::now();
    (0..KILLS).try_for_each(|_| arena.kill())?;
    let instructions = u64::try_from(start.elapsed().as_nanos())?;
    waits.map_or(Ok(()), |oomwhy| oomwhy.signal(Signal::CONT))?;
    await_reports(oomwhy, KILLS)?;
    println!("storm, {tracer:?}: {instructions}");
    Ok(Storm { tracer, kills: KILLS, instructions })
}

/// Waits until this many more kills are reported.
fn await_reports(oomwhy: Option<&Running>, count: u32) -> Result<()> {
    for _ in 0..oomwhy.map_or(0, |_| count) {
        let is_reported = oomwhy.is_some_and(|it| it.await_line(REPORT, TIME_TO_REPORT));
        ensure!(is_reported, "a kill was not reported");
    }
    Ok(())
}

fn start_beside(options: &[&str]) -> Result<Running> {
    Running::start(&Tool {
        name: "oomwhy".to_owned(),
        argv: [&[GUEST_OOMWHY], options].concat().into_iter().map(str::to_owned).collect(),
        stdout: Stdout::Pipe,
        ready: tracer::READY_LINE.to_owned(),
        report: String::new(),
    })
}

/// Starts oomwhy in an idle cgroup, where it runs only while no other task does.
pub(super) fn start_oomwhy(options: &[&str]) -> Result<Running> {
    let oomwhy = start_beside(options)?;
    let idle = cgroup::directory(Hierarchy::V2, "/tracer");
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu")
        .context("no cpu controller in this kernel")?;
    fs::create_dir_all(&idle)?;
    fs::write(idle.join("cpu.idle"), "1")
        .context("cpu.idle cannot be set (Linux 5.15 has it: bench a newer kernel)")?;
    fs::write(idle.join("cgroup.procs"), oomwhy.pid().to_string())?;
    Ok(oomwhy)
}

fn cell(arena: &Arena, printed: Printed, traced: bool, repeats: u32) -> Result<Cell> {
    let dump_tasks = if printed == Printed::Tasks { "1" } else { "0" };
    fs::write("/proc/sys/vm/oom_dump_tasks", dump_tasks)?;
    let candidates = arena.n_processes()? + 1;
    let pause = match printed {
        Printed::Line => {
            arena.silence_kernel()?;
            Duration::ZERO
        }
        Printed::Report | Printed::Tasks => {
            Arena::await_kernel_reports();
            PAUSE
        }
    };
    // The first kill after a change fills caches of the kernel (slabs, memory of BPF).
    thread::sleep(pause);
    arena.kill()?;
    let mut runs = Vec::new();
    for _ in 0..repeats {
        trace::clear()?;
        thread::sleep(pause);
        arena.kill()?;
        runs.push(run()?);
    }
    println!("{candidates} candidates, {printed:?}, traced {traced}: {runs:?}");
    Ok(Cell { candidates, printed, traced, runs })
}

/// Reads the times of the kill that was traced.
fn run() -> Result<Run> {
    let events = trace::read()?;
    let marks = events.iter().filter(|event| event.name == MARK).count();
    ensure!(marks == 1, "{marks} kills where one was wanted");
    let at = events.iter().position(|event| event.name == MARK);
    let (before, after) = events.split_at(at.unwrap_or_default());
    let reclaimed = before.iter().rfind(|event| event.name == RECLAIM_END);
    let next = after.iter().find(|event| NEXT.contains(&event.name.as_str()));
    let time = |event: Option<&trace::Event>, what: &str| {
        event.map(|event| event.time).with_context(|| format!("the trace has no {what}"))
    };
    let begin = time(reclaimed, RECLAIM_END)?;
    Ok(Run {
        to_mark: span(begin, time(after.first(), MARK)?),
        total: span(begin, time(next, "event after the kill")?),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a later time minus an earlier one, far below 2^53"
)]
pub(super) fn span(from: f64, to: f64) -> u64 {
    (to - from).max(0.0) as u64
}
