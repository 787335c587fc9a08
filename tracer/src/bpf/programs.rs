//! Loads and attaches single programs. They are loaded in parallel, because the kernel's verifier
//! takes nearly all of the start-up time, and attached in the order of the plan.

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
    hooks::ProgramKind,
    load::{LoadError, NOT_IN_OBJECT, other},
    plan::{Plan, Planned},
};

/// More threads would not help: the costliest program takes a third of the time.
const MAX_WORKERS: usize = 3;

/// Loads the planned programs. Returns the result of each.
pub(super) fn load_all(
    ebpf: &mut Ebpf,
    btf: &Btf,
    plan: &Plan,
) -> BTreeMap<&'static str, Result<(), LoadError>> {
    let planned =
        |name: &str| plan.programs.iter().copied().find(|planned| planned.program == name);
    let programs = ebpf.programs_mut();
    let jobs = programs.filter_map(|(name, program)| Some((planned(name)?, program))).collect();
    let queue: Mutex<Vec<(Planned, &mut Program)>> = Mutex::new(jobs);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        let mut done = Vec::new();
        while let Some((planned, program)) = next() {
            let symbol = plan.symbol(planned.hook);
            done.push((planned.program, load(program, btf, planned, symbol)));
        }
        done
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        // A thread cannot panic. If one did, its programs would count as not loaded.
        done.extend(others.into_iter().filter_map(|worker| worker.join().ok()).flatten());
        done.into_iter().collect()
    })
}

/// The error of a planned program that the BPF object does not have.
pub(super) fn not_in_object(planned: Planned) -> LoadError {
    LoadError::Other {
        what: format!("load program {}", planned.program),
        why: NOT_IN_OBJECT.to_owned(),
    }
}

/// Loads one program: the kernel verifies it.
pub(super) fn load(
    program: &mut Program,
    btf: &Btf,
    planned: Planned,
    symbol: &str,
) -> Result<(), LoadError> {
    let loaded = match planned.kind {
        ProgramKind::Fentry => {
            <&mut FEntry>::try_from(program).and_then(|program| program.load(symbol, btf))
        }
        ProgramKind::Fexit => {
            <&mut FExit>::try_from(program).and_then(|program| program.load(symbol, btf))
        }
        ProgramKind::TpBtf => {
            <&mut BtfTracePoint>::try_from(program).and_then(|program| program.load(symbol, btf))
        }
        ProgramKind::Kprobe | ProgramKind::Kretprobe => {
            <&mut KProbe>::try_from(program).and_then(KProbe::load)
        }
        ProgramKind::RawTp => <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load),
        ProgramKind::Tracepoint => <&mut TracePoint>::try_from(program).and_then(TracePoint::load),
    };
    loaded.map_err(|error| program_error(planned.program, error))
}

/// Attaches a loaded program to a symbol of the kernel. It stays attached as long as the link
/// lives. `None`: as long as the program lives, because its link cannot be pinned.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    planned: Planned,
    symbol: &str,
) -> Result<Option<FdLink>, LoadError> {
    let program = ebpf.program_mut(planned.program).ok_or_else(|| not_in_object(planned))?;
    let attached = match planned.kind {
        ProgramKind::Fentry => <&mut FEntry>::try_from(program).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        ProgramKind::Fexit => <&mut FExit>::try_from(program).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        ProgramKind::TpBtf => <&mut BtfTracePoint>::try_from(program).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        ProgramKind::RawTp => <&mut RawTracePoint>::try_from(program).and_then(|program| {
            let link = program.attach(symbol)?;
            program.take_link(link).map(FdLink::from).map(Some)
        }),
        ProgramKind::Kprobe | ProgramKind::Kretprobe => <&mut KProbe>::try_from(program)
            .and_then(|program| program.attach(symbol, 0).map(|_| None)),
        ProgramKind::Tracepoint => <&mut TracePoint>::try_from(program)
            .and_then(|program| program.attach("oom", symbol).map(|_| None)),
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
