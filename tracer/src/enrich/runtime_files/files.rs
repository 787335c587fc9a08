//! The files of container runtimes, one function per kind of file.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};

use super::RootlessUser;
use crate::{
    host::opener::{Directory, Target, Tree},
    model::report::Container,
};

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

/// The storage that root's containers share.
const STORAGE: &str = "var/lib/containers/storage";
const STORAGES: [&str; 2] = ["run/containers/storage", STORAGE];
/// The storage of a user, below the home directory.
const HOME_STORAGE: &str = ".local/share/containers/storage";

fn json<T: DeserializeOwned>(root: &Directory, target: Target) -> Option<T> {
    serde_json::from_slice(&root.read(target).ok()?).ok()
}

/// The OCI bundle of a container: the annotations in its config.json.
pub(super) fn bundle(root: &Directory, id: &str, user: Option<&RootlessUser>) -> Option<Container> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let mut bundles = bundles(root, id, user);
    let (runtime, config): (_, Config) =
        bundles.find_map(|(runtime, target)| Some((runtime, json(root, target)?)))?;
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

/// Files that the bundle may be in, with the runtime if the path implies it.
fn bundles(
    root: &Directory,
    id: &str,
    user: Option<&RootlessUser>,
) -> impl Iterator<Item = (Option<&'static str>, Target)> {
    let of_system = || user.is_none().then_some(()).into_iter();
    let states = of_system().flat_map(|()| CONTAINERD);
    let containerd = states.flat_map(move |state| {
        root.names(state, MAX_NAMESPACES).into_iter().map(move |namespace| {
            // The namespace of Docker, in its own containerd or in the host's.
            let runtime = if namespace == "moby" { "docker" } else { "containerd" };
            let path = format!("{namespace}/{id}/config.json");
            (Some(runtime), Target::below(Tree::Root, state, &path, MAX_BYTES))
        })
    });
    let userdata = move |kind: &str| format!("{kind}/{id}/userdata/config.json");
    let storages = of_system().flat_map(|()| STORAGES);
    let system = storages.flat_map(move |storage| {
        CONTAINERS.map(|kind| Target::below(Tree::Root, storage, &userdata(kind), MAX_BYTES))
    });
    let rootless = user.into_iter().flat_map(move |RootlessUser { uid, home }| {
        let run = (format!("run/user/{uid}"), "containers");
        [run, (home.clone(), HOME_STORAGE)].into_iter().flat_map(move |(directory, storage)| {
            CONTAINERS.map(|kind| {
                let path = format!("{storage}/{}", userdata(kind));
                Target::below(Tree::User(*uid), &directory, &path, MAX_BYTES)
            })
        })
    });
    containerd.chain(system.chain(rootless).map(|target| (None, target)))
}

/// Docker's own description of a container.
pub(super) fn docker(root: &Directory, id: &str) -> Option<Container> {
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
    let path = format!("{id}/config.v2.json");
    let target = Target::below(Tree::Root, "var/lib/docker/containers", &path, MAX_BYTES);
    let container: Described = json(root, target)?;
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
pub(super) fn listed(root: &Directory, id: &str, user: Option<&RootlessUser>) -> Option<Container> {
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
    let lists = CONTAINERS.into_iter().flat_map(|kind| {
        ["containers.json", "volatile-containers.json"].map(|list| format!("{kind}/{list}"))
    });
    let targets = lists.map(|list| match user {
        Some(RootlessUser { uid, home }) => {
            let path = format!("{HOME_STORAGE}/{list}");
            Target::below(Tree::User(*uid), home, &path, MAX_LIST_BYTES)
        }
        None => Target::below(Tree::Root, STORAGE, &list, MAX_LIST_BYTES),
    });
    let found = targets
        .filter_map(|target| json::<Vec<Listed>>(root, target))
        .find_map(|list| list.into_iter().find(|container| container.id == id))?;
    let metadata: Option<Metadata> = serde_json::from_str(&found.metadata).ok();
    Some(Container {
        name: found.names.into_iter().next(),
        image: metadata.and_then(|metadata| metadata.image_name),
        ..Container::default()
    })
}

/// Reads names from /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log, a link that kubelet makes.
pub(super) fn kubelet_log(root: &Directory, id: &str) -> Option<Container> {
    let ending = format!("-{id}.log");
    let logs = root.names("var/log/containers", MAX_LOGS);
    let log = logs.iter().find(|name| name.ends_with(&ending))?;
    let mut parts = log.strip_suffix(&ending)?.split('_').map(str::to_owned);
    Some(Container {
        pod: parts.next(),
        namespace: parts.next(),
        name: parts.next(),
        ..Container::default()
    })
}

/// Reads names from /var/log/pods/NAMESPACE_POD_UID, a directory that kubelet makes.
pub(super) fn pod_log(root: &Directory, uid: &str) -> Option<Container> {
    let ending = format!("_{uid}");
    let logs = root.names("var/log/pods", MAX_LOGS);
    let log = logs.iter().find(|name| name.ends_with(&ending))?;
    let (namespace, pod) = log.strip_suffix(&ending)?.split_once('_')?;
    Some(Container {
        pod: Some(pod.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..Container::default()
    })
}
