//! Runs one scenario: oomwhy watches, the steps provoke the kills, both accounts are kept.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::facts::{Facts, Started, file};
use oomwhy_tests::report::n_killed;
use oomwhy_tests::scenario::{Process, Scenario, Step, Until};
use oomwhy_tests::workload::{READY, Workload};

use crate::kernel_log::KernelLog;
use crate::tracer::Tracer;
use crate::{cgroup, results, wait};

const TIME_TO_DIE: Duration = Duration::from_mins(1);
const TIME_TO_REPORT: Duration = Duration::from_secs(10);

/// Runs a scenario and sends its results. What goes wrong in it is one of the results.
pub(crate) fn run(scenario: &'static Scenario) -> Result<()> {
    let directory = results::directory(scenario.name)?;
    let mut log = KernelLog::at_end()?;
    let mut stage = Stage::new(scenario);
    let mut tracer = Tracer::start(&directory, scenario.protect_tracer)?;
    if tracer.wait_ready(&directory) {
        stage.perform();
        stage.await_kills(&directory);
    } else {
        stage.problem("oomwhy was not ready within 20 s");
    }
    fs::write(directory.join(file::EXIT), tracer.stop()? + "\n")?;
    fs::write(directory.join(file::KMSG), log.read()?)?;
    let facts = stage.strike();
    fs::write(directory.join(file::FACTS), serde_json::to_vec_pretty(&facts)?)?;
    results::send(&directory)
}

/// The processes and cgroups of a scenario while it runs.
struct Stage {
    scenario: &'static Scenario,
    facts: Facts,
    processes: Vec<Child>,
}

impl Stage {
    fn new(scenario: &'static Scenario) -> Self {
        let facts = Facts {
            scenario: scenario.name.to_owned(),
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            oom_kills_before: n_oom_kills(),
            ..Facts::default()
        };
        Self { scenario, facts, processes: Vec::new() }
    }

    fn problem(&mut self, what: impl Into<String>) {
        self.facts.problems.push(what.into());
    }

    fn perform(&mut self) {
        for round in 0..self.scenario.rounds {
            for step in self.scenario.steps {
                if let Err(error) = self.step(step, round) {
                    self.problem(format!("round {round}, {step:?}: {error:#}"));
                    return;
                }
            }
        }
    }

    fn step(&mut self, step: &Step, round: u32) -> Result<()> {
        let hierarchy = self.scenario.hierarchy;
        match step {
            Step::Cgroup { path, limits } => {
                let cgroup = cgroup::make(hierarchy, &numbered(path, round), limits)?;
                self.facts.cgroups.push(cgroup);
            }
            Step::RemoveCgroup { path } => {
                let path = numbered(path, round);
                self.keep_events(&path);
                cgroup::remove(hierarchy, &path)?;
            }
            Step::Start { process, until } => {
                self.start(process, &numbered(process.cgroup, round), *until)?;
            }
            Step::Sysctl { name, value } => {
                fs::write(format!("/proc/sys/{name}"), value)
                    .with_context(|| format!("{name} cannot be set"))?;
            }
        }
        Ok(())
    }

    fn start(&mut self, process: &Process, path: &str, until: Until) -> Result<()> {
        let directory = cgroup::directory(self.scenario.hierarchy, path);
        let workload = Workload {
            cgroup: Some(directory.display().to_string()),
            oom_score_adj: Some(process.oom_score_adj),
            comm: Some(process.comm.to_owned()),
            uid: (process.uid != 0).then_some(process.uid),
            pause_ms: None,
            work: process.work,
        };
        let mut child = Command::new("/bin/hog")
            .args(workload.args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the workload cannot be started")?;
        self.facts.processes.push(Started {
            comm: process.comm.to_owned(),
            pid: child.id(),
            cgroup: path.to_owned(),
            oom_score_adj: process.oom_score_adj,
            uid: process.uid,
        });
        let awaited = match until {
            Until::Ready => await_ready(&mut child),
            Until::Killed => wait::until(TIME_TO_DIE, || !matches!(child.try_wait(), Ok(None))),
        };
        self.processes.push(child);
        ensure!(awaited, "{} was not {until:?}", process.comm);
        Ok(())
    }

    fn await_kills(&mut self, directory: &Path) {
        let wanted = self.scenario.n_kills();
        let before = self.facts.oom_kills_before;
        if !wait::until(TIME_TO_REPORT, || n_oom_kills() - before >= wanted) {
            self.problem(format!("the kernel killed {} of {wanted}", n_oom_kills() - before));
        }
        let report = directory.join(file::REPORT);
        let n_reported = || n_killed(&fs::read_to_string(&report).unwrap_or_default());
        if !wait::until(TIME_TO_REPORT, || n_reported() >= wanted) {
            self.problem(format!("oomwhy reported {} of {wanted}", n_reported()));
        }
    }

    fn keep_events(&mut self, path: &str) {
        let events = cgroup::events(self.scenario.hierarchy, path);
        if let Some(cgroup) = self.facts.cgroups.iter_mut().rev().find(|known| known.path == path) {
            cgroup.events = events;
        }
    }

    /// Clears the stage for the next scenario.
    fn strike(mut self) -> Facts {
        self.facts.oom_kills_after = n_oom_kills();
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        // Children come after their parents, and go before them.
        let paths: Vec<String> =
            self.facts.cgroups.iter().rev().map(|cgroup| cgroup.path.clone()).collect();
        for path in paths {
            if cgroup::directory(self.scenario.hierarchy, &path).exists() {
                self.keep_events(&path);
                if let Err(error) = cgroup::remove(self.scenario.hierarchy, &path) {
                    self.problem(format!("{error:#}"));
                }
            }
        }
        self.facts
    }
}

fn numbered(path: &str, round: u32) -> String {
    path.replace("{n}", &round.to_string())
}

fn await_ready(child: &mut Child) -> bool {
    // The pipe closes when the child dies, so this ends in any case.
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == READY)
}

fn n_oom_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or_default()
}
