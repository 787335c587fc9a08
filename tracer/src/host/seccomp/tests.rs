//! Each filter is run on single calls as the kernel runs it, and then installed in a thread.

use std::{fs, io::ErrorKind, process::Command, thread};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::*;

const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const KILLED: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// `AUDIT_ARCH_I386`, by which programs of 64 bits can call the kernel too.
const OTHER_ARCHITECTURE: u32 = 0x4000_0003;

/// Some that every tracer makes.
const NEEDED: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_exit_group,
    libc::SYS_getdents64,
    libc::SYS_clock_nanosleep,
];

/// The commands of bpf(2) that the tests allow: to look up and to delete an element.
const COMMANDS: &[u32] = &[1, 3];

/// What a filter returns for a call: `struct seccomp_data` in, `SECCOMP_RET_*` out.
fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [number, architecture, 0, 0].map(u32::to_le_bytes).concat();
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut accumulator, mut next) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[next].clone();
        next += 1;
        let mut skip_if = |holds: bool| next += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                let word = &data[k as usize..k as usize + 4];
                accumulator = u32::from_le_bytes(word.try_into().unwrap());
            }
            0x54 => accumulator &= k,
            0x05 => next += k as usize,
            0x15 => skip_if(accumulator == k),
            0x25 => skip_if(accumulator > k),
            0x35 => skip_if(accumulator >= k),
            0x06 => return k,
            code => panic!("unknown instruction {code:#x}"),
        }
    }
}

struct Filter(BpfProgram);

impl Filter {
    fn tracer(commands: &[u32]) -> Self {
        Self(forbid(tracer_rules(commands).unwrap(), errno(libc::EPERM)).unwrap())
    }

    fn helper(helper: Helper) -> Self {
        Self(allow_only(helper_rules(helper).unwrap()).unwrap())
    }

    fn fatal() -> Self {
        Self(forbid(fatal_rules(), SeccompAction::KillProcess).unwrap())
    }

    fn result(&self, call: c_long, arguments: [u64; 6]) -> u32 {
        run(&self.0, ARCHITECTURE, u32::try_from(call).unwrap(), arguments)
    }

    /// The result for a call with this argument and zeros.
    fn with(&self, call: c_long, index: usize, argument: i32) -> u32 {
        let mut arguments = [0; 6];
        arguments[index] = argument.cast_unsigned().into();
        self.result(call, arguments)
    }
}

#[test]
fn tracer_may_call_only_what_is_not_forbidden() {
    let filter = Filter::tracer(COMMANDS);
    for call in FORBIDDEN {
        assert_eq!(filter.result(*call, [u64::MAX; 6]), REFUSED, "{call}");
    }
    let works = [libc::SYS_execve, libc::SYS_kill, libc::SYS_unlinkat, libc::SYS_renameat2];
    for call in NEEDED.iter().chain(&works) {
        assert_eq!(filter.result(*call, [0; 6]), ALLOWED, "{call}");
    }
    assert_eq!(filter.with(libc::SYS_openat, 2, libc::O_WRONLY | libc::O_CREAT), ALLOWED);
}

#[test]
fn tracer_may_give_bpf_only_the_allowed_commands() {
    let filter = Filter::tracer(COMMANDS);
    for command in 0..64 {
        let expected = if COMMANDS.contains(&command) { ALLOWED } else { REFUSED };
        let result = filter.with(libc::SYS_bpf, 0, command.cast_signed());
        assert_eq!(result, expected, "{command}");
    }
    let without = Filter::tracer(&[]);
    assert_eq!(without.with(libc::SYS_bpf, 0, 1), REFUSED);
}

#[test]
fn tracer_may_start_threads_but_not_namespaces() {
    let filter = Filter::tracer(COMMANDS);
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    assert_eq!(filter.with(libc::SYS_clone, 0, thread), ALLOWED);
    for flag in NEW_NAMESPACES {
        assert_eq!(filter.with(libc::SYS_clone, 0, flag | libc::SIGCHLD), REFUSED, "{flag:#x}");
    }
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = forbid(clone3, errno(libc::ENOSYS)).unwrap();
    assert_eq!(Filter(clone3).result(libc::SYS_clone3, [0; 6]), UNKNOWN);
}

#[test]
fn helper_may_call_only_what_is_allowed() {
    for helper in [Helper::Reader, Helper::Opener] {
        let filter = Filter::helper(helper);
        let of_opener = if helper == Helper::Opener { ALLOWED } else { REFUSED };
        for call in 0..1000 {
            let expected = match call {
                // The arguments are no command of fcntl that it may use.
                libc::SYS_fcntl => REFUSED,
                _ if ALLOWED_TO_HELPERS.contains(&call) => ALLOWED,
                _ if ALLOWED_TO_OPENER.contains(&call) => of_opener,
                _ => REFUSED,
            };
            assert_eq!(filter.result(call, [0; 6]), expected, "{helper:?}: {call}");
        }
    }
}

#[test]
fn helper_ends_with_a_call_that_only_an_attacker_makes() {
    let filter = Filter::fatal();
    for call in FORBIDDEN.iter().chain(FATAL_FOR_HELPERS) {
        assert_eq!(filter.result(*call, [u64::MAX; 6]), KILLED, "{call}");
    }
    for call in ALLOWED_TO_HELPERS.iter().chain(ALLOWED_TO_OPENER) {
        assert_eq!(filter.result(*call, [0; 6]), ALLOWED, "{call}");
    }
    // A library may try to start a thread, and abort(3) sends a signal.
    for call in [libc::SYS_clone, libc::SYS_clone3, libc::SYS_tgkill] {
        assert_eq!(filter.result(call, [0; 6]), ALLOWED, "{call}");
    }
}

#[test]
fn helper_may_open_files_only_for_reading() {
    let filter = Filter::helper(Helper::Reader);
    for (flags, expected) in [
        (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK, ALLOWED),
        (libc::O_PATH, ALLOWED),
        (libc::O_WRONLY, REFUSED),
        (libc::O_RDWR | libc::O_CLOEXEC, REFUSED),
        (libc::O_ACCMODE, REFUSED),
        (libc::O_RDONLY | libc::O_CREAT, REFUSED),
        (libc::O_RDONLY | libc::O_TRUNC, REFUSED),
    ] {
        assert_eq!(filter.with(libc::SYS_openat, 2, flags), expected, "{flags:#o}");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(filter.with(libc::SYS_open, 1, flags), expected, "{flags:#o}");
    }
}

#[test]
fn helper_may_make_no_memory_executable_and_let_no_descriptor_send_signals() {
    let filter = Filter::helper(Helper::Opener);
    let memory = libc::PROT_READ | libc::PROT_WRITE;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        assert_eq!(filter.with(call, 2, memory), ALLOWED);
        assert_eq!(filter.with(call, 2, memory | libc::PROT_EXEC), REFUSED);
    }
    for (command, expected) in [
        (libc::F_GETFD, ALLOWED),
        (libc::F_DUPFD_CLOEXEC, ALLOWED),
        (libc::F_SETOWN, REFUSED),
        (libc::F_SETFL, REFUSED),
    ] {
        assert_eq!(filter.with(libc::SYS_fcntl, 1, command), expected, "{command}");
    }
}

/// The same calls have other numbers there, which a list of numbers would let pass.
#[test]
fn calls_by_the_numbers_of_other_architectures_are_refused() {
    let helper = Filter::helper(Helper::Opener);
    for filter in [Filter::tracer(COMMANDS), helper, Filter::fatal()] {
        let x32 = 0x4000_0000 | u32::try_from(libc::SYS_ptrace).unwrap();
        assert_eq!(run(&filter.0, ARCHITECTURE, x32, [0; 6]), UNKNOWN);
        let i386_ptrace = 26;
        assert_eq!(run(&filter.0, OTHER_ARCHITECTURE, i386_ptrace, [0; 6]), KILLED);
    }
}

/// Takes a descriptor from this very process, which every user may do.
fn takes_descriptor() -> bool {
    let own =
        pidfd_open(Pid::from_raw(std::process::id().cast_signed()).unwrap(), PidfdFlags::empty());
    pidfd_getfd(own.unwrap(), 0, PidfdGetfdFlags::empty()).is_ok()
}

/// In a thread of its own, because a filter cannot be removed.
#[test]
fn tracer_with_filter_starts_threads_and_programs() {
    assert!(takes_descriptor(), "without a filter");
    let filtered = thread::spawn(|| {
        filter_tracer(COMMANDS).unwrap();
        assert!(!takes_descriptor());
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        assert!(Command::new("true").status().unwrap().success());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "text").unwrap();
    });
    filtered.join().unwrap();
}

/// What would end the whole process is tested with helper processes, in tests/privileges.rs.
#[test]
fn helper_with_filter_reads_but_starts_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    for helper in [Helper::Reader, Helper::Opener] {
        thread::scope(|scope| {
            let filtered = scope.spawn(|| {
                filter_helper(helper).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), "text");
                let refused = [
                    fs::write(&path, "other").unwrap_err(),
                    fs::remove_file(&path).unwrap_err(),
                    fs::create_dir(folder.path().join("directory")).unwrap_err(),
                    thread::Builder::new().spawn(|| ()).unwrap_err(),
                ];
                for error in refused {
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                }
            });
            filtered.join().unwrap();
        });
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "text");
}
