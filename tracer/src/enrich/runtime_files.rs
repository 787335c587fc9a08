//! Names of containers and pods, read from the files of their runtimes. This needs no socket and no
//! credentials. Users may have written these files: the [opener](crate::host::opener) checks them,
//! and the content is used only as names.

mod files;

use std::path::PathBuf;

use self::files::{bundle, docker, kubelet_log, listed, pod_log};
use super::{
    container::{Maker, user},
    passwd,
};
use crate::{
    host::{
        cgroupfs::{self, Delegation},
        opener::Directory,
    },
    model::report::Container,
};

/// Where the files are.
#[derive(Debug)]
pub(crate) struct HostFiles {
    pub root: Directory,
    /// Without it, nobody knows who made a cgroup, and containers have no names.
    pub cgroup_mount: Option<PathBuf>,
}

/// A user who runs containers without root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RootlessUser {
    uid: u32,
    /// Path of the home directory.
    home: String,
}

/// The names of a container, whose cgroup is at `path`. Of the cgroups of a user, only files of
/// that user count, and they name no pod. Of those of root, only the files of the system count.
pub(crate) fn look_up(
    host: &HostFiles,
    container: &Container,
    path: &str,
    maker: Maker,
) -> Container {
    match maker {
        Maker::Root => of_system(&host.root, container),
        Maker::User(uid) => of_user(host, container, path, uid).unwrap_or_default().without_pod(),
        Maker::Unknown => Container::default(),
    }
}

fn of_user(host: &HostFiles, container: &Container, path: &str, uid: u32) -> Option<Container> {
    let root = &host.root;
    let id = container.id.as_deref().filter(|id| is_plain(id))?;
    let owner = host.rootless_user(path, id).filter(|owner| owner.uid == uid)?;
    let user = Some(&owner);
    Some(first_of(&[&|| bundle(root, id, user), &|| listed(root, id, user)]))
}

fn of_system(root: &Directory, container: &Container) -> Container {
    let mut names = Container::default();
    if let Some(id) = container.id.as_deref().filter(|id| is_plain(id)) {
        names = first_of(&[
            &|| bundle(root, id, None),
            &|| docker(root, id),
            &|| listed(root, id, None),
            &|| kubelet_log(root, id),
        ]);
    }
    if let Some(uid) = container.pod_uid.as_deref().filter(|uid| is_plain(uid))
        && names.pod.is_none()
        && let Some(found) = pod_log(root, uid)
    {
        names.fill_from(&found);
    }
    names
}

/// The names of the first source that has them.
fn first_of(sources: &[&dyn Fn() -> Option<Container>]) -> Container {
    let mut names = Container::default();
    for source in sources {
        if !names.is_enough()
            && let Some(found) = source()
        {
            names.fill_from(&found);
        }
    }
    names
}

/// Whether it is safe as one component of a path.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl HostFiles {
    /// Who could make the cgroup with this path. To make one takes write permission in its parent,
    /// so each cgroup above it must be root's. Its own owner does not count: a runtime may delegate
    /// the cgroup of a container to the container's user.
    pub(crate) fn maker(&self, path: &str) -> Maker {
        let Some(mount) = &self.cgroup_mount else { return Maker::Unknown };
        for parent in parents(path) {
            match cgroupfs::delegation(mount, parent) {
                Some(Delegation::Kept) => {}
                Some(Delegation::To(uid)) => return Maker::User(uid),
                None => return Maker::Unknown,
            }
        }
        user(path).map_or(Maker::Root, Maker::User)
    }

    /// The user whose container has this cgroup. The cgroup must be below the user's service
    /// manager, and the directory that has the container's id in its name must be the user's:
    /// anybody can choose a name, but not the owner.
    fn rootless_user(&self, path: &str, id: &str) -> Option<RootlessUser> {
        let uid = session_user(path)?;
        let named = path.find(id)?;
        let end = path.get(named..)?.find('/').map_or(path.len(), |at| named + at);
        let owner = cgroupfs::owner(self.cgroup_mount.as_ref()?, path.get(..end)?)?;
        let home = (owner == uid).then(|| passwd::user(&self.root, uid))??.home;
        Some(RootlessUser { uid, home })
    }
}

/// The paths of all cgroups above this one but the root, the outermost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.filter_map(|end| path.get(..end))
}

/// The user in whose session a cgroup is: `/user.slice/user-UID.slice/user@UID.service/`.
fn session_user(path: &str) -> Option<u32> {
    let mut names = path.strip_prefix("/user.slice/")?.split('/');
    let uid: u32 = names.next()?.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()?;
    (names.next()? == format!("user@{uid}.service") && names.next().is_some()).then_some(uid)
}

#[cfg(test)]
mod tests;
