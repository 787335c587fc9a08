//! The scenarios, by theme: each is a situation whose kills oomwhy must report correctly.

mod by_log;
mod forecast;
mod growth;
pub mod hostile;
mod hosts;
mod limits;
mod machine;
mod names;
mod outcomes;
mod peers;
mod pins;
mod same_text;
mod stacks;
mod storms;
mod tiers;
mod victims;

use crate::scenario::{
    Comparison, Expected, Hierarchy, Process, Scenario, Step, Until, Want, Watcher,
};
use crate::workload::Work;

/// The container-like cgroup that most scenarios use.
pub const CONTAINER: &str = "/kubepods/pod1234/ctr-app";

const THEMES: &[&[Scenario]] = &[
    limits::ALL,
    victims::ALL,
    outcomes::ALL,
    machine::ALL,
    names::ALL,
    storms::ALL,
    by_log::ALL,
    pins::ALL,
    same_text::ALL,
    stacks::ALL,
    tiers::ALL,
    peers::ALL,
    hosts::ALL,
    growth::ALL,
    forecast::ALL,
    hostile::ALL,
];

/// The scenarios of all themes, one theme after another.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    THEMES.iter().copied().flatten()
}

/// The scenario that stands for this one in CI, if another one does.
pub fn short_form(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.short_form_of == Some(name))
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.name == name)
}

/// The common part of most scenarios: a limit of the unified hierarchy kills a hog once.
const ONE_KILL: Scenario = Scenario {
    name: "",
    short_form_of: None,
    hierarchy: Hierarchy::V2,
    steps: &[],
    victims: &[("hog", 1)],
    silent_victims: &[],
    refused: &[],
    reports: &[],
    kills: &[],
    options: &[],
    unpin: None,
    comparison: Comparison::Reports,
};

/// Expects one report of a kill with this content.
const fn killed_once(says: &'static [(&'static str, Want)]) -> Expected {
    Expected { outcome: "killed", count: (1, 1), says }
}

/// Starts a process that allocates and then sleeps.
const fn start_holder(comm: &'static str, cgroup: &'static str, mib: usize) -> Step {
    Step::Start {
        process: Process { comm, cgroup, work: Work::Anon { mib }, ..SLEEPER },
        until: Until::Ready,
    }
}

/// Starts a hog that the kernel prefers to every other process.
const fn start_preferred(cgroup: &'static str, work: Work, until: Until) -> Step {
    Step::Start { process: Process { cgroup, oom_score_adj: 1000, work, ..HOG }, until }
}

const WATCHER: Watcher = Watcher {
    name: "",
    args: &[],
    replays: false,
    ends: false,
    lines: ("", 0, usize::MAX),
    has: &[],
    has_not: &[],
    attach: None,
};

const SLEEPER: Process = Process {
    comm: "sleeper",
    cgroup: CONTAINER,
    oom_score_adj: 0,
    uid: 0,
    pause_ms: None,
    pid_namespaces: 0,
    work: Work::Sleep,
};

const HOG: Process =
    Process { comm: "hog", oom_score_adj: 100, work: Work::Anon { mib: 200 }, ..SLEEPER };

/// A process that is never killed: it asks for memory and waits.
const IMMORTAL: Process = Process { comm: "immortal", oom_score_adj: -1000, ..HOG };

const CONTAINER_OF_48_MIB: Step =
    Step::Cgroup { path: CONTAINER, limits: &[("memory.max", "48M")] };

const START_SLEEPER: Step = Step::Start { process: SLEEPER, until: Until::Ready };

const START_HOG: Step = Step::Start { process: HOG, until: Until::Killed };
