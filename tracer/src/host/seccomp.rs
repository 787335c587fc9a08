//! Filters of system calls. They forbid what neither the tracer nor a helper does once the probes
//! are attached, but what an attacker who runs code in one of them would do. A forbidden call fails
//! with EPERM, as it does without the privilege.
//!
//! A list of the allowed calls would be stricter. But the calls that a libc makes change with its
//! version, and a call that is missing in the list would fail during a kill.

use std::{collections::BTreeMap, io};

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter, sock_filter,
};

/// Per system call the conditions on its arguments, of which one must hold. Without conditions, the
/// call is always forbidden.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Forbidden to the tracer and to its helpers.
const FORBIDDEN: &[c_long] = &[
    // They reach into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // They change mounts, or open files without a path (CAP_DAC_READ_SEARCH).
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // They enter other namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // They change the kernel, its clock, its names, its log or its keys.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // They are large parts of the kernel that nothing here uses.
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    // libc has no number of it for musl on arm64.
    #[cfg(not(all(target_env = "musl", target_arch = "aarch64")))]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Forbidden to helpers besides. They parse files, so they only read.
const FORBIDDEN_TO_HELPERS: &[c_long] = &[
    // They start programs, processes and threads.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // They signal processes of the same user.
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    // They make sockets, and control devices.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_ioctl,
    // They change files.
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
];

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
    install(tracer_rules(bpf_commands))
}

/// Installs the filter of a helper process.
pub(crate) fn filter_helper(helper: Helper) -> io::Result<()> {
    install(helper_rules(helper))
}

fn install(rules: Result<Rules, BackendError>) -> io::Result<()> {
    let filter = rules.and_then(|rules| program(rules, libc::EPERM)).map_err(io::Error::other)?;
    // A filter cannot see the flags that clone3 has. Without clone3, a libc uses clone.
    let without_clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = program(without_clone3, libc::ENOSYS).map_err(io::Error::other)?;
    [filter, clone3].iter().try_for_each(|it| apply_filter(it)).map_err(io::Error::other)
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

fn helper_rules(helper: Helper) -> Result<Rules, BackendError> {
    let mut rules = tracer_rules(&[])?;
    rules.extend(FORBIDDEN_TO_HELPERS.iter().map(|&call| (call, Vec::new())));
    // A filter cannot see the flags that it has.
    if helper == Helper::Reader {
        rules.insert(libc::SYS_openat2, Vec::new());
    }
    rules.insert(libc::SYS_openat, writing(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, writing(1)?);
    Ok(rules)
}

/// The argument with this index has the flags of open(2), and allows more than reading.
fn writing(index: u8) -> Result<Vec<SeccompRule>, BackendError> {
    [
        (libc::O_ACCMODE, libc::O_WRONLY),
        (libc::O_ACCMODE, libc::O_RDWR),
        (libc::O_ACCMODE, libc::O_ACCMODE),
        (libc::O_CREAT, libc::O_CREAT),
        (libc::O_TRUNC, libc::O_TRUNC),
    ]
    .into_iter()
    .map(|(mask, value)| has_bits(index, mask, value))
    .collect()
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

/// The filter with which a call that meets the rules fails with `errno`. A call with the numbers of
/// another architecture ends the process.
fn program(rules: Rules, errno: i32) -> Result<BpfProgram, BackendError> {
    let refusal = SeccompAction::Errno(errno.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch)?;
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
