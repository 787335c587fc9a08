//! Processes that were killed and do not exit: a ptrace tracer can stop a process while it exits,
//! before it releases its memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use oomwhy_tests::workload::{READY, Work, Workload};

use super::{children, ready_and_park};

/// More memory than any guest has.
const WITHOUT_END_MIB: usize = 1 << 20;

/// Kills a child, and blocks its exit as long as this process lives.
pub(super) fn kill_and_hold(workload: &Workload, mib: usize) -> Result<()> {
    let undead = start_traced(workload, mib)?;
    kill(undead, Signal::SIGKILL)?;
    await_stop(undead)?;
    ready_and_park();
    Ok(())
}

/// Starts a child that the OOM killer will kill and that does not exit, and another one whose
/// allocation waits for that exit and which is killed meanwhile.
pub(super) fn kill_greedy(workload: &Workload, mib: usize) -> Result<()> {
    let undead = start_traced(workload, mib)?;
    let greedy = Workload {
        comm: Some("greedy".to_owned()),
        oom_score_adj: Some(0),
        work: Work::Anon { mib: WITHOUT_END_MIB },
        ..workload.clone()
    };
    let mut greedy = children::command(&greedy).stdout(Stdio::null()).spawn()?;
    await_stop(undead)?;
    greedy.kill()?;
    greedy.wait()?;
    ready_and_park();
    Ok(())
}

/// Starts a child with memory that will stop while it exits.
fn start_traced(workload: &Workload, mib: usize) -> Result<Pid> {
    let undead =
        Workload { comm: Some("undead".to_owned()), work: Work::Anon { mib }, ..workload.clone() };
    let mut child = children::command(&undead).stdout(Stdio::piped()).spawn()?;
    ensure!(is_ready(&mut child), "the child did not get its memory");
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT).context("the child cannot be traced")?;
    Ok(pid)
}

fn is_ready(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == READY)
}

fn await_stop(pid: Pid) -> Result<()> {
    match waitpid(pid, None)? {
        WaitStatus::PtraceEvent(..) => Ok(()),
        other => bail!("the child did not stop on its way out: {other:?}"),
    }
}
