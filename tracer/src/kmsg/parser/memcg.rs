//! The lines about the memcg whose limit was hit.

use super::{kill::kib, record::digits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) usage_kib: u64,
    pub(crate) limit_kib: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CounterKind {
    Memory,
    /// cgroup v2: swap without memory.
    Swap,
    /// cgroup v1: memory and swap together.
    Memsw,
    /// cgroup v1: kernel memory.
    Kmem,
}

/// `memory: usage 49152kB, limit 49152kB, failcnt 19`
pub(crate) fn counter(line: &str) -> Option<(CounterKind, Counter)> {
    let (name, rest) = line.split_once(": usage ")?;
    let kind = match name {
        "memory" => CounterKind::Memory,
        "swap" => CounterKind::Swap,
        "memory+swap" => CounterKind::Memsw,
        "kmem" => CounterKind::Kmem,
        _ => return None,
    };
    let (usage, rest) = rest.split_once(", limit ")?;
    let (limit, failcnt) = rest.split_once(", failcnt ")?;
    digits(failcnt)?;
    Some((kind, Counter { usage_kib: kib(usage)?, limit_kib: kib(limit)? }))
}

/// `Memory cgroup stats for /kubepods/pod1234:`, with the statistics behind it up to 5.1:
/// `... /a: cache:0KB rss:4096KB ...`.
pub(crate) fn header(line: &str) -> Option<(String, Vec<(String, u64)>)> {
    let rest = line.strip_prefix("Memory cgroup stats for ")?;
    if let Some((path, items)) = rest.rsplit_once(": cache:") {
        let parse = |item: &str| {
            let (name, size) = item.split_once(':')?;
            Some((name.to_owned(), kib(size)?.checked_mul(1024)?))
        };
        let parsed = format!("cache:{items}").split_whitespace().map(parse).collect::<Option<_>>();
        return Some((path.to_owned(), parsed?));
    }
    // Each statistic has a line of its own.
    Some((rest.strip_suffix(':')?.to_owned(), Vec::new()))
}

/// `anon 50012160`: bytes, or events.
pub(crate) fn item(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.split_once(' ')?;
    let is_name =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then(|| Some((name, digits(value)?)))?
}
