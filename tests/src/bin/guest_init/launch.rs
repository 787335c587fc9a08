//! Runs a program as a plain user with some capabilities, or as in a container:
//! `/bin/launch [--user CAPABILITIES] [--container] -- PROGRAM ARGS`. Attempts to harm the host run
//! in a cgroup, in a container with a root of its own or in the session of a user:
//! `/bin/launch --jail CGROUP -- PROGRAM ARGS`, `/bin/launch --session CGROUP -- PROGRAM ARGS`.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, unshare};
use oomwhy_tests::plan::{BOX, LAUNCHER};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_res_gid, set_thread_res_uid,
};

use crate::{jail, mounts};

const CONTAINER: &str = "--container";
const USER: &str = "--user";
pub(crate) const JAIL: &str = "--jail";
pub(crate) const SESSION: &str = "--session";
/// The id of the plain user.
pub(crate) const PLAIN_USER: u32 = 1000;

/// The command that starts the program, or the launcher if there are options.
pub(crate) fn command(options: &[&str], program: &str, args: &[&str]) -> Command {
    if options.is_empty() {
        let mut command = Command::new(program);
        command.args(args);
        return command;
    }
    let mut command = Command::new(LAUNCHER);
    command.args(options).args(["--", program]).args(args);
    command
}

/// Starts such a command.
pub(crate) fn spawn(options: &[&str], mut command: Command) -> Result<Child> {
    if options.contains(&CONTAINER) { in_new_pid_namespace(command) } else { Ok(command.spawn()?) }
}

/// Starts a command as the first process of a new pid namespace. A thread makes the namespace,
/// because only later children of the thread are in it.
pub(crate) fn in_new_pid_namespace(mut command: Command) -> Result<Child> {
    let spawn = move || {
        unshare(CloneFlags::CLONE_NEWPID).context("there are no pid namespaces")?;
        Ok(command.spawn()?)
    };
    match thread::spawn(spawn).join() {
        Ok(child) => child,
        Err(_) => bail!("the thread that starts it panicked"),
    }
}

/// The entry point of the program `launch`.
pub(crate) fn main() -> ExitCode {
    if let Err(error) = run() {
        eprintln!("launch: {error:#}");
    }
    ExitCode::FAILURE
}

/// Becomes the program. Returns only if that fails.
fn run() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let end = words.iter().position(|word| word == "--").context("no -- before the program")?;
    let (options, program) = (&words[..end], &words[end + 1..]);
    if options.iter().any(|option| option == CONTAINER) {
        contain()?;
    }
    if let Some(cgroup) = value_of(options, JAIL) {
        jail::join(cgroup)?;
        jail::enter()?;
    }
    if let Some(cgroup) = value_of(options, SESSION) {
        jail::join(cgroup)?;
        become_user("")?;
    }
    if let Some(capabilities) = value_of(options, USER) {
        become_user(capabilities)?;
    }
    let (name, args) = program.split_first().context("no program")?;
    Err(Command::new(name).args(args).exec()).with_context(|| format!("{name} cannot be started"))
}

/// The word after an option.
fn value_of<'a>(options: &'a [String], option: &str) -> Option<&'a str> {
    let index = options.iter().position(|it| it == option)?;
    options.get(index + 1).map(String::as_str)
}

/// Isolates this process as a container engine does by default: own mounts, /sys and the cgroups
/// read-only, no tracefs, no debugfs, no bpffs. The parent makes the pid namespace.
fn contain() -> Result<()> {
    fs::write(format!("/sys/fs/cgroup{BOX}/cgroup.procs"), "0").context("the box is missing")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private)?;
    for target in ["/sys/fs/bpf", "/sys/kernel/tracing", "/sys/kernel/debug", "/sys/fs/cgroup"] {
        mounts::unmount(target)?;
    }
    mounts::mount("cgroup2", "/sys/fs/cgroup", "")?;
    mounts::mount("proc", "/proc", "")?;
    for target in ["/sys/fs/cgroup", "/sys"] {
        mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")
            .with_context(|| format!("{target} cannot be made read-only"))?;
    }
    Ok(())
}

/// Becomes the plain user with these capabilities, which started programs inherit.
fn become_user(names: &str) -> Result<()> {
    let names = names.split(',').filter(|name| !name.is_empty());
    let set = names.map(capability).collect::<Result<CapabilitySet>>()?;
    // Before 5.11 the memory of BPF maps counts against this limit (systemd: LimitMEMLOCK=).
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(PLAIN_USER), Gid::from_raw(PLAIN_USER));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    set_capabilities(None, CapabilitySets { effective: set, permitted: set, inheritable: set })?;
    for capability in set.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

fn capability(name: &str) -> Result<CapabilitySet> {
    CapabilitySet::from_name(&name.to_uppercase())
        .with_context(|| format!("there is no capability {name}"))
}
