//! The verb `bench`: measures the costs of oomwhy in virtual machines whose clock counts
//! instructions, prints a table (docs/overhead.md has it) and checks promises.

mod costs;
mod document;
mod faults;
mod idle;
mod peers;
mod promises;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use oomwhy_tests::bench::{
    Bench, COMPARISON_FILE, COUNTS_FILE, Comparison, Counts, EVERYDAY, FAULTS_FILE, Faults,
    IDLE_FILE, Idle, Tool,
};
use oomwhy_tests::matrix::{self, Arch, Kernel};
use oomwhy_tests::plan::Plan;
use serde::de::DeserializeOwned;

use document::Part;
use promises::Measurement;

use crate::fetch::kernel::{self, CachedKernel};
use crate::vm::initramfs::{Initramfs, Source};
use crate::vm::{Clock, Machine, programs};
use crate::workspace;

const DEFAULT_KERNELS: [&str; 2] = ["6.1", "6.12"];
const MEMORY_MIB: u32 = 3072;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure on this kernel (may be given several times) [default: 6.1 and 6.12]
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// Add this many sleeping candidates to the victim, ascending
    #[arg(long, value_delimiter = ',', default_value = "0,500,1000,10000")]
    sleepers: Vec<usize>,
    /// Kill this often per number of candidates and setting
    #[arg(long, default_value_t = 5)]
    repeats: u32,
    /// Start each tool this often
    #[arg(long, default_value_t = 5)]
    starts: u32,
    /// Let each tool report this many kills
    #[arg(long, default_value_t = 25)]
    kills: u32,
    /// Measure only the cost of the growth recorder for a program that faults
    #[arg(long)]
    faults: bool,
    /// Measure only what an idle oomwhy costs everyday operations, which takes two minutes
    #[arg(long, conflicts_with = "faults")]
    idle: bool,
    /// Skip bpftrace, which needs 200 MB of libraries
    #[arg(long)]
    no_bpftrace: bool,
    /// Update the tables in docs/overhead.md
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    source: Source,
}

struct Figures {
    kernel: String,
    release: String,
    counts: Counts,
    comparison: Comparison,
}

impl Arguments {
    /// Whether oomkill is measured.
    pub(crate) const fn takes_oomkill(&self) -> bool {
        !self.faults && !self.idle
    }

    /// Whether bpftrace is measured.
    pub(crate) const fn takes_bpftrace(&self) -> bool {
        !self.no_bpftrace && !self.idle
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let names = match arguments.kernels.as_slice() {
        [] => DEFAULT_KERNELS.map(str::to_owned).to_vec(),
        names => names.to_vec(),
    };
    let kernels = matrix::select(&names, matrix::Extent::Whole)?;
    ensure!(
        kernels.iter().all(|kernel| kernel.arch == Arch::Amd64),
        "the limits are for amd64 only, so other architectures are not measured"
    );
    let initramfs = Initramfs::build(Arch::Amd64, &arguments.source)?;
    let mut measured = Vec::new();
    if !arguments.idle {
        measured.extend(faults(arguments, &kernels, &initramfs)?);
    }
    if !arguments.faults {
        measured.extend(idle(arguments, &kernels, &initramfs)?);
    }
    if !arguments.idle && !arguments.faults {
        measured.extend(kills(arguments, &kernels, &initramfs)?);
    }
    if arguments.write {
        document::update(Part::Promises, &promises::table())?;
    }
    promises::check(&measured)
}

/// Measures invocations, and oomwhy beside other tools.
fn kills(
    arguments: &Arguments,
    kernels: &[Kernel],
    initramfs: &Initramfs,
) -> Result<Vec<Measurement>> {
    let tools = peers::with_oomwhy(!arguments.no_bpftrace)?;
    let binary_bytes = initramfs.oomwhy_bytes();
    let mut with_tools = initramfs.clone();
    peers::take_along(&tools, &mut with_tools)?;
    let mut figures = Vec::new();
    for kernel in kernels {
        let kernel = kernel::cached(kernel)?;
        figures.push(Figures {
            kernel: kernel.name.clone(),
            release: kernel.release.clone(),
            counts: count(arguments, &kernel, initramfs)?,
            comparison: compare(arguments, &kernel, &with_tools, &tools)?,
        });
    }
    let costs: Vec<costs::Costs> = figures
        .into_iter()
        .map(|figures| costs::derive(figures, binary_bytes))
        .collect::<Result<_>>()?;
    let table = table::render(&costs);
    println!("\n{table}");
    if arguments.write {
        document::update(Part::Kills, &table)?;
    }
    Ok(costs.iter().flat_map(costs::Costs::measurements).collect())
}

/// Measures the growth recorder.
fn faults(
    arguments: &Arguments,
    kernels: &[Kernel],
    initramfs: &Initramfs,
) -> Result<Vec<Measurement>> {
    let counting = if arguments.no_bpftrace { Vec::new() } else { peers::counting()? };
    let mut with_tools = initramfs.clone();
    peers::take_along(&counting, &mut with_tools)?;
    let tools: Vec<Tool> = counting.iter().map(|packed| packed.tool.clone()).collect();
    let (mut measured, mut tables) = (Vec::new(), Vec::new());
    for kernel in kernels {
        let kernel = kernel::cached(kernel)?;
        let bench = Bench::Faults { mib: 64, repeats: 5, tools: tools.clone() };
        let faults: Faults = boot(&kernel, &with_tools, bench, FAULTS_FILE)?;
        tables.push(faults::render(&kernel.name, &kernel.release, &faults)?);
        measured.extend(faults::measurements(&kernel.name, &faults)?);
    }
    let text = tables.join("\n");
    println!("\n{text}");
    if arguments.write {
        document::update(Part::Faults, &text)?;
    }
    Ok(measured)
}

/// Measures everyday operations beside an idle oomwhy.
fn idle(
    arguments: &Arguments,
    kernels: &[Kernel],
    initramfs: &Initramfs,
) -> Result<Vec<Measurement>> {
    const ROUNDS: u32 = 3;
    let mut with_program = initramfs.clone();
    with_program.add_file(&programs::everyday()?, EVERYDAY)?;
    let (mut measured, mut tables) = (Vec::new(), Vec::new());
    for kernel in kernels {
        let kernel = kernel::cached(kernel)?;
        let idle: Idle = boot(&kernel, &with_program, Bench::Idle { rounds: ROUNDS }, IDLE_FILE)?;
        let rows = idle::rows(&idle)?;
        tables.push(idle::render(&kernel.name, &kernel.release, &rows));
        measured.extend(idle::measurements(&kernel.name, &rows));
    }
    let tables = tables.join("\n");
    println!("\n{tables}");
    if arguments.write {
        document::update(Part::Idle, &tables)?;
    }
    Ok(measured)
}

fn count(arguments: &Arguments, kernel: &CachedKernel, initramfs: &Initramfs) -> Result<Counts> {
    let bench = Bench::Counts { sleepers: arguments.sleepers.clone(), repeats: arguments.repeats };
    boot(kernel, initramfs, bench, COUNTS_FILE)
}

fn compare(
    arguments: &Arguments,
    kernel: &CachedKernel,
    initramfs: &Initramfs,
    tools: &[peers::Packed],
) -> Result<Comparison> {
    let bench = Bench::Comparison {
        tools: tools.iter().map(|packed| packed.tool.clone()).collect(),
        starts: arguments.starts,
        kills: arguments.kills,
        idle_seconds: 60,
    };
    boot(kernel, initramfs, bench, COMPARISON_FILE)
}

fn boot<T: DeserializeOwned>(
    kernel: &CachedKernel,
    initramfs: &Initramfs,
    bench: Bench,
    file: &str,
) -> Result<T> {
    let plan = Plan::Bench(bench);
    let name = file.trim_end_matches(".json");
    let results = workspace::vm_results()?.join(&kernel.name).join("bench").join(name);
    let booted = Machine {
        memory_mib: MEMORY_MIB,
        clock: Clock::Instructions,
        // This takes minutes, so the guest's progress is shown.
        live: true,
        ..Machine::new(kernel, initramfs, &plan, results.clone())
    }
    .boot()?;
    println!("{kernel}, {name}: {:.0} s", booted.seconds);
    read(&results.join(file))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let Ok(content) = fs::read(path) else {
        bail!("the guest left no {}", path.display());
    };
    serde_json::from_slice(&content).with_context(|| format!("{} is damaged", path.display()))
}
