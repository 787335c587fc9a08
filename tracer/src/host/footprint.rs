//! Returns the memory of the start-up to the kernel: the free heap that glibc keeps, and the pages
//! of the program that only start-up ran. The tracer then needs a few hundred kilobytes for months.
#![expect(unsafe_code, reason = "malloc_trim(3) and madvise(2) have no safe wrappers")]

use std::ffi::c_void;
use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Returns all memory that is not needed while nothing happens.
pub(crate) fn trim() {
    trim_heap();
    drop_clean_pages();
}

/// Does nothing if the allocator is not glibc's.
fn trim_heap() {
    // SAFETY: takes no pointer, may be called at any time from any thread, touches free memory
    // only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Drops the pages of code and constants. A page that is needed again comes from the page cache or
/// the file, as after any reclaim.
fn drop_clean_pages() {
    let program = fs::read_link("/proc/self/exe").unwrap_or_default();
    // Without procfs, or if the file was replaced meanwhile, nothing is dropped.
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for pages in clean_pages(&smaps, &program.to_string_lossy()) {
        // SAFETY: the mapping of a file is read-only and has no private page, so reading it again
        // gives the same bytes, from the file.
        let _ = unsafe { madvise(pages.start as *mut c_void, pages.len(), Advice::LinuxDontNeed) };
    }
}

/// The read-only mappings of a file of which no page was changed (as relocations do), from
/// /proc/PID/smaps.
fn clean_pages<'a>(smaps: &'a str, file: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut mapping = None;
    smaps.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        if let Some((start, end)) = first.split_once('-') {
            let address = |text| usize::from_str_radix(text, 16).ok();
            let is_read_only = words.next().is_some_and(|access| !access.contains('w'));
            let is_of_file = words.nth(3) == Some(file);
            mapping = address(start).zip(address(end)).filter(|_| is_read_only && is_of_file);
            return None;
        }
        let (start, end) = mapping?;
        (first == "Anonymous:" && words.next() == Some("0")).then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
400000-500000 r-xp 00001000 00:02 77 /bin/oomwhy
Size:               1024 kB
Rss:                 512 kB
Anonymous:             0 kB
500000-510000 r--p 00101000 00:02 77 /bin/oomwhy
Anonymous:            12 kB
510000-520000 rw-p 00111000 00:02 77 /bin/oomwhy
Anonymous:             0 kB
520000-530000 r-xp 00000000 00:02 78 /lib/libc.so.6
Anonymous:             0 kB
530000-540000 r--p 00000000 00:00 0
Anonymous:             0 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
Anonymous:             0 kB
";

    #[test]
    fn only_unchanged_read_only_pages_of_the_program_are_dropped() {
        let mut given = clean_pages(SMAPS, "/bin/oomwhy");
        assert_eq!(given.next(), Some(0x0040_0000..0x0050_0000));
        assert_eq!(given.next(), None);
        assert_eq!(clean_pages("torn line\nAnonymous: 0 kB", "").count(), 0);
    }

    #[test]
    fn program_still_works_after_trim() {
        trim();
        assert_eq!(clean_pages(SMAPS, "/bin/oomwhy").count(), 1);
    }
}
