//! The differences between the architectures of virtual machines: compiler, packages, QEMU.

use oomwhy_tests::matrix::Arch;

use crate::install::needs::Program;
use crate::workspace;

/// How the guests of one architecture are built and run.
pub(crate) struct MachineType {
    /// Debian's name of the architecture.
    pub(crate) debian: &'static str,
    pub(crate) target: &'static str,
    /// Cargo's profile for oomwhy where it is tested as it is released.
    pub(crate) profile: &'static str,
    /// The C compiler that links for it; none if it is the host's own.
    pub(crate) linker: Option<Program>,
    pub(crate) qemu: Program,
    /// The machine that QEMU emulates, and its CPU.
    pub(crate) qemu_args: &'static [&'static str],
    /// The kernel's console, for its command line.
    pub(crate) console: &'static str,
    /// The device for the results; `FILE` stands for their file. The guest's init
    /// knows its name (tests/src/bin/guest_init/results.rs).
    results: &'static [&'static str],
}

const AMD64: MachineType = MachineType {
    debian: "amd64",
    target: "x86_64-unknown-linux-gnu",
    profile: workspace::RELEASE,
    linker: None,
    qemu: Program::QemuX86,
    qemu_args: &["-cpu", "qemu64,-cx16"],
    console: "ttyS0",
    results: &["-serial", "file:FILE"],
};

/// `virt` has only one serial port, so the other one is a PCI card. The architecture's own
/// way of signing pointers is slow to emulate.
const ARM64: MachineType = MachineType {
    debian: "arm64",
    target: "aarch64-unknown-linux-gnu",
    profile: workspace::EMULATED,
    linker: Some(Program::Arm64Cc),
    qemu: Program::QemuArm,
    qemu_args: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
    console: "ttyAMA0",
    results: &["-chardev", "file,id=results,path=FILE", "-device", "pci-serial,chardev=results"],
};

impl MachineType {
    pub(crate) const fn of(arch: Arch) -> &'static Self {
        match arch {
            Arch::Amd64 => &AMD64,
            Arch::Arm64 => &ARM64,
        }
    }

    /// QEMU's arguments for the second serial port, which writes to a file.
    pub(crate) fn results_to(&self, file: &str) -> Vec<String> {
        self.results.iter().map(|argument| argument.replace("FILE", file)).collect()
    }
}
