//! The verb `containers`: real containers of podman, Docker and containerd exceed their limits in a
//! virtual machine and are removed at once. Each report must name the container and the functions
//! that allocated. There is no network: the image is made of the test's own programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::containers::{self, REPORTS, STDERR};
use oomwhy_tests::matrix::{Arch, Kernel};
use oomwhy_tests::oracle::BOOT_ERROR;
use oomwhy_tests::plan::{BUSYBOX, Plan};

use super::test::keep_error;
use crate::fetch::debian_root;
use crate::fetch::kernel::{self, CachedKernel};
use crate::vm::Machine;
use crate::vm::initramfs::{Archives, Initramfs, Source};
use crate::vm::timing::Timings;
use crate::workspace;

/// The name of the boot, also for `cargo xtask test --boot`.
const BOOT: &str = "containers";
/// The kernel that runs it in `cargo xtask test`.
const KERNEL: &str = "6.12";
/// The script that runs in the guest, and files for the image.
const FILES: &[(&str, &str)] = &[
    ("tests/containers.sh", GUEST_SCRIPT),
    ("tests/programs/leak.js", "/programs/leak.js"),
    ("tests/programs/leak.py", "/programs/leak.py"),
];
const GUEST_SCRIPT: &str = "/containers.sh";
/// Room for the file system, a second copy of parts of it, and a container of 512 MiB.
const MEMORY_MIB: u32 = 3072;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Boot this kernel, by its name in tests/kernels.toml
    #[arg(long, default_value = KERNEL)]
    kernel: String,
    #[command(flatten)]
    source: Source,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernel = kernel::one(Some(&arguments.kernel))?;
    let initramfs = Initramfs::build(Arch::Amd64, &arguments.source)?;
    let job = Job::prepare(&kernel, &initramfs)?;
    job.boot(true, &Timings::default())?;
    job.check()
}

/// The kernel of the boot in `cargo xtask test`, if these kernels and boots include it.
pub(crate) fn of<'a>(kernels: &'a [Kernel], boots: &[String]) -> Option<&'a Kernel> {
    let is_chosen = boots.is_empty() || boots.iter().any(|boot| boot == BOOT);
    kernels.iter().find(|kernel| is_chosen && kernel.name == KERNEL)
}

/// The boot as one of `cargo xtask test`, if these kernels and boots include it.
pub(crate) fn job(
    kernels: &[Kernel],
    boots: &[String],
    archives: &mut Archives,
) -> Result<Option<Job>> {
    let Some(kernel) = of(kernels, boots) else { return Ok(None) };
    Job::prepare(kernel, &*archives.of(kernel.arch)?).map(Some)
}

/// A boot for which everything is fetched and built.
pub(crate) struct Job {
    kernel: CachedKernel,
    initramfs: Initramfs,
    disk: PathBuf,
    results: PathBuf,
}

impl Job {
    fn prepare(kernel: &Kernel, initramfs: &Initramfs) -> Result<Self> {
        let mut initramfs = initramfs.clone();
        for (file, target) in FILES {
            initramfs.add_file(&workspace::root().join(file), target)?;
        }
        Ok(Self {
            kernel: kernel::cached(kernel)?,
            initramfs,
            disk: debian_root::cached()?,
            results: workspace::vm_results()?.join(&kernel.name).join(BOOT),
        })
    }

    /// Boots; an error is stored for [`Job::check`].
    pub(crate) fn run(&self, timings: &Timings) {
        keep_error(&self.results, || self.boot(false, timings));
    }

    fn boot(&self, live: bool, timings: &Timings) -> Result<()> {
        let command = [BUSYBOX, "sh", GUEST_SCRIPT].map(str::to_owned).to_vec();
        let plan = Plan::Command(command);
        let drive =
            format!("if=none,id=debian,format=raw,readonly=on,file={}", self.disk.display());
        let booted = Machine {
            memory_mib: MEMORY_MIB,
            // One CPU: two would take turns of 100 ms (`TCG_KICK_PERIOD`). The other one would see
            // a process only after its death, unlike on a real machine with two CPUs.
            qemu_args: &[
                "-smp",
                "1",
                "-device",
                "nvme,serial=debian,drive=debian",
                "-drive",
                &drive,
            ],
            live,
            ..Machine::new(&self.kernel, &self.initramfs, &plan, self.results.clone())
        }
        .boot()?;
        timings.boot(&self.kernel.name, BOOT, booted.seconds);
        println!("{}, boot {BOOT}: {:.1} s", self.kernel, booted.seconds);
        Ok(())
    }

    /// Fails unless each container is named in the report of its kill.
    pub(crate) fn check(&self) -> Result<()> {
        if let Ok(error) = fs::read_to_string(self.results.join(BOOT_ERROR)) {
            bail!("the boot {BOOT} failed: {error}");
        }
        let read = |name: &str| read(&self.results.join(name));
        let problems = containers::compare(&read(REPORTS)?);
        if problems.is_empty() {
            println!("{}, containers: {} named", self.kernel, containers::EXPECTED.len());
            return Ok(());
        }
        bail!(
            "the reports do not name these containers:\n  {}\noomwhy's stderr:\n{}\n\
             hint: {} has the output of the runtimes; cargo xtask containers runs it again",
            problems.join("\n  "),
            read(STDERR)?,
            self.results.join("console.log").display()
        )
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!("{} is missing: the guest did not get that far (console.log)", path.display())
    })
}
