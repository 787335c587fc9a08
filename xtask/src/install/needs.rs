//! The one table of needs: the needs of each verb, the packages and tools of each need, and the
//! programs that a need provides.

use anyhow::Result;
use oomwhy_tests::matrix::{Arch, Kernel};

use crate::Verb;

/// A group of packages and tools that are installed together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Need {
    /// Part of every Debian with rustup.
    System,
    /// A C linker: cargo links host programs and build scripts with it.
    Linker,
    /// Packages of Debian suites that the system is not set up for.
    DebianArchive,
    /// The eBPF half: a second Rust toolchain and a linker.
    Probes,
    /// The compilers of the programs whose stacks are tested.
    GuestPrograms,
    /// Virtual machines of this architecture.
    Amd64Machine,
    /// Virtual machines of the other architecture, and a cross build for them.
    Arm64Machine,
    /// Clippy for the eBPF half, where Debian's toolchain builds it.
    ProbeLints,
    /// libFuzzer, which needs the nightly toolchain.
    Fuzzer,
    /// The tool of the BPF Compiler Collection that oomwhy is compared with.
    Oomkill,
    /// The tracing language that oomwhy is compared with.
    Bpftrace,
    /// The commit that a proof is about.
    Git,
}

/// A Debian package, and how to see that it, or its counterpart of another system, is installed.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) sign: Sign,
}

/// The sign by which an installed package is found.
pub(crate) enum Sign {
    Program(Program),
    /// One of these files.
    File(&'static [&'static str]),
}

/// A tool that cargo installs.
pub(crate) struct Tool {
    pub(crate) program: Program,
    pub(crate) version: &'static str,
}

/// From 0.11 on, bpf-linker wants a system LLVM; 0.10 uses the one of the compiler.
pub(crate) const BPF_LINKER: Tool = Tool { program: Program::BpfLinker, version: "0.10.4" };
pub(crate) const CARGO_FUZZ: Tool = Tool { program: Program::CargoFuzz, version: "0.13.2" };

const fn program(name: &'static str, program: Program) -> Package {
    Package { name, sign: Sign::Program(program) }
}

const fn file(name: &'static str, files: &'static [&'static str]) -> Package {
    Package { name, sign: Sign::File(files) }
}

/// Debian's keys, under the names of two releases.
pub(crate) const KEYRINGS: &[&str] = &[
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

const LINKER: &[Package] =
    &[program("gcc", Program::Cc), file("libc6-dev", &["/usr/include/stdio.h"])];

const DEBIAN_ARCHIVE: &[Package] = &[
    program("apt", Program::AptCache),
    program("dpkg", Program::Dpkg),
    file("debian-archive-keyring", KEYRINGS),
];

const GUEST_PROGRAMS: &[Package] =
    &[program("g++", Program::Cxx), program("golang-go", Program::Go)];

const ARM64_MACHINE: &[Package] = &[
    program("gcc-aarch64-linux-gnu", Program::Arm64Cc),
    file("libc6-dev-arm64-cross", &["/usr/aarch64-linux-gnu/include/stdio.h"]),
    program("qemu-system-arm", Program::QemuArm),
];

impl Need {
    /// The packages that it consists of. [`super::install`] has the parts that are no packages.
    pub(crate) const fn packages(self) -> &'static [Package] {
        match self {
            Self::Linker => LINKER,
            Self::DebianArchive => DEBIAN_ARCHIVE,
            Self::GuestPrograms => GUEST_PROGRAMS,
            Self::Amd64Machine => const { &[program("qemu-system-x86", Program::QemuX86)] },
            Self::Arm64Machine => ARM64_MACHINE,
            Self::Oomkill => const { &[file("libbpf-tools", &["/usr/sbin/oomkill"])] },
            Self::Bpftrace => const { &[program("bpftrace", Program::Bpftrace)] },
            Self::Git => const { &[program("git", Program::Git)] },
            Self::System | Self::Probes | Self::ProbeLints | Self::Fuzzer => &[],
        }
    }
}

/// A program that xtask starts, or that a program does that xtask starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    AptCache,
    AptGet,
    Arm64Cc,
    Bpftrace,
    BpfLinker,
    Cargo,
    CargoFuzz,
    Cc,
    Cxx,
    Date,
    Dpkg,
    DpkgQuery,
    Git,
    Go,
    Ldd,
    QemuArm,
    QemuX86,
    Rustc,
    Rustup,
    Sudo,
    Tar,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        self.row().0
    }

    /// The need that provides it.
    pub(crate) const fn need(self) -> Need {
        self.row().1
    }

    const fn row(self) -> (&'static str, Need) {
        match self {
            Self::AptCache => ("apt-cache", Need::DebianArchive),
            Self::AptGet => ("apt-get", Need::System),
            Self::Arm64Cc => ("aarch64-linux-gnu-gcc", Need::Arm64Machine),
            Self::Bpftrace => ("bpftrace", Need::Bpftrace),
            Self::BpfLinker => ("bpf-linker", Need::Probes),
            Self::Cargo => ("cargo", Need::System),
            Self::CargoFuzz => ("cargo-fuzz", Need::Fuzzer),
            Self::Cc => ("cc", Need::Linker),
            Self::Cxx => ("c++", Need::GuestPrograms),
            Self::Date => ("date", Need::System),
            Self::Dpkg => ("dpkg", Need::DebianArchive),
            Self::DpkgQuery => ("dpkg-query", Need::System),
            Self::Git => ("git", Need::Git),
            Self::Go => ("go", Need::GuestPrograms),
            Self::Ldd => ("ldd", Need::System),
            Self::QemuArm => ("qemu-system-aarch64", Need::Arm64Machine),
            Self::QemuX86 => ("qemu-system-x86_64", Need::Amd64Machine),
            Self::Rustc => ("rustc", Need::System),
            Self::Rustup => ("rustup", Need::System),
            Self::Sudo => ("sudo", Need::System),
            Self::Tar => ("tar", Need::System),
        }
    }
}

/// The needs of a verb with these arguments.
pub(crate) fn of_verb(verb: &Verb) -> Result<Vec<Need>> {
    Ok(match verb {
        Verb::Setup => machines([Arch::Amd64, Arch::Arm64]),
        Verb::Kernels(_) => vec![Need::DebianArchive],
        Verb::Demo(arguments) => of_kernels(&[arguments.kernel()?]),
        Verb::Test(arguments) => {
            let mut needs = of_kernels(&arguments.kernels()?);
            // A unit test lets Go's pprof read a profile.
            needs.extend(arguments.has_unit_tests().then_some(Need::GuestPrograms));
            needs
        }
        Verb::Containers(_) => machines([Arch::Amd64]),
        Verb::Vm(arguments) => of_kernels(&[arguments.kernel()?]),
        Verb::Bench(arguments) => {
            let mut needs = machines([Arch::Amd64]);
            needs.extend(arguments.takes_oomkill().then_some(Need::Oomkill));
            needs.extend(arguments.takes_bpftrace().then_some(Need::Bpftrace));
            needs
        }
        Verb::Fuzz(_) => vec![Need::Linker, Need::Probes, Need::Fuzzer],
        Verb::Fixtures(arguments) if arguments.boots() => {
            // The host's build of oomwhy reduces the BTF that the guests send.
            let mut needs = of_kernels(&arguments.kernels()?);
            needs.extend(machines([Arch::Amd64]));
            needs
        }
        Verb::Proof(arguments) => {
            let mut needs = of_kernels(&arguments.kernels()?);
            needs.push(Need::Git);
            needs
        }
        // Each step of `ci` installs its own needs.
        Verb::Ci(_) | Verb::Check(_) | Verb::Fixtures(_) | Verb::KernelsDoc => Vec::new(),
    })
}

/// The needs of builds and boots for these kernels.
pub(crate) fn of_kernels(kernels: &[Kernel]) -> Vec<Need> {
    machines(kernels.iter().map(|kernel| kernel.arch))
}

/// The needs of builds and boots for these architectures only.
fn machines(arches: impl IntoIterator<Item = Arch>) -> Vec<Need> {
    let mut needs = vec![Need::Linker, Need::Probes, Need::DebianArchive];
    for arch in arches {
        match arch {
            Arch::Amd64 => needs.extend([Need::GuestPrograms, Need::Amd64Machine]),
            Arch::Arm64 => needs.push(Need::Arm64Machine),
        }
    }
    needs.sort_unstable();
    needs.dedup();
    needs
}
