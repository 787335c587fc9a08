//! Copies the few types that oomwhy asks for out of the kernel's BTF, with the types they consist
//! of. btf-rs then resolves paths in a few KB instead of 80,000 to 200,000 types.
//!
//! It keeps the wanted structs with their wanted members (also members of anonymous structs), and
//! the wanted enumerators, typedefs and functions, the latter without prototypes. It follows
//! pointers only to wanted structs and to function prototypes. Reducing the result again changes
//! nothing. The BTF fixtures of the tests are made here.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Read, Seek},
};

use super::{
    index::{Index, WantedStrings},
    raw::{Damage, Head, Raw, Type, kind},
    skeleton::Hook,
    write,
};
use crate::host::facts::WantedHook;

#[derive(Default)]
pub(super) struct Reduced {
    /// BTF with new ids.
    pub(super) bytes: Vec<u8>,
    /// Structs and unions by name; several, because unrelated drivers reuse names.
    pub(super) structs: HashMap<String, Vec<u32>>,
    pub(super) typedefs: HashMap<String, u32>,
    /// The enumerators of wanted and of all anonymous enums.
    pub(super) enumerators: HashMap<String, u32>,
    /// Functions and tracepoints, with the kernel's own ids.
    pub(super) hooks: Vec<Hook>,
}

/// Reads BTF once from end to end, and then again the types that it keeps.
pub(super) fn reduce<R: Read + Seek>(source: R, hooks: &[WantedHook]) -> Result<Reduced, Damage> {
    let mut raw = Raw::open(source)?;
    let names = WantedStrings::scan(&mut raw, hooks)?;
    let index = Index::scan(&mut raw, &names)?;
    let mut target = Target {
        raw,
        names: &names,
        index: &index,
        ids: BTreeMap::from([(0, 0)]),
        types: Vec::new(),
        prototype: None,
    };
    let mut reduced = Reduced::default();
    for root in &index.roots {
        let name = names.text(root.head.name).unwrap_or_default().to_owned();
        match root.head.kind() {
            kind::FUNC => {
                reduced.hooks.push(Hook::function(root.id, name));
                target.function(root.head);
            }
            kind::TYPEDEF => {
                reduced.hooks.push(Hook::typedef(root.id, name.clone()));
                reduced.typedefs.insert(name, target.copy(root.id)?);
            }
            kind::ENUM => target.enumerators(root.id, root.at, &mut reduced.enumerators)?,
            _ => {
                let id = target.copy(root.id)?;
                reduced.structs.entry(name).or_default().push(id);
            }
        }
    }
    reduced.bytes = write::btf(&target.types, &names);
    Ok(reduced)
}

/// The kept types, in the order of their new ids.
struct Target<'a, R> {
    raw: Raw<R>,
    names: &'a WantedStrings,
    index: &'a Index,
    /// New ids by the kernel's ids.
    ids: BTreeMap<u32, u32>,
    types: Vec<Type>,
    /// The new id of a prototype without parameters, which all functions share.
    prototype: Option<u32>,
}

impl<R: Read + Seek> Target<'_, R> {
    /// Copies a type and the types it consists of, and returns its new id.
    fn copy(&mut self, id: u32) -> Result<u32, Damage> {
        let mut waiting = Vec::new();
        let new = self.refer(id, &mut waiting);
        // No recursion, because a damaged file may be nested without end.
        while let Some(id) = waiting.pop() {
            let old = self.index.read(&mut self.raw, id)?;
            let copy = self.convert(old, &mut waiting)?;
            let index = self.ids.get(&id).and_then(|new| new.checked_sub(1));
            let slot = index.and_then(|index| self.types.get_mut(usize::try_from(index).ok()?));
            *slot.ok_or(Damage::Type(id))? = copy;
        }
        Ok(new)
    }

    /// The new id of a type. If it was not copied yet, it is added to `waiting`.
    fn refer(&mut self, id: u32, waiting: &mut Vec<u32>) -> u32 {
        if let Some(known) = self.ids.get(&id) {
            return *known;
        }
        waiting.push(id);
        let new = self.add(Type::default());
        self.ids.insert(id, new);
        new
    }

    /// Adds a type to which none of the kernel's types refers, and returns its id.
    fn add(&mut self, new: Type) -> u32 {
        self.types.push(new);
        u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    fn function(&mut self, old: Head) {
        let prototype = self.prototype.unwrap_or_else(|| {
            let head = Head { info: kind::FUNC_PROTO << 24, ..Head::default() };
            self.add(Type { head, extra: Vec::new() })
        });
        self.prototype = Some(prototype);
        let head = Head { name: self.names.kept(old.name), points_at: prototype, ..old };
        self.add(Type { head, extra: Vec::new() });
    }

    fn convert(&mut self, old: Type, waiting: &mut Vec<u32>) -> Result<Type, Damage> {
        let Type { mut head, mut extra } = old;
        head.name = self.names.kept(head.name);
        match head.kind() {
            kind::PTR => head.points_at = self.pointee(head.points_at, waiting)?,
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                head.points_at = self.refer(head.points_at, waiting);
            }
            kind::ARRAY => {
                // Nothing reads the type of the index.
                if let [element, index, _len] = extra.as_mut_slice() {
                    (*element, *index) = (self.refer(*element, waiting), 0);
                }
            }
            kind::STRUCT | kind::UNION => extra = self.members(&extra, waiting),
            kind::FUNC_PROTO => {
                head.points_at = 0;
                for parameter in extra.as_chunks_mut::<2>().0 {
                    *parameter = [0, self.refer(parameter[1], waiting)];
                }
            }
            kind::ENUM | kind::ENUM64 => extra.clear(),
            kind::INT | kind::FWD | kind::FLOAT => {}
            _ => return Err(Damage::Type(head.points_at)),
        }
        head.set_parts(extra.len());
        Ok(Type { head, extra })
    }

    fn members(&mut self, old: &[u32], waiting: &mut Vec<u32>) -> Vec<u32> {
        let mut kept = Vec::new();
        for &[name, id, bits] in old.as_chunks().0 {
            let new_name = self.names.kept(name);
            if name == 0 || new_name != 0 {
                kept.extend([new_name, self.refer(id, waiting), bits]);
            }
        }
        kept
    }

    /// A pointer to a type that is not kept becomes a pointer to void.
    fn pointee(&mut self, id: u32, waiting: &mut Vec<u32>) -> Result<u32, Damage> {
        const MAX_CHAIN: usize = 32;
        let mut plain = id;
        for _ in 0..MAX_CHAIN {
            if plain == 0 {
                return Ok(0);
            }
            let head = self.index.read(&mut self.raw, plain)?.head;
            match head.kind() {
                kind::CONST | kind::VOLATILE | kind::TYPE_TAG => plain = head.points_at,
                kind::FUNC_PROTO => return Ok(self.refer(plain, waiting)),
                kind::STRUCT if self.names.is_root(head.name) => {
                    return Ok(self.refer(plain, waiting));
                }
                _ => return Ok(0),
            }
        }
        Ok(0)
    }

    fn enumerators(
        &mut self,
        id: u32,
        at: u64,
        found: &mut HashMap<String, u32>,
    ) -> Result<(), Damage> {
        let Type { mut head, extra: old } = self.raw.read(id, at)?;
        let mut extra = Vec::new();
        for &[name, value] in old.as_chunks().0 {
            if let Some(text) = self.names.text(name) {
                found.insert(text.to_owned(), value);
                extra.extend([self.names.kept(name), value]);
            }
        }
        if !extra.is_empty() {
            head.name = self.names.kept(head.name);
            head.set_parts(extra.len());
            self.add(Type { head, extra });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor};

    use super::reduce;
    use crate::host::fixtures::{self, HOOKS};

    #[test]
    fn reduced_btf_stays_the_same_if_reduced_again() {
        for series in fixtures::SERIES {
            let fixture = fs::read(fixtures::path(series)).unwrap();
            let once = reduce(Cursor::new(&fixture), HOOKS).unwrap();
            let twice = reduce(Cursor::new(&once.bytes), HOOKS).unwrap();
            assert!(twice.bytes == once.bytes, "{series}");
            assert_eq!(twice.enumerators, once.enumerators, "{series}");
            assert_eq!(twice.hooks.len(), once.hooks.len(), "{series}");
        }
    }
}
