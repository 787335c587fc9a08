//! Drops the capabilities that only loading needed, once everything is attached. The rest can read,
//! but not change the host.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Reports still need kernel addresses, for the child that names them, and the /proc files of other
/// users' processes.
const KEPT: CapabilitySet = CapabilitySet::SYSLOG
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHECKPOINT_RESTORE);

/// Maps need one of these before 5.19, where unprivileged_bpf_disabled forbids all of bpf(2), even
/// on maps that are open.
const MAPS: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN);

/// Drops the capabilities of this thread and of those that it starts. `maps_are_readable` is tried
/// without them: there is no other way to know.
pub(crate) fn drop_capabilities(maps_are_readable: impl FnOnce() -> bool) -> io::Result<()> {
    let held = capabilities(None)?;
    // Still permitted, so that a capability that proves to be needed can be taken back.
    set_capabilities(None, reduced(held, KEPT, held.permitted))?;
    let kept = if maps_are_readable() { KEPT } else { KEPT | least(held.permitted & MAPS) };
    Ok(set_capabilities(None, reduced(held, kept, kept))?)
}

fn reduced(
    held: CapabilitySets,
    effective: CapabilitySet,
    permitted: CapabilitySet,
) -> CapabilitySets {
    CapabilitySets {
        effective: held.permitted & effective,
        permitted: held.permitted & permitted,
        inheritable: held.inheritable & permitted,
    }
}

/// CAP_SYS_ADMIN only if there is no CAP_BPF.
fn least(held: CapabilitySet) -> CapabilitySet {
    if held.contains(CapabilitySet::BPF) { CapabilitySet::BPF } else { held }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_keep_cap_bpf_or_sys_admin_without_it() {
        assert_eq!(least(MAPS), CapabilitySet::BPF);
        assert_eq!(least(CapabilitySet::SYS_ADMIN), CapabilitySet::SYS_ADMIN);
        assert_eq!(least(CapabilitySet::empty()), CapabilitySet::empty());
    }

    #[test]
    fn reduced_sets_gain_nothing() {
        let held = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::SYSLOG | CapabilitySet::KILL,
            inheritable: CapabilitySet::KILL,
        };
        let sets = reduced(held, KEPT, KEPT);
        assert_eq!(sets.effective, CapabilitySet::SYSLOG);
        assert_eq!(
            (sets.permitted, sets.inheritable),
            (CapabilitySet::SYSLOG, CapabilitySet::empty())
        );
    }

    /// In a thread of its own, because each thread has capabilities of its own.
    #[test]
    fn dropped_capabilities_exclude_those_that_maps_need() {
        for readable in [true, false] {
            let left = std::thread::spawn(move || {
                let before = capabilities(None).unwrap().permitted;
                drop_capabilities(|| readable).unwrap();
                (before, capabilities(None).unwrap())
            });
            let (before, left) = left.join().unwrap();
            let maps = if readable { CapabilitySet::empty() } else { least(before & MAPS) };
            assert_eq!(left.permitted, before & (KEPT | maps));
            assert_eq!(left.effective, left.permitted);
        }
    }
}
