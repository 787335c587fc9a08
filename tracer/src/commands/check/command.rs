//! `oomwhy check`: what this host supports, and why not; `--self-test`: a real kill.

use crate::{
    cli::{CheckArgs, CheckFormat},
    commands::{
        Failure,
        check::{self, text, trial},
        exit::Exit,
        self_test,
    },
    host::{
        files::{Root, btf_path},
        policy::Policy,
    },
};

/// Prints the answer; the exit code says it too.
pub(crate) fn check(arguments: &CheckArgs) -> Result<(), Failure> {
    let root = Root::default();
    if arguments.self_test {
        let test = self_test::run(&root)?;
        say(arguments, &test, self_test::text::text)?;
        return end(if test.agrees { Exit::Ok } else { Exit::Failure });
    }
    let policy = Policy::collect(&root);
    let btf_file = btf_path(&root, arguments.btf.as_deref());
    let (facts, trial) = trial::run(&root, &policy, &btf_file);
    let check = check::judge(&facts, &policy, &trial);
    say(arguments, &check, text::text)?;
    end(check.exit)
}

fn say<T: serde::Serialize>(
    arguments: &CheckArgs,
    answer: &T,
    text: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    let said = match arguments.output {
        CheckFormat::Text => text(answer),
        CheckFormat::Json => serde_json::to_string(answer)
            .map(|line| line + "\n")
            .map_err(|error| Failure::runtime(&error))?,
    };
    crate::commands::print(|out| out.write_all(said.as_bytes()))
}

/// The answer has said it all.
fn end(exit: Exit) -> Result<(), Failure> {
    match exit {
        Exit::Ok => Ok(()),
        exit => Err(Failure { exit, message: String::new() }),
    }
}
