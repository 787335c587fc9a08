//! What oomwhy wrote: reports, messages, recording, history.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use oomwhy_tests::attempts::MARKER;
use oomwhy_tests::facts::file;
use oomwhy_tests::plan::GUEST_OOMWHY;
use oomwhy_tests::report;
use oomwhy_tests::scenarios::hostile::{BY_LOG_NAME, HISTORY};
use serde_json::Value;

/// A report fits into a message of NATS.
const MAX_LINE_BYTES: usize = 512 << 10;
/// The longest text of a report: a path.
const MAX_TEXT_BYTES: usize = 4096;

/// The reports so far.
pub(super) struct Outputs {
    directory: PathBuf,
    reports: Vec<Value>,
    n_read: usize,
    problems: Vec<String>,
}

impl Outputs {
    pub(super) fn new(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, reports: Vec::new(), n_read: 0, problems: Vec::new() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the lines that are complete.
    pub(super) fn read(&mut self) -> Result<()> {
        let bytes = fs::read(self.directory.join(file::REPORT))?;
        let new = bytes.get(self.n_read..).unwrap_or_default();
        let Some(end) = new.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        for line in new[..end].split(|byte| *byte == b'\n') {
            self.line(line);
        }
        self.n_read += end + 1;
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        if line.len() > MAX_LINE_BYTES {
            self.problems.push(format!("a report has {} bytes", line.len()));
        }
        self.problems.extend(leaks("report", line));
        let Ok(report) = serde_json::from_slice::<Value>(line) else {
            self.problems.push("a report is not JSON".to_owned());
            return;
        };
        if longest_text(&report) > MAX_TEXT_BYTES {
            self.problems.push(format!("a text has {} bytes", longest_text(&report)));
        }
        self.reports.push(report);
    }

    pub(super) fn n_reports(&self) -> usize {
        self.reports.len()
    }

    /// The reports of invocations, without the first ones.
    pub(super) fn reports(&self, begin: usize) -> impl Iterator<Item = &Value> {
        self.reports.iter().skip(begin).filter(|report| report["type"] == "oom")
    }

    /// The number of victims, without those of the first reports.
    pub(super) fn n_killed(&self, begin: usize) -> u64 {
        report::n_killed(self.reports(begin).cloned())
    }

    /// What is wrong with the lines that were read since the last call, and with the messages.
    pub(super) fn problems(&mut self) -> Result<Vec<String>> {
        let mut found = std::mem::take(&mut self.problems);
        for name in [file::STDERR.to_owned(), file::watcher_stderr(BY_LOG_NAME)] {
            let bytes = fs::read(self.directory.join(&name))?;
            found.extend(leaks(&name, &bytes));
            found.extend(acts_on_terminal(&name, &bytes));
        }
        Ok(found)
    }

    /// What is wrong with the recording, the history, and the reports by log.
    pub(super) fn problems_in_all(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for name in [file::RECORDING.to_owned(), file::watcher_stdout(BY_LOG_NAME)] {
            found.extend(leaks(&name, &fs::read(self.directory.join(&name))?));
        }
        let recording = self.directory.join(file::RECORDING).display().to_string();
        let list = ["list", "-n", "100000", "--dir", HISTORY];
        for arguments in [&list, &["replay", recording.as_str()][..]] {
            let command = arguments[0];
            let mut oomwhy = Command::new(GUEST_OOMWHY);
            oomwhy.args(arguments).stdin(Stdio::null());
            let output = oomwhy.output().context("oomwhy cannot be started")?;
            let printed = [output.stdout, output.stderr].concat();
            if !output.status.success() {
                let text = String::from_utf8_lossy(&printed);
                found.push(format!("oomwhy {command} ended with {}: {text}", output.status));
            }
            found.extend(leaks(command, &printed));
            found.extend(acts_on_terminal(command, &printed));
        }
        Ok(found)
    }
}

fn longest_text(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(longest_text).max().unwrap_or_default(),
        Value::Object(map) => map.values().map(longest_text).max().unwrap_or_default(),
        _ => 0,
    }
}

fn leaks(name: &str, bytes: &[u8]) -> Option<String> {
    let has_it = bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
    has_it.then(|| format!("{name} has a secret of the host"))
}

fn acts_on_terminal(name: &str, bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    // Characters that reverse the direction of text.
    let reverses = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let acts = |c: &char| c.is_control() && *c != '\n' || reverses(*c);
    let found = text.chars().find(acts)?;
    Some(format!("{name} has the character {found:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secret_and_control_characters_are_found() {
        assert!(leaks("x", format!("a{MARKER}b").as_bytes()).is_some());
        assert!(leaks("x", b"hidden ke").is_none());
        for text in ["a\u{1b}[2J", "a\rb", "\u{9b}2J", "\u{202e}txt", "\u{7f}"] {
            assert!(acts_on_terminal("x", text.as_bytes()).is_some(), "{text:?}");
        }
        assert!(acts_on_terminal("x", "one\ntwo \u{e4}\n".as_bytes()).is_none());
    }

    #[test]
    fn longest_text_is_found_at_any_depth() {
        assert_eq!(longest_text(&json!({"a": ["bb", {"c": "dddd"}], "e": 12345})), 4);
    }
}
