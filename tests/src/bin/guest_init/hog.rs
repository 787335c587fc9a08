//! The workload: a process that takes memory in a chosen way.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, hint, thread};

use anyhow::{Context as _, Result};
use oomwhy_tests::workload::{READY, Work, Workload};
use rustix::process::Uid;

const MIB: usize = 1 << 20;

/// The program `hog`.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hog: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let workload = Workload::parse(env::args().skip(1))?;
    set_up(&workload)?;
    let pause = Duration::from_millis(workload.pause_ms.unwrap_or(0));
    match workload.work {
        Work::Sleep => rest(),
        Work::Anon { mib } => {
            let memory = touch(mib, pause);
            rest();
            hint::black_box(memory);
        }
        Work::Shmem { mib } => {
            write_file(mib, pause)?;
            rest();
        }
        Work::Children { count, mib } => {
            start_children(count, mib)?;
            rest();
        }
    }
    Ok(())
}

fn set_up(workload: &Workload) -> Result<()> {
    if let Some(cgroup) = &workload.cgroup {
        fs::write(format!("{cgroup}/cgroup.procs"), "0")
            .with_context(|| format!("{cgroup} cannot be joined"))?;
    }
    if let Some(value) = workload.oom_score_adj {
        fs::write("/proc/self/oom_score_adj", value.to_string())
            .context("oom_score_adj cannot be set")?;
    }
    if let Some(comm) = &workload.comm {
        fs::write("/proc/self/comm", comm).context("the name cannot be set")?;
    }
    if let Some(uid) = workload.uid {
        let uid = Uid::from_raw(uid);
        // Per thread, which is the process as long as there is only one.
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("the user cannot be set")?;
    }
    Ok(())
}

fn touch(mib: usize, pause: Duration) -> Vec<u8> {
    // One mapping, faulted in piece by piece.
    let mut memory = Vec::with_capacity(mib * MIB);
    for n_touched in 1..=mib {
        memory.resize(n_touched * MIB, 0xa5);
        hint::black_box(&mut memory);
        thread::sleep(pause);
    }
    memory
}

fn write_file(mib: usize, pause: Duration) -> Result<()> {
    let path = format!("/tmp/hog-{}", std::process::id());
    let mut file = File::create(&path).with_context(|| format!("{path} cannot be made"))?;
    let chunk = vec![0xa5; MIB];
    for _ in 0..mib {
        file.write_all(&chunk).with_context(|| format!("{path} cannot be written"))?;
        thread::sleep(pause);
    }
    Ok(())
}

fn start_children(count: usize, mib: usize) -> Result<()> {
    for _ in 0..count {
        let child = Workload {
            cgroup: None,
            oom_score_adj: None,
            comm: None,
            uid: None,
            pause_ms: None,
            work: Work::Anon { mib },
        };
        Command::new("/proc/self/exe").args(child.args()).spawn().context("a child failed")?;
    }
    Ok(())
}

fn rest() {
    println!("{READY}");
    // stdout is a pipe: nothing is seen before it is flushed.
    let _ = std::io::stdout().flush();
    loop {
        thread::park();
    }
}
