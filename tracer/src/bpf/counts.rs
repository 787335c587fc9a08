//! Reads the counts of records that the probes did not write, and sets whether the probes write
//! hints.

use aya::maps::{Array, MapData, MapError, PerCpuArray, PerCpuValues};
use oomwhy_common::counters::{self, before_version_4};

use super::load::{LoadError, LostRecords, Probes, missing_map, other};

/// The per-CPU counters of the probes.
const LOST: &str = "LOST";
/// The per-CPU counters of probes before wire version 4.
const LOST_BEFORE_VERSION_4: &str = "COUNTERS";

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

    /// Kills without a compact record.
    fn lost_kills(&mut self) -> Result<LostRecords, MapError> {
        use counters::kills::{FIRST_NS, LAST_NS};
        let Some(map) = self.maps.get_mut("KILLS_LOST") else {
            return Ok(LostRecords::default());
        };
        let mut counters: Array<_, u64> = map.try_into()?;
        let mut count = 0;
        for cause in 0..FIRST_NS {
            count += counters.get(&cause, 0)?;
        }
        let first_ns = counters.get(&FIRST_NS, 0)?;
        if first_ns != 0 {
            counters.set(FIRST_NS, 0, 0)?;
        }
        let last_ns = counters.get(&LAST_NS, 0)?;
        let first_ns = if first_ns == 0 { last_ns } else { first_ns };
        Ok(LostRecords { count, kills: Some(count), first_ns, last_ns })
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
        let none = LostRecords { kills: Some(0), ..LostRecords::default() };
        let kills = LostRecords { count: 2, kills: Some(2), first_ns: 40, last_ns: 55 };
        let all = LostRecords { count: 5, kills: Some(2), first_ns: 40, last_ns: 60 };
        assert_eq!(together(details, kills), all);
        assert_eq!(together(details, none), LostRecords { kills: Some(0), ..details });
        assert_eq!(together(LostRecords::default(), kills), kills);
    }
}
