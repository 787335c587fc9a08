//! The work for an invocation grows with the number of its victims, not with the square of it.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod events;

use std::time::Duration;

use oomwhy_common::event::victim_gone;
use rustix::time::{ClockId, clock_gettime};

use self::events::{Invocation, MS, handle, pipeline, record, task};

/// CPU time that 30,000 victims may take. Without optimization it takes longer.
const MAX_CPU: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// The CPU time of one kill with so many victims, all of which exit, the last one first.
fn kill(n_victims: u32) -> Duration {
    let invocation = Invocation { seq: 1, at_ns: MS };
    let of = |number: u32| task(1000 + i32::try_from(number).unwrap(), number, 1, "java");
    let mut records = vec![record(&invocation.begin(1, of(0)), &[])];
    records.extend((0..n_victims).map(|it| invocation.victim(of(it), u64::from(it) + 1)));
    records.push(invocation.end(n_victims));
    for number in (0..n_victims).rev() {
        let pid = of(number).tgid;
        records.push(invocation.gone(victim_gone::FREED, pid, u64::from(number) + 1));
        records.push(invocation.gone(victim_gone::EXITED, pid, 0));
    }
    let mut pipeline = pipeline();
    let begin = cpu_time();
    handle(&mut pipeline, records);
    let took = cpu_time().saturating_sub(begin);
    assert_eq!(pipeline.stats().reports, 1, "the report is closed by the last exit");
    assert!(!pipeline.is_waiting());
    took
}

#[test]
fn thirty_thousand_victims_take_a_second_at_most() {
    let took = kill(30_000);
    assert!(took < MAX_CPU, "{took:?}");
}

#[test]
fn twice_as_many_victims_take_about_twice_as_long() {
    const N: u32 = 8_000;
    let shortest = |n_victims| (0..3).map(|_| kill(n_victims)).min().unwrap();
    let (once, twice) = (shortest(N), shortest(2 * N));
    assert!(twice < 3 * once, "{N} victims take {once:?}, {} take {twice:?}", 2 * N);
}
