//! The proof `matrix`: every kernel passes all comparisons, several times in a row.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use oomwhy_tests::matrix::{self, Extent};
use oomwhy_tests::plan;

use super::{Arguments, Figures, Proof, Runner, State};
use crate::verbs::test::{self, Scope};
use crate::vm::initramfs::{Archives, Source};

pub(super) const PROOF: Proof =
    Proof { name: "matrix", page: "docs/kernels.md", short_form: "test", steps, prepare, render };

const COMPARISONS: &str = "comparisons";
const SECONDS: &str = "seconds";

/// A round boots all kernels side by side: one kernel's last boot would leave a CPU idle.
fn steps(arguments: &Arguments) -> Vec<String> {
    (1..=arguments.rounds.get()).map(step).collect()
}

fn step(round: usize) -> String {
    format!("round {round}")
}

/// In the first round, each scenario starts its own oomwhy. In the others, scenarios share one, as
/// in `cargo xtask test`, so that an oomwhy with many reports behind it is tested too.
fn prepare() -> Runner {
    let mut archives = Archives::new(Source::default());
    Box::new(move |name| {
        let kernels = matrix::kernels()?;
        let start = Instant::now();
        let share_tracers = name != step(1);
        let scope = Scope { kernels: &kernels, boots: &[], extent: Extent::Whole, share_tracers };
        test::boot_and_compare(scope, &mut archives, None, None)?;
        let comparisons: usize = kernels.iter().map(plan::n_comparisons).sum();
        Ok(Figures::from([
            (COMPARISONS.to_owned(), f64::from(u32::try_from(comparisons)?)),
            (SECONDS.to_owned(), start.elapsed().as_secs_f64()),
        ]))
    })
}

fn render(state: &State) -> Result<String> {
    let State { commit, date, steps } = state;
    let figures = |name| steps.values().filter_map(move |it| it.get(name)).copied();
    let comparisons = figures(COMPARISONS).fold(0.0, f64::max);
    let mut text = format!(
        "Proven on {date} at commit `{commit}` by `cargo xtask proof matrix`: \
         all {comparisons} comparisons\npassed in {} rounds in a row.\n\n| kernel | comparisons per round |\n|---|--:|\n",
        steps.len()
    );
    for kernel in matrix::kernels()? {
        writeln!(text, "| {} | {} |", kernel.name, plan::n_comparisons(&kernel))?;
    }
    let seconds: Vec<String> = figures(SECONDS).map(|it| format!("{it:.0}")).collect();
    writeln!(
        text,
        "\nSeconds per round, with the machines of `cargo xtask test` side by side: {}. In the\n\
         first round each scenario started its own oomwhy; in the others, scenarios shared one.",
        seconds.join(", ")
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_has_date_commit_and_figures() {
        let mut state =
            State { commit: "abc".to_owned(), date: "2026-11-29".to_owned(), ..State::default() };
        for round in 1..=2 {
            let figures = [(COMPARISONS.to_owned(), 70.0), (SECONDS.to_owned(), 60.4)];
            state.steps.insert(step(round), Figures::from(figures));
        }
        let text = render(&state).unwrap();
        assert!(text.starts_with("Proven on 2026-11-29 at commit `abc`"), "{text}");
        assert!(text.contains("all 70 comparisons\npassed in 2 rounds in a row"), "{text}");
        assert!(text.contains("| 6.12-arm64 | ") && text.contains(": 60, 60. "), "{text}");
    }
}
