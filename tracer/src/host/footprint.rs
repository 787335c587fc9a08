//! Gives back the memory that start-up took, for a process that then sits in a few hundred kilobytes for
//! months: what glibc keeps of the heap, and the pages of the program itself that only start-up ran.
#![expect(unsafe_code, reason = "malloc_trim(3) and madvise(2) have no safe wrappers")]

use std::ffi::c_void;
use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Returns to the kernel what is not needed while nothing happens.
pub(crate) fn give_back() {
    give_back_heap();
    give_back_program();
}

/// Nothing where the allocator is not glibc's.
fn give_back_heap() {
    // SAFETY: takes no pointer, may be called at any time from any thread, touches free memory only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Code and constants: whoever needs a page again finds it in the page cache, or in the file, as
/// after any reclaim.
fn give_back_program() {
    let program = fs::read_link("/proc/self/exe").unwrap_or_default();
    // Without procfs, or replaced meanwhile: nothing is given back.
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for pages in clean_pages(&smaps, &program.to_string_lossy()) {
        // SAFETY: a mapping of a file that nobody can write through and in which no page is our own
        // copy: what is read there afterwards is the same, from the file.
        let _ = unsafe { madvise(pages.start as *mut c_void, pages.len(), Advice::LinuxDontNeed) };
    }
}

/// Where a file is mapped read-only, and no page has been changed since (as relocations do), by
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
    fn only_unchanged_pages_of_the_program_that_nobody_can_write_are_given_back() {
        let mut given = clean_pages(SMAPS, "/bin/oomwhy");
        assert_eq!(given.next(), Some(0x0040_0000..0x0050_0000));
        assert_eq!(given.next(), None);
        assert_eq!(clean_pages("torn line\nAnonymous: 0 kB", "").count(), 0);
    }

    #[test]
    fn what_was_given_back_is_there_when_it_is_needed() {
        give_back();
        assert_eq!(clean_pages(SMAPS, "/bin/oomwhy").count(), 1);
    }
}
