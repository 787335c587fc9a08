//! Where a task or a limit is at home: container, pod, systemd unit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a cgroup stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupOwner {
    /// The container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The innermost systemd unit that is a service or a scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The innermost systemd slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
}

/// A container, or the pod that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// Runtime, e.g. "containerd".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The runtime's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Image; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Kubernetes pod; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's namespace; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Kubernetes pod uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The pod's quality of service: guaranteed, burstable, besteffort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
}
