//! What a pod says of the run it is for: when its agent started, why it does
//! not, how it ended, and its last word. Pure.

use super::{
    super::{
        manifest::AGENT,
        objects::{Condition, ContainerStatus, Pod, Terminated, Waiting, stamp, words},
    },
    DELETED, VAGUE,
};
use crate::{
    agent,
    core::{Stamp, State, explain},
};

/// What is said of a pod that Kubernetes replaces, before its own words.
pub(super) const TAKEN_AWAY: &str = "its pod was taken away";

/// The label by which pods know the name of their Job
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#batchkubernetesio-job-name>).
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// The label by which they know its uid, also after it was deleted and they
/// were left behind.
const JOB_UID: &str = "batch.kubernetes.io/controller-uid";

/// How much of a log the kubelet makes a termination message of: its last bytes.
/// (`MaxContainerTerminationMessageLogLength` of
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/container/runtime.go>;
/// so are the next two.)
const OF_LOG: usize = 2048;
/// How long it lets a message be that the agent wrote itself.
const MESSAGE: usize = 4096;
/// What it leaves to all containers of a pod together.
const MESSAGES: usize = 12 * 1024;
/// By how much a cut may fall short, so as not to part a character.
const CHARACTER: usize = 3;

/// Whether these are the words for a pod that is replaced.
pub(super) fn is_taken_away(why: &str) -> bool {
    why.starts_with(TAKEN_AWAY)
}

impl Pod {
    /// The name of its Job.
    #[must_use]
    pub fn job_name(&self) -> Option<&str> {
        self.metadata.mark(JOB_NAME)
    }

    /// The uid of its Job.
    #[must_use]
    pub fn job_uid(&self) -> Option<&str> {
        let owner = self.metadata.owner_references.first();
        let owner = owner.map(|owner| owner.uid.as_str());
        owner.or_else(|| self.metadata.mark(JOB_UID))
    }

    /// The state of its run where there is no Job that would say more.
    #[must_use]
    pub fn alone(&self) -> State {
        match self.agent_started() {
            Some(since) => State::Running {
                since,
                orphaned: false,
            },
            None => State::Pending {
                since: self.metadata.created().unwrap_or_default(),
                why: Some(DELETED.to_owned()),
                suspended: false,
            },
        }
    }

    /// Whether it is one of `job`.
    #[must_use]
    pub fn is_of(&self, job: &str) -> bool {
        self.metadata.owner_references.iter().any(|o| o.uid == job)
    }

    /// Whether nothing of it runs any more or ever will.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// What the newer of two is greater by.
    #[must_use]
    pub fn age(&self) -> (Option<Stamp>, &str) {
        (self.metadata.created(), &self.metadata.name)
    }

    fn agent(&self) -> Option<&ContainerStatus> {
        let mut all = self.status.container_statuses.iter();
        all.find(|c| c.name == AGENT)
    }

    /// When its agent started, which may have ended since.
    pub(super) fn agent_started(&self) -> Option<Stamp> {
        let state = &self.agent()?.state;
        let running = state.running.as_ref().map(|r| stamp(&r.started_at));
        let over = state.terminated.as_ref().map(Terminated::started);
        let started = running.or(over)?;
        started.or(self.metadata.created())
    }

    /// When the agent started of a pod that is over, and is not one that is
    /// replaced.
    pub(super) fn agent_over(&self) -> Option<Stamp> {
        let over = self.is_over() && self.disruption().is_none();
        over.then(|| self.agent_started()).flatten()
    }

    fn disruption(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|c| c.is("DisruptionTarget", "True"))
    }

    /// That it is one that is replaced, and why.
    pub(super) fn taken_away(&self) -> Option<String> {
        let why = self.disruption().filter(|_| self.is_over())?.words();
        Some(format!("{TAKEN_AWAY}: {why}"))
    }

    pub(super) fn agent_terminated(&self) -> Option<&Terminated> {
        self.agent()?.state.terminated.as_ref()
    }

    /// What its agent left as its last word, in whole lines where the kubelet
    /// may have cut it: half a secret is not found.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let mut message = self.agent_terminated()?.message.as_deref()?;
        let status = &self.status;
        let containers = status.container_statuses.len() + status.init_container_statuses.len();
        let most = MESSAGE.min(MESSAGES / containers.max(1));
        let size = message.len() + CHARACTER;
        if size >= most {
            message = message.rsplit_once('\n').map_or("", |(whole, _)| whole);
        }
        if size >= OF_LOG {
            message = message.split_once('\n').map_or("", |(_, whole)| whole);
        }
        Some(message).filter(|text| !text.trim().is_empty())
    }

    /// When the last of its containers ended.
    pub(super) fn ended(&self) -> Option<Stamp> {
        let agent = self.agent_terminated().and_then(|t| stamp(&t.finished_at));
        let all = self.status.container_statuses.iter();
        let all = all.chain(&self.status.init_container_statuses);
        let last = all.filter_map(|c| stamp(&c.state.terminated.as_ref()?.finished_at));
        agent.or(last.max())
    }

    /// Why it does not start, where it says so itself.
    pub(super) fn stuck(&self) -> Option<String> {
        let all = self.status.init_container_statuses.iter();
        let all = all.chain(&self.status.container_statuses);
        let waits = all.filter_map(|c| c.state.waiting.as_ref());
        let said = |w: &&Waiting| w.reason.as_deref().is_some_and(|r| !VAGUE.contains(&r));
        if let Some(w) = waits.clone().find(said) {
            return Some(words(w.reason.as_deref(), w.message.as_deref()));
        }
        let mut conditions = self.status.conditions.iter();
        let unscheduled = conditions.find(|c| c.is("PodScheduled", "False"));
        unscheduled.map(Condition::words)
    }

    pub(super) fn waiting(&self) -> Option<String> {
        let waiting = self.agent()?.state.waiting.as_ref()?;
        Some(words(waiting.reason.as_deref(), waiting.message.as_deref()))
    }

    /// Exit code and reason of a pod of a Job that failed.
    pub(super) fn failure(&self, end: &Condition) -> (Option<i32>, Option<String>) {
        let status = &self.status;
        let evicted = status.reason.as_deref().map(|reason| {
            let why = words(Some(reason), status.message.as_deref());
            why.replace('\n', " ")
        });
        let Some(ended) = self.agent_terminated() else {
            let init = status.init_container_statuses.iter().find_map(|c| {
                let t = c.state.terminated.as_ref().filter(|t| t.exit_code != 0)?;
                let code = explain(Some(t.exit_code));
                let last = t.message.as_deref().map(last_line).unwrap_or_default();
                let last = if last.is_empty() {
                    String::new()
                } else {
                    format!(": {last}")
                };
                Some(format!(
                    "its init container {} failed, {code}{last}",
                    c.name
                ))
            });
            let why = init.or(evicted).unwrap_or_else(|| end.words());
            return (None, Some(why));
        };
        let (code, why) = ended.failure(|| self.memory_limit());
        let why = match why.or(evicted) {
            // Nothing the agent did.
            None if code == 0 => {
                let mut others = status.container_statuses.iter();
                let other = others.find_map(|c| {
                    let t = c.state.terminated.as_ref().filter(|t| t.exit_code != 0)?;
                    Some(format!(
                        "its container {} failed, {}",
                        c.name,
                        explain(Some(t.exit_code))
                    ))
                });
                Some(other.unwrap_or_else(|| end.words()))
            }
            why => why,
        };
        (Some(code), why)
    }

    /// As people read it.
    fn memory_limit(&self) -> Option<String> {
        let agent = self.spec.containers.iter().find(|c| c.name == AGENT)?;
        let limit = agent.resources.limits.memory.as_deref()?;
        Some(match agent::memory(limit) {
            Ok(bytes) => format!("{} MiB", bytes.0 >> 20),
            Err(_) => limit.to_owned(),
        })
    }
}

impl Terminated {
    /// Kubernetes writes "never" as the year 1970.
    pub(super) fn started(&self) -> Option<Stamp> {
        stamp(&self.started_at).filter(|at| at.0 > 0)
    }

    /// The exit code as every runtime gives it, and why, where the code does
    /// not say it.
    fn failure(&self, limit: impl FnOnce() -> Option<String>) -> (i32, Option<String>) {
        let code = self.exit_code;
        let message = self.message.as_deref().unwrap_or("").trim();
        match self.reason.as_deref() {
            Some("OOMKilled") => {
                let limit = limit().map(|limit| format!(" (limit {limit})"));
                let limit = limit.unwrap_or_default();
                let why = match code {
                    137 => format!("out of memory{limit}"),
                    _ => format!(
                        "{} after a process ran out of memory{limit}",
                        explain(Some(code))
                    ),
                };
                (code, Some(why))
            }
            Some("StartError" | "ContainerCannotRun" | "RunContainerError") => {
                // The codes of a shell, as docker has them too.
                let code = if ["no such file", "not found"]
                    .iter()
                    .any(|w| message.contains(w))
                {
                    127
                } else if message.contains("permission denied") {
                    126
                } else {
                    code
                };
                let why = format!(
                    "it could not be started, {}: {message}",
                    explain(Some(code))
                );
                (code, Some(why))
            }
            None | Some("" | "Error" | "Completed") => (code, None),
            Some(reason) => {
                let why = words(Some(reason), Some(message));
                (code, Some(format!("{}: {why}", explain(Some(code)))))
            }
        }
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or("").trim()
}
