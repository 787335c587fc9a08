//! Names of containers and pods, from what their runtimes leave on the host: no socket is asked, no
//! credentials are needed. Everything read here may have been written by anybody: it is bounded,
//! and never more than a name.

mod files;

use std::path::{Path, PathBuf};

use self::files::{bundle, docker, kubelet_log, listed, pod_log};
use super::passwd;
use crate::model::{container_names::ContainerNames, report::Container};

/// Looks for the names of a container that the cgroup at `path` stands for.
pub(crate) fn look_up(root: &Path, container: &Container, path: &str) -> ContainerNames {
    let mut names = ContainerNames::default();
    if let Some(id) = container.id.as_deref().filter(|id| is_plain(id)) {
        let user = rootless_user(path).and_then(|uid| Some((uid, passwd::user(root, uid)?.home)));
        let user = user.as_ref().map(|(uid, home)| (*uid, home.as_str()));
        let sources: [&dyn Fn() -> Option<ContainerNames>; 4] =
            [&|| bundle(root, id, user), &|| docker(root, id), &|| listed(root, id, user), &|| {
                kubelet_log(root, id)
            }];
        for source in sources {
            if !names.is_enough()
                && let Some(found) = source()
            {
                names.add(found);
            }
        }
    }
    if let Some(uid) = container.pod_uid.as_deref().filter(|uid| is_plain(uid))
        && names.pod.is_none()
        && let Some(found) = pod_log(root, uid)
    {
        names.add(found);
    }
    names
}

/// A name that cannot lead elsewhere as part of a path.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whose container it is, where it runs in a user's session.
fn rootless_user(path: &str) -> Option<u32> {
    path.split('/')
        .find_map(|name| name.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())
}

/// Below a root that may be another one than ours.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
