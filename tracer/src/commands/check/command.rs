//! The command `oomwhy check`, with and without `--self-test`.

use std::io::{self, Write as _};

use crate::{
    cli::{CheckArgs, CheckFormat, Destination},
    commands::{
        Failure,
        check::{self, text, trial},
        exit::Exit,
        output_file::stdout,
        self_test,
    },
    fmt::lines::{Lines, TextOut},
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
    text: impl Fn(&T, usize) -> Lines,
) -> Result<(), Failure> {
    let destination = Destination::default();
    let written = match arguments.output {
        CheckFormat::Text => {
            let out = stdout().text(arguments.color.choice(&destination));
            TextOut::new(out).print(&text(result, destination.width()))
        }
        CheckFormat::Json => {
            let line = serde_json::to_string(result).map_err(|error| Failure::runtime(&error))?;
            writeln!(stdout().json(), "{line}")
        }
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// Ends without a message, because the result has it.
fn end(exit: Exit) -> Result<(), Failure> {
    match exit {
        Exit::Ok => Ok(()),
        exit => Err(Failure { exit, message: String::new() }),
    }
}
