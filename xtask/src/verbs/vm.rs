//! The verb `vm`: runs one command in a virtual machine.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::matrix::Kernel;
use oomwhy_tests::plan::Plan;

use crate::fetch::kernel;
use crate::vm::initramfs::{Initramfs, Source};
use crate::vm::{Clock, Machine};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Boot this kernel, by its name in tests/kernels.toml [default: the newest]
    #[arg(long)]
    kernel: Option<String>,
    /// Give the guest this much memory, in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Add a disk for swap of this size, in MiB
    #[arg(long, default_value_t = 0)]
    swap: u64,
    /// Append this text to the kernel's command line
    #[arg(long, default_value = "")]
    cmdline: String,
    /// Copy a file of the host into the guest (may be given several times)
    #[arg(long = "file", value_name = "HOST:GUEST")]
    files: Vec<String>,
    /// Run the guest's clock by instructions, on one CPU, so that measurements can be repeated
    #[arg(long)]
    icount: bool,
    #[command(flatten)]
    source: Source,
    /// Collect the kernel's BTF, symbols and tracepoint formats instead of running a command
    #[arg(long, conflicts_with = "command")]
    host_facts: bool,
    /// Run these scenarios instead of a command
    #[arg(long = "scenario", conflicts_with_all = ["command", "host_facts"])]
    scenarios: Vec<String>,
    /// Run this command; the guest has /oomwhy, the workload /bin/hog and /bin/busybox
    #[arg(last = true)]
    command: Vec<String>,
}

impl Arguments {
    /// The kernel to boot.
    pub(crate) fn kernel(&self) -> Result<Kernel> {
        kernel::one(self.kernel.as_deref())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernel = kernel::cached(&arguments.kernel()?)?;
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
        memory_mib: arguments.memory,
        clock: if arguments.icount { Clock::Instructions } else { Clock::Wall },
        cmdline: &arguments.cmdline,
        swap_mib: arguments.swap,
        live: true,
        ..Machine::new(&kernel, &initramfs, &plan, results.clone())
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
        let names = arguments.scenarios.clone();
        return Ok(Plan::Scenarios { names, share_tracers: false });
    }
    ensure!(
        !arguments.command.is_empty(),
        "no command is given\nhint: cargo xtask vm -- /oomwhy check"
    );
    Ok(Plan::Command(arguments.command.clone()))
}
