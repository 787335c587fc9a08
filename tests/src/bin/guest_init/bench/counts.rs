//! Instructions of an invocation, with and without oomwhy, for several numbers of candidates.
//!
//! From the end of the last reclaim, which is the last trace event before the OOM killer, to the
//! mark of the victim and on to what the victim, which is the trigger too, does next: one more
//! reclaim, or its SIGKILL. oomwhy waits in an idle cgroup meanwhile: on one CPU
//! its own work would otherwise stand in the middle of what is measured. Waking it is included.

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

/// Counts instructions under -icount, and is printed without being rounded to microseconds.
pub(super) const CLOCK: &str = "x86-tsc";
const RECLAIM_END: &str = "mm_vmscan_memcg_reclaim_end";
/// Kills of a storm.
const KILLS: u32 = 100;
/// Storms of each kind.
const STORMS: u32 = 5;
/// In the first line of a report, and in no other.
const REPORT: &str = " OOM: ";
const TIME_TO_REPORT: Duration = Duration::from_secs(30);
const NEXT: [&str; 2] = ["mm_vmscan_memcg_reclaim_begin", "signal_deliver"];
const MARK: &str = "mark_victim";

/// Measures all of it.
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
            let oomwhy = traced.then(start_oomwhy).transpose()?;
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

/// The same kills without oomwhy and with it, in turns: a kill takes longer the more there were, 15
/// % in a boot.
fn storms(arena: &Arena) -> Result<Vec<Storm>> {
    arena.set_limit()?;
    let mut storms = Vec::new();
    for _ in 0..STORMS {
        arena.kill()?;
        storms.push(storm(arena, StormTracer::None, None)?);
        let oomwhy = start_beside()?;
        // The first report has a child process read the kernel's symbols, once.
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
    // What the kernel prints of the first ten would differ.
    let printed = arena.silence_kernel()?;
    await_reports(oomwhy, printed)?;
    // A stopped process is not even woken; its ring holds all of the storm.
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

/// Waits until so many more kills are reported.
fn await_reports(oomwhy: Option<&Running>, count: u32) -> Result<()> {
    for _ in 0..oomwhy.map_or(0, |_| count) {
        let is_told = oomwhy.is_some_and(|it| it.await_line(REPORT, TIME_TO_REPORT));
        ensure!(is_told, "a kill was not reported");
    }
    Ok(())
}

fn start_beside() -> Result<Running> {
    Running::start(&Tool {
        name: "oomwhy".to_owned(),
        argv: vec![GUEST_OOMWHY.to_owned()],
        stdout: Stdout::Pipe,
        ready: tracer::READY_LINE.to_owned(),
        report: String::new(),
    })
}

fn start_oomwhy() -> Result<Running> {
    let oomwhy = start_beside()?;
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
            Arena::let_kernel_speak();
            PAUSE
        }
    };
    // The first one after a change warms caches of the kernel (slabs, BPF's memory).
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

/// Reads the times of the one kill that was traced.
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
        whole: span(begin, time(next, "event after the kill")?),
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
