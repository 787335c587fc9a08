//! Causes page faults that are counted, one after the other.

use std::fs::File;
use std::hint;
use std::io::Write as _;

use anyhow::Result;
use oomwhy_tests::workload::FAULTS_NOTED;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
/// Less than the size from which malloc makes a mapping for each block.
const SMALL: usize = 64 << 10;

/// Notes in the kernel's trace when faults start and end. The memory is allocated in blocks, so
/// tools that count malloc see it.
pub(super) fn note(mib: usize) -> Result<()> {
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

/// Fills the capacity of a vector, page by page.
#[inline(never)]
fn touch(block: &mut Vec<u8>, size: usize, fill: u8) {
    while block.len() < size {
        let page = block.len().saturating_add(PAGE).min(size);
        block.resize(page, fill);
        hint::black_box(&mut *block);
    }
}
