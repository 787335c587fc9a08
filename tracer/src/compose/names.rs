//! Names of tasks, cgroups and limits in text. All untrusted strings are sanitized here.

use crate::{
    fmt::{sanitize::sanitize, units, width::elide},
    model::report::{
        Candidate, Cgroup, CgroupOwner, Container, Frame, GrowthStack, Parent, Trigger, Victim,
        Who, original,
    },
};

/// Columns of a task's name: 15 escaped bytes would fill a line.
const NAME: usize = 24;
/// Columns of the name of a container, an image or a pod.
const FACT: usize = 56;

/// "java[4242]", or "pid 4242" if the name is not known.
pub(crate) fn task(comm: Option<&str>, hex: Option<&str>, pid: i32) -> String {
    match comm {
        Some(comm) => format!("{}[{pid}]", self::comm(comm, hex)),
        None => format!("pid {pid}"),
    }
}

/// A task's name, sanitized and cut.
pub(crate) fn comm(comm: &str, hex: Option<&str>) -> String {
    elide(&sanitize(&original(comm, hex)), NAME)
}

pub(crate) fn victim(victim: &Victim) -> String {
    task(victim.comm.as_deref(), victim.comm_hex.as_deref(), victim.pid)
}

pub(crate) fn trigger(trigger: &Trigger) -> String {
    task(trigger.comm.as_deref(), trigger.comm_hex.as_deref(), trigger.pid)
}

pub(crate) fn candidate(candidate: &Candidate) -> String {
    task(candidate.comm.as_deref(), candidate.comm_hex.as_deref(), candidate.pid)
}

/// The cgroup's path, or its id if the path is not known.
pub(crate) fn cgroup(cgroup: &Cgroup) -> Option<String> {
    let Cgroup { id, path, path_hex, path_truncated } = cgroup;
    let safe = path.as_deref().map(|path| sanitize(&original(path, path_hex.as_deref())));
    let marked = safe.map(|path| if *path_truncated { format!("...{path}") } else { path });
    marked.or_else(|| id.as_deref().map(|id| format!("cgroup id {}", sanitize(id.as_bytes()))))
}

/// A command line as a shell shows it, sanitized.
pub(crate) fn cmdline(who: &Who) -> Option<String> {
    let arguments = who.cmdline.as_ref()?;
    let hex = who.cmdline_hex.as_deref().unwrap_or_default();
    let quoted = arguments.iter().enumerate().map(|(index, argument)| {
        let word = sanitize(&original(argument, hex.get(index).map(String::as_str)));
        let is_plain = !word.is_empty() && !word.contains([' ', '\'', '"']);
        if is_plain { word } else { format!("'{word}'") }
    });
    let words: Vec<String> = quoted.collect();
    let more = if who.cmdline_truncated { " ..." } else { "" };
    Some(format!("{}{more}", words.join(" ")))
}

pub(crate) fn exe(who: &Who) -> Option<String> {
    let path = sanitize(&original(who.exe.as_deref()?, who.exe_hex.as_deref()));
    Some(if who.exe_truncated { format!("...{path}") } else { path })
}

/// "uid 1000 (app)", or as much of it as is known.
pub(crate) fn user(who: &Who, uid: Option<u32>) -> Option<String> {
    let name = who.user.as_deref().map(|name| elide(&sanitize(name.as_bytes()), NAME));
    match (name, uid) {
        (Some(name), Some(uid)) => Some(format!("uid {uid} ({name})")),
        (name, uid) => name.or_else(|| Some(format!("uid {}", uid?))),
    }
}

/// The ancestors, nearest first.
pub(crate) fn parents(who: &Who) -> Vec<String> {
    let name = |parent: &Parent| task(Some(&parent.comm), parent.comm_hex.as_deref(), parent.pid);
    who.parents.iter().flatten().map(name).collect()
}

/// Container, image and pod, or the unit if there is no container. Ids are shortened as the tools
/// of the runtimes do.
pub(crate) fn owner(owner: &CgroupOwner) -> Vec<String> {
    let CgroupOwner { container, unit, slice: _ } = owner;
    let safe = |text: &str| elide(&sanitize(text.as_bytes()), FACT);
    let Some(container) = container else {
        return unit.iter().map(|unit| format!("unit {}", safe(unit))).collect();
    };
    let Container { runtime, id, name, image, pod, namespace, pod_uid, qos, claimed, nested } =
        container;
    let called = match (name.as_deref(), id.as_deref().map(short)) {
        (Some(name), Some(id)) => Some(format!("{} ({})", safe(name), safe(id))),
        (name, id) => name.or(id).map(safe),
    };
    let by = runtime.as_deref().map(|runtime| format!(" by {}", safe(runtime)));
    let claims = nested.iter().map(|it| {
        let name = it.id.as_deref().map(short).or(it.pod_uid.as_deref()).unwrap_or_default();
        format!("claims to contain {}", safe(name))
    });
    let pod_name = match (namespace, pod.as_deref().or(pod_uid.as_deref())) {
        (Some(namespace), Some(name)) if pod.is_some() => {
            Some(format!("pod {}/{}", safe(namespace), safe(name)))
        }
        (_, name) => name.map(|name| format!("pod {}", safe(name))),
    };
    let facts = [
        called.map(|called| {
            let claimed = if *claimed { ", as its user claims" } else { "" };
            format!("container {called}{}{claimed}", by.unwrap_or_default())
        }),
        image.as_deref().map(|image| format!("image {}", safe(image))),
        pod_name.map(|pod| match qos {
            Some(qos) => format!("{pod} ({})", safe(qos)),
            None => pod,
        }),
    ];
    facts.into_iter().flatten().chain(claims).collect()
}

/// An id as the tools of the runtimes show it.
fn short(id: &str) -> &str {
    id.get(..12).filter(|_| id.len() == 64).unwrap_or(id)
}

/// Resident memory of a victim, if all of its parts are known.
pub(crate) fn resident(victim: &Victim) -> Option<u64> {
    let Victim { anon_rss_bytes, file_rss_bytes, shmem_rss_bytes, .. } = victim;
    Some((*anon_rss_bytes)?.saturating_add((*file_rss_bytes)?).saturating_add((*shmem_rss_bytes)?))
}

/// A limit: its size, "no limit", or `None` if it is not known.
pub(crate) fn limit(bytes: Option<u64>, is_unlimited: bool) -> Option<String> {
    if is_unlimited { Some("no limit".to_owned()) } else { bytes.map(units::bytes) }
}

/// Columns of a frame: a mangled or hostile symbol must not take a screen.
const FRAME: usize = 60;

/// A frame by its function, else by its place in a file, else by its address.
pub(crate) fn frame(frame: &Frame) -> String {
    safe_frame(frame.symbol.clone(), frame, file(frame).map(base))
}

/// Formats a frame as "function (libc.so.6)".
pub(crate) fn frame_in_file(frame: &Frame) -> String {
    let file = frame.file.as_deref().or(frame.module.as_deref()).map(base);
    elide(&safe_frame(symbol_in(frame, file, ""), frame, file), FRAME)
}

/// Formats a frame as "function+0x1f (/lib/libc.so.6)".
pub(crate) fn whole_frame(frame: &Frame) -> String {
    let offset = frame.offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
    let object = file(frame);
    safe_frame(symbol_in(frame, object, &offset), frame, object)
}

fn symbol_in(frame: &Frame, file: Option<&str>, offset: &str) -> Option<String> {
    let symbol = frame.symbol.as_deref()?;
    let in_file = file.map(|file| format!(" ({file})")).unwrap_or_default();
    Some(format!("{symbol}{offset}{in_file}"))
}

fn safe_frame(symbol: Option<String>, frame: &Frame, file: Option<&str>) -> String {
    let place = || {
        let offset = frame.file_offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
        let build = || Some(format!("build {:.12}", frame.build_id.as_deref()?));
        Some(format!("{}{offset}", file.map(str::to_owned).or_else(build)?))
    };
    let name = symbol.or_else(place).or_else(|| frame.ip.clone());
    name.map_or_else(|| "(not known)".to_owned(), |name| sanitize(name.as_bytes()))
}

fn file(frame: &Frame) -> Option<&str> {
    frame.module.as_deref().or(frame.file.as_deref())
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The task that charged the memory of a stack, unless it charged for another cgroup.
pub(crate) fn allocator(stack: &GrowthStack) -> String {
    stack.pid.map_or_else(
        || "on behalf of another cgroup".to_owned(),
        |pid| task(stack.comm.as_deref(), None, pid),
    )
}
