//! Threads of their own drop their capabilities, because each thread has its own.

use std::{fs, process::Command, thread};

use super::*;

const KEPT: CapabilitySet = CapabilitySet::SYSLOG.union(CapabilitySet::SYS_PTRACE);
const LENT: CapabilitySet = CapabilitySet::SYSLOG;

/// A line of a status file of /proc, as a number.
fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap()
}

fn own_status() -> String {
    fs::read_to_string("/proc/thread-self/status").unwrap()
}

fn status_of_a_child() -> String {
    let output = Command::new("cat").arg("/proc/self/status").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Sets of a thread or of a process: permitted, effective, ambient.
fn sets(status: &str) -> [u64; 3] {
    ["CapPrm", "CapEff", "CapAmb"].map(|key| number(status, key))
}

/// What the test itself may do. Without CAP_SETPCAP nothing can be locked.
fn held() -> (CapabilitySet, bool) {
    let held = capabilities(None).unwrap().permitted;
    (held, held.contains(CapabilitySet::SETPCAP))
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn maps_keep_cap_bpf_or_sys_admin_without_it() {
    assert_eq!(least(MAPS), CapabilitySet::BPF);
    assert_eq!(least(CapabilitySet::SYS_ADMIN), CapabilitySet::SYS_ADMIN);
    assert_eq!(least(CapabilitySet::empty()), CapabilitySet::empty());
}

#[test]
fn maps_are_tried_without_the_capabilities_that_are_dropped() {
    let (held, _) = held();
    let [readable, unreadable] = [true, false].map(|readable| {
        in_thread(|| {
            let mut effective = CapabilitySet::empty();
            let kept = with_maps(KEPT, || {
                effective = capabilities(None).unwrap().effective;
                readable
            });
            assert_eq!(effective, held & KEPT);
            kept.unwrap()
        })
    });
    assert_eq!(readable, KEPT);
    assert_eq!(unreadable, KEPT | least(held & MAPS));
}

#[test]
fn dropped_capabilities_are_in_no_set() {
    let (held, can_lock) = held();
    in_thread(|| {
        drop_all_but(KEPT, LENT).unwrap();
        let status = own_status();
        let left = (held & KEPT).bits();
        assert_eq!(sets(&status), [left, left, 0]);
        assert_eq!(number(&status, "CapInh"), (held & LENT).bits());
        assert_eq!(number(&status, "NoNewPrivs"), 1);
        if can_lock {
            assert_eq!(number(&status, "CapBnd"), 0);
            assert!(capabilities_secure_bits().unwrap().contains(ROOT_IS_A_USER));
        }
        let of_later_thread = in_thread(own_status);
        assert_eq!(sets(&of_later_thread), sets(&status));
        assert_eq!(number(&of_later_thread, "CapBnd"), number(&status, "CapBnd"));
    });
}

#[test]
fn programs_have_only_the_capabilities_that_are_lent_to_them() {
    let (held, _) = held();
    in_thread(|| {
        drop_all_but(KEPT, LENT).unwrap();
        assert_eq!(sets(&status_of_a_child()), [0; 3], "not even for root");
        let lent = (held & LENT).bits();
        let status = lend(KEPT, status_of_a_child);
        assert_eq!(sets(&status), [lent; 3], "those that were not announced cannot be lent");
        assert_eq!(number(&status, "NoNewPrivs"), 1);
        assert_eq!(sets(&status_of_a_child()), [0; 3], "no longer than it lasts");
    });
}

#[test]
fn program_that_drops_what_was_lent_to_it_keeps_the_rest_dropped() {
    in_thread(|| {
        drop_all_but(KEPT, LENT).unwrap();
        drop_all_but(CapabilitySet::empty(), CapabilitySet::empty()).unwrap();
        assert_eq!(sets(&own_status()), [0; 3]);
    });
}

/// As setcap(8) writes it: `cap_sys_ptrace,cap_syslog+ep`, then the same with a user namespace.
#[test]
fn capabilities_of_the_file_are_read_from_its_attribute() {
    let mut attribute = [0x0200_0001_u32, 1 << 19, 0, 1 << 2, 0].map(u32::to_le_bytes).concat();
    let expected = CapabilitySet::SYS_PTRACE | CapabilitySet::SYSLOG;
    assert_eq!(of_file(&attribute), expected);
    attribute.extend(1000_u32.to_le_bytes());
    assert_eq!(of_file(&attribute), expected);
    assert_eq!(of_file(&[]), CapabilitySet::empty());
    assert_eq!(of_program(), CapabilitySet::empty());
}
