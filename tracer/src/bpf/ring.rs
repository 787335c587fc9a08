//! Reads records from the ring when they become readable. Nothing polls.

use std::io;

use aya::maps::{MapData, RingBuf, ring_buf::RingBufItem};
use bytes::Bytes;
use tokio::io::unix::AsyncFd;

/// Records that are copied at once. Processing them between batches leaves the ring room.
const BATCH: usize = 256;

/// The consumer of the ring.
pub(crate) struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    /// Registers the ring with the runtime.
    #[expect(deprecated, reason = "its successor is unsafe; the ring owns its descriptor")]
    pub(crate) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        Ok(Self { ring: AsyncFd::new(ring)? })
    }

    /// Waits for records. Returns at least one, unless the wake-up was spurious or `keep` left the
    /// first one in the ring.
    pub(crate) async fn next_batch(&mut self, keep: Keep<'_>) -> io::Result<Vec<Bytes>> {
        let mut ready = self.ring.readable_mut().await?;
        let (batch, is_emptied) = copy_batch(ready.get_inner_mut(), keep);
        // Only an emptied ring wakes the tracer again, with its next record.
        if is_emptied {
            ready.clear_ready();
        }
        Ok(batch)
    }

    /// The records that are there now, without waiting.
    pub(crate) fn drain(&mut self, keep: Keep<'_>) -> Vec<Bytes> {
        copy_batch(self.ring.get_mut(), keep).0
    }

    /// Skips the first record if it is this one.
    pub(crate) fn skip(&mut self, known: &[u8]) {
        if let Some(record) = self.ring.get_mut().next()
            && *record != *known
        {
            leave(record);
        }
    }
}

/// Called with each record before it leaves the ring. If it returns false, the record stays.
pub(crate) type Keep<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

/// Up to [`BATCH`] records, and whether the ring is empty now.
fn copy_batch(ring: &mut RingBuf<MapData>, keep: Keep<'_>) -> (Vec<Bytes>, bool) {
    let mut batch = Vec::new();
    while batch.len() < BATCH {
        let Some(record) = ring.next() else {
            return (batch, true);
        };
        if !keep(&record) {
            leave(record);
            break;
        }
        batch.push(Bytes::copy_from_slice(&record));
    }
    (batch, false)
}

/// Dropping an item would remove it from the ring.
fn leave(record: RingBufItem<'_>) {
    std::mem::forget(record);
}
