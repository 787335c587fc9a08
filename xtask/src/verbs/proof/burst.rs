//! The proof `burst`: no kill is lost at the highest rate that the machine can make.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use oomwhy_tests::matrix::{self, Extent};
use oomwhy_tests::report;
use serde_json::Value;

use super::{Arguments, Figures, Proof, Runner, State};
use crate::verbs::test::{self, Scope};
use crate::vm::initramfs::{Archives, Source};
use crate::workspace;

pub(super) const PROOF: Proof =
    Proof { name: "burst", page: "docs/overhead.md", short_form: "test", steps, prepare, render };

const KERNELS: [&str; 3] = ["5.10", "6.12", "7.3"];
const CPUS: [&str; 3] = ["1", "2", "4"];
/// Names of boots (tests/src/plan.rs), and the scenarios whose figures are shown.
const BOOTS: [(&str, [&str; 2]); 2] = [
    ("burst", ["burst", "burst_kprobe"]),
    ("burst-of-10000", ["burst_of_10000", "burst_of_10000_kprobe"]),
];

const KILLS: &str = "kills";
const SHED: &str = "reports with less detail";
const SECONDS: &str = "seconds";

/// One round: each step has its own kernel, CPUs and number of kills.
fn steps(_: &Arguments) -> Vec<String> {
    let mut steps = Vec::new();
    for (boot, _) in BOOTS {
        for kernel in KERNELS {
            steps.extend(CPUS.map(|cpus| step(kernel, cpus, boot)));
        }
    }
    steps
}

fn step(kernel: &str, cpus: &str, boot: &str) -> String {
    format!("kernel {kernel}, CPUs {cpus}, boot {boot}")
}

fn prepare() -> Runner {
    let mut archives = Archives::new(Source::default());
    Box::new(move |name| {
        let all = KERNELS.iter().flat_map(|kernel| {
            CPUS.iter().flat_map(move |cpus| BOOTS.map(|boot| (*kernel, *cpus, boot)))
        });
        let (kernel, cpus, (boot, scenarios)) = all
            .into_iter()
            .find(|(kernel, cpus, (boot, _))| step(kernel, cpus, boot) == name)
            .context("no such step")?;
        let (kernels, boots) =
            (matrix::select(&[kernel.to_owned()], Extent::Whole)?, [boot.to_owned()]);
        let scope = Scope { kernels: &kernels, boots: &boots, extent: Extent::Whole };
        let start = Instant::now();
        test::boot_and_compare(scope, &mut archives, None, Some(cpus))?;
        let results = workspace::vm_results()?.join(kernel).join(boot);
        let mut figures = Figures::from([(SECONDS.to_owned(), start.elapsed().as_secs_f64())]);
        for scenario in scenarios {
            add(&mut figures, &results.join(scenario).join("report.jsonl"))?;
        }
        Ok(figures)
    })
}

/// Adds the kills of a scenario, and the reports from which details were shed.
fn add(figures: &mut Figures, reports: &Path) -> Result<()> {
    let content = fs::read_to_string(reports)
        .with_context(|| format!("{} cannot be read", reports.display()))?;
    let kills: Vec<Value> = report::objects(&content).filter(report::is_kill).collect();
    let n_shed = kills.iter().filter(|report| !report["source"]["shed"].is_null()).count();
    let n_kills = u32::try_from(report::n_killed(report::objects(&content)))?;
    *figures.entry(KILLS.to_owned()).or_default() += f64::from(n_kills);
    *figures.entry(SHED.to_owned()).or_default() += f64::from(u32::try_from(n_shed)?);
    Ok(())
}

fn render(state: &State) -> Result<String> {
    let mut table = format!("| kernel | CPUs | {KILLS} | lost | {SHED} | {SECONDS} |\n");
    table.push_str("|---|--:|--:|--:|--:|--:|\n");
    for (boot, _) in BOOTS {
        for kernel in KERNELS {
            for cpus in CPUS {
                let Some(figures) = state.steps.get(&step(kernel, cpus, boot)) else { continue };
                let figure = |name| figures.get(name).copied().unwrap_or_default();
                let (kills, shed, seconds) = (figure(KILLS), figure(SHED), figure(SECONDS));
                // The step has failed if a kill was lost.
                writeln!(table, "| {kernel} | {cpus} | {kills} | 0 | {shed} | {seconds:.0} |")?;
            }
        }
    }
    let State { commit, date, .. } = state;
    Ok(format!(
        "Proven on {date} at commit `{commit}` by `cargo xtask proof burst`: every line\n\
         \"Killed process\" of the kernel's log has a victim in exactly one report. Half of the\n\
         kills of each row are seen with fentry, half with kprobes.\n\n{table}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_has_a_row_for_each_kernel_number_of_cpus_and_size() {
        let mut state =
            State { commit: "abc".to_owned(), date: "2026-11-29".to_owned(), ..State::default() };
        for (boot, _) in BOOTS {
            for kernel in KERNELS {
                for cpus in CPUS {
                    let figures = [(KILLS.to_owned(), 800.0), (SECONDS.to_owned(), 60.4)];
                    state.steps.insert(step(kernel, cpus, boot), Figures::from(figures));
                }
            }
        }
        let text = render(&state).unwrap();
        assert!(text.starts_with("Proven on 2026-11-29 at commit `abc`"), "{text}");
        assert_eq!(text.matches("| 800 | 0 | 0 | 60 |").count(), 18, "{text}");
    }

    #[test]
    fn each_boot_is_known_to_its_kernels() {
        for kernel in matrix::kernels().unwrap() {
            let boots = BOOTS.map(|(boot, _)| boot.to_owned());
            let found = oomwhy_tests::plan::boots(&kernel, &boots).count();
            assert_eq!(found, if KERNELS.contains(&kernel.name.as_str()) { 2 } else { 0 });
        }
    }
}
