//! Reads records from the ring buffers when they become readable. Nothing polls.

use std::{future, io};

use aya::maps::{MapData, RingBuf, ring_buf::RingBufItem};
use bytes::Bytes;
use oomwhy_common::event::{EventHeader, kind};
use tokio::io::unix::{AsyncFd, AsyncFdReadyMutGuard};
use zerocopy::FromBytes as _;

/// Number of details, or of hints, that are copied at once. Processing them between batches leaves
/// the rings room.
const BATCH: usize = 256;

/// The ring buffers of a set of probes.
pub(crate) struct RingMaps {
    /// The details of invocations.
    pub(super) details: RingBuf<MapData>,
    /// The compact records of kills. Probes before wire version 4 have none.
    pub(super) kills: Option<RingBuf<MapData>>,
    /// Hints. Probes before wire version 4 have none.
    pub(super) hints: Option<RingBuf<MapData>>,
}

/// When compact records of kills leave their ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeKills {
    /// At once, so that their ring has room.
    Early,
    /// With the details of their invocation or, if there are no details, at once. For a journal,
    /// which must not fill with kills whose details it cannot hold.
    WithDetails,
}

/// The consumer of the ring buffers.
pub(crate) struct Rings {
    details: AsyncFd<RingBuf<MapData>>,
    kills: Option<RingBuf<MapData>>,
    hints: Option<AsyncFd<RingBuf<MapData>>>,
    take_kills: TakeKills,
}

impl Rings {
    /// Registers the rings with the runtime.
    #[expect(deprecated, reason = "its successor is unsafe; the ring owns its descriptor")]
    pub(crate) fn new(maps: RingMaps, take_kills: TakeKills) -> io::Result<Self> {
        let RingMaps { details, kills, hints } = maps;
        let hints = hints.map(AsyncFd::new).transpose()?;
        Ok(Self { details: AsyncFd::new(details)?, kills, hints, take_kills })
    }

    /// Waits for records. Returns at least one, unless the wake-up was spurious or `keep` left the
    /// first one in its ring. A kill comes before the details that were written after it.
    pub(crate) async fn next_batch(&mut self, keep: Keep<'_>) -> io::Result<Vec<Bytes>> {
        // A kill does not wake the reader: the details that follow it do.
        let has_details = tokio::select! {
            ready = self.details.readable_mut() => ready.map(|_| true)?,
            ready = readable(&mut self.hints) => ready.map(|_| false)?,
        };
        // Only an emptied ring wakes the tracer again, with its next record.
        if has_details {
            let mut batch = self.hints();
            // It is still ready, so this does not wait.
            let mut ready = self.details.readable_mut().await?;
            let details = ready.get_inner_mut();
            if copy_details(details, &mut self.kills, self.take_kills, keep, &mut batch) {
                ready.clear_ready();
            }
            return Ok(batch);
        }
        let mut ready = readable(&mut self.hints).await?;
        let (batch, is_emptied) = copy_hints(ready.get_inner_mut());
        if is_emptied {
            ready.clear_ready();
        }
        Ok(batch)
    }

    /// Up to [`BATCH`] hints that are there now.
    fn hints(&mut self) -> Vec<Bytes> {
        self.hints.as_mut().map(|hints| copy_hints(hints.get_mut()).0).unwrap_or_default()
    }

    /// The records that are there now, without waiting.
    pub(crate) fn drain(&mut self, keep: Keep<'_>) -> Vec<Bytes> {
        let mut batch = self.hints();
        let details = self.details.get_mut();
        copy_details(details, &mut self.kills, self.take_kills, keep, &mut batch);
        batch
    }

    /// Skips the first record of a ring if it is this one.
    pub(crate) fn skip(&mut self, known: &[u8]) {
        for ring in [Some(self.details.get_mut()), self.kills.as_mut()].into_iter().flatten() {
            if let Some(record) = ring.next()
                && *record != *known
            {
                leave(record);
            }
        }
    }
}

/// Called with each record of a kill or a detail before it leaves its ring. If it returns false,
/// the record stays. It is not called for hints.
pub(crate) type Keep<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

async fn readable(
    hints: &mut Option<AsyncFd<RingBuf<MapData>>>,
) -> io::Result<AsyncFdReadyMutGuard<'_, RingBuf<MapData>>> {
    match hints {
        Some(hints) => hints.readable_mut().await,
        None => future::pending().await,
    }
}

/// Up to [`BATCH`] hints, and whether their ring is empty now.
fn copy_hints(ring: &mut RingBuf<MapData>) -> (Vec<Bytes>, bool) {
    let mut batch = Vec::new();
    while batch.len() < BATCH {
        let Some(hint) = ring.next() else {
            return (batch, true);
        };
        batch.push(Bytes::copy_from_slice(&hint));
    }
    (batch, false)
}

/// Adds up to [`BATCH`] details, and before each one the kills that were written before it. Returns
/// whether both rings are empty now.
fn copy_details(
    details: &mut RingBuf<MapData>,
    kills: &mut Option<RingBuf<MapData>>,
    take_kills: TakeKills,
    keep: Keep<'_>,
    batch: &mut Vec<Bytes>,
) -> bool {
    for _ in 0..BATCH {
        // The detail is read first: its kills were written before it, so they are in their ring by
        // now.
        let detail = details.next();
        let seq = detail.as_deref().map(seq_of);
        let until = match (take_kills, seq) {
            (TakeKills::WithDetails, Some(seq)) => seq,
            (TakeKills::WithDetails, None) | (TakeKills::Early, _) => u64::MAX,
        };
        let left = match kills {
            Some(kills) => copy_kills(kills, until, seq, &mut *keep, batch),
            None => None,
        };
        let Some(detail) = detail else {
            return left.is_none();
        };
        let is_kill_left = left.zip(seq).is_some_and(|(left, seq)| seq != 0 && left <= seq);
        if is_kill_left || !keep(&detail) {
            leave(detail);
            return false;
        }
        batch.push(Bytes::copy_from_slice(&detail));
    }
    false
}

/// Adds the kills up to the invocation `until`. Adds an end among them only if `next_detail`, the
/// invocation of the next detail, is a later one. Returns the invocation of the first record that
/// stays in the ring, `u64::MAX` if it is an end that waits for details.
fn copy_kills(
    kills: &mut RingBuf<MapData>,
    until: u64,
    next_detail: Option<u64>,
    keep: Keep<'_>,
    batch: &mut Vec<Bytes>,
) -> Option<u64> {
    while let Some(kill) = kills.next() {
        let seq = seq_of(&kill);
        if is_end(&kill) && next_detail.is_some_and(|detail| detail <= seq) {
            leave(kill);
            return Some(u64::MAX);
        }
        if seq > until || !keep(&kill) {
            leave(kill);
            return Some(seq);
        }
        batch.push(Bytes::copy_from_slice(&kill));
    }
    None
}

fn is_end(record: &[u8]) -> bool {
    EventHeader::read_from_prefix(record).is_ok_and(|(header, _)| header.kind == kind::END)
}

/// The invocation of a record; 0 if it has none.
fn seq_of(record: &[u8]) -> u64 {
    EventHeader::read_from_prefix(record).map_or(0, |(header, _)| header.seq)
}

/// Dropping an item would remove it from the ring.
fn leave(record: RingBufItem<'_>) {
    std::mem::forget(record);
}
