//! The verb `fixtures`: small files out of virtual machines, for tests that need no kernel.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use oomwhy_tests::facts::file;
use oomwhy_tests::matrix::{self, Arch, Kernel};
use oomwhy_tests::plan::{self, Plan};

use crate::initramfs::{Archives, Initramfs, Source};
use crate::vm::{Clock, Machine};
use crate::{checks, kernels, process, workspace};

/// The scenarios whose recordings and reports are kept.
const KEPT: &[&str] =
    &["memcg_v2", "memcg_v1", "nested_limit", "deep_path", "trigger_is_not_victim", "global"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this kernel (may be given several times)
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// Boot the kernels and refresh their reduced BTF, instead of copying what `test` left
    #[arg(long)]
    btf: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernels = matrix::select(&arguments.kernels)?;
    let results = workspace::vm_results()?;
    if arguments.btf {
        let source = Source::default();
        let mut archives = Archives::new(&source);
        // The host runs it.
        let oomwhy = workspace::build_for_guest(Arch::Amd64, "oomwhy", "oomwhy", &[])?;
        return kernels.iter().try_for_each(|kernel| {
            reduce_btf(kernel, &*archives.of(kernel.arch)?, &oomwhy, &results)
        });
    }
    kernels.iter().try_for_each(|kernel| keep(kernel, &results.join(&kernel.name)))
}

fn reduce_btf(kernel: &Kernel, initramfs: &Initramfs, oomwhy: &Path, results: &Path) -> Result<()> {
    let machine = Machine {
        kernel: &kernels::cached(kernel)?,
        initramfs,
        plan: &Plan::HostFacts,
        memory_mib: 512,
        clock: Clock::Wall,
        cmdline: "",
        qemu_args: &[],
        swap_mib: 0,
        live: false,
        results: results.join(&kernel.name).join("host_facts"),
    };
    machine.boot()?;
    let btf = machine.results.join("host_facts/btf/vmlinux");
    checks::kernel_proto::record(&btf, &kernel.name)?;
    let reduced = process::output_bytes(Command::new(oomwhy).arg("reduced-btf").arg(btf))
        .with_context(|| format!("the BTF of kernel {} cannot be reduced", kernel.name))?;
    let target = workspace::root().join("tests/fixtures/btf").join(format!("{}.btf", kernel.name));
    fs::write(&target, reduced)
        .with_context(|| format!("{} cannot be written", target.display()))?;
    println!("{}", target.display());
    Ok(())
}

fn keep(kernel: &Kernel, results: &Path) -> Result<()> {
    let target = workspace::root().join("tests/fixtures/wire").join(&kernel.name);
    fs::create_dir_all(&target)?;
    for boot in plan::boots(kernel, &[]) {
        for scenario in boot.scenarios_on(kernel).filter(|scenario| KEPT.contains(scenario)) {
            let source = results.join(boot.name).join(scenario);
            copy(&source.join(file::RECORDING), &target.join(format!("{scenario}.rec")))?;
            copy(&source.join(file::REPORT), &target.join(format!("{scenario}.jsonl")))?;
        }
    }
    println!("{}", target.display());
    Ok(())
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    fs::copy(source, target).with_context(|| {
        format!("{} cannot be copied (cargo xtask test makes it)", source.display())
    })?;
    Ok(())
}
