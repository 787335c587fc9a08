//! The workload: a process that allocates memory in a chosen way.

mod children;
mod faults;
mod memory;
mod scores;
mod undead;

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, hint, thread};

use anyhow::{Context as _, Result};
use oomwhy_tests::plan::HOG;
use oomwhy_tests::programs;
use oomwhy_tests::scenario::bytes;
use oomwhy_tests::workload::{READY, Work, Workload};
use rustix::process::Uid;

/// The entry point of the program `hog`.
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
    if workload.pid_namespaces > 0 {
        return children::run_in_new_pid_namespace(workload);
    }
    match workload.work {
        Work::Undead { mib } => return undead::kill_and_hold(&workload, mib),
        Work::KillGreedy { mib } => return undead::kill_greedy(&workload, mib),
        _ => set_up(&workload)?,
    }
    let pause = Duration::from_millis(workload.pause_ms.unwrap_or(0));
    match workload.work {
        Work::Sleep | Work::Undead { .. } | Work::KillGreedy { .. } => ready_and_park(),
        Work::Anon { mib } => {
            let memory = memory::touch(mib, pause);
            ready_and_park();
            hint::black_box(memory);
        }
        Work::Shmem { mib } => {
            memory::write_file(mib, pause)?;
            ready_and_park();
        }
        Work::Children { count, mib } => {
            children::start(count, mib)?;
            ready_and_park();
        }
        Work::Zombies { count, mib } => {
            children::leave_zombies(count)?;
            hint::black_box(memory::touch(mib, pause));
        }
        Work::SecondThread { mib } => return memory::touch_in_second_thread(mib, pause),
        Work::VforkChild { mib } => return children::hold_in_vfork(mib, pause),
        Work::Crowd { count } => return children::become_crowd(count),
        Work::Become { program, .. } => return becomes(workload.work, program),
        Work::Saw { mib, times } => memory::saw(mib, times, pause),
        Work::Jump { mib, seconds } => {
            memory::jump(mib, Duration::from_secs(u64::try_from(seconds)?), pause);
        }
        Work::Faults { mib } => return faults::note(mib),
        Work::Cgroups { count } => return children::make_cgroups(&workload, count),
        Work::ReadScores => return scores::read(),
    }
    Ok(())
}

/// Becomes a program, which gets the same command line after the words of its interpreter.
fn becomes(work: Work, program: usize) -> Result<()> {
    let path = programs::path(program).context("no such program")?;
    let mut command = Command::new(path);
    command.arg0(HOG).args(work.words_before()).args(env::args().skip(1));
    Err(command.exec()).context("it cannot be executed")
}

fn set_up(workload: &Workload) -> Result<()> {
    if let Some(value) = workload.oom_score_adj {
        fs::write("/proc/self/oom_score_adj", value.to_string())
            .context("oom_score_adj cannot be set")?;
    }
    if let Some(comm) = &workload.comm {
        fs::write("/proc/self/comm", bytes(comm)).context("the name cannot be set")?;
    }
    // From here on the workload can be killed, so its name is already set.
    if let Some(cgroup) = &workload.cgroup {
        let cgroup = bytes(cgroup);
        fs::write(Path::new(OsStr::from_bytes(&cgroup)).join("cgroup.procs"), "0")
            .with_context(|| format!("{} cannot be joined", cgroup.escape_ascii()))?;
    }
    if let Some(uid) = workload.uid {
        let uid = Uid::from_raw(uid);
        // The call changes the thread, which is the process as long as it has one thread.
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("the user cannot be set")?;
    }
    Ok(())
}

fn ready() {
    // The reader may have closed the pipe.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
}

fn ready_and_park() {
    ready();
    loop {
        thread::park();
    }
}
