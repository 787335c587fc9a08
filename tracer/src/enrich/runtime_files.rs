//! Names of containers and pods, read from the files of their runtimes. This needs no socket and no
//! credentials. Anybody may have written these files: reads are bounded, and the content is used
//! only as names.

mod files;

use std::path::{Path, PathBuf};

use self::files::{bundle, docker, kubelet_log, listed, pod_log};
use super::passwd;
use crate::model::report::Container;

/// The names of a container, whose cgroup is at `path`.
pub(crate) fn look_up(root: &Path, container: &Container, path: &str) -> Container {
    let mut names = Container::default();
    if let Some(id) = container.id.as_deref().filter(|id| is_plain(id)) {
        let owner = rootless_user(path).and_then(|uid| Some((uid, passwd::user(root, uid)?.home)));
        let user = owner.as_ref().map(|(uid, home)| (*uid, home.as_str()));
        let sources: [&dyn Fn() -> Option<Container>; 4] =
            [&|| bundle(root, id, user), &|| docker(root, id), &|| listed(root, id, user), &|| {
                kubelet_log(root, id)
            }];
        for source in sources {
            if !names.is_enough()
                && let Some(found) = source()
            {
                names.fill_from(&found);
            }
        }
    }
    if let Some(uid) = container.pod_uid.as_deref().filter(|uid| is_plain(uid))
        && names.pod.is_none()
        && let Some(found) = pod_log(root, uid)
    {
        names.fill_from(&found);
    }
    names
}

/// Whether it is safe as one component of a path.
fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The user in whose session a rootless container runs.
fn rootless_user(path: &str) -> Option<u32> {
    path.split('/')
        .find_map(|name| name.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())
}

/// An absolute path below `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
