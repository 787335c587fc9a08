//! Why the kernel refused something, and how to fix it. An errno alone does not say. Pure.

use std::io;

use crate::host::{
    facts::HostFacts,
    files::{Lockdown, Privileges},
    policy::Policy,
};

/// Why something was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Denial {
    /// For example "CAP_BPF is not held".
    pub why: String,
    /// A command or a setting.
    pub fix: String,
}

/// The file of the program keeps capabilities that are set this way.
const SETCAP: &str = "run as root, or `sudo setcap \
     cap_bpf,cap_perfmon,cap_syslog,cap_sys_ptrace+ep \"$(command -v oomwhy)\"`";

/// Whether the error is EPERM or EACCES.
pub(crate) fn is_denial(errno: &io::Error) -> bool {
    errno.kind() == io::ErrorKind::PermissionDenied
}

/// Why BPF is not permitted on this host, the most frequent cause first.
pub(crate) fn explain(facts: &HostFacts, policy: &Policy) -> Denial {
    capabilities(facts, policy)
        .or_else(|| user_namespace(policy))
        .or_else(|| memlock(facts, policy))
        .unwrap_or_else(|| kernel_policy(facts))
}

fn capabilities(facts: &HostFacts, policy: &Policy) -> Option<Denial> {
    let held = facts.privileges?;
    if held.has(Privileges::SYS_ADMIN) {
        return None;
    }
    if policy.knows_cap_bpf() == Some(false) {
        return Some(Denial {
            why: "CAP_SYS_ADMIN is not held, which a kernel before 5.8 asks for".to_owned(),
            fix: "run as root, e.g. `sudo oomwhy`".to_owned(),
        });
    }
    let missing: Vec<&str> = [(Privileges::BPF, "CAP_BPF"), (Privileges::PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(capability, _)| !held.has(*capability))
        .map(|(_, name)| name)
        .collect();
    let verb = if missing.len() == 1 { "is" } else { "are" };
    (!missing.is_empty()).then(|| Denial {
        why: format!("{} {verb} not held", missing.join(" and ")),
        fix: SETCAP.to_owned(),
    })
}

fn user_namespace(policy: &Policy) -> Option<Denial> {
    (policy.in_user_namespace == Some(true)).then(|| Denial {
        why: "the capabilities are those of a user namespace, which the kernel does not count for \
              BPF"
        .to_owned(),
        fix: "run outside of it (a rootful container, without userns-remap)".to_owned(),
    })
}

/// Before 5.11 the memory of BPF maps counts against RLIMIT_MEMLOCK. The helper
/// bpf_get_current_task_btf came with the same kernel.
fn memlock(facts: &HostFacts, policy: &Policy) -> Option<Denial> {
    let held = facts.privileges?;
    let is_counted = !facts.btf.functions.is_empty() && !facts.btf.current_task_btf;
    let limit =
        policy.memlock_bytes.filter(|_| is_counted && !held.has(Privileges::SYS_RESOURCE))?;
    Some(Denial {
        why: format!(
            "RLIMIT_MEMLOCK is {} KiB and CAP_SYS_RESOURCE is not held: this kernel counts BPF \
             maps as locked memory",
            limit / 1024
        ),
        fix: "`ulimit -l unlimited` (systemd: LimitMEMLOCK=infinity), or hold CAP_SYS_RESOURCE"
            .to_owned(),
    })
}

/// The remaining cause is a policy of the host.
fn kernel_policy(facts: &HostFacts) -> Denial {
    let lockdown = match facts.lockdown {
        Lockdown::None => "lockdown is none",
        Lockdown::Integrity => "lockdown is integrity",
        Lockdown::Confidentiality => "lockdown is confidentiality",
        Lockdown::Unknown => "lockdown is not shown",
    };
    Denial {
        why: format!(
            "this kernel's policy forbids tracing BPF (an LSM, seccomp or a hardened build; \
             {lockdown}), though the capabilities are there"
        ),
        fix: "ask who runs this host; in a container the seccomp profile must allow bpf and \
               perf_event_open"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
