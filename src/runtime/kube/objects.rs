//! What is read of the objects of Kubernetes; whatever else they hold is left
//! alone. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::core::Stamp;

/// A page of a LIST.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct List<T> {
    /// Of the list.
    #[serde(default)]
    pub metadata: ListMeta,
    /// Its part on this page. Without any word of them it is no list.
    #[serde(deserialize_with = "items")]
    pub items: Vec<T>,
}

/// Some servers say of none that they are null.
fn items<'de, T, D>(given: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(given).map(Option::unwrap_or_default)
}

/// What is said of a list as a whole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    /// Where a watch goes on from it.
    pub resource_version: String,
    /// What the next page is asked for with; empty on the last.
    #[serde(rename = "continue")]
    pub next: String,
}

/// What every object says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Its name.
    pub name: String,
    /// What tells it from any other of that name.
    pub uid: String,
    /// Changes with every change of it.
    pub resource_version: String,
    /// When it was created, to the second.
    pub creation_timestamp: Option<String>,
    /// There while it is being deleted.
    pub deletion_timestamp: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whose it is.
    pub owner_references: Vec<Owner>,
}

/// One that an object belongs to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its uid.
    pub uid: String,
}

impl Meta {
    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Option<Stamp> {
        stamp(&self.creation_timestamp)
    }

    /// The value of a label or, where there is none, an annotation.
    #[must_use]
    pub fn mark(&self, key: &str) -> Option<&str> {
        let found = self.labels.get(key).or_else(|| self.annotations.get(key));
        found.map(String::as_str)
    }
}

/// A Job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Name, labels and the like.
    pub metadata: Meta,
    /// What was asked for.
    pub spec: JobSpec,
    /// What has become of it.
    pub status: JobStatus,
}

/// What is read of a Job's specification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// Held back, by its queue or by a person.
    pub suspend: Option<bool>,
    /// The backstop, in seconds since it was let go.
    pub active_deadline_seconds: Option<u64>,
}

/// What is read of a Job's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// What has happened.
    pub conditions: Vec<Condition>,
    /// When it was let go.
    pub start_time: Option<String>,
    /// When it was complete.
    pub completion_time: Option<String>,
    /// Pods that are pending or running.
    pub active: Option<u32>,
    /// Pods that are ready.
    pub ready: Option<u32>,
    /// Pods that are being stopped.
    pub terminating: Option<u32>,
}

/// A condition of a Job or a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) last_transition_time: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

impl Condition {
    pub(super) fn is(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }

    pub(super) fn words(&self) -> String {
        words(self.reason.as_deref(), self.message.as_deref())
    }
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Name, labels and the like.
    pub metadata: Meta,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodSpec {
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) resources: Resources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) limits: Limits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) memory: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) conditions: Vec<Condition>,
    pub(super) container_statuses: Vec<ContainerStatus>,
    pub(super) init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    pub(super) state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Waiting>,
    pub(super) running: Option<Running>,
    pub(super) terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Running {
    pub(super) started_at: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Terminated {
    pub(super) exit_code: i32,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
}

/// A Warning about a Job or a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// What it is about.
    pub involved_object: About,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) last_timestamp: Option<String>,
    pub(super) event_time: Option<String>,
}

/// What an event is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its uid.
    pub uid: String,
}

/// A time, if it is one.
pub(super) fn stamp(text: &Option<String>) -> Option<Stamp> {
    text.as_deref()?.parse().ok()
}

/// Reason and message as one text.
pub(super) fn words(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message].into_iter().flatten().map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(": ")
}
