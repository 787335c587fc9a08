//! The verb `demo`: explains a real OOM kill on the terminal.

use std::io::{self, IsTerminal as _};

use anyhow::Result;
use oomwhy_tests::matrix::Kernel;
use oomwhy_tests::plan::Plan;

use crate::fetch::kernel;
use crate::vm::Machine;
use crate::vm::initramfs::{Initramfs, Source};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Boot this kernel, by its name in tests/kernels.toml [default: the newest]
    #[arg(long)]
    kernel: Option<String>,
    /// Show the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl Arguments {
    /// The kernel to boot.
    pub(crate) fn kernel(&self) -> Result<Kernel> {
        kernel::one(self.kernel.as_deref())
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernel = kernel::cached(&arguments.kernel()?)?;
    let initramfs = Initramfs::build(kernel.arch, &arguments.source)?;
    println!("booting {kernel} under QEMU (emulated, a few seconds)\n");
    let plan = Plan::Demo { json: arguments.json, color: io::stdout().is_terminal() };
    let results = workspace::vm_results()?.join(&kernel.name).join("demo");
    Machine { live: true, ..Machine::new(&kernel, &initramfs, &plan, results) }.boot()?;
    Ok(())
}
