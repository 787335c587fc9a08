//! Each dependency is used: of programs, tests and build scripts, and of the workspace.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use toml::Table;

use super::{Source, sources};
use crate::workspace;

const MANIFEST: &str = "Cargo.toml";
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn run() -> Result<Vec<String>> {
    let root = manifest(&workspace::root().join(MANIFEST))?;
    let directories = |list| {
        root["workspace"][list].as_array().with_context(|| format!("the workspace has no {list}"))
    };
    // The fuzz targets are a workspace of their own.
    let members = directories("members")?
        .iter()
        .chain(directories("exclude")?)
        .filter_map(toml::Value::as_str)
        .map(|directory| {
            let manifest = manifest(&workspace::root().join(directory).join(MANIFEST))?;
            Ok(Member { directory, manifest, sources: sources(directory, &["rs"])? })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(unused(&root, &members))
}

struct Member<'a> {
    directory: &'a str,
    manifest: Table,
    sources: Vec<Source>,
}

fn manifest(path: &Path) -> Result<Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    text.parse().with_context(|| format!("{} cannot be parsed", path.display()))
}

fn unused(root: &Table, members: &[Member<'_>]) -> Vec<String> {
    let shared = root.get("workspace").and_then(|it| it.get("dependencies"));
    let shared = shared.and_then(|it| it.as_table()).into_iter().flat_map(Table::keys);
    let is_named = |name: &str| {
        members.iter().any(|it| KINDS.iter().any(|kind| it.names(kind).any(|it| it == name)))
    };
    let mut problems: Vec<String> = shared
        .filter(|name| !is_named(name))
        .map(|name| format!("{MANIFEST}: no member of the workspace uses {name}"))
        .collect();
    for member in members {
        let manifest = Path::new(member.directory).join(MANIFEST);
        for kind in KINDS {
            let unused = member.names(kind).filter(|name| !member.uses(name, kind));
            problems
                .extend(unused.map(|it| format!("{}: {kind}: {it} is unused", manifest.display())));
        }
    }
    problems
}

impl Member<'_> {
    fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        let table = self.manifest.get(kind).and_then(toml::Value::as_table);
        table.into_iter().flat_map(Table::keys).map(String::as_str)
    }

    fn is_test(&self, path: &Path) -> bool {
        path.strip_prefix(self.directory).is_ok_and(|it| it.starts_with("tests"))
    }

    /// Whether the name of a crate is a word in the sources that can use this kind.
    fn uses(&self, name: &str, kind: &str) -> bool {
        let can_use = |path: &Path| match kind {
            "dependencies" => !is_build_script(path) && !self.is_test(path),
            "build-dependencies" => is_build_script(path),
            _ => true,
        };
        let krate = name.replace('-', "_");
        let is_part = |it: char| it.is_alphanumeric() || it == '_';
        self.sources
            .iter()
            .filter(|source| can_use(&source.path))
            .any(|source| source.text.split(|it| !is_part(it)).any(|word| word == krate))
    }
}

fn is_build_script(path: &Path) -> bool {
    path.ends_with("build.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(root: &str, member: &str, sources: &[(&str, &str)]) -> Vec<String> {
        let sources = sources.iter().map(|(path, text)| Source {
            path: Path::new("a").join(path),
            text: (*text).to_owned(),
        });
        let manifest = member.parse().unwrap();
        let member = Member { directory: "a", manifest, sources: sources.collect() };
        unused(&root.parse().unwrap(), &[member])
    }

    #[test]
    fn unused_dependency_of_each_kind_is_found() {
        let root = "[workspace.dependencies]\nleft-over = \"1\"\nserde = \"1\"";
        let member = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n\
                      [build-dependencies]\naya-build = \"1\"";
        let sources = [
            ("src/lib.rs", "// aya_build\nuse proptests;"),
            ("tests/cli.rs", "use serde::Serialize;"),
        ];
        assert_eq!(
            check(root, member, &sources),
            [
                "Cargo.toml: no member of the workspace uses left-over",
                "a/Cargo.toml: dependencies: serde is unused",
                "a/Cargo.toml: dev-dependencies: proptest is unused",
                "a/Cargo.toml: build-dependencies: aya-build is unused",
            ]
        );
    }

    #[test]
    fn used_dependency_is_no_problem() {
        let member = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n\
                      [build-dependencies]\naya-build = \"1\"";
        let sources = [
            ("src/main.rs", "#[derive(serde::Serialize)]"),
            ("build.rs", "aya_build::run()"),
            ("tests/cli.rs", "use proptest::any;"),
        ];
        assert_eq!(check("", member, &sources), [""; 0]);
    }
}
