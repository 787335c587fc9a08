//! Probes that outlive the tracer: pinned below a directory of a BPF file system, and taken over
//! from there by the next tracer. Links hold programs and programs hold maps, so the ring and the
//! counters continue while no tracer runs.
//!
//! Each set of probes has a folder, `oomwhy-WIRE_VERSION-SINCE`. `SINCE` is the time from which on
//! this set reports, in `CLOCK_BOOTTIME` ns, or 0 if no other set was there. A folder is made
//! under another name and renamed when it is complete.

mod directory;

use std::{
    collections::BTreeMap,
    fs, io, mem,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex},
};

use aya::{
    maps::{HashMap as BpfHashMap, Map, MapData},
    pin::PinError as AyaPinError,
};
use aya_obj::{generated::bpf_map_type::BPF_MAP_TYPE_HASH, maps::bpf_map_def};
use oomwhy_common::{OLDEST_WIRE_VERSION, WIRE_VERSION, settings::Settings};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zerocopy::IntoBytes;

use self::directory::{Directory, names};
use crate::{
    bpf::{
        growth_maps,
        journal::{Entry, Journal, SLOT_BYTES, SharedJournal, Slot, Slots},
        load::{LoadError, OBJECT, Probes, create_map, missing_map, other},
        misses,
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
/// Names that a refusal lists.
const MAX_LISTED: usize = 4;

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
    /// `why` ends with a hint.
    #[error("--pin: cannot trust {}: {why}", shown(path))]
    NotOurs { path: PathBuf, why: String },
    #[error(
        "--pin: {} has pins that are not of oomwhy: {}\nhint: give another directory, or remove \
         them",
        shown(path),
        listed(names)
    )]
    OthersPins { path: PathBuf, names: Vec<String> },
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
    fn damaged(folder: &PinnedFolder, what: impl Into<String>) -> Self {
        let dir = folder.dir.shown().to_owned();
        Self::Damaged { path: folder.shown(), dir, what: what.into() }
    }

    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// The directory of `--pin`, locked against other tracers.
#[derive(Debug)]
pub(crate) struct PinDir(Rc<Directory>);

impl PinDir {
    /// Locks the directory. Makes it if it does not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, PinError> {
        Directory::create(path).map(|dir| Self(Rc::new(dir)))
    }

    /// Locks a directory that must exist.
    pub(crate) fn open(path: &Path) -> Result<Self, PinError> {
        Directory::open(path).map(|dir| Self(Rc::new(dir)))
    }

    /// All probes that are pinned here, oldest first. If there are some that this build cannot
    /// read, it refuses and changes nothing.
    pub(crate) fn take_over(&self) -> Result<Vec<TakenOver>, PinError> {
        self.check_names()?;
        let folders = self.folders(is_ready)?;
        if let Some(folder) = folders.iter().find(|it| !version(&it.name).is_some_and(is_readable))
        {
            let (path, dir) = (folder.shown(), self.0.shown().to_owned());
            return Err(PinError::Unreadable { path, dir });
        }
        for stale in self.folders(is_stale)? {
            stale.remove()?;
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

    /// Refuses a directory with other pins: it is not the one that the user means, or somebody
    /// else relies on it.
    fn check_names(&self) -> Result<(), PinError> {
        let mut names = self.0.names()?;
        names.retain(|name| !is_ready(name) && !is_stale(name));
        names.sort();
        if names.is_empty() {
            return Ok(());
        }
        Err(PinError::OthersPins { path: self.0.shown().to_owned(), names })
    }

    /// Removes everything that was pinned here, which detaches it, and the directory.
    pub(crate) fn clear(self) -> Result<Removed, PinError> {
        let mut removed = Removed::default();
        for folder in self.folders(|name| is_ready(name) || is_stale(name))? {
            removed.programs += names(&folder.links()).map_or(0, |links| links.len());
            folder.remove()?;
            removed.sets += 1;
        }
        self.0.remove();
        Ok(removed)
    }

    fn folders(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PinnedFolder>, PinError> {
        let names = self.0.names()?.into_iter().filter(|name| is_wanted(name));
        Ok(names.map(|name| self.folder(name)).collect())
    }

    fn folder(&self, name: String) -> PinnedFolder {
        PinnedFolder { dir: Rc::clone(&self.0), name }
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
    folder: PinnedFolder,
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
    fn open(folder: PinnedFolder) -> Result<Self, PinError> {
        let path = folder.path().join(MAPS);
        let names = names(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PinError::damaged(&folder, "they have no maps"),
            _ => PinError::io("list", &folder.shown().join(MAPS), error),
        })?;
        let [counters, _] = COUNTERS;
        let has_counters = names.iter().any(|name| COUNTERS.contains(&name.as_str()));
        let lacking = missing(REQUIRED, &names).or((!has_counters).then_some(counters));
        if let Some(map) = lacking {
            return Err(PinError::damaged(&folder, format!("the map {map} is missing")));
        }
        let mut maps = BTreeMap::new();
        let mut journal = None;
        for name in names {
            let map = MapData::from_pin(path.join(&name))
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
            origin.ok_or_else(|| PinError::damaged(&folder, "their journal has no beginning"))?;
        entries.retain(|entry| !matches!(entry, Entry::Origin(_)));
        let programs = misses::pinned(&folder.links());
        let probes = Probes {
            ebpf: None,
            verified: Vec::new(),
            maps,
            links: Vec::new(),
            growth: growth_maps::counting(&programs),
            programs,
            hooks,
            failed: Vec::new(),
            rejected: false,
            settings: settings(&kept),
        };
        let journal = Arc::new(Mutex::new(journal));
        Ok(Self { probes, journal, entries, since_ns, attachment, folder, object, wanted, links })
    }

    /// Whether all programs are still attached.
    fn check_links(&self) -> Result<(), PinError> {
        let names = match names(&self.folder.links()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PinError::io("list", &self.folder.shown().join(LINKS), error));
            }
            names => names.unwrap_or_default(),
        };
        if names.is_empty() {
            return Err(PinError::damaged(&self.folder, "no program is attached"));
        }
        match missing(self.links.iter().map(String::as_str), &names) {
            Some(link) => {
                Err(PinError::damaged(&self.folder, format!("the program {link} is not attached")))
            }
            None => Ok(()),
        }
    }

    /// Whether these are the probes that a run of this build would attach.
    pub(crate) fn is_as_wanted(&self, wanted: &Wanted, tiers: &[Tier]) -> bool {
        let ring_bytes = || self.probes.ring_bytes().ok();
        version(&self.folder.name) == Some(WIRE_VERSION)
            && self.object == fnv::hash(OBJECT.iter().copied())
            && self.attachment.as_ref().is_some_and(|it| tiers.contains(&it.tier))
            && (wanted.ring_bytes.is_none() || wanted.ring_bytes == ring_bytes())
            && Wanted { ring_bytes: None, ..*wanted } == Wanted { ring_bytes: None, ..self.wanted }
    }

    /// The part that stays when the rest has gone into a run.
    pub(crate) fn folder(&self) -> PinnedFolder {
        self.folder.clone()
    }
}

/// Where a set of probes is pinned.
#[derive(Clone, Debug)]
pub(crate) struct PinnedFolder {
    dir: Rc<Directory>,
    name: String,
}

const MAPS: &str = "maps";
const LINKS: &str = "links";

impl PinnedFolder {
    fn path(&self) -> PathBuf {
        self.dir.at(&self.name)
    }

    fn links(&self) -> PathBuf {
        self.path().join(LINKS)
    }

    /// As the user knows it.
    fn shown(&self) -> PathBuf {
        self.dir.shown().join(&self.name)
    }

    /// Detaches the programs. Their maps stay.
    pub(crate) fn detach(&self) -> Result<(), PinError> {
        fs::remove_dir_all(self.links()).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(PinError::io("detach", &self.shown().join(LINKS), error)),
        })
    }

    /// Removes all pins, which detaches the programs and frees the maps. Renames the folder first,
    /// so that one that is removed in part is never taken over.
    pub(crate) fn remove(&self) -> Result<(), PinError> {
        let failed = |error| PinError::io("remove", &self.shown(), error);
        let stale = if is_stale(&self.name) {
            self.path()
        } else {
            let stale = self.dir.at(&format!("{MAKING}{}", self.name));
            fs::rename(self.path(), &stale).map_err(failed)?;
            stale
        };
        fs::remove_dir_all(stale).map_err(failed)
    }
}

impl Probes {
    /// Pins the probes together with a journal. They stay attached when this process ends. Kills
    /// before `since_ns` are reported by other probes.
    pub(crate) fn pin(
        mut self,
        dir: &PinDir,
        wanted: Wanted,
        attachment: Attachment,
        since_ns: u64,
    ) -> Result<TakenOver, PinError> {
        let programs = mem::take(&mut self.programs);
        let name = format!("{READY}{WIRE_VERSION}-{since_ns}");
        let making = dir.folder(format!("{MAKING}{name}"));
        let folder = dir.folder(name);
        let made = self.pin_into(&making, wanted, attachment, since_ns).and_then(|()| {
            fs::rename(making.path(), folder.path())
                .map_err(|error| PinError::io("make", &folder.shown(), error))
        });
        if made.is_err() {
            // A part of the probes would stay attached with no tracer to read them.
            let _ = making.remove();
        }
        let mut pinned = made.and_then(|()| TakenOver::open(folder))?;
        // This process has their descriptors already, whatever its capabilities.
        pinned.probes.growth = growth_maps::counting(&programs);
        pinned.probes.programs = programs;
        Ok(pinned)
    }

    fn pin_into(
        self,
        folder: &PinnedFolder,
        wanted: Wanted,
        attachment: Attachment,
        since_ns: u64,
    ) -> Result<(), PinError> {
        let (maps, links) = (folder.path().join(MAPS), folder.links());
        for path in [&folder.path(), &maps, &links] {
            make_dir(path).map_err(|error| PinError::io("make", &folder.shown(), error))?;
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

/// Only the owner may open it, because maps can hold command lines.
fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Whether a complete set of probes has this name.
fn is_ready(name: &str) -> bool {
    name.starts_with(READY)
}

/// Whether a set that is made or removed has this name.
fn is_stale(name: &str) -> bool {
    name.strip_prefix(MAKING).is_some_and(is_ready)
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> =
        names.iter().take(MAX_LISTED).map(|name| name.escape_debug().to_string()).collect();
    let more = names.len() - shown.len();
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &end
}

/// The first of `wanted` that is not there.
fn missing<'a>(wanted: impl IntoIterator<Item = &'a str>, there: &[String]) -> Option<&'a str> {
    wanted.into_iter().find(|name| !there.iter().any(|it| it == name))
}

/// The wire version in the name of a folder.
fn version(name: &str) -> Option<u32> {
    let (version, _) = name.strip_prefix(READY)?.split_once('-')?;
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
