//! The fields that are missing from a report that was read from the log, and why.

use super::ReportInput;
use crate::{
    compose::missing as compose,
    model::report::{Constraint, NOT_IN_LOG, OomReport, Outcome},
};

/// Fields that the kernel log never contains.
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

const NO_HEADER: &str = "this log has no header of the report: the kernel writes ten reports in \
    five seconds at most, and of further kills one line";
const NO_TABLE: &str = "the table of tasks is not in this log";

pub(super) fn add_missing(report: &mut OomReport, input: ReportInput<'_>) {
    let mut missing = std::mem::take(&mut report.source.missing);
    let mut note = |field: &str, why: &str| missing.push(compose::missing(field, why));
    for field in NEVER {
        note(field, NOT_IN_LOG);
    }
    note_mixed(&mut note, input);
    note_time(&mut note, report, input);
    note_trigger(&mut note, report, input);
    note_names(&mut note, report, input);
    note_domain(&mut note, report, input);
    note_candidates(&mut note, report, input);
    missing.sort();
    missing.dedup();
    report.source.missing = missing;
}

/// Fields whose lines may belong to another invocation.
fn note_mixed(note: &mut dyn FnMut(&str, &str), input: ReportInput<'_>) {
    if input.block.is_torn {
        let why = "another report had begun and not ended before this one: which lines are whose \
                   is not certain";
        for field in ["oom_memcg", "candidates", "system", "trigger", "victims"] {
            note(field, why);
        }
    }
    for field in &input.block.mixed {
        note(field, "this log has it twice, and differently: lines of others are between them");
    }
}

fn note_time(note: &mut dyn FnMut(&str, &str), report: &OomReport, input: ReportInput<'_>) {
    if report.time.is_some() {
        return;
    }
    match &input.block.stamp.vague {
        Some(date) => note(
            "time",
            &format!("the log says {date:?}, and not in which time zone, or of which year"),
        ),
        None if input.block.stamp.log_ns.is_some() => {
            note("time", "the log says only how long after the start of the kernel it was");
        }
        None => note("time", "this log has no times"),
    }
}

fn note_trigger(note: &mut dyn FnMut(&str, &str), report: &OomReport, input: ReportInput<'_>) {
    let block = input.block;
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
}

fn note_names(note: &mut dyn FnMut(&str, &str), report: &OomReport, input: ReportInput<'_>) {
    let block = input.block;
    let is_broken = block.summary.is_some() && input.names.task_memcg.is_none();
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
        note("victims.swap_bytes", NO_TABLE);
        note("victims.points", NO_TABLE);
    }
}

fn note_domain(note: &mut dyn FnMut(&str, &str), report: &OomReport, input: ReportInput<'_>) {
    let block = input.block;
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
}

fn note_candidates(note: &mut dyn FnMut(&str, &str), report: &OomReport, input: ReportInput<'_>) {
    let block = input.block;
    match &report.candidates {
        None if block.header.is_none() => note("candidates", NO_HEADER),
        None => note("candidates", NO_TABLE),
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
