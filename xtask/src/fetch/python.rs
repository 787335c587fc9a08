//! A Python whose frames can be walked: Debian's Python has frame pointers since 3.15. The cache
//! has the files of its packages that the guest needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use oomwhy_tests::matrix::Arch;
use oomwhy_tests::programs;

use super::files;
use super::suite::Suite;
use crate::workspace;

/// Tried in this order.
const SUITES: [&str; 2] = ["forky", "sid"];
/// A glob; the newest package that matches is used.
const PACKAGE: &str = "python3.*-minimal";
/// A compiler option of builds that have them.
const FRAME_POINTERS: &str = "-fno-omit-frame-pointer";
/// Files of its library: those that it reads at the start, and those by which it finds that
/// directory.
const LIBRARY: &[&str] =
    &["os.py", "encodings/__init__.py", "encodings/aliases.py", "encodings/utf_8.py"];
const MODULE: &str = "lib-dynload/mmap.";
/// The file that lists the packages of a cached Python; written last.
const CONTENTS: &str = "packages.txt";

/// The files of the interpreter, each with its path in the guest. They include a C library, because
/// the host's is older.
pub(crate) fn files() -> Result<Vec<(PathBuf, String)>> {
    let root = cached().context(
        "a Python with frame pointers cannot be fetched\n\
         hint: check the network and apt's sources with apt-get update",
    )?;
    files::all(&root)
}

/// The directory of its files, laid out as in the guest; fetched if needed.
fn cached() -> Result<PathBuf> {
    let directory = workspace::cache()?.join("python");
    let (root, contents) = (directory.join("root"), directory.join(CONTENTS));
    // The layout is part of the key: a cache with other paths in the guest is fetched again.
    let wanted = format!("{PACKAGE}: {} {MODULE} {}\n", program(), LIBRARY.join(" "));
    if fs::read_to_string(&contents).is_ok_and(|it| it.starts_with(&wanted)) {
        return Ok(root);
    }
    println!("fetching a Python with frame pointers from Debian (about 10 MB, once)");
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let mut errors = Vec::new();
    for suite in SUITES {
        let _ = fs::remove_dir_all(&root);
        match fetch(suite, &scratch.path().join(suite), &root) {
            Ok(package) => {
                println!("{package} of Debian's {suite}");
                fs::write(&contents, format!("{wanted}{suite}: {package}\n"))?;
                return Ok(root);
            }
            Err(error) => errors.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("no {PACKAGE}:\n{}", errors.join("\n"))
}

/// The path of the interpreter in the guest.
fn program() -> String {
    programs::path(programs::number("py-alloc")).unwrap_or_default()
}

fn fetch(suite: &str, scratch: &Path, root: &Path) -> Result<String> {
    let suite = Suite::open(suite, Arch::Amd64, scratch)?;
    let newest =
        |glob: &str| suite.newest(glob)?.with_context(|| format!("it has no package {glob}"));
    let (package, version) = newest(PACKAGE)?;
    let python = package.strip_suffix("-minimal").context("a package by another name")?;
    suite.unpack_with_dependencies(&[&package])?;
    // One module is needed, but not the package's dependencies.
    let (modules, its_version) = newest(&format!("lib{python}-stdlib"))?;
    let unpacked = suite.unpack(&modules, &its_version)?;
    lay_out(&unpacked, python, root)?;
    Ok(format!("{package} {version}"))
}

fn lay_out(unpacked: &Path, python: &str, root: &Path) -> Result<()> {
    let library = format!("usr/lib/{python}");
    let there = unpacked.join(&library);
    ensure!(has_frame_pointers(&there)?, "{python} is built without frame pointers");
    let copy = |from: &Path, to: &str| files::copy(from, root, to);
    let interpreter = unpacked.join("usr/bin").join(python);
    copy(&interpreter, &program())?;
    for name in LIBRARY {
        copy(&there.join(name), &format!("{library}/{name}"))?;
    }
    let modules = files::names(&there.join("lib-dynload"))?;
    let mut paths = modules.iter().map(|name| format!("lib-dynload/{name}"));
    let module = paths.find(|path| path.starts_with(MODULE)).context("no mmap")?;
    copy(&there.join(&module), &format!("{library}/{module}"))?;
    for (from, to) in files::linked(unpacked, &[interpreter, there.join(&module)])? {
        copy(&from, &to)?;
    }
    Ok(())
}

/// The settings of its build are a file of its library.
fn has_frame_pointers(library: &Path) -> Result<bool> {
    let settings =
        files::names(library)?.into_iter().filter(|name| name.starts_with("_sysconfigdata"));
    let mut texts = settings.map(|name| fs::read_to_string(library.join(name)));
    Ok(texts.any(|text| text.is_ok_and(|text| text.contains(FRAME_POINTERS))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreter_with_frame_pointers_is_cached_with_its_libraries() {
        let unpacked = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| files::write(unpacked.path(), path, text);
        for path in LIBRARY {
            write(&format!("usr/lib/python3.99/{path}"), "");
        }
        write("usr/bin/python3.99", "\u{7f}ELF\0libc.so.6\0/lib64/ld-linux-x86-64.so.2\0");
        write("usr/lib/python3.99/lib-dynload/mmap.so", "\0libz.so.1\0");
        write("usr/lib64/ld-linux-x86-64.so.2", "");
        for (name, linked_with) in
            [("libc.so.6", ""), ("libz.so.1", "libm.so.6"), ("libm.so.6", "")]
        {
            write(&format!("usr/lib/x86_64-linux-gnu/{name}"), &format!("\0{linked_with}\0"));
        }
        write("usr/lib/x86_64-linux-gnu/libcrypto.so.3", "libz.so.1.3.2");
        let settings = "usr/lib/python3.99/_sysconfigdata__linux.py";
        let root = unpacked.path().join("root");
        write(settings, "{'CFLAGS': '-O2'}");
        assert!(lay_out(unpacked.path(), "python3.99", &root).is_err());
        write(settings, "{'CFLAGS': '-O2 -fno-omit-frame-pointer'}");
        lay_out(unpacked.path(), "python3.99", &root).unwrap();
        let files = files::all(&root).unwrap();
        let names: Vec<&str> = files.iter().map(|(_, name)| name.as_str()).collect();
        let libraries = ["libc.so.6", "libm.so.6", "libz.so.1"];
        for library in libraries.map(|name| format!("/lib/x86_64-linux-gnu/{name}")) {
            assert!(names.contains(&library.as_str()), "{library}: {names:?}");
        }
        assert!(names.contains(&"/bin/py-alloc") && names.contains(&"/lib64/ld-linux-x86-64.so.2"));
        // The other three files are the interpreter, its loader, and the module mmap.
        assert_eq!(names.len(), LIBRARY.len() + libraries.len() + 3);
    }
}
