//! BTF for aya, which wants all of the kernel's only to turn the name of a hook into its id: the
//! same ids, and nothing but the hooks.

use super::{
    raw::{HEAD_BYTES, kind},
    write,
};

/// Something that a program can be attached to.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    /// The kernel's.
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

/// The skeleton. All zeroes is a type of kind 0, which aya reads as a type that is unknown to it:
/// pages of zeroes cost nothing until they are written.
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
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}
