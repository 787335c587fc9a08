//! Names of containers and pods, read from the files of their runtimes. This needs no socket and no
//! credentials. Users may have written these files: the [opener](crate::host::opener) checks them,
//! and the content is used only as names.

mod files;

use std::path::PathBuf;

use self::files::{bundle, docker, kubelet_log, listed, pod_log};
use super::{container::user, passwd};
use crate::{
    host::{cgroupfs, opener::Directory},
    model::report::Container,
};

/// Where the files are.
#[derive(Debug)]
pub(crate) struct HostFiles {
    pub root: Directory,
    /// Without it, nobody knows whose a cgroup is, and files of users are not read.
    pub cgroup_mount: Option<PathBuf>,
}

/// A user who runs containers without root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RootlessUser {
    uid: u32,
    /// Path of the home directory.
    home: String,
}

/// The names of a container, whose cgroup is at `path`. In the slice of a user, only that user's
/// files count, and they name no pod. Elsewhere, only the files of the system count.
pub(crate) fn look_up(host: &HostFiles, container: &Container, path: &str) -> Container {
    let root = &host.root;
    let id = container.id.as_deref().filter(|id| is_plain(id));
    if user(path).is_some() {
        let names = id.and_then(|id| {
            let owner = host.rootless_user(path, id)?;
            let user = Some(&owner);
            Some(first_of(&[&|| bundle(root, id, user), &|| listed(root, id, user)]))
        });
        return names.unwrap_or_default().without_pod();
    }
    let mut names = Container::default();
    if let Some(id) = id {
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

/// The user in whose session a cgroup is: `/user.slice/user-UID.slice/user@UID.service/`.
fn session_user(path: &str) -> Option<u32> {
    let mut names = path.strip_prefix("/user.slice/")?.split('/');
    let uid: u32 = names.next()?.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()?;
    (names.next()? == format!("user@{uid}.service") && names.next().is_some()).then_some(uid)
}

#[cfg(test)]
mod tests;
