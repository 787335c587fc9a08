//! Measures the durations of boots and scenarios, and prints the slow ones.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use oomwhy_tests::facts::{Facts, Seconds, file};

/// The scenarios shown; the fast ones do not matter.
const MAX_SCENARIOS: usize = 30;

/// Prints the duration of a stage when it ends.
pub(crate) fn timed<T>(stage: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{stage}: {:.0} s", start.elapsed().as_secs_f64());
    result
}

/// The times of one run, from several threads.
#[derive(Default)]
pub(crate) struct Timings {
    boots: Mutex<Vec<(String, f64)>>,
    scenarios: Mutex<Vec<(String, Seconds)>>,
}

impl Timings {
    /// Adds the time of a boot, by the host's clock.
    pub(crate) fn boot(&self, kernel: &str, boot: &str, seconds: f64) {
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        boots.push((format!("{kernel} {boot}"), seconds));
    }

    /// Adds the times of a boot's scenarios, by the guest's clock.
    pub(crate) fn scenarios(&self, kernel: &str, results: &Path) {
        let mut scenarios = self.scenarios.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(results).into_iter().flatten().filter_map(Result::ok) {
            let facts = fs::read(entry.path().join(file::FACTS)).unwrap_or_default();
            if let Ok(facts) = serde_json::from_slice::<Facts>(&facts) {
                scenarios.push((format!("{kernel} {}", facts.scenario), facts.seconds));
            }
        }
    }

    /// Prints both tables, slowest first.
    pub(crate) fn print(&self) {
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        boots.sort_by(|left, right| right.1.total_cmp(&left.1));
        let total: f64 = boots.iter().map(|(_, seconds)| seconds).sum();
        println!("\nseconds per boot, {total:.0} in total:");
        for (name, seconds) in boots.iter() {
            println!("{seconds:8.1}  {name}");
        }
        let mut scenarios = self.scenarios.lock().unwrap_or_else(PoisonError::into_inner);
        scenarios.sort_by(|left, right| right.1.total().total_cmp(&left.1.total()));
        println!("\nseconds per scenario: total, start, steps, reports, end");
        for (name, seconds) in scenarios.iter().take(MAX_SCENARIOS) {
            let Seconds { start, steps, reports, end } = seconds;
            let total = seconds.total();
            println!("{total:8.1} {start:6.1} {steps:6.1} {reports:6.1} {end:6.1}  {name}");
        }
        if let Some(rest) = scenarios.get(MAX_SCENARIOS..).filter(|rest| !rest.is_empty()) {
            let total: f32 = rest.iter().map(|(_, seconds)| seconds.total()).sum();
            println!("{total:8.1}  in {} more", rest.len());
        }
    }
}
