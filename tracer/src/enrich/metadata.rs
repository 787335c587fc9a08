//! Names of containers and pods, from what their runtimes leave on the host: no socket is asked, no
//! credentials are needed. Everything read here may have been written by anybody: it is bounded,
//! and never more than a name.

mod files;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::files::{bundle, docker, kubelet_log, listed, pod_log};
use super::passwd;
use crate::report::Container;

/// Longest name that is kept.
const MOST_CHARACTERS: usize = 256;

/// Names of a container and its pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerNames {
    /// The container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pod's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Whose files these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

impl ContainerNames {
    /// Takes what `other` knows besides.
    fn add(&mut self, other: Self) {
        let ours = [
            &mut self.name,
            &mut self.image,
            &mut self.pod,
            &mut self.namespace,
            &mut self.pod_uid,
            &mut self.runtime,
        ];
        let others =
            [other.name, other.image, other.pod, other.namespace, other.pod_uid, other.runtime];
        for (ours, other) in ours.into_iter().zip(others) {
            if ours.is_none() {
                *ours = other.filter(|text| !text.is_empty()).map(short);
            }
        }
    }

    /// Whether there is no name: the runtime alone is none, and its files may not be all there yet.
    pub fn is_empty(&self) -> bool {
        *self == Self { runtime: self.runtime.clone(), ..Self::default() }
    }

    /// Whether somebody who reads it needs no more.
    fn is_enough(&self) -> bool {
        self.name.is_some() && self.image.is_some()
    }

    /// The names of the pod alone.
    #[must_use]
    pub fn of_pod(&self) -> Self {
        Self { name: None, image: None, pod_uid: None, runtime: None, ..self.clone() }
    }

    /// Names a container that a path told of.
    pub fn fill(&self, container: &mut Container) {
        let known = [
            (&mut container.name, &self.name),
            (&mut container.image, &self.image),
            (&mut container.pod, &self.pod),
            (&mut container.namespace, &self.namespace),
            (&mut container.pod_uid, &self.pod_uid),
            (&mut container.runtime, &self.runtime),
        ];
        for (place, name) in known {
            if place.is_none() {
                place.clone_from(name);
            }
        }
    }
}

fn short(text: String) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// Looks for the names of a container that the cgroup at `path` stands for.
pub fn look_up(root: &Path, container: &Container, path: &str) -> ContainerNames {
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
