//! Starts the children of a workload.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, hint, thread};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use oomwhy_tests::plan::{BUSYBOX, HOG};
use oomwhy_tests::workload::{READY, Work, Workload};

use super::{memory, ready_and_park};

/// Starts many small processes and waits until all of them are ready.
pub(super) fn start(count: usize, mib: usize) -> Result<()> {
    let (output, stdout) = std::io::pipe()?;
    for _ in 0..count {
        let mut child = command(&Workload::new(Work::Anon { mib }));
        child.stdout(stdout.try_clone()?).spawn().context("a child failed")?;
    }
    drop(stdout);
    let n_ready = BufReader::new(output).lines().map_while(Result::ok).take(count).count();
    ensure!(n_ready == count, "{n_ready} of {count} children got ready");
    Ok(())
}

/// Starts processes that end, and does not wait for them.
pub(super) fn leave_zombies(count: usize) -> Result<()> {
    let (mut output, stdout) = std::io::pipe()?;
    for _ in 0..count {
        let mut child = Command::new(BUSYBOX);
        child.arg("true").stdout(stdout.try_clone()?).spawn().context("a child failed")?;
    }
    drop(stdout);
    // The pipe ends when the last child has closed it, which it does when it exits.
    output.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Makes and removes cgroups below the workload's own. They have no controllers, so that their
/// creation is quick.
pub(super) fn make_cgroups(workload: &Workload, count: usize) -> Result<()> {
    let parent = workload.cgroup.as_deref().context("it has no cgroup")?;
    for number in 0..count {
        let path = format!("{parent}/brief-{number}");
        fs::create_dir(&path).with_context(|| format!("{path} cannot be made"))?;
        fs::remove_dir(&path).with_context(|| format!("{path} cannot be removed"))?;
    }
    Ok(())
}

/// Runs the workload as the first process of a new pid namespace, and ends when it ends.
pub(super) fn run_in_new_pid_namespace(workload: Workload) -> Result<()> {
    // Only the children of this process are in the new namespace.
    unshare(CloneFlags::CLONE_NEWPID).context("there are no pid namespaces")?;
    let inner = Workload { pid_namespaces: workload.pid_namespaces - 1, ..workload };
    // Under this name it runs as a workload, although its pid is 1.
    let mut child = Command::new(HOG).args(inner.args()).stdin(Stdio::null()).spawn()?;
    child.wait()?;
    Ok(())
}

/// Forks processes in hundreds, because a shell looks at all of its children for each fork. Each
/// process waits for a FIFO that is never opened. Each complete hundred prints a line.
const CROWD: &str = r"
    mkfifo=$1 hundreds=$2 ready=$3
    for pipe in gate done; do $mkfifo mkfifo /tmp/$pipe-$$; done
    exec 4<>/tmp/gate-$$ 5<>/tmp/done-$$
    n=0
    while [ $n -lt $hundreds ]; do
        (
            i=1
            while [ $i -lt 100 ]; do (read _ <&4) & i=$((i + 1)); done
            echo >&5
            read _ <&4
        ) &
        n=$((n + 1))
    done
    while [ $n -gt 0 ]; do read _ <&5; n=$((n - 1)); done
    echo $ready
    read _ <&4
";

/// Becomes a shell with this many children that do nothing.
pub(super) fn become_crowd(count: usize) -> Result<()> {
    ensure!(count.is_multiple_of(100), "a crowd comes in hundreds");
    let hundreds = (count / 100).to_string();
    let mut shell = Command::new(BUSYBOX);
    shell.args(["sh", "-c", CROWD, "crowd", BUSYBOX, &hundreds, READY]);
    Err(shell.exec()).context("there is no busybox")
}

/// The command that starts a workload as a child of this process.
pub(super) fn command(workload: &Workload) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(workload.args()).stdin(Stdio::null());
    command
}

/// Touches memory and starts a child that is blocked while it opens its program. Until then it runs
/// in its parent's memory, and the thread that started it waits.
pub(super) fn hold_in_vfork(mib: usize, pause: Duration) -> Result<()> {
    const PROGRAM: &str = "/tmp/never-opened";
    fs::write(PROGRAM, "")?;
    fs::set_permissions(PROGRAM, fs::Permissions::from_mode(0o755))?;
    let gate = Fanotify::init(InitFlags::FAN_CLASS_CONTENT, EventFFlags::O_RDONLY)
        .context("fanotify is missing")?;
    gate.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN_PERM, rustix::fs::CWD, Some(PROGRAM))
        .context("opening cannot be watched")?;
    // The child inherits the name of the thread.
    thread::Builder::new()
        .name("vfork-child".to_owned())
        .spawn(|| Command::new(PROGRAM).spawn())?;
    // The event arrives when the child opens its program, and is never answered.
    let _blocked = gate.read_events().context("no process opened the program")?;
    let memory = memory::touch(mib, pause);
    ready_and_park();
    hint::black_box((memory, gate));
    Ok(())
}
