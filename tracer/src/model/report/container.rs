//! The owner of a cgroup: container, pod or systemd unit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::model::lru::ByteSize;

/// The container or systemd unit that a cgroup belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupOwner {
    /// The container or pod of the cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The systemd service or scope. Names below it were chosen by its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The slice of the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
}

/// A container, or the pod that contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The container runtime, e.g. "containerd".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The container's id, given by the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The container's name; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The container's image; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The name of the Kubernetes pod; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The namespace of the pod; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The uid of the Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The pod's quality of service: guaranteed, burstable or besteffort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// True if a user could have made the cgroup and chosen the id, or nobody knows who could.
    #[serde(default, skip_serializing_if = "is_false")]
    pub claimed: bool,
    /// Containers below this one by the names of their cgroups, the outermost first. Processes in
    /// this container made these cgroups and chose the names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<NestedContainer>,
}

/// A container or pod whose cgroup is below that of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NestedContainer {
    /// The container runtime, e.g. "containerd".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The container's id; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The uid of the Kubernetes pod; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Always true: nobody but the container around it has confirmed this name.
    pub claimed: bool,
}

impl NestedContainer {
    /// A container of which nothing is known yet.
    pub(crate) fn claim() -> Self {
        Self { claimed: true, ..Self::default() }
    }
}

impl ByteSize for Container {
    fn byte_size(&self) -> usize {
        let Self { runtime, id, name, image, pod, namespace, pod_uid, qos, claimed: _, nested } =
            self;
        let words = [runtime, id, name, image, pod, namespace, pod_uid, qos];
        let nested = nested.iter().map(ByteSize::byte_size);
        words.map(ByteSize::byte_size).into_iter().chain(nested).sum()
    }
}

impl ByteSize for NestedContainer {
    fn byte_size(&self) -> usize {
        let Self { runtime, id, pod_uid, claimed: _ } = self;
        size_of::<Self>() + [runtime, id, pod_uid].map(ByteSize::byte_size).iter().sum::<usize>()
    }
}

/// Longest name that is kept, characters.
const MAX_CHARACTERS: usize = 256;

/// The facts that were found about a container: the names that its runtime wrote into files.
impl Container {
    /// Fills the names that are absent here with those of `other`.
    pub fn fill_from(&mut self, other: &Self) {
        let ours = [
            &mut self.name,
            &mut self.image,
            &mut self.pod,
            &mut self.namespace,
            &mut self.pod_uid,
            &mut self.runtime,
        ];
        let others = [
            &other.name,
            &other.image,
            &other.pod,
            &other.namespace,
            &other.pod_uid,
            &other.runtime,
        ];
        for (ours, other) in ours.into_iter().zip(others) {
            if ours.is_none() {
                *ours = other.as_deref().filter(|text| !text.is_empty()).map(short);
            }
        }
    }

    /// Whether there is no name. The runtime alone is none: its files may not be complete yet.
    pub(crate) fn is_unnamed(&self) -> bool {
        *self == Self { runtime: self.runtime.clone(), ..Self::default() }
    }

    /// Whether a reader needs no more names.
    pub(crate) fn is_enough(&self) -> bool {
        self.name.is_some() && self.image.is_some()
    }

    /// Without the names of a pod, which only the system's files can give.
    #[must_use]
    pub(crate) fn without_pod(self) -> Self {
        Self { pod: None, namespace: None, pod_uid: None, qos: None, ..self }
    }

    /// The names of the pod alone.
    #[must_use]
    pub(crate) fn of_pod(&self) -> Self {
        Self { pod: self.pod.clone(), namespace: self.namespace.clone(), ..Self::default() }
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}
