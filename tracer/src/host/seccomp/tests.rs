//! Each filter is run on single calls as the kernel runs it, and then installed in a thread.

use std::{fs, io::ErrorKind, os::unix::net::UnixDatagram, process::Command, thread};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::*;

const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// `AUDIT_ARCH_I386`, by which programs of 64 bits can call the kernel too.
const OTHER_ARCHITECTURE: u32 = 0x4000_0003;

/// Some that every tracer and helper makes.
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
    fn tracer() -> Self {
        Self(program(tracer_rules(COMMANDS).unwrap(), libc::EPERM).unwrap())
    }

    fn helper(helper: Helper) -> Self {
        Self(program(helper_rules(helper).unwrap(), libc::EPERM).unwrap())
    }

    fn result(&self, call: c_long, arguments: [u64; 6]) -> u32 {
        run(&self.0, ARCHITECTURE, u32::try_from(call).unwrap(), arguments)
    }

    /// The result for a call with this argument and zeros.
    fn with(&self, call: c_long, index: usize, argument: u64) -> u32 {
        let mut arguments = [0; 6];
        arguments[index] = argument;
        self.result(call, arguments)
    }
}

#[test]
fn tracer_may_call_only_what_is_not_forbidden() {
    let filter = Filter::tracer();
    for call in FORBIDDEN {
        assert_eq!(filter.result(*call, [u64::MAX; 6]), REFUSED, "{call}");
    }
    let works = [libc::SYS_execve, libc::SYS_kill, libc::SYS_unlinkat, libc::SYS_renameat2];
    for call in NEEDED.iter().chain(&works) {
        assert_eq!(filter.result(*call, [0; 6]), ALLOWED, "{call}");
    }
    let writes = (libc::O_WRONLY | libc::O_CREAT).cast_unsigned();
    assert_eq!(filter.with(libc::SYS_openat, 2, writes.into()), ALLOWED);
}

#[test]
fn tracer_may_give_bpf_only_the_allowed_commands() {
    let filter = Filter::tracer();
    for command in 0..64 {
        let expected = if COMMANDS.contains(&command) { ALLOWED } else { REFUSED };
        assert_eq!(filter.with(libc::SYS_bpf, 0, command.into()), expected, "{command}");
    }
    let without = Filter(program(tracer_rules(&[]).unwrap(), libc::EPERM).unwrap());
    assert_eq!(without.with(libc::SYS_bpf, 0, 1), REFUSED);
}

#[test]
fn tracer_may_start_threads_but_not_namespaces() {
    let filter = Filter::tracer();
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    assert_eq!(filter.with(libc::SYS_clone, 0, u64::from(thread.cast_unsigned())), ALLOWED);
    for flag in NEW_NAMESPACES {
        let flags = (flag | libc::SIGCHLD).cast_unsigned();
        assert_eq!(filter.with(libc::SYS_clone, 0, flags.into()), REFUSED, "{flag:#x}");
    }
    let clone3 = program(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS).unwrap();
    assert_eq!(Filter(clone3).result(libc::SYS_clone3, [0; 6]), UNKNOWN);
}

#[test]
fn helper_may_open_files_only_for_reading() {
    let filter = Filter::helper(Helper::Reader);
    for call in FORBIDDEN.iter().chain(FORBIDDEN_TO_HELPERS) {
        assert_eq!(filter.result(*call, [0; 6]), REFUSED, "{call}");
    }
    for call in NEEDED {
        assert_eq!(filter.result(*call, [0; 6]), ALLOWED, "{call}");
    }
    assert_eq!(filter.result(libc::SYS_openat2, [0; 6]), REFUSED);
    assert_eq!(Filter::helper(Helper::Opener).result(libc::SYS_openat2, [0; 6]), ALLOWED);
    for (flags, expected) in [
        (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK, ALLOWED),
        (libc::O_PATH, ALLOWED),
        (libc::O_WRONLY, REFUSED),
        (libc::O_RDWR | libc::O_CLOEXEC, REFUSED),
        (libc::O_ACCMODE, REFUSED),
        (libc::O_RDONLY | libc::O_CREAT, REFUSED),
        (libc::O_RDONLY | libc::O_TRUNC, REFUSED),
    ] {
        let bits = flags.cast_unsigned().into();
        assert_eq!(filter.with(libc::SYS_openat, 2, bits), expected, "{flags:#o}");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(filter.with(libc::SYS_open, 1, bits), expected, "{flags:#o}");
    }
}

/// The same calls have other numbers there, which a list of numbers would let pass.
#[test]
fn calls_by_the_numbers_of_other_architectures_are_refused() {
    for filter in [Filter::tracer(), Filter::helper(Helper::Opener)] {
        let x32 = 0x4000_0000 | u32::try_from(libc::SYS_ptrace).unwrap();
        assert_eq!(run(&filter.0, ARCHITECTURE, x32, [0; 6]), UNKNOWN);
        let i386_ptrace = 26;
        let result = run(&filter.0, OTHER_ARCHITECTURE, i386_ptrace, [0; 6]);
        assert_eq!(result, libc::SECCOMP_RET_KILL_PROCESS);
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

#[test]
fn helper_with_filter_reads_but_starts_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            filter_helper(Helper::Opener).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "text");
            let refused = [
                fs::write(&path, "other").unwrap_err(),
                fs::remove_file(&path).unwrap_err(),
                UnixDatagram::unbound().unwrap_err(),
                Command::new("true").status().unwrap_err(),
                thread::Builder::new().spawn(|| ()).unwrap_err(),
            ];
            for error in refused {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            }
        });
        filtered.join().unwrap();
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "text");
}
