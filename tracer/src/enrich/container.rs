//! A cgroup's path -> container, pod, systemd unit. Pure.
//!
//! Each runtime names the cgroups of its containers in its own way, by two drivers: `cgroupfs`
//! (plain directories) and `systemd` (slices and scopes). If containers are nested, the outermost
//! one counts: what is below it was made by its processes, which can choose any name. For the same
//! reason the outermost unit counts, and no unit in a container. The cgroups of a runtime itself
//! (`containerd.service`) and of its helper processes (`libpod-conmon-ID.scope`) are not
//! containers.

use crate::model::{
    facts::Findings,
    report::{CgroupOwner, Container, NestedContainer},
    tenant::Tenant,
};

/// Nested containers that are listed, the outermost ones.
const MAX_NESTED: usize = 4;

/// Prefix and runtime: an id follows the prefix in `PREFIX-ID.scope`, `PREFIX-ID` and
/// `SLICE:PREFIX:ID`.
const PREFIXES: &[(&str, &str)] = &[
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("libpod", "podman"),
];

/// Prefixes that OCI runtimes use by default. The container's name can be anything.
const NAMED: &[(&str, &str)] = &[("runc", "runc"), ("crun", "crun")];

/// Directories of the cgroupfs driver, whose children are containers of that runtime.
const PARENTS: &[(&str, &str)] = &[
    ("docker", "docker"),
    ("ecs", "docker"),
    ("libpod_parent", "podman"),
    ("k8s.io", "containerd"),
    ("moby", "docker"),
    ("default", "containerd"),
    ("buildkit", "buildkit"),
    ("lxc", "lxc"),
    ("lxc.payload", "lxc"),
    ("garden", "garden"),
];

/// Who could make a container's cgroup, and so chose the id in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Only root: the id is that of a container of the system.
    Root,
    /// This user, to whom a cgroup above it was delegated.
    User(u32),
    /// A cgroup above it is gone, or is not visible.
    Unknown,
}

/// Container, pod and unit of the cgroup at this path.
pub(crate) fn cgroup_owner(path: &str) -> CgroupOwner {
    let mut owner = CgroupOwner::default();
    let mut container = Container { claimed: user(path).is_some(), ..Container::default() };
    let mut parent = "";
    let mut has_unit = false;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if let Some(uid) = pod_uid(name) {
            add_pod(&mut container, uid, qos(name, parent));
        }
        if let Some((runtime, id)) = runtime_and_id(name, parent) {
            add_container(&mut container, runtime, id);
        }
        if !has_unit {
            has_unit = add_unit(&mut owner, name) && !is_user_manager(name, parent);
        }
        has_unit |= container.id.is_some();
        parent = name;
    }
    container.nested.truncate(MAX_NESTED);
    let is_known = container.id.is_some() || container.pod_uid.is_some();
    owner.container = Some(container).filter(|_| is_known);
    owner
}

/// Whether this is the name of a service or of a scope.
fn add_unit(owner: &mut CgroupOwner, name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, "slice")) => owner.slice = Some(name.to_owned()),
        Some((_, "service" | "scope")) => {
            owner.unit = Some(name.to_owned());
            return true;
        }
        _ => {}
    }
    false
}

/// The service manager of a user, which has units of its own.
fn is_user_manager(name: &str, parent: &str) -> bool {
    let user = |name: &str, start: &str, end: &str| -> Option<u32> {
        name.strip_prefix(start)?.strip_suffix(end)?.parse().ok()
    };
    let uid = user(name, "user@", ".service");
    uid.is_some() && uid == user(parent, "user-", ".slice")
}

/// A pod below a container or another pod is only a claim: a cluster whose nodes are containers,
/// or a name that somebody has chosen.
fn add_pod(container: &mut Container, uid: String, qos: &str) {
    if container.id.is_none() && container.pod_uid.is_none() {
        container.pod_uid = Some(uid);
        container.qos = Some(qos.to_owned());
    } else {
        container.nested.push(NestedContainer { pod_uid: Some(uid), ..NestedContainer::claim() });
    }
}

fn add_container(container: &mut Container, runtime: Option<&str>, id: &str) {
    let (runtime, id) = (runtime.map(str::to_owned), Some(id.to_owned()));
    if container.id.is_none() && container.nested.is_empty() {
        (container.runtime, container.id) = (runtime, id);
        return;
    }
    match container.nested.last_mut().filter(|pod| pod.id.is_none()) {
        Some(pod) => (pod.runtime, pod.id) = (runtime, id),
        None => {
            container.nested.push(NestedContainer { runtime, id, ..NestedContainer::claim() });
        }
    }
}

/// The user who may make cgroups at this place: the path begins with the slice of a user.
pub(crate) fn user(path: &str) -> Option<u32> {
    let (user, _) = path.strip_prefix("/user.slice/user-")?.split_once(".slice/")?;
    user.parse().ok()
}

/// Who could make the cgroup of a container, as it was found out (`Fact::CgroupMaker`). Without
/// that, the path shows it.
pub(crate) fn maker(directory: &str, findings: &Findings) -> Maker {
    match findings.cgroup_makers.get(directory) {
        None => user(directory).map_or(Maker::Root, Maker::User),
        Some(None) => Maker::Unknown,
        Some(Some(0)) => Maker::Root,
        Some(Some(uid)) => Maker::User(*uid),
    }
}

/// The path of the cgroup whose name has the container's id, or the pod's uid if there is no
/// container.
pub(crate) fn directory<'a>(path: &'a str, container: &Container) -> &'a str {
    let (mut parent, mut end) = ("", 0);
    for name in path.split('/') {
        end += name.len();
        let is_it = match (&container.id, &container.pod_uid) {
            (Some(id), _) => runtime_and_id(name, parent).is_some_and(|(_, it)| it == id),
            (None, uid) => uid.is_some() && pod_uid(name) == *uid,
        };
        if is_it {
            return path.get(..end).unwrap_or(path);
        }
        // The separator.
        end += 1;
        parent = if name.is_empty() { parent } else { name };
    }
    path
}

/// The keys under which names of a container are kept: its id and the uid of its pod. What a user
/// claims has a key of its own: it has no names of others, and others do not have its names. A
/// container that anybody may have made has none.
pub(crate) fn keys(container: &Container, maker: Maker) -> Vec<String> {
    match maker {
        Maker::Root => container.id.iter().chain(&container.pod_uid).cloned().collect(),
        Maker::User(uid) => container.id.iter().map(|id| format!("user-{uid}/{id}")).collect(),
        Maker::Unknown => Vec::new(),
    }
}

/// The tenant that a cgroup belongs to: a cgroup below the top level. In Kubernetes, the top levels
/// are those above the pods. A container at the top level is a tenant itself.
pub(crate) fn tenant(path: &str) -> Tenant {
    let names = path.split('/').filter(|name| !name.is_empty() && *name != "..");
    let mut tenant = String::new();
    let mut parent = "";
    for name in names {
        tenant = format!("{tenant}/{name}");
        let is_level = parent.is_empty() || is_level_of_kubernetes(name);
        if !is_level || runtime_and_id(name, parent).is_some() {
            break;
        }
        parent = name;
    }
    Tenant::new(&tenant)
}

/// `kubepods`, `burstable`, `besteffort`, and slices that end with these.
fn is_level_of_kubernetes(name: &str) -> bool {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let last = name.rsplit('-').next().unwrap_or(name);
    ["kubepods", "burstable", "besteffort"].contains(&last)
}

/// A container's runtime, where the name shows it, and its id.
fn runtime_and_id<'a>(name: &'a str, parent: &str) -> Option<(Option<&'static str>, &'a str)> {
    if let Some(found) = machine(name).or_else(|| lxc(name)) {
        return Some(found);
    }
    let scope = name.strip_suffix(".scope").unwrap_or(name);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = scope.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'))
            && is_id(id)
        {
            return Some((Some(runtime), id));
        }
    }
    for (prefix, runtime) in NAMED {
        let id = name.strip_suffix(".scope").and_then(|name| name.strip_prefix(prefix));
        if let Some(id) = id.and_then(|rest| rest.strip_prefix('-')).filter(|id| !id.is_empty()) {
            return Some((Some(runtime), id));
        }
    }
    if let Some((_, pair)) = name.split_once(':') {
        let (prefix, id) = pair.split_once(':')?;
        let &(_, runtime) = PREFIXES.iter().find(|(known, _)| *known == prefix)?;
        return Some((Some(runtime), id)).filter(|_| !id.is_empty() && !id.contains(':'));
    }
    let runtime = PARENTS.iter().find(|(known, _)| *known == parent).map(|(_, runtime)| *runtime);
    match runtime {
        // Containers below these directories can have any name.
        Some("lxc" | "garden") => Some((runtime, name)),
        Some("buildkit") if name.len() >= 25 => Some((runtime, name)),
        _ if is_id(name) => Some((runtime, name)),
        _ => ecs_task(name).map(|id| (Some("ecs"), id)),
    }
}

/// Whether it is a generated id: 32 random bytes in hex, for every runtime that generates ids.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Amazon ECS on Fargate: the task's id and a number.
fn ecs_task(name: &str) -> Option<&str> {
    let (task, number) = name.split_once('-')?;
    let is_task = task.len() == 32 && task.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_task && is_number).then_some(name)
}

/// A machine of systemd-machined: a container of systemd-nspawn, or a virtual machine of libvirt.
fn machine(name: &str) -> Option<(Option<&'static str>, &str)> {
    if let Some(service) = name.strip_prefix("systemd-nspawn@") {
        let machine = service.strip_suffix(".service").filter(|machine| !machine.is_empty())?;
        return Some((Some("systemd-nspawn"), machine));
    }
    let machine = name.strip_prefix("machine-")?.strip_suffix(".scope")?;
    let runtime = match machine {
        "" => return None,
        _ if machine.starts_with("qemu\\x2d") => "libvirt-qemu",
        _ if machine.starts_with("lxc\\x2d") => "libvirt-lxc",
        _ => "systemd-nspawn",
    };
    Some((Some(runtime), machine))
}

/// LXC, LXD and Incus. `lxc.monitor.NAME` is the helper process that watches the container.
fn lxc(name: &str) -> Option<(Option<&'static str>, &str)> {
    let container = name.strip_prefix("lxc.payload.").filter(|container| !container.is_empty())?;
    Some((Some("lxc"), container))
}

/// `podUID`, or `...-podUID.slice` with `_` for `-`. A colon and more may follow.
fn pod_uid(name: &str) -> Option<String> {
    let before_colon = name.split_once(':').map_or(name, |(before, _)| before);
    let uid = match before_colon.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => before_colon.strip_prefix("pod")?,
    };
    is_uid(uid).then(|| uid.replace('_', "-"))
}

/// Whether it is a UUID. The uid of a static pod is a hash and has no dashes.
fn is_uid(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split(['-', '_']).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    matches!(lengths.as_slice(), [32] | [8, 4, 4, 4, 12]) && parts.into_iter().all(is_hex)
}

/// Quality of service of a pod. The names of guaranteed pods do not mention it.
fn qos(name: &str, parent: &str) -> &'static str {
    let has = |class: &str| name.contains(&format!("-{class}-pod")) || parent == class;
    match () {
        () if has("burstable") => "burstable",
        () if has("besteffort") => "besteffort",
        () => "guaranteed",
    }
}

#[cfg(test)]
mod tests;
