//! The verb `check`: the rules of the source tree that no compiler checks.

use anyhow::{Result, bail, ensure};

use crate::checks::{self, Check};

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Run only these checks [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let names: Vec<&str> = checks::ALL.iter().map(|check| check.name).collect();
    for name in &arguments.names {
        ensure!(
            names.contains(&name.as_str()),
            "there is no check {name:?}\nhint: choose from {}",
            names.join(", ")
        );
    }
    let is_wanted = |check: &&Check| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == check.name)
    };
    let mut n_problems = 0;
    for check in checks::ALL.iter().filter(is_wanted) {
        let problems = (check.run)()?;
        println!("{}: {}: {}", check.name, check.rule, counted(problems.len()));
        for problem in &problems {
            println!("  {problem}");
        }
        n_problems += problems.len();
    }
    if n_problems > 0 {
        bail!("{}, see above", counted(n_problems));
    }
    Ok(())
}

fn counted(n_problems: usize) -> String {
    match n_problems {
        0 => "ok".to_owned(),
        1 => "1 problem".to_owned(),
        several => format!("{several} problems"),
    }
}
