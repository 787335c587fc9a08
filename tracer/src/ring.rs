//! The ring's records, as they become readable; nothing polls.

use std::io;

use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::io::unix::AsyncFd;

/// Records copied out at once: what is processed in between leaves the ring room.
const BATCH: usize = 256;

/// The consumer side of the ring.
pub struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    /// Registers the ring with the runtime.
    #[expect(deprecated, reason = "its successor is unsafe; the ring owns its descriptor")]
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        Ok(Self { ring: AsyncFd::new(ring)? })
    }

    /// Waits for records; returns at least one, unless the wake-up was spurious.
    pub async fn next_batch(&mut self) -> io::Result<Vec<Bytes>> {
        let mut ready = self.ring.readable_mut().await?;
        let batch = copy_batch(ready.get_inner_mut());
        // Only an emptied ring may be waited for: its next wake-up comes with the next record.
        if batch.len() < BATCH {
            ready.clear_ready();
        }
        Ok(batch)
    }

    /// What is there now, without waiting.
    pub fn drain(&mut self) -> Vec<Bytes> {
        copy_batch(self.ring.get_mut())
    }
}

fn copy_batch(ring: &mut RingBuf<MapData>) -> Vec<Bytes> {
    let mut batch = Vec::new();
    while batch.len() < BATCH {
        let Some(record) = ring.next() else { break };
        batch.push(Bytes::copy_from_slice(&record));
    }
    batch
}
