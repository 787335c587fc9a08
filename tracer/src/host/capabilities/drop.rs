//! Drops capabilities for good: this thread, the threads that it starts and their children cannot
//! get them back, and a program that they start has only those that are lent to it.
//!
//! Each thread has capabilities of its own. So they are dropped before the first thread starts.

use std::io;

use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};

/// Maps need one of these before 5.19, where unprivileged_bpf_disabled forbids all of bpf(2), even
/// on maps that are open.
const MAPS: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN);

/// User id 0 gives no capabilities, neither to a program that is started nor by a change of the id.
/// Neither can be reverted.
const ROOT_IS_A_USER: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED);

/// Those of `kept` and of [`MAPS`] that a thread still needs which reads BPF maps. `are_readable`
/// is tried without the others: there is no other way to know.
pub(crate) fn with_maps(
    kept: CapabilitySet,
    are_readable: impl FnOnce() -> bool,
) -> io::Result<CapabilitySet> {
    let held = capabilities(None)?;
    // Only effective for now: what proves to be needed can be taken back from the permitted ones.
    set_capabilities(None, CapabilitySets { effective: held.permitted & kept, ..held })?;
    let needed = if are_readable() { kept } else { kept | least(held.permitted & MAPS) };
    set_capabilities(None, held)?;
    Ok(needed)
}

/// CAP_SYS_ADMIN only if there is no CAP_BPF.
fn least(held: CapabilitySet) -> CapabilitySet {
    if held.contains(CapabilitySet::BPF) { CapabilitySet::BPF } else { held }
}

/// Drops all capabilities but `kept`. `lent` are those among them that [`lend`] may give to
/// programs later. Tries everything, and returns the first error.
pub(crate) fn drop_all_but(kept: CapabilitySet, lent: CapabilitySet) -> io::Result<()> {
    let held = capabilities(None)?;
    let left = held.permitted & kept;
    // The bounding set limits what can become inheritable, so this comes before it is emptied.
    let inheritable = left & lent & (held.inheritable | bounding_set());
    let no_new_privs = set_no_new_privs(true);
    let no_ambient = clear_ambient_capability_set();
    let locked = if held.permitted.contains(CapabilitySet::SETPCAP) {
        let effective = left | CapabilitySet::SETPCAP;
        lock(CapabilitySets { effective, permitted: held.permitted, inheritable })
    } else {
        Ok(())
    };
    let dropped =
        set_capabilities(None, CapabilitySets { effective: left, permitted: left, inheritable });
    let all: rustix::io::Result<()> =
        [no_new_privs, no_ambient, locked, dropped].into_iter().collect();
    Ok(all?)
}

/// Makes it final. This needs CAP_SETPCAP, which is still effective in `sets`.
fn lock(sets: CapabilitySets) -> rustix::io::Result<()> {
    set_capabilities(None, sets)?;
    for capability in (bounding_set() - of_program()).iter() {
        remove_capability_from_bounding_set(capability)?;
    }
    set_capabilities_secure_bits(capabilities_secure_bits()? | ROOT_IS_A_USER)
}

/// A program never gets a capability from its file that is not in this set.
fn bounding_set() -> CapabilitySet {
    // The kernel has no more after the first error.
    (0..u64::BITS)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .map_while(|capability| Some((capability, capability_is_in_bounding_set(capability).ok()?)))
        .filter_map(|(capability, is_in_set)| is_in_set.then_some(capability))
        .collect()
}

/// The capabilities that the file of this program gives, by setcap(8). The kernel refuses to start
/// it as a helper if one of them is not in the bounding set. no_new_privs still applies: a helper
/// gets none that its parent does not have.
fn of_program() -> CapabilitySet {
    let mut attribute = [0; 24];
    let length = rustix::fs::getxattr("/proc/self/exe", "security.capability", &mut attribute);
    of_file(attribute.get(..length.unwrap_or_default()).unwrap_or_default())
}

/// The permitted set in `struct vfs_cap_data`: its words are the version, and then permitted and
/// inheritable capabilities in turn, each in two halves.
fn of_file(attribute: &[u8]) -> CapabilitySet {
    let (words, _) = attribute.as_chunks();
    let half = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
    CapabilitySet::from_bits_retain(u64::from(half(1)) | u64::from(half(3)) << u32::BITS)
}

/// Calls `start`. The programs that it starts get these capabilities, as far as this thread has
/// them, and no others.
pub(crate) fn lend<T>(wanted: CapabilitySet, start: impl FnOnce() -> T) -> T {
    // Without them, the program runs and finds less.
    if let Ok(held) = capabilities(None) {
        let lent = held.permitted & wanted;
        let inheritable = held.inheritable | lent;
        let _ = set_capabilities(None, CapabilitySets { inheritable, ..held });
        for capability in lent.iter() {
            let _ = configure_capability_in_ambient_set(capability, true);
        }
    }
    let started = start();
    let _ = clear_ambient_capability_set();
    started
}

#[cfg(test)]
mod tests;
