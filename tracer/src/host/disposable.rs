//! Helper processes for work on data that somebody else may have prepared. Such a process may be
//! made to hang, so it is disposable: it has a deadline, and what is left of it after SIGKILL is
//! not waited for.
//!
//! Few may be left at a time. So a tenant whose helper hangs gets no other one until that has
//! ended: otherwise one tenant could use up all of them.

use std::{
    cell::RefCell,
    io,
    process::Child,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit},
    thread::CapabilitySet,
};

use super::confinement::{Helper, confine_helper};
use crate::model::tenant::Tenant;

/// How long a helper may take for one request.
const DEADLINE: Duration = Duration::from_secs(2);
/// A number that multiplies [`DEADLINE`], for hosts that are emulated.
const FACTOR_VARIABLE: &str = "OOMWHY_HELPER_DEADLINE_FACTOR";
const MAX_FACTOR: u32 = 100;
/// Helpers that were killed and have not ended. With that many, no other is started.
const MAX_ABANDONED: usize = 4;

static ABANDONED: Mutex<Vec<Abandoned>> = Mutex::new(Vec::new());
static REFUSED: AtomicU64 = AtomicU64::new(0);
static FACTOR: LazyLock<u32> =
    LazyLock::new(|| factor(std::env::var(FACTOR_VARIABLE).ok().as_deref()));

thread_local! {
    /// The tenant that this thread works for.
    static TENANT: RefCell<Option<Tenant>> = const { RefCell::new(None) };
}

/// A helper that was killed, and the tenant that it worked for.
struct Abandoned {
    child: Child,
    tenant: Option<Tenant>,
}

/// How long a helper may take for one request.
pub(crate) fn deadline() -> Duration {
    DEADLINE * *FACTOR
}

fn factor(value: Option<&str>) -> u32 {
    value.and_then(|it| it.parse().ok()).unwrap_or(1).clamp(1, MAX_FACTOR)
}

/// Does work for a tenant: helpers that hang meanwhile are counted as its own.
pub(crate) fn on_behalf_of<T>(tenant: &Tenant, work: impl FnOnce() -> T) -> T {
    let before = TENANT.replace(Some(tenant.clone()));
    let result = work();
    TENANT.set(before);
    result
}

/// Whether another helper may start. If not, that is counted.
pub(crate) fn has_room() -> bool {
    let has_room = TENANT.with_borrow(|tenant| has_room_among(&mut lock(), tenant.as_ref()));
    if !has_room {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
    has_room
}

/// Whether a helper of this tenant was killed and has not ended.
pub(crate) fn hangs(tenant: &Tenant) -> bool {
    hangs_among(&mut lock(), tenant)
}

/// Requests that were refused because earlier helpers hang.
pub(crate) fn n_refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Kills a helper and does not wait for its end. A later call of [`has_room`] reaps it.
pub(crate) fn abandon(mut child: Child) {
    // Fails only if it has ended already.
    let _ = child.kill();
    if !has_ended(&mut child) {
        keep(child);
    }
}

fn keep(child: Child) {
    lock().push(Abandoned { child, tenant: TENANT.with_borrow(Clone::clone) });
}

fn lock() -> MutexGuard<'static, Vec<Abandoned>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has_room_among(abandoned: &mut Vec<Abandoned>, tenant: Option<&Tenant>) -> bool {
    reap(abandoned);
    abandoned.len() < MAX_ABANDONED && !tenant.is_some_and(|it| hangs_among(abandoned, it))
}

fn hangs_among(abandoned: &mut Vec<Abandoned>, tenant: &Tenant) -> bool {
    reap(abandoned);
    abandoned.iter().any(|it| it.tenant.as_ref() == Some(tenant))
}

fn reap(abandoned: &mut Vec<Abandoned>) {
    abandoned.retain_mut(|it| !has_ended(&mut it.child));
}

fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

/// What a helper may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub cpu: Option<Duration>,
    /// Address space, bytes.
    pub address_bytes: u64,
    /// Memory without the files that it maps, bytes.
    pub data_bytes: u64,
    /// Descriptors that are open at a time.
    pub open_files: u64,
    /// Size of a file that it writes, bytes: one in memory, because it may write no other.
    pub file_bytes: u64,
    pub capabilities: CapabilitySet,
    pub helper: Helper,
}

/// Limits this process, which is a helper. An error means that it has privileges that it must not
/// have.
pub(crate) fn limit_self(limits: Limits) -> io::Result<()> {
    let set = |resource, current, maximum| {
        // Without a limit, there still is the deadline.
        let _ = setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) });
    };
    if let Some(cpu) = limits.cpu {
        let seconds = cpu.as_secs().max(1);
        // The lower limit sends SIGXCPU. The other one would look like the OOM killer.
        set(Resource::Cpu, seconds, seconds + 1);
    }
    set(Resource::As, limits.address_bytes, limits.address_bytes);
    set(Resource::Data, limits.data_bytes, limits.data_bytes);
    set(Resource::Nofile, limits.open_files, limits.open_files);
    set(Resource::Fsize, limits.file_bytes, limits.file_bytes);
    // The tracer may have ended already. Then the helper ends by its CPU limit, or because nobody
    // holds the other end of its socket.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    confine_helper(limits.capabilities, limits.helper)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn factor_is_1_to_100() {
        for (value, expected) in
            [(None, 1), (Some("x"), 1), (Some("0"), 1), (Some("20"), 20), (Some("1000"), 100)]
        {
            assert_eq!(factor(value), expected, "{value:?}");
        }
    }

    fn sleeping(tenant: Option<&Tenant>) -> Abandoned {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").stdin(Stdio::null()).spawn().unwrap();
        Abandoned { child, tenant: tenant.cloned() }
    }

    fn await_room(abandoned: &mut Vec<Abandoned>, tenant: Option<&Tenant>) {
        let begin = std::time::Instant::now();
        while !has_room_among(abandoned, tenant) {
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
    }

    fn end(abandoned: Vec<Abandoned>) {
        for mut it in abandoned {
            it.child.kill().unwrap();
            it.child.wait().unwrap();
        }
    }

    #[test]
    fn fifth_helper_is_refused_until_one_of_four_ends() {
        let mut abandoned: Vec<Abandoned> = (0..MAX_ABANDONED).map(|_| sleeping(None)).collect();
        assert!(!has_room_among(&mut abandoned, None));
        abandoned[0].child.kill().unwrap();
        await_room(&mut abandoned, None);
        assert_eq!(abandoned.len(), MAX_ABANDONED - 1);
        end(abandoned);
    }

    #[test]
    fn tenant_with_a_hung_helper_gets_no_other_and_others_do() {
        let [hostile, other] = ["/docker/a", "/docker/b"].map(Tenant::new);
        let mut abandoned = vec![sleeping(Some(&hostile))];
        assert!(hangs_among(&mut abandoned, &hostile) && !hangs_among(&mut abandoned, &other));
        assert!(!has_room_among(&mut abandoned, Some(&hostile)));
        assert!(has_room_among(&mut abandoned, Some(&other)));
        assert!(has_room_among(&mut abandoned, None));
        abandoned[0].child.kill().unwrap();
        await_room(&mut abandoned, Some(&hostile));
        end(abandoned);
    }

    #[test]
    fn abandoned_helper_belongs_to_the_tenant_that_the_thread_worked_for() {
        let tenant = Tenant::new("/docker/abandoned_helper");
        on_behalf_of(&tenant, || on_behalf_of(&Tenant::new("/another"), || {}));
        let child = sleeping(None).child;
        let pid = child.id();
        on_behalf_of(&tenant, || keep(child));
        assert!(hangs(&tenant) && TENANT.with_borrow(Option::is_none));
        let mut all = lock();
        let at = all.iter().position(|it| it.child.id() == pid).unwrap();
        let mine = all.remove(at);
        drop(all);
        end(vec![mine]);
        assert!(!hangs(&tenant));
    }
}
