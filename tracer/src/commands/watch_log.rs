//! `oomwhy watch` with the kernel log, if BPF is refused or if the kmsg tier is requested.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use super::{
    Failure,
    output_file::LiveOutput,
    outputs::{live_outputs, open_history},
    startup, stop_deadline,
    watch::summary,
};
use crate::{
    cli::{Attach, Format, WatchArgs},
    commands::exit::Exit,
    fmt::{lines::log_stderr, width},
    host::{
        clock,
        confinement::{Source, confine_tracer},
        oom_score_adj::{Protection, protect_self},
    },
    kmsg::{Context, Log},
    model::{
        host::Host,
        report::{Missing, Tier},
    },
    pipeline::{
        Pipeline, PipelineConfig, PipelineError,
        filter::Filter,
        kernel_log::{DEVICE, Follower, KernelLog},
        live::LiveError,
        sink::SinkError,
    },
};

/// Whether the kernel log may replace refused probes. It cannot if an option needs probes.
pub(super) fn is_a_way_out(arguments: &WatchArgs) -> bool {
    arguments.attach == Attach::Auto
        && arguments.btf.is_none()
        && arguments.record.is_none()
        && arguments.pin.is_none()
        && arguments.output.output != Format::Events
}

/// Follows the kernel log until a signal or until `--count` is reached. `refusal` is the reason why
/// there are no probes.
pub(super) fn watch(
    arguments: &WatchArgs,
    filter: Filter,
    to: LiveOutput,
    refusal: Option<&Failure>,
) -> Result<(), Failure> {
    if arguments.record.is_some() || arguments.output.output == Format::Events {
        let message = "--attach kmsg has no events for --record and -o events, only reports\n\
                       hint: leave out these options, or use --attach auto";
        return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
    }
    let device = match (KernelLog::open(Path::new(DEVICE), arguments.backlog), refusal) {
        (Ok(device), _) => device,
        (Err(error), None) => return Err(unreadable(&error)),
        // The user wanted the probes, so their refusal comes first.
        (Err(error), Some(refusal)) => {
            let message = format!("{}\n{}", refusal.message, unreadable(&error).message);
            return Err(Failure { message, exit: refusal.exit });
        }
    };
    let shows_diagnostics = !arguments.output.quiet;
    if let Some(refusal) = refusal.filter(|_| shows_diagnostics) {
        let mut lines = refusal.message.lines();
        let why = lines.next().unwrap_or_default();
        log_stderr(startup::wrapped(&fallback(why), width::of_stderr()));
        if let Some(hint) = lines.find(|line| line.starts_with("hint: ")) {
            log_stderr(hint);
        }
    }
    protect_self(Protection::of_run(arguments.store.store));
    let context = context(refusal, arguments.growth);
    let host = host(&context);
    let banner = startup::headline(&host);
    let history = open_history(&arguments.store, &host)?;
    // No thread runs yet. The privileges of this one become those of all.
    for failure in confine_tracer(&Source::KernelLog) {
        log_stderr(failure);
    }
    let outputs = live_outputs(&arguments.output, to, history)?;
    let count = arguments.select.count;
    let config = PipelineConfig { filter, count, ..PipelineConfig::new(host, outputs) };
    let pipeline = Pipeline::new(config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(&error))?;
    let run =
        stop_deadline::enforce(pipeline.outputs()).map_err(|error| Failure::runtime(&error))?;
    let log = Log::new(context);
    let result = runtime.block_on(async {
        let mut follower = Follower::new(device, log, pipeline, arguments.backlog)?;
        let running = follower.run(|| {
            if shows_diagnostics {
                log_stderr(&banner);
            }
        });
        let result = running.await;
        follower.close_outputs();
        drop(run);
        if shows_diagnostics {
            log_stderr(summary(follower.pipeline().stats()));
        }
        result
    });
    match result {
        Err(LiveError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe))) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// The reason why there are no probes, and the consequences for the reports.
fn fallback(why: &str) -> String {
    format!(
        "no probes ({why}); reading the kernel log instead: limits of parent cgroups are not \
         known, points are recomputed, and if more than ten kills happen in 5 s, only one line \
         per kill is available"
    )
}

/// The kernel log cannot be read.
fn unreadable(error: &io::Error) -> Failure {
    let (exit, hint) = match error.kind() {
        ErrorKind::PermissionDenied => (
            Exit::NotPermitted,
            "run as root or with CAP_SYSLOG, or `sysctl kernel.dmesg_restrict=0` and make the \
             device readable",
        ),
        ErrorKind::NotFound => {
            (Exit::Unavailable, "mount a devtmpfs; a container needs `--device /dev/kmsg`")
        }
        _ => (Exit::Unavailable, "the kernel needs CONFIG_PRINTK"),
    };
    Failure { exit, message: format!("cannot read {DEVICE}: {error}\nhint: {hint}") }
}

fn context(refusal: Option<&Failure>, growth: bool) -> Context {
    let why = refusal.and_then(|refusal| refusal.message.lines().next());
    let probes = why.map(|why| Missing { field: "probes".to_owned(), why: why.to_owned() });
    let gap = Missing {
        field: "gap".to_owned(),
        why: "with the kernel's log kills are not compared with the kernel's count".to_owned(),
    };
    let growth = growth.then(|| Missing {
        field: "growth".to_owned(),
        why: "with the kernel's log nothing is recorded before a kill".to_owned(),
    });
    Context {
        page_size: u64::try_from(rustix::param::page_size()).ok(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        host: line("/proc/sys/kernel/hostname"),
        kernel: line("/proc/sys/kernel/osrelease"),
        missing: probes.into_iter().chain([gap]).chain(growth).collect(),
        ..Context::default()
    }
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn host(context: &Context) -> Host {
    Host {
        boot_id: context.boot_id.clone(),
        hostname: context.host.clone(),
        kernel: context.kernel.clone(),
        page_size: context.page_size.unwrap_or_default(),
        realtime_offset_ns: clock::realtime_offset_ns(),
        ..Host::of_tier(Tier::Kmsg)
    }
}
