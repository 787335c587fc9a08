//! A map whose keys come from outside (containers, users, processes, files, addresses) must be an
//! `Lru`, which has limits in entries and in bytes. Other maps are listed here, each with the
//! reason why it cannot grow without limit.

use anyhow::Result;

use super::{Source, sources};

const TREE: &str = "tracer/src";
/// The modules that keep data while the tracer runs.
const KEEPERS: &[&str] =
    &["enrich", "host/cgroupfs", "model", "output/text", "pipeline", "symbolize"];
const MAPS: &[&str] = &["BTreeMap<", "HashMap<", "BTreeSet<", "HashSet<"];

/// Fields by file, type and name.
const ALLOWED: &[(&str, &str)] = &[
    ("enrich/kernel_lookup.rs: Found.unanswered", "the addresses of 64 requests"),
    ("enrich/symbol_requests.rs: SymbolRequests.unanswered", "each entry leaves after 8 s"),
    ("enrich/symbol_requests.rs: SymbolRequests.new", "emptied after each record"),
    ("model/account.rs: InvocationAccount.paths", "as many as victims are listed"),
    (
        "model/account.rs: InvocationAccount.waits_for_victim",
        "one number per run, until the report is closed",
    ),
    ("model/account.rs: InvocationAccount.contexts", "as many as victims are listed"),
    ("model/host.rs: Host.hooks", "the hooks of oomwhy"),
    ("model/lru.rs: Lru.entries", "this is the Lru"),
    ("model/lru.rs: Lru.queue", "this is the Lru"),
    ("model/report/memory.rs: OomMemcg.stat", "the kernel's statistics of one cgroup"),
    ("model/report/source.rs: Source.hooks", "the hooks of oomwhy"),
    ("model/victims.rs: Victims.by_tgid", "the victims of one invocation"),
    ("model/victims.rs: Victims.by_tid", "the victims of one invocation"),
    ("model/victims.rs: Victims.by_mm", "the victims of one invocation"),
    ("output/text.rs: TextSink.provisional", "reports that wait for their victims: 1,024 at most"),
    ("pipeline/assemble/kills.rs: OfInvocation.tgids", "the victims of one invocation"),
    ("pipeline/assemble/kills.rs: Kills", "each entry leaves after 10 s"),
    ("pipeline/assemble/open.rs: OpenInvocations", "the kernel runs one at a time"),
    (
        "pipeline/assemble/pending_close.rs: PendingCloses.pending",
        "it has limits in entries and bytes",
    ),
    (
        "pipeline/assemble/pending_close.rs: PendingCloses.awaiting_names",
        "invocations that are open or pending",
    ),
    ("pipeline/assemble/runs.rs: Runs", "it has a limit: the oldest run is over"),
    ("pipeline/cross_check.rs: Lost.kills", "the reasons of kills"),
    (
        "pipeline/cross_check.rs: CrossCheck.reported",
        "the rings, the reasons of kills, and the programs of oomwhy",
    ),
    (
        "pipeline/delivery.rs: Delivery.provisional",
        "reports that wait for their victims: 1,024 at most",
    ),
    ("pipeline/delivery.rs: Delivery.reported_before", "the entries of the journal"),
    ("pipeline/delivery.rs: Delivery.revised", "entries that leave reported_before"),
    ("pipeline/gaps/groups.rs: GroupGaps.groups", "it has a limit of 64"),
    ("pipeline/live.rs: Live.misses", "the programs of oomwhy"),
    ("pipeline/live/pinned.rs: Resume.reported", "the entries of the journal"),
    ("pipeline/mod.rs: Pipeline.returned", "emptied after each report"),
    (
        "symbolize/user/elf_files.rs: ElfFiles.by_build_id",
        "the files of one request, in the helper process",
    ),
];

pub(super) fn run() -> Result<Vec<String>> {
    let mut all = sources(TREE, &["rs"])?;
    for source in &mut all {
        source.path = source.path.strip_prefix(TREE)?.to_owned();
    }
    let is_kept = |source: &Source| {
        let path = source.path.to_string_lossy();
        KEEPERS.iter().any(|keeper| path.starts_with(keeper))
    };
    all.retain(is_kept);
    Ok(problems(&all, ALLOWED))
}

fn problems(sources: &[Source], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    for Source { path, text } in sources {
        if path.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        for (line, field) in fields(text) {
            let name = format!("{}: {field}", path.display());
            if let Some((allowed, _)) = allowed.iter().find(|(allowed, _)| *allowed == name) {
                known.push(*allowed);
            } else {
                let place = format!("{TREE}/{}:{line}", path.display());
                found.push(format!("{place}: {field} is a map and no Lru: see checks/maps.rs"));
            }
        }
    }
    let gone = allowed.iter().filter(|(name, _)| !known.contains(name));
    found.extend(gone.map(|(name, _)| format!("xtask/src/checks/maps.rs: there is no {name}")));
    found
}

/// Line and name of each field that is a map: `TYPE.FIELD`, or `TYPE` if it has no names.
fn fields(text: &str) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut of_type = None;
    for (index, line) in code.lines().enumerate() {
        let is_map = MAPS.iter().any(|map| line.contains(map));
        if let Some((_, after)) =
            line.split_once("struct ").filter(|_| !line.starts_with([' ', '/']))
        {
            let end = after.find(|it: char| !it.is_alphanumeric()).unwrap_or(after.len());
            let name = &after[..end];
            if is_map {
                found.push((index + 1, name.to_owned()));
            }
            of_type = line.ends_with('{').then_some(name);
        } else if line == "}" {
            of_type = None;
        } else if let (Some(of_type), true, Some((field, _))) =
            (of_type, is_map, line.split_once(": "))
            && !line.trim_start().starts_with("//")
        {
            let field = field.rsplit(' ').next().unwrap_or_default();
            found.push((index + 1, format!("{of_type}.{field}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const TEXT: &str = "\
/// A struct with a BTreeMap<u8, u8>.
pub(crate) struct Known {
    /// BTreeMap<: by id.
    pub(super) names: BTreeMap<u64, String>,
    list: Vec<u8>,
}

struct Kills(BTreeMap<u64, u8>);

fn local() {
    let seen: BTreeSet<u8> = BTreeSet::new();
}

#[cfg(test)]
mod tests {
    struct Fake {
        map: BTreeMap<u8, u8>,
    }
}
";

    #[test]
    fn fields_that_are_maps_are_found() {
        let expected = [(4, "Known.names"), (8, "Kills")];
        assert_eq!(fields(TEXT), expected.map(|(line, name)| (line, name.to_owned())));
    }

    #[test]
    fn map_that_is_not_allowed_and_exception_without_a_map_are_problems() {
        let source = |path: &str| Source { path: PathBuf::from(path), text: TEXT.to_owned() };
        let sources = [source("a.rs"), source("a/tests.rs")];
        let allowed = [("a.rs: Kills", "closed soon"), ("a.rs: Gone", "no more")];
        let expected = [
            "tracer/src/a.rs:4: Known.names is a map and no Lru: see checks/maps.rs",
            "xtask/src/checks/maps.rs: there is no a.rs: Gone",
        ];
        assert_eq!(problems(&sources, &allowed), expected);
    }
}
