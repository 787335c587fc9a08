//! The kernels under test: `tests/kernels.toml` as data.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::scenarios;

/// One kernel of the matrix.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The label used in test names and result directories.
    pub name: String,
    /// Debian suites to look in; the first that has the package gives it.
    pub suites: Vec<String>,
    /// A glob over package names. The newest version that matches is used.
    pub package: String,
    /// The architecture of the package and of the emulated machine.
    #[serde(default)]
    pub arch: Arch,
    /// The scenarios that it runs; all if empty.
    #[serde(default)]
    pub scenarios: Vec<String>,
    /// The scenarios that it runs only if the matrix is [`Extent::Whole`].
    #[serde(skip)]
    only_whole: Vec<String>,
    #[serde(skip)]
    extent: Extent,
    /// Whether it has the v1 memory controller.
    #[serde(default)]
    pub cgroup_v1: bool,
    /// The reason why it is in the matrix.
    pub note: String,
    /// Known gaps of reports on this kernel, by scenario.
    #[serde(default)]
    pub gaps: BTreeMap<String, Gap>,
}

impl Kernel {
    /// Whether it runs this scenario.
    pub fn runs(&self, name: &str) -> bool {
        let long_form = scenarios::find(name).and_then(|scenario| scenario.short_form_of);
        let is_in = |list: &[String]| list.iter().any(|it| it == long_form.unwrap_or(name));
        let is_in_extent = match self.extent {
            Extent::Short => scenarios::short_form(name).is_none() && !is_in(&self.only_whole),
            Extent::Whole => long_form.is_none(),
        };
        is_in_extent && (self.scenarios.is_empty() || is_in(&self.scenarios))
    }

    /// How much of the matrix it runs.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    fn extended(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }
}

/// How much of the matrix runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Extent {
    /// The scenarios of CI. CI leaves a scenario out on a kernel if an older and a newer kernel run
    /// it and it proves nothing more in between. Short forms replace long scenarios.
    #[default]
    Short,
    /// Every scenario on every kernel, as `cargo xtask proof matrix` runs it.
    Whole,
}

/// An architecture, by Debian's name of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64, which Debian calls amd64.
    #[default]
    Amd64,
    /// AArch64, which Debian calls arm64.
    Arm64,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

/// A known gap of the reports. A gap that no longer exists is an error, so the list stays true.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// A word that each disagreement between oomwhy and the kernel contains.
    pub about: String,
    /// Why the gap exists, for the reader of the list.
    pub why: String,
}

impl Gap {
    /// Whether all disagreements belong to this gap.
    pub fn explains(&self, disagreements: &[String]) -> bool {
        !disagreements.is_empty() && disagreements.iter().all(|it| it.contains(&self.about))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    kernel: Vec<Kernel>,
    only_whole: Vec<OnlyWhole>,
}

/// Scenarios that these kernels run only if the matrix is [`Extent::Whole`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyWhole {
    kernels: Vec<String>,
    scenarios: Vec<String>,
}

/// Every kernel with all its scenarios, oldest first.
pub fn kernels() -> Result<Vec<Kernel>> {
    Ok(read()?.into_iter().map(|kernel| kernel.extended(Extent::Whole)).collect())
}

const KERNELS: &str = include_str!("../kernels.toml");

fn read() -> Result<Vec<Kernel>> {
    let matrix: Matrix = toml::from_str(KERNELS).context("tests/kernels.toml cannot be read")?;
    Ok(matrix.kernels())
}

impl Matrix {
    fn kernels(self) -> Vec<Kernel> {
        let Self { mut kernel, only_whole } = self;
        for Kernel { name, only_whole: left_out, .. } in &mut kernel {
            let lists = only_whole.iter().filter(|list| list.kernels.contains(name));
            left_out.extend(lists.flat_map(|list| list.scenarios.iter().cloned()));
        }
        kernel
    }
}

/// The kernels with these names, or all of them if none is named.
pub fn select(names: &[String], extent: Extent) -> Result<Vec<Kernel>> {
    let all: Vec<Kernel> = read()?.into_iter().map(|kernel| kernel.extended(extent)).collect();
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<&str> = all.iter().map(|kernel| kernel.name.as_str()).collect();
    for name in names {
        anyhow::ensure!(
            known.contains(&name.as_str()),
            "no kernel {name:?} in tests/kernels.toml\nhint: choose from {}",
            known.join(", ")
        );
    }
    Ok(all.iter().filter(|kernel| names.contains(&kernel.name)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_names_are_unique() {
        let mut names: Vec<String> =
            kernels().unwrap().into_iter().map(|kernel| kernel.name).collect();
        let n_kernels = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n_kernels);
    }

    #[test]
    fn gap_explains_only_its_own_disagreements() {
        let gap = Gap { about: "(second)".into(), why: String::new() };
        let explains =
            |found: &[&str]| gap.explains(&found.iter().map(|&it| it.into()).collect::<Vec<_>>());
        assert!(explains(&["victim 7 (second): /comm is absent"]));
        assert!(!explains(&["victim 7 (second): /comm is absent", "reports of kills: 0"]));
        assert!(!explains(&[]));
    }

    #[test]
    fn kernel_named_in_list_exists() {
        let Matrix { kernel, only_whole } = toml::from_str(KERNELS).unwrap();
        for name in only_whole.iter().flat_map(|list| &list.kernels) {
            assert!(kernel.iter().any(|it| it.name == *name), "{name}");
        }
    }

    #[test]
    fn scenario_named_in_matrix_exists() {
        for kernel in kernels().unwrap() {
            for name in kernel.gaps.keys().chain(&kernel.scenarios) {
                assert!(scenarios::find(name).is_some(), "{}: {name}", kernel.name);
            }
        }
    }

    /// Otherwise no run of CI would check the behaviour that the scenario proves.
    #[test]
    fn scenario_left_out_runs_on_an_older_and_a_newer_kernel() {
        let kernels = select(&[], Extent::Short).unwrap();
        for (index, kernel) in kernels.iter().enumerate() {
            for name in &kernel.only_whole {
                assert!(scenarios::find(name).is_some(), "{}: {name}", kernel.name);
                let in_ci = scenarios::short_form(name).map_or(&**name, |it| it.name);
                let runs = |others: &[Kernel]| {
                    others.iter().any(|other| other.arch == kernel.arch && other.runs(in_ci))
                };
                assert!(runs(&kernels[..index]) && runs(&kernels[index + 1..]), "{name}");
                let whole = kernel.clone().extended(Extent::Whole);
                assert!(!kernel.runs(in_ci) && !kernel.runs(name) && whole.runs(name), "{name}");
            }
        }
    }

    #[test]
    fn short_form_stands_for_a_scenario_of_the_whole_matrix() {
        let [short, whole] = [Extent::Short, Extent::Whole].map(|extent| {
            let mut kernels = select(&["7.3".to_owned()], extent).unwrap();
            kernels.remove(0)
        });
        let forms = scenarios::all().filter_map(|it| Some((it.name, it.short_form_of?)));
        let mut n_forms = 0;
        for (form, long) in forms {
            assert!(short.runs(form) && !short.runs(long), "{form}");
            assert!(whole.runs(long) && !whole.runs(form), "{long}");
            n_forms += 1;
        }
        assert_ne!(n_forms, 0);
    }

    #[test]
    fn unknown_kernel_is_refused_by_name() {
        let error = select(&["2.4".to_owned()], Extent::Short).unwrap_err().to_string();
        assert!(error.contains("no kernel \"2.4\""), "{error}");
    }
}
