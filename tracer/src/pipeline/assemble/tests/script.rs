//! Scripts, the events they are made of, and accounts in one line each.

use crate::{
    model::{
        account::Account,
        events::{
            After, AfterWhat, Body, Candidates, CgroupMade, Chosen, End, Event, Invocation, Memcg,
            Name, Reclaimed, Repeats, Task, Victim, Wait,
        },
    },
    pipeline::assemble::Assembler,
};

/// One step of a script; times in ms.
pub(super) enum Step {
    /// Time, number of the invocation, record.
    Say(u64, u64, Body),
    /// Time passes.
    Due(u64),
    /// The end of the run.
    Finish,
}

pub(super) const MS: u64 = 1_000_000;

/// What comes of a script: "time: account", time in ms.
pub(super) fn run(script: Vec<Step>) -> Vec<String> {
    let mut assembler = Assembler::default();
    let mut lines = Vec::new();
    for step in script {
        let (when, accounts) = match step {
            Step::Say(ms, seq, body) => (ms.to_string(), assembler.push(event(ms, seq, body))),
            Step::Due(ms) => (ms.to_string(), assembler.due(ms * MS)),
            Step::Finish => ("finish".to_owned(), assembler.finish()),
        };
        let accounts = accounts.iter().map(line);
        lines.extend(accounts.map(|account| format!("{when}: {account}")));
    }
    lines
}

pub(super) fn event(ms: u64, seq: u64, body: Body) -> Event {
    Event { boottime_ns: ms * MS, cpu: 0, seq, body }
}

fn line(account: &Account) -> String {
    let mut line = format!("#{} since {}", account.seq, account.first_ns / MS);
    let mut say = |text: String| line.extend([", ", &text]);
    if account.invocation.is_some() {
        say("invocation".to_owned());
    }
    if account.candidates.is_some() {
        say("candidates".to_owned());
    }
    if !account.victims.is_empty() {
        let victims = account.victims.iter();
        let victims = victims.map(|(ns, victim)| format!(" {}@{}", victim.task.tgid, ns / MS));
        say(format!("victims{}", victims.collect::<String>()));
    }
    if account.end.is_some() {
        say("end".to_owned());
    }
    if let Some(Repeats { count, last_ns }) = account.repeats {
        say(format!("repeats {count} until {}", last_ns / MS));
    }
    if let Some(reclaimed) = &account.reclaimed {
        say(format!("reclaimed {}", reclaimed.count));
    }
    line
}

fn task(tgid: i32) -> Task {
    Task {
        tgid,
        tid: tgid,
        comm: Name::default(),
        uid: 0,
        start_boottime_ns: None,
        oom_score_adj: None,
        cgroup_id: None,
    }
}

fn memcg(id: u64) -> Memcg {
    Memcg { id: Some(id), memory: None, swap: None, oom_group: None }
}

/// One that ends without a choice, by the limit of this memcg.
pub(super) fn invocation_of(oom_memcg: u64) -> Body {
    Body::Invocation(Box::new(Invocation {
        started_ns: 0,
        trigger: task(1),
        control: None,
        is_memcg: Some(true),
        oom_memcg: Some(memcg(oom_memcg)),
        chosen: None,
        considered: 0,
        choice_made: false,
        nodemask: None,
        mems_allowed: None,
        message: None,
        kernel_stack: None,
        user_stack: None,
    }))
}

pub(super) fn invocation() -> Body {
    invocation_of(7)
}

/// One that made a choice.
pub(super) fn chosen() -> Body {
    let Body::Invocation(mut invocation) = invocation() else {
        panic!("not an invocation");
    };
    invocation.choice_made = true;
    invocation.chosen = Some(task(100));
    Body::Invocation(invocation)
}

pub(super) fn bystander() -> Body {
    Body::Candidates(Candidates { considered: 1, list: Vec::new() })
}

pub(super) fn victim(tgid: i32) -> Body {
    Body::Victim(Box::new(Victim::of(task(tgid))))
}

fn changed(body: Body, change: impl FnOnce(&mut Victim)) -> Body {
    let Body::Victim(mut victim) = body else {
        panic!("not a victim");
    };
    change(&mut victim);
    Body::Victim(victim)
}

/// One whose memory is known.
pub(super) fn victim_with(tgid: i32, mm: u64) -> Body {
    changed(victim(tgid), |victim| victim.mm = Some(mm))
}

/// One that shares the memory of a victim.
pub(super) fn sharer(tgid: i32, mm: u64) -> Body {
    changed(victim_with(tgid, mm), |victim| victim.shares_mm = true)
}

/// What became of a victim; 0: not known.
pub(super) fn after(what: AfterWhat, tgid: i32, mm: u64) -> Body {
    let is_freeing = what == AfterWhat::Freed;
    Body::After(After {
        what,
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
    Body::End(End { result: true, chosen, kill_calls, shots: None, victims, selected: true })
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
