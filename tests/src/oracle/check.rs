//! Collects disagreements, each with the part of the report that it is about.

use std::fmt::Debug;

use serde_json::Value;

#[derive(Default)]
pub(super) struct Check {
    pub(super) disagreements: Vec<String>,
    part: Option<String>,
    /// Keys that the report leaves out because lockdown=confidentiality forbids to read them, and
    /// says so.
    forbidden: Vec<String>,
    /// Whether usage may be less than the kernel printed.
    memory_shrinks: bool,
}

impl Check {
    /// What follows is about this.
    pub(super) fn within(&mut self, part: String) {
        self.part = Some(part);
    }

    /// What follows is about the whole again.
    pub(super) fn leave(&mut self) {
        self.part = None;
    }

    /// Takes over what the report must not know. No other reason for an absent key is accepted.
    pub(super) fn forbid(&mut self, report: &Value) {
        let missing = report["source"]["missing"].as_array().into_iter().flatten();
        let forbidden = missing.filter(|entry| {
            entry["why"].as_str().is_some_and(|why| why.starts_with("lockdown=confidentiality"))
        });
        let keys = forbidden.filter_map(|entry| entry["field"].as_str());
        self.forbidden = keys.filter_map(|key| key.rsplit('.').next()).map(str::to_owned).collect();
    }

    /// Memory is given back between the kernel's line and the report.
    pub(super) fn memory_shrinks(&mut self) {
        self.memory_shrinks = true;
    }

    /// A usage that may have changed between the kernel's line and the report.
    pub(super) fn usage(&mut self, what: &str, reported: i64, kernel: i64, tolerance: i64) {
        if !self.memory_shrinks || reported > kernel {
            self.near(what, reported, kernel, tolerance);
        }
    }

    /// Whether the report says that lockdown keeps things from it.
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

    /// One value of the report, found by its JSON pointer.
    pub(super) fn field(&mut self, object: &Value, pointer: &str, kernel: impl Into<Value>) {
        let kernel = kernel.into();
        match object.pointer(pointer) {
            None if self.is_forbidden(pointer) => {}
            None => self.disagree(format!("{pointer} is absent; the kernel says {kernel}")),
            Some(reported) if *reported == kernel => {}
            Some(reported) => {
                self.disagree(format!("{pointer} is {reported}; the kernel says {kernel}"));
            }
        }
    }

    /// A number that may be off by so much, because the kernel itself only estimates it.
    pub(super) fn near(&mut self, what: &str, reported: i64, kernel: i64, tolerance: i64) {
        if reported.abs_diff(kernel) > tolerance.unsigned_abs() {
            let slack =
                if tolerance == 0 { String::new() } else { format!(" (within {tolerance})") };
            self.disagree(format!("{what} is {reported}; the kernel says {kernel}{slack}"));
        }
    }
}

/// A number of the report; absent is 0 only where the format says so.
pub(super) fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_default()
}

/// Whether an object has all of these numbers; says so if not.
pub(super) fn has_numbers(check: &mut Check, what: &str, object: &Value, names: &[&str]) -> bool {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !object[name].is_i64()).collect();
    if missing.iter().any(|name| !check.is_forbidden(name)) {
        check.disagree(format!("{what} has no {}", missing.join(", ")));
    }
    missing.is_empty()
}
