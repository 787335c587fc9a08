//! What differs between the architectures of the virtual machines: compiler, packages, QEMU.

use oomwhy_tests::matrix::Arch;

/// How the guests of one architecture are built and run.
pub(crate) struct MachineType {
    /// Debian's name of it.
    pub(crate) debian: &'static str,
    /// Rust's target.
    pub(crate) target: &'static str,
    /// Cargo's profile for what runs in it.
    pub(crate) profile: &'static str,
    /// The C compiler that links for it, where it is not this machine's own.
    pub(crate) linker: Option<&'static str>,
    /// The emulator.
    pub(crate) qemu: &'static str,
    /// The machine that it emulates, and its CPU.
    pub(crate) qemu_args: &'static [&'static str],
    /// Where the kernel's console is, for its command line.
    pub(crate) console: &'static str,
    /// The device that carries the results out, with `FILE` for where they go. The guest's init
    /// knows its name (tests/src/bin/guest_init/results.rs).
    results: &'static [&'static str],
}

const AMD64: MachineType = MachineType {
    debian: "amd64",
    target: "x86_64-unknown-linux-gnu",
    profile: "release",
    linker: None,
    qemu: "qemu-system-x86_64",
    qemu_args: &["-cpu", "qemu64,-cx16"],
    console: "ttyS0",
    results: &["-serial", "file:FILE"],
};

/// `virt` has one serial port of its own, so the other one is a PCI card. Signing pointers as the
/// architecture has it is what emulation is slow at.
const ARM64: MachineType = MachineType {
    debian: "arm64",
    target: "aarch64-unknown-linux-gnu",
    profile: "emulated",
    linker: Some("aarch64-linux-gnu-gcc"),
    qemu: "qemu-system-aarch64",
    qemu_args: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
    console: "ttyAMA0",
    results: &["-chardev", "file,id=results,path=FILE", "-device", "pci-serial,chardev=results"],
};

impl MachineType {
    /// That of an architecture.
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
