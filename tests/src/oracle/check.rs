//! Collects disagreements, each with the part of the report that it concerns.

use std::fmt::Debug;

use serde_json::Value;

#[derive(Default)]
pub(super) struct Check {
    pub(super) disagreements: Vec<String>,
    part: Option<String>,
    /// Keys that are missing in the report, with lockdown=confidentiality as the reported reason.
    forbidden: Vec<String>,
    /// Whether usage may be less than the kernel printed.
    memory_shrinks: bool,
}

impl Check {
    /// Starts a part of the report: later disagreements name it.
    pub(super) fn within(&mut self, part: String) {
        self.part = Some(part);
    }

    /// Ends the part: later disagreements concern the report as a whole.
    pub(super) fn leave(&mut self) {
        self.part = None;
    }

    /// Reads the keys that lockdown forbids from the report. No other reason is accepted for an
    /// absent key.
    pub(super) fn forbid(&mut self, report: &Value) {
        let missing = report["source"]["missing"].as_array().into_iter().flatten();
        let forbidden = missing.filter(|entry| {
            entry["why"].as_str().is_some_and(|why| why.starts_with("lockdown=confidentiality"))
        });
        let keys = forbidden.filter_map(|entry| entry["field"].as_str());
        self.forbidden = keys.filter_map(|key| key.rsplit('.').next()).map(str::to_owned).collect();
    }

    /// Accepts usages below those that the kernel printed: processes release memory in between.
    pub(super) fn memory_shrinks(&mut self) {
        self.memory_shrinks = true;
    }

    /// Compares a usage that may have changed between the kernel's line and the report.
    pub(super) fn usage(&mut self, what: &str, reported: i64, kernel: i64, tolerance: i64) {
        if !self.memory_shrinks || reported > kernel {
            self.near(what, reported, kernel, tolerance);
        }
    }

    /// Whether values are missing because of lockdown.
    pub(super) fn is_locked_down(&self) -> bool {
        !self.forbidden.is_empty()
    }

    fn is_forbidden(&self, pointer: &str) -> bool {
        let key = pointer.rsplit('/').next().unwrap_or_default();
        self.forbidden.iter().any(|forbidden| forbidden == key)
    }

    pub(super) fn disagree(&mut self, what: String) {
        self.disagreements.push(match &self.part {
            Some(part) => format!("{part}: {what}"),
            None => what,
        });
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers compare what they computed")]
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.disagree(format!("{what}: {found:?}, but should be {expected:?}"));
        }
    }

    /// Compares a value of the report, found by its JSON pointer.
    pub(super) fn field(&mut self, object: &Value, pointer: &str, kernel: impl Into<Value>) {
        let kernel = kernel.into();
        match object.pointer(pointer) {
            None if self.is_forbidden(pointer) => {}
            None => self.disagree(format!("{pointer} is absent, but {kernel} in the log")),
            Some(reported) if *reported == kernel => {}
            Some(reported) => {
                self.disagree(format!("{pointer} is {reported}, but {kernel} in the log"));
            }
        }
    }

    /// Compares a number with a tolerance, because the kernel itself only estimates it.
    pub(super) fn near(&mut self, what: &str, reported: i64, kernel: i64, tolerance: i64) {
        if reported.abs_diff(kernel) > tolerance.unsigned_abs() {
            let slack =
                if tolerance == 0 { String::new() } else { format!(" (within {tolerance})") };
            self.disagree(format!("{what} is {reported}, but {kernel} in the log{slack}"));
        }
    }
}

/// A number of the report; 0 if absent. Use it only if the format defines an absent key as 0.
pub(super) fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_default()
}

/// Whether an object has all of these numbers. Adds a disagreement if not.
pub(super) fn has_numbers(check: &mut Check, what: &str, object: &Value, names: &[&str]) -> bool {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !object[name].is_i64()).collect();
    if missing.iter().any(|name| !check.is_forbidden(name)) {
        check.disagree(format!("{what} has no {}", missing.join(", ")));
    }
    missing.is_empty()
}
