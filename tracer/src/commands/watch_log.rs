//! `oomwhy watch` by the kernel's log: where BPF is refused, or where it is asked for.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Write},
    path::Path,
};

use super::{
    Failure,
    outputs::outputs,
    watch::{summary, talk},
};
use crate::{
    cli::{Attach, Format, WatchArgs},
    commands::exit::Exit,
    host::clock,
    kmsg::{Context, Log},
    model::{
        host::Host,
        report::{Missing, Tier},
    },
    pipeline::{
        Pipeline, PipelineConfig, PipelineError,
        filter::Filter,
        kernel_log::{DEVICE, Follower, KernelLog},
        live::{LiveError, protect_self},
        sink::SinkError,
    },
};

/// Whether the log will do where the probes are refused: what asks for the probes is not served
/// by anything else.
pub(super) fn is_a_way_out(arguments: &WatchArgs) -> bool {
    arguments.attach == Attach::Auto
        && arguments.btf.is_none()
        && arguments.record.is_none()
        && arguments.pin.is_none()
        && arguments.output.output != Format::Events
}

/// Follows the kernel's log until a signal or until enough reports were written. `refusal`: why
/// there are no probes.
pub(super) fn watch(
    arguments: &WatchArgs,
    filter: Filter,
    to: Box<dyn Write>,
    refusal: Option<&Failure>,
) -> Result<(), Failure> {
    if arguments.record.is_some() || arguments.output.output == Format::Events {
        let message = "--attach kmsg: there are no events to record or to print, only reports";
        return Err(Failure { exit: Exit::Usage, message: message.to_owned() });
    }
    let device = match (KernelLog::open(Path::new(DEVICE), arguments.backlog), refusal) {
        (Ok(device), _) => device,
        (Err(error), None) => return Err(closed(&error)),
        // The probes are what was wanted.
        (Err(error), Some(refusal)) => {
            let message = format!("{}\n{}", refusal.message, closed(&error).message);
            return Err(Failure { message, exit: refusal.exit });
        }
    };
    let talkative = !arguments.output.quiet;
    if let Some(refusal) = refusal.filter(|_| talkative) {
        talk(&fallback(refusal));
    }
    protect_self();
    let context = context(refusal, arguments.growth);
    let host = host(&context);
    let banner = format!(
        "Tracing OOM kills on {} (kmsg). Ctrl-C to stop.",
        host.kernel.as_deref().unwrap_or("this kernel")
    );
    let outputs = outputs(&arguments.output, to, Some((&arguments.store, &host)))?;
    let count = arguments.select.count;
    let config = PipelineConfig { filter, count, ..PipelineConfig::new(host, outputs) };
    let pipeline = Pipeline::new(config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::runtime(&error))?;
    let log = Log::new(context);
    let result = runtime.block_on(async {
        let mut follower = Follower::new(device, log, pipeline, arguments.backlog)?;
        let result = follower.run(|| {
            if talkative {
                talk(&banner);
            }
        });
        let result = result.await;
        if talkative {
            talk(&summary(follower.pipeline().stats()));
        }
        result
    });
    match result {
        Err(LiveError::Pipeline(PipelineError::Sink(SinkError::BrokenPipe))) => Ok(()),
        result => result.map_err(|error| Failure::runtime(&error)),
    }
}

/// One line: why there are no probes, and what that costs.
fn fallback(refusal: &Failure) -> String {
    let why = refusal.message.lines().next().unwrap_or_default();
    format!(
        "no probes ({why}); reading the kernel's log instead: it has no chain of limits, points \
         are reckoned again, and of more than ten kills in 5 s it has a line each"
    )
}

/// Why the log cannot be read, and the mend.
fn closed(error: &io::Error) -> Failure {
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
        gfp_flags: Vec::new(),
        tier: Tier::Kmsg,
        hooks: BTreeMap::new(),
        missing: Vec::new(),
        memory_on_v2: None,
        memcg_stat: Vec::new(),
        close_after_ns: 0,
    }
}
