//! How much a tenant may use of a thread that looks things up. Files of a hostile tenant can make
//! each look-up take seconds. Others wait meanwhile, so each tenant has a share of the thread's
//! time and of its queue. What exceeds the share is refused and counted.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    host::{disposable, opener},
    model::{
        lru::{ByteSize, Lru},
        tenant::Tenant,
    },
};

/// Time that a tenant may use at once, as a multiple of the time that a helper may take: a hundred
/// look-ups that go well, or two that hang.
const BURST: u32 = 2;
/// In the long run a tenant may use one part of so many of the time.
const PARTS: u32 = 10;
/// Tenants that are remembered: those that asked last.
const MAX_TENANTS: usize = 4096;
const MAX_TENANT_BYTES: usize = 1 << 20;

static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Look-ups of all threads that were refused so far, because their tenants had used up their share
/// or too many requests were waiting.
pub(crate) fn n_refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Counts a refusal.
pub(crate) fn refuse() {
    REFUSED.fetch_add(1, Ordering::Relaxed);
}

/// The shares of a thread.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Requests of one tenant that may be in the queue.
    max_queued: usize,
    by_tenant: Mutex<Lru<Tenant, Share>>,
}

/// What a tenant has used lately.
#[derive(Clone, Copy, Debug)]
struct Share {
    n_queued: usize,
    /// At the time `at`. It falls by one part of [`PARTS`] of the time that passes.
    used: Duration,
    at: Instant,
}

impl Default for Share {
    fn default() -> Self {
        Self { n_queued: 0, used: Duration::ZERO, at: Instant::now() }
    }
}

impl ByteSize for Share {
    fn byte_size(&self) -> usize {
        size_of::<Self>()
    }
}

impl Share {
    fn used_at(&self, now: Instant) -> Duration {
        self.used.saturating_sub(now.saturating_duration_since(self.at) / PARTS)
    }
}

impl Shares {
    pub(crate) fn new(max_queued: usize) -> Self {
        Self { max_queued, by_tenant: Mutex::new(Lru::new(MAX_TENANTS, MAX_TENANT_BYTES)) }
    }

    /// Takes a place in the queue. `false`: the tenant has too many there.
    pub(crate) fn enter(&self, tenant: &Tenant) -> bool {
        let mut by_tenant = self.lock();
        let n_queued = by_tenant.get(tenant).map_or(0, |share| share.n_queued);
        let has_room = n_queued < self.max_queued;
        if has_room {
            by_tenant.change(tenant.clone(), |share| share.n_queued = n_queued + 1);
        }
        has_room
    }

    /// Gives back a place in the queue.
    pub(crate) fn leave(&self, tenant: &Tenant) {
        self.lock().change(tenant.clone(), |share| {
            share.n_queued = share.n_queued.saturating_sub(1);
        });
    }

    /// Runs a look-up on this thread, and counts its time as used by the tenant. `None`: it was
    /// refused, because the tenant has used up its share, or an earlier look-up for it hangs.
    pub(crate) fn run<T>(&self, tenant: &Tenant, look_up: impl FnOnce() -> T) -> Option<T> {
        let begin = Instant::now();
        if !self.has_time(tenant, begin) || disposable::hangs(tenant) {
            refuse();
            return None;
        }
        let waited = opener::waited();
        let result = disposable::on_behalf_of(tenant, look_up);
        // To wait for a look-up of somebody else costs the tenant nothing.
        let waited = opener::waited().saturating_sub(waited);
        let end = Instant::now();
        self.charge(tenant, end, end.saturating_duration_since(begin).saturating_sub(waited));
        Some(result)
    }

    /// Number of tenants that had to make room so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.lock().n_evicted()
    }

    fn has_time(&self, tenant: &Tenant, now: Instant) -> bool {
        let used = self.lock().get(tenant).map_or(Duration::ZERO, |share| share.used_at(now));
        used < disposable::deadline() * BURST
    }

    pub(super) fn charge(&self, tenant: &Tenant, now: Instant, time: Duration) {
        self.lock().change(tenant.clone(), |share| {
            share.used = share.used_at(now) + time;
            share.at = now;
        });
    }

    /// A thread that panicked leaves usable values behind.
    fn lock(&self) -> MutexGuard<'_, Lru<Tenant, Share>> {
        self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> [Tenant; 2] {
        ["/docker/a", "/docker/b"].map(Tenant::new)
    }

    #[test]
    fn tenant_that_used_up_its_share_is_refused_until_time_has_passed() {
        let (shares, [hostile, other]) = (Shares::new(1), tenants());
        let now = Instant::now();
        let burst = disposable::deadline() * BURST;
        shares.charge(&hostile, now, burst / 2);
        assert!(shares.has_time(&hostile, now));
        shares.charge(&hostile, now, burst);
        assert!(!shares.has_time(&hostile, now) && shares.has_time(&other, now));
        // It has used half a burst too much.
        let wait = burst / 2 * PARTS;
        let [early, late] = [wait / 10 * 9, wait / 10 * 11].map(|wait| now + wait);
        assert!(!shares.has_time(&hostile, early) && shares.has_time(&hostile, late));
    }

    #[test]
    fn run_charges_its_time_and_refuses_what_exceeds_the_share() {
        let (shares, [hostile, other]) = (Shares::new(1), tenants());
        let pause = Duration::from_millis(5);
        assert_eq!(shares.run(&hostile, || std::thread::sleep(pause)), Some(()));
        assert!(shares.lock().get(&hostile).unwrap().used >= pause);
        shares.charge(&hostile, Instant::now(), disposable::deadline() * 3);
        let before = n_refused();
        assert_eq!(shares.run(&hostile, || 7), None);
        assert!(n_refused() > before);
        assert_eq!(shares.run(&other, || 7), Some(7));
    }

    #[test]
    fn full_place_of_one_tenant_leaves_room_for_others() {
        let (shares, [hostile, other]) = (Shares::new(2), tenants());
        assert!(shares.enter(&hostile) && shares.enter(&hostile));
        assert!(!shares.enter(&hostile) && shares.enter(&other));
        shares.leave(&hostile);
        assert!(shares.enter(&hostile) && !shares.enter(&hostile));
    }
}
