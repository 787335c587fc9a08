//! PID 1 of the virtual machine. Under any other name or pid it is the workload.
//!
//! It mounts file systems, carries out the plan, sends the results, and powers off. It powers off
//! after an error too: only the end marker shows the host that the run is complete.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the console is the only output")]

mod attempts;
mod bench;
mod cgroup;
mod demo;
mod hog;
mod host_facts;
mod jail;
mod kernel_log;
mod launch;
mod mounts;
mod peer;
mod program;
mod results;
mod runner;
mod settings;
mod tracer;
mod wait;

use std::process::{Command, ExitCode};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::plan::{CONSOLE_BEGIN, ERROR_FILE, GUEST_PATH, HOG, LAUNCHER, Plan};
use oomwhy_tests::scenario::{self, Hierarchy};
use oomwhy_tests::scenarios;
use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    if env::args_os().next().is_some_and(|name| name == LAUNCHER) {
        return launch::main();
    }
    // A workload can be the first process of its own pid namespace.
    let is_workload = env::args_os().next().is_some_and(|name| name == HOG);
    if is_workload || !rustix::process::getpid().is_init() {
        return hog::main();
    }
    if let Err(error) = run().or_else(|error| results::store(ERROR_FILE, format!("{error:#}\n"))) {
        eprintln!("guest-init: {error:#}");
    }
    if let Err(error) = results::send_end() {
        eprintln!("guest-init: the results cannot be sent: {error:#}");
    }
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        eprintln!("guest-init: the machine cannot be powered off: {error}");
    }
    loop {
        thread::park();
    }
}

fn run() -> Result<()> {
    mounts::base()?;
    let plan = fs::read(GUEST_PATH).context("the initramfs has no plan")?;
    let plan: Plan = serde_json::from_slice(&plan).context("the plan cannot be read")?;
    println!("{CONSOLE_BEGIN}");
    match plan {
        Plan::Scenarios { names, share_tracers } => run_scenarios(&names, share_tracers),
        Plan::HostFacts => host_facts::collect(),
        Plan::Demo { json, color } => {
            mounts::cgroup(Hierarchy::V2)?;
            demo::run(json, color)
        }
        Plan::Bench(bench) => {
            mounts::cgroup(Hierarchy::V2)?;
            bench::run(&bench)
        }
        Plan::Command(argv) => run_command(&argv),
    }
}

/// Settings that make the emulation faster. Programs always get the same addresses, because QEMU
/// translates code again at each new address, which took more than half of a storm. Grace periods
/// use interrupts instead of waiting for ticks, because hundreds of cgroups are made and removed.
/// Measurements do without these settings.
const FOR_SPEED: [(&str, &str); 2] =
    [("/proc/sys/kernel/randomize_va_space", "0"), ("/sys/kernel/rcu_expedited", "1")];

fn run_scenarios(names: &[String], share_tracers: bool) -> Result<()> {
    for (file, value) in FOR_SPEED {
        fs::write(file, value).with_context(|| format!("{file} cannot be written"))?;
    }
    let find = |name: &String| {
        scenarios::find(name).with_context(|| format!("there is no scenario {name:?}"))
    };
    let all = names.iter().map(find).collect::<Result<Vec<_>>>()?;
    let hierarchy = all.first().context("the plan has no scenario")?.hierarchy;
    mounts::cgroup(hierarchy)?;
    for scenario in &all {
        let name = scenario.name;
        ensure!(scenario.hierarchy == hierarchy, "{name} needs a boot with its hierarchy");
    }
    let groups = if share_tracers {
        scenario::by_tracer(&all)
    } else {
        all.iter().map(|scenario| vec![*scenario]).collect()
    };
    for group in groups {
        let names: Vec<&str> = group.iter().map(|scenario| scenario.name).collect();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        println!("{names:?} at {} s", uptime.split(' ').next().unwrap_or_default());
        runner::run(&group)?;
    }
    Ok(())
}

fn run_command(argv: &[String]) -> Result<()> {
    mounts::cgroup(Hierarchy::V2)?;
    // An init system does the same.
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")?;
    let (program, args) = argv.split_first().context("the plan names no command")?;
    let status = Command::new(program)
        .args(args)
        .env("PATH", "/bin:/sbin:/")
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    println!("### {program}: {status}");
    results::store("exit.txt", format!("{}\n", tracer::describe(status)))
}
