//! The recorded growth as profiles that other tools read: folded stacks, an SVG flame graph, pprof.
//! Pure.
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

/// Bytes that were charged by one stack.
struct Sample<'a> {
    bytes: u64,
    comm: String,
    pid: Option<i32>,
    /// The kernel's, then those in user space; innermost first.
    frames: Vec<Named<'a>>,
}

/// A frame with its name for the profile.
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

fn named(frame: &Frame, is_kernel: bool) -> Named<'_> {
    Named { name: names::frame(frame), is_kernel, frame }
}

/// "What grew before the OOM kill of java[4242], limit 512 MiB of /kubepods/pod1".
fn title(report: &OomReport) -> String {
    let memcg = report.oom_memcg.as_ref();
    let max_bytes = memcg.and_then(|memcg| memcg.max_bytes);
    let path = memcg.and_then(|memcg| memcg.cgroup.path.as_deref());
    let parts = [
        report.victims.first().map(|it| format!(" before the OOM kill of {}", names::victim(it))),
        max_bytes.map(|max| format!(", limit {}", units::bytes(max))),
        path.map(|path| format!(" of {}", sanitize(path.as_bytes()))),
    ];
    format!("What grew{}", parts.map(Option::unwrap_or_default).concat())
}

#[cfg(test)]
mod tests;
