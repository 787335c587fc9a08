//! The owner of a cgroup: container, pod or systemd unit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The container or systemd unit that a cgroup belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupOwner {
    /// The container or pod of the cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The innermost systemd service or scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The innermost systemd slice.
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
}
