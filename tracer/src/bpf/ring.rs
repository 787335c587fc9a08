//! The ring's records, as they become readable; nothing polls.

use std::io;

use aya::maps::{MapData, RingBuf, ring_buf::RingBufItem};
use bytes::Bytes;
use tokio::io::unix::AsyncFd;

/// Records copied out at once: what is processed in between leaves the ring room.
const BATCH: usize = 256;

/// The consumer side of the ring.
pub(crate) struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    /// Registers the ring with the runtime.
    #[expect(deprecated, reason = "its successor is unsafe; the ring owns its descriptor")]
    pub(crate) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        Ok(Self { ring: AsyncFd::new(ring)? })
    }

    /// Waits for records; returns at least one, unless the wake-up was spurious or the first one
    /// was not taken.
    pub(crate) async fn next_batch(&mut self, keep: Keep<'_>) -> io::Result<Vec<Bytes>> {
        let mut ready = self.ring.readable_mut().await?;
        let (batch, is_emptied) = copy_batch(ready.get_inner_mut(), keep);
        // Only an emptied ring may be waited for: its next wake-up comes with the next record.
        if is_emptied {
            ready.clear_ready();
        }
        Ok(batch)
    }

    /// What is there now, without waiting.
    pub(crate) fn drain(&mut self, keep: Keep<'_>) -> Vec<Bytes> {
        copy_batch(self.ring.get_mut(), keep).0
    }

    /// Leaves the first record out if it is this one.
    pub(crate) fn skip(&mut self, known: &[u8]) {
        if let Some(record) = self.ring.get_mut().next()
            && *record != *known
        {
            leave(record);
        }
    }
}

/// Is shown each record before the ring forgets it; false: it stays in the ring.
pub(crate) type Keep<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

/// Records, and whether these were all.
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

/// What is dropped is taken out.
fn leave(record: RingBufItem<'_>) {
    std::mem::forget(record);
}
