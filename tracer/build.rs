//! Builds the eBPF programs (`tracer-ebpf`) into `OUT_DIR/oomwhy`. It uses the toolchain that this
//! machine has: a dated nightly of rustup with rust-src, or one with a prebuilt `core` for BPF.

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::Context as _;
use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// A fixed date, because compilers differ in the number of instructions that the verifier walks.
/// For `oom_kill_process` on 6.1 it is 292,000 with the nightly of 2026-04-20, 122,000 with this
/// one. `xtask/src/install/toolchain.rs` installs it.
const NIGHTLY: &str = "nightly-2026-10-30";

const PACKAGE: &str = "oomwhy-ebpf";

/// Printed if neither toolchain is there.
const HINT: &str = "\
no toolchain here can compile for BPF. Either of these makes one:
  rustup toolchain install nightly-2026-10-30 --component rust-src
  apt-get install -y --no-install-recommends rustc-web cargo-web libstd-rust-web-dev-bpf \
libllvm22 && rustup toolchain link bpf /usr
and the linker, for both:
  cargo install bpf-linker --version 0.10.4 --locked
(`cargo xtask setup` does all of it on Debian and Ubuntu)";

/// The section with the source lines that the kernel's verifier could quote.
const BTF_EXT: &[u8] = b".BTF.ext";

/// Prefixes of the sections that nothing reads.
const DROPPED: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];

/// aya-build's own: set to 1 it builds nothing. What only looks at our sources (clippy, rustdoc)
/// needs no programs.
const SKIP: &str = "AYA_BUILD_SKIP";

fn main() -> anyhow::Result<()> {
    let out = env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    let object = Path::new(&out).join("oomwhy");
    println!("cargo:rerun-if-env-changed={SKIP}");
    if env::var_os(SKIP).is_some_and(|skip| skip == "1") {
        return fs::write(&object, []).with_context(|| format!("write {}", object.display()));
    }
    let log = env::var_os("CARGO_FEATURE_PROBE_LOG").is_some();
    share_programs(Path::new(&out), log)?;
    let package = Package {
        name: PACKAGE,
        root_dir: "../tracer-ebpf",
        features: if log { &["log"] } else { &[] },
        ..Package::default()
    };
    println!("cargo:rerun-if-changed=../tracer-common");
    let linker = Command::new("bpf-linker").arg("--version").output();
    anyhow::ensure!(linker.is_ok_and(|output| output.status.success()), HINT);
    let toolchain = if has(NIGHTLY, "src/rust/library/core/Cargo.toml") {
        Toolchain::Custom(NIGHTLY)
    } else {
        anyhow::ensure!(has("bpf", "bpfel-unknown-none/lib"), HINT);
        Toolchain::Custom("bpf")
    };
    aya_build::build_ebpf([package], toolchain)?;
    strip_dwarf(&object)
}

/// Links the folder in which aya-build compiles to one that all profiles share: the programs depend
/// on the architecture and on the feature alone, and take a minute or more to compile.
fn share_programs(out: &Path, log: bool) -> anyhow::Result<()> {
    // Cargo marks the root of its target directory with this file.
    let Some(target) = out.ancestors().find(|it| it.join("CACHEDIR.TAG").exists()) else {
        return Ok(());
    };
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("cargo sets the architecture")?;
    let shared = target.join("ebpf").join(if log { format!("{arch}-log") } else { arch });
    let link = out.join("aya-build/target").join(PACKAGE);
    if fs::read_link(&link).is_ok_and(|it| it == shared) {
        return Ok(());
    }
    let parent = link.parent().context("a link has a parent")?;
    for directory in [parent, &shared] {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    // What an earlier version of this script has built there.
    let _ = fs::remove_dir_all(&link);
    symlink(&shared, &link).with_context(|| format!("create {}", link.display()))
}

/// Drops the DWARF, which rustc needs only to make BTF. It is nine tenths of the object, and aya
/// would parse its 20,000 relocations at every start.
fn strip_dwarf(object: &Path) -> anyhow::Result<()> {
    let content = fs::read(object)?;
    let mut elf = Builder::read(content.as_slice())?;
    for section in &mut elf.sections {
        // Offsets in .BTF and .BTF.ext are final without their relocations. libbpf and aya ignore
        // those, aya after parsing them.
        section.delete = DROPPED.iter().any(|start| section.name.starts_with(start));
        if let (BTF_EXT, SectionData::Data(data)) = (&*section.name, &mut section.data)
            && env::var_os("CARGO_FEATURE_PROBE_LOG").is_none()
        {
            let without =
                without_lines(data).context(".BTF.ext of the BPF object has an unknown layout")?;
            *data = without.into();
        }
    }
    elf.delete_orphans();
    // LLVM keeps all names in one table. The writer needs a separate table for names of sections.
    let names = elf.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    fs::write(object, stripped).with_context(|| format!("write {}", object.display()))
}

/// Drops the line of each instruction from `.BTF.ext`, which is nine tenths of it. Only a verifier
/// that refuses a program quotes them, and every start would pass them to the kernel.
///
/// The section has a header of six or more u32 (magic and flags, its length, offset and length of
/// the functions, of the lines). Then the parts follow, at offsets from the end of the header.
fn without_lines(section: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(*section.get(at..)?.first_chunk()?));
    let [header, functions_at, functions, lines_at, lines] =
        [word(4)?, word(8)?, word(12)?, word(16)?, word(20)?];
    // Relocations would follow, but rustc makes none.
    let has_relocations = header >= 32 && word(28)? != 0;
    if has_relocations || functions_at != 0 || lines_at != functions {
        return None;
    }
    let end = usize::try_from(header.checked_add(functions)?).ok()?;
    (section.len() == end + usize::try_from(lines).ok()?).then_some(())?;
    let mut short = section.get(..end)?.to_vec();
    short.get_mut(20..24)?.fill(0);
    if header >= 32 {
        short.get_mut(24..28)?.copy_from_slice(&functions.to_le_bytes());
    }
    Some(short)
}

/// Whether rustup's `toolchain` has `path` below its rustlib folder.
fn has(toolchain: &str, path: &str) -> bool {
    let output =
        Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output();
    let Ok(output) = output else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    output.status.success() && rustlib.join(path).exists()
}
