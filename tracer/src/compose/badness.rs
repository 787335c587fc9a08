//! The points of a process: `oom_badness()`, recomputed. Pure.
//!
//! mm/oom_kill.c, the same from 5.10 to 7.3: resident pages, swap entries and page tables, in
//! pages, plus `oom_score_adj * (totalpages / 1000)`. The kernel kills the process with the most
//! points. Sums that overflow are not known: no machine has that much memory, but a recording or a
//! log that somebody changed may claim it.

/// `OOM_SCORE_ADJ_MIN`: the kernel never kills a process with this value.
pub(crate) const OOM_SCORE_ADJ_MIN: i32 = -1000;

/// The memory of a process that counts. Pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedPages {
    /// Anonymous, file and shared memory that is resident.
    pub(crate) rss: i64,
    pub(crate) swap: i64,
    pub(crate) pgtables: i64,
}

impl CountedPages {
    /// The points of a process with this memory; `adj_pages` as [`adj_pages`] returns it.
    pub(crate) fn points(self, adj_pages: i64) -> Option<i64> {
        let memory = self.rss.checked_add(self.swap)?.checked_add(self.pgtables)?;
        memory.checked_add(adj_pages)
    }
}

/// Pages that a size fills. The kernel rounds page tables down
/// (`mm_pgtables_bytes(p->mm) / PAGE_SIZE`).
pub(crate) fn whole_pages(bytes: u64, page_size: u64) -> Option<i64> {
    i64::try_from(bytes.checked_div(page_size)?).ok()
}

/// Points of one unit of oom_score_adj. The kernel divides before it multiplies.
pub(crate) fn adj_unit(totalpages: u64) -> Option<i64> {
    i64::try_from(totalpages / 1000).ok()
}

/// The pages that oom_score_adj adds to the points.
pub(crate) fn adj_pages(oom_score_adj: impl Into<i64>, totalpages: u64) -> Option<i64> {
    oom_score_adj.into().checked_mul(adj_unit(totalpages)?)
}

/// By how much the kernel's points differ from the recomputed ones, if they do.
pub(crate) fn drift(points: i64, recomputed: i64) -> Option<i64> {
    points.checked_sub(recomputed).filter(|drift| *drift != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_sum_of_memory_and_adjustment() {
        let memory = CountedPages { rss: 2560, swap: 1, pgtables: 2 };
        assert_eq!(memory.points(1200), Some(3763));
        assert_eq!(memory.points(-6000), Some(-3437));
        assert_eq!(memory.points(i64::MAX), None);
    }

    #[test]
    fn adjustment_is_divided_before_it_is_multiplied() {
        assert_eq!(adj_pages(1000, 1999), Some(1000));
        assert_eq!(adj_pages(OOM_SCORE_ADJ_MIN, 12_288), Some(-12_000));
        assert_eq!(adj_pages(1000, u64::MAX), None);
    }

    #[test]
    fn page_tables_are_rounded_down() {
        assert_eq!(whole_pages(8191, 4096), Some(1));
        assert_eq!(whole_pages(1, 0), None);
    }

    #[test]
    fn drift_of_equal_points_is_none() {
        assert_eq!((drift(7, 7), drift(7, 9), drift(i64::MIN, 1)), (None, Some(-2), None));
    }
}
