//! The kernels of the matrix: one directory of the cache per kernel, with the image and metadata.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::{self, Arch, Kernel};
use serde::{Deserialize, Serialize};

use super::suite::Suite;
use crate::workspace;

/// A kernel in the cache, as its `kernel.json` has it.
#[derive(Deserialize, Serialize)]
pub(crate) struct CachedKernel {
    /// Its name in tests/kernels.toml.
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arch: Arch,
    /// The release that `uname -r` prints.
    pub(crate) release: String,
    pub(crate) package: String,
    pub(crate) version: String,
}

const METADATA: &str = "kernel.json";
const IMAGE: &str = "vmlinuz";

/// The kernel of this name, or the newest.
pub(crate) fn one(name: Option<&str>) -> Result<Kernel> {
    let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    matrix::select(&names, matrix::Extent::Whole)?.pop().context("tests/kernels.toml is empty")
}

/// A kernel of the matrix, fetched if needed.
pub(crate) fn cached(kernel: &Kernel) -> Result<CachedKernel> {
    let metadata = directory(&kernel.name)?.join(METADATA);
    match fs::read(&metadata) {
        Ok(content) => serde_json::from_slice(&content)
            .with_context(|| format!("{} is damaged\nhint: remove it", metadata.display())),
        Err(_) => fetch(kernel),
    }
}

fn directory(name: &str) -> Result<PathBuf> {
    Ok(workspace::cache()?.join("kernels").join(name))
}

/// Fetches the newest version of a kernel.
pub(crate) fn fetch(kernel: &Kernel) -> Result<CachedKernel> {
    println!("fetching kernel {} ({}) from Debian", kernel.name, kernel.package);
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let mut errors = Vec::new();
    for suite in &kernel.suites {
        match fetch_from(kernel, suite, &scratch.path().join(suite)) {
            Ok(cached) => return Ok(cached),
            // Mirrors drop old suites; the next one may still be there.
            Err(error) => errors.push(format!("{suite}: {error:#}")),
        }
    }
    anyhow::bail!(
        "no kernel {}:\n{}\nhint: check the network and apt's sources with apt-get update",
        kernel.name,
        errors.join("\n")
    )
}

fn fetch_from(kernel: &Kernel, suite: &str, scratch: &Path) -> Result<CachedKernel> {
    let suite = Suite::open(suite, kernel.arch, scratch)?;
    let (package, version) = suite
        .newest(&kernel.package)?
        .with_context(|| format!("it has no package {}", kernel.package))?;
    let unpacked = suite.unpack(&package, &version)?;
    store(kernel, &unpacked, package, version)
}

fn store(
    kernel: &Kernel,
    unpacked: &Path,
    package: String,
    version: String,
) -> Result<CachedKernel> {
    let (image, release) =
        find_image(unpacked).with_context(|| format!("{package} has no kernel image"))?;
    let (name, arch) = (kernel.name.clone(), kernel.arch);
    let cached = CachedKernel { name, arch, release, package, version };
    let directory = directory(&kernel.name)?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("{} cannot be created", directory.display()))?;
    fs::copy(image, directory.join(IMAGE))?;
    // Written last: it marks the image as complete.
    fs::write(directory.join(METADATA), serde_json::to_vec_pretty(&cached)?)?;
    Ok(cached)
}

/// The image and its release: /boot/vmlinuz-RELEASE, or (since 7.x) beside the modules.
fn find_image(unpacked: &Path) -> Option<(PathBuf, String)> {
    let names = |directory: &str| fs::read_dir(unpacked.join(directory)).into_iter().flatten();
    let in_boot = names("boot").filter_map(Result::ok).find_map(|entry| {
        let release = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        Some((entry.path(), release))
    });
    let beside_modules = || {
        names("usr/lib/modules").filter_map(Result::ok).find_map(|entry| {
            let image = entry.path().join("vmlinuz");
            image.exists().then_some((image, entry.file_name().into_string().ok()?))
        })
    };
    in_boot.or_else(beside_modules)
}

impl CachedKernel {
    /// The path of the image.
    pub(crate) fn image(&self) -> PathBuf {
        // This cannot fail: the kernel was read from this directory.
        directory(&self.name).unwrap_or_default().join(IMAGE)
    }
}

impl fmt::Display for CachedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {} = {}", self.name, self.release)
    }
}
