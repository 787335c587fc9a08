//! The verb `proof`: a proof takes too long for every run of CI. It can be interrupted and resumed,
//! and in the end it writes date, commit and figures into the page that makes the promise. The step
//! of `ci` that is named as its short form does the same work on a smaller scale.

mod burst;
mod hostile;
mod matrix;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::builder::PossibleValuesParser;
use oomwhy_tests::matrix::Kernel;
use oomwhy_tests::{matrix as kernels, page};
use serde::{Deserialize, Serialize};

use crate::install::needs::Program;
use crate::{process, workspace};

/// A promise of a page, and how it is proven.
pub(crate) struct Proof {
    pub(crate) name: &'static str,
    /// The page that makes the promise. It has the lines `<!-- proof:NAME -->` and
    /// `<!-- /proof -->`, and the result is written between them.
    page: &'static str,
    /// The step of `cargo xtask ci` that does the same on a smaller scale.
    pub(crate) short_form: &'static str,
    /// The names of its steps. Only complete steps are not repeated.
    steps: fn(&Arguments) -> Vec<String>,
    /// Prepares the steps, and returns a function that runs one of them.
    prepare: fn() -> Runner,
    /// The text for the page.
    render: fn(&State) -> Result<String>,
}

type Runner = Box<dyn FnMut(&str) -> Result<Figures>>;

/// The figures that a step measured, by name.
type Figures = BTreeMap<String, f64>;

pub(crate) const ALL: &[Proof] = &[matrix::PROOF, burst::PROOF, hostile::PROOF];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run this proof
    #[arg(value_parser = PossibleValuesParser::new(ALL.iter().map(|it| it.name)))]
    name: String,
    /// Repeat it this many times
    #[arg(long, default_value = "3")]
    rounds: NonZero<usize>,
}

impl Arguments {
    /// The kernels to boot.
    #[expect(clippy::unused_self, reason = "other proofs will not boot all of them")]
    pub(crate) fn kernels(&self) -> Result<Vec<Kernel>> {
        kernels::kernels()
    }
}

/// The progress of a proof at one commit, as it is stored in the cache.
#[derive(Default, Deserialize, Serialize)]
struct State {
    commit: String,
    /// The day of the last step, as YYYY-MM-DD.
    date: String,
    /// The figures of each complete step, by its name.
    steps: BTreeMap<String, Figures>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let proof = ALL.iter().find(|proof| proof.name == arguments.name).context("no such proof")?;
    let commit = commit(proof)?;
    let path = workspace::cache()?.join("proofs").join(proof.name).join(format!("{commit}.json"));
    let mut state = State::load(&path)?;
    state.commit = commit;
    let steps = (proof.steps)(arguments);
    let mut runner = None;
    for (index, step) in steps.iter().enumerate() {
        if state.steps.contains_key(step) {
            println!("{step}: passed before");
            continue;
        }
        println!("\n=== {} of {}: {step}", index + 1, steps.len());
        let run = runner.get_or_insert_with(proof.prepare);
        let figures = run(step).or_else(|error| {
            // The promise is about steps in a row, so the next run starts from the beginning.
            let _ = fs::remove_file(&path);
            Err(error).with_context(|| format!("the proof {} failed: {step}", proof.name))
        })?;
        state.steps.insert(step.clone(), figures);
        state.date = today()?;
        state.store(&path)?;
    }
    state.steps.retain(|step, _| steps.contains(step));
    let block = format!("\n{}\n\n", (proof.render)(&state)?.trim());
    let markers = [&format!("<!-- proof:{} -->\n", proof.name), "<!-- /proof -->\n"];
    page::replace(&workspace::root().join(proof.page), markers, &block)?;
    println!("{} has the result; step {:?} of ci is its short form", proof.page, proof.short_form);
    Ok(())
}

impl State {
    fn load(path: &PathBuf) -> Result<Self> {
        match fs::read(path) {
            Ok(content) => serde_json::from_slice(&content)
                .with_context(|| format!("{} is damaged\nhint: remove it", path.display())),
            Err(_) => Ok(Self::default()),
        }
    }

    fn store(&self, path: &PathBuf) -> Result<()> {
        fs::create_dir_all(path.parent().context("the cache has no directory")?)?;
        // Renamed when complete, so an interrupted write does not lose earlier steps.
        let partial = path.with_extension("part");
        fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&partial, path).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// The commit that the proof is about. The page of the proof may have changed since.
fn commit(proof: &Proof) -> Result<String> {
    let git = |arguments: &[&str]| {
        let mut git = process::command(Program::Git)?;
        process::output(git.current_dir(workspace::root()).args(arguments))
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let others: Vec<&str> =
        changed.lines().filter(|line| !line.ends_with(&format!(" {}", proof.page))).collect();
    ensure!(
        others.is_empty(),
        "a proof is about a commit, but these files have changed:\n{}\nhint: commit them",
        others.join("\n")
    );
    Ok(git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned())
}

fn today() -> Result<String> {
    Ok(process::output(process::command(Program::Date)?.args(["-u", "+%F"]))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::ci;

    #[test]
    fn each_proof_has_a_block_in_its_page_and_a_short_form() {
        for proof in ALL {
            let text = fs::read_to_string(workspace::root().join(proof.page)).unwrap();
            let begin = format!("<!-- proof:{} -->\n", proof.name);
            assert!(page::split(&text, [&begin, "<!-- /proof -->\n"]).is_ok(), "{}", proof.name);
            assert!(ci::STEPS.iter().any(|step| step.name == proof.short_form), "{}", proof.name);
        }
    }

    #[test]
    fn stored_step_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proofs/abc.json");
        let mut state = State::load(&path).unwrap();
        state.steps.insert("round 1, 6.1".to_owned(), Figures::from([("seconds".to_owned(), 2.5)]));
        state.store(&path).unwrap();
        assert_eq!(State::load(&path).unwrap().steps, state.steps);
        fs::write(&path, "{").unwrap();
        assert!(State::load(&path).is_err());
    }
}
