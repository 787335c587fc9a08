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

/// One round. A step boots all kernels side by side: one machine would leave a CPU idle.
fn steps(_: &Arguments) -> Vec<String> {
    CPUS.map(step).to_vec()
}

fn step(cpus: &str) -> String {
    format!("CPUs {cpus}")
}

/// The name of a figure of a boot on a kernel.
fn of_boot(kernel: &str, boot: &str, figure: &str) -> String {
    format!("{kernel}, {boot}: {figure}")
}

fn prepare() -> Runner {
    let mut archives = Archives::new(Source::default());
    Box::new(move |name| {
        let cpus = CPUS.into_iter().find(|cpus| step(cpus) == name).context("no such step")?;
        let kernels = matrix::select(&KERNELS.map(str::to_owned), Extent::Whole)?;
        let boots = BOOTS.map(|(boot, _)| boot.to_owned());
        let scope =
            Scope { kernels: &kernels, boots: &boots, extent: Extent::Whole, share_tracers: false };
        let start = Instant::now();
        test::boot_and_compare(scope, &mut archives, None, Some(cpus))?;
        let mut figures = Figures::from([(SECONDS.to_owned(), start.elapsed().as_secs_f64())]);
        for kernel in KERNELS {
            for (boot, scenarios) in BOOTS {
                let results = workspace::vm_results()?.join(kernel).join(boot);
                for scenario in scenarios {
                    let reports = results.join(scenario).join("report.jsonl");
                    add(&mut figures, &reports, [kernel, boot])?;
                }
            }
        }
        Ok(figures)
    })
}

/// Adds the kills of a scenario, and the reports from which details were shed.
fn add(figures: &mut Figures, reports: &Path, [kernel, boot]: [&str; 2]) -> Result<()> {
    let content = fs::read_to_string(reports)
        .with_context(|| format!("{} cannot be read", reports.display()))?;
    let kills: Vec<Value> = report::objects(&content).filter(report::is_kill).collect();
    let n_shed = kills.iter().filter(|report| !report["source"]["shed"].is_null()).count();
    let n_kills = u32::try_from(report::n_killed(report::objects(&content)))?;
    let mut add = |name, count| {
        *figures.entry(of_boot(kernel, boot, name)).or_default() += f64::from(count);
    };
    add(KILLS, n_kills);
    add(SHED, u32::try_from(n_shed)?);
    Ok(())
}

fn render(state: &State) -> Result<String> {
    let mut table = format!("| kernel | CPUs | {KILLS} | lost | {SHED} |\n|---|--:|--:|--:|--:|\n");
    for (boot, _) in BOOTS {
        for kernel in KERNELS {
            for cpus in CPUS {
                let figures = state.steps.get(&step(cpus)).context("a step has no figures")?;
                let figure = |name| figures.get(&of_boot(kernel, boot, name)).copied();
                let kills = figure(KILLS).context("a boot has no figures")?;
                let shed = figure(SHED).context("a boot has no figures")?;
                // The step has failed if a kill was lost.
                writeln!(table, "| {kernel} | {cpus} | {kills} | 0 | {shed} |")?;
            }
        }
    }
    let seconds = state.steps.values().filter_map(|it| it.get(SECONDS));
    let seconds: Vec<String> = seconds.map(|it| format!("{it:.0}")).collect();
    let State { commit, date, .. } = state;
    Ok(format!(
        "Proven on {date} at commit `{commit}` by `cargo xtask proof burst`: every line\n\
         \"Killed process\" of the kernel's log has a victim in exactly one report. Half of the\n\
         kills of each row are seen with fentry, half with kprobes.\n\n{table}\n\
         Seconds per number of CPUs, with all kernels side by side: {}.",
        seconds.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_has_a_row_for_each_kernel_number_of_cpus_and_size() {
        let mut state =
            State { commit: "abc".to_owned(), date: "2026-11-29".to_owned(), ..State::default() };
        let mut figures = Figures::from([(SECONDS.to_owned(), 60.4)]);
        for (boot, _) in BOOTS {
            for kernel in KERNELS {
                figures.insert(of_boot(kernel, boot, KILLS), 800.0);
                figures.insert(of_boot(kernel, boot, SHED), 7.0);
            }
        }
        state.steps.extend(CPUS.map(|cpus| (step(cpus), figures.clone())));
        let text = render(&state).unwrap();
        assert!(text.starts_with("Proven on 2026-11-29 at commit `abc`"), "{text}");
        assert_eq!(text.matches("| 800 | 0 | 7 |").count(), 18, "{text}");
        assert!(text.ends_with(": 60, 60, 60."), "{text}");
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
