//! Gives back the memory that start-up took: glibc keeps it, megabytes, for a process that then sits in
//! a few hundred kilobytes for months.
#![expect(unsafe_code, reason = "malloc_trim(3) has no safe wrapper")]

/// Returns what is free of the heap to the kernel; nothing where the allocator is not glibc's.
pub fn give_back() {
    // SAFETY: takes no pointer, may be called at any time from any thread, touches free memory only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
