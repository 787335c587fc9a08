//! The proof `matrix`: every kernel passes all comparisons, several times in a row.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::{self, Extent};
use oomwhy_tests::plan;

use super::{Arguments, Figures, Proof, Runner, State};
use crate::verbs::test::{self, Scope};
use crate::vm::initramfs::{Archives, Source};

pub(super) const PROOF: Proof =
    Proof { name: "matrix", page: "docs/kernels.md", short_form: "test", steps, prepare, render };

const COMPARISONS: &str = "comparisons";
const SECONDS: &str = "seconds";

fn steps(arguments: &Arguments) -> Result<Vec<String>> {
    let kernels = matrix::kernels()?;
    let round = |round| kernels.iter().map(move |kernel| step(round, &kernel.name));
    Ok((1..=arguments.rounds.get()).flat_map(round).collect())
}

fn step(round: usize, kernel: &str) -> String {
    format!("round {round}, kernel {kernel}")
}

fn kernel_of(step: &str) -> Option<&str> {
    step.split_once(", kernel ").map(|(_, kernel)| kernel)
}

fn prepare() -> Runner {
    let mut archives = Archives::new(Source::default());
    Box::new(move |step| {
        let name = kernel_of(step).context("a step without a kernel")?;
        let kernels = matrix::select(&[name.to_owned()], Extent::Whole)?;
        let start = Instant::now();
        let scope = Scope { kernels: &kernels, boots: &[], extent: Extent::Whole };
        test::boot_and_compare(scope, &mut archives, None)?;
        let comparisons: usize = kernels.iter().map(plan::n_comparisons).sum();
        Ok(Figures::from([
            (COMPARISONS.to_owned(), f64::from(u32::try_from(comparisons)?)),
            (SECONDS.to_owned(), start.elapsed().as_secs_f64()),
        ]))
    })
}

fn render(state: &State) -> Result<String> {
    let mut table =
        "| kernel | comparisons per round | seconds per round |\n|---|--:|---|\n".to_owned();
    let (mut rounds, mut comparisons) = (0, 0.0);
    for kernel in matrix::kernels()? {
        let of_kernel =
            state.steps.iter().filter(|(step, _)| kernel_of(step) == Some(&kernel.name));
        let figures: Vec<&Figures> = of_kernel.map(|(_, figures)| figures).collect();
        let figure = |name| figures.iter().filter_map(move |it| it.get(name)).copied();
        let seconds: Vec<String> = figure(SECONDS).map(|it| format!("{it:.0}")).collect();
        let per_round = figure(COMPARISONS).fold(0.0, f64::max);
        writeln!(table, "| {} | {per_round} | {} |", kernel.name, seconds.join(", "))?;
        (rounds, comparisons) = (figures.len(), comparisons + per_round);
    }
    let State { commit, date, .. } = state;
    Ok(format!(
        "Proven on {date} at commit `{commit}` by `cargo xtask proof matrix`: all {comparisons} comparisons\n\
         passed in {rounds} rounds in a row.\n\n{table}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_has_date_commit_and_figures_of_each_kernel() {
        let mut state =
            State { commit: "abc".to_owned(), date: "2026-11-29".to_owned(), ..State::default() };
        for round in 1..=2 {
            for kernel in matrix::kernels().unwrap() {
                let figures = [(COMPARISONS.to_owned(), 10.0), (SECONDS.to_owned(), 60.4)];
                state.steps.insert(step(round, &kernel.name), Figures::from(figures));
            }
        }
        let text = render(&state).unwrap();
        assert!(text.starts_with("Proven on 2026-11-29 at commit `abc`"), "{text}");
        assert!(text.contains("all 70 comparisons\npassed in 2 rounds in a row"), "{text}");
        assert!(text.contains("| 6.12-arm64 | 10 | 60, 60 |\n"), "{text}");
    }
}
