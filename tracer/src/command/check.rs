//! `oomwhy check`: what this host supports, and why not; `--self-test`: a real kill.

use super::Failure;
use crate::{
    check::{self, text, trial},
    cli::CheckArgs,
    exit::Exit,
    kernel::{
        files::{Root, btf_path},
        policy::Policy,
    },
};

/// Prints the answer; the exit code says it too.
pub(super) fn check(arguments: &CheckArgs) -> Result<(), Failure> {
    let root = Root::default();
    let policy = Policy::collect(&root);
    let btf_file = btf_path(&root, arguments.btf.as_deref());
    let (facts, trial) = trial::run(&root, &policy, &btf_file);
    let check = check::judge(&facts, &policy, &trial);
    let said = match arguments.output {
        crate::cli::CheckFormat::Text => text::text(&check),
        crate::cli::CheckFormat::Json => serde_json::to_string(&check)
            .map(|line| line + "\n")
            .map_err(|error| Failure::runtime(&error))?,
    };
    super::print(|out| out.write_all(said.as_bytes()))?;
    // The answer has said it all.
    let silent = |exit| Err(Failure { exit, message: String::new() });
    match check.exit {
        0 => Ok(()),
        77 => silent(Exit::NotPermitted),
        _ => silent(Exit::Unavailable),
    }
}
