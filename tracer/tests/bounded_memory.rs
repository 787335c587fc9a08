//! Kills from as many containers, users and processes as there are kills, with names as long as
//! they may be, and answers that come too late or never: what is kept of them is bounded.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod events;

use std::fs;

use bytes::Bytes;
use oomwhy::testing::{Fact, Pipeline};
use oomwhy_common::event::{ContextHead, PathHead, TaskFacts, context, kind, victim_gone};
use serde_json::{Value, json};
use zerocopy::FromZeros;

use self::events::{Invocation, MS, NoSource, handle, pipeline, record, task};

/// Resident memory that this process may have, KiB.
const MAX_RESIDENT_KIB: u64 = 32 << 10;
/// Kills that come between a kill and the late answers for it.
const LATE: u32 = 1000;
/// Most of these characters become six bytes each as JSON.
const HOSTILE: &str = "\u{1}\u{1b}[2J\u{9b}\"\\";

/// One kill. Its number is that of its container, its user, its process and its addresses.
#[derive(Clone, Copy)]
struct Kill(u32);

impl Kill {
    fn seq(self) -> u64 {
        u64::from(self.0) + 1
    }

    /// A thousand kills per second.
    fn invocation(self) -> Invocation {
        Invocation { seq: self.seq(), at_ns: self.seq() * MS }
    }

    fn task(self) -> TaskFacts {
        let pid = 1000 + i32::try_from(self.0).unwrap();
        task(pid, self.0, self.seq(), &format!("\u{1b}[{}", self.0))
    }

    fn container(self) -> String {
        format!("{:064x}", self.0)
    }

    fn first_ip(self) -> u64 {
        u64::MAX - (self.seq() + 1) * 64
    }

    /// The records of its invocation, up to the end.
    fn records(self) -> [Bytes; 5] {
        let mut begin = self.invocation().begin(self.seq(), self.task());
        begin.kernel_frames = 64;
        let ips = self.first_ip()..;
        begin.kernel_stack.iter_mut().zip(ips).for_each(|(to, from)| *to = from);
        [
            record(&begin, &[]),
            self.path(),
            self.invocation().victim(self.task(), self.seq()),
            self.cmdline(),
            self.invocation().end(1),
        ]
    }

    fn path(self) -> Bytes {
        let names = [format!("docker-{}.scope", self.container()), HOSTILE.repeat(30)];
        let text = names.map(|name| name + "\0").concat().into_bytes();
        let mut head = PathHead::new_zeroed();
        head.header = self.invocation().header::<PathHead>(kind::PATH, text.len());
        head.header.valid = 0;
        (head.cgroup_id, head.len) = (self.seq(), u32::try_from(text.len()).unwrap());
        record(&head, &text)
    }

    fn cmdline(self) -> Bytes {
        let text = HOSTILE.repeat(300).into_bytes();
        let mut head = ContextHead::new_zeroed();
        head.header = self.invocation().header::<ContextHead>(kind::CONTEXT, text.len());
        (head.tgid, head.tid) = (self.task().tgid, self.task().tid);
        (head.part, head.len) = (context::CMDLINE, u32::try_from(text.len()).unwrap());
        record(&head, &text)
    }

    /// Its victim exits, and the memory is free again.
    fn exit(self) -> [Bytes; 2] {
        let gone = |step, mm| self.invocation().gone(step, self.task().tgid, mm);
        [gone(victim_gone::FREED, self.seq()), gone(victim_gone::EXITED, 0)]
    }

    /// What is found out for its report.
    fn facts(self) -> [Fact; 8] {
        let (seq, pid, name) = (self.seq(), self.task().tgid, HOSTILE.repeat(40));
        let names = json!({"name": name, "image": name, "pod": name, "namespace": name});
        let symbol = json!({"name": name, "offset": 1, "module": null});
        let files = json!({"cmdline": [HOSTILE.repeat(500)], "exe": HOSTILE.repeat(500)});
        [
            json!({"container": {"key": self.container(), "names": names}}),
            json!({"user": {"uid": self.0, "name": name}}),
            json!({"process": {"seq": seq, "pid": pid, "files": files}}),
            json!({"cgroup_path": {"id": seq, "path": HOSTILE.repeat(500)}}),
            json!({"symbol": {"ip": self.first_ip(), "symbol": symbol}}),
            json!({"awaited": {"seq": seq}}),
            json!({"lookups_refused": {"seq": seq, "kinds": ["container", "stack"]}}),
            json!({"cgroup_maker": {"path": self.container() + &HOSTILE.repeat(400)}}),
        ]
        .map(fact)
    }

    /// The names of its stack: those of another one.
    fn names(self, other: &Fact) -> Fact {
        let Fact::UserNames { names, .. } = other else { panic!("{other:?}") };
        Fact::UserNames { seq: self.seq(), pid: self.task().tgid, names: names.clone() }
    }
}

fn fact(value: Value) -> Fact {
    serde_json::from_value(value).unwrap()
}

/// The names of a stack, as many and as long as they may be.
fn names() -> Fact {
    let name = json!({"symbol": HOSTILE.repeat(60), "offset": 1, "file": HOSTILE.repeat(400)});
    let addresses: Vec<Value> = (0..32).map(|ip| json!([ip, name])).collect();
    let names = json!({"places": [], "addresses": addresses});
    fact(json!({"user_names": {"seq": 0, "pid": 0, "names": names}}))
}

/// Every second victim exits. The names of a stack come in time for every fourth kill, after its
/// report for every other fourth, and never for the rest.
fn replay(n_kills: u32) -> Pipeline {
    let (mut pipeline, names) = (pipeline(), names());
    let learn = |pipeline: &mut Pipeline, fact| pipeline.learn(fact).unwrap();
    for number in 0..n_kills {
        let kill = Kill(number);
        for record in kill.records() {
            let accounts = pipeline.handle_record(&record, &mut NoSource).unwrap();
            if accounts.iter().any(|account| account.seq() == kill.seq()) {
                kill.facts().into_iter().for_each(|fact| learn(&mut pipeline, fact));
            }
            pipeline.report(accounts, &mut NoSource).unwrap();
        }
        if number % 4 == 0 {
            learn(&mut pipeline, kill.names(&names));
            let accounts = pipeline.names_ready(kill.seq());
            pipeline.report(accounts, &mut NoSource).unwrap();
        }
        if number % 2 == 0 {
            handle(&mut pipeline, kill.exit());
        }
        if let Some(earlier) = number.checked_sub(LATE).filter(|earlier| earlier % 4 == 1) {
            let earlier = Kill(earlier);
            learn(&mut pipeline, earlier.names(&names));
            earlier.facts().into_iter().for_each(|fact| learn(&mut pipeline, fact));
        }
        if number % 1000 == 999 {
            let accounts = pipeline.due(kill.invocation().at_ns);
            pipeline.report(accounts, &mut NoSource).unwrap();
        }
    }
    pipeline
}

/// Peak of the resident memory of this process, KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn check(n_kills: u32) {
    let pipeline = replay(n_kills);
    let stats = pipeline.stats();
    assert!(stats.reports > u64::from(n_kills) / 2, "{stats:?}");
    assert!(stats.evicted > 0 && stats.undecodable == 0, "{stats:?}");
    let peak = peak_kib();
    // Read by `cargo xtask proof hostile`.
    println!("peak_kib {peak}");
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB after {n_kills} kills");
}

#[test]
fn answers_for_a_report_that_is_out_are_dropped() {
    let mut pipeline = pipeline();
    let n_findings = |pipeline: &Pipeline| {
        let findings = pipeline.findings();
        let of_invocations = [findings.names_asked.len(), findings.refused.len()];
        let of_processes = [findings.user_names.len(), findings.processes.len()];
        [of_invocations, of_processes].concat()
    };
    let kill = Kill(7);
    let learn_all = |pipeline: &mut Pipeline| {
        kill.facts().into_iter().chain([kill.names(&names())]).for_each(|fact| {
            pipeline.learn(fact).unwrap();
        });
    };
    handle(&mut pipeline, kill.records());
    learn_all(&mut pipeline);
    assert_eq!(n_findings(&pipeline), [1, 1, 1, 1]);
    handle(&mut pipeline, kill.exit());
    let accounts = pipeline.names_ready(kill.seq());
    pipeline.report(accounts, &mut NoSource).unwrap();
    assert_eq!((n_findings(&pipeline), pipeline.stats().reports), (vec![0; 4], 1));
    learn_all(&mut pipeline);
    assert_eq!(n_findings(&pipeline), [0, 0, 0, 0]);
    assert!(!pipeline.is_waiting());
}

/// After a tenth of them, everything is as full as it gets. Without optimization they take 16 s.
#[test]
fn some_thousand_hostile_kills_stay_below_32_mib() {
    check(if cfg!(debug_assertions) { 4_000 } else { 10_000 });
}

#[test]
#[ignore = "it takes a minute: cargo xtask proof hostile"]
fn hundred_thousand_hostile_kills_stay_below_32_mib() {
    check(100_000);
}
