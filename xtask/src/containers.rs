//! The verb `containers`: real containers of podman, Docker and containerd outgrow their limits in a
//! virtual machine and are removed at once; each must be named all the same, and the functions that
//! took the memory too. There is no network: the image is made of the test's own programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::containers::{self, REPORTS, SAID};
use oomwhy_tests::matrix::{Arch, Kernel};
use oomwhy_tests::oracle::BOOT_ERROR;
use oomwhy_tests::plan::{BUSYBOX, Plan};

use crate::debian_root;
use crate::initramfs::{Archives, Initramfs, Source};
use crate::kernels::{self, CachedKernel};
use crate::test::keep_error;
use crate::vm::{Clock, Machine};
use crate::workspace;

/// The boot's name, in `cargo xtask test --boot` too.
const BOOT: &str = "containers";
/// The kernel that gets it in `cargo xtask test`.
const KERNEL: &str = "6.12";
/// What runs in the guest, and what the image takes.
const FILES: &[(&str, &str)] = &[
    ("tests/containers.sh", GUEST_SCRIPT),
    ("tests/programs/grower.js", "/programs/grower.js"),
    ("tests/programs/grower.py", "/programs/grower.py"),
];
const GUEST_SCRIPT: &str = "/containers.sh";
/// For the file system, twice some of it, and a container of half a gigabyte.
const MEMORY_MIB: u32 = 3072;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel, by its name in tests/kernels.toml
    #[arg(long, default_value = KERNEL)]
    kernel: String,
    #[command(flatten)]
    source: Source,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernel = kernels::one(Some(&arguments.kernel))?;
    let initramfs = Initramfs::build(Arch::Amd64, &arguments.source)?;
    let job = Job::prepare(&kernel, &initramfs)?;
    job.boot(true)?;
    job.judge()
}

/// The boot as one of `cargo xtask test`, where these kernels and boots have it.
pub(crate) fn job(
    kernels: &[Kernel],
    boots: &[String],
    archives: &mut Archives<'_>,
) -> Result<Option<Job>> {
    let is_chosen = boots.is_empty() || boots.iter().any(|boot| boot == BOOT);
    match kernels.iter().find(|kernel| kernel.name == KERNEL) {
        Some(kernel) if is_chosen => Job::prepare(kernel, &*archives.of(kernel.arch)?).map(Some),
        _ => Ok(None),
    }
}

/// All that is fetched and built for the boot.
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
            kernel: kernels::cached(kernel)?,
            initramfs,
            disk: debian_root::cached()?,
            results: workspace::vm_results()?.join(&kernel.name).join(BOOT),
        })
    }

    /// Boots; what goes wrong is kept for [`Job::judge`].
    pub(crate) fn run(&self) {
        keep_error(&self.results, || self.boot(false));
    }

    fn boot(&self, live: bool) -> Result<()> {
        let drive =
            format!("if=none,id=debian,format=raw,readonly=on,file={}", self.disk.display());
        let booted = Machine {
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            plan: &Plan::Command([BUSYBOX, "sh", GUEST_SCRIPT].map(str::to_owned).to_vec()),
            memory_mib: MEMORY_MIB,
            clock: Clock::Wall,
            cmdline: "",
            // One CPU: two would take turns of 100 ms (`TCG_KICK_PERIOD`), and the other one see a
            // process when it has died, which no machine with two does.
            qemu_args: &[
                "-smp",
                "1",
                "-device",
                "nvme,serial=debian,drive=debian",
                "-drive",
                &drive,
            ],
            swap_mib: 0,
            live,
            results: self.results.clone(),
        }
        .boot()?;
        println!("{}, boot {BOOT}: {:.1} s", self.kernel, booted.seconds);
        Ok(())
    }

    /// Whether each container was named in the report of its kill.
    pub(crate) fn judge(&self) -> Result<()> {
        if let Ok(error) = fs::read_to_string(self.results.join(BOOT_ERROR)) {
            bail!("the boot {BOOT} failed: {error}");
        }
        let read = |name: &str| read(&self.results.join(name));
        let problems = containers::judge(&read(REPORTS)?);
        if problems.is_empty() {
            println!("{}, containers: {} named", self.kernel, containers::EXPECTED.len());
            return Ok(());
        }
        bail!(
            "containers are not named as they should be:\n  {}\noomwhy's stderr:\n{}\n\
             what the runtimes said is in {}; cargo xtask containers runs it again",
            problems.join("\n  "),
            read(SAID)?,
            self.results.join("console.log").display()
        )
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| {
        format!("{} is missing: the guest did not get that far (console.log)", path.display())
    })
}
