//! The verb `test`: unit tests, then each kernel's boots, then the comparison of what oomwhy and
//! the kernel said. A kernel that cannot be booted fails its tests; it does not skip them.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, bail};
use oomwhy_tests::matrix::{self, Kernel};
use oomwhy_tests::oracle::{BOOT_ERROR, BOOTS_VARIABLE, KERNELS_VARIABLE, RESULTS_VARIABLE};
use oomwhy_tests::plan::{self, Boot, Plan};

use crate::initramfs::{Archives, Initramfs, Source};
use crate::kernels::{self, CachedKernel};
use crate::vm::{Clock, Machine};
use crate::{containers, process, workspace};

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
    /// Virtual machines at once; one per CPU, at most eight, if not given
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
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
    let containers = containers::job(&kernels, &arguments.boots, &mut archives)?;
    let jobs = jobs(&kernels, &arguments.boots, &mut archives, &results)?;
    let mut queue: Vec<Box<dyn Fn() + Sync>> = Vec::new();
    // The longest one first.
    queue.extend(containers.iter().map(|job| Box::new(|| job.run()) as _));
    queue.extend(jobs.iter().map(|job| Box::new(|| job.run()) as _));
    run_all(&queue, n_at_once(arguments));
    let compared = compare(&kernels, &arguments.boots, &results);
    match containers.iter().try_for_each(containers::Job::judge) {
        Err(error) if compared.is_err() => eprintln!("{error:#}"),
        judged => judged?,
    }
    compared
}

/// One machine to boot.
struct Job {
    /// Or why it cannot be had.
    image: Arc<Result<CachedKernel>>,
    boot: &'static Boot,
    plan: Plan,
    initramfs: Arc<Initramfs>,
    results: PathBuf,
}

/// All that is fetched and built comes before the first boot.
fn jobs(
    kernels: &[Kernel],
    boots: &[String],
    archives: &mut Archives<'_>,
    results: &Path,
) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for kernel in kernels {
        let image = Arc::new(kernels::cached(kernel));
        for boot in plan::boots(kernel, boots) {
            let names = boot.scenarios_on(kernel).map(str::to_owned).collect();
            let plan = Plan::Scenarios(names);
            jobs.push(Job {
                image: Arc::clone(&image),
                boot,
                initramfs: archives.of_plan(kernel.arch, &plan)?,
                plan,
                results: results.join(&kernel.name).join(boot.name),
            });
        }
    }
    Ok(jobs)
}

/// A machine keeps one CPU of the host busy, however many CPUs it has. More than eight would ask for
/// more memory than most hosts have.
fn n_at_once(arguments: &Arguments) -> usize {
    let n_cpus = || thread::available_parallelism().map_or(1, NonZero::get).min(8);
    arguments.jobs.map_or_else(n_cpus, NonZero::get)
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
    /// What goes wrong is kept where the comparison finds it.
    fn run(&self) {
        keep_error(&self.results, || self.boot());
    }

    fn boot(&self) -> Result<()> {
        let boot = self.boot;
        let kernel = (*self.image).as_ref().map_err(|error| anyhow!("{error:#}"))?;
        let booted = Machine {
            kernel,
            initramfs: &self.initramfs,
            plan: &self.plan,
            memory_mib: boot.memory_mib,
            clock: Clock::Wall,
            cmdline: boot.cmdline,
            qemu_args: boot.qemu_args,
            swap_mib: boot.swap_mib,
            live: false,
            results: self.results.clone(),
        }
        .boot()?;
        let retried = if booted.retried { ", on the second attempt" } else { "" };
        println!("{kernel}, boot {}: {:.1} s{retried}", boot.name, booted.seconds);
        Ok(())
    }
}

/// Keeps a boot's error among its results.
pub(crate) fn keep_error(results: &Path, boot: impl FnOnce() -> Result<()>) {
    // What an earlier run left must not pass for this one's.
    let _ = fs::remove_dir_all(results);
    if let Err(error) = boot() {
        eprintln!("{}: {error:#}", results.display());
        let kept = fs::create_dir_all(results)
            .and_then(|()| fs::write(results.join(BOOT_ERROR), format!("{error:#}\n")));
        if let Err(error) = kept {
            // The comparison fails where there are no results.
            eprintln!("{}: {error}", results.display());
        }
    }
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
