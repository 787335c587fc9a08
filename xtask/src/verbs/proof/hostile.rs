//! The proof `hostile`: the memory of oomwhy is bounded, whatever is killed and however long its
//! names are.

use anyhow::{Context as _, Result, ensure};

use super::{Arguments, Figures, Proof, Runner, State};
use crate::verbs::ci::WITHOUT_PROGRAMS;
use crate::{process, workspace};

pub(super) const PROOF: Proof =
    Proof { name: "hostile", page: "docs/overhead.md", short_form: "test", steps, prepare, render };

const STEP: &str = "100,000 kills";
const PEAK: &str = "peak KiB";

fn steps(_: &Arguments) -> Vec<String> {
    vec![STEP.to_owned()]
}

fn prepare() -> Runner {
    Box::new(|_| {
        let mut command = workspace::cargo();
        command.env(WITHOUT_PROGRAMS.0, WITHOUT_PROGRAMS.1);
        command.args(["test", "--release", "-p", "oomwhy", "--test", "bounded_memory", "--"]);
        let output = process::output(command.args(["--ignored", "--nocapture"]))?;
        Ok(Figures::from([(PEAK.to_owned(), peak_kib(&output)?)]))
    })
}

/// The figure that the test prints.
fn peak_kib(output: &str) -> Result<f64> {
    let mut words = output.split_whitespace().skip_while(|word| *word != "peak_kib").skip(1);
    let peak: f64 = words.next().context("the test has printed no peak")?.parse()?;
    ensure!(peak > 0.0, "the peak is {peak} KiB");
    Ok(peak)
}

fn render(state: &State) -> Result<String> {
    let State { commit, date, steps } = state;
    let peak = steps.get(STEP).and_then(|figures| figures.get(PEAK)).context("no figure")?;
    Ok(format!(
        "Proven on {date} at commit `{commit}` by `cargo xtask proof hostile`: after 100,000\n\
         kills the peak of the resident memory was {:.1} MiB, that of the test included. The limit\n\
         is 32 MiB.",
        peak / 1024.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_is_read_from_the_output_of_the_test() {
        let output = "running 1 test\ntest a ... peak_kib 20480\nok\n";
        assert!((peak_kib(output).unwrap() - 20480.0).abs() < 0.1);
        peak_kib("running 0 tests").unwrap_err();
    }

    #[test]
    fn result_has_the_peak_in_mib() {
        let figures = Figures::from([(PEAK.to_owned(), 20480.0)]);
        let steps = [(STEP.to_owned(), figures)].into();
        let state = State { commit: "abc".to_owned(), date: "2026-11-29".to_owned(), steps };
        assert!(render(&state).unwrap().contains("was 20.0 MiB"));
    }
}
