//! The place of one attempt: its cgroup, its files, and how its script is started.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::attempts::{Attacker, GUEST_DIRECTORY};
use oomwhy_tests::scenario::Hierarchy;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::NEIGHBOR;
use super::baits::Baits;
use crate::launch::{self, JAIL, PLAIN_USER, SESSION};
use crate::runner::boottime_ns;
use crate::{cgroup, jail, mounts, wait};

/// The descriptions of Docker's containers.
const DOCKER: &str = "/var/lib/docker/containers";
/// The limit of each attempt.
const LIMIT: (&str, &str) = ("memory.max", "48M");
/// The cgroup of a user's service manager, whose children are the user's.
const MANAGER: &str = "/user.slice/user-1000.slice/user@1000.service";
/// A service of the system that runs as the user, with a delegated cgroup (`Delegate=yes`).
const SERVICE: &str = "/system.slice/app.service";
/// Scripts with this prefix run in the service.
const IN_SERVICE: &str = "service_";
const TMP: &str = "/tmp";
const RUN_USER: &str = "/run/user/1000";
/// The home directories, with those of the user and of others.
const HOME: &str = "/home";
const TIME_TO_END: Duration = Duration::from_secs(30);

/// Where an attempt is made.
pub(super) struct Room {
    attacker: Attacker,
    /// The time since boot at which it was made.
    pub(super) begin_ns: u64,
    name: String,
    /// The path of its cgroup.
    cgroup: String,
    /// The id of its container.
    id: String,
    baits: Baits,
    /// The directories with a file system for this attempt.
    mounted: Vec<&'static str>,
}

/// A script that runs.
pub(super) struct Script {
    process: Child,
    /// The file with its output.
    pub(super) output: PathBuf,
}

impl Script {
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}

impl Room {
    /// Makes the place for a script.
    pub(super) fn make(attacker: Attacker, index: usize, name: &str) -> Result<Self> {
        let id = format!("{:064x}", 0xdead_0000 + index);
        let cgroup = match attacker {
            Attacker::Container => format!("/docker/{id}"),
            Attacker::User if name.starts_with(IN_SERVICE) => SERVICE.to_owned(),
            Attacker::User => format!("{MANAGER}/attempt-{index}.scope"),
        };
        let (name, baits) = (name.to_owned(), Baits::new()?);
        let begin_ns = boottime_ns();
        let mut room = Self { attacker, begin_ns, name, cgroup, id, baits, mounted: Vec::new() };
        room.mount_tmpfs(TMP, "mode=1777,size=32m,nr_inodes=4000")?;
        room.baits.add_secrets(Path::new(TMP))?;
        match attacker {
            Attacker::Container => room.make_container()?,
            Attacker::User => room.make_home()?,
        }
        cgroup::make(Hierarchy::V2, &room.cgroup, &[LIMIT])?;
        if attacker == Attacker::User {
            delegate(&room.cgroup)?;
        }
        Ok(room)
    }

    fn make_container(&mut self) -> Result<()> {
        self.mount_tmpfs(jail::ROOT, "mode=755")?;
        make_root()?;
        self.baits.add_baits(&Path::new(jail::ROOT).join("tmp"), 0)?;
        describe_container(&self.id, OWN_NAME)
    }

    fn make_home(&mut self) -> Result<()> {
        self.mount_tmpfs(RUN_USER, "mode=700,uid=1000,gid=1000")?;
        self.mount_tmpfs(HOME, "mode=755")?;
        self.baits.add_secrets(Path::new(HOME))?;
        let own = Path::new(HOME).join("app");
        fs::create_dir(&own)?;
        chown(&own, Some(PLAIN_USER), Some(PLAIN_USER))?;
        self.baits.add_baits(Path::new(TMP), PLAIN_USER)?;
        self.baits.add_baits(Path::new(RUN_USER), PLAIN_USER)
    }

    fn mount_tmpfs(&mut self, target: &'static str, options: &str) -> Result<()> {
        mounts::mount("tmpfs", target, options)?;
        self.mounted.push(target);
        Ok(())
    }

    /// Starts the script.
    pub(super) fn start(&self, results: &Path) -> Result<Script> {
        let kind = self.attacker.directory();
        let script = format!("{GUEST_DIRECTORY}/{kind}/{}", self.name);
        let output = results.join(format!("attempt-{}.txt", self.name));
        let file = File::create(&output)?;
        let (option, own) = match self.attacker {
            Attacker::Container => (JAIL, "/sys/fs/cgroup".to_owned()),
            Attacker::User => (SESSION, format!("/sys/fs/cgroup{}", self.cgroup)),
        };
        let mut command = launch::command(&[option, &self.cgroup], &script, &[]);
        command
            .env_clear()
            .env("PATH", "/bin:/usr/bin")
            .env("HOME", TMP)
            .env("BAIT", "/tmp/bait")
            .env("SECRET", "/tmp/secret")
            .env("NEIGHBOR", NEIGHBOR)
            .env("CGROUP", own)
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file);
        Ok(Script { process: spawn(self.attacker, command)?, output })
    }

    /// The baits and secrets that were opened.
    pub(super) fn opened(&self) -> Vec<String> {
        self.baits.opened()
    }

    /// What is wrong with the owner of a task or a cgroup in a report: it is not the attacker's, or
    /// it has names of others.
    pub(super) fn wrong_owner(&self, part: &Value) -> Option<String> {
        let path = part["path"].as_str().or(part["cgroup"]["path"].as_str())?;
        let container = &part["container"];
        if part["cgroup"]["path_truncated"] == true {
            let is_wrong = !container.is_null() || !part["unit"].is_null();
            return is_wrong.then(|| format!("{path} was cut, but has the owner {container}"));
        }
        let is_own = path == self.cgroup || path.starts_with(&format!("{}/", self.cgroup));
        let is_right = match self.attacker {
            Attacker::Container => {
                container["id"] == self.id.as_str()
                    && container["name"] == OWN_NAME
                    && container["claimed"].is_null()
            }
            Attacker::User => {
                let is_claim = container.is_null() || container["claimed"] == true;
                is_claim && container["pod"].is_null() && container["name"] != super::NEIGHBOR_NAME
            }
        };
        let unit = self.cgroup.rsplit('/').next().unwrap_or_default();
        let has_unit = self.cgroup != SERVICE || part["unit"] == unit;
        (!is_own || !is_right || !has_unit).then(|| {
            let owner = json!({"container": container, "unit": part["unit"]});
            format!("the owner of {path} is wrong: {owner}")
        })
    }

    /// Ends what is left of the attempt, and removes its files.
    pub(super) fn remove(self, mut script: Script) -> Result<()> {
        let directory = cgroup::directory(Hierarchy::V2, &self.cgroup);
        let removed = wait::until(TIME_TO_END, || {
            let _ = kill_below(&directory);
            script.has_ended() && remove_below(&directory).is_ok()
        });
        ensure!(removed, "{} cannot be removed", directory.display());
        for target in self.mounted.iter().rev() {
            mounts::unmount(target)?;
        }
        if self.attacker == Attacker::Container {
            fs::remove_dir_all(Path::new(DOCKER).join(&self.id))?;
        }
        Ok(())
    }
}

/// The name of the container from which an attempt is made.
const OWN_NAME: &str = "hostile";

/// Names a container as Docker does.
pub(super) fn describe_container(id: &str, name: &str) -> Result<()> {
    let directory = Path::new(DOCKER).join(id);
    fs::create_dir_all(&directory)?;
    let described = json!({"Name": format!("/{name}"), "Config": {"Image": "test"}});
    Ok(fs::write(directory.join("config.v2.json"), described.to_string())?)
}

fn spawn(attacker: Attacker, mut command: Command) -> Result<Child> {
    match attacker {
        Attacker::Container => launch::in_new_pid_namespace(command),
        Attacker::User => Ok(command.spawn()?),
    }
}

/// Makes the files of a container's own root. The programs are mounted later.
fn make_root() -> Result<()> {
    let root = Path::new(jail::ROOT);
    for name in jail::SHARED.iter().chain(&["/dev", "/proc", "/root", "/sys/fs/cgroup", "/tmp"]) {
        let path = root.join(name.trim_start_matches('/'));
        if Path::new(name).is_file() {
            File::create(path)?;
        } else {
            fs::create_dir_all(path)?;
        }
    }
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9), ("fuse", 10, 229)]
    {
        let mode = Mode::from_raw_mode(0o666);
        let device = makedev(major, minor);
        mknodat(CWD, root.join("dev").join(name), FileType::CharacterDevice, mode, device)?;
    }
    symlink("/proc/self/fd", root.join("dev/fd"))?;
    Ok(())
}

/// Lets the user make cgroups in this one, and move processes between them.
fn delegate(path: &str) -> Result<()> {
    let directory = cgroup::directory(Hierarchy::V2, path);
    for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        let path = directory.join(name);
        chown(&path, Some(PLAIN_USER), Some(PLAIN_USER))
            .with_context(|| format!("{} cannot be given away", path.display()))?;
    }
    Ok(())
}

fn kill_below(directory: &Path) -> Result<()> {
    for child in groups_in(directory)? {
        kill_below(&child)?;
    }
    let members = fs::read_to_string(directory.join("cgroup.procs"))?;
    for pid in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(())
}

fn remove_below(directory: &Path) -> Result<()> {
    for child in groups_in(directory)? {
        remove_below(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn groups_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            groups.push(entry.path());
        }
    }
    Ok(groups)
}
