//! The names that a container and its pod have, as their runtime wrote them.

use serde::{Deserialize, Serialize};

use super::report::Container;

/// Longest name that is kept.
const MAX_CHARACTERS: usize = 256;

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
    pub(crate) fn add(&mut self, other: Self) {
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
    pub(crate) fn is_enough(&self) -> bool {
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
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
