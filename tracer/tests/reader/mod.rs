//! A consumer of reports as of commit 7ab37a1. It is frozen: do not adapt it to a later build,
//! which must print what this reader expects.

#![allow(dead_code, reason = "deserializing a field is the test, even if nothing uses it")]
#![allow(clippy::struct_field_names, reason = "the names are the keys of a report")]

use serde::Deserialize;
use serde_json::Value;

/// One line of `-o json`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Record {
    Oom(Box<Oom>),
    Gap(Gap),
    Loss(Loss),
}

#[derive(Deserialize)]
pub(crate) struct Oom {
    schema: u32,
    id: String,
    time: Option<String>,
    boottime_ns: Option<u64>,
    kernel: Option<String>,
    outcome: Outcome,
    reason: Option<Reason>,
    repeats: Option<u64>,
    constraint: Option<Constraint>,
    message: Option<String>,
    totalpages: Option<u64>,
    page_size: Option<u64>,
    trigger: Option<Trigger>,
    oom_memcg: Option<Memcg>,
    #[serde(default)]
    limit_chain: Vec<Memcg>,
    system: Option<System>,
    candidates: Option<Candidates>,
    victims: Vec<Victim>,
    growth: Option<Growth>,
    verdict: Option<Verdict>,
    fingerprint: Option<String>,
    source: Source,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Killed,
    AlreadyExiting,
    WillFreeMem,
    VictimPending,
    NoVictim,
    Reclaimed,
    Disabled,
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    Selection,
    AllocatingTask,
    Sysrq,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Constraint {
    None,
    Cpuset,
    MemoryPolicy,
    Memcg,
}

#[derive(Deserialize)]
struct Trigger {
    pid: i32,
    comm: Option<String>,
    oom_score_adj: Option<i32>,
    cgroup: Option<Cgroup>,
    gfp_mask: Option<GfpMask>,
    order: Option<i32>,
    #[serde(default)]
    kernel_stack: Vec<Frame>,
    #[serde(default)]
    user_stack: Vec<Frame>,
}

#[derive(Deserialize)]
struct GfpMask {
    value: u32,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Frame {
    ip: Option<String>,
    symbol: Option<String>,
    offset: Option<u64>,
}

#[derive(Deserialize)]
struct Cgroup {
    id: Option<String>,
    path: Option<String>,
}

/// The memcg that hit its limit, or a level of the limit chain.
#[derive(Deserialize)]
struct Memcg {
    path: Option<String>,
    container: Option<Container>,
    usage_bytes: Option<u64>,
    max_bytes: Option<u64>,
    #[serde(default)]
    no_limit: bool,
    swap_max_bytes: Option<u64>,
    hit: Option<bool>,
}

#[derive(Deserialize)]
struct Container {
    runtime: Option<String>,
    id: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct System {
    total_bytes: Option<u64>,
    free_bytes: Option<u64>,
    swap_total_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Candidates {
    considered: u64,
    recorded: u64,
    list: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    rank: Option<u32>,
    pid: i32,
    comm: Option<String>,
    points: Option<i64>,
    anon_pages: Option<i64>,
    oom_score_adj: Option<i32>,
    eligible: bool,
    why_not: Option<String>,
    chosen: bool,
}

#[derive(Deserialize)]
struct Victim {
    pid: i32,
    comm: Option<String>,
    uid: Option<u32>,
    cmdline: Option<Vec<String>>,
    exe: Option<String>,
    cgroup: Option<Cgroup>,
    container: Option<Container>,
    unit: Option<String>,
    chosen: bool,
    points: Option<i64>,
    oom_score_adj: Option<i32>,
    anon_rss_bytes: Option<u64>,
    file_rss_bytes: Option<u64>,
    shmem_rss_bytes: Option<u64>,
    pgtables_bytes: Option<u64>,
    exited_after_ns: Option<u64>,
    freed_after_ns: Option<u64>,
    #[serde(default)]
    stuck: bool,
}

#[derive(Deserialize)]
struct Growth {
    kind: Option<String>,
    rate_bytes_per_s: Option<Rate>,
    #[serde(default)]
    curve: Vec<Point>,
    #[serde(default)]
    stacks: Vec<Stack>,
}

#[derive(Deserialize)]
struct Rate {
    last_minute: Option<i64>,
    whole: Option<i64>,
}

#[derive(Deserialize)]
struct Point {
    t_ns: u64,
    usage_bytes: u64,
    limit_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Stack {
    bytes: u64,
    pid: Option<i32>,
    comm: Option<String>,
    user_stack: Option<Vec<Frame>>,
}

#[derive(Deserialize)]
struct Verdict {
    cause: String,
    headline: String,
    #[serde(default)]
    evidence: Vec<String>,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    advice: Vec<String>,
}

#[derive(Deserialize)]
struct Source {
    tier: Tier,
    #[serde(default)]
    missing: Vec<Missing>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tier {
    Fentry,
    Kprobe,
    Tracepoint,
    Kmsg,
}

#[derive(Deserialize)]
struct Missing {
    field: String,
    why: String,
}

#[derive(Deserialize)]
pub(crate) struct Gap {
    schema: u32,
    expected: u64,
    seen: u64,
    since: String,
}

#[derive(Deserialize)]
pub(crate) struct Loss {
    schema: u32,
    count: u64,
    first: String,
    last: String,
}

pub(crate) fn read(record: &Value) -> serde_json::Result<Record> {
    Record::deserialize(record)
}

impl Record {
    /// A line such as a consumer would post to a chat.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Oom(report) => report.summary(),
            Self::Gap(gap) => format!("gap: {} of {}", gap.seen, gap.expected),
            Self::Loss(loss) => format!("loss: {}", loss.count),
        }
    }
}

impl Oom {
    fn summary(&self) -> String {
        let domain = match (self.constraint, &self.oom_memcg) {
            (Some(Constraint::Memcg), Some(memcg)) => {
                let path = memcg.path.as_deref().unwrap_or("?");
                format!("memcg {path} {}", memcg.max_bytes.unwrap_or_default())
            }
            _ => "host".to_owned(),
        };
        let victims = self.victims.iter().map(|victim| {
            let parts = [victim.anon_rss_bytes, victim.file_rss_bytes, victim.shmem_rss_bytes];
            let rss = parts.iter().flatten().sum::<u64>() >> 20;
            format!("{} {rss} MiB", victim.comm.as_deref().unwrap_or("?"))
        });
        let victims: Vec<String> = victims.collect();
        format!("{domain}: {:?} {}", self.outcome, victims.join(" "))
    }
}
