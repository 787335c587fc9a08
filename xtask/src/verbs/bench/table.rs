//! The costs as Markdown.

use std::cmp::Reverse;
use std::fmt::Write as _;

use oomwhy_tests::bench::{Printed, Program, StormTracer};

use super::costs::{Costs, Latency, Row, Tool, millions, to_f64};

/// One section per kernel.
pub(crate) fn render(costs: &[Costs]) -> String {
    let mut out = String::new();
    for costs in costs {
        // Writing to a string cannot fail.
        let _ = section(&mut out, costs);
    }
    out
}

fn section(out: &mut String, costs: &Costs) -> std::fmt::Result {
    writeln!(out, "### Linux {}\n", costs.release)?;
    promises(out, costs)?;
    writeln!(
        out,
        "\nInstructions of one invocation, from the last reclaim before it to its return (medians; in\n\
         brackets: until `oom:mark_victim`):\n"
    )?;
    writeln!(
        out,
        "| candidates | the kernel prints | without oomwhy | with oomwhy | added | spread of runs |"
    )?;
    writeln!(out, "|--:|---|--:|--:|--:|--:|")?;
    for row in &costs.rows {
        invocation(out, row)?;
    }
    let candidate = &costs.candidate;
    writeln!(
        out,
        "\nPer candidate: the kernel alone {:.0}, and {:.0} if it prints all tasks. oomwhy adds {:.0}\non \
         average, {:.0} to each of the last half.\n",
        candidate.bare, candidate.dumped, candidate.added, candidate.added_in_crowd
    )?;
    programs(out, &costs.programs)?;
    storms(out, costs)?;
    tools(out, costs)
}

/// The instructions of each program, most expensive first.
fn programs(out: &mut String, programs: &[Program]) -> std::fmt::Result {
    let mut crowds: Vec<usize> = programs.iter().map(|program| program.candidates).collect();
    crowds.dedup();
    for candidates in crowds {
        let mut of_crowd: Vec<&Program> =
            programs.iter().filter(|program| program.candidates == candidates).collect();
        of_crowd.sort_by_key(|program| Reverse(program.instructions));
        let parts: Vec<String> = of_crowd
            .into_iter()
            .map(|program| {
                let Program { name, runs, .. } = program;
                let instructions = number(to_f64(program.instructions));
                format!("{name} {instructions} ({runs})")
            })
            .collect();
        writeln!(
            out,
            "Instructions by program (runs), without trampolines and waking; candidates: \
             {candidates}:\n\n- {}\n",
            parts.join("\n- ")
        )?;
    }
    Ok(())
}

/// The kill rate of a storm.
fn storms(out: &mut String, costs: &Costs) -> std::fmt::Result {
    let Some(storm) = costs.storms.first() else {
        return Ok(());
    };
    writeln!(
        out,
        "{} kills in a row, without a pause: the kill rate is {:.3} of that without oomwhy if another\nCPU \
         does the work of oomwhy, {:.3} if the only CPU does it. Without oomwhy a kill takes\n{} \
         instructions, most of them to start the victim and to let it fill its memory.\n",
        storm.kills,
        costs.storm_ratio(StormTracer::Elsewhere),
        costs.storm_ratio(StormTracer::SameCpu),
        number(to_f64(storm.instructions) / f64::from(storm.kills)),
    )
}

fn promises(out: &mut String, costs: &Costs) -> std::fmt::Result {
    writeln!(out, "| promise | measured | limit | |")?;
    writeln!(out, "|---|--:|--:|---|")?;
    for measured in costs.measurements() {
        let (name, value) = (measured.cost.name(), measured.text());
        writeln!(out, "| {name} | {value} | {} |", measured.cells())?;
    }
    Ok(())
}

fn invocation(out: &mut String, row: &Row) -> std::fmt::Result {
    let Row { candidates, printed, without, with } = row;
    let added = row.added();
    let printed = match printed {
        Printed::Line => "a line",
        Printed::Report => "a report",
        Printed::Tasks => "all tasks",
    };
    writeln!(
        out,
        "| {candidates} | {printed} | {} ({}) | {} ({}) | {} ({:+.1} %) | {} |",
        number(without.total),
        number(without.to_mark),
        number(with.total),
        number(with.to_mark),
        number(added),
        100.0 * added / without.total,
        number(without.spread.max(with.spread)),
    )
}

fn tools(out: &mut String, costs: &Costs) -> std::fmt::Result {
    writeln!(
        out,
        "| tool | start, ms (own, kernel's) | resident, MB | of it anonymous | peak | after the kills: resident | \
         wake-ups in an idle minute | begin to line, ms: p50 | p99 | lines | of 5 kills on a pipe |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for tool in &costs.tools {
        let Tool { name, start_ns, latency, measured } = tool;
        let ready = &measured.memory_ready;
        writeln!(
            out,
            "| {name} | {:.0} ({:.0}, {:.0}) | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} of {} | {} |",
            start_ns / 1e6,
            millions(measured.start_user_ns),
            millions(measured.start_system_ns),
            millions(ready.resident_bytes),
            millions(ready.anon_bytes),
            millions(measured.memory_after_kills.peak_bytes),
            millions(measured.memory_after_kills.resident_bytes),
            measured.idle_wakeups,
            delay(latency),
            measured.kills,
            measured.lines_on_pipe,
        )?;
    }
    writeln!(out, "| /dev/kmsg, \"Killed process\" | | | | | | | {} | |\n", delay(&costs.kmsg))
}

fn delay(latency: &Latency) -> String {
    let Latency { n, p50_ns, p99_ns } = latency;
    format!("{:.2} | {:.2} | {n}", p50_ns / 1e6, p99_ns / 1e6)
}

/// Prints a number with separators between thousands. Only small numbers have decimals.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 {
        grouped.insert(0, '-');
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_grouped_by_thousands() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(-999.7), "-1,000");
        assert_eq!(number(1_234_567.0), "1,234,567");
    }
}
