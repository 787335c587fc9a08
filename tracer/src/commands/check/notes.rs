//! Advice about containers, panics and mounts. It does not change the exit code.

use super::trial::Trial;
use crate::host::{facts::HostFacts, files::Privileges, policy::Policy};

pub(super) fn all(facts: &HostFacts, policy: &Policy, trial: &Trial) -> Vec<String> {
    let has = |capability| facts.privileges.is_some_and(|held| held.has(capability));
    let notes = [
        (
            policy.panic_on_oom.is_some_and(|value| value > 0),
            "vm.panic_on_oom is set: the kernel panics instead of killing, and nothing is \
             reported; `sysctl vm.panic_on_oom=0`",
        ),
        (
            policy.first_pid_namespace == Some(false),
            "in a pid namespace: reports have the host's pids, but /proc does not show those \
             processes; run with --pid=host (hostPID: true)",
        ),
        (
            policy.first_cgroup_namespace == Some(false),
            "in a cgroup namespace: reports have the host's paths, this container's own mount \
             shows others; run with --cgroupns=host to see the same",
        ),
        (
            facts.cgroups.v2.is_none() && facts.cgroups.v1_memory.is_none(),
            "no cgroup file system is mounted: paths are read by the probes alone; \
             `mount -t cgroup2 none /sys/fs/cgroup`",
        ),
        (
            !policy.tracefs.is_readable(),
            "tracefs cannot be read: flags of a gfp_mask are listed by bit, not in the order of \
             the kernel's log; as root, `mount -t tracefs none /sys/kernel/tracing`",
        ),
        (
            !has(Privileges::SYS_RESOURCE),
            "CAP_SYS_RESOURCE is not held: oomwhy cannot protect itself from the OOM killer",
        ),
        (
            policy.bpf_jit_enable == Some(0),
            "net.core.bpf_jit_enable is 0: no trampolines, so no fentry; \
             `sysctl net.core.bpf_jit_enable=1`",
        ),
        (
            trial.counts_misses == Some(false),
            "this kernel does not count the runs of probes that it skips (5.12 and later do): no \
             `loss` record shows them",
        ),
    ];
    let applicable = notes.into_iter().filter(|(applies, _)| *applies);
    applicable.map(|(_, note)| note.to_owned()).collect()
}
