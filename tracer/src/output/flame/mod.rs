//! What grew, as profiles that other tools read: folded stacks, an SVG flame graph, pprof. Pure.
//!
//! One source for all three: `Sample`s, with their frames innermost first. Names come from the
//! traced processes, so they are escaped before anything is made of them.

mod folded;
mod pprof;
mod svg;

pub(crate) use self::{
    folded::folded,
    pprof::pprof,
    svg::{still, svg},
};

use crate::{
    compose::names,
    fmt::{sanitize::sanitize, units},
    model::report::{Frame, Growth, GrowthStack, OomReport},
};

/// Bytes that were charged from one place.
struct Sample<'a> {
    bytes: u64,
    comm: String,
    pid: Option<i32>,
    /// The kernel's, then those in user space; innermost first.
    frames: Vec<Named<'a>>,
}

/// A frame and what it is called.
struct Named<'a> {
    name: String,
    is_kernel: bool,
    frame: &'a Frame,
}

fn samples(growth: &Growth) -> Vec<Sample<'_>> {
    growth.stacks.iter().map(sample).collect()
}

fn sample(stack: &GrowthStack) -> Sample<'_> {
    let kernel = stack.kernel_stack.iter().flatten().map(|frame| named(frame, true));
    let user = stack.user_stack.iter().flatten().map(|frame| named(frame, false));
    Sample {
        bytes: stack.bytes,
        comm: stack.comm.as_deref().map_or_else(
            || "on behalf of another cgroup".to_owned(),
            |comm| sanitize(comm.as_bytes()),
        ),
        pid: stack.pid,
        frames: kernel.chain(user).collect(),
    }
}

/// "function", else "file+0x1f00", else an address.
fn named(frame: &Frame, is_kernel: bool) -> Named<'_> {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let place = || {
        let offset = frame.file_offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
        let file = frame.module.as_deref().or(frame.file.as_deref()).map(base);
        let file = file.or_else(|| Some(format!("build {:.12}", frame.build_id.as_deref()?)))?;
        Some(format!("{file}{offset}"))
    };
    let name = frame.symbol.clone().or_else(place).or_else(|| frame.ip.clone());
    let name = name.map_or_else(|| "(not known)".to_owned(), |name| sanitize(name.as_bytes()));
    Named { name, is_kernel, frame }
}

/// "What grew before the OOM kill of java[4242], limit 512 MiB of /kubepods/pod1".
fn title(report: &OomReport) -> String {
    let victim = report.victims.first();
    let victim = victim.map(|victim| format!(" before the OOM kill of {}", names::victim(victim)));
    let memcg = report.oom_memcg.as_ref();
    let limit = memcg.and_then(|memcg| memcg.max_bytes).map(units::bytes);
    let limit = limit.map(|limit| format!(", limit {limit}"));
    let path = memcg.and_then(|memcg| memcg.cgroup.path.as_deref());
    let path = path.map(|path| format!(" of {}", sanitize(path.as_bytes())));
    let [victim, limit, path] = [victim, limit, path].map(Option::unwrap_or_default);
    format!("What grew{victim}{limit}{path}")
}

#[cfg(test)]
mod tests;
