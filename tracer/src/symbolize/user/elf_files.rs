//! ELF files, found by build id.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use blazesym::helper::read_elf_build_id;

use crate::model::report::hex;

/// The directory for symbols that distributions have stripped from programs.
pub(crate) const DEBUG_DIRECTORY: &str = "/usr/lib/debug";

#[derive(Clone, Debug, Default)]
pub(crate) struct ElfFiles {
    by_build_id: BTreeMap<String, ElfFile>,
    debug_directories: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ElfFile {
    /// Path by which its process has mapped it. Empty if only its symbols are known.
    pub shown: String,
    /// Files that may have its symbols, the file itself first.
    pub paths: Vec<PathBuf>,
}

impl ElfFiles {
    /// Looks for `.build-id/ab/cdef.debug` in this directory too.
    pub(crate) fn add_debug_directory(&mut self, directory: &Path) {
        self.debug_directories.push(directory.to_owned());
    }

    /// Adds a file and returns its build id in hex. `None` if it has none or is not an ELF file.
    pub(crate) fn add(&mut self, path: &Path, shown: &str) -> Option<String> {
        let build_id = hex(&read_elf_build_id(path).ok()??);
        let file = self.by_build_id.entry(build_id.clone()).or_default();
        if file.shown.is_empty() {
            shown.clone_into(&mut file.shown);
        }
        file.paths.push(path.to_owned());
        Some(build_id)
    }

    /// The file with a build id, and its symbols in the debug directories.
    pub(crate) fn get(&self, build_id: &str) -> Option<ElfFile> {
        let mut file = self.by_build_id.get(build_id).cloned().unwrap_or_default();
        let debug = self.debug_directories.iter().filter_map(|it| debug_file(it, build_id));
        file.paths.extend(debug);
        (!file.paths.is_empty()).then_some(file)
    }
}

fn debug_file(directory: &Path, build_id: &str) -> Option<PathBuf> {
    let (start, rest) = build_id.split_at_checked(2)?;
    // It becomes part of a path, so nothing but hex is accepted.
    let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = directory.join(".build-id").join(start).join(format!("{rest}.debug"));
    (is_hex && path.exists()).then_some(path)
}
