//! The verb `test`: unit tests, beside them each kernel's boots, then the comparison of oomwhy's
//! reports with the kernel's log. A kernel that cannot be booted fails its tests; it does not skip
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, bail};
use oomwhy_tests::matrix::{self, Arch, Extent, Kernel};
use oomwhy_tests::oracle::{
    BOOT_ERROR, BOOTS_VARIABLE, KERNELS_VARIABLE, RESULTS_VARIABLE, WHOLE_VARIABLE,
};
use oomwhy_tests::plan::{self, Boot, Plan};

use super::containers;
use crate::fetch::kernel::{self, CachedKernel};
use crate::fetch::{debian_root, python};
use crate::install::needs::Program;
use crate::vm::Machine;
use crate::vm::initramfs::{Archives, Initramfs, Source};
use crate::vm::timing::{Timings, timed};
use crate::{process, workspace};

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Boot only this kernel (may be given several times)
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// Run only this boot, by its name in tests/src/plan.rs (may be given several times)
    #[arg(long = "boot")]
    boots: Vec<String>,
    /// Run every scenario on every kernel, as `cargo xtask proof matrix` does
    #[arg(long)]
    whole: bool,
    /// Skip the unit tests
    #[arg(long)]
    vm_only: bool,
    /// Run this many virtual machines at once [default: one more than CPUs, at most 8]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    source: Source,
}

impl Arguments {
    /// The kernels to boot.
    pub(crate) fn kernels(&self) -> Result<Vec<Kernel>> {
        matrix::select(&self.kernels, self.extent())
    }

    pub(crate) const fn has_unit_tests(&self) -> bool {
        !self.vm_only
    }

    fn extent(&self) -> Extent {
        if self.whole { Extent::Whole } else { Extent::Short }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernels = arguments.kernels()?;
    let mut archives = Archives::new(arguments.source.clone());
    let extent = arguments.extent();
    let share_tracers = extent == Extent::Short;
    let scope = Scope { kernels: &kernels, boots: &arguments.boots, extent, share_tracers };
    if !arguments.has_unit_tests() {
        return boot_and_compare(scope, &mut archives, arguments.jobs, None);
    }
    process::require(Program::BpfLinker)?;
    process::require(Program::Go)?;
    // The last steps of the builds, and some unit tests, use a single CPU. So the unit tests are
    // built and run beside the programs for the guests and the first machines.
    thread::scope(|threads| {
        let tests = threads.spawn(|| timed("unit tests", || process::run(&mut unit_tests())));
        threads.spawn(|| fetch(scope));
        let compared = timed("builds", || archives.build(&scope.archs()))
            .and_then(|()| boot_and_compare(scope, &mut archives, arguments.jobs, None));
        let tested = tests.join().map_err(|_| anyhow!("the thread of the unit tests panicked"))?;
        match (tested, compared) {
            (Ok(()), compared) => compared,
            (Err(error), Ok(())) => Err(error.context("unit tests failed, see above")),
            (Err(error), Err(other)) => {
                Err(other.context(format!("unit tests failed too, see above: {error:#}")))
            }
        }
    })
}

/// Selects the same packages everywhere, so the dependencies have the same features and are built
/// once.
fn unit_tests() -> Command {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--exclude", "oomwhy-ebpf"]);
    command
}

/// Fetches kernels and file systems. What cannot be fetched is tried again before the machines
/// start, and reported then.
fn fetch(scope: Scope<'_>) {
    for kernel in scope.kernels {
        let _ = kernel::cached(kernel);
    }
    if containers::of(scope.kernels, scope.boots).is_some() {
        let _ = debian_root::cached();
    }
    let _ = python::files();
}

/// The part of the matrix that is booted and compared.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Kernels, selected to this extent.
    pub(crate) kernels: &'a [Kernel],
    /// Names of boots; all if empty.
    pub(crate) boots: &'a [String],
    pub(crate) extent: Extent,
    /// Scenarios with the same options share an oomwhy. Otherwise each scenario starts its own one.
    pub(crate) share_tracers: bool,
}

impl Scope<'_> {
    /// The architectures of the machines that are booted.
    fn archs(self) -> BTreeSet<Arch> {
        let has_boots = |kernel: &&Kernel| plan::boots(kernel, self.boots).next().is_some();
        self.kernels.iter().filter(has_boots).map(|kernel| kernel.arch).collect()
    }
}

/// Boots kernels, and compares oomwhy's reports with the kernels' logs. The machines have two CPUs
/// unless `cpus` says otherwise.
pub(crate) fn boot_and_compare(
    scope: Scope<'_>,
    archives: &mut Archives,
    jobs: Option<NonZero<usize>>,
    cpus: Option<&'static str>,
) -> Result<()> {
    let Scope { kernels, boots, .. } = scope;
    let results = workspace::vm_results()?;
    archives.build(&scope.archs())?;
    let containers = containers::job(kernels, boots, archives)?;
    let all = prepare(scope, archives, &results, cpus)?;
    let timings = Timings::default();
    let mut queue: Vec<Box<dyn Fn() + Sync>> = Vec::new();
    // The longest boot is the first one.
    queue.extend(containers.iter().map(|job| Box::new(|| job.run(&timings)) as _));
    queue.extend(all.iter().map(|job| Box::new(|| job.run(&timings)) as _));
    timed("machines", || run_all(&queue, jobs.map_or_else(default_jobs, NonZero::get)));
    let compared = timed("comparison", || compare(scope, &results));
    timings.print();
    match containers.iter().try_for_each(containers::Job::check) {
        Err(error) if compared.is_err() => eprintln!("{error:#}"),
        checked => checked?,
    }
    compared
}

struct Job {
    /// The kernel, or why it cannot be fetched.
    image: Arc<Result<CachedKernel>>,
    boot: &'static Boot,
    plan: Plan,
    initramfs: Arc<Initramfs>,
    results: PathBuf,
    cpus: Option<&'static str>,
}

/// Fetches and builds everything that the boots need.
fn prepare(
    scope: Scope<'_>,
    archives: &mut Archives,
    results: &Path,
    cpus: Option<&'static str>,
) -> Result<Vec<Job>> {
    let Scope { kernels, boots, share_tracers, .. } = scope;
    let mut jobs = Vec::new();
    for kernel in kernels {
        let image = Arc::new(kernel::cached(kernel));
        for boot in plan::boots(kernel, boots) {
            let names = boot.scenarios_on(kernel).map(str::to_owned).collect();
            let plan = Plan::Scenarios { names, share_tracers };
            jobs.push(Job {
                image: Arc::clone(&image),
                boot,
                initramfs: archives.of_plan(kernel.arch, &plan)?,
                plan,
                results: results.join(&kernel.name).join(boot.name),
                cpus,
            });
        }
    }
    // The longest boots of all kernels are the first ones, so that the last ones are short.
    jobs.sort_by_key(|job| plan::rank(job.boot));
    Ok(jobs)
}

/// A machine keeps one CPU of the host busy, however many CPUs it has. For a part of its time it
/// sleeps, and then another machine can run. More than eight machines would need more memory than
/// most hosts have.
fn default_jobs() -> usize {
    thread::available_parallelism().map_or(2, |n_cpus| n_cpus.get() + 1).min(8)
}

fn run_all(queue: &[Box<dyn Fn() + Sync + '_>], n_at_once: usize) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..n_at_once.min(queue.len()) {
            scope.spawn(|| {
                while let Some(job) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    job();
                }
            });
        }
    });
}

impl Job {
    /// Boots; an error is stored for the comparison.
    fn run(&self, timings: &Timings) {
        keep_error(&self.results, || self.boot(timings));
    }

    fn boot(&self, timings: &Timings) -> Result<()> {
        let boot = self.boot;
        // The last one of QEMU's options counts.
        let cpus = self.cpus.map(|cpus| ["-smp", cpus]).unwrap_or_default();
        let cpus = cpus.iter().filter(|word| !word.is_empty());
        let qemu_args: Vec<&str> = boot.qemu_args.iter().chain(cpus).copied().collect();
        let kernel = (*self.image).as_ref().map_err(|error| anyhow!("{error:#}"))?;
        let booted = Machine {
            memory_mib: boot.memory_mib,
            cmdline: boot.cmdline,
            qemu_args: &qemu_args,
            swap_mib: boot.swap_mib,
            ..Machine::new(kernel, &self.initramfs, &self.plan, self.results.clone())
        }
        .boot()?;
        timings.boot(&kernel.name, boot.name, booted.seconds);
        timings.scenarios(&kernel.name, &self.results);
        let retried = if booted.retried { ", on the second attempt" } else { "" };
        println!("{kernel}, boot {}: {:.1} s{retried}", boot.name, booted.seconds);
        Ok(())
    }
}

/// Runs a boot, and stores its error among the results.
pub(crate) fn keep_error(results: &Path, boot: impl FnOnce() -> Result<()>) {
    // The comparison must not read results of an earlier run.
    let _ = fs::remove_dir_all(results);
    if let Err(error) = boot() {
        eprintln!("{}: {error:#}", results.display());
        let kept = fs::create_dir_all(results)
            .and_then(|()| fs::write(results.join(BOOT_ERROR), format!("{error:#}\n")));
        if let Err(error) = kept {
            // The comparison fails if there are no results.
            eprintln!("{}: {error}", results.display());
        }
    }
}

fn compare(scope: Scope<'_>, results: &Path) -> Result<()> {
    let Scope { kernels, boots, extent, .. } = scope;
    let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let mut oracle = unit_tests();
    oracle
        .args(["--test", "oracle"])
        .env(RESULTS_VARIABLE, results)
        .env(KERNELS_VARIABLE, names.join(","))
        .env(BOOTS_VARIABLE, boots.join(","));
    if extent == Extent::Whole {
        oracle.env(WHOLE_VARIABLE, "1");
    }
    if process::run(&mut oracle).is_err() {
        bail!("oomwhy and the kernel disagree, see above (results: {})", results.display());
    }
    Ok(())
}
