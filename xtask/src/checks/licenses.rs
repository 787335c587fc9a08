//! Each dependency has a license that oomwhy may be distributed with, and comes from crates.io.
//!
//! cargo-deny checks the same, with the same crate for license expressions. Building it takes a
//! minute and a half, so it is not used.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::{process, workspace};

/// A dependency needs one of these, by its license expression.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
];

/// Packages with another license, and that license.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Reads BTF; linked as a library of its own, replaceable by a rebuild from this source.
    ("btf-rs", "LGPL-2.1-or-later"),
    ("btf-rs-derive", "LGPL-2.1-or-later"),
    // Draws flame graphs; file by file, unchanged.
    ("inferno", "CDDL-1.0"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The platforms that oomwhy runs on. Dependencies of others are never built.
const PLATFORMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// The part of `cargo metadata` that is checked.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for a package of the workspace.
    source: Option<String>,
}

pub(super) fn run() -> Result<Vec<String>> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--format-version", "1", "--locked", "--all-features"]);
    command.args(PLATFORMS.iter().flat_map(|platform| ["--filter-platform", platform]));
    let metadata = process::output(&mut command)?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cargo metadata cannot be parsed")?;
    problems(&metadata.packages)
}

fn problems(packages: &[Package]) -> Result<Vec<String>> {
    let allowed = ALLOWED.iter().map(|it| licensee(it)).collect::<Result<Vec<_>>>()?;
    let mut problems = Vec::new();
    for package in packages {
        if package.source.as_deref().is_some_and(|source| source != CRATES_IO) {
            problems.push(format!("{}: it does not come from crates.io", package.label()));
        }
        let exceptions = EXCEPTIONS.iter().filter(|(name, _)| *name == package.name);
        let exceptions = exceptions.map(|(_, it)| licensee(it)).collect::<Result<Vec<_>>>()?;
        let acceptable = allowed.iter().chain(&exceptions);
        let Some(license) = &package.license else {
            problems.push(format!("{}: it names no license", package.label()));
            continue;
        };
        match Expression::parse_mode(license, ParseMode::LAX) {
            Ok(it) if it.evaluate(|wanted| acceptable.clone().any(|it| it.satisfies(wanted))) => {}
            Ok(_) => problems.push(format!("{}: {license} is not allowed", package.label())),
            Err(error) => problems.push(format!("{}: {license}: {error}", package.label())),
        }
    }
    let stale = EXCEPTIONS.iter().filter(|(name, _)| !packages.iter().any(|it| it.name == *name));
    problems.extend(stale.map(|(name, _)| format!("{name}: the exception is for no dependency")));
    Ok(problems)
}

fn licensee(name: &str) -> Result<Licensee> {
    Licensee::parse(name).with_context(|| format!("{name} is not an SPDX license"))
}

impl Package {
    fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, license: Option<&str>, source: Option<&str>) -> Vec<String> {
        let package = |name: &str, license: Option<&str>, source: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
        };
        // Every exception is used.
        let mut packages: Vec<Package> =
            EXCEPTIONS.iter().map(|(name, it)| package(name, Some(it), Some(CRATES_IO))).collect();
        packages.push(package(name, license, source));
        problems(&packages).unwrap()
    }

    #[test]
    fn one_allowed_license_is_enough() {
        for license in ["MIT", "MIT OR GPL-3.0-only", "MIT/Apache-2.0", "Apache-2.0 AND ISC"] {
            assert!(check("a", Some(license), Some(CRATES_IO)).is_empty(), "{license}");
        }
    }

    #[test]
    fn other_licenses_are_refused() {
        let problems = check("a", Some("GPL-3.0-only"), Some(CRATES_IO));
        assert_eq!(problems, ["a 1.0.0: GPL-3.0-only is not allowed"]);
        // An exception is for one package alone.
        let problems = check("a", Some("CDDL-1.0"), Some(CRATES_IO));
        assert_eq!(problems, ["a 1.0.0: CDDL-1.0 is not allowed"]);
        let problems = check("a", Some("MIT AND GPL-3.0-only"), Some(CRATES_IO));
        assert_eq!(problems, ["a 1.0.0: MIT AND GPL-3.0-only is not allowed"]);
    }

    #[test]
    fn a_license_must_be_named() {
        assert_eq!(check("a", None, None), ["a 1.0.0: it names no license"]);
        assert_eq!(check("a", Some("my own"), None).len(), 1);
    }

    #[test]
    fn other_sources_are_refused() {
        let problems = check("a", Some("MIT"), Some("git+https://example.org/a"));
        assert_eq!(problems, ["a 1.0.0: it does not come from crates.io"]);
        assert!(check("a", Some("MIT"), None).is_empty(), "a package of the workspace");
    }

    #[test]
    fn an_exception_that_nobody_needs_is_a_problem() {
        let problems = problems(&[]).unwrap();
        assert_eq!(problems.len(), EXCEPTIONS.len());
    }
}
