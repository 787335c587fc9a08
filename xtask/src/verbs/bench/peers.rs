//! The tools that oomwhy is compared with: Debian's packages, with the libraries that they need.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oomwhy_tests::bench::{Stdout, Tool};
use oomwhy_tests::plan::GUEST_OOMWHY;

use crate::install::needs::Program;
use crate::process;
use crate::vm::initramfs::Initramfs;

/// Its name in the table.
pub(crate) const OOMWHY: &str = "oomwhy";
/// The limit on the start time is relative to this tool.
pub(crate) const OOMKILL: &str = "oomkill";

const OOMKILL_PROGRAM: &str = "/usr/sbin/oomkill";
const BPFTRACE_PROGRAM: &str = "/usr/bin/bpftrace";
/// The path of Debian, and the path of other systems.
const SCRIPTS: [&str; 2] = ["/usr/sbin/oomkill.bt", "/usr/share/bpftrace/tools/oomkill.bt"];
const SHELL: &str = "/bin/sh";
const GUEST_SCRIPT: &str = "/oomkill.bt";

/// A tool, and the files of the host that it needs in the guest.
pub(crate) struct Packed {
    pub(crate) tool: Tool,
    /// A dynamically linked program.
    program: Option<&'static str>,
    script: Option<PathBuf>,
}

/// oomwhy and its peers.
pub(crate) fn with_oomwhy(bpftrace: bool) -> Result<Vec<Packed>> {
    let mut tools = vec![oomwhy(), oomkill()?];
    if bpftrace {
        tools.push(bpftrace_script()?);
    }
    Ok(tools)
}

fn oomwhy() -> Packed {
    let tool = Tool {
        name: OOMWHY.to_owned(),
        argv: [GUEST_OOMWHY, "-o", "json"].map(str::to_owned).to_vec(),
        stdout: Stdout::Pipe,
        ready: "Tracing OOM kills".to_owned(),
        report: "\"type\":\"oom\"".to_owned(),
    };
    Packed { tool, program: None, script: None }
}

fn oomkill() -> Result<Packed> {
    find(&[OOMKILL_PROGRAM])?;
    let tool = Tool {
        name: OOMKILL.to_owned(),
        argv: vec![OOMKILL_PROGRAM.to_owned()],
        // On a pipe it prints nothing before it ends.
        stdout: Stdout::Terminal,
        ready: "Tracing OOM kills".to_owned(),
        report: "OOM kill of PID".to_owned(),
    };
    Ok(Packed { tool, program: Some(OOMKILL_PROGRAM), script: None })
}

fn bpftrace_script() -> Result<Packed> {
    find(&[BPFTRACE_PROGRAM])?;
    let script = find(&SCRIPTS)?;
    let tool = Tool {
        name: "bpftrace".to_owned(),
        argv: [BPFTRACE_PROGRAM, GUEST_SCRIPT].map(str::to_owned).to_vec(),
        stdout: Stdout::Pipe,
        ready: "Tracing oom_kill_process".to_owned(),
        report: "OOM kill of PID".to_owned(),
    };
    Ok(Packed { tool, program: Some(BPFTRACE_PROGRAM), script: Some(script) })
}

/// The usual ways to see which code allocates memory: a name, and a program of bpftrace. All count
/// by process and user stack, as the growth recorder does.
const COUNTERS: [(&str, &str); 4] = [
    ("page faults", "software:page-faults:1 { @[pid, ustack] = count(); }"),
    ("one page fault in 64", "software:page-faults:64 { @[pid, ustack] = count(); }"),
    ("tracepoint kmem:rss_stat", "tracepoint:kmem:rss_stat { @[pid, ustack] = count(); }"),
    // This is the workload's path. One call is 16 pages.
    ("uprobe on malloc, blocks of 64 KiB", "uprobe:/init:malloc { @[pid, ustack] = sum(arg0); }"),
];

/// bpftrace, in each of these ways.
pub(crate) fn counting() -> Result<Vec<Packed>> {
    find(&[BPFTRACE_PROGRAM])?;
    let packed = |(name, program): (&str, &str)| {
        let script = format!("BEGIN {{ printf(\"Tracing\\n\"); }} {program}");
        let tool = Tool {
            name: format!("bpftrace, {name}"),
            argv: vec![BPFTRACE_PROGRAM.to_owned(), "-e".to_owned(), script],
            stdout: Stdout::Pipe,
            ready: "Tracing".to_owned(),
            report: String::new(),
        };
        Packed { tool, program: Some(BPFTRACE_PROGRAM), script: None }
    };
    Ok(COUNTERS.into_iter().map(packed).collect())
}

/// The first of these files that exists.
fn find(paths: &[&str]) -> Result<PathBuf> {
    paths.iter().map(PathBuf::from).find(|path| path.exists()).with_context(|| {
        format!(
            "{} is needed for the comparison and is not installed\n\
             hint: skip bpftrace with --no-bpftrace",
            paths.join(" or ")
        )
    })
}

/// Adds the tools and their libraries to the guest's files.
pub(crate) fn take_along(tools: &[Packed], initramfs: &mut Initramfs) -> Result<()> {
    let mut files = Vec::new();
    for packed in tools {
        if let Some(program) = packed.program {
            files.push(PathBuf::from(program));
            files.extend(libraries(program)?);
        }
        if packed.program == Some(BPFTRACE_PROGRAM) {
            // It crashes if there is no shell.
            files.push(PathBuf::from(SHELL));
            files.extend(libraries(SHELL)?);
        }
        if let Some(script) = &packed.script {
            initramfs.add_file(script, GUEST_SCRIPT)?;
        }
    }
    files.sort();
    files.dedup();
    files.iter().try_for_each(|file| initramfs.add_file(file, &file.to_string_lossy()))
}

fn libraries(program: &str) -> Result<Vec<PathBuf>> {
    let listed = process::output(process::command(Program::Ldd)?.arg(program))?;
    // `libz.so.1 => /lib/.../libz.so.1 (0x...)`, or the loader: `/lib64/ld-linux... (0x...)`.
    let paths = listed.lines().filter_map(|line| {
        line.split_whitespace().map(Path::new).find(|word| word.is_absolute()).map(Path::to_owned)
    });
    Ok(paths.collect())
}
