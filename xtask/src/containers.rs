//! The verb `containers`: real containers of podman, Docker and containerd outgrow their limits in a
//! virtual machine and are removed at once; each must be named all the same.
//!
//! The runtimes are Debian's packages, unpacked once into the cache as a tar, which the guest reads
//! from a disk. There is no network: the image is made of busybox and the workload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::matrix::Arch;
use oomwhy_tests::plan::{BUSYBOX, Plan};
use oomwhy_tests::report;
use serde_json::Value;

use crate::apt::Suite;
use crate::initramfs::{Initramfs, Source};
use crate::vm::{Clock, Machine};
use crate::{kernels, process, workspace};

const SUITE: &str = "bookworm";
const PACKAGES: &[&str] = &["podman", "crun", "docker.io", "containerd", "runc"];
/// What no runtime reads.
const UNWANTED: &[&str] = &["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl"];
const SCRIPT: &str = "tests/containers.sh";
const GUEST_SCRIPT: &str = "/containers.sh";

/// Runtime, name, image of each container that dies; "" for what its runtime does not leave.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("podman", "hungry-podman", "localhost/hog:1"),
    ("docker", "hungry-docker", "hog:1"),
    ("containerd", "", ""),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The kernel, by its name in tests/kernels.toml
    #[arg(long, default_value = "6.12")]
    kernel: String,
    #[command(flatten)]
    source: Source,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let kernel = kernels::cached(&kernels::one(Some(&arguments.kernel))?)?;
    let disk = file_system()?;
    let mut initramfs = Initramfs::build(Arch::Amd64, &arguments.source)?;
    initramfs.add_file(&workspace::root().join(SCRIPT), GUEST_SCRIPT)?;
    let drive = format!("if=none,id=debian,format=raw,readonly=on,file={}", disk.display());
    let results = workspace::vm_results()?.join(&kernel.name).join("containers");
    let booted = Machine {
        kernel: &kernel,
        initramfs: &initramfs,
        plan: &Plan::Command([BUSYBOX, "sh", GUEST_SCRIPT].map(str::to_owned).to_vec()),
        memory_mib: 3072,
        clock: Clock::Wall,
        cmdline: "",
        qemu_args: &["-device", "nvme,serial=debian,drive=debian", "-drive", &drive],
        swap_mib: 0,
        live: true,
        results: results.clone(),
    }
    .boot()?;
    println!("{kernel}: {:.1} s", booted.seconds);
    check(&fs::read_to_string(results.join("console.log"))?)
}

/// Each container is named in the report of its kill.
fn check(console: &str) -> Result<()> {
    let records = console.lines().filter(|line| line.starts_with("{\"type\":\"oom\""));
    let records = records.collect::<Vec<_>>().join("\n");
    let kills: Vec<Value> = report::objects(&records).filter(report::is_kill).collect();
    for (runtime, name, image) in EXPECTED {
        let of_runtime = |report: &&Value| report["victims"][0]["container"]["runtime"] == *runtime;
        let report = kills.iter().find(of_runtime);
        let report = report.with_context(|| format!("no report of a container of {runtime}"))?;
        for whose in [&report["victims"][0], &report["trigger"], &report["oom_memcg"]] {
            let container = &whose["container"];
            let found = |key: &str| container[key].as_str().unwrap_or_default().to_owned();
            ensure!(
                (found("name").as_str(), found("image").as_str()) == (*name, *image),
                "a container of {runtime} is {container}, not {name:?} of {image:?}"
            );
            ensure!(!found("id").is_empty(), "a container of {runtime} has no id: {container}");
        }
        println!("{runtime}: {}", report["victims"][0]["container"]);
    }
    Ok(())
}

/// A tar of the runtimes with all that they need, made once.
fn file_system() -> Result<PathBuf> {
    let directory = workspace::cache()?.join("containers");
    let target = directory.join("debian.tar");
    if target.exists() {
        return Ok(target);
    }
    println!("fetching {} from Debian", PACKAGES.join(", "));
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let root =
        Suite::open(SUITE, Arch::Amd64, scratch.path())?.unpack_with_dependencies(PACKAGES)?;
    for unwanted in UNWANTED {
        let _ = fs::remove_dir_all(root.join(unwanted));
    }
    fs::create_dir_all(&directory)?;
    // Under another name first: what is there under the right one is whole.
    let partial = directory.join("debian.tar.part");
    tar(&root, &partial)?;
    fs::rename(&partial, &target)?;
    Ok(target)
}

/// A disk has whole sectors; tar's own blocks are twenty of them.
fn tar(root: &Path, target: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--directory"]).arg(root);
    process::output(tar.arg("--file").arg(target).arg(".")).map(drop)
}
