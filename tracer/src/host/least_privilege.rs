//! Once everything is attached, the capabilities that loading took are given up: what is left reads,
//! and cannot change the host.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What reports still take: kernel addresses for the child that names them, and what /proc shows of
/// other users' processes.
const KEPT: CapabilitySet = CapabilitySet::SYSLOG
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHECKPOINT_RESTORE);

/// What maps take besides on kernels before 5.19, where unprivileged_bpf_disabled forbids all of
/// bpf(2), also on maps that are open.
const MAPS: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN);

/// Gives up what is not needed any more, for this thread and those that it starts.
/// `maps_are_readable` is asked without: only trying tells.
pub(crate) fn drop_capabilities(maps_are_readable: impl FnOnce() -> bool) -> io::Result<()> {
    let held = capabilities(None)?;
    // Not yet permitted alone: what proves to be needed can be taken back.
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

/// CAP_SYS_ADMIN only where it must stand in for CAP_BPF.
fn least(held: CapabilitySet) -> CapabilitySet {
    if held.contains(CapabilitySet::BPF) { CapabilitySet::BPF } else { held }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_keep_cap_bpf_and_sys_admin_only_in_its_place() {
        assert_eq!(least(MAPS), CapabilitySet::BPF);
        assert_eq!(least(CapabilitySet::SYS_ADMIN), CapabilitySet::SYS_ADMIN);
        assert_eq!(least(CapabilitySet::empty()), CapabilitySet::empty());
    }

    #[test]
    fn nothing_is_gained() {
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

    /// In a thread of its own: capabilities are a thread's.
    #[test]
    fn capabilities_are_given_up_and_those_of_maps_kept_where_they_are_needed() {
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
