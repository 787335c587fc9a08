//! Runs scenarios: starts oomwhy, provokes the kills, stores the reports and the kernel's log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use oomwhy_tests::attempts::Attempt;
use oomwhy_tests::facts::{Facts, Seconds, Started, file};
use oomwhy_tests::plan::{GUEST_OOMWHY, HOG};
use oomwhy_tests::report::{n_killed, objects};
use oomwhy_tests::scenario::{
    Comparison, Hierarchy, Peer, Process, Scenario, Step, Until, Watcher,
};
use oomwhy_tests::workload::{READY, Workload, reads_file};
use rustix::process::{Signal, WaitOptions};
use serde_json::Value;

use crate::kernel_log::KernelLog;
use crate::peer::RunningPeer;
use crate::settings::Settings;
use crate::tracer::{self, Tracer};
use crate::{attempts, cgroup, mounts, program, results, wait};

/// The kernel prints at most ten reports in this time (`oom_rs`, mm/oom_kill.c).
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// If no more than this many were printed, there is room for those of a scenario.
const PRINTED_BEFORE: usize = 4;
const TIME_TO_DIE: Duration = Duration::from_mins(1);
/// The time limit for some hundred kills.
const TIME_TO_DIE_TOGETHER: Duration = Duration::from_mins(3);
const TIME_TO_READ: Duration = Duration::from_mins(1);
/// The time limit for reports. A report waits ten seconds for a victim that does not exit.
const TIME_TO_REPORT: Duration = Duration::from_secs(20);

/// Runs scenarios with one oomwhy, one after another, and sends their results, which include their
/// errors.
pub(crate) fn run(scenarios: &[&'static Scenario]) -> Result<()> {
    let (first, last) = scenarios.first().zip(scenarios.last()).context("no scenario")?;
    let mut tracer = Tracer::start(&results::directory(first.name)?, first.options)?;
    let mut acts: Vec<Act> = Vec::new();
    for scenario in scenarios {
        wait::until(LOG_INTERVAL, || has_room_in_log(&acts));
        let begin_ns = if scenario.name == first.name { 0 } else { boottime_ns() };
        let mut stage = Stage::new(scenario, begin_ns, &mut tracer)?;
        stage.is_last = scenario.name == last.name;
        acts.push(act(stage).with_context(|| format!("scenario {}", scenario.name))?);
    }
    share_out(&acts)?;
    acts.iter().try_for_each(|act| results::send(&act.directory))
}

/// The results of a scenario, except for the output of an oomwhy that others share.
struct Act {
    directory: PathBuf,
    begin_ns: u64,
    end: Instant,
    /// Reports that the kernel printed.
    n_printed: usize,
}

/// Whether the kernel will print the reports of the next scenario.
fn has_room_in_log(acts: &[Act]) -> bool {
    let recent = acts.iter().filter(|act| act.end.elapsed() < LOG_INTERVAL);
    recent.map(|act| act.n_printed).sum::<usize>() <= PRINTED_BEFORE
}

fn act(mut stage: Stage<'_>) -> Result<Act> {
    let mut start = Instant::now();
    let mut passed = || std::mem::replace(&mut start, Instant::now()).elapsed().as_secs_f32();
    let (directory, begin_ns) = (stage.directory.clone(), stage.begin_ns);
    let log = KernelLog::follow()?;
    let is_ready = stage.tracer.wait_ready();
    let mut seconds = Seconds { start: passed(), ..Seconds::default() };
    if is_ready {
        stage.perform();
        seconds.steps = passed();
        stage.await_kills();
        seconds.reports = passed();
    } else {
        stage.problem("oomwhy was not ready within a minute");
    }
    let name = stage.scenario.name;
    let outcomes = outcomes(stage.reports());
    let mut facts = stage.strike()?;
    seconds.end = passed();
    facts.seconds = seconds;
    println!("  {name}: {seconds:.1?}; reports: {outcomes:?}");
    let log = log.end()?;
    fs::write(directory.join(file::KMSG), &log)?;
    fs::write(directory.join(file::FACTS), serde_json::to_vec_pretty(&facts)?)?;
    let n_printed = String::from_utf8_lossy(&log).matches(" invoked oom-killer: ").count();
    Ok(Act { directory, begin_ns, end: Instant::now(), n_printed })
}

/// Gives each scenario its part of the output of the oomwhy that they share.
fn share_out(acts: &[Act]) -> Result<()> {
    let [first, others @ ..] = acts else { return Ok(()) };
    let reports = fs::read_to_string(first.directory.join(file::REPORT))?;
    let begins: Vec<u64> = acts.iter().map(|act| act.begin_ns).collect();
    for (act, share) in acts.iter().zip(shares(&reports, &begins)) {
        fs::write(act.directory.join(file::REPORT), share)?;
    }
    for act in others {
        for name in [file::STDERR, file::EXIT] {
            fs::copy(first.directory.join(name), act.directory.join(name))?;
        }
    }
    Ok(())
}

/// The lines of a stream of reports, by the scenario in which the invocation began. A record
/// without a time belongs to the report before it.
fn shares(reports: &str, begins_ns: &[u64]) -> Vec<String> {
    let mut shares = vec![String::new(); begins_ns.len()];
    let mut current = 0;
    for line in reports.split_inclusive('\n') {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(at_ns) = record["boottime_ns"].as_u64() {
            current = begins_ns.partition_point(|begin_ns| *begin_ns <= at_ns).saturating_sub(1);
        }
        if let Some(share) = shares.get_mut(current) {
            share.push_str(line);
        }
    }
    shares
}

pub(crate) fn boottime_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

/// The processes and cgroups of a scenario while it runs.
struct Stage<'a> {
    scenario: &'static Scenario,
    directory: PathBuf,
    /// The time since boot at which it began; 0 if it is the first one of its oomwhy.
    begin_ns: u64,
    /// Whether no other scenario needs its oomwhy.
    is_last: bool,
    tracer: &'a mut Tracer,
    watchers: Vec<(&'static Watcher, Tracer)>,
    replays: Vec<(&'static Watcher, Vec<String>)>,
    peers: Vec<RunningPeer>,
    facts: Facts,
    processes: Vec<Child>,
    settings: Settings,
}

impl<'a> Stage<'a> {
    fn new(scenario: &'static Scenario, begin_ns: u64, tracer: &'a mut Tracer) -> Result<Self> {
        let facts = Facts {
            scenario: scenario.name.to_owned(),
            kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
            oom_kills_before: n_oom_kills(),
            ..Facts::default()
        };
        Ok(Self {
            scenario,
            directory: results::directory(scenario.name)?,
            begin_ns,
            is_last: true,
            tracer,
            watchers: Vec::new(),
            replays: Vec::new(),
            peers: Vec::new(),
            facts,
            processes: Vec::new(),
            settings: Settings::default(),
        })
    }

    fn problem(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("problem: {what}");
        self.facts.problems.push(what);
    }

    fn perform(&mut self) {
        if let Err(error) = self.steps(self.scenario.steps, 0) {
            self.problem(format!("{error:#}"));
        }
    }

    fn steps(&mut self, steps: &'static [Step], round: u32) -> Result<()> {
        for step in steps {
            match step {
                Step::Repeat { times, steps } => {
                    (0..*times).try_for_each(|round| self.steps(steps, round))?;
                }
                step => {
                    self.step(step, round).with_context(|| format!("round {round}, {step:?}"))?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &'static Step, round: u32) -> Result<()> {
        let hierarchy = self.scenario.hierarchy;
        if !matches!(step, Step::Watch(_) | Step::WatchAs { .. }) {
            self.await_watchers()?;
        }
        match step {
            Step::Repeat { .. } => {}
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
                self.settings.mount(kind, target, options)?;
            }
            Step::AwaitScoreReads { count } => {
                wait::until(TIME_TO_READ, || self.n_score_reads() >= *count);
                self.facts.score_reads = self.n_score_reads();
            }
            Step::AwaitReports { outcome, count } => self.await_reports(outcome, *count)?,
            Step::Refused { args, code, says } => refused(args, *code, says)?,
            Step::Copy { from, to } => {
                fs::copy(from, to)?;
            }
            Step::Unmount { target } => mounts::unmount(target)?,
            Step::AwaitDeaths => self.await_deaths()?,
            Step::Rest { seconds } => thread::sleep(Duration::from_secs(*seconds)),
            Step::Swap => {
                self.settings.swap_on()?;
                self.facts.swap_pages = n_swap_pages();
            }
            Step::Write { file, value } => self.settings.write(Path::new(file), value)?,
            step => self.drive(step)?,
        }
        Ok(())
    }

    /// Takes the steps that start or control oomwhy and other programs.
    fn drive(&mut self, step: &'static Step) -> Result<()> {
        match step {
            Step::PauseTracer => self.tracer.signal(Signal::STOP)?,
            Step::ResumeTracer => self.tracer.signal(Signal::CONT)?,
            Step::KillTracer { within_ms, once_ready } => {
                ensure!(!once_ready || self.tracer.wait_ready(), "oomwhy was not ready");
                thread::sleep(random_up_to(*within_ms)?);
                self.tracer.kill()?;
            }
            Step::StopTracer => {
                ensure!(self.tracer.wait_ready(), "oomwhy was not ready");
                let ended = self.tracer.stop()?;
                ensure!(ended == "0", "oomwhy ended with {ended}");
            }
            Step::StartTracer => self.tracer.start_again()?,
            Step::AwaitTracer => ensure!(self.tracer.wait_ready(), "oomwhy was not ready"),
            Step::Peer(peer) => self.start_peer(peer)?,
            Step::OtherBuild { path } => other_build(path)?,
            Step::Attempts(attacker) => {
                let (made, problems) = attempts::run(*attacker, self.tracer, &self.directory)?;
                let why = |it: &Attempt| Some(format!("{}: {}", it.name, it.not_run.as_ref()?));
                self.facts.not_run.extend(made.iter().filter_map(why));
                self.facts.attempts.extend(made);
                for what in problems {
                    self.problem(what);
                }
            }
            Step::Program(program) => program::run(program)?,
            Step::Run(command) => self.run(command)?,
            Step::Watch(watcher) => self.watch(&[], watcher)?,
            Step::WatchAs { launch, watcher } => self.watch(launch, watcher)?,
            Step::Launch(program) => {
                let ended = tracer::run(&self.directory, program)?;
                fs::write(self.directory.join(file::watcher_exit(program.name)), ended + "\n")?;
            }
            other => bail!("{other:?} runs nothing"),
        }
        Ok(())
    }

    fn start_peer(&mut self, peer: &'static Peer) -> Result<()> {
        if let Some(running) = RunningPeer::start(peer, &self.directory)? {
            self.peers.push(running);
            return Ok(());
        }
        let why = format!("{}: the guest has no {}", peer.name, peer.argv[0]);
        println!("not run: {why}");
        self.facts.not_run.push(why);
        Ok(())
    }

    fn await_deaths(&mut self) -> Result<()> {
        let is_dead = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        let are_dead = || self.processes.iter_mut().all(is_dead);
        ensure!(wait::until(TIME_TO_DIE_TOGETHER, are_dead), "some processes are alive");
        // Their pipes would add up to more files than a process may open.
        self.processes.clear();
        Ok(())
    }

    fn await_reports(&self, outcome: &str, count: usize) -> Result<()> {
        let is_there =
            || outcomes(self.reports()).get(outcome).is_some_and(|found| *found >= count);
        ensure!(wait::until(TIME_TO_REPORT, is_there), "{:?}", outcomes(self.reports()));
        Ok(())
    }

    /// Runs a command of oomwhy to its end. It may read files of watchers, so those that end by
    /// themselves must have ended.
    fn run(&mut self, command: &'static Watcher) -> Result<()> {
        let ending = self.watchers.iter_mut().filter(|(watcher, _)| watcher.ends);
        ending.for_each(|(_, tracer)| tracer.wait_ended());
        let mut run = Tracer::watch(&self.directory, command.name, &[], command.args)?;
        run.wait_ended();
        self.keep_exit(command, run.stop()?)
    }

    fn watch(&mut self, launch: &[&str], watcher: &'static Watcher) -> Result<()> {
        let args = watcher.args.iter().map(|arg| self.with_pid(arg)).collect::<Result<Vec<_>>>()?;
        if watcher.replays {
            self.replays.push((watcher, args));
            return Ok(());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let tracer = Tracer::watch(&self.directory, watcher.name, launch, &args)?;
        self.watchers.push((watcher, tracer));
        Ok(())
    }

    /// Waits until all watchers, which start side by side, trace.
    fn await_watchers(&mut self) -> Result<()> {
        for (watcher, tracer) in &mut self.watchers {
            ensure!(tracer.has_been_ready(), "watcher {} is not ready", watcher.name);
        }
        Ok(())
    }

    /// Replaces `{pid:NAME}` in an argument.
    fn with_pid(&self, arg: &str) -> Result<String> {
        let Some(name) = arg.strip_prefix("{pid:").and_then(|rest| rest.strip_suffix('}')) else {
            return Ok(arg.to_owned());
        };
        let known = self.facts.processes.iter().rev().find(|process| process.comm == name);
        Ok(known.with_context(|| format!("no {name} was started"))?.pid.to_string())
    }

    fn start(&mut self, process: &Process, path: &str, until: Until) -> Result<()> {
        let directory = below(self.scenario.hierarchy, path);
        let workload = Workload {
            cgroup: Some(directory),
            oom_score_adj: Some(process.oom_score_adj),
            comm: Some(process.comm.to_owned()),
            uid: (process.uid != 0).then_some(process.uid),
            pause_ms: process.pause_ms,
            pid_namespaces: process.pid_namespaces,
            work: process.work,
        };
        let mut command = Command::new(HOG);
        command.args(workload.args()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("the workload cannot be started")?;
        self.facts.processes.push(Started {
            comm: process.comm.to_owned(),
            pid: child.id(),
            cgroup: path.to_owned(),
            oom_score_adj: process.oom_score_adj,
            uid: process.uid,
            exe: process.work.executable(),
            cmdline: cmdline(&workload),
        });
        let hierarchy = self.scenario.hierarchy;
        let event =
            |name: &str| cgroup::events(hierarchy, path).get(name).copied().unwrap_or_default();
        let awaited = match until {
            Until::Started => true,
            Until::Ready => await_ready(&mut child),
            Until::Waiting => wait::until(TIME_TO_DIE, || event("under_oom") > 0),
            Until::Killed => wait::until(TIME_TO_DIE, || !matches!(child.try_wait(), Ok(None))),
            Until::OutOfMemory { times } => wait::until(TIME_TO_DIE, || event("oom") >= times),
        };
        self.processes.push(child);
        ensure!(awaited, "{} was not {until:?}", process.comm);
        Ok(())
    }

    fn n_score_reads(&self) -> u64 {
        let paths = self.facts.processes.iter().map(|process| reads_file(process.pid));
        let counts =
            paths.filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
        counts.sum()
    }

    fn await_kills(&mut self) {
        // A tracer that was started again may not trace yet.
        if !self.tracer.wait_ready() {
            self.problem("oomwhy was not ready again");
        }
        let wanted = self.scenario.n_kills();
        let before = self.facts.oom_kills_before;
        if !wait::until(TIME_TO_REPORT, || n_oom_kills() - before >= wanted) {
            self.problem(format!("the kernel killed {} of {wanted}", n_oom_kills() - before));
        }
        if self.scenario.comparison == Comparison::Losses {
            // The number of reports is unknown, but the report of the last kill is the last one.
            wait::until(TIME_TO_REPORT, || self.is_last_reported());
            return;
        }
        let reported = self.scenario.n_traced_kills();
        if !wait::until(TIME_TO_REPORT, || self.n_reported() >= reported) {
            self.problem(format!("oomwhy reported {} of {reported}", self.n_reported()));
        }
    }

    fn is_last_reported(&self) -> bool {
        let last = self.facts.processes.last().map(|process| process.pid);
        let is_last = |report: Value| last.is_some_and(|pid| report["victims"][0]["pid"] == pid);
        self.reports().any(is_last)
    }

    fn n_reported(&self) -> u64 {
        n_killed(self.reports())
    }

    /// The reports of this scenario so far.
    fn reports(&self) -> impl Iterator<Item = Value> {
        let reports = fs::read_to_string(self.tracer.stdout()).unwrap_or_default();
        let is_mine =
            |report: &Value| report["boottime_ns"].as_u64().unwrap_or_default() >= self.begin_ns;
        objects(&reports).filter(is_mine).collect::<Vec<_>>().into_iter()
    }

    fn keep_events(&mut self, path: &str) {
        let events = cgroup::events(self.scenario.hierarchy, path);
        if let Some(cgroup) = self.facts.cgroups.iter_mut().rev().find(|known| known.path == path) {
            cgroup.events = events;
        }
    }

    fn keep_exit(&self, of: &Watcher, ended: String) -> Result<()> {
        let path = self.directory.join(file::watcher_exit(of.name));
        fs::write(&path, ended + "\n").with_context(|| format!("{} is not kept", path.display()))
    }

    /// Ends every oomwhy that no other scenario needs, and removes processes and cgroups.
    fn strike(mut self) -> Result<Facts> {
        for (watcher, mut tracer) in std::mem::take(&mut self.watchers) {
            if watcher.ends {
                tracer.wait_ended();
            }
            let ended = tracer.stop()?;
            self.keep_exit(watcher, ended)?;
        }
        if self.is_last {
            let ended = self.tracer.stop()? + "\n";
            fs::write(self.tracer.stdout().with_file_name(file::EXIT), ended)?;
        }
        for (watcher, args) in std::mem::take(&mut self.replays) {
            let ended = tracer::replay(&self.directory, watcher.name, &args)?;
            self.keep_exit(watcher, ended)?;
        }
        if let Some(unpin) = &self.scenario.unpin
            && let Err(error) = program::run(unpin)
        {
            self.problem(format!("{error:#}"));
        }
        for peer in std::mem::take(&mut self.peers) {
            peer.stop()?;
        }
        self.facts.oom_kills_after = n_oom_kills();
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        // Child cgroups come after their parents, and are removed before them.
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
        // Orphans of workloads became children of PID 1.
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        if let Err(error) = self.settings.restore() {
            self.facts.problems.push(format!("{error:#}"));
        }
        Ok(self.facts)
    }
}

fn below(hierarchy: Hierarchy, path: &str) -> String {
    format!("{}{path}", hierarchy.mount_point())
}

/// The final command line in /proc.
fn cmdline(workload: &Workload) -> Vec<String> {
    let words = [HOG].into_iter().chain(workload.work.words_before().iter().copied());
    words.map(str::to_owned).chain(workload.args()).collect()
}

fn random_up_to(limit_ms: u64) -> Result<Duration> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Duration::from_micros(u64::from_le_bytes(bytes) % (limit_ms * 1000 + 1)))
}

/// Changes the license of the probes to another one that the kernel accepts, so that they differ
/// and do the same.
fn other_build(path: &str) -> Result<()> {
    const LICENSE: &[u8] = b"Dual MIT/GPL\0";
    let mut program = fs::read(GUEST_OOMWHY)?;
    let found = program.windows(LICENSE.len()).enumerate().filter(|(_, bytes)| *bytes == LICENSE);
    let offsets: Vec<usize> = found.map(|(offset, _)| offset).collect();
    ensure!(offsets.len() == 1, "the license is in {} places", offsets.len());
    for offset in offsets {
        program[offset..offset + LICENSE.len()].copy_from_slice(b"Dual BSD/GPL\0");
    }
    fs::write(path, program)?;
    fs::set_permissions(path, fs::metadata(GUEST_OOMWHY)?.permissions())?;
    Ok(())
}

/// Checks that oomwhy ends with this code and prints this text.
fn refused(args: &[&str], code: i32, says: &str) -> Result<()> {
    let output = Command::new(GUEST_OOMWHY).args(args).stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_refused = output.status.code() == Some(code) && stderr.contains(says);
    ensure!(is_refused, "{args:?} ended with {}: {stderr}", tracer::describe(output.status));
    Ok(())
}

fn numbered(path: &str, round: u32) -> String {
    path.replace("{n}", &round.to_string())
}

/// The number of reports of each outcome so far, for the console.
fn outcomes(reports: impl Iterator<Item = Value>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::<String, usize>::new();
    for report in reports {
        let what = report["outcome"].as_str().or(report["type"].as_str());
        *counts.entry(what.unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

fn await_ready(child: &mut Child) -> bool {
    // The pipe is closed when the child dies, so the loop ends in any case.
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == READY)
}

fn n_oom_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or_default()
}

/// The size of the swap, used or not, pages of 4 KiB.
fn n_swap_pages() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        |line: &str| line.strip_prefix("SwapTotal:")?.trim().strip_suffix(" kB")?.parse().ok();
    meminfo.lines().find_map(kib).unwrap_or(0_u64) / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_gets_the_reports_of_its_time() {
        let reports = [
            r#"{"type":"oom","boottime_ns":5}"#,
            r#"{"type":"oom","boottime_ns":25}"#,
            r#"{"type":"loss"}"#,
            // It was finished after a later one.
            r#"{"type":"oom","boottime_ns":19}"#,
            r#"{"type":"oom","boottime_ns":20}"#,
        ];
        let text = reports.map(|report| format!("{report}\n")).concat();
        let shares = shares(&text, &[0, 10, 20]);
        let numbers: Vec<Vec<&str>> = shares.iter().map(|share| share.lines().collect()).collect();
        let [first, second, third, fourth, fifth] = reports;
        assert_eq!(numbers, [vec![first], vec![fourth], vec![second, third, fifth]]);
    }
}
