//! The hogs that touch memory: anonymous, on a tmpfs, and in threads and children.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;
use std::{hint, thread};

use anyhow::{Context as _, Result};
use rustix::thread::{SecureComputingMode, gettid, set_secure_computing_mode};

use super::ready_and_park;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Touches anonymous memory MiB by MiB. Each fault is in this function, so stacks show it.
/// memset(3) has no frame, so of a function that calls it stacks show only the caller.
#[inline(never)]
pub(super) fn touch(mib: usize, pause: Duration) -> Vec<u8> {
    // The memory is one mapping that is faulted in piece by piece.
    let mut memory: Vec<u8> = Vec::with_capacity(mib * MIB);
    for n_touched in 0..mib {
        let piece = memory.spare_capacity_mut().iter_mut().skip(n_touched * MIB).take(MIB);
        for page in piece.step_by(PAGE) {
            page.write(0xa5);
        }
        hint::black_box(&mut memory);
        thread::sleep(pause);
    }
    memory
}

/// Touches memory and releases it, several times. Then touches memory until it is killed.
pub(super) fn saw(mib: usize, times: usize, pause: Duration) {
    for _ in 0..times {
        drop(touch(mib, pause));
    }
    touch_until_killed();
}

/// Touches memory, sleeps, and then touches memory until it is killed.
pub(super) fn jump(mib: usize, rest: Duration, pause: Duration) {
    let memory = touch(mib, pause);
    thread::sleep(rest);
    touch_until_killed();
    hint::black_box(memory);
}

fn touch_until_killed() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(touch(1, Duration::ZERO));
    }
}

/// Writes a file on the tmpfs.
pub(super) fn write_file(mib: usize, pause: Duration) -> Result<()> {
    let path = format!("/tmp/hog-{}", std::process::id());
    let mut file = File::create(&path).with_context(|| format!("{path} cannot be made"))?;
    let chunk = vec![0xa5; MIB];
    for _ in 0..mib {
        file.write_all(&chunk).with_context(|| format!("{path} cannot be written"))?;
        thread::sleep(pause);
    }
    Ok(())
}

/// Touches memory in a second thread, and ends the first one, which is the leader of the process.
pub(super) fn touch_in_second_thread(mib: usize, pause: Duration) -> Result<()> {
    thread::Builder::new().name("second".to_owned()).spawn(move || {
        // The leader becomes a zombie when it makes its forbidden call.
        while std::fs::read_to_string(format!("/proc/{0}/task/{0}/stat", std::process::id()))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            thread::yield_now();
        }
        let memory = touch(mib, pause);
        ready_and_park();
        hint::black_box(memory);
    })?;
    // In this mode the kernel ends the thread, not the process, at its first system call other than
    // read, write and exit.
    set_secure_computing_mode(SecureComputingMode::Strict)
        .context("the leader's calls cannot be forbidden")?;
    let _ = gettid();
    anyhow::bail!("the leader survived a forbidden call")
}
