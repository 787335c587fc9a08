//! Allocates the same amount (the last argument, MiB) in each of several functions, each another
//! kind of memory. Then it allocates without end. See alloc_fixed.c.
//!
//! No function is inlined or ends with a jump to another one. Only `touch_pages` touches pages: the
//! instruction pointer names the function that faults, and frame pointers name its callers.

use std::ffi::c_void;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::{env, io, process, ptr, slice, thread};

const PAGE: usize = 4096;
/// Less than the size from which malloc makes a mapping for each block.
const BLOCK: usize = 64 << 10;
const MIB: usize = 1 << 20;
const DISK: &str = "/dev/nvme0n1";

const PROT_READ_WRITE: i32 = 3;
const MAP_SHARED: i32 = 0x01;
const MAP_PRIVATE: i32 = 0x02;
const MAP_ANONYMOUS: i32 = 0x20;
const MAP_POPULATE: i32 = 0x8000;
const RLIMIT_STACK: i32 = 3;
const PR_SET_PDEATHSIG: i32 = 1;
const SIGKILL: usize = 9;

unsafe extern "C" {
    fn fork() -> i32;
    fn getrlimit(resource: i32, limit: *mut [u64; 2]) -> i32;
    fn mmap(
        at: *mut c_void,
        size: usize,
        prot: i32,
        flags: i32,
        fd: i32,
        offset: i64,
    ) -> *mut c_void;
    fn pause() -> i32;
    fn prctl(option: i32, argument: usize) -> i32;
    fn setrlimit(resource: i32, limit: *const [u64; 2]) -> i32;
}

type Memory = [MaybeUninit<u8>];

#[inline(never)]
fn touch_pages(memory: &mut Memory) {
    for page in memory.chunks_mut(PAGE) {
        black_box(page[0].write(1));
    }
}

#[inline(never)]
fn mapped(bytes: usize, flags: i32) -> &'static mut Memory {
    let flags = flags | MAP_ANONYMOUS;
    // SAFETY: the mapping is new, and it is never unmapped.
    unsafe {
        let memory = mmap(ptr::null_mut(), bytes, PROT_READ_WRITE, flags, -1, 0);
        assert!(memory.addr() != usize::MAX, "mmap: {}", io::Error::last_os_error());
        slice::from_raw_parts_mut(memory.cast(), bytes)
    }
}

/// Allocates from the heap: malloc moves the break.
#[inline(never)]
fn by_small_vecs(amount: usize) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for _ in 0..amount / BLOCK {
        let mut block = Vec::with_capacity(BLOCK);
        touch_pages(block.spare_capacity_mut());
        blocks.push(block);
    }
    blocks
}

/// Allocates a block that is so large that malloc makes a mapping for it.
#[inline(never)]
fn by_large_vec(amount: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(amount);
    touch_pages(block.spare_capacity_mut());
    block
}

#[inline(never)]
fn by_mmap(amount: usize) -> &'static mut Memory {
    let memory = mapped(amount, MAP_PRIVATE);
    touch_pages(memory);
    memory
}

/// The kernel charges all of it within one system call. Its wrapper has no frame, so its caller is
/// not in the stack.
#[inline(never)]
fn by_populate(amount: usize) {
    black_box(mapped(amount, MAP_PRIVATE | MAP_POPULATE));
}

/// Recurses deeper than the recorded frames, so every recorded caller is this function.
#[inline(never)]
fn on_stack(left: usize) {
    let mut frame = [MaybeUninit::<u8>::uninit(); BLOCK];
    touch_pages(&mut frame);
    if left > BLOCK {
        on_stack(left - BLOCK);
    }
    black_box(&frame);
}

#[inline(never)]
fn in_thread(memory: &mut Memory) {
    touch_pages(memory);
    black_box(memory);
}

/// Writes to the parent's memory: the kernel copies each page.
#[inline(never)]
fn in_child(memory: &mut Memory) {
    touch_pages(memory);
    black_box(memory);
}

#[inline(never)]
fn shared(amount: usize) {
    let memory = mapped(amount, MAP_SHARED);
    touch_pages(memory);
    black_box(memory);
}

/// Fills the page cache of a disk.
#[inline(never)]
fn by_disk(amount: usize) {
    let mut disk = File::open(DISK).expect(DISK);
    let mut block = vec![0; BLOCK];
    for _ in 0..amount / BLOCK {
        read(&mut disk, &mut block);
    }
}

/// Fills the page cache of a file system in memory, with a file that is gone when it is closed.
#[inline(never)]
fn by_tmpfs(amount: usize) -> File {
    let path = format!("/tmp/alloc-{}", process::id());
    let mut file = File::create(&path).expect(&path);
    std::fs::remove_file(&path).expect(&path);
    let block = vec![1; BLOCK];
    for _ in 0..amount / BLOCK {
        write(&mut file, &block);
    }
    file
}

/// The wrapper of the system call has no frame, so its caller is not in the stack.
#[inline(never)]
fn read(file: &mut File, block: &mut [u8]) {
    assert_eq!(file.read(black_box(block)).expect("read"), BLOCK);
}

#[inline(never)]
fn write(file: &mut File, block: &[u8]) {
    assert_eq!(file.write(black_box(block)).expect("write"), BLOCK);
}

/// Waits until the child has written. The child lives as long as this process.
fn copy_on_write(memory: &mut Memory) {
    let (mut done, mut end) = io::pipe().expect("pipe");
    // SAFETY: the process has one thread.
    match unsafe { fork() } {
        0 => {
            // SAFETY: neither call touches memory.
            unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
            in_child(memory);
            end.write_all(b".").expect("write");
            loop {
                unsafe { pause() };
            }
        }
        child => assert!(child > 0, "fork: {}", io::Error::last_os_error()),
    }
    done.read_exact(&mut [0]).expect("the child");
}

#[inline(never)]
fn until_killed() {
    loop {
        touch_pages(mapped(MIB, MAP_PRIVATE));
    }
}

/// Sets the maximum size of the stack.
fn allow_stack(bytes: usize) {
    let mut limits = [0, 0];
    // SAFETY: the calls take and return numbers only.
    let is_set = unsafe {
        getrlimit(RLIMIT_STACK, &mut limits);
        limits[0] = bytes as u64;
        setrlimit(RLIMIT_STACK, &limits) == 0
    };
    assert!(is_set, "setrlimit: {}", io::Error::last_os_error());
}

fn main() {
    let mib: usize = env::args().next_back().and_then(|mib| mib.parse().ok()).expect("MiB");
    let amount = mib * MIB;
    allow_stack(amount + 8 * MIB);
    by_disk(amount);
    copy_on_write(by_mmap(amount));
    let kept = (by_small_vecs(amount), by_large_vec(amount), by_tmpfs(amount));
    by_populate(amount);
    on_stack(amount);
    shared(amount);
    let memory = mapped(amount, MAP_PRIVATE);
    thread::spawn(move || in_thread(memory)).join().expect("the thread");
    println!("ready");
    until_killed();
    black_box(kept);
}
