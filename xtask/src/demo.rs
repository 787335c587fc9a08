//! The verb `demo`: from a fresh clone to a real OOM kill explained on the terminal.

use std::io::{self, IsTerminal as _};

use anyhow::Result;
use oomwhy_tests::plan::Plan;

use crate::initramfs::{Initramfs, Source};
use crate::vm::{Clock, Machine};
use crate::{kernels, setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel, by its name in tests/kernels.toml (default: the newest)
    #[arg(long)]
    kernel: Option<String>,
    /// Show the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::base()?;
    let kernel = kernels::cached(&kernels::one(arguments.kernel.as_deref())?)?;
    let initramfs = Initramfs::build(kernel.arch, &arguments.source)?;
    println!("booting {kernel} under QEMU (emulated, a few seconds)\n");
    let plan = Plan::Demo { json: arguments.json, color: io::stdout().is_terminal() };
    Machine {
        kernel: &kernel,
        initramfs: &initramfs,
        plan: &plan,
        memory_mib: 512,
        clock: Clock::Wall,
        cmdline: "",
        qemu_args: &[],
        swap_mib: 0,
        live: true,
        results: workspace::vm_results()?.join(&kernel.name).join("demo"),
    }
    .boot()?;
    Ok(())
}
