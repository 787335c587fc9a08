//! The programs one by one: loaded side by side, since nearly all of the start-up time is the
//! kernel's verifier; attached in the plan's order.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, RawTracePoint, TracePoint,
        links::FdLink,
    },
};

use crate::bpf::{
    load::{LoadError, other},
    plan::{How, Planned},
};

/// More verifiers at once would be of no use: the costliest program takes a third of the time.
const MAX_WORKERS: usize = 3;

/// Loads the planned programs. What became of each, by program.
pub(super) fn load_all(
    ebpf: &mut Ebpf,
    btf: &Btf,
    plan: &[Planned],
) -> BTreeMap<&'static str, Result<(), LoadError>> {
    let planned = |name: &str| plan.iter().copied().find(|planned| planned.program == name);
    let programs = ebpf.programs_mut();
    let jobs = programs.filter_map(|(name, program)| Some((planned(name)?, program)));
    let jobs = Mutex::new(jobs.collect::<Vec<_>>());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        let mut done = Vec::new();
        while let Some((planned, program)) = next() {
            done.push((planned.program, load(program, btf, planned)));
        }
        done
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        // A worker cannot panic; if one did, its programs count as not loaded.
        done.extend(others.into_iter().filter_map(|worker| worker.join().ok()).flatten());
        done.into_iter().collect()
    })
}

/// A program that is planned but was not loaded.
pub(super) fn lost(planned: Planned) -> LoadError {
    LoadError::Other {
        what: format!("load program {}", planned.program),
        why: "it is not in the BPF object: a build error".to_owned(),
    }
}

fn load(program: &mut Program, btf: &Btf, planned: Planned) -> Result<(), LoadError> {
    let Planned { program: name, hook, how } = planned;
    let loaded = match how {
        How::Fentry => <&mut FEntry>::try_from(program).and_then(|program| program.load(hook, btf)),
        How::Fexit => <&mut FExit>::try_from(program).and_then(|program| program.load(hook, btf)),
        How::TpBtf => {
            <&mut BtfTracePoint>::try_from(program).and_then(|program| program.load(hook, btf))
        }
        How::Kprobe | How::Kretprobe => <&mut KProbe>::try_from(program).and_then(KProbe::load),
        How::RawTp => <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load),
        How::Tracepoint => <&mut TracePoint>::try_from(program).and_then(TracePoint::load),
    };
    loaded.map_err(|error| program_error(name, error))
}

/// Attaches a loaded program, a kprobe to this symbol, as long as the link lives; `None`: as long as
/// the program does, for a link that cannot be pinned.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    planned: Planned,
    symbol: &str,
) -> Result<Option<FdLink>, LoadError> {
    let program = ebpf.program_mut(planned.program).ok_or_else(|| lost(planned))?;
    let attached = match planned.how {
        How::Fentry => <&mut FEntry>::try_from(program).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        How::Fexit => <&mut FExit>::try_from(program).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        How::TpBtf => <&mut BtfTracePoint>::try_from(program).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        How::RawTp => <&mut RawTracePoint>::try_from(program).and_then(|program| {
            let link = program.attach(planned.hook)?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        How::Kprobe | How::Kretprobe => <&mut KProbe>::try_from(program)
            .and_then(|program| program.attach(symbol, 0).map(|_| None)),
        How::Tracepoint => <&mut TracePoint>::try_from(program)
            .and_then(|program| program.attach("oom", planned.hook).map(|_| None)),
    };
    attached.map_err(|error| program_error(planned.program, error))
}

fn program_error(program: &'static str, error: ProgramError) -> LoadError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            if log.trim().is_empty() {
                let what = format!("BPF program {program}");
                return LoadError::Refused { what, errno: io_error };
            }
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(40);
            LoadError::Verifier { program, log: lines.get(tail..).unwrap_or_default().join("\n") }
        }
        ProgramError::SyscallError(error) => LoadError::Refused {
            what: format!("attaching BPF program {program}"),
            errno: error.io_error,
        },
        error => other(&format!("attach {program}"), &error),
    }
}
