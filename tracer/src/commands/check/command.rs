//! The command `oomwhy check`, with and without `--self-test`.

use std::io::Write as _;

use anstream::AutoStream;

use crate::{
    cli::{CheckArgs, CheckFormat, Destination},
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

/// Prints the result. The exit code has it as well.
pub(crate) fn check(arguments: &CheckArgs) -> Result<(), Failure> {
    let root = Root::default();
    if arguments.self_test {
        let test = self_test::run(&root)?;
        print(arguments, &test, self_test::text::text)?;
        return end(if test.agrees { Exit::Ok } else { Exit::Failure });
    }
    let policy = Policy::collect(&root);
    let btf_file = btf_path(&root, arguments.btf.as_deref());
    let (facts, trial) = trial::run(&root, &policy, &btf_file);
    let check = check::evaluate(&facts, &policy, &trial);
    print(arguments, &check, text::text)?;
    end(check.exit)
}

fn print<T: serde::Serialize>(
    arguments: &CheckArgs,
    result: &T,
    text: impl Fn(&T, usize) -> String,
) -> Result<(), Failure> {
    let output = match arguments.output {
        CheckFormat::Text => text(result, Destination::default().width()),
        CheckFormat::Json => serde_json::to_string(result)
            .map(|line| line + "\n")
            .map_err(|error| Failure::runtime(&error))?,
    };
    // The choice is for text. JSON has no escapes to strip.
    let choice = arguments.color.choice(&Destination::default());
    let mut colored = Vec::new();
    AutoStream::new(&mut colored, choice)
        .write_all(output.as_bytes())
        .map_err(|error| Failure::runtime(&error))?;
    crate::commands::print(|out| out.write_all(&colored))
}

/// Ends without a message, because the result has it.
fn end(exit: Exit) -> Result<(), Failure> {
    match exit {
        Exit::Ok => Ok(()),
        exit => Err(Failure { exit, message: String::new() }),
    }
}
