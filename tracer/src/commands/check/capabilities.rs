//! Capabilities: whether each is held, and its purpose.

use serde::Serialize;

use crate::host::{files::Privileges, policy::Policy};

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Capability {
    pub name: &'static str,
    pub held: Held,
    /// Its purpose for oomwhy.
    pub buys: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Held {
    Yes,
    /// No, but CAP_SYS_ADMIN includes it.
    BySysAdmin,
    No,
    /// No, and it would change nothing on this host.
    NotNeeded,
}

/// The most important first.
const CAPABILITIES: [(u32, &str, &str); 8] = [
    (Privileges::BPF, "CAP_BPF", "load BPF programs, for every probe"),
    (Privileges::PERFMON, "CAP_PERFMON", "let probes read kernel memory, for every probe"),
    (
        Privileges::SYSLOG,
        "CAP_SYSLOG",
        "see kernel addresses, for names in stacks and since 6.2 for memory.stat and exact rss; \
         read the kernel log",
    ),
    (
        Privileges::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "read executables and user stacks of other users' processes in /proc",
    ),
    (
        Privileges::DAC_READ_SEARCH,
        "CAP_DAC_READ_SEARCH",
        "read files that only root may read: tracefs, container configurations",
    ),
    (
        Privileges::CHECKPOINT_RESTORE,
        "CAP_CHECKPOINT_RESTORE",
        "name user stacks from files that are deleted or in another mount namespace",
    ),
    (
        Privileges::SYS_RESOURCE,
        "CAP_SYS_RESOURCE",
        "protect oomwhy itself (oom_score_adj -1000 or -999); before 5.11 lock memory for BPF maps",
    ),
    (
        Privileges::SYS_ADMIN,
        "CAP_SYS_ADMIN",
        "before 5.8 replace CAP_BPF and CAP_PERFMON; use kprobes if perf_event_paranoid is above 2",
    ),
];

pub(super) fn all(held: Option<Privileges>, policy: &Policy) -> Vec<Capability> {
    let capability =
        |(number, name, buys)| Capability { name, held: state(number, held, policy), buys };
    CAPABILITIES.into_iter().map(capability).collect()
}

fn state(number: u32, privileges: Option<Privileges>, policy: &Policy) -> Held {
    let has = |number| privileges.is_some_and(|held| held.has(number));
    let is_unknown_here = policy.last_capability.is_some_and(|last| number > last);
    let sys_admin_does =
        matches!(number, Privileges::BPF | Privileges::PERFMON | Privileges::CHECKPOINT_RESTORE);
    if has(number) {
        Held::Yes
    } else if sys_admin_does && has(Privileges::SYS_ADMIN) {
        Held::BySysAdmin
    } else if is_unknown_here
        || (number == Privileges::SYS_ADMIN && policy.knows_cap_bpf() != Some(false))
    {
        Held::NotNeeded
    } else {
        Held::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bits: u64, last: u32) -> Vec<(&'static str, Held)> {
        let privileges = Privileges { uid: 1000, capabilities: bits };
        let policy = Policy { last_capability: Some(last), ..Policy::default() };
        let all = all(Some(privileges), &policy);
        all.into_iter().map(|capability| (capability.name, capability.held)).collect()
    }

    #[test]
    fn sys_admin_includes_its_parts_and_is_needed_before_5_8_only() {
        let old = held(0, 37);
        assert!(old.contains(&("CAP_BPF", Held::NotNeeded)));
        assert!(old.contains(&("CAP_SYS_ADMIN", Held::No)));
        let new = held(1 << Privileges::BPF, 40);
        assert!(new.contains(&("CAP_BPF", Held::Yes)));
        assert!(new.contains(&("CAP_PERFMON", Held::No)));
        assert!(new.contains(&("CAP_SYS_ADMIN", Held::NotNeeded)));
        let admin = held(1 << Privileges::SYS_ADMIN, 40);
        assert!(admin.contains(&("CAP_PERFMON", Held::BySysAdmin)));
        assert!(admin.contains(&("CAP_SYSLOG", Held::No)));
    }
}
