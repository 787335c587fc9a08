//! The verb `vm`: one command in a virtual machine, for a look at how a kernel behaves.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::plan::Plan;

use crate::initramfs::{Initramfs, Source};
use crate::kernels;
use crate::vm::{Clock, Machine};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel, by its name in tests/kernels.toml (default: the newest)
    #[arg(long)]
    kernel: Option<String>,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// A disk for swap, in MiB
    #[arg(long, default_value_t = 0)]
    swap: u64,
    /// Words for the kernel's command line
    #[arg(long, default_value = "")]
    cmdline: String,
    /// A file to take along, as HOST_PATH:GUEST_PATH (a static /bin/busybox is useful)
    #[arg(long = "file", value_name = "HOST:GUEST")]
    files: Vec<String>,
    /// Let the guest's clock count instructions, on one CPU: what takes how long then repeats
    #[arg(long)]
    icount: bool,
    #[command(flatten)]
    source: Source,
    /// Carry out what the kernel says about itself (BTF, symbols, formats) instead of a command
    #[arg(long, conflicts_with = "command")]
    host_facts: bool,
    /// Run these scenarios instead of a command
    #[arg(long = "scenario", conflicts_with_all = ["command", "host_facts"])]
    scenarios: Vec<String>,
    /// The command (oomwhy is at /oomwhy, the workload at /bin/hog)
    #[arg(last = true)]
    command: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernel = kernels::cached(&kernels::one(arguments.kernel.as_deref())?)?;
    let mut initramfs = Initramfs::build(kernel.arch, &arguments.source)?;
    for file in &arguments.files {
        let (source, target) =
            file.split_once(':').with_context(|| format!("{file:?} is not HOST:GUEST"))?;
        initramfs.add_file(Path::new(source), target)?;
    }
    let plan = plan(arguments)?;
    if plan.needs_python() {
        initramfs.add_python()?;
    }
    let results = workspace::vm_results()?.join(&kernel.name).join("command");
    let booted = Machine {
        kernel: &kernel,
        initramfs: &initramfs,
        plan: &plan,
        memory_mib: arguments.memory,
        clock: if arguments.icount { Clock::Instructions } else { Clock::Wall },
        cmdline: &arguments.cmdline,
        qemu_args: &[],
        swap_mib: arguments.swap,
        live: true,
        results: results.clone(),
    }
    .boot()?;
    println!("{kernel}: {:.1} s; results in {}", booted.seconds, results.display());
    Ok(())
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    if arguments.host_facts {
        return Ok(Plan::HostFacts);
    }
    if !arguments.scenarios.is_empty() {
        return Ok(Plan::Scenarios(arguments.scenarios.clone()));
    }
    ensure!(!arguments.command.is_empty(), "no command (give one behind --)");
    Ok(Plan::Command(arguments.command.clone()))
}
