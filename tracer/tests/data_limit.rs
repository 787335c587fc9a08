//! A burst fits in the memory that a tracer may have which the OOM killer never chooses. Beyond
//! that an allocation would end this test, as it would end the tracer.

#![expect(clippy::unwrap_used, reason = "clippy excuses #[test] functions, not their helpers")]

mod events;

use std::fs;

use oomwhy::testing::MAX_DATA_BYTES;
use oomwhy_common::event::victim_gone;
use rustix::process::{Resource, Rlimit, setrlimit};

use self::events::{Invocation, MS, handle, pipeline, record, task};

const N_KILLS: u32 = 400;
const N_VICTIMS: u32 = 30_000;

/// Private writable memory of this process, bytes. `RLIMIT_DATA` limits it.
fn data_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// 400 kills at once of 75 victims each, and one with 30,000 victims more. No victim exits until
/// all are killed.
#[test]
fn burst_fits_in_the_limit() {
    let before = data_bytes();
    let limit = Rlimit { current: Some(MAX_DATA_BYTES), maximum: Some(MAX_DATA_BYTES) };
    setrlimit(Resource::Data, limit).unwrap();
    let sizes = std::iter::repeat_n(N_VICTIMS / N_KILLS, N_KILLS as usize).chain([N_VICTIMS]);
    let kills: Vec<(Invocation, u32)> =
        (1..).zip(sizes).map(|(seq, size)| (Invocation { seq, at_ns: seq * MS }, size)).collect();
    let mut pipeline = pipeline();
    let mut peak = 0;
    let mut next = 1000;
    let mut exits = Vec::new();
    for &(invocation, n_victims) in &kills {
        let first = next;
        let of = |pid: i32| task(pid, 0, invocation.seq, "java");
        let end = first + i32::try_from(n_victims).unwrap();
        next = end;
        let mm = |pid: i32| u64::try_from(pid).unwrap();
        handle(&mut pipeline, [record(&invocation.begin(invocation.seq, of(first)), &[])]);
        handle(&mut pipeline, (first..end).map(|pid| invocation.victim(of(pid), mm(pid))));
        handle(&mut pipeline, [invocation.end(n_victims)]);
        peak = peak.max(data_bytes());
        exits.push((invocation, first..end));
    }
    for (invocation, pids) in exits {
        for pid in pids {
            let mm = u64::try_from(pid).unwrap();
            let gone = [(victim_gone::FREED, mm), (victim_gone::EXITED, 0)];
            handle(&mut pipeline, gone.map(|(step, mm)| invocation.gone(step, pid, mm)));
        }
        peak = peak.max(data_bytes());
    }
    assert_eq!(pipeline.stats().reports, u64::from(N_KILLS) + 1);
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "{} MiB before, {} MiB at most, of {} MiB",
        mib(before),
        mib(peak),
        mib(MAX_DATA_BYTES)
    );
    assert!(peak > before, "the burst was measured");
}
