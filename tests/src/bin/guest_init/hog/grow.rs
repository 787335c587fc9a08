//! Known amounts of memory, taken in functions of known names (`workload::GROWING`).
//!
//! None is inlined, and none touches a page itself: a function that a page fault interrupts is named
//! by where it stands, its callers by their frames. Each fills with a byte of its own, or the compiler makes
//! one of two that are alike.

use std::fs::File;
use std::io::Write as _;

use std::{hint, thread};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use oomwhy_tests::workload::FAULTS_NOTED;

use super::ready;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
/// Below the size from which malloc takes a mapping for each.
const SMALL: usize = 64 << 10;

/// One after the other, then without end.
pub(super) fn everywhere(mib: usize) -> Result<()> {
    let small = grow_small_blocks(mib);
    let large = grow_large_block(mib);
    let threads = thread::spawn(move || grow_in_thread(mib)).join();
    let of_thread = threads.map_err(|_| anyhow!("the thread panicked"))?;
    let limit = getrlimit(Resource::Stack);
    let current = Some((mib as u64 + 8) << 20);
    setrlimit(Resource::Stack, Rlimit { current, maximum: limit.maximum })
        .context("the stack cannot be made larger")?;
    grow_stack(mib * (MIB / SMALL));
    let file = grow_shared(mib)?;
    ready();
    let rest = grow_until_killed();
    hint::black_box((small, large, of_thread, file, rest));
    Ok(())
}

/// From the heap: malloc moves the break.
#[inline(never)]
fn grow_small_blocks(mib: usize) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for _ in 0..mib * (MIB / SMALL) {
        let mut block = Vec::with_capacity(SMALL);
        touch(&mut block, SMALL, 1);
        blocks.push(block);
    }
    blocks
}

/// From a mapping of its own.
#[inline(never)]
fn grow_large_block(mib: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(mib * MIB);
    touch(&mut block, mib * MIB, 2);
    block
}

/// As before, in another thread.
#[inline(never)]
fn grow_in_thread(mib: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(mib * MIB);
    touch(&mut block, mib * MIB, 3);
    block
}

/// From the stack: so many frames of [`SMALL`] bytes are left. Deeper than frames are kept, so it is
/// its own caller.
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "the stack shall grow")]
fn grow_stack(left: usize) {
    let mut frame = [0_u8; SMALL];
    for page in frame.chunks_mut(PAGE) {
        page[0] = 0xa5;
        hint::black_box(&page);
    }
    if left > 1 {
        grow_stack(left - 1);
    }
    hint::black_box(&frame);
}

/// From the page cache: a file on a tmpfs.
#[inline(never)]
fn grow_shared(mib: usize) -> Result<File> {
    let path = format!("/tmp/grown-{}", std::process::id());
    let mut file = File::create(&path).with_context(|| format!("{path} cannot be made"))?;
    let chunk = vec![0xa5; SMALL];
    for _ in 0..mib * (MIB / SMALL) {
        append(&mut file, &chunk)?;
    }
    Ok(file)
}

/// The call itself has no frame: who makes it does not show.
#[inline(never)]
fn append(file: &mut File, chunk: &[u8]) -> Result<()> {
    Ok(file.write_all(hint::black_box(chunk))?)
}

#[inline(never)]
fn grow_until_killed() -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    loop {
        let mut block = Vec::with_capacity(MIB);
        touch(&mut block, MIB, 4);
        blocks.push(block);
    }
}

/// Notes in the kernel's trace when faults begin and end. In blocks, for those who count malloc.
pub(super) fn note_faults(mib: usize) -> Result<()> {
    let mut blocks = Vec::with_capacity(mib * (MIB / SMALL));
    let mut trace = File::options().write(true).open(FAULTS_NOTED)?;
    trace.write_all(b"begin")?;
    for _ in 0..blocks.capacity() {
        let mut block = Vec::with_capacity(SMALL);
        touch(&mut block, SMALL, 5);
        blocks.push(block);
    }
    trace.write_all(b"end")?;
    hint::black_box(blocks);
    Ok(())
}

/// Grows a vector that has the room, page by page.
#[inline(never)]
fn touch(block: &mut Vec<u8>, size: usize, fill: u8) {
    while block.len() < size {
        let page = block.len().saturating_add(PAGE).min(size);
        block.resize(page, fill);
        hint::black_box(&mut *block);
    }
}
