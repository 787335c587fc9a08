//! The verb `test`: unit tests, then each kernel's boots, then the comparison of what oomwhy and
//! the kernel said. A kernel that cannot be booted fails its tests; it does not skip them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::matrix::{self, Kernel};
use oomwhy_tests::oracle::{BOOT_ERROR, BOOTS_VARIABLE, KERNELS_VARIABLE, RESULTS_VARIABLE};
use oomwhy_tests::plan::{self, Boot, Plan};

use crate::initramfs::{Archives, Initramfs, Source};
use crate::kernels::{self, CachedKernel};
use crate::vm::{Clock, Machine};
use crate::{process, workspace};

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Only this kernel (may be given several times)
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// Only this boot, by its name in tests/src/plan.rs (may be given several times)
    #[arg(long = "boot")]
    boots: Vec<String>,
    /// Leave the unit tests out
    #[arg(long)]
    vm_only: bool,
    #[command(flatten)]
    source: Source,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernels = matrix::select(&arguments.kernels)?;
    if !arguments.vm_only {
        process::run(workspace::cargo().args(["test", "--workspace", "--exclude", "oomwhy-ebpf"]))?;
    }
    let results = workspace::vm_results()?;
    let mut archives = Archives::new(&arguments.source);
    for kernel in &kernels {
        let initramfs = archives.of(kernel.arch)?;
        boot_all(kernel, &arguments.boots, initramfs, &results.join(&kernel.name))?;
    }
    compare(&kernels, &arguments.boots, &results)
}

fn boot_all(
    kernel: &Kernel,
    names: &[String],
    initramfs: &Initramfs,
    results: &Path,
) -> Result<()> {
    let cached = kernels::cached(kernel);
    for boot in plan::boots(kernel, names) {
        let directory = results.join(boot.name);
        // What an earlier run left must not pass for this one's.
        let _ = fs::remove_dir_all(&directory);
        let booted = match &cached {
            Ok(cached) => run_boot(boot, boot.scenarios_on(kernel), cached, initramfs, &directory),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        if let Err(error) = booted {
            eprintln!("kernel {}, boot {}: {error:#}", kernel.name, boot.name);
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(BOOT_ERROR), format!("{error:#}\n"))
                .with_context(|| format!("{} cannot be written", directory.display()))?;
        }
    }
    Ok(())
}

fn run_boot(
    boot: &Boot,
    scenarios: impl Iterator<Item = &'static str>,
    kernel: &CachedKernel,
    initramfs: &Initramfs,
    results: &Path,
) -> Result<()> {
    let names = scenarios.map(str::to_owned).collect();
    let booted = Machine {
        kernel,
        initramfs,
        plan: &Plan::Scenarios(names),
        memory_mib: boot.memory_mib,
        clock: Clock::Wall,
        cmdline: boot.cmdline,
        qemu_args: boot.qemu_args,
        swap_mib: boot.swap_mib,
        live: false,
        results: results.to_owned(),
    }
    .boot()?;
    let retried = if booted.retried { ", on the second attempt" } else { "" };
    println!("{kernel}, boot {}: {:.1} s{retried}", boot.name, booted.seconds);
    Ok(())
}

fn compare(kernels: &[Kernel], boots: &[String], results: &Path) -> Result<()> {
    let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let mut oracle = workspace::cargo();
    oracle
        .args(["test", "--package", "oomwhy-tests", "--test", "oracle"])
        .env(RESULTS_VARIABLE, results)
        .env(KERNELS_VARIABLE, names.join(","))
        .env(BOOTS_VARIABLE, boots.join(","));
    if process::run(&mut oracle).is_err() {
        bail!("oomwhy and the kernel disagree, see above (results: {})", results.display());
    }
    Ok(())
}
