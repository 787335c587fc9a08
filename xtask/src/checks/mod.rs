//! The rules of the source tree that no compiler checks. Each check is a file here and a line in
//! [`ALL`].

mod comments;
mod dependencies;
pub(crate) mod kernel_proto;
mod licenses;
mod opener;
mod order;
mod width;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace;

/// A rule that the sources must follow.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    /// Returns the violations, each as `FILE:LINE: PROBLEM`.
    pub(crate) run: fn() -> Result<Vec<String>>,
}

pub(crate) const ALL: &[Check] = &[
    Check { name: "width", rule: "Markdown and comments wrap at 100 columns", run: width::run },
    Check { name: "comments", rule: "a doc comment has more than two words", run: comments::run },
    Check {
        name: "order",
        rule: "the entries of tracer/src use each other in the order of ARCHITECTURE.md",
        run: order::run,
    },
    Check {
        name: "opener",
        rule: "only the opener opens files that somebody else can name",
        run: opener::run,
    },
    Check {
        name: "dependencies",
        rule: "programs, tests, build scripts and the workspace have no unused dependency",
        run: dependencies::run,
    },
    Check {
        name: "licenses",
        rule: "each dependency is from crates.io and has a license that we may use",
        run: licenses::run,
    },
    Check {
        name: "kernel-proto",
        rule: "the kernel-proto comment of a probe agrees with the BTF of every kernel",
        run: kernel_proto::run,
    },
];

/// Directories without sources of ours, at the root or anywhere below.
const SKIPPED: &[&str] = &["target", "tests/fixtures", "fuzz/corpus", "fuzz/artifacts"];

/// A file of the source tree.
struct Source {
    /// Relative to the root of the tree.
    path: PathBuf,
    text: String,
}

/// All files below a directory of the workspace with one of these extensions, in order.
fn sources(directory: &str, extensions: &[&str]) -> Result<Vec<Source>> {
    sources_below(workspace::root(), Path::new(directory), extensions)
}

fn sources_below(root: &Path, directory: &Path, extensions: &[&str]) -> Result<Vec<Source>> {
    let mut entries = fs::read_dir(root.join(directory))
        .with_context(|| format!("{} cannot be read", root.join(directory).display()))?
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut sources = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = directory.join(&name);
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED.iter().any(|it| path.ends_with(it)) {
                sources.extend(sources_below(root, &path, extensions)?);
            }
        } else if path.extension().is_some_and(|it| extensions.iter().any(|wanted| it == *wanted)) {
            let text = fs::read_to_string(root.join(&path))
                .with_context(|| format!("{} cannot be read", path.display()))?;
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}
