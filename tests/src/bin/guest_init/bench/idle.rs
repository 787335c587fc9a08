//! Counts the instructions of everyday operations, without oomwhy and while oomwhy is idle.
//!
//! The guest has one CPU. oomwhy waits in an idle cgroup, so its own work falls into the rests
//! between the operations. Waking it is included. The instructions of its threads are reported
//! separately.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::bench::{EVERYDAY, Idle, IdleCell, IdleTracer, Operation};
use oomwhy_tests::scenario::Hierarchy;

use super::counts::start_oomwhy;
use super::tool::Running;
use crate::cgroup;

/// After oomwhy reports that it is ready, it returns memory to the kernel, and the kernel does
/// deferred work. Idle time of the guest is skipped.
const TIME_TO_SETTLE: Duration = Duration::from_secs(3);
/// oomwhy looks up a new cgroup again, at most this long after it was made.
const TIME_TO_LOOK_UP: Duration = Duration::from_secs(5);
/// A parent with the controllers that systemd gives a slice. The new cgroup has a container's name.
const SLICE: &str = "/everyday.slice";
const CONTAINER: &str =
    "docker-5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef.scope";
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// With random addresses a process has more or fewer page tables, which changes the cost of a fork
/// by 5 %.
const RANDOM_ADDRESSES: &str = "/proc/sys/kernel/randomize_va_space";
/// The number of processes that run an operation, one after another. Some costs are the same during
/// the life of a process and differ in the next one.
const PROCESSES: u32 = 5;

/// Measures each operation beside each tracer, in turns, because operations change in the course of
/// a boot.
pub(super) fn measure(rounds: u32) -> Result<Idle> {
    fs::write(HUGE_PAGES, "never").context("huge pages cannot be turned off")?;
    fs::write(RANDOM_ADDRESSES, "0").context("random addresses cannot be turned off")?;
    cgroup::make(Hierarchy::V2, SLICE, &[])?;
    fs::write(cgroup::directory(Hierarchy::V2, SLICE).join("cgroup.subtree_control"), "+memory")?;
    let mut cells = Vec::new();
    for _ in 0..rounds {
        for tracer in [IdleTracer::None, IdleTracer::Fentry, IdleTracer::Kprobe] {
            let oomwhy = start(tracer)?;
            thread::sleep(TIME_TO_SETTLE);
            for operation in Operation::ALL {
                cells.push(cell(operation, tracer, oomwhy.as_ref())?);
            }
            oomwhy.map_or(Ok(()), Running::stop)?;
        }
    }
    Ok(Idle { cells })
}

fn start(tracer: IdleTracer) -> Result<Option<Running>> {
    let attach = match tracer {
        IdleTracer::None => return Ok(None),
        IdleTracer::Fentry => "fentry",
        IdleTracer::Kprobe => "kprobe",
    };
    start_oomwhy(&["--attach", attach]).map(Some)
}

fn cell(operation: Operation, tracer: IdleTracer, oomwhy: Option<&Running>) -> Result<IdleCell> {
    let before = run_time(oomwhy)?;
    let mut instructions = Vec::new();
    for _ in 0..PROCESSES {
        instructions.extend(run(operation, count(operation))?);
    }
    if operation == Operation::Cgroup {
        thread::sleep(TIME_TO_LOOK_UP);
    }
    let own_instructions =
        run_time(oomwhy)?.checked_sub(before).context("a thread of oomwhy has ended")?;
    let middle = instructions.get(instructions.len() / 2).copied().unwrap_or_default();
    println!("{operation:?}, {tracer:?}: {middle}, oomwhy {own_instructions}");
    Ok(IdleCell { operation, tracer, instructions, own_instructions })
}

/// How often a process runs an operation. A short operation runs more often, because an interrupt
/// changes its result more.
const fn count(operation: Operation) -> u32 {
    match operation {
        Operation::Signal => 160,
        Operation::Thread => 80,
        Operation::Faults => 20,
        Operation::Cgroup | Operation::Fork | Operation::Exec => 40,
    }
}

fn run(operation: Operation, count: u32) -> Result<Vec<u64>> {
    let new = cgroup::directory(Hierarchy::V2, SLICE).join(CONTAINER);
    let output = Command::new(EVERYDAY)
        .args([operation.word(), &count.to_string()])
        .arg(&new)
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| line.parse().context("no number of instructions")).collect()
}

/// The time that all threads of oomwhy have run, ns.
fn run_time(oomwhy: Option<&Running>) -> Result<u64> {
    let Some(oomwhy) = oomwhy else { return Ok(0) };
    let tasks = format!("/proc/{}/task", oomwhy.pid());
    let of_thread = |directory: &Path| -> Result<u64> {
        let line = fs::read_to_string(directory.join("schedstat"))?;
        Ok(line.split_whitespace().next().context("an empty schedstat")?.parse()?)
    };
    fs::read_dir(tasks)?.map(|entry| of_thread(&entry?.path())).sum()
}
