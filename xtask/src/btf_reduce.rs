//! Cuts a kernel's BTF (4 to 6 MB) down to the few KB that the tests of `tracer/src/kernel` read:
//! the fixtures in tests/fixtures/btf. What is kept is the kernel's own, only renumbered.
//!
//! A member or function that those modules begin to ask for is added to the lists here.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

/// Structs, and the members kept of each, also where they sit in anonymous structs and unions.
/// Other structs are kept whole where they are embedded, and become void where pointed to.
#[rustfmt::skip]
const STRUCTS: &[(&str, &[&str])] = &[
    ("oom_control", &["memcg", "nodemask", "gfp_mask", "order", "totalpages", "chosen", "chosen_points",
                      "constraint"]),
    // __state and lockdep_depth tell which gfp macros the kernel has.
    ("task_struct", &["pid", "tgid", "comm", "flags", "mm", "signal", "real_cred",
                      "start_boottime", "cgroups", "vfork_done", "real_parent", "mems_allowed", "memcg_in_oom", "__state",
                      "lockdep_depth"]),
    ("signal_struct", &["nr_threads", "live", "oom_score_adj", "oom_mm", "pids"]),
    ("pid", &["level", "numbers"]),
    ("upid", &["nr"]),
    ("cred", &["uid"]),
    ("mm_struct", &["total_vm", "pgtables_bytes", "flags", "rss_stat"]),
    ("percpu_counter", &["count", "counters"]),
    ("css_set", &["subsys"]),
    ("cgroup_subsys_state", &["cgroup"]),
    ("mem_cgroup", &["css", "memory", "swap", "memsw", "oom_group", "vmstats"]),
    ("memcg_vmstats", &["state"]),
    ("page_counter", &["usage", "max", "high", "low", "min", "parent"]),
    ("cgroup", &["kn"]),
    ("kernfs_node", &["parent", "__parent", "name", "id"]),
];

/// Functions, kept without their prototypes.
const FUNCTIONS: &[&str] = &[
    "out_of_memory",
    "mem_cgroup_out_of_memory",
    "mem_cgroup_oom_synchronize",
    "oom_evaluate_task",
    "oom_badness",
    "oom_kill_process",
    "mem_cgroup_get_oom_group",
    "mem_cgroup_print_oom_meminfo",
    "__oom_kill_process",
    "exit_mmap",
    "page_counter_try_charge",
];

const TYPEDEFS: &[&str] = &[
    "btf_trace_mark_victim",
    "btf_trace_cgroup_mkdir",
    "btf_trace_signal_generate",
    "btf_trace_wake_reaper",
    "btf_trace_start_task_reaping",
    "btf_trace_finish_task_reaping",
    "btf_trace_skip_task_reaping",
    "btf_trace_sched_process_exit",
];

/// An enum is kept if it has one of these; whole, but for the first list.
const ENUMERATORS: &[&str] = &[
    "memory_cgrp_id",
    "PIDTYPE_TGID",
    "MM_FILEPAGES",
    "___GFP_DMA_BIT",
    CURRENT_TASK_BTF,
    "NR_ANON_MAPPED",
    "MEMCG_SOCK",
];
/// `enum bpf_func_id` has 200 more, which nobody asks for.
const CURRENT_TASK_BTF: &str = "BPF_FUNC_get_current_task_btf";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

/// BTF_KIND_*, <https://docs.kernel.org/bpf/btf.html>.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// One type as it stands in the file: the three words of its head, then `extra`.
#[derive(Clone, Default)]
struct Type {
    name: u32,
    info: u32,
    /// Id of another type; of structs, enums and numbers the size.
    points_at: u32,
    extra: Vec<u32>,
}

impl Type {
    fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    /// Members, enumerators or parameters.
    fn parts(&self) -> std::slice::ChunksExact<'_, u32> {
        let words = if matches!(self.kind(), kind::ENUM | kind::FUNC_PROTO) { 2 } else { 3 };
        self.extra.chunks_exact(words)
    }

    fn set_len(&mut self, len: usize) -> Result<()> {
        self.info = self.info & 0xffff_0000 | u32::from(u16::try_from(len)?);
        Ok(())
    }
}

/// Words behind the head of a type.
fn extra_words(info: u32) -> Result<usize> {
    let len = usize::try_from(info & 0xffff)?;
    Ok(match info >> 24 & 0x1f {
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => 0,
        kind::INT | kind::VAR | kind::DECL_TAG => 1,
        kind::ARRAY => 3,
        kind::ENUM | kind::FUNC_PROTO => 2 * len,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * len,
        unknown => bail!("BTF kind {unknown} is not known"),
    })
}

/// The kernel's BTF, taken apart. Ids are indexes; 0 is void.
struct Source<'a> {
    types: Vec<Type>,
    strings: &'a [u8],
}

impl<'a> Source<'a> {
    fn parse(btf: &'a [u8]) -> Result<Self> {
        let word = |at: usize| -> Result<u32> {
            let bytes = btf.get(at..at + 4).context("BTF is cut off")?;
            Ok(u32::from_le_bytes(bytes.try_into()?))
        };
        ensure!(word(0)? & 0xffff == u32::from(MAGIC), "not little-endian BTF");
        let head = usize::try_from(word(4)?)?;
        let section = |at: usize| -> Result<(usize, usize)> {
            let start = head + usize::try_from(word(at)?)?;
            Ok((start, start + usize::try_from(word(at + 4)?)?))
        };
        let (mut at, end) = section(8)?;
        let (strings, strings_end) = section(16)?;
        let mut types = vec![Type::default()];
        while at < end {
            let info = word(at + 4)?;
            let next = at + 12 + 4 * extra_words(info)?;
            let extra = (at + 12..next).step_by(4).map(word).collect::<Result<_>>()?;
            types.push(Type { name: word(at)?, info, points_at: word(at + 8)?, extra });
            at = next;
        }
        let strings = btf.get(strings..strings_end).context("BTF is cut off")?;
        Ok(Self { types, strings })
    }

    fn get(&self, id: u32) -> Result<&Type> {
        self.types.get(usize::try_from(id)?).with_context(|| format!("no type {id}"))
    }

    fn text(&self, offset: u32) -> Result<&'a str> {
        let rest = self.strings.get(usize::try_from(offset)?..).context("string out of bounds")?;
        let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(str::from_utf8(text)?)
    }

    /// Whether a member is wanted, or is anonymous and has a wanted one inside.
    fn is_wanted(&self, member: &[u32], wanted: &[&str]) -> Result<bool> {
        let [name, id, _] = member else { bail!("a member has three words") };
        let name = self.text(*name)?;
        if !name.is_empty() {
            return Ok(wanted.contains(&name));
        }
        let inside = self.get(*id)?;
        for member in inside.parts() {
            if self.is_wanted(member, wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The BTF that is written.
struct Target<'a> {
    source: &'a Source<'a>,
    types: Vec<Type>,
    ids: HashMap<u32, u32>,
    strings: Vec<u8>,
    offsets: HashMap<&'a str, u32>,
}

impl<'a> Target<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        let (ids, offsets) = (HashMap::from([(0, 0)]), HashMap::from([("", 0)]));
        Self { source, types: vec![Type::default()], ids, strings: vec![0], offsets }
    }

    fn string(&mut self, offset: u32) -> Result<u32> {
        let text = self.source.text(offset)?;
        if let Some(known) = self.offsets.get(text) {
            return Ok(*known);
        }
        let new = u32::try_from(self.strings.len())?;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.offsets.insert(text, new);
        Ok(new)
    }

    /// Copies a type and what it is made of; its new id. `wanted` is what is kept of an anonymous
    /// struct.
    fn copy(&mut self, id: u32, wanted: Option<&[&str]>) -> Result<u32> {
        if let Some(known) = self.ids.get(&id) {
            return Ok(*known);
        }
        let source = self.source;
        let old = source.get(id)?;
        let new = u32::try_from(self.types.len())?;
        // Before what it is made of: structs point at each other in circles.
        self.ids.insert(id, new);
        self.types.push(Type::default());
        let mut copy = Type { name: self.string(old.name)?, ..old.clone() };
        match old.kind() {
            kind::PTR => copy.points_at = self.pointee(old.points_at)?,
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                copy.points_at = self.copy(old.points_at, wanted)?;
            }
            kind::ARRAY => {
                let &[element, index, len] = old.extra.as_slice() else { bail!("a damaged array") };
                copy.extra = vec![self.copy(element, None)?, self.copy(index, None)?, len];
            }
            kind::STRUCT | kind::UNION => self.members(old, &mut copy, wanted)?,
            kind::ENUM => self.enumerators(old, &mut copy)?,
            kind::FUNC_PROTO => self.prototype(old, &mut copy)?,
            kind::INT | kind::FWD | kind::FLOAT => {}
            kind::ENUM64 => {
                copy.extra.clear();
                copy.set_len(0)?;
            }
            // The prototype is nobody's business here.
            kind::FUNC => copy.points_at = self.empty_prototype()?,
            other => bail!("BTF kind {other} has no place in a fixture"),
        }
        *self.types.get_mut(usize::try_from(new)?).context("it was pushed")? = copy;
        Ok(new)
    }

    /// A pointer keeps the structs we know and function prototypes; all else becomes void.
    fn pointee(&mut self, id: u32) -> Result<u32> {
        let source = self.source;
        let mut plain = id;
        while matches!(source.get(plain)?.kind(), kind::CONST | kind::VOLATILE | kind::TYPE_TAG) {
            plain = source.get(plain)?.points_at;
        }
        let pointee = source.get(plain)?;
        let is_kept = match pointee.kind() {
            kind::FUNC_PROTO => true,
            kind::STRUCT => {
                let name = source.text(pointee.name)?;
                STRUCTS.iter().any(|(known, _)| *known == name)
            }
            _ => false,
        };
        if is_kept { self.copy(plain, None) } else { Ok(0) }
    }

    fn members(&mut self, old: &Type, copy: &mut Type, wanted: Option<&[&str]>) -> Result<()> {
        let source = self.source;
        let name = source.text(old.name)?;
        let listed = STRUCTS.iter().find(|(known, _)| *known == name).map(|(_, members)| *members);
        let wanted = if name.is_empty() { wanted } else { listed };
        copy.extra.clear();
        for member in old.parts() {
            let [name, id, bits] = *member else { bail!("a member has three words") };
            if wanted.is_none_or(|wanted| source.is_wanted(member, wanted).unwrap_or(false)) {
                let anonymous = source.text(name)?.is_empty();
                let id = self.copy(id, wanted.filter(|_| anonymous))?;
                copy.extra.extend([self.string(name)?, id, bits]);
            }
        }
        copy.set_len(copy.extra.len() / 3)
    }

    fn enumerators(&mut self, old: &Type, copy: &mut Type) -> Result<()> {
        let source = self.source;
        let is_huge = source.text(old.name)? == "bpf_func_id";
        copy.extra.clear();
        for enumerator in old.parts() {
            let [name, value] = *enumerator else { bail!("an enumerator has two words") };
            if !is_huge || source.text(name)? == CURRENT_TASK_BTF {
                copy.extra.extend([self.string(name)?, value]);
            }
        }
        copy.set_len(copy.extra.len() / 2)
    }

    fn prototype(&mut self, old: &Type, copy: &mut Type) -> Result<()> {
        copy.points_at = self.copy(old.points_at, None)?;
        copy.extra.clear();
        for parameter in old.parts() {
            let [name, id] = *parameter else { bail!("a parameter has two words") };
            copy.extra.extend([self.string(name)?, self.copy(id, None)?]);
        }
        Ok(())
    }

    fn empty_prototype(&mut self) -> Result<u32> {
        // No type of a kernel has this id.
        const KEY: u32 = u32::MAX;
        if let Some(known) = self.ids.get(&KEY) {
            return Ok(*known);
        }
        let new = u32::try_from(self.types.len())?;
        self.types.push(Type { info: kind::FUNC_PROTO << 24, ..Type::default() });
        self.ids.insert(KEY, new);
        Ok(new)
    }

    fn into_bytes(self) -> Result<Vec<u8>> {
        let words = self.types.iter().skip(1).flat_map(|written| {
            [written.name, written.info, written.points_at]
                .into_iter()
                .chain(written.extra.iter().copied())
        });
        let types: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let (types_len, strings_len) = (u32::try_from(types.len())?, self.strings.len());
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_le_bytes());
        // Version 1, no flags.
        bytes.extend([1, 0]);
        let head = u32::try_from(HEADER_BYTES)?;
        for word in [head, 0, types_len, types_len, u32::try_from(strings_len)?] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(types);
        bytes.extend(self.strings);
        Ok(bytes)
    }
}

/// Whether a type is one of those that the copy starts from.
fn is_root(source: &Source<'_>, of: &Type) -> Result<bool> {
    let name = source.text(of.name)?;
    Ok(match of.kind() {
        kind::STRUCT => STRUCTS.iter().any(|(known, _)| *known == name),
        kind::FUNC => FUNCTIONS.contains(&name),
        kind::TYPEDEF => TYPEDEFS.contains(&name),
        kind::ENUM => of
            .parts()
            .filter_map(|part| source.text(*part.first()?).ok())
            .any(|name| ENUMERATORS.contains(&name)),
        _ => false,
    })
}

/// Reduces BTF as it stands in `/sys/kernel/btf/vmlinux` or in the ELF section `.BTF`.
pub(crate) fn reduce(btf: &[u8]) -> Result<Vec<u8>> {
    let source = Source::parse(btf)?;
    let mut target = Target::new(&source);
    for (id, of) in (0..).zip(&source.types) {
        if is_root(&source, of)? {
            target.copy(id, None)?;
        }
    }
    target.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn a_reduced_btf_loses_nothing_when_it_is_reduced_again() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/btf");
        for entry in fs::read_dir(folder).expect("the fixtures") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "btf") {
                let fixture = fs::read(&path).expect("a fixture");
                let again = reduce(&fixture).expect("valid BTF");
                assert!(again == fixture, "{}", path.display());
            }
        }
    }

    #[test]
    fn what_is_not_btf_is_refused() {
        assert!(reduce(b"").is_err());
        assert!(reduce(&[0; 64]).is_err());
        assert!(reduce(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]).is_err());
    }
}
