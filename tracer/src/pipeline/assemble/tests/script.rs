//! Scripts, the events in them, and accounts printed in one line each.

use crate::{
    model::{
        account::{Account, InvocationAccount},
        events::{
            Body, Candidates, CgroupMade, Chosen, End, EndFacts, Event, Invocation, Kill,
            KillCause, Reclaimed, Repeats, Victim, VictimGone, VictimGoneStep, Wait,
            samples::{self, memcg, task},
        },
        shed::Shed,
    },
    pipeline::assemble::Assembler,
};

/// One step of a script; times in ms.
pub(super) enum Step {
    /// An event: time, sequence number of the invocation, content.
    Say(u64, u64, Body),
    /// Time passes until then.
    Due(u64),
    /// The end of the run.
    Finish,
}

pub(super) const MS: u64 = 1_000_000;

/// The accounts that a script completes: "time: account", time in ms.
pub(super) fn run(script: Vec<Step>) -> Vec<String> {
    let mut assembler = Assembler::default();
    let mut lines = Vec::new();
    for step in script {
        let (when, accounts) = match step {
            Step::Say(ms, seq, body) => (ms.to_string(), assembler.push(event(ms, seq, body))),
            Step::Due(ms) => (ms.to_string(), assembler.due(ms * MS)),
            Step::Finish => ("finish".to_owned(), assembler.finish()),
        };
        lines.extend(accounts.iter().map(|account| format!("{when}: {}", line(account))));
    }
    lines
}

pub(super) fn event(ms: u64, seq: u64, body: Body) -> Event {
    Event { boottime_ns: ms * MS, cpu: 0, seq, shed: Shed::default(), body }
}

fn line(account: &Account) -> String {
    let line = format!("#{} since {}", account.seq(), account.first_ns() / MS);
    match account {
        Account::Invocation(account) => line + &parts(account),
        Account::Reclaimed(account) => format!("{line}, reclaimed {}", account.reclaimed.count),
        Account::Mark(_) | Account::Wait(_) => line,
    }
}

fn parts(account: &InvocationAccount) -> String {
    let mut parts = String::new();
    let mut add = |text: String| parts.extend([", ", &text]);
    if account.invocation.is_some() {
        add("invocation".to_owned());
    }
    if account.candidates.is_some() {
        add("candidates".to_owned());
    }
    if !account.victims.is_empty() {
        let victim = |(ns, victim): &(u64, Victim)| format!(" {}@{}", victim.task.tgid, ns / MS);
        add(format!("victims{}", account.victims.iter().map(victim).collect::<String>()));
    }
    if account.end.is_some() {
        add("end".to_owned());
    }
    if let Some(Repeats { count, last_ns }) = account.repeats {
        add(format!("repeats {count} until {}", last_ns / MS));
    }
    if account.n_reported > 0 {
        add(format!("reported before: {}", account.n_reported));
    }
    parts
}

/// An invocation by the limit of this memcg that ends without a choice.
pub(super) fn invocation_of(oom_memcg: u64) -> Body {
    let oom_memcg = Some(memcg(oom_memcg));
    Body::Invocation(Box::new(Invocation {
        oom_memcg,
        is_memcg: Some(true),
        ..samples::invocation(task(1))
    }))
}

pub(super) fn invocation() -> Body {
    invocation_of(7)
}

/// An invocation that made a choice.
pub(super) fn chosen() -> Body {
    let Body::Invocation(mut invocation) = invocation() else {
        panic!("not an invocation");
    };
    invocation.choice_made = true;
    invocation.chosen = Some(task(100));
    Body::Invocation(invocation)
}

pub(super) fn candidates() -> Body {
    Body::Candidates(Candidates { considered: 1, list: Vec::new() })
}

pub(super) fn victim(tgid: i32) -> Body {
    Body::Victim(Box::new(samples::victim(task(tgid))))
}

/// The compact record of a kill.
pub(super) fn kill(tgid: i32, cause: KillCause) -> Body {
    Body::Kill(Box::new(Kill {
        task: task(tgid),
        cause,
        oom_memcg_id: Some(7),
        is_memcg: Some(true),
        counts: None,
        pgtables_bytes: None,
    }))
}

fn changed(body: Body, change: impl FnOnce(&mut Victim)) -> Body {
    let Body::Victim(mut victim) = body else {
        panic!("not a victim");
    };
    change(&mut victim);
    Body::Victim(victim)
}

/// A victim whose mm is known.
pub(super) fn victim_with(tgid: i32, mm: u64) -> Body {
    changed(victim(tgid), |victim| victim.mm = Some(mm))
}

/// A process that shares the mm of a victim.
pub(super) fn mm_sharer(tgid: i32, mm: u64) -> Body {
    changed(victim_with(tgid, mm), |victim| victim.shares_mm = true)
}

/// A step of a victim's end; 0 if the process is unknown.
pub(super) fn gone(step: VictimGoneStep, tgid: i32, mm: u64) -> Body {
    let is_freeing = step == VictimGoneStep::Freed;
    Body::VictimGone(VictimGone {
        step,
        tgid: (tgid != 0).then_some(tgid),
        tid: 100,
        mm: Some(mm).filter(|_| is_freeing),
        counts: None,
    })
}

pub(super) fn wait(tid: i32, ended: bool) -> Body {
    Body::Wait(Box::new(Wait {
        trigger: task(tid),
        oom_memcg: memcg(7),
        gfp_mask: None,
        order: None,
        ended,
    }))
}

fn end(chosen: Chosen, kill_calls: u32, victims: u32) -> Body {
    Body::End(End {
        result: Some(true),
        chosen: Some(chosen),
        kill_calls,
        victims,
        selected: Some(true),
        ..End::default()
    })
}

/// The end of an invocation of a memcg that waits for an earlier victim.
pub(super) fn wait_for_victim() -> Body {
    let facts = EndFacts { is_memcg: Some(true), printed: Some(false), ..EndFacts::default() };
    Body::End(End { facts: Some(facts), ..End::default() })
}

/// The end of an invocation of a memcg whose trigger was a victim already.
pub(super) fn passed() -> Body {
    let yes = Some(true);
    let facts = EndFacts {
        is_memcg: yes,
        trigger_is_victim: yes,
        trigger_is_dying: yes,
        ..EndFacts::default()
    };
    Body::End(End { facts: Some(facts), ..End::default() })
}

pub(super) fn end_of_kill(victims: u32) -> Body {
    end(Chosen::Task, 1, victims)
}

pub(super) fn will_free_mem() -> Body {
    end(Chosen::Nobody, 0, 1)
}

pub(super) fn no_victim() -> Body {
    end(Chosen::Nobody, 0, 0)
}

pub(super) fn repeats(count: u64, last_ms: u64) -> Body {
    Body::Repeats(Repeats { count, last_ns: last_ms * MS })
}

pub(super) fn reclaimed(count: u64) -> Body {
    Body::Reclaimed(Box::new(Reclaimed {
        trigger: task(1),
        oom_memcg: memcg(7),
        gfp_mask: 0,
        order: 0,
        count,
    }))
}

pub(super) fn cgroup_made() -> Body {
    Body::CgroupMade(CgroupMade { id: 8, parent_id: 7 })
}
