//! Settings of the host: sysctls, limits, namespaces, mounts. `oomwhy check` shows them, and they
//! explain why the kernel refused something.

use std::{fs::File, io, path::PathBuf};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::files::{Privileges, Root};

/// The namespaces that a machine boots with (include/uapi/linux/nsfs.h).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
const FIRST_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";

/// Mount points of tracefs, today and before 4.1.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const MARK_VICTIM_FORMAT: &str = "events/oom/mark_victim/format";

/// `None`: the setting is not visible, or this kernel does not have it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Policy {
    /// kernel.perf_event_paranoid: kprobes by perf_event_open need 1 or less, or CAP_PERFMON. 3
    /// (Debian) and 4 (Ubuntu) require CAP_SYS_ADMIN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perf_event_paranoid: Option<i32>,
    /// kernel.kptr_restrict: 2 hides kernel addresses from everyone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kptr_restrict: Option<i32>,
    /// kernel.unprivileged_bpf_disabled: 1 and 2 require CAP_BPF for all of bpf(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unprivileged_bpf_disabled: Option<i32>,
    /// net.core.bpf_jit_enable: 0 leaves the kernel without trampolines. Only root can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpf_jit_enable: Option<i32>,
    /// kernel.dmesg_restrict: 1 requires CAP_SYSLOG to read the kernel log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dmesg_restrict: Option<i32>,
    /// vm.panic_on_oom: the kernel panics instead of killing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic_on_oom: Option<i32>,
    /// The highest capability of this kernel: 39 is CAP_BPF (5.8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_capability: Option<u32>,
    /// RLIMIT_MEMLOCK, bytes; absent if there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memlock_bytes: Option<u64>,
    /// Whether /dev/kmsg can be read.
    pub kmsg: Access,
    /// The formats of tracepoints.
    pub tracefs: Access,
    /// Whether oomwhy runs in the pid namespace that the machine booted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_pid_namespace: Option<bool>,
    /// The same for the cgroup namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_cgroup_namespace: Option<bool>,
    /// Whether the capabilities are those of a user namespace, which the kernel ignores for BPF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_user_namespace: Option<bool>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(tag = "access", rename_all = "snake_case")]
pub(crate) enum Access {
    Readable {
        path: PathBuf,
    },
    Denied {
        path: PathBuf,
        why: String,
    },
    #[default]
    Absent,
}

impl Access {
    pub(crate) fn is_readable(&self) -> bool {
        matches!(self, Self::Readable { .. })
    }
}

impl Policy {
    pub(crate) fn collect(root: &Root) -> Self {
        let setting = |path: &str| root.line(path)?.parse().ok();
        Self {
            perf_event_paranoid: setting("/proc/sys/kernel/perf_event_paranoid"),
            kptr_restrict: setting("/proc/sys/kernel/kptr_restrict"),
            unprivileged_bpf_disabled: setting("/proc/sys/kernel/unprivileged_bpf_disabled"),
            bpf_jit_enable: setting("/proc/sys/net/core/bpf_jit_enable"),
            dmesg_restrict: setting("/proc/sys/kernel/dmesg_restrict"),
            panic_on_oom: setting("/proc/sys/vm/panic_on_oom"),
            last_capability: root
                .line("/proc/sys/kernel/cap_last_cap")
                .and_then(|number| number.parse().ok()),
            memlock_bytes: getrlimit(Resource::Memlock).current,
            kmsg: kmsg(root),
            tracefs: tracefs(root),
            first_pid_namespace: is_first(root, "/proc/self/ns/pid", FIRST_PID_NAMESPACE),
            first_cgroup_namespace: is_first(root, "/proc/self/ns/cgroup", FIRST_CGROUP_NAMESPACE),
            in_user_namespace: root.line("/proc/self/uid_map").map(|map| !is_identity(&map)),
        }
    }

    /// Whether this kernel has CAP_BPF and CAP_PERFMON (5.8).
    pub(crate) fn knows_cap_bpf(&self) -> Option<bool> {
        self.last_capability.map(|last| last >= Privileges::BPF)
    }
}

fn is_first(root: &Root, link: &str, first: &str) -> Option<bool> {
    let target = std::fs::read_link(root.path(link)).ok()?;
    Some(target.as_os_str() == first)
}

/// Outside of user namespaces every id is mapped to itself.
fn is_identity(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Opening it is enough to find out whether it is permitted.
fn kmsg(root: &Root) -> Access {
    access(root.path("/dev/kmsg"))
}

fn tracefs(root: &Root) -> Access {
    TRACEFS
        .map(|mount| access(root.path(mount).join(MARK_VICTIM_FORMAT)))
        .into_iter()
        .filter(|access| *access != Access::Absent)
        .min_by_key(|access| !access.is_readable())
        .unwrap_or_default()
}

fn access(path: PathBuf) -> Access {
    match File::open(&path) {
        Ok(_) => Access::Readable { path },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Access::Absent,
        Err(error) => Access::Denied { path, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::write_below;

    #[test]
    fn visible_settings_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let put = |path: &str, text: &str| write_below(folder.path(), path, text);
        put("/proc/sys/kernel/perf_event_paranoid", "-1\n");
        put("/proc/sys/kernel/cap_last_cap", "37\n");
        put("/proc/self/uid_map", "         0          0 4294967295\n");
        put("/sys/kernel/debug/tracing/events/oom/mark_victim/format", "name: mark_victim\n");
        let policy = Policy::collect(&root);
        assert_eq!((policy.perf_event_paranoid, policy.kptr_restrict), (Some(-1), None));
        assert_eq!(policy.knows_cap_bpf(), Some(false));
        assert_eq!(policy.in_user_namespace, Some(false));
        assert!(policy.tracefs.is_readable());
        assert_eq!((policy.kmsg, policy.first_pid_namespace), (Access::Absent, None));
        put("/proc/self/uid_map", "0 100000 65536\n");
        assert_eq!(Policy::collect(&root).in_user_namespace, Some(true));
    }

    #[test]
    fn settings_of_this_host_are_read() {
        let policy = Policy::collect(&Root::default());
        assert!(policy.last_capability.is_some() && policy.first_pid_namespace.is_some());
    }
}
