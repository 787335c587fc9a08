//! `oomwhy flame`: the growth of a report as a flame graph or a profile.

use std::io::{self, BufReader, Write as _};

use super::{
    Failure, explain,
    output_file::{is_terminal, open_output, refuse_used},
};
use crate::{
    cli::{FlameArgs, ProfileFormat},
    commands::exit::Exit,
    fmt::lines::TextOut,
    model::report::{OomReport, Record},
    output::flame::{folded, pprof, svg},
};

/// Writes the profile of the last report that has growth with stacks.
pub(crate) fn flame(arguments: &FlameArgs) -> Result<(), Failure> {
    let used = explain::used(&arguments.what, &arguments.dir.dir);
    refuse_used(&arguments.to, &used)?;
    let (name, input) = explain::open(&arguments.what, &arguments.dir.dir)?;
    let mut found: Option<Box<OomReport>> = None;
    explain::each_record(&name, BufReader::new(input), |record| {
        if let Record::Oom(report) = record
            && report.growth.as_ref().is_some_and(|growth| !growth.stacks.is_empty())
        {
            found = Some(report);
        }
    })?;
    let report = found.ok_or_else(|| Failure {
        exit: Exit::Failure,
        message: format!(
            "{name} has no report with growth\nhint: record it with `oomwhy watch --growth`"
        ),
    })?;
    let failed = |error: io::Error| Failure::runtime(&error);
    let written = match arguments.output {
        ProfileFormat::Svg => {
            let svg = svg(&report).map_err(failed)?;
            TextOut::new(open_output(&arguments.to, &used)?.machine()).print(&svg)
        }
        ProfileFormat::Folded => {
            TextOut::new(open_output(&arguments.to, &used)?.machine()).print(&folded(&report))
        }
        ProfileFormat::Pprof => {
            if arguments.to.path().is_none() && is_terminal() {
                let message = "-o pprof is binary: not written to a terminal\nhint: name a file \
                               with --output-file"
                    .to_owned();
                return Err(Failure { exit: Exit::Usage, message });
            }
            let profile = pprof(&report).map_err(failed)?;
            let mut to = open_output(&arguments.to, &used)?.machine();
            to.write_all(&profile).and_then(|()| to.flush())
        }
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(failed),
    }
}
