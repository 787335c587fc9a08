//! Instructions of a program that does nothing but fault in anonymous pages, with the growth recorder
//! and without.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::bench::{FaultCell, Faults, Stdout, Tool};
use oomwhy_tests::plan::{GUEST_OOMWHY, HOG};
use oomwhy_tests::scenario::Hierarchy;
use oomwhy_tests::workload::{Work, Workload};

use super::counts::{CLOCK, span};
use super::tool::Running;
use super::trace;
use crate::{cgroup, tracer};

const GROUP: &str = "/faults";
/// Far above what is taken.
const LIMIT: &str = "1G";
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// How the recorder runs: not at all, with a group far from its limit, with one that is near.
/// Without it before and after: what a young system does besides must not pass for a cost.
const WAYS: [(&str, Option<&str>); 4] = [
    ("none", None),
    ("not near its limit", Some("50%")),
    ("recorded", Some("0%")),
    ("none again", None),
];

/// Measures each way.
pub(super) fn measure(mib: usize, repeats: u32) -> Result<Faults> {
    fs::write(HUGE_PAGES, "never").context("huge pages cannot be turned off")?;
    cgroup::make(Hierarchy::V2, GROUP, &[("memory.max", LIMIT)])?;
    trace::start(CLOCK, &[])?;
    let mut cells = Vec::new();
    for (recorder, above) in WAYS {
        let oomwhy = above.map(start_oomwhy).transpose()?;
        // The first one warms caches.
        run(mib)?;
        let instructions: Vec<u64> = (0..repeats).map(|_| run(mib)).collect::<Result<_>>()?;
        println!("{recorder}: {instructions:?}");
        cells.push(FaultCell { recorder: recorder.to_owned(), mib, instructions });
        oomwhy.map_or(Ok(()), Running::stop)?;
    }
    Ok(Faults { cells })
}

fn start_oomwhy(above: &str) -> Result<Running> {
    let argv = [GUEST_OOMWHY, "--growth", "--growth-above", above].map(str::to_owned);
    Running::start(&Tool {
        name: "oomwhy".to_owned(),
        argv: argv.to_vec(),
        stdout: Stdout::Pipe,
        ready: tracer::READY_LINE.to_owned(),
        report: String::new(),
    })
}

/// From begin to end, ticks.
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
