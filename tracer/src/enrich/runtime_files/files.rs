//! The files of container runtimes, one function per kind of file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::below;
use crate::{host::bounded, model::report::Container};

/// A bundle's config.json is 10 to 100 KB.
const MAX_BYTES: u64 = 1 << 20;
/// podman's list of all containers.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// Namespaces of containerd: one to a handful.
const MAX_NAMESPACES: usize = 32;
/// Containers of one host: some hundreds.
const MAX_LOGS: usize = 16_384;

/// State directories of containerd, whose children are namespaces.
const CONTAINERD: &[&str] = &[
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
    "run/docker/containerd/daemon/io.containerd.runtime.v2.task",
];

/// Directories of podman's and CRI-O's storage, by its driver.
const CONTAINERS: [&str; 4] =
    ["overlay-containers", "vfs-containers", "btrfs-containers", "zfs-containers"];

fn json<T: DeserializeOwned>(path: &Path, max_bytes: u64) -> Option<T> {
    serde_json::from_slice(&bounded::read(path, max_bytes)?).ok()
}

/// The OCI bundle of a container: the annotations in its config.json.
pub(super) fn bundle(root: &Path, id: &str, user: Option<(u32, &str)>) -> Option<Container> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let mut bundles = bundles(root, id, user);
    let (runtime, config): (_, Config) =
        bundles.find_map(|(runtime, path)| Some((runtime, json(&path, MAX_BYTES)?)))?;
    let find = |keys: &[&str]| keys.iter().find_map(|key| config.annotations.get(*key).cloned());
    Some(Container {
        name: find(&[
            "io.kubernetes.cri.container-name",
            "io.kubernetes.container.name",
            "nerdctl/name",
        ]),
        image: find(&[
            "io.kubernetes.cri.image-name",
            "io.kubernetes.cri-o.ImageName",
            "nerdctl/image-ref",
            "org.opencontainers.image.ref.name",
        ]),
        pod: find(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]),
        namespace: find(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]),
        pod_uid: find(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]),
        // podman and CRI-O keep their bundles in the same places.
        runtime: match runtime {
            Some(runtime) => Some(runtime.to_owned()),
            None => find(&["io.kubernetes.cri-o.ImageName"]).map(|_| "cri-o".to_owned()),
        },
        ..Container::default()
    })
}

/// Paths where the bundle may be, with the runtime if the path implies it.
fn bundles(
    root: &Path,
    id: &str,
    user: Option<(u32, &str)>,
) -> impl Iterator<Item = (Option<&'static str>, PathBuf)> {
    let of_system = || user.is_none().then_some(());
    let namespaces = of_system().into_iter().flat_map(|()| CONTAINERD).flat_map(move |state| {
        let state = root.join(state);
        let names: Vec<String> = bounded::names(&state, MAX_NAMESPACES).collect();
        names.into_iter().map(move |name| {
            // The namespace of Docker, in its own containerd or in the host's.
            let runtime = if name == "moby" { "docker" } else { "containerd" };
            (runtime, state.join(name))
        })
    });
    let containerd = namespaces
        .map(move |(runtime, namespace)| (Some(runtime), namespace.join(id).join("config.json")));
    let storages = of_system()
        .into_iter()
        .flat_map(|()| ["run/containers/storage", "var/lib/containers/storage"].map(str::to_owned));
    let rootless = user.into_iter().flat_map(|(uid, home)| {
        [format!("run/user/{uid}/containers"), format!("{home}/.local/share/containers/storage")]
    });
    let userdata = storages.chain(rootless).flat_map(move |storage| {
        let storage = below(root, &storage);
        CONTAINERS.map(|kind| (None, storage.join(format!("{kind}/{id}/userdata/config.json"))))
    });
    containerd.chain(userdata)
}

/// Docker's own description of a container.
pub(super) fn docker(root: &Path, id: &str) -> Option<Container> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Described {
        name: Option<String>,
        config: Option<Config>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        image: Option<String>,
        labels: Option<BTreeMap<String, String>>,
    }
    let path = root.join("var/lib/docker/containers").join(id).join("config.v2.json");
    let container: Described = json(&path, MAX_BYTES)?;
    let (image, labels) = container.config.map(|it| (it.image, it.labels)).unwrap_or_default();
    let label = |key: &str| labels.as_ref().and_then(|labels| labels.get(key).cloned());
    let name = container.name.map(|name| name.trim_start_matches('/').to_owned());
    Some(Container {
        name: label("io.kubernetes.container.name").or(name),
        image,
        pod: label("io.kubernetes.pod.name"),
        namespace: label("io.kubernetes.pod.namespace"),
        pod_uid: label("io.kubernetes.pod.uid"),
        runtime: Some("docker".to_owned()),
        ..Container::default()
    })
}

/// The lists of containers that podman and CRI-O keep in their storage.
pub(super) fn listed(root: &Path, id: &str, user: Option<(u32, &str)>) -> Option<Container> {
    #[derive(Deserialize)]
    struct Listed {
        id: String,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        metadata: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Metadata {
        image_name: Option<String>,
    }
    let storage = match user {
        Some((_, home)) => format!("{home}/.local/share/containers/storage"),
        None => "var/lib/containers/storage".to_owned(),
    };
    let storage = below(root, &storage);
    let lists = CONTAINERS.into_iter().flat_map(|kind| {
        let directory = storage.join(kind);
        ["containers.json", "volatile-containers.json"].map(|list| directory.join(list))
    });
    let found = lists
        .filter_map(|path| json::<Vec<Listed>>(&path, MAX_LIST_BYTES))
        .find_map(|list| list.into_iter().find(|container| container.id == id))?;
    let metadata: Option<Metadata> = serde_json::from_str(&found.metadata).ok();
    Some(Container {
        name: found.names.into_iter().next(),
        image: metadata.and_then(|metadata| metadata.image_name),
        ..Container::default()
    })
}

/// Reads names from /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log, a link that kubelet makes.
pub(super) fn kubelet_log(root: &Path, id: &str) -> Option<Container> {
    let ending = format!("-{id}.log");
    let directory = root.join("var/log/containers");
    let log = bounded::names(&directory, MAX_LOGS).find(|name| name.ends_with(&ending))?;
    let mut parts = log.strip_suffix(&ending)?.split('_').map(str::to_owned);
    Some(Container {
        pod: parts.next(),
        namespace: parts.next(),
        name: parts.next(),
        ..Container::default()
    })
}

/// Reads names from /var/log/pods/NAMESPACE_POD_UID, a directory that kubelet makes.
pub(super) fn pod_log(root: &Path, uid: &str) -> Option<Container> {
    let ending = format!("_{uid}");
    let directory = root.join("var/log/pods");
    let log = bounded::names(&directory, MAX_LOGS).find(|name| name.ends_with(&ending))?;
    let (namespace, pod) = log.strip_suffix(&ending)?.split_once('_')?;
    Some(Container {
        pod: Some(pod.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..Container::default()
    })
}
