//! A probe reads the arguments of a kernel function by position. So each probe has a comment with
//! the function's prototype:
//!
//! ```text
//! // kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *oc)
//! // kernel-proto (from 6.18): include/trace/events/sched.h sched_process_exit(
//! //               struct task_struct *p, bool group_dead)
//! // kernel-proto: as above
//! ```
//!
//! A prototype without a return type is a tracepoint's. The prototype must equal that of every
//! kernel whose BTF has the function. Parentheses limit it to some kernels, in the order of
//! tests/kernels.toml: `from 6.18`, `before 6.18` or `6.18` alone.

mod btf;
mod prototype;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use oomwhy_tests::matrix;

use prototype::Prototype;

pub(crate) use btf::record;

const MARK: &str = "// kernel-proto";
/// Start of the next line of a prototype that takes more than one.
const CONTINUED: &str = "//   ";
const PROBES: &str = "tracer-ebpf";

/// A prototype that a comment states.
struct Claim {
    /// `FILE:LINE` of the comment.
    location: String,
    kernels: Kernels,
    prototype: Prototype,
}

/// The kernels that a claim is about, by their names in tests/kernels.toml.
enum Kernels {
    All,
    From(String),
    Before(String),
    One(String),
}

/// A kernel of tests/kernels.toml with the prototypes of its functions.
struct Kernel {
    name: String,
    prototypes: Vec<Prototype>,
}

pub(super) fn run() -> Result<Vec<String>> {
    let (mut claims, mut problems) = (Vec::new(), Vec::new());
    for source in super::sources(PROBES, &["rs"])? {
        collect(&source.path, &source.text, &mut claims, &mut problems);
    }
    ensure!(!claims.is_empty(), "{PROBES} has no {MARK:?} comment");
    let kernels = kernels()?;
    problems.extend(claims.iter().flat_map(|claim| contradictions(claim, &kernels)));
    Ok(problems)
}

/// Reads the claims of one source file. A comment that has the mark but no valid prototype is a
/// problem.
fn collect(path: &Path, text: &str, claims: &mut Vec<Claim>, problems: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let mut has_one_above = false;
    for (index, line) in lines.iter().enumerate() {
        let Some(comment) = line.strip_prefix(MARK) else { continue };
        let location = format!("{}:{}", path.display(), index + 1);
        if comment == ": as above" && has_one_above {
            continue;
        }
        let mut comment = comment.to_owned();
        for more in lines[index + 1..].iter().map_while(|line| line.strip_prefix(CONTINUED)) {
            comment = format!("{comment} {}", more.trim());
        }
        match claim(&location, &comment) {
            Ok(claim) => claims.push(claim),
            Err(error) => problems.push(format!("{location}: {error:#}")),
        }
        has_one_above = true;
    }
}

/// Parses the text after [`MARK`].
fn claim(location: &str, comment: &str) -> Result<Claim> {
    let (kernels, prototype) = comment.split_once(':').context("no colon")?;
    let kernels = kernels.trim().trim_start_matches('(').trim_end_matches(')');
    let kernels = match kernels.split_once(' ') {
        Some(("from", name)) => Kernels::From(name.to_owned()),
        Some(("before", name)) => Kernels::Before(name.to_owned()),
        _ if kernels.is_empty() => Kernels::All,
        _ => Kernels::One(kernels.to_owned()),
    };
    let prototype = prototype.trim_start();
    let (file, prototype) = prototype.split_once(' ').context("no file before the prototype")?;
    ensure!(file.contains('/') && file.contains('.'), "{file:?} is no file of the kernel");
    Ok(Claim { location: location.to_owned(), kernels, prototype: prototype.parse()? })
}

/// Each kernel whose BTF has another prototype than the claim.
fn contradictions(claim: &Claim, kernels: &[Kernel]) -> Vec<String> {
    let Claim { location, prototype, .. } = claim;
    let Some(range) = claim.kernels.of(kernels) else {
        return vec![format!("{location}: no such kernel in tests/kernels.toml")];
    };
    let known: Vec<(&Kernel, &Prototype)> = range
        .iter()
        .flat_map(|kernel| kernel.prototypes.iter().map(move |prototype| (kernel, prototype)))
        .filter(|(_, known)| known.name == prototype.name)
        .collect();
    if known.is_empty() {
        return vec![format!(
            "{location}: no BTF has {}\nhint: cargo xtask fixtures --btf records it",
            prototype.name
        )];
    }
    let others = known.into_iter().filter(|(_, known)| *known != prototype);
    others.map(|(kernel, known)| format!("{location}: {} has {known}", kernel.name)).collect()
}

impl Kernels {
    /// Selects from all kernels, which are sorted by age. `None` if there is no such kernel.
    fn of<'a>(&self, all: &'a [Kernel]) -> Option<&'a [Kernel]> {
        let find = |name: &str| all.iter().position(|kernel| kernel.name == name);
        Some(match self {
            Self::All => all,
            Self::From(name) => &all[find(name)?..],
            Self::Before(name) => &all[..find(name)?],
            Self::One(name) => std::slice::from_ref(&all[find(name)?]),
        })
    }
}

/// The kernels that have a fixture, oldest first.
fn kernels() -> Result<Vec<Kernel>> {
    let mut kernels = Vec::new();
    for kernel in matrix::kernels()? {
        let path = file(&kernel.name);
        if path.exists() {
            let prototypes = btf::read(&path)?;
            kernels.push(Kernel { name: kernel.name, prototypes });
        }
    }
    ensure!(!kernels.is_empty(), "no kernel has prototypes\nhint: cargo xtask fixtures --btf");
    Ok(kernels)
}

/// The fixture with a kernel's prototypes, one per line. The reduced BTF beside it has none.
fn file(kernel: &str) -> PathBuf {
    crate::workspace::root().join("tests/fixtures/btf").join(format!("{kernel}.protos"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes the argument at an index.
    type Change = fn(&mut Vec<prototype::Argument>, usize);

    fn claims() -> Vec<Claim> {
        let (mut claims, mut problems) = (Vec::new(), Vec::new());
        for source in crate::checks::sources(PROBES, &["rs"]).unwrap() {
            collect(&source.path, &source.text, &mut claims, &mut problems);
        }
        assert_eq!(problems, [""; 0]);
        claims
    }

    #[test]
    fn comments_of_probes_agree_with_every_btf() {
        assert_eq!(run().unwrap(), [""; 0]);
        assert!(claims().len() >= 20, "{} claims", claims().len());
        assert!(kernels().unwrap().len() >= 6);
    }

    /// Changes the type and the name of every argument of every comment, removes and doubles it.
    #[test]
    fn comment_with_changed_argument_is_found() {
        let kernels = kernels().unwrap();
        let is_found = |claim: &Claim, what: &str| {
            let problems = contradictions(claim, &kernels);
            assert!(!problems.is_empty(), "{what} of {}: {}", claim.location, claim.prototype);
        };
        let changes: [(&str, Change); 5] = [
            ("other name", |all, at| all[at].name.push('x')),
            ("other type", |all, at| all[at].kind.words.push("x".to_owned())),
            ("one more pointer", |all, at| all[at].kind.pointers += 1),
            ("one argument less", |all, at| drop(all.remove(at))),
            ("one argument more", |all, at| all.insert(at, all[at].clone())),
        ];
        for (change, apply) in changes {
            for mut claim in claims() {
                let original = claim.prototype.clone();
                for at in 0..original.arguments.len() {
                    apply(&mut claim.prototype.arguments, at);
                    is_found(&claim, change);
                    claim.prototype = original.clone();
                }
            }
        }
    }

    #[test]
    fn changed_text_of_comment_is_found() {
        let kernels = kernels().unwrap();
        let problems = |text: &str| {
            let (mut claims, mut problems) = (Vec::new(), Vec::new());
            collect("probe.rs".as_ref(), text, &mut claims, &mut problems);
            problems.extend(claims.iter().flat_map(|claim| contradictions(claim, &kernels)));
            problems
        };
        for good in [
            "// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *oc)",
            "// kernel-proto: mm/oom_kill.c long oom_badness(struct task_struct *p,\n\
             //               unsigned long totalpages)",
            "// kernel-proto (5.10-pid): include/trace/events/oom.h mark_victim(int pid)",
            "// kernel-proto (before 5.10): include/trace/events/oom.h mark_victim(int pid)\n\
             // kernel-proto: as above",
        ] {
            assert_eq!(problems(good), [""; 0], "{good}");
        }
        for bad in [
            "// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control oc)",
            "// kernel-proto: mm/oom_kill.c int out_of_memory(struct oom_control *oc)",
            "// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *)",
            "// kernel-proto: mm/oom_kill.c bool out_of_memory(struct oom_control *oc, ...)",
            "// kernel-proto: mm/oom_kill.c bool out_of_memory()",
            "// kernel-proto: mm/oom_kill.c bool no_such_function(int pid)",
            "// kernel-proto: bool out_of_memory(struct oom_control *oc)",
            "// kernel-proto: mm/oom_kill.c long oom_badness(struct task_struct *p,\n\
             //               unsigned int totalpages)",
            "// kernel-proto: include/trace/events/oom.h mark_victim(int pid)",
            "// kernel-proto (from 5.10): include/trace/events/oom.h mark_victim(int pid)",
            "// kernel-proto (6.66): include/trace/events/oom.h mark_victim(int pid)",
            "// kernel-proto: as above",
        ] {
            assert!(!problems(bad).is_empty(), "{bad}");
        }
    }
}
