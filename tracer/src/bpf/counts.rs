//! Reads the counts of records that the probes did not write, and sets whether the probes write
//! hints.

use std::collections::BTreeMap;

use aya::maps::{Array, MapData, MapError, PerCpuArray, PerCpuValues};
use oomwhy_common::{
    counters::{self, before_version_4},
    event::cause,
};

use super::load::{LoadError, Probes, missing_map, other};
use crate::model::report::LossReason;

/// The per-CPU counters of the probes.
const LOST: &str = "LOST";
/// The per-CPU counters of probes before wire version 4.
const LOST_BEFORE_VERSION_4: &str = "COUNTERS";

/// Counts of lost records. Hints and shed details are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LostRecords {
    /// Records for which a ring had no room.
    pub count: u64,
    /// Those among them that were compact records of kills. `None`: probes before wire version 4
    /// have no such records.
    pub kills: Option<KillsLost>,
    /// The first loss since the previous reading, `CLOCK_BOOTTIME` ns; 0 for none.
    pub first_ns: u64,
    /// The latest loss, `CLOCK_BOOTTIME` ns; 0 for none.
    pub last_ns: u64,
}

/// Counts of kills without a compact record, index [`cause`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KillsLost([u64; counters::kills::FIRST_NS as usize]);

impl KillsLost {
    pub(crate) fn total(self) -> u64 {
        self.0.iter().sum()
    }

    /// The counts that are not 0. A cause that only newer probes have is in the total alone.
    pub(crate) fn by_reason(self) -> BTreeMap<LossReason, u64> {
        let reasons = [
            (cause::MARKED, LossReason::Marked),
            (cause::GROUP_MEMBER, LossReason::GroupMember),
            (cause::SHARES_MM, LossReason::SharesMm),
        ];
        let counts = reasons.map(|(cause, reason)| (reason, self.0[usize::from(cause)]));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl Probes {
    pub(crate) fn maps_are_readable(&self) -> bool {
        let map = self.maps.get(LOST).or_else(|| self.maps.get(LOST_BEFORE_VERSION_4));
        let counters = map.and_then(|map| PerCpuArray::try_from(map).ok());
        counters.is_some_and(|counters: PerCpuArray<_, u64>| counters.get(&0, 0).is_ok())
    }

    /// Sets whether the probes write hints. Probes before wire version 4 always write them.
    pub(crate) fn want_hints(&mut self, wanted: bool) -> Result<(), LoadError> {
        let Some(map) = self.maps.get_mut("HINTS_WANTED") else {
            return Ok(());
        };
        let failed = |error: MapError| other("ask for hints", &error);
        let mut flag: Array<_, u64> = map.try_into().map_err(failed)?;
        flag.set(0, u64::from(wanted), 0).map_err(failed)
    }

    pub(crate) fn losses(&mut self) -> Result<LostRecords, LoadError> {
        let failed = |error: MapError| other("read the counters", &error);
        if let Some(map) = self.maps.get_mut(LOST_BEFORE_VERSION_4) {
            use before_version_4::{DROPPED, FIRST_DROP_NS, KINDS, LAST_DROP_NS};
            let counters = map.try_into().map_err(failed)?;
            let dropped: Vec<u32> = (DROPPED..DROPPED + KINDS).collect();
            return details(counters, &dropped, FIRST_DROP_NS, LAST_DROP_NS).map_err(failed);
        }
        let map = self.maps.get_mut(LOST).ok_or_else(|| missing_map(LOST))?;
        let counters = map.try_into().map_err(failed)?;
        let (first, last) = (counters::FIRST_DROP_NS, counters::LAST_DROP_NS);
        let details = details(counters, &[counters::DETAILS], first, last).map_err(failed)?;
        Ok(together(details, self.lost_kills().map_err(failed)?))
    }

    /// Hints that the probes dropped since they were loaded. Probes before wire version 4 count
    /// them as details.
    pub(crate) fn dropped_hints(&self) -> u64 {
        let counters = self.maps.get(LOST).and_then(|map| PerCpuArray::try_from(map).ok());
        let hints = counters.and_then(|it: PerCpuArray<_, u64>| it.get(&counters::HINTS, 0).ok());
        hints.map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    /// Kills without a compact record.
    fn lost_kills(&mut self) -> Result<LostRecords, MapError> {
        use counters::kills::{FIRST_NS, LAST_NS};
        let Some(map) = self.maps.get_mut("KILLS_LOST") else {
            return Ok(LostRecords::default());
        };
        let mut counters: Array<_, u64> = map.try_into()?;
        let mut kills = KillsLost::default();
        for (cause, count) in (0..).zip(&mut kills.0) {
            *count = counters.get(&cause, 0)?;
        }
        let first_ns = counters.get(&FIRST_NS, 0)?;
        if first_ns != 0 {
            counters.set(FIRST_NS, 0, 0)?;
        }
        let last_ns = counters.get(&LAST_NS, 0)?;
        let first_ns = if first_ns == 0 { last_ns } else { first_ns };
        Ok(LostRecords { count: kills.total(), kills: Some(kills), first_ns, last_ns })
    }
}

/// The sums of per-CPU counters of lost records.
fn details(
    mut counters: PerCpuArray<&mut MapData, u64>,
    dropped: &[u32],
    first_index: u32,
    last_index: u32,
) -> Result<LostRecords, MapError> {
    // Reset before the drops are counted, so that each drop is after the `first` of this reading
    // or of the next one.
    let first = counters.get(&first_index, 0)?;
    let first_ns = first.iter().copied().filter(|&ns| ns != 0).min();
    if first_ns.is_some()
        && let Ok(none) = PerCpuValues::try_from(vec![0; first.len()])
    {
        counters.set(first_index, none, 0)?;
    }
    let mut losses = LostRecords::default();
    for index in dropped {
        losses.count += counters.get(index, 0)?.iter().sum::<u64>();
    }
    if losses.count > 0 {
        let last = counters.get(&last_index, 0)?;
        losses.last_ns = last.iter().copied().max().unwrap_or(0);
        losses.first_ns = first_ns.unwrap_or(losses.last_ns);
    }
    Ok(losses)
}

/// The sum of both counts. A time of 0 means that nothing was lost.
fn together(details: LostRecords, kills: LostRecords) -> LostRecords {
    let first = [details.first_ns, kills.first_ns].into_iter().filter(|&ns| ns != 0).min();
    LostRecords {
        count: details.count + kills.count,
        kills: kills.kills,
        first_ns: first.unwrap_or_default(),
        last_ns: details.last_ns.max(kills.last_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_of_details_and_kills_has_both_counts_and_the_whole_time() {
        let details = LostRecords { count: 3, kills: None, first_ns: 50, last_ns: 60 };
        let no_kills = Some(KillsLost::default());
        let none = LostRecords { kills: no_kills, ..LostRecords::default() };
        let two = Some(KillsLost([0, 2, 0, 0]));
        let kills = LostRecords { count: 2, kills: two, first_ns: 40, last_ns: 55 };
        let all = LostRecords { count: 5, kills: two, first_ns: 40, last_ns: 60 };
        assert_eq!(together(details, kills), all);
        assert_eq!(together(details, none), LostRecords { kills: no_kills, ..details });
        assert_eq!(together(LostRecords::default(), kills), kills);
    }

    #[test]
    fn lost_kills_are_counted_per_reason() {
        let lost = KillsLost([1, 20, 0, 300]);
        assert_eq!(lost.total(), 321);
        // The last one has no name yet.
        let by_reason = BTreeMap::from([(LossReason::Marked, 1), (LossReason::GroupMember, 20)]);
        assert_eq!(lost.by_reason(), by_reason);
        let sharers = KillsLost([0, 0, 7, 0]).by_reason();
        assert_eq!(sharers, BTreeMap::from([(LossReason::SharesMm, 7)]));
    }
}
