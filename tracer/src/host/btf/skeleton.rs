//! BTF for aya, which uses it only to turn the name of a hook into its id. It has the kernel's ids
//! and nothing but the hooks.

use super::{
    raw::{HEAD_BYTES, kind},
    write,
};

/// A function or tracepoint that a program can be attached to.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    /// The kernel's id.
    id: u32,
    kind: u32,
    name: String,
}

impl Hook {
    pub(super) fn function(id: u32, name: String) -> Self {
        let kind = kind::FUNC;
        Self { id, kind, name }
    }

    /// `btf_trace_` and the name of a tracepoint.
    pub(super) fn typedef(id: u32, name: String) -> Self {
        let kind = kind::TYPEDEF;
        Self { id, kind, name }
    }

    pub(super) fn is_function(&self, name: &str) -> bool {
        self.kind == kind::FUNC && self.name == name
    }
}

/// All other types are zeroes, which aya reads as an unknown type. Pages of zeroes need no memory
/// until they are written.
pub(super) fn skeleton(hooks: &[Hook]) -> Vec<u8> {
    let last = hooks.iter().map(|hook| hook.id).max().unwrap_or_default();
    let types_len = usize::try_from(last).unwrap_or_default() * HEAD_BYTES;
    let strings = write::strings(hooks.iter().map(|hook| hook.name.as_str()));
    let header = write::header(types_len, strings.len());
    let mut bytes = vec![0; header.len() + types_len + strings.len()];
    put(&mut bytes, 0, &header);
    put(&mut bytes, header.len() + types_len, &strings);
    let mut name: usize = 1;
    for hook in hooks {
        let before = usize::try_from(hook.id).unwrap_or_default().saturating_sub(1);
        let head = [u32::try_from(name).unwrap_or_default(), hook.kind << 24, 0];
        let words: Vec<u8> = head.iter().flat_map(|word| word.to_ne_bytes()).collect();
        put(&mut bytes, header.len() + before * HEAD_BYTES, &words);
        name += hook.name.len() + 1;
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(target) = bytes.get_mut(at..at + what.len()) {
        target.copy_from_slice(what);
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, Hook, kind, skeleton};
    use crate::host::btf::raw::HEADER_BYTES;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// The kind and name of the type with this id.
    fn named(bytes: &[u8], id: usize) -> (u32, &str) {
        let at = HEADER_BYTES + (id - 1) * HEAD_BYTES;
        let strings = HEADER_BYTES + usize::try_from(word(bytes, 16)).unwrap();
        let name = &bytes[strings + usize::try_from(word(bytes, at)).unwrap()..];
        let end = name.iter().position(|byte| *byte == 0).unwrap();
        (word(bytes, at + 4) >> 24, std::str::from_utf8(&name[..end]).unwrap())
    }

    #[test]
    fn hooks_have_the_kernels_ids_and_other_types_are_void() {
        let hooks = [
            Hook::typedef(3, "btf_trace_mark_victim".to_owned()),
            Hook::function(1, "out_of_memory".to_owned()),
            Hook::function(200, "oom_badness".to_owned()),
        ];
        let bytes = skeleton(&hooks);
        assert_eq!(named(&bytes, 3), (kind::TYPEDEF, "btf_trace_mark_victim"));
        assert_eq!(named(&bytes, 1), (kind::FUNC, "out_of_memory"));
        assert_eq!(named(&bytes, 200), (kind::FUNC, "oom_badness"));
        for id in (1..=200).filter(|id| ![1, 3, 200].contains(id)) {
            assert_eq!(named(&bytes, id), (0, ""), "{id}");
        }
        // Types end with the last hook, strings with the file.
        let [types, strings] = [12, 20].map(|at| usize::try_from(word(&bytes, at)).unwrap());
        assert_eq!(types, 200 * HEAD_BYTES);
        assert_eq!(HEADER_BYTES + types + strings, bytes.len());
    }

    #[test]
    fn skeleton_without_hooks_has_header_and_empty_string() {
        let bytes = skeleton(&[]);
        assert_eq!(bytes.len(), HEADER_BYTES + 1);
        assert!(Hook::function(1, "a".to_owned()).is_function("a"));
        assert!(!Hook::typedef(1, "a".to_owned()).is_function("a"));
    }
}
