//! What is absent, and why.

use super::Facts;
use crate::model::report::{Constraint, Missing, NOT_IN_LOG, OomReport, Outcome};

/// What the kernel's log never has.
pub(crate) const NEVER: [&str; 8] = [
    "limit_chain",
    "oom_memcg.id",
    "trigger.cgroup",
    "trigger.user_stack",
    "victims.exited_after_ns",
    "victims.freed_after_ns",
    "victims.marked_at_ns",
    "victims.start_time",
];

const NO_HEADER: &str = "this log has no header of the report: the kernel writes ten reports in five \
    seconds at most, and of further kills one line";

/// Names all of it.
pub(super) fn note(report: &mut OomReport, facts: Facts<'_>) {
    let mut missing = Vec::new();
    let mut note = |field: &str, why: &str| {
        missing.push(Missing { field: field.to_owned(), why: why.to_owned() });
    };
    for field in NEVER {
        note(field, NOT_IN_LOG);
    }
    torn(&mut note, facts);
    time(&mut note, report, facts);
    who(&mut note, report, facts);
    weighed(&mut note, report, facts);
    report.source.missing.append(&mut missing);
    report.source.missing.sort();
    report.source.missing.dedup();
}

fn torn(note: &mut dyn FnMut(&str, &str), facts: Facts<'_>) {
    if facts.block.is_torn {
        let why = "another report had begun and not ended before this one: which lines are whose \
                   is not certain";
        for field in ["oom_memcg", "candidates", "system", "trigger", "victims"] {
            note(field, why);
        }
    }
    for field in &facts.block.mixed {
        note(field, "this log has it twice, and differently: lines of others are between them");
    }
}

fn time(note: &mut dyn FnMut(&str, &str), report: &OomReport, facts: Facts<'_>) {
    if report.time.is_some() {
        return;
    }
    match &facts.block.stamp.vague {
        Some(date) => note(
            "time",
            &format!("the log says {date:?}, and not in which time zone, or of which year"),
        ),
        None if facts.block.stamp.log_ns.is_some() => {
            note("time", "the log says only how long after the start of the kernel it was");
        }
        None => note("time", "this log has no times"),
    }
}

fn who(note: &mut dyn FnMut(&str, &str), report: &OomReport, facts: Facts<'_>) {
    let block = facts.block;
    let no_cpu = "the line with the process id of the one who invoked it is not in this log";
    match &report.trigger {
        None if block.header.is_none() => note("trigger", NO_HEADER),
        None if !block.is_torn => note("trigger", no_cpu),
        None => {}
        Some(trigger) => {
            if trigger.uid.is_none() {
                let why = "it is not in the table of tasks";
                note("trigger.uid", why);
                note("trigger.pid", "the log names the thread; whose it is, no table says");
            }
            if trigger.comm.is_none() {
                note("trigger.comm", "two lines of the log name it differently");
            }
            if trigger.kernel_stack.is_none() {
                note("trigger.kernel_stack", "this log has no call trace of it");
            }
        }
    }
    let is_broken = block.summary.is_some() && facts.names.task_memcg.is_none();
    if is_broken {
        let why = "a name in the line \"oom-kill:\" has its words in it, or a newline";
        for field in ["oom_memcg.path", "victims.cgroup", "mems_allowed"] {
            note(field, why);
        }
    } else if block.summary.is_none() && block.limit_of.is_none() && !report.victims.is_empty() {
        note("victims.cgroup", "the line \"oom-kill:\" is not in this log");
    }
    if report.constraint == Some(Constraint::Memcg) && report.oom_memcg.is_none() {
        note("oom_memcg", NO_HEADER);
    }
    if block.whole_stat().1 {
        note(
            "oom_memcg.stat",
            "this kernel's record of them is too long: the last ones are cut off",
        );
    }
    if report.outcome == Outcome::Unknown {
        note("outcome", "the end of the report is not in this log");
    }
    let processes = block.table.as_ref().filter(|table| !table.rows.is_empty());
    if processes.is_none() && !report.victims.is_empty() {
        note(
            "victims.tid",
            "the log names the thread that has the memory, and no table its process",
        );
        note("victims.swap_bytes", "the table of tasks is not in this log");
        note("victims.points", "the table of tasks is not in this log");
    }
}

fn weighed(note: &mut dyn FnMut(&str, &str), report: &OomReport, facts: Facts<'_>) {
    let block = facts.block;
    if report.page_size.is_none() {
        note("page_size", "no size stands in this log in pages and in KiB");
    }
    if report.totalpages.is_none() {
        let why = match report.constraint {
            _ if block.header.is_none() => NO_HEADER,
            Some(Constraint::Memcg) => "the log has not how much swap the host has",
            _ => "the log has not all of its parts",
        };
        note("totalpages", why);
    }
    match &report.candidates {
        None => note(
            "candidates",
            if block.header.is_none() {
                NO_HEADER
            } else {
                "the table of tasks is not in this log"
            },
        ),
        Some(candidates) => {
            if candidates.list.iter().any(|row| row.eligible && row.points.is_none()) {
                note("candidates.points", "oom_score_adj counts in parts of totalpages");
                note("candidates.rank", "oom_score_adj counts in parts of totalpages");
            }
            if candidates.list.iter().all(|row| row.anon_pages.is_none()) {
                let why = "this kernel's table of tasks has the sum only";
                for part in ["anon_pages", "file_pages", "shmem_pages"] {
                    note(&format!("candidates.{part}"), why);
                }
            }
            let table = block.table.as_ref();
            if table.is_some_and(|table| table.is_damaged) || !block.is_ended() {
                note("candidates.considered", "rows of the table of tasks are cut or missing");
            }
        }
    }
}
