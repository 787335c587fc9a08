//! Runs the scripts of `tests/hostile` beside oomwhy, one after another. Each tries to make oomwhy
//! harm its host, and provokes a kill. After each, oomwhy must have reported the kills, those of a
//! neighbor too, and must have opened, printed and kept nothing that it must not.

mod baits;
mod outputs;
mod resources;
mod room;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::attempts::{Attacker, Attempt, DONE, GUEST_DIRECTORY, NOT_RUN, WORKED};
use oomwhy_tests::plan::{BUSYBOX, HOG};
use oomwhy_tests::scenario::Hierarchy;
use serde_json::Value;

use self::outputs::Outputs;
use self::room::{Room, describe_container};
use crate::tracer::Tracer;
use crate::{cgroup, wait};

/// The time limit of a script.
const TIME_TO_ATTEMPT: Duration = Duration::from_mins(1);
/// The time limit for reports. A report waits ten seconds for a victim that does not exit.
const TIME_TO_REPORT: Duration = Duration::from_secs(40);
const TIME_TO_DIE: Duration = Duration::from_secs(20);

const FUSE: &str = "/dev/fuse";

/// The container that nobody attacks from: its kills must always be reported under its name.
const NEIGHBOR: &str = "4eb04eb04eb04eb04eb04eb04eb04eb04eb04eb04eb04eb04eb04eb04eb04eb0";
const NEIGHBOR_NAME: &str = "neighbor";

/// Runs every script of an attacker. Returns the attempts, and what went wrong.
pub(crate) fn run(
    attacker: Attacker,
    tracer: &mut Tracer,
    directory: &Path,
) -> Result<(Vec<Attempt>, Vec<String>)> {
    install_programs()?;
    describe_container(NEIGHBOR, NEIGHBOR_NAME)?;
    let neighbor = format!("/docker/{NEIGHBOR}");
    cgroup::make(Hierarchy::V2, &neighbor, &[("memory.max", "32M")])?;
    let mut attempts = Attempts {
        attacker,
        tracer,
        outputs: Outputs::new(directory),
        made: Vec::new(),
        problems: Vec::new(),
    };
    for (index, name) in attacker.scripts(Path::new(GUEST_DIRECTORY))?.iter().enumerate() {
        attempts.make(index, name).with_context(|| format!("attempt {name}"))?;
    }
    attempts.problems.extend(attempts.outputs.problems_in_all()?);
    cgroup::clear(Hierarchy::V2, &neighbor)?;
    Ok((attempts.made, attempts.problems))
}

/// The commands of a shell, the interpreter under the name that the scripts use, and a device that
/// udev lets everybody open.
fn install_programs() -> Result<()> {
    let installed = Command::new(BUSYBOX).args(["--install", "-s", "/bin"]).status()?;
    ensure!(installed.success(), "busybox cannot install its commands");
    if !Path::new("/bin/python3").exists() {
        symlink("/bin/py-alloc", "/bin/python3")?;
    }
    // Debian's default forbids the links that one of the scripts makes.
    fs::write("/proc/sys/fs/protected_hardlinks", "0")?;
    if Path::new(FUSE).exists() {
        fs::set_permissions(FUSE, Permissions::from_mode(0o666))?;
    }
    Ok(())
}

struct Attempts<'a> {
    attacker: Attacker,
    tracer: &'a mut Tracer,
    outputs: Outputs,
    made: Vec<Attempt>,
    problems: Vec<String>,
}

impl Attempts<'_> {
    fn make(&mut self, index: usize, name: &str) -> Result<()> {
        let start = Instant::now();
        let (n_kills_before, shared_before) = (n_oom_kills(), resources::shared_kib());
        let room = Room::make(self.attacker, index, name)?;
        let mut script = room.start(self.outputs.directory())?;
        let output = script.output.clone();
        let printed = || fs::read_to_string(&output).unwrap_or_default();
        let is_done = || printed().lines().any(|line| line == DONE);
        let mut found = Vec::new();
        if !wait::until(TIME_TO_ATTEMPT, || is_done() || script.has_ended()) {
            found.push("the script did not end".to_owned());
        }
        let n_kills = n_oom_kills() - n_kills_before;
        found.extend(self.check_reports(&room, n_kills));
        found.extend(self.check_neighbor()?);
        found.extend(self.tracer.problem());
        found.extend(resources::problems(self.tracer.pid(), shared_before));
        found.extend(self.outputs.problems()?);
        found.extend(room.opened().into_iter().map(|bait| format!("{bait} was opened")));
        found.extend(printed().lines().filter(|line| line.starts_with(WORKED)).map(str::to_owned));
        if !found.is_empty() {
            found.push(format!("it printed {:?}", printed()));
        }
        room.remove(script)?;
        println!("    {name}: {n_kills} kills, {:.1} s, {found:?}", start.elapsed().as_secs_f32());
        let not_run =
            printed().lines().find_map(|line| line.strip_prefix(NOT_RUN)).map(str::to_owned);
        self.made.push(Attempt { name: name.to_owned(), n_kills, not_run });
        self.problems.extend(found.into_iter().map(|what| format!("{name}: {what}")));
        Ok(())
    }

    /// Each kill has a report, and each report is about the attacker's own cgroups and shows no
    /// name of somebody else.
    fn check_reports(&mut self, room: &Room, n_kills: u64) -> Vec<String> {
        let begin = self.outputs.n_reports();
        let is_own = |report: &&Value| report["boottime_ns"].as_u64() >= Some(room.begin_ns);
        let outputs = &mut self.outputs;
        let are_reported = || outputs.read().is_ok_and(|()| outputs.n_killed(begin) >= n_kills);
        let mut found = Vec::new();
        if !wait::until(TIME_TO_REPORT, are_reported) {
            found.push(format!("{} of {n_kills} kills are reported", outputs.n_killed(begin)));
        }
        let mut owned = Vec::new();
        // A report of an earlier attempt can come late.
        for report in self.outputs.reports(begin).filter(is_own) {
            let victims = report["victims"].as_array().into_iter().flatten();
            let parts = ["trigger", "oom_memcg"].iter().filter_map(|key| report.get(*key));
            owned.extend(victims.chain(parts));
        }
        found.extend(owned.into_iter().filter_map(|part| room.wrong_owner(part)));
        found
    }

    /// A kill in the other container has a report under the name of that container.
    fn check_neighbor(&mut self) -> Result<Vec<String>> {
        let begin = self.outputs.n_reports();
        let group = format!("/sys/fs/cgroup/docker/{NEIGHBOR}");
        let mut hog = Command::new(HOG)
            .args(["--cgroup", &group, "--comm", NEIGHBOR_NAME, "anon", "100"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let is_dead = wait::until(TIME_TO_DIE, || !matches!(hog.try_wait(), Ok(None)));
        let outputs = &mut self.outputs;
        let pid = hog.id();
        let find = |outputs: &Outputs| {
            let mut new = outputs.reports(begin);
            new.find(|report| report["victims"][0]["pid"] == pid).cloned()
        };
        let is_reported = || outputs.read().is_ok_and(|()| find(outputs).is_some());
        if !is_dead || !wait::until(TIME_TO_REPORT, is_reported) {
            return Ok(vec![format!("no report of the neighbor, which is dead: {is_dead}")]);
        }
        let report = find(&self.outputs).unwrap_or_default();
        Ok(wrong_neighbor(&report["victims"][0]).into_iter().collect())
    }
}

fn wrong_neighbor(victim: &Value) -> Option<String> {
    let container = &victim["container"];
    let is_right = victim["comm"] == NEIGHBOR_NAME
        && victim["user"] == "root"
        && victim["exe"] == "/init"
        && container["id"] == NEIGHBOR
        && container["name"] == NEIGHBOR_NAME
        && container["claimed"].is_null()
        && container["nested"].is_null();
    (!is_right).then(|| format!("the neighbor's report is wrong: {victim}"))
}

fn n_oom_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or_default()
}
