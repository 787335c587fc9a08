//! How `oomwhy risk` finds the growth recorder of a running `oomwhy watch --growth`: by a map with
//! a fixed name, whose value has the ids and the layout of the recorder's maps. The kernel frees it
//! when the tracer ends, so nothing is pinned and no socket is needed.

use std::{io, mem::offset_of};

use crate::{
    bpf::{
        growth_maps::{GrowthMaps, Words},
        load::create_map,
    },
    model::fnv,
};

use aya::maps::{IterableMap as _, Map, MapData, MapError, MapInfo, loaded_maps};
use aya_obj::{generated::bpf_map_type::BPF_MAP_TYPE_LRU_HASH, maps::bpf_map_def};
use oomwhy_common::{
    event::UserFrame,
    growth::{
        self, Charged, Charger, Curve, Extremes, KernelStack, Level, Point, Ring, Step, UserStack,
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// At most 15 bytes (`BPF_OBJ_NAME_LEN`).
const NAME: &str = "oomwhy_recorder";
const WORDS: usize = 9;
/// Bytes of the key and of the value.
const SIZES: (u32, u32) = (8, 72);
/// Raised if the meaning of the maps changes but not their layout.
const MEANING: usize = 1;
/// Further tracers are ignored.
const MAX_RECORDERS: usize = 4;

/// The value of the map, under the key 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct RegistryEntry {
    /// The [`FORMAT`] of the build that wrote it. If it is another one, the rest is not read.
    format: u64,
    pid: u64,
    /// The start of the tracer on `CLOCK_BOOTTIME`, ns.
    started_ns: u64,
    above_percent: u64,
    /// Ids of the recorder's maps.
    maps: [u64; 5],
}

const _: () = assert!(size_of::<RegistryEntry>() == 72 && WORDS * 8 == 72);

/// Two builds have the same value only if the layouts of all maps are the same.
const FORMAT: u64 = fingerprint(&[
    MEANING,
    size_of::<RegistryEntry>(),
    size_of::<Curve>(),
    offset_of!(Curve, latest),
    offset_of!(Curve, fine),
    offset_of!(Curve, coarse),
    offset_of!(Point, t_ns),
    offset_of!(Point, usage),
    offset_of!(Point, max),
    size_of::<Ring>(),
    offset_of!(Ring, since),
    offset_of!(Ring, steps),
    offset_of!(Step, point),
    offset_of!(Step, extremes),
    offset_of!(Extremes, low),
    offset_of!(Extremes, high),
    offset_of!(Level, t_ns),
    offset_of!(Level, usage),
    growth::POINTS,
    size_of::<Charger>(),
    offset_of!(Charger, cgroup_id),
    offset_of!(Charger, tgid),
    offset_of!(Charger, user_stack),
    offset_of!(Charger, kernel_stack),
    size_of::<Charged>(),
    offset_of!(Charged, epoch),
    offset_of!(Charged, pages),
    offset_of!(Charged, pages_before),
    offset_of!(Charged, near),
    offset_of!(Charged, comm),
    (growth::EPOCH_NS / 1_000_000) as usize,
    size_of::<UserStack>(),
    offset_of!(UserStack, frames),
    size_of::<UserFrame>(),
    offset_of!(UserFrame, status),
    offset_of!(UserFrame, build_id),
    offset_of!(UserFrame, offset_or_ip),
    size_of::<KernelStack>(),
    growth::COUNTERS as usize,
]);

const fn fingerprint(numbers: &[usize]) -> u64 {
    let mut hash = fnv::START;
    let mut rest = numbers;
    while let Some((&number, after)) = rest.split_first() {
        hash = fnv::add(hash, number as u64);
        rest = after;
    }
    hash
}

/// A growth recorder of a running tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunningRecorder {
    /// The tracer's process id in its own pid namespace.
    pub pid: u64,
    /// The start of the tracer on `CLOCK_BOOTTIME`, ns.
    pub started_ns: u64,
    /// It records cgroups above this percentage of their limit.
    pub above_percent: u64,
    id: u32,
    maps: [u64; 5],
}

/// The recorders of this host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// The readable ones, newest first.
    pub running: Vec<RunningRecorder>,
    /// Whether another build of oomwhy records with a layout that this one cannot read.
    pub other_build: bool,
}

/// Looks for recorders among all maps of the host, which the kernel shows to CAP_SYS_ADMIN only. A
/// kernel without BPF has none.
pub(crate) fn find() -> io::Result<Registered> {
    let mut found = Registered::default();
    for info in loaded_maps() {
        let info = match info {
            Ok(info) => info,
            Err(error) => match errno(error) {
                // The map was freed meanwhile.
                error if error.kind() == io::ErrorKind::NotFound => continue,
                error if error.kind() == io::ErrorKind::Unsupported => break,
                error => return Err(error),
            },
        };
        if info.name() != NAME.as_bytes() {
            continue;
        }
        match read(&info) {
            Ok(Some(entry)) => found.running.push(running(info.id(), entry)),
            Ok(None) => found.other_build = true,
            // The map was freed, or is not written yet.
            Err(_) => {}
        }
    }
    found.running.sort_by_key(|running| std::cmp::Reverse(running.started_ns));
    found.running.truncate(MAX_RECORDERS);
    Ok(found)
}

fn running(id: u32, entry: RegistryEntry) -> RunningRecorder {
    let RegistryEntry { pid, started_ns, above_percent, maps, .. } = entry;
    RunningRecorder { pid, started_ns, above_percent, id, maps }
}

/// `None` if another build wrote it.
fn read(info: &MapInfo) -> Result<Option<RegistryEntry>, MapError> {
    if (info.key_size(), info.value_size()) != SIZES {
        return Ok(None);
    }
    let Map::LruHashMap(map) = Map::from_map_data(MapData::from_id(info.id())?)? else {
        return Ok(None);
    };
    let map: Words<1, WORDS> = Map::LruHashMap(map).try_into()?;
    Ok(understood(&map.get(&[0], 0)?))
}

fn understood(words: &[u64; WORDS]) -> Option<RegistryEntry> {
    RegistryEntry::read_from_bytes(words.as_bytes()).ok().filter(|entry| entry.format == FORMAT)
}

fn errno(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::CreateError { io_error, .. } => io_error,
        error => io::Error::other(error),
    }
}

impl RunningRecorder {
    /// Opens its maps; `None` if it has ended. Opened maps are not freed when the tracer ends,
    /// which would hide that nothing writes to them. So they are opened for each reading.
    pub(crate) fn open(&self) -> Option<GrowthMaps> {
        let info = MapInfo::from_id(self.id).ok()?;
        let is_same = info.name() == NAME.as_bytes()
            && read(&info).ok()?.map(|entry| running(self.id, entry)) == Some(*self);
        let [curves, charged, user_stacks, kernel_stacks, counters] = self.maps;
        is_same.then_some(())?;
        Some(GrowthMaps {
            curves: hash_map(curves)?,
            charged: hash_map(charged)?,
            user_stacks: hash_map(user_stacks)?,
            kernel_stacks: hash_map(kernel_stacks)?,
            counters: open(counters)?.try_into().ok()?,
            program: None,
        })
    }
}

/// The sizes of keys and values are compared, and creating a map of this type needs CAP_BPF.
fn hash_map<const KEY: usize, const VALUE: usize>(id: u64) -> Option<Words<KEY, VALUE>> {
    match open(id)? {
        map @ Map::LruHashMap(_) => map.try_into().ok(),
        _ => None,
    }
}

fn open(id: u64) -> Option<Map> {
    Map::from_map_data(MapData::from_id(u32::try_from(id).ok()?).ok()?).ok()
}

/// Other processes find the recorder as long as this lives.
#[derive(Debug)]
pub(crate) struct Registration {
    _map: Words<1, WORDS>,
}

impl GrowthMaps {
    /// Registers the recorder, which writes these maps for cgroups above this percentage of their
    /// limit.
    pub(crate) fn register(&self, above_percent: u32) -> io::Result<Registration> {
        let id = |map: &MapData| map.info().map(|info| u64::from(info.id())).map_err(errno);
        let entry = RegistryEntry {
            format: FORMAT,
            pid: u64::from(std::process::id()),
            started_ns: crate::host::clock::boottime_ns(),
            above_percent: u64::from(above_percent),
            maps: [
                id(self.curves.map())?,
                id(self.charged.map())?,
                id(self.user_stacks.map())?,
                id(self.kernel_stacks.map())?,
                id(self.counters.map())?,
            ],
        };
        let mut words = [0; WORDS];
        words.as_mut_bytes().copy_from_slice(entry.as_bytes());
        let created = create().and_then(Map::from_map_data).map_err(errno)?;
        let mut map: Words<1, WORDS> = created.try_into().map_err(errno)?;
        map.insert([0], words, 0).map_err(errno)?;
        Ok(Registration { _map: map })
    }
}

/// An LRU map, because creating one needs CAP_BPF.
fn create() -> Result<MapData, MapError> {
    let map = bpf_map_def {
        map_type: BPF_MAP_TYPE_LRU_HASH as u32,
        key_size: SIZES.0,
        value_size: SIZES.1,
        max_entries: 1,
        ..bpf_map_def::default()
    };
    create_map(NAME, map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_of_another_build_is_not_read() {
        let mut words = [7; WORDS];
        assert_eq!(understood(&words), None);
        words[0] = FORMAT;
        let entry = understood(&words).unwrap();
        assert_eq!((entry.pid, entry.above_percent, entry.maps), (7, 7, [7; 5]));
    }

    #[test]
    fn layout_with_one_difference_has_another_format() {
        let layout = [MEANING, size_of::<Curve>(), offset_of!(Curve, fine)];
        for index in 0..layout.len() {
            let mut other = layout;
            other[index] += 8;
            assert_ne!(fingerprint(&layout), fingerprint(&other));
        }
        assert_ne!(fingerprint(&[8, 16]), fingerprint(&[16, 8]));
    }

    #[test]
    fn map_name_is_valid_for_the_kernel() {
        assert!(NAME.len() < 16 && NAME.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'));
    }
}
