//! One test per kernel and scenario: compares oomwhy's reports in the virtual machine with the
//! kernel's log. `cargo xtask test` boots the machines first and runs this afterwards.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use oomwhy_tests::facts::{Facts, file};
use oomwhy_tests::matrix::{Extent, Gap};
use oomwhy_tests::oracle::{
    Account, BOOT_ERROR, BOOTS_VARIABLE, COUNTED, Coverage, KERNELS_VARIABLE, RESULTS_VARIABLE,
    WHOLE_VARIABLE, compare, coverage,
};
use oomwhy_tests::scenario::Step;
use oomwhy_tests::{matrix, plan, report, scenarios, support, verified};

/// The file with the share of tasks that have each part of their identity.
const COVERAGE: &str = "coverage.txt";
/// One wrong assumption can cause a hundred disagreements.
const DISAGREEMENTS_SHOWN: usize = 20;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let trials = match env::var_os(RESULTS_VARIABLE) {
        Some(results) => trials(Path::new(&results))?,
        // A plain `cargo test` boots nothing, which is neither a failure nor a success.
        None => vec![
            Trial::test("real OOM kills (run by cargo xtask test)", || Ok(()))
                .with_ignored_flag(true),
        ],
    };
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn trials(results: &Path) -> Result<Vec<Trial>> {
    let (kernels, boots) = (names(KERNELS_VARIABLE), names(BOOTS_VARIABLE));
    let is_whole = env::var_os(WHOLE_VARIABLE).is_some();
    let extent = if is_whole { Extent::Whole } else { Extent::Short };
    let mut trials = Vec::new();
    for kernel in matrix::select(&kernels, extent)? {
        for boot in plan::boots(&kernel, &boots) {
            if boot.name == support::BOOT {
                let (results, name) = (results.to_owned(), kernel.name.clone());
                trials.push(Trial::test(format!("{name}::support_table"), move || {
                    support::check(&results, &name).map_err(|error| format!("{error:#}").into())
                }));
            }
            if let Some(scenario) = verified::scenario(&kernel, boot.name) {
                let (results, name, boot) = (results.to_owned(), kernel.name.clone(), boot.name);
                trials.push(Trial::test(format!("{name}::verified_walk_of_{boot}"), move || {
                    verified::check(&results, &name, boot, scenario)
                        .map_err(|error| format!("{error:#}").into())
                }));
            }
            for scenario in boot.scenarios_on(&kernel) {
                let boot = results.join(&kernel.name).join(boot.name);
                let name = format!("{}::{scenario}", kernel.name);
                let gap = kernel.gaps.get(scenario).cloned();
                trials.push(Trial::test(name, move || check(&boot, scenario, gap.as_ref())));
            }
        }
    }
    Ok(trials)
}

fn names(variable: &str) -> Vec<String> {
    let names = env::var(variable).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn check(boot: &Path, name: &str, gap: Option<&Gap>) -> Result<(), Failed> {
    let disagreements = disagreements(boot, name).map_err(|error| format!("{error:#}"))?;
    match gap {
        Some(gap) if gap.explains(&disagreements) => return Ok(()),
        Some(gap) if disagreements.is_empty() => {
            return Err(format!("the gap is closed: {} (tests/kernels.toml)", gap.why).into());
        }
        None if disagreements.is_empty() => return Ok(()),
        _ => {}
    }
    let stderr = fs::read_to_string(boot.join(name).join(file::STDERR)).unwrap_or_default();
    let shown = &disagreements[..disagreements.len().min(DISAGREEMENTS_SHOWN)];
    Err(format!(
        "oomwhy and the kernel disagree {} times:\n  {}\noomwhy's stderr:\n{stderr}",
        disagreements.len(),
        shown.join("\n  ")
    )
    .into())
}

fn disagreements(boot: &Path, name: &str) -> Result<Vec<String>> {
    let directory = boot.join(name);
    let read = |name: &str| {
        let path = directory.join(name);
        let content = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        content.with_context(|| match fs::read_to_string(boot.join(BOOT_ERROR)) {
            Ok(error) => format!("the kernel was not booted: {error}"),
            Err(_) => format!("{} is missing", path.display()),
        })
    };
    let facts: Facts = serde_json::from_str(&read(file::FACTS)?)?;
    let scenario = scenarios::find(name).with_context(|| format!("no scenario {name}"))?;
    let mut watchers = BTreeMap::new();
    for step in scenario.steps {
        let name = match step {
            Step::Launch(program) => Some(program.name),
            step => step.watcher().map(|watcher| watcher.name),
        };
        if let Some(name) = name {
            let stdout = read(&file::watcher_stdout(name))?;
            let exit = read(&file::watcher_exit(name))?;
            watchers.insert(name.to_owned(), (stdout, exit));
        }
        if let Step::Peer(peer) = step
            && let Ok(output) = read(&file::watcher_stdout(peer.name))
        {
            watchers.insert(peer.name.to_owned(), (output, String::new()));
        }
    }
    for reason in &facts.not_run {
        writeln!(io::stdout(), "{}, {name}: not run: {reason}", facts.kernel_release)?;
    }
    let report = read(file::REPORT)?;
    if COUNTED.contains(&name) {
        let kills: Vec<_> = report::objects(&report).filter(report::is_kill).collect();
        let counts = coverage(&kills);
        let line =
            |Coverage { part, present, all }: &Coverage| format!("{part} {present} of {all}");
        let text = counts.iter().map(line).collect::<Vec<_>>().join(", ");
        writeln!(io::stdout(), "{}, {name}: {text}", facts.kernel_release)?;
        fs::write(boot.join(name).join(COVERAGE), text + "\n")?;
    }
    let account = Account {
        facts: &facts,
        kmsg: &read(file::KMSG)?,
        report: &report,
        exit: &read(file::EXIT)?,
        watchers: &watchers,
    };
    Ok(compare(scenario, &account))
}
