//! What was dropped besides the records that reports are made of: hints of the probes, and
//! look-ups.

use tokio::time::Instant;

use super::{Live, LiveError};
use crate::{
    bpf::load::Probes,
    enrich::shares,
    host::{clock, disposable},
    model::{
        facts::Fact,
        report::{LossReason, LossStage},
    },
};

/// The counts that were read last.
#[derive(Debug)]
pub(super) struct Drops {
    counts: Counts,
    at_ns: u64,
    pub(super) read_at: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    hints: u64,
    /// Look-ups that were refused because helper processes hang.
    without_helper: u64,
    /// Look-ups that were refused for another reason.
    refused: u64,
    late: u64,
}

impl Counts {
    fn read(probes: &Probes, late: u64) -> Self {
        Self {
            hints: probes.dropped_hints(),
            without_helper: disposable::n_refused(),
            refused: shares::n_refused(),
            late,
        }
    }

    /// What was dropped since the earlier reading.
    fn since(self, before: Self) -> impl Iterator<Item = (LossStage, Option<LossReason>, u64)> {
        use LossReason::{HelpersHang, Late, ShareUsedUp};
        [
            (LossStage::Hints, None, self.hints.saturating_sub(before.hints)),
            (
                LossStage::Helper,
                Some(HelpersHang),
                self.without_helper.saturating_sub(before.without_helper),
            ),
            (LossStage::Names, Some(ShareUsedUp), self.refused.saturating_sub(before.refused)),
            (LossStage::Names, Some(Late), self.late.saturating_sub(before.late)),
        ]
        .into_iter()
        .filter(|(.., count)| *count > 0)
    }
}

impl Drops {
    /// Earlier runs have reported what was dropped until now, or nobody will.
    pub(super) fn since_now(probes: &Probes) -> Self {
        let counts = Counts::read(probes, 0);
        Self { counts, at_ns: clock::boottime_ns(), read_at: Instant::now() }
    }
}

impl Live {
    /// Reports what was dropped since the last call.
    pub(super) fn note_drops(&mut self) -> Result<(), LiveError> {
        let counts = Counts::read(&self.probes, self.facts.stacks.requests.n_late());
        let at_ns = clock::boottime_ns();
        let now = Drops { counts, at_ns, read_at: Instant::now() };
        let Drops { counts: before, at_ns: since_ns, .. } = std::mem::replace(&mut self.drops, now);
        for (stage, reason, count) in counts.since(before) {
            self.note(Fact::Dropped { stage, reason, count, since_ns, at_ns })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, LossReason, LossStage};

    #[test]
    fn each_count_that_grew_is_a_loss_of_its_own() {
        let before = Counts { hints: 1, without_helper: 2, refused: 3, late: 4 };
        assert_eq!(before.since(before).count(), 0);
        let now = Counts { hints: 11, without_helper: 2, refused: 33, late: 5 };
        let losses: Vec<_> = now.since(before).collect();
        let expected = [
            (LossStage::Hints, None, 10),
            (LossStage::Names, Some(LossReason::ShareUsedUp), 30),
            (LossStage::Names, Some(LossReason::Late), 1),
        ];
        assert_eq!(losses, expected);
    }
}
