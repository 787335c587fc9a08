//! Limits of memory cgroups: sizes, and how the kernel says that there is none. Pure.

/// A limit from here on is none, whatever the page size. Bytes.
///
/// `PAGE_COUNTER_MAX`, "max", is `LONG_MAX / PAGE_SIZE` pages: this is it with the largest pages
/// there are (64 KiB), as cgroup v1 and the kernel log print it.
pub(crate) const NO_LIMIT_BYTES: u64 = i64::MAX.unsigned_abs() & !0xffff;

/// [`NO_LIMIT_BYTES`] in the unit of the kernel log.
pub(crate) const NO_LIMIT_KIB: u64 = NO_LIMIT_BYTES / 1024;

/// A limit in bytes, or that there is none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limit {
    pub(crate) bytes: Option<u64>,
    pub(crate) is_none: bool,
}

impl Limit {
    /// A limit of a `page_counter`.
    pub(crate) fn from_pages(pages: u64, page_size: u64) -> Self {
        let is_none = pages >= i64::MAX.unsigned_abs() / page_size.max(1);
        Self { bytes: (!is_none).then(|| pages.saturating_mul(page_size)), is_none }
    }

    /// A limit of the kernel log.
    pub(crate) fn from_kib(kib: u64) -> Self {
        let is_none = kib >= NO_LIMIT_KIB;
        Self { bytes: kib.checked_mul(1024).filter(|_| !is_none), is_none }
    }
}

/// A counter of a memory cgroup: its usage and its limit.
#[derive(Clone, Copy, Default)]
pub(crate) struct Filling {
    pub(crate) usage_bytes: Option<u64>,
    pub(crate) limit: Limit,
}

impl Filling {
    /// The three fields that a report has of each counter: usage, limit, "no limit".
    pub(crate) fn fields(self) -> (Option<u64>, Option<u64>, bool) {
        (self.usage_bytes, self.limit.bytes, self.limit.is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_of_page_counter_max_is_none_with_any_page_size() {
        for page_size in [4096, 16384, 65536] {
            let max = i64::MAX.unsigned_abs() / page_size;
            assert!(Limit::from_pages(max, page_size).is_none);
            assert!(Limit::from_kib(max * (page_size / 1024)).is_none);
            assert_eq!(Limit::from_pages(max - 1, page_size).bytes, Some((max - 1) * page_size));
        }
        let limit = Limit::from_kib(64);
        assert_eq!((limit.bytes, limit.is_none), (Some(65536), false));
    }
}
