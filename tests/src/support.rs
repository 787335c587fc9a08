//! The support table of docs/kernels.md: kernels, tiers and groups of fields.
//! `cargo xtask kernels-doc` writes it from the reports of each tier on the same kill.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::facts::file;
use crate::matrix;
use crate::page;
use crate::report;
use crate::scenario::{Step, WatcherTier};
use crate::scenarios;

/// The boot that has the results for the table.
pub const BOOT: &str = "tiers";
const SCENARIO: &str = "tiers_memcg";

const MARKERS: [&str; 2] = [
    "<!-- made by cargo xtask kernels-doc: begin -->\n",
    "<!-- made by cargo xtask kernels-doc: end -->\n",
];

/// Columns, each with the keys of a report that it stands for.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "victim",
        &["/victims/0/pid", "/victims/0/comm", "/victims/0/uid", "/victims/0/oom_score_adj"],
    ),
    ("its cgroup", &["/victims/0/cgroup/id", "/victims/0/cgroup/path"]),
    (
        "its memory",
        &[
            "/victims/0/total_vm_bytes",
            "/victims/0/anon_rss_bytes",
            "/victims/0/file_rss_bytes",
            "/victims/0/shmem_rss_bytes",
            "/victims/0/pgtables_bytes",
        ],
    ),
    ("trigger", &["/trigger/pid", "/trigger/comm", "/trigger/uid"]),
    ("its stacks", &["/trigger/kernel_stack/0", "/trigger/user_stack/0"]),
    (
        "allocation",
        &["/trigger/gfp_mask", "/trigger/order", "/constraint", "/message", "/totalpages"],
    ),
    ("candidates", &["/candidates/considered", "/candidates/list/0/points", "/victims/0/points"]),
    (
        "limits",
        &["/oom_memcg/path", "/oom_memcg/usage_bytes", "/oom_memcg/max_bytes", "/limit_chain/0"],
    ),
    ("memory.stat", &["/oom_memcg/stat/anon"]),
    ("its end", &["/victims/0/freed_after_ns"]),
];

/// Groups whose fields can come from /proc.
const BY_PROC: &[&str] = &["victim", "its cgroup", "its memory"];

/// Checks that the table in docs/kernels.md agrees with this kernel's results.
pub fn check(results: &Path, kernel: &str) -> Result<()> {
    let text = fs::read_to_string(document())?;
    let (_, table, _) = page::split(&text, MARKERS)?;
    for row in rows(results, kernel)? {
        ensure!(
            table.lines().any(|line| line == row),
            "docs/kernels.md does not have the row\n  {row}\nhint: cargo xtask kernels-doc"
        );
    }
    Ok(())
}

/// Writes the rows of the kernels that have results, and keeps the other rows. Returns the kernels
/// whose rows were written.
pub fn write(results: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(document())?;
    let (_, table, _) = page::split(&text, MARKERS)?;
    let (mut lines, mut made) = (header(), Vec::new());
    for kernel in matrix::kernels()? {
        if results.join(&kernel.name).join(BOOT).join(SCENARIO).exists() {
            lines.extend(rows(results, &kernel.name)?);
            made.push(kernel.name);
        } else {
            let start = format!("| {} |", kernel.name);
            lines.extend(table.lines().filter(|line| line.starts_with(&start)).map(str::to_owned));
        }
    }
    let table = lines.join("\n") + "\n";
    page::replace(&document(), MARKERS, &table)?;
    Ok(made)
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernels.md")
}

fn header() -> Vec<String> {
    let names = GROUPS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let first = format!("| kernel | tier | {} |", names.join(" | "));
    vec![first, "|---".repeat(GROUPS.len() + 2) + "|"]
}

/// One row per attach method.
fn rows(results: &Path, kernel: &str) -> Result<Vec<String>> {
    let directory = results.join(kernel).join(BOOT).join(SCENARIO);
    let scenario = scenarios::find(SCENARIO).context("the scenario is gone")?;
    let mut sources = vec![(WatcherTier::Fentry, file::REPORT.to_owned())];
    for step in scenario.steps {
        if let Step::Watch(watcher) = step
            && let Some(attach) = watcher.attach
        {
            sources.push((attach, file::watcher_stdout(watcher.name)));
        }
    }
    sources.into_iter().map(|(attach, name)| row(kernel, attach, &directory.join(name))).collect()
}

fn row(kernel: &str, attach: WatcherTier, path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let kill = report::objects(&text).find(report::is_kill);
    let kill = kill.with_context(|| format!("{}: no report of a kill", path.display()))?;
    let cells: Vec<&str> = GROUPS.iter().map(|(name, keys)| cell(&kill, name, keys)).collect();
    Ok(format!("| {kernel} | {} | {} |", attach.name(), cells.join(" | ")))
}

fn cell(report: &Value, group: &str, keys: &[&str]) -> &'static str {
    // Whether /proc is read in time varies between runs.
    let is_of_proc = BY_PROC.contains(&group) && is_missing(report, "victims (as of the mark)");
    let is_cgroup_of_proc = group == "its cgroup" && is_missing(report, "victims.start_time");
    if is_of_proc || is_cgroup_of_proc {
        "/proc"
    } else if keys.iter().all(|key| report.pointer(key).is_some()) {
        "yes"
    } else {
        "-"
    }
}

fn is_missing(report: &Value, field: &str) -> bool {
    let missing = report["source"]["missing"].as_array().into_iter().flatten();
    missing.into_iter().any(|entry| entry["field"] == field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cell_shows_what_report_has() {
        let complete = json!({"victims": [{"cgroup": {"id": "1", "path": "/a"}}]});
        let keys = ["/victims/0/cgroup/id", "/victims/0/cgroup/path"];
        assert_eq!(cell(&complete, "its cgroup", &keys), "yes");
        assert_eq!(cell(&json!({"victims": []}), "its cgroup", &keys), "-");
        let of_proc = json!({"source": {"missing": [{"field": "victims (as of the mark)"}]}});
        assert_eq!(cell(&of_proc, "its cgroup", &keys), "/proc");
        assert_eq!(cell(&of_proc, "trigger", &["/trigger/pid"]), "-");
    }

    #[test]
    fn document_has_rows_of_every_kernel() {
        let text = fs::read_to_string(document()).unwrap();
        let (_, table, _) = page::split(&text, MARKERS).unwrap();
        for kernel in matrix::kernels().unwrap() {
            let start = format!("| {} |", kernel.name);
            assert_eq!(table.lines().filter(|line| line.starts_with(&start)).count(), 5, "{start}");
        }
        assert_eq!(table.lines().take(2).collect::<Vec<_>>(), header());
    }
}
