//! Names of containers and pods, read from the files of their runtimes. This needs no socket and no
//! credentials. Anybody may have written these files: reads are bounded, and the content is used
//! only as names.

mod files;

use std::path::{Path, PathBuf};

use self::files::{bundle, docker, kubelet_log, listed, pod_log};
use super::{container::user, passwd};
use crate::model::report::Container;

/// The names of a container, whose cgroup is at `path`. In the slice of a user, only that user's
/// files count, and they name no pod. Elsewhere, only the files of the system count.
pub(crate) fn look_up(root: &Path, container: &Container, path: &str) -> Container {
    let id = container.id.as_deref().filter(|id| is_plain(id));
    if let Some(uid) = user(path) {
        let home = passwd::user(root, uid).map(|user| user.home);
        let names = id.zip(home).map(|(id, home)| {
            let user = Some((uid, home.as_str()));
            first_of(&[&|| bundle(root, id, user), &|| listed(root, id, user)])
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

/// An absolute path below `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
