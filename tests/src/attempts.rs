//! The attempts to make oomwhy harm its host. Each is a script below `tests/hostile`, which the
//! guest runs beside oomwhy (`src/bin/guest_init/attempts.rs`).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The directory of the scripts in the guest.
pub const GUEST_DIRECTORY: &str = "/hostile";
/// The line that a script prints when it has provoked its kills.
pub const DONE: &str = "done";
/// The start of a line that a script prints if it sees that it worked.
pub const WORKED: &str = "worked: ";
/// The start of a line that a script prints if it cannot make its attempt, with the reason.
pub const NOT_RUN: &str = "not run: ";
/// The reason of a script that needs FUSE, on a kernel that has it as a module only: the guest
/// loads none.
pub const NO_FUSE: &str = "this kernel has no FUSE";
/// The start of the releases of the only kernel in the matrix that has no FUSE.
pub const WITHOUT_FUSE: &str = "5.10.";
/// The text in planted secrets. It has as many bytes as the names of functions of the program
/// `c-static`, which it replaces in one of the secrets.
pub const MARKER: &str = "hiddenkey";

/// The place from which an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Attacker {
    /// root in a container, with Docker's default capabilities and `CAP_SYS_ADMIN`.
    Container,
    /// An unprivileged user of the host, in the session or in a service with a delegated cgroup.
    User,
}

impl Attacker {
    /// Both kinds of attacker.
    pub const ALL: [Self; 2] = [Self::Container, Self::User];

    /// The name of the directory with its scripts.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::User => "user",
        }
    }

    /// The names of its scripts, in order. `root` has the directories of all attackers.
    pub fn scripts(self, root: &Path) -> Result<Vec<String>> {
        let directory = root.join(self.directory());
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("{} cannot be listed", directory.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// One attempt that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attempt {
    /// The name of the script.
    pub name: String,
    /// The number of processes that the kernel killed.
    pub n_kills: u64,
    /// Why it was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The least number of attempts of each attacker.
    const MIN_SCRIPTS: usize = 20;

    fn hostile() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile")
    }

    #[test]
    fn script_says_what_it_tries_what_would_be_seen_and_what_stops_it() {
        for attacker in Attacker::ALL {
            let scripts = attacker.scripts(&hostile()).unwrap();
            assert!(scripts.len() >= MIN_SCRIPTS, "{attacker:?}: {}", scripts.len());
            for name in scripts {
                let path = hostile().join(attacker.directory()).join(&name);
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("#!/bin/"), "{name}");
                for begin in ["# Aim: ", "# If it worked: ", "# Stopped by: "] {
                    assert!(text.contains(&format!("\n{begin}")), "{name} has no {begin:?}");
                }
                assert!(!text.contains(MARKER), "{name} knows the secret");
            }
        }
    }

    #[test]
    fn page_about_security_lists_each_attempt() {
        let page = hostile().join("../../docs/security.md");
        let page = fs::read_to_string(page).unwrap();
        for attacker in Attacker::ALL {
            for name in attacker.scripts(&hostile()).unwrap() {
                let listed = format!("| `{}/{name}` |", attacker.directory());
                assert!(page.contains(&listed), "docs/security.md has no row {listed:?}");
            }
        }
    }
}
