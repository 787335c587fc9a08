//! Filters of system calls, for an attacker who runs code in the tracer or in a helper.
//!
//! The tracer's filter lists what it never does once the probes are attached. Such a call fails
//! with EPERM, as it does without the privilege. A list of the allowed calls would be stricter. But
//! the calls that a libc makes change with its version, and a call that is missing in the list
//! would fail during a kill.
//!
//! A helper makes few calls, so its filter lists these, and all others fail with EPERM. A libc can
//! do without them, and what it cannot do costs a report some names. The calls that the tracer must
//! not make, and some more, end a helper at once: only an attacker makes them.

mod calls;

use std::{collections::BTreeMap, io};

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter, sock_filter,
};

use self::calls::{ALLOWED_TO_HELPERS, ALLOWED_TO_OPENER, FATAL_FOR_HELPERS, FORBIDDEN};

/// Per system call the conditions on its arguments, of which one must hold. Without conditions, the
/// rule always applies.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// What a helper process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helper {
    /// Resolves paths, by openat2(2).
    Opener,
    /// Reads files that are open, or of the host.
    Reader,
}

/// The flags by which clone(2) makes namespaces.
const NEW_NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Installs the filter of the tracer, in this thread and those that it starts. Of bpf(2), only
/// these commands are allowed.
pub(crate) fn filter_tracer(bpf_commands: &[u32]) -> io::Result<()> {
    let rules = tracer_rules(bpf_commands);
    // A filter cannot see the flags that clone3 has. Without clone3, a libc uses clone.
    let without_clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    install([
        rules.and_then(|rules| forbid(rules, errno(libc::EPERM))),
        forbid(without_clone3, errno(libc::ENOSYS)),
    ])
}

/// Installs the filters of a helper process. The kernel takes the strictest result.
pub(crate) fn filter_helper(helper: Helper) -> io::Result<()> {
    install([
        forbid(fatal_rules(), SeccompAction::KillProcess),
        helper_rules(helper).and_then(allow_only),
    ])
}

fn install<const N: usize>(programs: [Result<BpfProgram, BackendError>; N]) -> io::Result<()> {
    let programs: Vec<BpfProgram> =
        programs.into_iter().collect::<Result<_, _>>().map_err(io::Error::other)?;
    programs.iter().try_for_each(|it| apply_filter(it)).map_err(io::Error::other)
}

fn tracer_rules(bpf_commands: &[u32]) -> Result<Rules, BackendError> {
    let mut rules: Rules = FORBIDDEN.iter().map(|&call| (call, Vec::new())).collect();
    let other_command = |&command: &u32| condition(0, SeccompCmpOp::Ne, command);
    let others = bpf_commands.iter().map(other_command).collect::<Result<Vec<_>, _>>()?;
    let bpf = if others.is_empty() { Vec::new() } else { vec![SeccompRule::new(others)?] };
    rules.insert(libc::SYS_bpf, bpf);
    let new_namespace = |flag: i32| has_bits(0, flag, flag);
    let clone = NEW_NAMESPACES.into_iter().map(new_namespace).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_clone, clone);
    Ok(rules)
}

fn fatal_rules() -> Rules {
    FORBIDDEN.iter().chain(FATAL_FOR_HELPERS).map(|&call| (call, Vec::new())).collect()
}

/// The allowed calls.
fn helper_rules(helper: Helper) -> Result<Rules, BackendError> {
    let more = if helper == Helper::Opener { ALLOWED_TO_OPENER } else { &[] };
    let calls = ALLOWED_TO_HELPERS.iter().chain(more);
    calls.map(|&call| Ok((call, allowed_if(call)?))).collect()
}

/// The conditions under which a helper may make an allowed call: to open files only for reading, to
/// make no memory executable, and to let descriptors send no signals.
fn allowed_if(call: c_long) -> Result<Vec<SeccompRule>, BackendError> {
    const WRITES: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    const COMMANDS: [i32; 3] = [libc::F_GETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC];
    let rules = match call {
        libc::SYS_openat => vec![has_bits(2, WRITES, libc::O_RDONLY)?],
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => vec![has_bits(1, WRITES, libc::O_RDONLY)?],
        libc::SYS_mmap | libc::SYS_mprotect => vec![has_bits(2, libc::PROT_EXEC, 0)?],
        libc::SYS_fcntl => {
            let is_command = |command| has_bits(1, -1, command);
            COMMANDS.into_iter().map(is_command).collect::<Result<_, _>>()?
        }
        _ => Vec::new(),
    };
    Ok(rules)
}

fn has_bits(index: u8, mask: i32, value: i32) -> Result<SeccompRule, BackendError> {
    let masked = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
    SeccompRule::new(vec![condition(index, masked, value.cast_unsigned())?])
}

fn condition(
    index: u8,
    operator: SeccompCmpOp,
    value: u32,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, Dword, operator, value.into())
}

const fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.cast_unsigned())
}

/// The filter with which a call that meets the rules has this result.
fn forbid(rules: Rules, result: SeccompAction) -> Result<BpfProgram, BackendError> {
    program(rules, SeccompAction::Allow, result)
}

/// The filter with which a call that does not meet the rules fails with EPERM.
fn allow_only(rules: Rules) -> Result<BpfProgram, BackendError> {
    program(rules, errno(libc::EPERM), SeccompAction::Allow)
}

/// A call with the numbers of another architecture ends the process.
fn program(
    rules: Rules,
    otherwise: SeccompAction,
    result: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, otherwise, result, arch)?;
    Ok([without_x32(), filter.try_into()?].concat())
}

/// On x86-64, the numbers from 2^30 on are those of the x32 ABI: other numbers of the same calls.
fn without_x32() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    /// `BPF_LD | BPF_W | BPF_ABS`
    const LOAD_NUMBER: u16 = 0x20;
    /// `BPF_JMP | BPF_JGE | BPF_K`
    const SKIP_IF_BELOW: u16 = 0x35;
    /// `BPF_RET | BPF_K`
    const RETURN: u16 = 0x06;
    let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: SKIP_IF_BELOW, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refused },
    ]
}

#[cfg(test)]
mod tests;
