//! Tests that each verb installs its needs: runs it on a machine on which one program is missing.
//! The machine is this one with another PATH. Its `apt-get` and `cargo` install nothing: they log
//! their arguments and fail.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a failure fails the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

/// The needs of builds and boots for an architecture: program, and package that provides it.
const COMMON: &[Needed] =
    &[("cc", "gcc"), ("bpf-linker", "bpf-linker"), ("apt-cache", "apt"), ("dpkg", "dpkg")];
const AMD64: &[Needed] =
    &[("c++", "g++"), ("go", "golang-go"), ("qemu-system-x86_64", "qemu-system-x86")];
const ARM64: &[Needed] = &[
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("qemu-system-aarch64", "qemu-system-arm"),
];

/// A program, and the package or crate that provides it.
type Needed = (&'static str, &'static str);

/// Each verb with its needs.
fn verbs() -> Vec<(&'static [&'static str], Vec<Needed>)> {
    vec![
        (&["setup"], [COMMON, AMD64, ARM64].concat()),
        (&["demo"], [COMMON, AMD64].concat()),
        (&["demo", "--kernel", "6.12-arm64"], [COMMON, ARM64].concat()),
        (&["test"], [COMMON, AMD64, ARM64].concat()),
        (&["test", "--kernel", "6.12-arm64"], [COMMON, ARM64, &AMD64[..2]].concat()),
        (&["test", "--kernel", "6.12", "--vm-only"], [COMMON, AMD64].concat()),
        (&["containers"], [COMMON, AMD64].concat()),
        (&["vm", "--", "/oomwhy"], [COMMON, AMD64].concat()),
        (&["bench", "--faults"], [COMMON, AMD64, &[("bpftrace", "bpftrace")]].concat()),
        (&["bench", "--faults", "--no-bpftrace"], [COMMON, AMD64].concat()),
        (&["fuzz"], vec![COMMON[0], COMMON[1], ("cargo-fuzz", "cargo-fuzz")]),
        (&["fixtures", "--btf"], [COMMON, AMD64, ARM64].concat()),
        (&["kernels"], COMMON[2..].to_vec()),
        (&["proof", "matrix"], [COMMON, AMD64, ARM64, &[("git", "git")]].concat()),
    ]
}

/// The verbs that start nothing that has to be installed, and `ci`: each of its steps installs its
/// own needs, and its last one is `test`.
const OTHER_VERBS: &[&str] = &["check", "kernels-doc", "ci", "help"];

/// A PATH, a cache, and a log of requested installations.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    /// A machine with the programs of this one, except for one.
    fn without(missing: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let log = directory.path().join("log");
        for stub in ["apt-get", "cargo", "sudo", "qemu-system-x86_64", "qemu-system-aarch64"] {
            // `apt-get update` passes, so the verb continues with the installation.
            let script = format!(
                "#!/bin/sh\necho \"{stub} $*\" >>{}\ncase \"$*\" in *update*) ;; *) exit 1 ;; esac\n",
                log.display()
            );
            fs::write(bin.join(stub), script).unwrap();
            fs::set_permissions(bin.join(stub), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for program in ["bpf-linker", "cargo-fuzz", "bpftrace", "aarch64-linux-gnu-gcc"] {
            // A program of the right version, whether or not this machine has it.
            let version = "case $0 in *linker) v=0.10.4 ;; *) v=0.13.2 ;; esac";
            fs::write(bin.join(program), format!("#!/bin/sh\n{version}\necho \"x $v\"\n")).unwrap();
            fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        for program in ["cc", "c++", "go", "apt-cache", "dpkg", "git", "sh", "dpkg-query", "rustup"]
        {
            let found = on_path(program).unwrap_or_else(|| PathBuf::from("/bin/true"));
            symlink(found, bin.join(program)).unwrap();
        }
        let _ = fs::remove_file(bin.join(missing));
        Self { directory }
    }

    /// Runs a verb, and returns the log and the output of the verb.
    fn run(&self, arguments: &[&str]) -> (String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(arguments)
            .env("PATH", self.directory.path().join("bin"))
            .env("XDG_CACHE_HOME", self.directory.path().join("cache"))
            .env("CARGO", self.directory.path().join("bin/cargo"))
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?} passed on a machine that has nothing");
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        (log, String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap();
    env::split_paths(&path).map(|it| it.join(program)).find(|it| Path::new(it).is_file())
}

/// Whether one of these commands requests the installation of a package.
fn asks_for(log: &str, what: &str) -> bool {
    let installs = log.lines().filter(|line| line.contains(" install "));
    installs.flat_map(str::split_whitespace).any(|word| word == what)
}

#[test]
fn verb_is_in_one_of_the_lists() {
    let help = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    // The rest of a description is indented further.
    let begins = lines.filter_map(|line| line.strip_prefix("  ").filter(|it| !it.starts_with(' ')));
    let names: Vec<&str> = begins.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"test"), "{help}");
    for name in names {
        let is_listed = verbs().iter().any(|(words, _)| words[0] == name);
        assert!(is_listed || OTHER_VERBS.contains(&name), "{name} is in no list of verbs");
    }
}

#[test]
fn missing_program_is_installed_by_every_verb_that_needs_it() {
    for (verb, needs) in verbs() {
        for (program, installed_by) in needs {
            let (log, printed) = Machine::without(program).run(verb);
            assert!(
                asks_for(&log, installed_by),
                "{verb:?} does not install {installed_by} for {program}: {log}{printed}"
            );
        }
    }
}

#[test]
fn program_of_other_architecture_is_not_installed() {
    let verbs = verbs().into_iter().filter(|(_, needs)| !needs.is_empty());
    for (verb, needs) in verbs {
        for (program, installed_by) in iter::chain(AMD64, ARM64) {
            if needs.iter().any(|(needed, _)| needed == program) || verb[0] == "kernels" {
                continue;
            }
            let (log, printed) = Machine::without(program).run(verb);
            assert!(
                !asks_for(&log, installed_by),
                "{verb:?} installs {installed_by}: {log}{printed}"
            );
        }
    }
}
