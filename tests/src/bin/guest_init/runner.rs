//! Runs one scenario: oomwhy watches, the steps provoke the kills, both accounts are kept.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use oomwhy_tests::facts::{Facts, Started, file};
use oomwhy_tests::plan::HOG;
use oomwhy_tests::report::n_killed;
use oomwhy_tests::scenario::{Process, Scenario, Step, Until};
use oomwhy_tests::workload::{READY, Workload};
use rustix::process::WaitOptions;

use crate::kernel_log::KernelLog;
use crate::tracer::Tracer;
use crate::settings::Settings;
use crate::{cgroup, mounts, results, wait};

const TIME_TO_DIE: Duration = Duration::from_mins(1);
const TIME_TO_REPORT: Duration = Duration::from_secs(10);

/// Runs a scenario and sends its results. What goes wrong in it is one of the results.
pub(crate) fn run(scenario: &'static Scenario) -> Result<()> {
    let directory = results::directory(scenario.name)?;
    let mut log = KernelLog::at_end()?;
    let mut stage = Stage::new(scenario);
    let mut tracer = Tracer::start(&directory, scenario.options)?;
    if tracer.wait_ready(&directory) {
        stage.perform();
        stage.await_kills(&directory);
    } else {
        stage.problem("oomwhy was not ready within 20 s");
    }
    let ended = tracer.stop().context("oomwhy cannot be stopped")?;
    fs::write(directory.join(file::EXIT), ended + "\n").context("no exit code")?;
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
    settings: Settings,
    mounted: Vec<&'static str>,
}

impl Stage {
    fn new(scenario: &'static Scenario) -> Self {
        let facts = Facts {
            scenario: scenario.name.to_owned(),
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            oom_kills_before: n_oom_kills(),
            swap_pages: n_swap_pages(),
            ..Facts::default()
        };
        Self {
            scenario,
            facts,
            processes: Vec::new(),
            settings: Settings::default(),
            mounted: Vec::new(),
        }
    }

    fn problem(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("problem: {what}");
        self.facts.problems.push(what);
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

    fn step(&mut self, step: &'static Step, round: u32) -> Result<()> {
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
            Step::Mount { kind, target, options } => {
                mounts::mount(kind, target, options)?;
                self.mounted.push(target);
            }
            Step::Write { file, value } => self.settings.write(Path::new(file), value)?,
        }
        Ok(())
    }

    fn start(&mut self, process: &Process, path: &str, until: Until) -> Result<()> {
        let directory = format!("{}{path}", self.scenario.hierarchy.mount_point());
        let workload = Workload {
            cgroup: Some(directory),
            oom_score_adj: Some(process.oom_score_adj),
            comm: Some(process.comm.to_owned()),
            uid: (process.uid != 0).then_some(process.uid),
            pause_ms: None,
            work: process.work,
        };
        let mut command = Command::new(HOG);
        command.args(workload.args()).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = if process.new_pid_namespace {
            spawn_in_new_pid_namespace(command)
        } else {
            Ok(command.spawn()?)
        };
        let mut child = child.context("the workload cannot be started")?;
        self.facts.processes.push(Started {
            comm: process.comm.to_owned(),
            pid: child.id(),
            cgroup: path.to_owned(),
            oom_score_adj: process.oom_score_adj,
            uid: process.uid,
        });
        let hierarchy = self.scenario.hierarchy;
        let n_out = || cgroup::events(hierarchy, path).get("oom").copied().unwrap_or_default();
        let awaited = match until {
            Until::Started => true,
            Until::Ready => await_ready(&mut child),
            Until::Killed => wait::until(TIME_TO_DIE, || !matches!(child.try_wait(), Ok(None))),
            Until::OutOfMemory { times } => wait::until(TIME_TO_DIE, || n_out() >= times),
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
                if let Err(error) = cgroup::clear(self.scenario.hierarchy, &path) {
                    self.problem(format!("{error:#}"));
                }
            }
        }
        // Children of workloads became those of PID 1.
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        for target in self.mounted.iter().rev() {
            if let Err(error) = mounts::unmount(target) {
                self.facts.problems.push(format!("{error:#}"));
            }
        }
        if let Err(error) = self.settings.restore() {
            self.facts.problems.push(format!("{error:#}"));
        }
        self.facts
    }
}

fn numbered(path: &str, round: u32) -> String {
    path.replace("{n}", &round.to_string())
}

/// A thread's children are the first of the pid namespace that it made.
fn spawn_in_new_pid_namespace(mut command: Command) -> Result<Child> {
    let spawn = move || {
        unshare(CloneFlags::CLONE_NEWPID).context("there are no pid namespaces")?;
        Ok(command.spawn()?)
    };
    match thread::spawn(spawn).join() {
        Ok(child) => child,
        Err(_) => bail!("the thread that starts it panicked"),
    }
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

/// Swap in use or not, pages of 4 KiB.
fn n_swap_pages() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |line: &str| line.strip_prefix("SwapTotal:")?.trim().strip_suffix(" kB")?.parse().ok();
    meminfo.lines().find_map(kib).unwrap_or(0_u64) / 4
}
