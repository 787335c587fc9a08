//! A static busybox for the guest, from Debian's archive into the cache.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::Arch;

use crate::apt::Suite;
use crate::machine_type::MachineType;
use crate::workspace;

const SUITE: &str = "bookworm";
const PACKAGE: &str = "busybox-static";
/// Where it lies in the package: since Debian 13 below /usr.
const PLACES: [&str; 2] = ["bin/busybox", "usr/bin/busybox"];

/// Where it lies, fetched if it is not there yet.
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
    let program = PLACES.map(|place| unpacked.join(place)).into_iter().find(|it| it.exists());
    fs::create_dir_all(&directory)?;
    // Under another name first: what is there under the right one is whole.
    let partial = directory.join("busybox.part");
    fs::copy(program.with_context(|| format!("{package} has no busybox"))?, &partial)?;
    fs::rename(&partial, &target)?;
    Ok(target)
}
