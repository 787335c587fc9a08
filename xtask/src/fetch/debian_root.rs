//! A Debian root file system with container runtimes and language runtimes. It is a tar file in the
//! cache, which the guest reads from a disk: the cloud kernels have no disk file system built in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::matrix::Arch;

use super::suite::Suite;
use crate::install::needs::Program;
use crate::{process, workspace};

/// The suite whose Python writes perf maps (3.12 and later).
const SUITE: &str = "trixie";
const PACKAGES: &[&str] = &[
    "base-files",
    "podman",
    "crun",
    "docker.io",
    "docker-cli",
    "containerd",
    "runc",
    "python3-minimal",
    "nodejs",
];
/// Paths that nothing in the guest reads.
const UNWANTED: &[&str] = &[
    "usr/lib/cni",
    "usr/lib/gnupg",
    "usr/lib/locale",
    "usr/libexec/docker/cli-plugins",
    "usr/sbin/docker-proxy",
    "usr/share/doc",
    "usr/share/gnupg",
    "usr/share/i18n",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl",
    "usr/share/zoneinfo",
];
/// The guest's memory has room for a tar of this size, unpacked.
const MAX_MIB: u64 = 700;
/// The file that lists the packages of a cached tar.
const CONTENTS: &str = "packages.txt";

/// The path of the cached tar, built if needed.
pub(crate) fn cached() -> Result<PathBuf> {
    let directory = workspace::cache()?.join("containers");
    let (target, contents) = (directory.join("debian.tar"), directory.join(CONTENTS));
    let wanted = format!("{SUITE}: {}\nwithout {}\n", PACKAGES.join(" "), UNWANTED.join(" "));
    if target.exists() && fs::read_to_string(&contents).is_ok_and(|it| it == wanted) {
        return Ok(target);
    }
    println!("fetching {} from Debian's {SUITE} (about 150 MB, once)", PACKAGES.join(", "));
    fs::create_dir_all(&directory)?;
    // Renamed when complete, so an interrupted run leaves no file with the final name.
    let partial = directory.join("debian.tar.part");
    make(&partial).context(
        "the containers' file system cannot be built\n\
         hint: check the network and apt's sources with apt-get update",
    )?;
    fs::rename(&partial, &target)?;
    fs::write(&contents, wanted)?;
    Ok(target)
}

fn make(target: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let root =
        Suite::open(SUITE, Arch::Amd64, scratch.path())?.unpack_with_dependencies(PACKAGES)?;
    for unwanted in UNWANTED {
        let path = root.join(unwanted);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    tar(&root, target)?;
    let mib = fs::metadata(target)?.len() >> 20;
    ensure!(
        mib <= MAX_MIB,
        "the file system has {mib} MiB, but the guest has room for {MAX_MIB} MiB"
    );
    Ok(())
}

/// A disk has whole sectors; a block of tar is twenty of them.
fn tar(root: &Path, target: &Path) -> Result<()> {
    let mut tar = process::command(Program::Tar)?;
    tar.args(["--create", "--owner=0", "--group=0", "--directory"]).arg(root);
    process::output(tar.arg("--file").arg(target).arg(".")).map(drop)
}
