//! bpftrace with its libraries. The cache has the files that the guest needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::Arch;
use oomwhy_tests::plan::BPFTRACE;

use super::files;
use super::suite::Suite;
use crate::workspace;

/// The suite whose bpftrace knows `fentry` and the newest kernels' BTF.
const SUITE: &str = "trixie";
const PACKAGE: &str = "bpftrace";
/// The file that marks a complete cache; written last.
const CONTENTS: &str = "packages.txt";

/// Its files, each with its path in the guest.
pub(crate) fn files() -> Result<Vec<(PathBuf, String)>> {
    let root = cached().context(
        "bpftrace cannot be fetched\n\
         hint: check the network and apt's sources with apt-get update",
    )?;
    files::all(&root)
}

/// The directory of its files, laid out as in the guest; fetched if needed.
fn cached() -> Result<PathBuf> {
    let directory = workspace::cache()?.join("bpftrace");
    let (root, contents) = (directory.join("root"), directory.join(CONTENTS));
    let wanted = format!("{SUITE}: {PACKAGE} {BPFTRACE}\n");
    if fs::read_to_string(&contents).is_ok_and(|it| it == wanted) {
        return Ok(root);
    }
    println!("fetching bpftrace from Debian's {SUITE} (about 60 MB, once)");
    let _ = fs::remove_dir_all(&root);
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let suite = Suite::open(SUITE, Arch::Amd64, scratch.path())?;
    lay_out(&suite.unpack_with_dependencies(&[PACKAGE])?, &root)?;
    fs::write(&contents, wanted)?;
    Ok(root)
}

/// Copies the program and the libraries that it is linked with.
fn lay_out(unpacked: &Path, root: &Path) -> Result<()> {
    let program = unpacked.join(BPFTRACE.trim_start_matches('/'));
    files::copy(&program, root, BPFTRACE)?;
    let libraries = files::linked(unpacked, &[program])?;
    libraries.iter().try_for_each(|(from, to)| files::copy(from, root, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_cached_with_its_libraries() {
        let unpacked = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| files::write(unpacked.path(), path, text);
        write("usr/bin/bpftrace", "\u{7f}ELF\0libLLVM.so.19.1\0/lib64/ld-linux-x86-64.so.2\0");
        write("usr/lib64/ld-linux-x86-64.so.2", "");
        write("usr/lib/x86_64-linux-gnu/libLLVM.so.19.1", "\0libz.so.1\0");
        write("usr/lib/x86_64-linux-gnu/libz.so.1", "");
        write("usr/lib/x86_64-linux-gnu/libcrypto.so.3", "");
        let root = tempfile::tempdir().unwrap();
        lay_out(unpacked.path(), root.path()).unwrap();
        let mut names: Vec<String> =
            files::all(root.path()).unwrap().into_iter().map(|(_, name)| name).collect();
        names.sort();
        let expected = [
            "/lib/x86_64-linux-gnu/libLLVM.so.19.1",
            "/lib/x86_64-linux-gnu/libz.so.1",
            "/lib64/ld-linux-x86-64.so.2",
            "/usr/bin/bpftrace",
        ];
        assert_eq!(names, expected);
    }
}
