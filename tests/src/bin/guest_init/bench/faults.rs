//! Counts the instructions of a program that only faults in anonymous pages, with the growth
//! recorder, without it, and with other tools.

use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::bench::{FaultCell, Faults, GROUPS, Observer, Stdout, Tool};
use oomwhy_tests::plan::{GUEST_OOMWHY, HOG};
use oomwhy_tests::scenario::Hierarchy;
use oomwhy_tests::workload::{Work, Workload};

use super::counts::{CLOCK, span};
use super::tool::Running;
use super::trace;
use crate::{cgroup, tracer};

const GROUP: &str = "/faults";
/// A limit far above the memory that the program allocates.
const LIMIT: &str = "1G";
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// After a tool reports that it is ready, it may still attach probes. Idle time of the guest is
/// skipped, so this costs little.
const REST_IS_ATTACHED: Duration = Duration::from_secs(2);

/// Measures each observer.
pub(super) fn measure(mib: usize, repeats: u32, tools: &[Tool]) -> Result<Faults> {
    fs::write(HUGE_PAGES, "never").context("huge pages cannot be turned off")?;
    cgroup::make(Hierarchy::V2, GROUP, &[("memory.max", LIMIT)])?;
    trace::start(CLOCK, &[])?;
    let mut cells = Vec::new();
    let mut cell = |observer: Observer, tool: Option<&Tool>| {
        measure_one(observer, tool, mib, repeats).map(|cell| cells.push(cell))
    };
    cell(Observer::NoneAfterBoot, None)?;
    cell(Observer::Plain, Some(&oomwhy(&[])))?;
    let far = oomwhy(&["--growth", "--growth-above", "50%"]);
    cell(Observer::Far, Some(&far))?;
    cell(Observer::Near, Some(&oomwhy(&["--growth", "--growth-above", "0%"])))?;
    for tool in tools {
        cell(Observer::Tool(tool.name.clone()), Some(tool))?;
    }
    for number in 0..GROUPS {
        cgroup::make(Hierarchy::V2, &format!("/many/{number}"), &[("memory.max", LIMIT)])?;
    }
    cell(Observer::FarAmongMany, Some(&far))?;
    cell(Observer::NoneAtEnd, None)?;
    Ok(Faults { cells })
}

fn measure_one(
    observer: Observer,
    tool: Option<&Tool>,
    mib: usize,
    repeats: u32,
) -> Result<FaultCell> {
    let running = tool.map(Running::start).transpose()?;
    thread::sleep(REST_IS_ATTACHED);
    // The first run fills caches.
    run(mib)?;
    let instructions: Vec<u64> = (0..repeats).map(|_| run(mib)).collect::<Result<_>>()?;
    let map_bytes = running.as_ref().map(|running| map_bytes(running.pid())).transpose()?;
    println!("{observer:?}: {instructions:?}, maps {map_bytes:?}");
    running.map_or(Ok(()), Running::stop)?;
    Ok(FaultCell { observer, mib, instructions, map_bytes })
}

fn oomwhy(options: &[&str]) -> Tool {
    let argv = [GUEST_OOMWHY].iter().chain(options);
    Tool {
        name: "oomwhy".to_owned(),
        argv: argv.map(|&word| word.to_owned()).collect(),
        stdout: Stdout::Pipe,
        ready: tracer::READY_LINE.to_owned(),
        report: String::new(),
    }
}

/// The size of all maps that a process has open, each counted once.
fn map_bytes(pid: u32) -> Result<u64> {
    let mut maps = std::collections::BTreeMap::new();
    for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // The file may be closed by now.
        let info = fs::read_to_string(file?.path()).unwrap_or_default();
        let number = |key: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(key))?;
            value.trim().parse::<u64>().ok()
        };
        if info.contains("map_type:") {
            let id = number("map_id:").context("a map without an id")?;
            maps.insert(id, number("memlock:").context("a map of unknown size")?);
        }
    }
    Ok(maps.values().sum())
}

/// Runs the program, and returns the time between its two notes, ticks.
fn run(mib: usize) -> Result<u64> {
    let directory = cgroup::directory(Hierarchy::V2, GROUP).display().to_string();
    let workload = Workload { cgroup: Some(directory), ..Workload::new(Work::Faults { mib }) };
    trace::clear()?;
    let output = Command::new(HOG).args(workload.args()).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = trace::read()?;
    let time = |note: &str| {
        let event = events.iter().find(|event| event.fields == note);
        event.map(|event| event.time).with_context(|| format!("the trace has no {note}"))
    };
    Ok(span(time("begin")?, time("end")?))
}
