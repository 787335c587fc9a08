//! Attempts to make oomwhy read a file of the host, open a device, block, grow, mislead or crash.

use super::{ONE_KILL, WATCHER};
use crate::attempts::Attacker;
use crate::scenario::{Comparison, Scenario, Step, Watcher};

/// Two of them run: one with probes, and one that reads the kernel log.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "hostile_container",
        steps: &[Step::Watch(BY_LOG), Step::Attempts(Attacker::Container)],
        ..HOSTILE
    },
    Scenario {
        name: "hostile_user",
        steps: &[Step::Watch(BY_LOG), Step::Attempts(Attacker::User)],
        ..HOSTILE
    },
];

/// The name of the watcher that reads the kernel log.
pub const BY_LOG_NAME: &str = "by-log";
/// The directory of the history.
pub const HISTORY: &str = "/history";

const HOSTILE: Scenario = Scenario {
    victims: &[],
    options: &["--growth", "--store", "--dir", HISTORY],
    comparison: Comparison::Attempts,
    ..ONE_KILL
};

const BY_LOG: Watcher =
    Watcher { name: BY_LOG_NAME, args: &["--attach", "kmsg", "-o", "json"], ..WATCHER };
