//! The privileges of a running tracer and of helper processes, as the kernel shows them in /proc.
//! docs/privileges.md has the same table. Virtual machines test a tracer with probes.
//!
//! Needs root and a readable /dev/kmsg. Without them the tests print that they did not run.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "clippy excuses #[test] functions, not the helpers of an integration test"
)]

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt as _, chown},
            net::UnixStream,
        },
    },
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::geteuid,
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};

const BINARY: &str = env!("CARGO_BIN_EXE_oomwhy");
const TIMEOUT: Duration = Duration::from_mins(1);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(arguments: &[&str], stdin: Stdio) -> Self {
        let mut command = Command::new(BINARY);
        command.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// A helper process that waits for a request from the returned socket.
    fn helper(command: &str) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Self::start(&[command], Stdio::from(OwnedFd::from(theirs))), ours)
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }

    /// Per thread its name and the lines of its status that show privileges.
    fn threads(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let status = |directory: fs::DirEntry| {
            let text = fs::read_to_string(directory.path().join("status")).unwrap();
            let lines = text.lines().filter_map(|line| line.split_once(":\t"));
            let mut lines: Vec<_> =
                lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let (_, name) = lines.swap_remove(0);
            lines.retain(|(key, _)| KEYS.contains(&key.as_str()));
            (name, lines)
        };
        let threads = fs::read_dir(self.file("task")).unwrap();
        threads.map(|directory| status(directory.unwrap())).collect()
    }

    /// Waits until the process has forbidden core dumps, which is its last step.
    fn await_confinement(&self) {
        wait_until(|| self.has_no_core());
    }

    /// Whether a process of the same user, also without capabilities, may not look into this one.
    fn is_hidden(&self) -> bool {
        let exe = self.file("exe");
        let read = thread::spawn(move || {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            fs::read_link(exe)
        });
        read.join().unwrap().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    /// Whether the limit of core dumps is 0, for now and for good.
    fn has_no_core(&self) -> bool {
        let limits = fs::read_to_string(self.file("limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        core.unwrap().split_ascii_whitespace().take(2).eq(["0", "0"])
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT);
        thread::sleep(Duration::from_millis(5));
    }
}

const KEYS: [&str; 7] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];

/// What a thread with these capabilities, and nothing else, shows.
fn confined(capabilities: CapabilitySet) -> Vec<(String, String)> {
    let sets = [0, capabilities.bits(), capabilities.bits(), 0, 0];
    let sets = sets.map(|set| format!("{set:016x}"));
    let modes = ["1".to_owned(), "2".to_owned()];
    let values = sets.into_iter().chain(modes);
    KEYS.iter().map(|key| (*key).to_owned()).zip(values).collect()
}

fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("not run: root is needed");
    }
    is_root
}

#[test]
fn tracer_of_the_kernel_log_has_no_privileges_in_any_thread() {
    if !is_root() || fs::File::open("/dev/kmsg").is_err() {
        eprintln!("not run: /dev/kmsg cannot be read");
        return;
    }
    // Only the privileges that it gives up let it into the directory of another user.
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(65534), None).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let history = folder.path().join("history");
    let store = ["--store", "--dir", history.to_str().unwrap()];
    let arguments = [&["--attach", "kmsg", "-o", "json"], &store[..]].concat();
    let mut tracer = Running::start(&arguments, Stdio::null());
    let mut messages = String::new();
    let mut stderr = BufReader::new(tracer.0.stderr.take().unwrap());
    while !messages.contains("Tracing OOM kills") {
        assert_ne!(stderr.read_line(&mut messages).unwrap(), 0, "{messages}");
    }
    assert_eq!(messages.lines().count(), 1, "{messages}");

    // A thread names itself, after it has started.
    wait_until(|| {
        let names: Vec<String> = tracer.threads().into_keys().collect();
        names == ["oomwhy", "oomwhy-disk", "oomwhy-history", "oomwhy-output", "oomwhy-stop"]
    });
    for (name, status) in tracer.threads() {
        assert_eq!(status, confined(CapabilitySet::empty()), "{name}");
    }
    assert!(tracer.is_hidden());
    assert!(tracer.has_no_core());
}

/// Even if its parent has every privilege.
#[test]
fn helper_has_only_the_privileges_that_it_needs() {
    if !is_root() {
        return;
    }
    for (command, name, kept) in [
        ("kernel-symbols", "oomwhy-names", CapabilitySet::SYSLOG),
        ("user-symbols", "oomwhy-names", CapabilitySet::empty()),
        ("open-files", "oomwhy-opener", CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH),
    ] {
        let (helper, _socket) = Running::helper(command);
        helper.await_confinement();
        let threads = helper.threads();
        assert_eq!(threads.len(), 1, "{command}");
        assert_eq!(threads[name], confined(kept), "{command}");
    }
}

/// Whether the kernel shows the address depends on CAP_SYSLOG.
#[test]
fn helper_with_its_privileges_names_kernel_addresses() {
    if !is_root() {
        return;
    }
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let line = symbols.lines().find(|line| line.ends_with(" T out_of_memory"));
    let address = line.map(|line| u64::from_str_radix(line.split(' ').next().unwrap(), 16));
    let Some(Ok(address @ 1..)) = address else {
        eprintln!("not run: this kernel shows no addresses");
        return;
    };
    let (mut helper, mut socket) = Running::helper("kernel-symbols");
    socket.write_all(format!("[{address}]").as_bytes()).unwrap();
    drop(socket);
    let mut response = String::new();
    helper.0.stdout.take().unwrap().read_to_string(&mut response).unwrap();
    let response: serde_json::Value = serde_json::from_str(&response).unwrap();
    assert_eq!(response[0]["name"], "out_of_memory", "{response}");
}
