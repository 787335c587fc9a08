//! Packages of Debian suites that this system is not set up for. A private apt configuration,
//! derived from the system's own sources, is used and deleted. The system's configuration is not
//! changed, and apt checks the signatures of the archive as always.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::Arch;

use super::sources::{self, Archive};
use crate::install::needs::{KEYRINGS, Program};
use crate::process;
use crate::vm::machine_type::MachineType;

/// One suite of the archive, as a private apt sees it.
pub(crate) struct Suite {
    directory: PathBuf,
}

impl Suite {
    /// Fetches the suite's package list for an architecture into a directory.
    pub(crate) fn open(name: &str, arch: Arch, directory: &Path) -> Result<Self> {
        let (archive, keyring) = (archive_of(name)?, keyring()?);
        for part in ["lists/partial", "cache/archives/partial", "download"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let source = format!(
            "Types: deb\nURIs: {archive}\nSuites: {name}\nComponents: main\nSigned-By: {keyring}\n"
        );
        fs::write(directory.join("suite.sources"), source)?;
        fs::write(directory.join("apt.conf"), configuration(arch, directory))?;
        let suite = Self { directory: directory.to_owned() };
        process::output(suite.command(Program::AptGet)?.arg("update"))
            .with_context(|| format!("Debian's {name} cannot be read"))?;
        Ok(suite)
    }

    /// The newest package whose name matches the glob, with its version.
    pub(crate) fn newest(&self, glob: &str) -> Result<Option<(String, String)>> {
        let found = process::output(self.command(Program::AptCache)?.args([
            "search",
            "--names-only",
            &regex_of(glob),
        ]))?;
        let names: Vec<&str> =
            found.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let records = process::output(
            self.command(Program::AptCache)?.args(["show", "--no-all-versions"]).args(names),
        )?;
        Ok(packages(&records).max_by(|left, right| compare_versions(&left.1, &right.1)))
    }

    /// Downloads a package and unpacks it.
    pub(crate) fn unpack(&self, package: &str, version: &str) -> Result<PathBuf> {
        let download = self.directory.join("download");
        let mut fetch = self.command(Program::AptGet)?;
        fetch.current_dir(&download).args(["download", &format!("{package}={version}")]);
        process::output(&mut fetch)?;
        let file = fs::read_dir(&download)?.next().context("apt-get downloaded nothing")??.path();
        let unpacked = self.directory.join("unpacked");
        unpack(&file, &unpacked)?;
        Ok(unpacked)
    }

    /// Downloads packages with all their dependencies, and unpacks them into one directory.
    pub(crate) fn unpack_with_dependencies(&self, packages: &[&str]) -> Result<PathBuf> {
        let mut fetch = self.command(Program::AptGet)?;
        fetch.args(["install", "--yes", "--download-only", "--no-install-recommends"]);
        process::output(fetch.args(packages))?;
        let unpacked = self.directory.join("unpacked");
        for entry in fs::read_dir(self.directory.join("cache/archives"))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                unpack(&file, &unpacked)?;
            }
        }
        Ok(unpacked)
    }

    fn command(&self, program: Program) -> Result<Command> {
        let mut command = process::command(program)?;
        command.arg("--quiet").arg("--config-file").arg(self.directory.join("apt.conf"));
        Ok(command)
    }
}

fn unpack(package: &Path, target: &Path) -> Result<()> {
    let mut dpkg = process::command(Program::Dpkg)?;
    process::output(dpkg.arg("-x").args([package, target])).map(drop)
}

/// apt reads this after the system's configuration: its proxies stay, its hooks do not.
fn configuration(arch: Arch, directory: &Path) -> String {
    let (arch, directory) = (MachineType::of(arch).debian, directory.display());
    // apt's unprivileged user cannot write to a temporary directory. The architecture is that of
    // the virtual machine, not of the host.
    format!(
        "#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         Dir::Etc::sourcelist \"{directory}/suite.sources\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::State::lists \"{directory}/lists\";\n\
         Dir::State::status \"/dev/null\";\n\
         Dir::Cache \"{directory}/cache\";\n\
         Acquire::Languages \"none\";\n\
         APT::Update::Error-Mode \"any\";\n\
         APT::Sandbox::User \"\";\n\
         APT::Architecture \"{arch}\";\n\
         APT::Architectures \"{arch}\";\n"
    )
}

/// The environment variable that names an archive if the system's sources have none.
const MIRROR_VARIABLE: &str = "OOMWHY_DEBIAN_MIRROR";

fn archive_of(suite: &str) -> Result<String> {
    let archive = if suite.ends_with("-security") { Archive::Security } else { Archive::Main };
    if let Ok(mirror) = env::var(MIRROR_VARIABLE) {
        return Ok(archive.of_mirror(&mirror));
    }
    sources::find(archive)?.with_context(|| {
        format!(
            "apt's sources name no Debian archive\n\
             hint: set {MIRROR_VARIABLE} to the URI of one (it ends in /debian)"
        )
    })
}

/// Debian's keys. Ubuntu has a package of the same name.
fn keyring() -> Result<&'static str> {
    KEYRINGS.iter().copied().find(|path| Path::new(path).exists()).context(
        "the keys of Debian's archive are not installed\n\
         hint: apt-get install debian-archive-keyring",
    )
}

fn regex_of(glob: &str) -> String {
    let pattern = glob.replace('.', "\\.").replace('+', "\\+").replace('*', ".*");
    format!("^{pattern}$")
}

/// The name and the version in each record that `apt-cache show` printed.
fn packages(records: &str) -> impl Iterator<Item = (String, String)> {
    records.split("\n\n").filter_map(|record| {
        let field = |name: &str| {
            record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some((field("Package")?.to_owned(), field("Version")?.to_owned()))
    })
}

fn compare_versions(left: &str, right: &str) -> Ordering {
    let is = |relation: &str| {
        process::command(Program::Dpkg).is_ok_and(|mut dpkg| {
            process::succeeds(dpkg.args(["--compare-versions", left, relation, right]))
        })
    };
    if is("lt") {
        Ordering::Less
    } else if is("gt") {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glob_ends_where_package_name_ends() {
        assert_eq!(
            regex_of("linux-image-6.1.*-cloud-amd64"),
            r"^linux-image-6\.1\..*-cloud-amd64$"
        );
    }

    #[test]
    fn record_has_name_and_version() {
        let records = "Package: a\nVersion: 1-1\nDepends: b\n\nPackage: b\nVersion: 2\n\n";
        let read: Vec<_> = packages(records).collect();
        assert_eq!(read, [("a".into(), "1-1".into()), ("b".into(), "2".into())]);
    }
}
