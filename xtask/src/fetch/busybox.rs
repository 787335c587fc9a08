//! A static busybox for the guest.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::Arch;

use super::suite::Suite;
use crate::vm::machine_type::MachineType;
use crate::workspace;

const SUITE: &str = "bookworm";
const PACKAGE: &str = "busybox-static";
/// Its path in the package; Debian 13 has the second one.
const PATHS: [&str; 2] = ["bin/busybox", "usr/bin/busybox"];

/// The path of the cached program, fetched if needed.
pub(crate) fn cached(arch: Arch) -> Result<PathBuf> {
    let directory = workspace::cache()?.join("tools").join(MachineType::of(arch).debian);
    let target = directory.join("busybox");
    if target.exists() {
        return Ok(target);
    }
    println!("fetching {PACKAGE} from Debian");
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let suite = Suite::open(SUITE, arch, scratch.path())?;
    let (package, version) =
        suite.newest(PACKAGE)?.with_context(|| format!("{SUITE} has no {PACKAGE}"))?;
    let unpacked = suite.unpack(&package, &version)?;
    let program = PATHS.map(|path| unpacked.join(path)).into_iter().find(|it| it.exists());
    fs::create_dir_all(&directory)?;
    // Renamed when complete, so an interrupted copy leaves no file with the final name.
    let partial = directory.join("busybox.part");
    fs::copy(program.with_context(|| format!("{package} has no busybox"))?, &partial)?;
    fs::rename(&partial, &target)?;
    Ok(target)
}
