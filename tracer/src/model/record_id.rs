//! The ids of records: `<boot id>-<CLOCK_BOOTTIME ns, 16 hex digits>-<subject>`. So ids of one boot
//! sort by time, and the same events give the same id. The subject has no dash. Pure.

use std::fmt::Display;

use super::{
    fnv,
    report::{LossReason, LossStage},
};

/// Stands for a boot id that is unknown.
const UNKNOWN_BOOT: &str = "unknown-boot";

/// Of a report. The subject is the thread that entered `out_of_memory`, 0 if it is unknown.
pub(crate) fn report(boot_id: Option<&str>, started_ns: u64, tid: i32) -> String {
    record_id(boot_id, started_ns, tid)
}

/// Of a gap. The subject includes the memory cgroup, if the counter of one showed the gap.
pub(crate) fn gap(boot_id: Option<&str>, at_ns: u64, cgroup_id: Option<u64>) -> String {
    match cgroup_id {
        None => record_id(boot_id, at_ns, "gap"),
        Some(cgroup_id) => record_id(boot_id, at_ns, format_args!("gap.{cgroup_id}")),
    }
}

/// Of a loss that was last detected at `last_ns`. Several can be detected at once, so the subject
/// has a hash of `what` was lost: stage, reason and name.
pub(crate) fn loss(
    boot_id: Option<&str>,
    last_ns: u64,
    what: (Option<LossStage>, Option<LossReason>, Option<&str>),
) -> String {
    // The words of the contract, which never change. To serialize them cannot fail.
    let words = serde_json::to_vec(&what).unwrap_or_default();
    let hash = fnv::hash(words) >> 32;
    record_id(boot_id, last_ns, format_args!("loss.{hash:08x}"))
}

fn record_id(boot_id: Option<&str>, at_ns: u64, subject: impl Display) -> String {
    format!("{}-{at_ns:016x}-{subject}", boot_id.unwrap_or(UNKNOWN_BOOT))
}

#[cfg(test)]
mod tests {
    use super::{gap, loss, report};
    use crate::model::report::{LossReason, LossStage};

    const BOOT: Option<&str> = Some("2f0e7d5c-3f5f");

    #[test]
    fn id_has_boot_time_and_subject() {
        assert_eq!(report(BOOT, 0xabc, 7), "2f0e7d5c-3f5f-0000000000000abc-7");
        assert_eq!(report(None, 1, 0), "unknown-boot-0000000000000001-0");
        assert_eq!(gap(BOOT, 0xabc, None), "2f0e7d5c-3f5f-0000000000000abc-gap");
        assert_eq!(gap(BOOT, 0xabc, Some(77)), "2f0e7d5c-3f5f-0000000000000abc-gap.77");
    }

    /// The ids of stored records must not change with a later version.
    #[test]
    fn id_of_a_loss_never_changes() {
        let of = |stage, reason, name| loss(BOOT, 0xabc, (stage, reason, name));
        let kills = Some(LossStage::Kills);
        let ids = [
            of(None, None, None),
            of(Some(LossStage::Ring), None, None),
            of(kills, None, None),
            of(kills, Some(LossReason::Marked), None),
            of(Some(LossStage::Probe), None, Some("exit_mmap")),
            of(Some(LossStage::Queue), None, Some("stdout")),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(id.starts_with("2f0e7d5c-3f5f-0000000000000abc-loss."), "{id}");
            assert!(!ids.iter().skip(index + 1).any(|other| other == id), "{ids:?}");
        }
        assert_eq!(ids[3], "2f0e7d5c-3f5f-0000000000000abc-loss.2bc6853e");
    }

    #[test]
    fn later_id_of_a_boot_sorts_after_earlier() {
        let ids = [report(BOOT, 9, 999), gap(BOOT, 10, None), report(BOOT, 16, 1)];
        assert!(ids.is_sorted(), "{ids:?}");
    }
}
