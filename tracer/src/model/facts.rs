//! What userspace finds out besides the records of the probes. Kept in recordings.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    container_names::ContainerNames,
    handover::Kill,
    names::{Symbol, UserNames},
    recorded_growth::Recorded,
    report::System,
};

/// Something that userspace found out while the run was live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// What an address of the kernel is.
    Symbol {
        /// Address.
        ip: u64,
        /// What it is.
        symbol: Symbol,
    },
    /// Where a cgroup is that the probes could not name.
    CgroupPath {
        /// kernfs id.
        id: u64,
        /// Path from the root of its hierarchy.
        path: String,
    },
    /// The host's memory, for an invocation that was nobody's limit.
    System {
        /// Number of the invocation.
        seq: u64,
        /// When it was read, `CLOCK_BOOTTIME` ns.
        at_ns: u64,
        /// What was read.
        memory: Box<System>,
    },
    /// The name of a user.
    User {
        /// User id.
        uid: u32,
        /// Name.
        name: String,
    },
    /// The names of a container or a pod.
    Container {
        /// The container's id, or the pod's uid.
        key: String,
        /// Names.
        names: ContainerNames,
    },
    /// What /proc told of a process.
    Process {
        /// Number of the invocation.
        seq: u64,
        /// Process.
        pid: i32,
        /// What it told.
        files: ProcessFiles,
    },
    /// Names of the frames of a process in user space.
    UserNames {
        /// Number of the invocation.
        seq: u64,
        /// Process.
        pid: i32,
        /// What was found.
        names: UserNames,
    },
    /// From here on the close of this invocation's report is put off, for names.
    Awaited {
        /// Number of the invocation.
        seq: u64,
    },
    /// It is not put off any more.
    Settled {
        /// Number of the invocation.
        seq: u64,
    },
    /// What had grown in the memcg that ran out of memory.
    Growth {
        /// Number of the invocation.
        seq: u64,
        /// What was recorded.
        recorded: Box<Recorded>,
    },
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME` from here on, ns.
    RealtimeOffset(i64),
    /// Records lost so far, and when, `CLOCK_BOOTTIME` ns.
    Drops {
        /// How many in all.
        count: u64,
        /// The first of those that the latest such fact did not have.
        first_ns: u64,
        /// The latest.
        last_ns: u64,
    },
    /// Kills that the kernel had counted, `oom_kill` in /proc/vmstat, and when that was read,
    /// `CLOCK_BOOTTIME` ns. The ring was empty just before.
    KillsCounted {
        /// Since the boot.
        kills: u64,
        /// When.
        at_ns: u64,
    },
    /// The same of a memory cgroup, `oom_kill` in its memory.events.
    GroupKillsCounted {
        /// kernfs id.
        id: u64,
        /// Path from the root of its hierarchy.
        path: String,
        /// Since it was made; `None`: it is gone.
        kills: Option<u64>,
        /// When.
        at_ns: u64,
    },
    /// Time passed without a record: what was due by then was reported. `CLOCK_BOOTTIME` ns.
    Tick(u64),
    /// The run goes on where another one ended (`--pin`): what that one told already, by
    /// [`journal::key_of`](crate::model::account::key_of), and which time is its own.
    Resumed {
        /// How far each was told.
        told: BTreeMap<u64, u64>,
        /// Invocations that began before are another one's, `CLOCK_BOOTTIME` ns.
        since_ns: u64,
        /// Invocations that began then or later are another one's.
        until_ns: u64,
        /// Kills that the probes before these report.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        handed_over: Vec<Kill>,
    },
    /// There was no room to keep more: what was not told to its end was told as it was, but for
    /// what had not ended.
    Pressed,
    /// The run ended: what was left was reported.
    End,
}

/// What /proc told of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFiles {
    /// Its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// Its executable, in its own mount namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
}

/// Facts that userspace found out, besides the records. Kept in recordings.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Kernel addresses.
    pub symbols: BTreeMap<u64, Symbol>,
    /// Paths of cgroups whose names the kernel did not let us read.
    pub cgroup_paths: BTreeMap<u64, String>,
    /// Names of users.
    pub users: BTreeMap<u32, String>,
    /// Names of containers by their ids, and of pods by their uids.
    pub containers: BTreeMap<String, ContainerNames>,
    /// What /proc told, by invocation and process.
    pub processes: BTreeMap<(u64, i32), ProcessFiles>,
    /// Names of frames in user space, by invocation and process.
    pub user_names: BTreeMap<(u64, i32), UserNames>,
    /// Invocations for which they were asked.
    pub names_asked: BTreeSet<u64>,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME`, where it has moved since the start. ns.
    pub realtime_offset_ns: Option<i64>,
    /// Records lost since the previous report.
    pub drops: u64,
}
