//! The verb `fixtures`: copies small files from virtual machines, for tests that need no kernel.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use oomwhy_tests::facts::file;
use oomwhy_tests::matrix::{self, Arch, Kernel};
use oomwhy_tests::plan::{self, Plan};
use oomwhy_tests::verified;

use crate::fetch::kernel;
use crate::vm::Machine;
use crate::vm::initramfs::{Archives, Initramfs, Source};
use crate::{checks, process, workspace};

/// The scenarios whose recordings and reports are kept.
const KEPT: &[&str] =
    &["memcg_v2", "memcg_v1", "nested_limit", "deep_path", "trigger_is_not_victim", "global"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Refresh only this kernel's files (may be given several times)
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// Boot the kernels and refresh their reduced BTF, instead of copying results of `test`
    #[arg(long)]
    btf: bool,
    /// Store how far the verifier walked through each program in the results of `test`
    #[arg(long, conflicts_with = "btf")]
    verified: bool,
}

impl Arguments {
    /// The kernels whose files are refreshed.
    pub(crate) fn kernels(&self) -> Result<Vec<Kernel>> {
        matrix::select(&self.kernels, matrix::Extent::Whole)
    }

    /// Whether kernels are booted.
    pub(crate) const fn boots(&self) -> bool {
        self.btf
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernels = arguments.kernels()?;
    let results = workspace::vm_results()?;
    if arguments.verified {
        let written = verified::write(&results)?;
        println!("the verified walks of {} are stored", written.join(", "));
        return Ok(());
    }
    if arguments.btf {
        let mut archives = Archives::new(Source::default());
        // This one runs on the host.
        let oomwhy =
            workspace::build_for_guest(Arch::Amd64, "oomwhy", "oomwhy", workspace::RELEASE, &[])?;
        return kernels.iter().try_for_each(|kernel| {
            reduce_btf(kernel, &*archives.of(kernel.arch)?, &oomwhy, &results)
        });
    }
    kernels.iter().try_for_each(|kernel| keep(kernel, &results.join(&kernel.name)))
}

fn reduce_btf(kernel: &Kernel, initramfs: &Initramfs, oomwhy: &Path, results: &Path) -> Result<()> {
    let of_boot = results.join(&kernel.name).join("host_facts");
    let cached = kernel::cached(kernel)?;
    let machine = Machine::new(&cached, initramfs, &Plan::HostFacts, of_boot);
    machine.boot()?;
    let btf = machine.results.join("host_facts/btf/vmlinux");
    checks::kernel_proto::record(&btf, &kernel.name)?;
    let reduced = process::output_bytes(process::start(oomwhy).arg("reduced-btf").arg(btf))
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
        format!(
            "{} cannot be copied\nhint: create it with cargo xtask test --whole",
            source.display()
        )
    })?;
    Ok(())
}
