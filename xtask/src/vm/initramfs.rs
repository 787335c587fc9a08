//! The guest's root file system: an uncompressed newc archive of static binaries. It is not
//! compressed, because unpacking is slow under emulation.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use cpio::newc;
use oomwhy_tests::attempts::{Attacker, GUEST_DIRECTORY};
use oomwhy_tests::matrix::Arch;
use oomwhy_tests::plan::{BUSYBOX, GUEST_OOMWHY, GUEST_PATH, HOG, LAUNCHER, PASSWD, Plan};
use oomwhy_tests::programs::{PROGRAMS, source_path};

use super::programs;
use crate::fetch::{bpftrace, busybox, python};
use crate::vm::machine_type::MachineType;
use crate::workspace;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;
const FILE: u32 = 0o100_644;

/// The archive that all boots share.
#[derive(Clone)]
pub(crate) struct Initramfs {
    archive: Vec<u8>,
    oomwhy_bytes: u64,
}

/// The oomwhy for the guest.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Source {
    /// Use this static oomwhy instead of building one
    #[arg(long, value_name = "FILE")]
    oomwhy: Option<PathBuf>,
}

/// The archives of several architectures, each built on its first use.
pub(crate) struct Archives {
    source: Source,
    built: BTreeMap<Arch, Arc<Initramfs>>,
    with_python: Option<Arc<Initramfs>>,
    with_bpftrace: Option<Arc<Initramfs>>,
}

impl Archives {
    pub(crate) const fn new(source: Source) -> Self {
        Self { source, built: BTreeMap::new(), with_python: None, with_bpftrace: None }
    }

    /// Builds the archives for these architectures at the same time. Each build ends with a link of
    /// one thread, which takes about a minute.
    pub(crate) fn build(&mut self, archs: &BTreeSet<Arch>) -> Result<()> {
        let source = &self.source;
        if source.oomwhy.is_some() {
            // `of` refuses a second architecture.
            return Ok(());
        }
        let built = thread::scope(|scope| {
            let builds: Vec<_> = archs
                .iter()
                .filter(|arch| !self.built.contains_key(arch))
                .map(|&arch| (arch, scope.spawn(move || Initramfs::build(arch, source))))
                .collect();
            let joined = builds.into_iter().map(|(arch, build)| {
                let initramfs = build.join().map_err(|_| anyhow!("the build for {arch} panicked"));
                anyhow::Ok((arch, Arc::new(initramfs??)))
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        self.built.extend(built);
        Ok(())
    }

    /// The archive for an architecture.
    pub(crate) fn of(&mut self, arch: Arch) -> Result<Arc<Initramfs>> {
        let is_first = self.built.is_empty();
        match self.built.entry(arch) {
            Entry::Occupied(built) => Ok(Arc::clone(built.get())),
            Entry::Vacant(entry) => {
                ensure!(
                    is_first || self.source.oomwhy.is_none(),
                    "--oomwhy is a program of one architecture\n\
                     hint: select kernels of that architecture with --kernel"
                );
                Ok(Arc::clone(entry.insert(Arc::new(Initramfs::build(arch, &self.source)?))))
            }
        }
    }

    /// The archive for an architecture and a plan.
    pub(crate) fn of_plan(&mut self, arch: Arch, plan: &Plan) -> Result<Arc<Initramfs>> {
        let initramfs = self.of(arch)?;
        if plan.needs_bpftrace() {
            return self.with_bpftrace(&initramfs);
        }
        if !plan.needs_python() {
            return Ok(initramfs);
        }
        if let Some(made) = &self.with_python {
            return Ok(Arc::clone(made));
        }
        let mut initramfs = (*initramfs).clone();
        initramfs.add_python()?;
        initramfs.add_attempts()?;
        Ok(Arc::clone(self.with_python.insert(Arc::new(initramfs))))
    }

    /// Adds bpftrace. If it cannot be fetched, the guest reports that it does not have it.
    fn with_bpftrace(&mut self, initramfs: &Initramfs) -> Result<Arc<Initramfs>> {
        if let Some(made) = &self.with_bpftrace {
            return Ok(Arc::clone(made));
        }
        let mut initramfs = initramfs.clone();
        match bpftrace::files() {
            Ok(files) => initramfs.add_bpftrace(&files)?,
            Err(error) => eprintln!("not run: {error:#}"),
        }
        Ok(Arc::clone(self.with_bpftrace.insert(Arc::new(initramfs))))
    }
}

fn build_oomwhy(arch: Arch) -> Result<PathBuf> {
    workspace::build_for_guest(arch, "oomwhy", "oomwhy", MachineType::of(arch).profile, &[])
}

fn build_init(arch: Arch) -> Result<PathBuf> {
    let (package, binary) = ("oomwhy-tests", "guest-init");
    workspace::build_for_guest(arch, package, binary, workspace::EMULATED, workspace::TRACEABLE)
}

impl Initramfs {
    /// Builds the binaries for an architecture and packs them.
    pub(crate) fn build(arch: Arch, source: &Source) -> Result<Self> {
        println!("building oomwhy and the guest's init, statically, for {arch}");
        // Beside each other: the link time optimization of a release uses a single CPU.
        let (oomwhy, init) = thread::scope(|threads| {
            let init = threads.spawn(|| build_init(arch));
            let oomwhy = source.oomwhy.clone().map_or_else(|| build_oomwhy(arch), Ok);
            anyhow::Ok((oomwhy?, init.join().map_err(|_| anyhow!("a build panicked"))??))
        })?;
        let mut archive = Vec::new();
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "results"] {
            add(&mut archive, name, DIRECTORY, b"")?;
        }
        add(&mut archive, "init", PROGRAM, &read(&init)?)?;
        add(&mut archive, HOG, SYMLINK, b"/init")?;
        add(&mut archive, LAUNCHER, SYMLINK, b"/init")?;
        add(&mut archive, "etc/passwd", FILE, PASSWD)?;
        add(&mut archive, BUSYBOX, PROGRAM, &read(&busybox::cached(arch)?)?)?;
        let oomwhy = read(&oomwhy)?;
        add(&mut archive, GUEST_OOMWHY, PROGRAM, &oomwhy)?;
        let mut initramfs = Self { archive, oomwhy_bytes: oomwhy.len() as u64 };
        // The kernels of another architecture do not run their scenarios.
        if arch == Arch::Amd64 {
            for (program, target) in programs::build()? {
                initramfs.add_file(&program, &target)?;
            }
        }
        Ok(initramfs)
    }

    /// The size of the static oomwhy in it.
    pub(crate) const fn oomwhy_bytes(&self) -> u64 {
        self.oomwhy_bytes
    }

    /// Adds a file of the host.
    pub(crate) fn add_file(&mut self, source: &Path, target: &str) -> Result<()> {
        let parents: Vec<PathBuf> = Path::new(target.trim_start_matches('/'))
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty())
            .map(Path::to_owned)
            .collect();
        for parent in parents.iter().rev() {
            add(&mut self.archive, &parent.to_string_lossy(), DIRECTORY, b"")?;
        }
        add(&mut self.archive, target, PROGRAM, &read(source)?)
    }

    /// Adds Python and its programs. Its C library replaces the host's: of two files with one name
    /// the later one counts (init/initramfs.c).
    pub(crate) fn add_python(&mut self) -> Result<()> {
        for (file, target) in python::files()? {
            self.add_file(&file, &target)?;
        }
        for program in PROGRAMS.iter().filter(|program| program.is_interpreted()) {
            self.add_file(&programs::source(program), &source_path(program))?;
        }
        Ok(())
    }

    /// Adds the attempts to harm the host, and the code that they share.
    fn add_attempts(&mut self) -> Result<()> {
        let root = workspace::root().join("tests/hostile");
        let directories = Attacker::ALL.map(Attacker::directory);
        for directory in directories.into_iter().chain(["common"]) {
            let entries = fs::read_dir(root.join(directory))
                .with_context(|| format!("{directory} cannot be listed"))?;
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().display();
                self.add_file(&path, &format!("{GUEST_DIRECTORY}/{directory}/{name}"))?;
            }
        }
        Ok(())
    }

    /// Adds bpftrace, and the shell without which it crashes. Its C library replaces the host's.
    fn add_bpftrace(&mut self, files: &[(PathBuf, String)]) -> Result<()> {
        add(&mut self.archive, "bin/sh", SYMLINK, BUSYBOX.as_bytes())?;
        files.iter().try_for_each(|(file, target)| self.add_file(file, target))
    }

    /// The complete archive for one boot.
    pub(crate) fn with_plan(&self, plan: &Plan) -> Result<Vec<u8>> {
        let mut archive = self.archive.clone();
        add(&mut archive, GUEST_PATH, PROGRAM, &serde_json::to_vec(plan)?)?;
        newc::trailer(&mut archive)?;
        Ok(archive)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut file = newc::Builder::new(name.trim_start_matches('/'))
        .mode(mode)
        .write(archive, u32::try_from(content.len())?);
    file.write_all(content)?;
    file.finish()?;
    Ok(())
}
