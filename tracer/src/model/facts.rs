//! Facts that userspace finds out besides the records of the probes. They are kept in recordings,
//! so the names in `#[serde(rename)]` are a contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    handover::Kill,
    lru::{ByteSize, Lru},
    names::{Symbol, UserNames},
    recorded_growth::Recorded,
    report::{Container, LossReason, LossStage, System},
};

/// Something that userspace found out while the run was live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The symbol at a kernel address.
    Symbol {
        /// Address in the kernel.
        ip: u64,
        /// The function there, and the offset in it.
        symbol: Symbol,
    },
    /// Path of a cgroup that the probes could not name.
    CgroupPath {
        /// Its kernfs id.
        id: u64,
        /// Path from the root of its hierarchy.
        path: String,
    },
    /// The host's memory during an invocation that no memcg's limit caused.
    System {
        /// Sequence number of the invocation.
        seq: u64,
        /// When it was read, `CLOCK_BOOTTIME` ns.
        at_ns: u64,
        /// Content of /proc/meminfo and /proc/zoneinfo.
        memory: Box<System>,
    },
    /// The name of a user.
    User {
        /// Numeric user id.
        uid: u32,
        /// Name in /etc/passwd.
        name: String,
    },
    /// The names of a container or a pod.
    Container {
        /// The container's id, or the pod's uid; with the user if the container is rootless.
        key: String,
        /// Names from the container runtime.
        names: Box<Container>,
    },
    /// Who could make the cgroup of a container, if not only root.
    CgroupMaker {
        /// Path of the cgroup from the root of its hierarchy.
        path: String,
        /// The user to whom a cgroup above it was delegated. 0 if an earlier fact was wrong.
        /// `None` if the owner of a cgroup above it is unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
    },
    /// Look-ups were refused, because a tenant had used up its share or too many were waiting.
    LookupsRefused {
        /// Sequence number of the invocation.
        seq: u64,
        /// What was not looked up.
        kinds: Vec<LookupKind>,
    },
    /// The content of a process' files in /proc.
    Process {
        /// Sequence number of the invocation.
        seq: u64,
        /// Id of the process.
        pid: i32,
        /// Its command line and its executable.
        files: ProcessFiles,
    },
    /// Names of the frames of a process in user space.
    UserNames {
        /// Sequence number of the invocation.
        seq: u64,
        /// Id of the process.
        pid: i32,
        /// Names by file offset and by address.
        names: UserNames,
    },
    /// A name lookup has begun. The invocation's final report waits for it.
    #[serde(rename = "awaited")]
    NamesAwaited {
        /// Sequence number of the invocation.
        seq: u64,
    },
    /// The name lookup has finished or was given up.
    #[serde(rename = "settled")]
    NamesReady {
        /// Sequence number of the invocation.
        seq: u64,
    },
    /// Recorded growth of the memcg that ran out of memory.
    Growth {
        /// Sequence number of the invocation.
        seq: u64,
        /// The usage curve and the charges that the growth recorder kept.
        recorded: Box<Recorded>,
    },
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME` from here on, ns.
    RealtimeOffset(i64),
    /// Records lost so far.
    Drops {
        /// Number of lost records in the whole run.
        count: u64,
        /// Those among them that were compact records of kills. `None` if the probes have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kills: Option<u64>,
        /// The number of `kills` per reason. Older recordings do not have it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        kills_by_reason: BTreeMap<LossReason, u64>,
        /// Time of the first one since the previous such fact, `CLOCK_BOOTTIME` ns.
        first_ns: u64,
        /// Time of the latest one, `CLOCK_BOOTTIME` ns.
        last_ns: u64,
    },
    /// Runs of a program that the kernel skipped.
    #[serde(rename = "missed")]
    ProbeMisses {
        /// The name of the program.
        program: String,
        /// Number of skipped runs since the program was loaded.
        count: u64,
        /// When it was read, `CLOCK_BOOTTIME` ns.
        at_ns: u64,
    },
    /// Hints that the probes dropped, or look-ups without a result.
    Dropped {
        /// What was dropped.
        stage: LossStage,
        /// Why, if there is more than one reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LossReason>,
        /// Their number since the previous such fact.
        count: u64,
        /// The time of that fact, or of the start of the run, `CLOCK_BOOTTIME` ns.
        since_ns: u64,
        /// When it was read, `CLOCK_BOOTTIME` ns.
        at_ns: u64,
    },
    /// The kernel's count of kills, `oom_kill` in /proc/vmstat. The ring was empty just before.
    KillsCounted {
        /// Kills since the boot.
        kills: u64,
        /// When it was read, `CLOCK_BOOTTIME` ns.
        at_ns: u64,
    },
    /// A memory cgroup's count of kills, `oom_kill` in its memory.events.
    GroupKillsCounted {
        /// Its kernfs id.
        id: u64,
        /// Path from the root of its hierarchy.
        path: String,
        /// Kills since it was made; `None` if it is gone.
        kills: Option<u64>,
        /// When it was read, `CLOCK_BOOTTIME` ns.
        at_ns: u64,
    },
    /// Time passed without a record, so every account that was due by then (`CLOCK_BOOTTIME` ns)
    /// was reported.
    Tick(u64),
    /// The run continues another one (`--pin`).
    Resumed {
        /// How far that run reported each account, by
        /// `key_of` in `model/account.rs`.
        #[serde(rename = "told")]
        reported: BTreeMap<u64, u64>,
        /// Invocations that began before this time belong to another run, `CLOCK_BOOTTIME` ns.
        since_ns: u64,
        /// Invocations that began at this time or later belong to another run.
        until_ns: u64,
        /// Kills that the probes before these report.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        handed_over: Vec<Kill>,
    },
    /// The journal was full, so every account whose end had come was reported as it was.
    #[serde(rename = "pressed")]
    Flushed,
    /// The run ended, so every account that was left was reported.
    End,
}

/// What userspace looks up for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupKind {
    /// Names of a container.
    Container,
    /// The name of a user.
    User,
    /// Command line and executable of a process.
    Process,
    /// Functions in the stack of the trigger or of a victim.
    Stack,
    /// Functions in the stacks of processes that grew.
    Growth,
}

impl ByteSize for LookupKind {
    fn byte_size(&self) -> usize {
        size_of::<Self>()
    }
}

/// The content of a process' files in /proc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFiles {
    /// Its arguments, from `cmdline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<Vec<String>>,
    /// Its executable in its own mount namespace, from `exe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
}

impl ByteSize for ProcessFiles {
    fn byte_size(&self) -> usize {
        self.cmdline.byte_size() + self.exe.byte_size()
    }
}

/// Facts about accounts, ready to be looked up. The limits leave room for a host with many
/// containers, and for a burst of kills. Without a finding that had to make room, a report is
/// poorer.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Symbols of kernel addresses.
    pub symbols: Lru<u64, Symbol>,
    /// Paths of cgroups that the probes could not name, by kernfs id.
    pub cgroup_paths: Lru<u64, String>,
    /// User names by user id.
    pub users: Lru<u32, String>,
    /// Names of containers and pods by the keys that `enrich/container.rs` gives them.
    pub containers: Lru<String, Container>,
    /// Who could make the cgroup with this path, if not only root: see [`Fact::CgroupMaker`].
    pub cgroup_makers: Lru<String, Option<u32>>,
    /// Look-ups that were refused, by invocation.
    pub refused: Lru<u64, Vec<LookupKind>>,
    /// Content of files in /proc, by invocation and process.
    pub processes: Lru<(u64, i32), ProcessFiles>,
    /// Names of frames in user space, by invocation and process.
    pub user_names: Lru<(u64, i32), UserNames>,
    /// Invocations for which names were looked up.
    pub names_asked: Lru<u64, ()>,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME` if it has changed since the start, ns.
    pub realtime_offset_ns: Option<i64>,
    /// Records lost since the previous report.
    pub drops: u64,
}

impl Default for Findings {
    fn default() -> Self {
        const KIB: usize = 1 << 10;
        Self {
            symbols: Lru::new(4096, 512 * KIB),
            cgroup_paths: Lru::new(4096, 1024 * KIB),
            users: Lru::new(4096, 256 * KIB),
            containers: Lru::new(1024, 1024 * KIB),
            cgroup_makers: Lru::new(1024, 512 * KIB),
            refused: Lru::new(1024, 256 * KIB),
            processes: Lru::new(1024, 1024 * KIB),
            user_names: Lru::new(1024, 2048 * KIB),
            names_asked: Lru::new(4096, 512 * KIB),
            realtime_offset_ns: None,
            drops: 0,
        }
    }
}

impl Findings {
    /// Adds look-ups of an invocation that were refused.
    pub(crate) fn refuse(&mut self, seq: u64, kinds: &[LookupKind]) {
        self.refused.change(seq, |known| {
            known.extend_from_slice(kinds);
            known.sort_unstable();
            known.dedup();
        });
    }

    /// Drops the findings that only this invocation's report needs.
    pub(crate) fn forget(&mut self, seq: u64) {
        let its = (seq, i32::MIN)..=(seq, i32::MAX);
        self.processes.remove_range(its.clone());
        self.user_names.remove_range(its);
        self.names_asked.remove(&seq);
        self.refused.remove(&seq);
    }

    /// Number of findings that had to make room for others so far.
    pub(crate) fn n_evicted(&self) -> u64 {
        self.symbols.n_evicted()
            + self.cgroup_paths.n_evicted()
            + self.users.n_evicted()
            + self.containers.n_evicted()
            + self.cgroup_makers.n_evicted()
            + self.refused.n_evicted()
            + self.processes.n_evicted()
            + self.user_names.n_evicted()
            + self.names_asked.n_evicted()
    }
}
