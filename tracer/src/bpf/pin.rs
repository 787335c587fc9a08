//! Probes that outlive the tracer: pinned below a directory of a BPF file system, and taken over
//! from there by the next tracer. Links hold programs and programs hold maps, so the ring and the
//! counters continue while no tracer runs.
//!
//! Each set of probes has a folder, `oomwhy-WIRE_VERSION-SINCE`. `SINCE` is the time from which on
//! this set reports, in `CLOCK_BOOTTIME` ns, or 0 if no other set was there. A folder is made
//! under another name and renamed when it is complete.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    rc::Rc,
};

use aya::{
    maps::{HashMap as BpfHashMap, Map, MapData},
    pin::PinError as AyaPinError,
};
use aya_obj::{generated::bpf_map_type::BPF_MAP_TYPE_HASH, maps::bpf_map_def};
use oomwhy_common::{OLDEST_WIRE_VERSION, WIRE_VERSION, settings::Settings};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, statfs};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zerocopy::IntoBytes;

use crate::{
    bpf::{
        journal::{Entry, Journal, SLOT_BYTES, SharedJournal, Slot, Slots},
        load::{LoadError, OBJECT, Probes, create_map, missing_map, other},
    },
    fmt::sanitize::shown,
    model::{
        fnv,
        report::{Missing, Tier},
    },
};

/// The version in the folders of builds that had one number for pins and another for recordings.
/// Their maps have the layout of wire version 2.
const FIRST_PIN_VERSION: u32 = 1;
const READY: &str = "oomwhy-";
const MAKING: &str = "making-";
const JOURNAL: &str = "JOURNAL";
/// `statfs` of a BPF file system: include/uapi/linux/magic.h `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Why pins cannot be used.
#[derive(Debug, Error)]
pub(crate) enum PinError {
    #[error(
        "--pin: {} is not on a BPF file system\nhint: `mount -t bpf bpf /sys/fs/bpf`, then \
         `--pin /sys/fs/bpf/oomwhy`",
        shown(path)
    )]
    NotBpffs { path: PathBuf },
    #[error(
        "--pin: another oomwhy is using {}\nhint: stop it first, or use another directory",
        shown(path)
    )]
    InUse { path: PathBuf },
    #[error(
        "--pin: cannot read the probes in {}: their format is not one of the wire versions \
         {OLDEST_WIRE_VERSION} to {WIRE_VERSION} that this oomwhy reads\nhint: run the oomwhy that \
         pinned them once more to report what they hold, or drop it with `oomwhy unpin {}`",
        shown(path),
        shown(dir)
    )]
    Unreadable { path: PathBuf, dir: PathBuf },
    #[error(
        "--pin: the probes in {} are damaged: {what}\nhint: `oomwhy unpin {}` removes them",
        shown(path),
        shown(dir)
    )]
    Damaged { path: PathBuf, dir: PathBuf, what: String },
    /// A perf event, as kprobes have it before 5.15, ends with its process.
    #[error(
        "--pin: {program} is attached in a way that ends with this process\nhint: use \
         `--attach fentry` if the kernel supports it, or run without --pin"
    )]
    NotPinnable { program: &'static str },
    #[error("--pin: cannot {what} {}: {source}", shown(path))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The kernel refuses a map or a link.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl PinError {
    /// `folder` is that of a set of probes.
    fn damaged(folder: &Path, what: impl Into<String>) -> Self {
        let dir = folder.parent().unwrap_or(folder).to_owned();
        Self::Damaged { path: folder.to_owned(), dir, what: what.into() }
    }

    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// The directory of `--pin`, locked against other tracers.
#[derive(Debug)]
pub(crate) struct PinDir {
    path: PathBuf,
    _lock: OwnedFd,
}

impl PinDir {
    /// Locks the directory. Makes it if it does not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, PinError> {
        let nearest = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        check_bpffs(nearest, path)?;
        make_dir(path)?;
        Self::lock(path)
    }

    /// Locks a directory that must exist.
    pub(crate) fn open(path: &Path) -> Result<Self, PinError> {
        check_bpffs(path, path)?;
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, PinError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = open(path, flags, Mode::empty())
            .map_err(|error| PinError::io("open", path, error.into()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match io::Error::from(error) {
                error if error.kind() == io::ErrorKind::WouldBlock => {
                    PinError::InUse { path: path.to_owned() }
                }
                error => PinError::io("lock", path, error),
            }
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// All probes that are pinned here, oldest first. If there are some that this build cannot
    /// read, it refuses and changes nothing.
    pub(crate) fn take_over(&self) -> Result<Vec<TakenOver>, PinError> {
        let folders = self.folders(READY)?;
        if let Some(path) = folders.iter().find(|path| !version(path).is_some_and(is_readable)) {
            return Err(PinError::Unreadable { path: path.clone(), dir: self.path.clone() });
        }
        for stale in self.folders(MAKING)? {
            remove(&stale)?;
        }
        let mut found =
            folders.into_iter().map(TakenOver::open).collect::<Result<Vec<_>, PinError>>()?;
        found.sort_by_key(|probes| probes.since_ns);
        // Older ones may be detached: their last records were being read when a tracer died.
        if let Some(newest) = found.last() {
            newest.check_links()?;
        }
        Ok(found)
    }

    /// Removes everything that was pinned here, which detaches it, and the directory.
    pub(crate) fn clear(self) -> Result<Removed, PinError> {
        let mut removed = Removed::default();
        for prefix in [READY, MAKING] {
            for path in self.folders(prefix)? {
                removed.programs += names(&path.join("links")).map_or(0, |links| links.len());
                remove(&path)?;
                removed.sets += 1;
            }
        }
        // The directory may hold other files, or be the root of the file system.
        let _ = fs::remove_dir(&self.path);
        Ok(removed)
    }

    fn folders(&self, prefix: &str) -> Result<Vec<PathBuf>, PinError> {
        let names = names(&self.path).map_err(|error| PinError::io("list", &self.path, error))?;
        let folders = names.into_iter().filter(|name| name.starts_with(prefix));
        Ok(folders.map(|name| self.path.join(name)).collect())
    }
}

/// The pins that were removed from a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Sets of probes, complete or not.
    pub sets: usize,
    /// Programs that were attached.
    pub programs: usize,
}

/// The requirements of a run for pinned probes. Probes with other requirements are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Size of the ring, bytes. `None` takes any size.
    pub ring_bytes: Option<u32>,
    /// The probes must not read command lines, so that none is in the ring.
    pub no_cmdlines: bool,
    /// The probes record growth above this share of a limit, in percent, if the kernel allows it.
    pub growth_above_percent: Option<u32>,
}

/// The tier and the missing fields, for the reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub tier: Tier,
    /// Fields that reports do not have, because of the tier, the host or a probe that failed.
    pub missing: Vec<Missing>,
}

/// How probes were attached, for the tracers that take them over.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    hooks: BTreeMap<String, String>,
    settings: Vec<u8>,
    since_ns: u64,
    /// Builds before wire version 3 kept the next three in no place or in the name of the folder.
    #[serde(default)]
    attachment: Option<Attachment>,
    #[serde(default)]
    object: u64,
    #[serde(default)]
    wanted: Wanted,
    /// Names of the links. Builds before this field did not keep them.
    #[serde(default)]
    links: Vec<String>,
}

/// Pinned probes, and the records that earlier tracers left unreported.
pub(crate) struct TakenOver {
    pub probes: Probes,
    pub journal: SharedJournal,
    /// Entries of the journal, oldest first.
    pub entries: Vec<Entry>,
    /// Kills before this time are reported by other probes, `CLOCK_BOOTTIME` ns; 0 if there were
    /// none.
    pub since_ns: u64,
    /// `None` if an older build pinned them.
    pub attachment: Option<Attachment>,
    path: PathBuf,
    object: u64,
    wanted: Wanted,
    /// The links that were pinned, as far as it is known.
    links: Vec<String>,
}

/// Nothing can be read without these maps, and without one of [`COUNTERS`].
const REQUIRED: [&str; 2] = [JOURNAL, "RING"];
/// The counters of lost records, and their name before wire version 4.
const COUNTERS: [&str; 2] = ["LOST", "COUNTERS"];

impl TakenOver {
    /// Opens a folder. Probes that are attached stay as they are.
    fn open(path: PathBuf) -> Result<Self, PinError> {
        let folder = path.join("maps");
        let names = names(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PinError::damaged(&path, "they have no maps"),
            _ => PinError::io("list", &folder, error),
        })?;
        let [counters, _] = COUNTERS;
        let has_counters = names.iter().any(|name| COUNTERS.contains(&name.as_str()));
        let lacking = missing(REQUIRED, &names).or((!has_counters).then_some(counters));
        if let Some(map) = lacking {
            return Err(PinError::damaged(&path, format!("the map {map} is missing")));
        }
        let mut maps = BTreeMap::new();
        let mut journal = None;
        for name in names {
            let map = MapData::from_pin(folder.join(&name))
                .map_err(|error| other(&format!("open the pinned map {name}"), &error))?;
            if name == JOURNAL {
                journal = Some(map);
            } else {
                let map = Map::from_map_data(map);
                maps.insert(name, map.map_err(|error| other("open a pinned map", &error))?);
            }
        }
        let (journal, mut entries) = open_journal(journal.ok_or_else(|| missing_map(JOURNAL))?)?;
        let origin = entries.iter().find_map(|entry| match entry {
            Entry::Origin(origin) => serde_json::from_slice::<Origin>(origin).ok(),
            _ => None,
        });
        let Origin { hooks, settings: kept, since_ns, attachment, object, wanted, links } =
            origin.ok_or_else(|| PinError::damaged(&path, "their journal has no beginning"))?;
        entries.retain(|entry| !matches!(entry, Entry::Origin(_)));
        let probes = Probes {
            ebpf: None,
            verified: Vec::new(),
            maps,
            links: Vec::new(),
            growth: None,
            programs: Vec::new(),
            hooks,
            failed: Vec::new(),
            rejected: false,
            settings: settings(&kept),
        };
        let journal = Rc::new(RefCell::new(journal));
        Ok(Self { probes, journal, entries, since_ns, attachment, path, object, wanted, links })
    }

    /// Whether all programs are still attached.
    fn check_links(&self) -> Result<(), PinError> {
        let folder = self.path.join("links");
        let names = match names(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PinError::io("list", &folder, error));
            }
            names => names.unwrap_or_default(),
        };
        if names.is_empty() {
            return Err(PinError::damaged(&self.path, "no program is attached"));
        }
        match missing(self.links.iter().map(String::as_str), &names) {
            Some(link) => {
                Err(PinError::damaged(&self.path, format!("the program {link} is not attached")))
            }
            None => Ok(()),
        }
    }

    /// Whether these are the probes that a run of this build would attach.
    pub(crate) fn is_as_wanted(&self, wanted: &Wanted, tiers: &[Tier]) -> bool {
        let ring_bytes = || self.probes.ring_bytes().ok();
        version(&self.path) == Some(WIRE_VERSION)
            && self.object == fnv::hash(OBJECT.iter().copied())
            && self.attachment.as_ref().is_some_and(|it| tiers.contains(&it.tier))
            && (wanted.ring_bytes.is_none() || wanted.ring_bytes == ring_bytes())
            && Wanted { ring_bytes: None, ..*wanted } == Wanted { ring_bytes: None, ..self.wanted }
    }

    /// The part that stays when the rest has gone into a run.
    pub(crate) fn folder(&self) -> PinnedFolder {
        PinnedFolder { path: self.path.clone() }
    }
}

/// Where probes are pinned.
#[derive(Debug)]
pub(crate) struct PinnedFolder {
    path: PathBuf,
}

impl PinnedFolder {
    /// Detaches the programs. Their maps stay.
    pub(crate) fn detach(&self) -> Result<(), PinError> {
        let links = self.path.join("links");
        fs::remove_dir_all(&links).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(PinError::io("detach", &links, error)),
        })
    }

    /// Removes all pins, which detaches the programs and frees the maps.
    pub(crate) fn remove(&self) -> Result<(), PinError> {
        remove(&self.path)
    }
}

impl Probes {
    /// Pins the probes together with a journal. They stay attached when this process ends. Kills
    /// before `since_ns` are reported by other probes.
    pub(crate) fn pin(
        self,
        dir: &PinDir,
        wanted: Wanted,
        attachment: Attachment,
        since_ns: u64,
    ) -> Result<TakenOver, PinError> {
        let name = format!("{READY}{WIRE_VERSION}-{since_ns}");
        let making = dir.path.join(format!("{MAKING}{name}"));
        let path = dir.path.join(name);
        let made = self.pin_into(&making, wanted, attachment, since_ns).and_then(|()| {
            fs::rename(&making, &path).map_err(|error| PinError::io("make", &path, error))
        });
        if made.is_err() {
            // A part of the probes would stay attached with no tracer to read them.
            let _ = remove(&making);
        }
        made.and_then(|()| TakenOver::open(path))
    }

    fn pin_into(
        self,
        folder: &Path,
        wanted: Wanted,
        attachment: Attachment,
        since_ns: u64,
    ) -> Result<(), PinError> {
        let (maps, links) = (folder.join("maps"), folder.join("links"));
        for folder in [folder, &maps, &links] {
            make_dir(folder)?;
        }
        let journal = create_journal(self.ring_bytes()?)?;
        journal.pin(maps.join(JOURNAL)).map_err(|error| failed_pin(JOURNAL, &error))?;
        for (name, map) in &self.maps {
            // The constants are frozen into the programs.
            if !name.contains('.') {
                map.pin(maps.join(name)).map_err(|error| failed_pin(name, &error))?;
            }
        }
        let (mut journal, _) = open_journal(journal)?;
        let origin = Origin {
            hooks: self.hooks,
            settings: self.settings.as_bytes().to_vec(),
            since_ns,
            attachment: Some(attachment),
            object: fnv::hash(OBJECT.iter().copied()),
            wanted,
            links: self.links.iter().map(|(program, _)| (*program).to_owned()).collect(),
        };
        let origin = serde_json::to_vec(&origin).unwrap_or_default();
        if journal.put(&Entry::Origin(origin)).is_err() {
            return Err(missing_map(JOURNAL).into());
        }
        for (program, link) in self.links {
            let link = link.ok_or(PinError::NotPinnable { program })?;
            link.pin(links.join(program)).map_err(|error| failed_pin(program, &error))?;
        }
        Ok(())
    }

    fn ring_bytes(&self) -> Result<u32, LoadError> {
        let Some(Map::RingBuf(ring)) = self.maps.get("RING") else {
            return Err(missing_map("RING"));
        };
        Ok(ring.info().map_err(|error| other("read the size of the ring", &error))?.max_entries())
    }
}

struct MapSlots(BpfHashMap<MapData, u64, Slot>);

impl Slots for MapSlots {
    fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
        self.0.insert(key, slot, 0).map_err(io::Error::other)
    }

    fn remove(&mut self, key: u64) {
        // The key may be absent.
        let _ = self.0.remove(&key);
    }

    fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
        self.0.iter().map(|entry| entry.map_err(io::Error::other)).collect()
    }
}

/// The journal is as large as the ring, so that all records of the ring have room. The kernel
/// allocates its memory here, because there may be none when it is needed.
fn create_journal(ring_bytes: u32) -> Result<MapData, LoadError> {
    let map = bpf_map_def {
        map_type: BPF_MAP_TYPE_HASH as u32,
        key_size: 8,
        value_size: 512,
        max_entries: ring_bytes / 512,
        ..bpf_map_def::default()
    };
    create_map(JOURNAL, map).map_err(|error| other("make the journal", &error))
}

const _: () = assert!(SLOT_BYTES == 512);

fn open_journal(map: MapData) -> Result<(Journal, Vec<Entry>), LoadError> {
    let info = map.info().map_err(|error| other("read the size of the journal", &error))?;
    let capacity = info.max_entries() as usize;
    let slots = Map::from_map_data(map)
        .and_then(BpfHashMap::try_from)
        .map_err(|error| other("open the journal", &error))?;
    Journal::open(Box::new(MapSlots(slots)), capacity)
        .map_err(|error| other("read the journal", &error))
}

fn failed_pin(what: &str, error: &AyaPinError) -> LoadError {
    other(&format!("pin {what}"), error)
}

/// `nearest` is the part of `path` that exists.
fn check_bpffs(nearest: &Path, path: &Path) -> Result<(), PinError> {
    let stat = statfs(nearest).map_err(|error| PinError::io("find", path, error.into()))?;
    // The type of the field differs between architectures.
    let is_bpffs = u64::try_from(stat.f_type).is_ok_and(|kind| kind & 0xffff_ffff == BPF_FS_MAGIC);
    if is_bpffs { Ok(()) } else { Err(PinError::NotBpffs { path: path.to_owned() }) }
}

/// Only the owner may open it, because maps can hold command lines.
fn make_dir(path: &Path) -> Result<(), PinError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| PinError::io("make", path, error))
}

/// Renames the folder first, so that one that is removed in part is never taken over.
fn remove(path: &Path) -> Result<(), PinError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stale = path.with_file_name(format!("{MAKING}{}", name.trim_start_matches(MAKING)));
    if stale != *path {
        fs::rename(path, &stale).map_err(|error| PinError::io("remove", path, error))?;
    }
    fs::remove_dir_all(&stale).map_err(|error| PinError::io("remove", &stale, error))
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// The first of `wanted` that is not there.
fn missing<'a>(wanted: impl IntoIterator<Item = &'a str>, there: &[String]) -> Option<&'a str> {
    wanted.into_iter().find(|name| !there.iter().any(|it| it == name))
}

/// The wire version in the name of a folder.
fn version(path: &Path) -> Option<u32> {
    let (version, _) = path.file_name()?.to_str()?.strip_prefix(READY)?.split_once('-')?;
    version.parse().ok()
}

fn is_readable(version: u32) -> bool {
    version == FIRST_PIN_VERSION || (OLDEST_WIRE_VERSION..=WIRE_VERSION).contains(&version)
}

/// An older version has fewer settings; the others are off.
fn settings(kept: &[u8]) -> Settings {
    let mut settings = Settings::default();
    for (byte, kept) in settings.as_mut_bytes().iter_mut().zip(kept) {
        *byte = *kept;
    }
    settings
}

#[cfg(test)]
mod tests;
