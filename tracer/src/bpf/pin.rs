//! Probes that outlive the tracer: pinned below a directory of a BPF file system, and taken over
//! from there by the next one. Links keep their programs, programs keep their maps, so the ring
//! goes on filling while nobody reads it, and the numbers go on too.
//!
//! Below the directory there is one folder per set of probes. Its name,
//! `oomwhy-VERSION-OBJECT-RING`, holds the wire version, a hash of the BPF object and the size of
//! the ring in bytes. It is made under another name and renamed when it is complete: what is found
//! under its own name is whole.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
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

use crate::bpf::{
    journal::{Entry, Journal, SLOT_BYTES, Slot, Slots},
    load::{LoadError, OBJECT, Probes, create_map, missing_map, other},
    plan::Planned,
};

/// The version in the folders of builds that had one number for pins and another for recordings.
/// Its maps have the layout of wire version 2. The journal has had one layout so far.
const FIRST_PIN_VERSION: u32 = 1;
const READY: &str = "oomwhy-";
const MAKING: &str = "making-";
const JOURNAL: &str = "JOURNAL";
/// `statfs` of a BPF file system: include/uapi/linux/magic.h `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Why pins cannot be used.
#[derive(Debug, Error)]
pub(crate) enum PinError {
    /// It is somewhere else.
    #[error(
        "--pin: {} is not on a BPF file system\nhint: `mount -t bpf bpf /sys/fs/bpf`, then \
         `--pin /sys/fs/bpf/oomwhy`", path.display()
    )]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// Another tracer reads there.
    #[error(
        "--pin: another oomwhy is using {}\nhint: end it first, or give this one a directory of \
         its own", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Another version left something that this one cannot read.
    #[error(
        "--pin: {} was left by a version of oomwhy whose records this one cannot read\nhint: start \
         that version once more to report what is in there, or give it up with `oomwhy unpin {}`",
        path.display(), dir.display()
    )]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// The directory.
        dir: PathBuf,
    },
    /// It is attached in a way that ends with the process.
    #[error(
        "--pin: {program} is attached in a way that ends with this process\nhint: `--attach fentry` \
         where the kernel has it, or no --pin"
    )]
    NotForEver {
        /// Which program.
        program: &'static str,
    },
    /// The kernel or the file system said no.
    #[error("--pin: cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Maps or links.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl PinError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// The directory, for this tracer alone as long as it lives.
#[derive(Debug)]
pub(crate) struct PinDir {
    path: PathBuf,
    _lock: OwnedFd,
}

impl PinDir {
    /// Takes the directory, making it where it is not there.
    pub(crate) fn create(path: &Path) -> Result<Self, PinError> {
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        check_bpffs(there, path)?;
        make_dir(path)?;
        let dir = Self::open(path)?;
        for stale in dir.folders(MAKING)? {
            remove(&stale)?;
        }
        Ok(dir)
    }

    /// Takes the directory as it is.
    pub(crate) fn open(path: &Path) -> Result<Self, PinError> {
        check_bpffs(path, path)?;
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

    /// The probes of this very build, where they are pinned as is wanted; and others, which this build
    /// can read. Refuses what it cannot read.
    pub(crate) fn find(&self, wanted: Wanted) -> Result<(Option<Pinned>, Vec<Pinned>), PinError> {
        let mut ours = None;
        let mut others = Vec::new();
        for path in self.folders(READY)? {
            let Some(layout) = Layout::parse(&path).filter(|layout| layout.is_readable()) else {
                return Err(PinError::Unreadable { path, dir: self.path.clone() });
            };
            let is_ours = layout.object == object(wanted)
                && wanted.ring_bytes.is_none_or(|wanted| wanted == layout.ring_bytes);
            if is_ours && ours.is_none() {
                ours = Some(Pinned { path });
            } else {
                others.push(Pinned { path });
            }
        }
        Ok((ours, others))
    }

    /// Removes everything that was pinned here, which detaches it, and the directory. Returns how
    /// many programs that were.
    pub(crate) fn clear(self) -> Result<usize, PinError> {
        let mut n_links = 0;
        for prefix in [READY, MAKING] {
            for path in self.folders(prefix)? {
                n_links += names(&path.join("links")).map_or(0, |links| links.len());
                remove(&path)?;
            }
        }
        // It may hold something else, or be the root of the file system.
        let _ = fs::remove_dir(&self.path);
        Ok(n_links)
    }

    fn folders(&self, prefix: &str) -> Result<Vec<PathBuf>, PinError> {
        let names = names(&self.path).map_err(|error| PinError::io("list", &self.path, error))?;
        let folders = names.into_iter().filter(|name| name.starts_with(prefix));
        Ok(folders.map(|name| self.path.join(name)).collect())
    }
}

/// What is asked of probes that stay. Those that were pinned with something else are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Size of the ring; any if `None`.
    pub ring_bytes: Option<u32>,
    /// They read no command lines.
    pub no_cmdlines: bool,
    /// They record growth from this share of a limit on, percent, where the kernel lets them.
    pub growth_above_percent: Option<u32>,
}

/// What the name of a folder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    version: u32,
    object: u64,
    ring_bytes: u32,
}

impl Layout {
    fn name(self) -> String {
        let Self { version, object, ring_bytes } = self;
        format!("{READY}{version}-{object:016x}-{ring_bytes}")
    }

    fn parse(path: &Path) -> Option<Self> {
        let mut parts = path.file_name()?.to_str()?.strip_prefix(READY)?.split('-');
        let layout = Self {
            version: parts.next()?.parse().ok()?,
            object: u64::from_str_radix(parts.next()?, 16).ok()?,
            ring_bytes: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(layout)
    }

    fn is_readable(self) -> bool {
        self.version == FIRST_PIN_VERSION
            || (OLDEST_WIRE_VERSION..=WIRE_VERSION).contains(&self.version)
    }
}

/// How probes were attached, for those who take them over.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    hooks: BTreeMap<String, String>,
    /// Programs that could not be attached, and why.
    failed: Vec<(String, String)>,
    settings: Vec<u8>,
    /// What began before was seen by the probes that were here before.
    since_ns: u64,
}

/// Pinned probes.
#[derive(Debug)]
pub(crate) struct Pinned {
    path: PathBuf,
}

/// Probes that were taken over, and what their last tracer left untold.
pub(crate) struct TakenOver {
    /// The probes.
    pub probes: Probes,
    /// The journal.
    pub journal: Journal,
    /// What stands in it.
    pub entries: Vec<Entry>,
    /// Invocations that began before belong to other probes, `CLOCK_BOOTTIME` ns; 0: none.
    pub since_ns: u64,
}

impl Probes {
    /// Pins them, with a journal; from then on they stay when this process ends. `since_ns`: other
    /// probes saw what began before.
    pub(crate) fn pin(
        self,
        dir: &PinDir,
        wanted: Wanted,
        since_ns: u64,
    ) -> Result<Pinned, PinError> {
        let ring = self.maps.get("RING").ok_or_else(|| missing_map("RING"))?;
        let Map::RingBuf(ring) = ring else { return Err(missing_map("RING").into()) };
        let info = ring.info().map_err(|error| other("look at the ring", &error))?;
        let ring_bytes = info.max_entries();
        let layout = Layout { version: WIRE_VERSION, object: object(wanted), ring_bytes };
        let path = dir.path.join(layout.name());
        let making = dir.path.join(format!("{MAKING}{}", layout.name()));
        let made = self.pin_into(&making, layout.ring_bytes, since_ns).and_then(|()| {
            fs::rename(&making, &path).map_err(|error| PinError::io("make", &path, error))
        });
        if made.is_err() {
            // Half of it would stay attached, and nobody would know.
            let _ = remove(&making);
        }
        made.map(|()| Pinned { path })
    }

    fn pin_into(self, folder: &Path, ring_bytes: u32, since_ns: u64) -> Result<(), PinError> {
        let (maps, links) = (folder.join("maps"), folder.join("links"));
        for folder in [folder, &maps, &links] {
            make_dir(folder)?;
        }
        let journal = create_journal(ring_bytes)?;
        journal.pin(maps.join(JOURNAL)).map_err(|error| failed_pin(JOURNAL, &error))?;
        for (name, map) in &self.maps {
            // The constants are frozen into the programs.
            if !name.contains('.') {
                map.pin(maps.join(name)).map_err(|error| failed_pin(name, &error))?;
            }
        }
        let (mut journal, _) = open_journal(journal, ring_bytes)?;
        let failed = self.failed.iter();
        let origin = Origin {
            hooks: self.hooks,
            failed: failed.map(|(it, why)| (it.program.to_owned(), why.clone())).collect(),
            settings: self.settings.as_bytes().to_vec(),
            since_ns,
        };
        let origin = serde_json::to_vec(&origin).unwrap_or_default();
        if journal.put(&Entry::Origin(origin)).is_err() {
            return Err(missing_map(JOURNAL).into());
        }
        for (program, link) in self.links {
            let link = link.ok_or(PinError::NotForEver { program })?;
            link.pin(links.join(program)).map_err(|error| failed_pin(program, &error))?;
        }
        Ok(())
    }
}

impl Pinned {
    /// Opens what is pinned. `plan`: names of programs that may be there.
    pub(crate) fn take_over(&self, plan: &[Planned]) -> Result<TakenOver, PinError> {
        let layout = Layout::parse(&self.path).ok_or_else(|| missing_map("RING"))?;
        let folder = self.path.join("maps");
        let names = names(&folder).map_err(|error| PinError::io("list", &folder, error))?;
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
        let journal = journal.ok_or_else(|| missing_map(JOURNAL))?;
        let (journal, mut entries) = open_journal(journal, layout.ring_bytes)?;
        let origin = entries.iter().find_map(|entry| match entry {
            Entry::Origin(origin) => serde_json::from_slice::<Origin>(origin).ok(),
            _ => None,
        });
        let origin = origin.ok_or_else(|| missing_map(JOURNAL))?;
        entries.retain(|entry| !matches!(entry, Entry::Origin(_)));
        let planned = |program: &str| plan.iter().copied().find(|it| it.program == program);
        let failed = origin.failed.into_iter();
        let probes = Probes {
            ebpf: None,
            verified: Vec::new(),
            maps,
            links: Vec::new(),
            growth: None,
            hooks: origin.hooks,
            failed: failed.filter_map(|(program, why)| Some((planned(&program)?, why))).collect(),
            rejected: false,
            settings: settings(&origin.settings),
        };
        Ok(TakenOver { probes, journal, entries, since_ns: origin.since_ns })
    }

    /// Detaches the programs; what they wrote stays.
    pub(crate) fn detach(&self) -> Result<(), PinError> {
        let links = self.path.join("links");
        fs::remove_dir_all(&links).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(PinError::io("detach", &links, error)),
        })
    }

    /// Removes all of it.
    pub(crate) fn remove(&self) -> Result<(), PinError> {
        remove(&self.path)
    }
}

/// The journal's map, as a place for slots.
struct MapSlots(BpfHashMap<MapData, u64, Slot>);

impl Slots for MapSlots {
    fn put(&mut self, key: u64, slot: &Slot) -> io::Result<()> {
        self.0.insert(key, slot, 0).map_err(io::Error::other)
    }

    fn remove(&mut self, key: u64) {
        // It is not there, then.
        let _ = self.0.remove(&key);
    }

    fn all(&self) -> io::Result<Vec<(u64, Slot)>> {
        self.0.iter().map(|entry| entry.map_err(io::Error::other)).collect()
    }
}

/// As large as the ring: what is taken out of the one has room in the other. Its memory is taken
/// at once: when it is needed there is none left.
fn create_journal(ring_bytes: u32) -> Result<MapData, LoadError> {
    let map = bpf_map_def {
        map_type: BPF_MAP_TYPE_HASH as u32,
        key_size: 8,
        value_size: 512,
        max_entries: n_slots(ring_bytes),
        ..bpf_map_def::default()
    };
    create_map(JOURNAL, map).map_err(|error| other("make the journal", &error))
}

const _: () = assert!(SLOT_BYTES == 512);

fn n_slots(ring_bytes: u32) -> u32 {
    ring_bytes / 512
}

fn open_journal(map: MapData, ring_bytes: u32) -> Result<(Journal, Vec<Entry>), LoadError> {
    let map = Map::from_map_data(map).and_then(BpfHashMap::try_from);
    let map = map.map_err(|error| other("open the journal", &error))?;
    let capacity = n_slots(ring_bytes) as usize;
    Journal::open(Box::new(MapSlots(map)), capacity)
        .map_err(|error| other("read the journal", &error))
}

fn failed_pin(what: &str, error: &AyaPinError) -> LoadError {
    other(&format!("pin {what}"), error)
}

/// `nearest` is the part of `path` that is there.
fn check_bpffs(nearest: &Path, path: &Path) -> Result<(), PinError> {
    let stat = statfs(nearest).map_err(|error| PinError::io("find", path, error.into()))?;
    // The type of the field differs between architectures.
    let is_bpffs = u64::try_from(stat.f_type).is_ok_and(|kind| kind & 0xffff_ffff == BPF_FS_MAGIC);
    if is_bpffs { Ok(()) } else { Err(PinError::NotBpffs { path: path.to_owned() }) }
}

/// For its owner only: who can open the maps can read them.
fn make_dir(path: &Path) -> Result<(), PinError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| PinError::io("make", path, error))
}

/// A folder that is half removed is none.
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

/// Which programs they are. Those that read no command lines are others: what they put into the ring
/// may hold no secret, whoever takes them over. So are those that record growth.
fn object(wanted: Wanted) -> u64 {
    let growth = wanted.growth_above_percent.map_or(0, |percent| u64::from(percent) + 1);
    fnv(OBJECT) ^ u64::from(wanted.no_cmdlines) ^ (growth << 1)
}

/// Settings that an older version kept are fewer; the rest was off.
fn settings(kept: &[u8]) -> Settings {
    let mut settings = Settings::default();
    for (byte, kept) in settings.as_mut_bytes().iter_mut().zip(kept) {
        *byte = *kept;
    }
    settings
}

/// FNV-1a: two builds must come to the same hash, which std does not promise.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oomwhy_common::{
        WIRE_VERSION, counters,
        event::{
            CandidateEntry, CandidatesHead, CgroupEvent, ContextHead, EndEvent, EventHeader,
            GrowingProcessEvent, InvocationEvent, LevelEntry, LevelsHead, MarkEvent, ParentEntry,
            PathHead, ReclaimedEvent, RepeatsEvent, StatEvent, VictimEvent, VictimGoneEvent,
            WaitEvent,
        },
        maps::{QuietRun, Wait},
        settings::Settings,
    };
    use zerocopy::IntoBytes as _;

    use super::{Layout, PinDir, PinError, Wanted, fnv, object, settings};

    #[test]
    fn the_name_of_a_folder_says_what_is_in_it() {
        let layout = Layout { version: 1, object: 0xfeed, ring_bytes: 524_288 };
        assert_eq!(layout.name(), "oomwhy-1-000000000000feed-524288");
        assert_eq!(Layout::parse(Path::new("/x").join(layout.name()).as_path()), Some(layout));
        for foreign in ["oomwhy-", "oomwhy-x-0-1", "oomwhy-1-0", "oomwhy-1-0-1-2", "else-1-0-1"] {
            assert_eq!(Layout::parse(Path::new(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn pins_of_older_versions_are_readable() {
        let is_readable = |version| Layout { version, object: 1, ring_bytes: 4096 }.is_readable();
        assert!([1, 2, WIRE_VERSION].into_iter().all(is_readable));
        assert!(![0, WIRE_VERSION + 1].into_iter().any(is_readable));
    }

    #[test]
    fn settings_of_older_and_newer_versions_are_read_as_far_as_they_are_known() {
        let kept = Settings { per_cpu_offsets: 7, no_cmdlines: 1, ..Settings::default() };
        let older = settings(&kept.as_bytes()[..48]);
        assert_eq!((older.per_cpu_offsets, older.no_cmdlines), (7, 0));
        let newer = [kept.as_bytes(), &[9; 8]].concat();
        assert_eq!(settings(&newer).no_cmdlines, 1);
    }

    #[test]
    fn probes_that_read_command_lines_are_not_taken_over_by_who_wants_none() {
        let readers = Wanted::default();
        let none = Wanted { no_cmdlines: true, ..readers };
        assert_ne!(object(none), object(readers));
    }

    #[test]
    fn probes_that_record_growth_are_not_taken_over_by_who_wants_it_otherwise() {
        let wanted = |growth_above_percent| Wanted { growth_above_percent, ..Wanted::default() };
        let objects = [None, Some(0), Some(50)].map(|above| object(wanted(above)));
        assert!(objects[0] != objects[1] && objects[1] != objects[2] && objects[0] != objects[2]);
        let any_ring = Wanted { ring_bytes: Some(4096), ..wanted(None) };
        assert_eq!(object(any_ring), objects[0]);
    }

    /// A field that is appended as [`oomwhy_common`] describes changes the hash only. Any other
    /// change of a layout raises the wire version too.
    #[test]
    fn wire_version_belongs_to_these_layouts() {
        let sizes = [
            size_of::<EventHeader>(),
            size_of::<InvocationEvent>(),
            size_of::<CandidatesHead>(),
            size_of::<CandidateEntry>(),
            size_of::<PathHead>(),
            size_of::<VictimEvent>(),
            size_of::<EndEvent>(),
            size_of::<LevelsHead>(),
            size_of::<LevelEntry>(),
            size_of::<RepeatsEvent>(),
            size_of::<ReclaimedEvent>(),
            size_of::<CgroupEvent>(),
            size_of::<StatEvent>(),
            size_of::<VictimGoneEvent>(),
            size_of::<WaitEvent>(),
            size_of::<ContextHead>(),
            size_of::<ParentEntry>(),
            size_of::<MarkEvent>(),
            size_of::<GrowingProcessEvent>(),
            size_of::<QuietRun>(),
            size_of::<Wait>(),
        ];
        let fields = (counters::DROPPED, counters::FIRST_DROP_NS, counters::LAST_DROP_NS);
        let layouts = format!("{sizes:?} {fields:?}");
        assert_eq!(
            (WIRE_VERSION, fnv(layouts.as_bytes())),
            (3, 9_886_945_367_234_405_888),
            "{layouts}"
        );
    }

    #[test]
    fn a_directory_elsewhere_is_refused_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er");
        let refused = PinDir::create(&path).unwrap_err();
        assert!(matches!(refused, PinError::NotBpffs { .. }), "{refused}");
        assert!(refused.to_string().contains("mount -t bpf"), "{refused}");
        assert!(!folder.path().join("deep").exists());
    }
}
