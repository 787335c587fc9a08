//! `oomwhy risk`: cgroups with a limit, the most urgent first, and the likely next victim.

use std::{
    io::{self, Write},
    thread::sleep,
    time::Duration,
};

use super::{
    Failure, cgroup_option,
    output_file::{is_terminal, open_output},
};
use crate::{
    cli::{RiskArgs, RiskFormat},
    commands::exit::Exit,
    fmt::{
        lines::{TextOut, log_stderr},
        width,
    },
    host::{
        clock,
        files::{Root, cgroup_mounts},
        opener,
    },
    pipeline::filter::matches,
    risk::{Observer, RiskReport, screen, table},
};

/// Readings within `--interval`.
const READINGS: u32 = 4;

pub(crate) fn risk(arguments: &RiskArgs) -> Result<(), Failure> {
    opener::start();
    let mut watch = Watch::new(arguments)?;
    if arguments.watch && arguments.output == RiskFormat::Table {
        if !is_terminal() {
            let message =
                "--watch needs a terminal\nhint: `-o json --watch` prints one object per line";
            return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
        }
        let every = arguments.every();
        return screen::run(every, || watch.read()).map_err(|error| Failure::runtime(&error));
    }
    watch.warm_up(arguments.every());
    let to = open_output(&arguments.to, &[])?;
    let mut out: Box<dyn Write> = match arguments.output {
        RiskFormat::Table => Box::new(to.text(arguments.color.choice(&arguments.to))),
        RiskFormat::Json => to.json(),
    };
    let mut reported = (None, None);
    loop {
        let report = watch.read();
        let recorder = report.recorder.as_ref().map(|it| (it.pid, it.others));
        let source = (recorder, report.recorder_unused.clone());
        if reported != source {
            let ended = "no growth recorder is running any more: growth is from a few readings";
            log_stderr(table::recorder(&report).unwrap_or_else(|| ended.to_owned()));
            reported = source;
        }
        if report.cgroups.is_empty() && !arguments.watch {
            return Err(watch.nothing(arguments));
        }
        match print(&mut out, &report, arguments) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.map_err(|error| Failure::runtime(&error))?,
        }
        if !arguments.watch {
            return Ok(());
        }
        sleep(arguments.every());
    }
}

struct Watch {
    observer: Observer,
    has_mount: bool,
    glob: Option<globset::GlobMatcher>,
}

impl Watch {
    fn new(arguments: &RiskArgs) -> Result<Self, Failure> {
        let glob = cgroup_option(arguments.cgroup.as_deref())?;
        let root = Root::default();
        let mounts = cgroup_mounts(&root);
        let has_mount = mounts.v2.is_some() || mounts.v1_memory.is_some();
        let observer = Observer::new(root, mounts).with_recorders();
        Ok(Self { observer, has_mount, glob })
    }

    /// Takes the readings that growth needs if no recorder has it.
    fn warm_up(&mut self, during: Duration) {
        let glob = self.glob.as_ref();
        let wanted = |path: &str| is_wanted(glob, path);
        if self.observer.is_recorded(clock::boottime_ns(), wanted) {
            return;
        }
        for _ in 1..READINGS {
            self.observer.sample(clock::boottime_ns());
            sleep(during / (READINGS - 1));
        }
    }

    fn read(&mut self) -> RiskReport {
        let glob = self.glob.as_ref();
        self.observer.report(clock::boottime_ns(), |path| is_wanted(glob, path))
    }

    fn nothing(&self, arguments: &RiskArgs) -> Failure {
        let message = match &arguments.cgroup {
            _ if !self.has_mount => "no cgroup hierarchy with the memory controller is mounted\n\
                hint: `mount -t cgroup2 none /sys/fs/cgroup`"
                .to_owned(),
            Some(glob) => format!(
                "no cgroup with a memory limit matches {glob}\nhint: `oomwhy risk` lists all of \
                 them"
            ),
            None => {
                "no cgroup has a memory limit (memory.max; v1: memory.limit_in_bytes)".to_owned()
            }
        };
        Failure { exit: Exit::Failure, message }
    }
}

fn is_wanted(glob: Option<&globset::GlobMatcher>, path: &str) -> bool {
    glob.is_none_or(|glob| matches(glob, path))
}

fn print(out: &mut impl Write, report: &RiskReport, arguments: &RiskArgs) -> io::Result<()> {
    match arguments.output {
        RiskFormat::Table => {
            let is_file = arguments.to.path().is_some();
            let columns = if is_file { None } else { width::terminal_of_stdout() };
            TextOut::new(out).print(&table::text(report, columns))
        }
        RiskFormat::Json => {
            let mut line = serde_json::to_vec(report)?;
            line.push(b'\n');
            out.write_all(&line)?;
            out.flush()
        }
    }
}
