//! The privileges of a running tracer and of helper processes, as the kernel shows them in /proc.
//! docs/privileges.md has the same table. Virtual machines test a tracer with probes.
//!
//! Needs root, setpriv(1) and a readable /dev/kmsg. Without them the tests print that they did not
//! run. setpriv stands in for what systemd and container runtimes do.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
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
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[cfg(target_arch = "x86_64")]
use nix::{
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
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
    /// `environment`: a program and its arguments, which starts oomwhy.
    fn start(environment: &[&str], arguments: &[&str], stdin: Stdio) -> Self {
        let words = [environment, &[BINARY], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// A tracer of the kernel log that runs.
    fn tracer(environment: &[&str], arguments: &[&str]) -> Self {
        let arguments = [&["--attach", "kmsg", "-o", "json"], arguments].concat();
        let mut tracer = Self::start(environment, &arguments, Stdio::null());
        await_banner(tracer.0.stderr.take().unwrap());
        tracer
    }

    /// A helper process that waits for a request from the returned socket.
    fn helper(command: &str) -> (Self, UnixStream) {
        Self::helper_in(&[], command)
    }

    fn helper_in(environment: &[&str], command: &str) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stdin = Stdio::from(OwnedFd::from(theirs));
        let helper = Self::start(environment, &[command], stdin);
        helper.await_confinement();
        (helper, ours)
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

    /// Waits until the process has filters of system calls, which is its last step. Of a helper,
    /// the second filter forbids most of what the kernel could show to be later.
    fn await_confinement(&self) {
        wait_until(|| {
            let status = fs::read_to_string(self.file("status")).unwrap();
            status.contains("Seccomp_filters:\t2\n")
        });
    }

    /// The limit in /proc/PID/limits, for now and for good.
    fn limits(&self, name: &str) -> [String; 2] {
        let limits = fs::read_to_string(self.file("limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        [words.next().unwrap(), words.next().unwrap()]
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

    fn has_no_core(&self) -> bool {
        self.limits("Max core file size") == ["0", "0"]
    }

    /// Lets a helper that waits for a request make this system call instead. The errno, or the
    /// signal that ends it.
    #[cfg(target_arch = "x86_64")]
    fn call(&self, number: libc::c_long, arguments: [u64; 3]) -> Result<i64, Signal> {
        let pid = Pid::from_raw(self.0.id().cast_signed());
        ptrace::attach(pid).unwrap();
        waitpid(pid, None).unwrap();
        // It enters the call in which it waited once more.
        ptrace::syscall(pid, None).unwrap();
        waitpid(pid, None).unwrap();
        let mut registers = ptrace::getregs(pid).unwrap();
        registers.orig_rax = number.cast_unsigned();
        [registers.rdi, registers.rsi, registers.rdx] = arguments;
        ptrace::setregs(pid, registers).unwrap();
        ptrace::syscall(pid, None).unwrap();
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(pid, Signal::SIGTRAP));
        let result = ptrace::getregs(pid).unwrap().rax.cast_signed();
        // The kernel puts the number of a fatal call back.
        if result != number {
            return Ok(-result);
        }
        ptrace::cont(pid, None).unwrap();
        let mut status = waitpid(pid, None).unwrap();
        if status == WaitStatus::Stopped(pid, Signal::SIGSYS) {
            ptrace::cont(pid, Signal::SIGSYS).unwrap();
            status = waitpid(pid, None).unwrap();
        }
        match status {
            WaitStatus::Signaled(_, signal, _) => Err(signal),
            status => panic!("{status:?}"),
        }
    }
}

fn await_banner(stderr: ChildStderr) {
    let mut messages = String::new();
    let mut stderr = BufReader::new(stderr);
    while !messages.contains("Tracing OOM kills") {
        assert_ne!(stderr.read_line(&mut messages).unwrap(), 0, "{messages}");
    }
    assert_eq!(messages.lines().count(), 1, "{messages}");
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
    confined_in(CapabilitySet::empty(), capabilities)
}

/// The same with a bounding set that it could not empty.
fn confined_in(bounding: CapabilitySet, capabilities: CapabilitySet) -> Vec<(String, String)> {
    let sets = [0, capabilities.bits(), capabilities.bits(), bounding.bits(), 0];
    let sets = sets.map(|set| format!("{set:016x}"));
    let modes = ["1".to_owned(), "2".to_owned()];
    let values = sets.into_iter().chain(modes);
    KEYS.iter().map(|key| (*key).to_owned()).zip(values).collect()
}

/// The capabilities of the unit in docs/privileges.md.
const OF_UNIT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHECKPOINT_RESTORE);
/// Those of the container there.
const OF_CONTAINER: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::SYS_PTRACE);

/// Starts a program as systemd does for that unit, with these ambient capabilities.
fn unit(ambient: &'static str) -> [String; 9] {
    let all = "-all,+bpf,+perfmon,+syslog,+sys_ptrace,+dac_read_search,+checkpoint_restore";
    let bits = "+noroot,+noroot_locked,+no_setuid_fixup,+no_setuid_fixup_locked";
    [
        "setpriv".to_owned(),
        "--reuid=65534".to_owned(),
        "--regid=65534".to_owned(),
        "--clear-groups".to_owned(),
        format!("--bounding-set={all}"),
        format!("--inh-caps={}", if ambient.is_empty() { all } else { ambient }),
        format!("--ambient-caps={}", if ambient.is_empty() { all } else { ambient }),
        format!("--securebits={bits}"),
        "--".to_owned(),
    ]
}

/// Starts a program as a container runtime does for root, with these capabilities only.
const CONTAINER: [&str; 3] =
    ["setpriv", "--bounding-set=-all,+bpf,+perfmon,+syslog,+sys_ptrace", "--"];
/// The same with a capability that Docker grants by default. With it, oomwhy empties the set.
const CONTAINER_WITH_SETPCAP: [&str; 3] =
    ["setpriv", "--bounding-set=-all,+bpf,+perfmon,+syslog,+sys_ptrace,+setpcap", "--"];

fn has_setpriv() -> bool {
    let has_it = Command::new("setpriv").arg("--version").output().is_ok();
    if !has_it {
        eprintln!("not run: setpriv is needed");
    }
    is_root() && has_it
}

fn has_kmsg() -> bool {
    let has_it = fs::File::open("/dev/kmsg").is_ok();
    if !has_it {
        eprintln!("not run: /dev/kmsg cannot be read");
    }
    has_it
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
    if !is_root() || !has_kmsg() {
        return;
    }
    // Only the privileges that it gives up let it into the directory of another user.
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(65534), None).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let history = folder.path().join("history");
    let tracer = Running::tracer(&[], &["--store", "--dir", history.to_str().unwrap()]);

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

#[test]
fn tracer_in_a_unit_has_the_privileges_of_the_table() {
    if !has_setpriv() || !has_kmsg() {
        return;
    }
    let unit = unit("");
    let tracer = Running::tracer(&unit.each_ref().map(String::as_str), &[]);
    for (name, status) in tracer.threads() {
        assert_eq!(status, confined_in(OF_UNIT, CapabilitySet::empty()), "{name}");
    }
    assert!(tracer.has_no_core());
}

/// The tracer lends them to the helper through the ambient set.
#[test]
fn helper_in_a_unit_has_the_privileges_of_the_table() {
    if !has_setpriv() {
        return;
    }
    let files = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    for (command, lent, kept) in [
        ("open-files", "-all,+sys_ptrace,+dac_read_search", files),
        ("kernel-symbols", "-all,+syslog", CapabilitySet::SYSLOG),
        ("user-symbols", "-all", CapabilitySet::empty()),
    ] {
        let unit = unit(lent);
        let (helper, _socket) = Running::helper_in(&unit.each_ref().map(String::as_str), command);
        for (name, status) in helper.threads() {
            assert_eq!(status, confined_in(OF_UNIT, kept), "{name}");
        }
    }
}

#[test]
fn tracer_in_a_container_has_the_privileges_of_the_table() {
    if !has_setpriv() || !has_kmsg() {
        return;
    }
    let none = CapabilitySet::empty();
    for (container, left) in [(CONTAINER, OF_CONTAINER), (CONTAINER_WITH_SETPCAP, none)] {
        let tracer = Running::tracer(&container, &[]);
        for (name, status) in tracer.threads() {
            assert_eq!(status, confined_in(left, none), "{name} in {container:?}");
        }
        assert!(tracer.has_no_core());
    }
}

#[test]
fn helper_has_limits_on_memory_cpu_and_files() {
    for (command, address, data, cpu, written) in [
        ("user-symbols", 4 << 30, 192 << 20, ["2", "3"], 128 << 20),
        ("kernel-symbols", 4 << 30, 192 << 20, ["2", "3"], 128 << 20),
        ("open-files", 1 << 30, 64 << 20, ["unlimited"; 2], 8 << 20),
    ] {
        let (helper, _socket) = Running::helper(command);
        let both = |limit: u64| [limit.to_string(), limit.to_string()];
        for (name, expected) in [
            ("Max address space", both(address)),
            ("Max data size", both(data)),
            ("Max cpu time", cpu.map(str::to_owned)),
            ("Max open files", both(1024)),
            ("Max file size", both(written)),
            ("Max core file size", both(0)),
        ] {
            assert_eq!(helper.limits(name), expected, "{command}: {name}");
        }
    }
}

/// An attacker who runs code in a helper.
#[cfg(target_arch = "x86_64")]
#[test]
fn helper_that_makes_a_call_not_in_its_list_fails_or_ends() {
    if !is_root() {
        return;
    }
    let writes = u64::from((libc::O_WRONLY | libc::O_CREAT).cast_unsigned());
    let cwd = i64::from(libc::AT_FDCWD).cast_unsigned();
    let executable = u64::from((libc::PROT_READ | libc::PROT_EXEC).cast_unsigned());
    let refused = Ok(i64::from(libc::EPERM));
    let fatal = Err(Signal::SIGSYS);
    for command in ["user-symbols", "kernel-symbols", "open-files"] {
        for (call, arguments, expected) in [
            // Without the filter this succeeds.
            (libc::SYS_getppid, [0, 0, 0], refused),
            (libc::SYS_kill, [u64::from(std::process::id()), 0, 0], refused),
            (libc::SYS_openat, [cwd, 0, writes], refused),
            (libc::SYS_unlinkat, [cwd, 0, 0], refused),
            (libc::SYS_ioctl, [0, 0, 0], refused),
            (libc::SYS_clone, [0, 0, 0], refused),
            (libc::SYS_mmap, [0, 4096, executable], refused),
            (libc::SYS_execve, [0, 0, 0], fatal),
            (libc::SYS_socket, [1, 1, 0], fatal),
            (libc::SYS_ptrace, [0, 0, 0], fatal),
            (libc::SYS_mount, [0, 0, 0], fatal),
            (libc::SYS_bpf, [0, 0, 0], fatal),
        ] {
            let (helper, _socket) = Running::helper(command);
            assert_eq!(helper.call(call, arguments), expected, "{command}: call {call}");
        }
    }
    // An allowed call works: the test can tell.
    let (helper, _socket) = Running::helper("user-symbols");
    assert_eq!(helper.call(libc::SYS_sched_yield, [0, 0, 0]), Ok(0));
}
