//! How far the kernel's verifier walks through each program. `oomwhy -v` prints it, so the boots
//! that attach every tier have it in their results. `fixtures/verified.txt` has the number of each
//! program and kernel; `cargo xtask fixtures --verified` writes it from these results.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::facts::file;
use crate::matrix::{self, Kernel};
use crate::scenario::Step;
use crate::scenarios;

/// The maximum number of instructions of one program.
const MAX_OF_PROGRAM: u32 = 50_000;
/// The maximum number of instructions of all programs that one oomwhy loads.
const MAX_OF_ALL: u32 = 300_000;
/// How much a program's number may exceed its stored number, percent.
const GROWTH_PERCENT: u32 = 20;
/// A small number may grow by this many instructions.
const GROWTH: u32 = 100;

/// The boots that have the numbers, each with the scenario that has them. Every oomwhy of these
/// scenarios is verbose.
const SOURCES: [(&str, &str); 2] = [("tiers", "tiers_memcg"), ("growth", "grown_below")];

const INTRODUCTION: &str = "\
# Instructions that the verifier walks, per program (rows) and kernel (columns); the longest walk of
# all tiers that load it. Made by `cargo xtask fixtures --verified`, see tests/src/verified.rs.
";

/// The number for each program.
type Walks = BTreeMap<String, u32>;

/// The scenario of a boot whose results have the numbers, if the kernel runs it.
pub fn scenario(kernel: &Kernel, boot: &str) -> Option<&'static str> {
    let (_, scenario) = SOURCES.iter().find(|(name, _)| *name == boot)?;
    kernel.runs(scenario).then_some(*scenario)
}

/// Compares the results of one boot with the limits and with the stored numbers.
pub fn check(results: &Path, kernel: &str, boot: &str, scenario: &str) -> Result<()> {
    let stored = stored()?.remove(kernel).unwrap_or_default();
    let mut problems = Vec::new();
    for (run, walks) in runs(&results.join(kernel).join(boot).join(scenario), scenario)? {
        problems.extend(problems_of(&walks, &stored).map(|problem| format!("{run}: {problem}")));
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Writes the columns of the kernels that have results of all their boots, and keeps the others.
/// Returns the kernels whose column was written.
pub fn write(results: &Path) -> Result<Vec<String>> {
    let mut columns = stored()?;
    let mut written = Vec::new();
    for kernel in matrix::kernels()? {
        let found: Result<Vec<Walks>> = SOURCES
            .iter()
            .filter(|(boot, _)| scenario(&kernel, boot).is_some())
            .map(|(boot, scenario)| {
                let directory = results.join(&kernel.name).join(boot).join(scenario);
                Ok(longest(runs(&directory, scenario)?.into_values()))
            })
            .collect();
        if let Ok(found) = found {
            columns.insert(kernel.name.clone(), longest(found.into_iter()));
            written.push(kernel.name);
        }
    }
    let path = path();
    fs::write(&path, table(&columns)?)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(written)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/verified.txt")
}

/// The stored numbers by kernel.
fn stored() -> Result<BTreeMap<String, Walks>> {
    let path = path();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(columns(&text)),
        // The first kernel is about to be stored.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn columns(table: &str) -> BTreeMap<String, Walks> {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let kernels: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().skip(1).collect();
    let mut columns = BTreeMap::<String, Walks>::new();
    for line in lines {
        let mut cells = line.split_whitespace();
        let program = cells.next().unwrap_or_default();
        for (kernel, cell) in kernels.iter().zip(cells) {
            if let Ok(walked) = cell.parse() {
                let column = columns.entry((*kernel).to_owned()).or_default();
                column.insert(program.to_owned(), walked);
            }
        }
    }
    columns
}

fn table(columns: &BTreeMap<String, Walks>) -> Result<String> {
    let kernels: Vec<String> = matrix::kernels()?
        .into_iter()
        .map(|kernel| kernel.name)
        .filter(|name| columns.contains_key(name))
        .collect();
    let programs: BTreeSet<&String> = columns.values().flat_map(BTreeMap::keys).collect();
    let row = |program: &str, cells: Vec<String>| {
        let mut line = vec![format!("{program:<38}")];
        line.extend(cells.iter().map(|cell| format!("{cell:>10}")));
        line.join(" ") + "\n"
    };
    let mut text = INTRODUCTION.to_owned();
    text += &row("program", kernels.clone());
    for program in programs {
        let cell = |kernel: &String| match columns.get(kernel).and_then(|walks| walks.get(program))
        {
            Some(walked) => walked.to_string(),
            None => "-".to_owned(),
        };
        text += &row(program, kernels.iter().map(cell).collect());
    }
    Ok(text)
}

/// The numbers that each oomwhy of a scenario printed, by its name.
fn runs(directory: &Path, scenario: &str) -> Result<BTreeMap<String, Walks>> {
    let steps = scenarios::find(scenario).context("no such scenario")?.steps;
    let watchers = steps.iter().filter_map(|step| match step {
        Step::Watch(watcher) => Some((watcher.name, file::watcher_stderr(watcher.name))),
        _ => None,
    });
    let all = [("oomwhy", file::STDERR.to_owned())].into_iter().chain(watchers);
    let read = |(run, name): (&str, String)| {
        let path = directory.join(name);
        let stderr = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let walks: Walks = stderr.lines().filter_map(walk).collect();
        ensure!(!walks.is_empty(), "{} has no number of instructions", path.display());
        Ok((run.to_owned(), walks))
    };
    all.map(read).collect()
}

/// Reads `oom_kill_process: 1176 instructions verified`.
fn walk(line: &str) -> Option<(String, u32)> {
    let (program, walked) = line.strip_suffix(" instructions verified")?.split_once(": ")?;
    Some((program.to_owned(), walked.parse().ok()?))
}

fn longest(walks: impl Iterator<Item = Walks>) -> Walks {
    let mut longest = Walks::new();
    for (program, walked) in walks.flatten() {
        let known = longest.entry(program).or_default();
        *known = walked.max(*known);
    }
    longest
}

fn problems_of(walks: &Walks, stored: &Walks) -> impl Iterator<Item = String> {
    let sum: u32 = walks.values().sum();
    let sum = (sum > MAX_OF_ALL).then(|| {
        format!("the verifier walks {sum} instructions of all programs, the limit is {MAX_OF_ALL}")
    });
    walks.iter().filter_map(|(program, &walked)| problem(program, walked, stored)).chain(sum)
}

fn problem(program: &str, walked: u32, stored: &Walks) -> Option<String> {
    if walked > MAX_OF_PROGRAM {
        return Some(format!("{program}: {walked} instructions, the limit is {MAX_OF_PROGRAM}"));
    }
    let why = match stored.get(program) {
        Some(before) => {
            let slack = (before * GROWTH_PERCENT / 100).max(GROWTH);
            if walked <= before + slack {
                return None;
            }
            format!("{walked} instructions, {before} before")
        }
        None => format!("{walked} instructions, and no stored figure"),
    };
    Some(format!(
        "{program}: {why}\nhint: if it must be so, `cargo xtask fixtures --verified` stores it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walks(of: &[(&str, u32)]) -> Walks {
        of.iter().map(|(program, walked)| ((*program).to_owned(), *walked)).collect()
    }

    fn problems(now: &[(&str, u32)], before: &[(&str, u32)]) -> Vec<String> {
        problems_of(&walks(now), &walks(before)).collect()
    }

    #[test]
    fn longer_walk_than_the_limits_is_a_problem() {
        assert_eq!(problems(&[("a", 50_000)], &[("a", 50_000)]), [""; 0]);
        let found = problems(&[("a", 50_001)], &[("a", 50_001)]);
        assert!(matches!(&found[..], [one] if one.contains("the limit is 50000")), "{found:?}");
        let seven: Vec<(&str, u32)> =
            ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, 43_000)).to_vec();
        let found = problems(&seven, &seven);
        assert!(matches!(&found[..], [one] if one.contains("the limit is 300000")), "{found:?}");
    }

    #[test]
    fn walk_may_grow_by_a_fifth() {
        assert_eq!(problems(&[("a", 1200), ("b", 117)], &[("a", 1000), ("b", 17)]), [""; 0]);
        let found = problems(&[("a", 1201), ("b", 118)], &[("a", 1000), ("b", 17)]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn program_without_a_stored_figure_is_a_problem() {
        let found = problems(&[("new", 10)], &[]);
        assert!(matches!(&found[..], [one] if one.contains("no stored figure")), "{found:?}");
    }

    #[test]
    fn table_that_was_written_is_read() {
        let mut known = BTreeMap::new();
        known.insert("5.10".to_owned(), walks(&[("exit_mmap", 700), ("raw_exit", 1)]));
        known.insert("7.3".to_owned(), walks(&[("exit_mmap", 650)]));
        let text = table(&known).unwrap();
        assert!(text.lines().all(|line| line.len() <= 130));
        assert_eq!(columns(&text), known);
    }

    #[test]
    fn number_is_read_from_the_line_of_verbose() {
        let line = "oom_kill_process: 1176 instructions verified";
        assert_eq!(walk(line), Some(("oom_kill_process".to_owned(), 1176)));
        assert_eq!(walk("oom_kill_process: cannot attach"), None);
    }

    #[test]
    fn stored_numbers_respect_the_limits_on_every_kernel() {
        for (kernel, walks) in stored().unwrap() {
            let longest = walks.iter().max_by_key(|(_, walked)| **walked).unwrap();
            assert!(*longest.1 <= MAX_OF_PROGRAM, "{kernel}: {longest:?}");
        }
    }

    #[test]
    fn every_oomwhy_of_the_sources_is_verbose() {
        for (_, name) in SOURCES {
            let scenario = scenarios::find(name).unwrap();
            assert!(scenario.options.contains(&"-v"), "{name}");
            let mut watchers = scenario.steps.iter().filter_map(Step::watcher);
            assert!(watchers.all(|watcher| watcher.args.contains(&"-v")), "{name}");
        }
    }
}
