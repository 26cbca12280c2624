//! What Kubernetes says of Jobs, pods and events, read and made into the state
//! of a run. Pure.
//!
//! Only its conditions end a Job; why one does not start, and why it failed,
//! has to be dug out of its pods and events.

use serde::{Deserialize, Serialize};

use super::{
    manifest::{AGENT, REPORTED, STOP},
    objects::{Condition, ContainerStatus, Event, Job, Pod, Terminated, Waiting, stamp, words},
};
use crate::{
    agent,
    core::{Stamp, State, Stop, StopCause, explain},
    redact::last_lines,
};

/// What a container says that is merely not there yet, and what is said where
/// nothing better is known.
const VAGUE: [&str; 3] = ["ContainerCreating", "PodInitializing", DELETED];
const DELETED: &str = "somebody is deleting it";

/// What else than `Failed…` an event of the kubelet is called that says why an
/// image is not there
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/events/event.go>).
const KUBELET: [&str; 2] = ["ErrImageNeverPull", "InspectFailed"];

/// What is said of a pod that Kubernetes replaces, before its own words.
const TAKEN_AWAY: &str = "its pod was taken away";

/// How a generated name is made: so much of what it is made from, and so many
/// letters and digits
/// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/storage/names/generate.go>).
const GENERATED: usize = 58;
const RANDOM: usize = 5;

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

/// What [`STOP`] holds: why the run was stopped, and what goes with its pod.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct StopNote {
    cause: String,
    why: String,
    at: String,
    /// When the agent had started, if it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    /// The end of what it had written, without secrets.
    #[serde(default)]
    pub tail: String,
}

impl StopNote {
    /// What is written of a stop.
    #[must_use]
    pub fn of(stop: &Stop, started: Option<Stamp>, tail: String) -> StopNote {
        StopNote {
            cause: stop.cause.word().to_owned(),
            why: stop.why.clone(),
            at: stop.at.to_string(),
            started: started.map(|at| at.to_string()),
            tail,
        }
    }

    /// It as text of at most `size` bytes, its tail cut to what is left there.
    #[must_use]
    pub fn fitted(mut self, size: usize) -> String {
        loop {
            let text = serde_json::to_string(&self).unwrap_or_default();
            let over = text.len().saturating_sub(size);
            if over == 0 || self.tail.is_empty() {
                return text;
            }
            // A byte of it is six of the text at most (\u001b).
            let room = self.tail.len().saturating_sub(over.div_ceil(6));
            self.tail = last_lines(&self.tail, usize::MAX, room).to_owned();
        }
    }

    fn stop(&self) -> Option<Stop> {
        Some(Stop {
            cause: StopCause::of(&self.cause)?,
            why: self.why.clone(),
            at: self.at.parse().ok()?,
        })
    }
}

/// What is to be looked at besides a Job to know the state of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Its pods, but not again while the Job itself does not change.
    PodsOnce,
    /// Its pods, each time.
    Pods,
}

impl Job {
    /// The note on why it was stopped.
    #[must_use]
    pub fn stop_note(&self) -> Option<StopNote> {
        serde_json::from_slice(self.metadata.annotations.get(STOP)?.as_bytes()).ok()
    }

    fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// When Kubernetes began to count its time, if it has.
    #[must_use]
    pub fn let_go(&self) -> Option<Stamp> {
        stamp(&self.status.start_time)
    }

    /// When the attempt began, where nothing is known of its agent.
    fn begun(&self) -> Option<Stamp> {
        self.let_go().or(self.metadata.created())
    }

    /// Whether somebody is deleting it.
    #[must_use]
    pub fn is_being_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether its source has heard of its end.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.metadata.annotations.contains_key(REPORTED) && self.has_ended()
    }

    /// The condition that ended it. Older servers set it while pods are still
    /// being stopped.
    fn end(&self) -> Option<&Condition> {
        let pods_are_gone = self.status.terminating.unwrap_or(0) == 0;
        let mut conditions = self.status.conditions.iter();
        conditions
            .find(|c| c.is("Complete", "True") || c.is("Failed", "True"))
            .filter(|_| pods_are_gone)
    }

    /// Whether it has ended for good.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// What else has to be looked at.
    #[must_use]
    pub fn need(&self) -> Need {
        let status = &self.status;
        if self.is_told() {
            Need::Nothing
        } else if self.end().is_some() || status.active == Some(1) && status.ready == Some(1) {
            Need::PodsOnce
        } else {
            Need::Pods
        }
    }

    /// Why it was stopped, where the stop is what ended it or is under way.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        let by_itself = self.end().is_some_and(|end| !struck(end));
        let note = self.stop_note()?;
        note.stop().filter(|_| !by_itself)
    }

    /// The state of its run. `pods` are its own, `events` those about it or
    /// them, and `alive` is when a pod of it was last seen.
    #[must_use]
    pub fn state(&self, pods: &[Pod], events: &[Event], alive: Option<Stamp>) -> State {
        if self.is_told() {
            return State::Told;
        }
        if let Some(end) = self.end() {
            return self.ended(end, pods);
        }
        let there: Vec<&Pod> = pods.iter().filter(|pod| !pod.is_over()).collect();
        if let Some(since) = there.iter().filter_map(|pod| pod.agent_started()).max() {
            return State::Running {
                since,
                orphaned: false,
            };
        }
        let newest = pods.iter().max_by_key(|pod| pod.age());
        if let Some(since) = newest.and_then(Pod::agent_over) {
            // The Job says so a little later.
            return State::Running {
                since,
                orphaned: false,
            };
        }
        if there.is_empty() && self.status.ready == Some(1) {
            // Its pods are not for us to see.
            return State::Running {
                since: self.let_go().unwrap_or_default(),
                orphaned: false,
            };
        }
        let created = self.metadata.created().unwrap_or_default();
        let no_pod = there.is_empty() && self.status.terminating.unwrap_or(0) == 0;
        if self.is_suspended() && no_pod {
            // Its clock stands still, so that no deadline ends it.
            if let Some(note) = self.stop_note()
                && let Some(stop) = note.stop()
            {
                return State::Ended {
                    started: stamp(&note.started).or(self.begun()),
                    at: stop.at,
                    exit_code: None,
                    why: None,
                };
            }
            return State::Pending {
                since: self.waits_since(pods, alive).max(created),
                why: Some("it is suspended".to_owned()),
                suspended: true,
            };
        }
        State::Pending {
            since: self.waits_since(pods, alive).max(created),
            why: self.why_pending(pods, events),
            suspended: false,
        }
    }

    /// The latest of: let go, let go by its queue, newest pod created, last pod
    /// gone.
    fn waits_since(&self, pods: &[Pod], alive: Option<Stamp>) -> Stamp {
        let resumed = self.status.conditions.iter();
        let resumed = resumed
            .filter(|c| c.is("Suspended", "False"))
            .filter_map(|c| stamp(&c.last_transition_time));
        let pods_of = pods.iter().flat_map(|pod| {
            let gone = pod.is_over().then(|| pod.ended()).flatten();
            [pod.metadata.created(), gone]
        });
        // Once another pod is there, it counts for itself.
        let alive = alive.filter(|_| pods.is_empty());
        let all = resumed
            .chain(self.let_go())
            .chain(pods_of.flatten())
            .chain(alive);
        all.max().unwrap_or_default()
    }

    fn why_pending(&self, pods: &[Pod], events: &[Event]) -> Option<String> {
        let there = pods.iter().filter(|pod| !pod.is_over());
        let newest = there.max_by_key(|pod| pod.age());
        let waiting = newest.and_then(|pod| pod.waiting());
        if let Some(why) = newest.and_then(|pod| pod.stuck()) {
            return Some(why);
        }
        let about = |uid: &str| {
            let mine = events.iter().filter(|e| e.involved_object.uid == uid);
            let told = mine.filter_map(|e| Some((e.at(), e.why()?)));
            told.max_by_key(|(at, _)| *at).map(|(_, why)| why)
        };
        newest
            .and_then(|pod| about(&pod.metadata.uid))
            .or_else(|| {
                newest
                    .is_none()
                    .then(|| about(&self.metadata.uid))
                    .flatten()
                    .map(|why| self.with_one_pod(&why))
            })
            .or_else(|| pods.iter().find_map(Pod::taken_away))
            .or(waiting)
            .or_else(|| {
                let deleted = self.is_being_deleted();
                deleted.then(|| DELETED.to_owned())
            })
    }

    /// The text with its pods named as it is itself: each try to make one has
    /// another name, which is no news.
    fn with_one_pod(&self, text: &str) -> String {
        let name = &self.metadata.name;
        let begin: String = format!("{name}-").chars().take(GENERATED).collect();
        let mut parts = text.split(&begin);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_at_checked(RANDOM) {
                Some((end, rest)) if end.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                    out.extend([name, rest]);
                }
                _ => out.extend([&begin, part]),
            }
        }
        out
    }

    fn ended(&self, end: &Condition, pods: &[Pod]) -> State {
        let note = self.stop_note();
        let said = stamp(&self.status.completion_time).or(stamp(&end.last_transition_time));
        let complete = end.kind == "Complete";
        let pod = pods
            .iter()
            .filter(|pod| pod.is_over())
            .max_by_key(|pod| (pod.status.phase == "Succeeded", pod.age()));
        let agent = pod.and_then(Pod::agent_terminated);
        let started = agent
            .and_then(Terminated::started)
            .or_else(|| stamp(&note.as_ref()?.started))
            .or(self.begun());
        let mut at = pod.and_then(Pod::ended).or(said).unwrap_or_default();
        if struck(end)
            && let Some(stop) = note.as_ref().and_then(StopNote::stop)
        {
            // Theirs is a clock of whole seconds, and another one than ours.
            at = at.max(said.unwrap_or_default()).max(stop.at);
        }
        let (exit_code, why) = match (pod, complete) {
            (_, true) => (Some(0), None),
            (Some(pod), false) => pod.failure(end),
            (None, false) if struck(end) => (None, Some(end.words())),
            (None, false) => {
                let gone = "its pod is gone, perhaps deleted, or not for us to see";
                (None, Some(format!("{gone} ({})", end.words())))
            }
        };
        State::Ended {
            started,
            at,
            exit_code,
            why,
        }
    }
}

/// Whether the Job's own deadline ended it.
fn struck(end: &Condition) -> bool {
    end.kind == "Failed" && end.reason.as_deref() == Some("DeadlineExceeded")
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
    fn agent_started(&self) -> Option<Stamp> {
        let state = &self.agent()?.state;
        let running = state.running.as_ref().map(|r| stamp(&r.started_at));
        let over = state.terminated.as_ref().map(Terminated::started);
        let started = running.or(over)?;
        started.or(self.metadata.created())
    }

    /// When the agent started of a pod that is over, and is not one that is
    /// replaced.
    fn agent_over(&self) -> Option<Stamp> {
        let over = self.is_over() && self.disruption().is_none();
        over.then(|| self.agent_started()).flatten()
    }

    fn disruption(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|c| c.is("DisruptionTarget", "True"))
    }

    /// That it is one that is replaced, and why.
    fn taken_away(&self) -> Option<String> {
        let why = self.disruption().filter(|_| self.is_over())?.words();
        Some(format!("{TAKEN_AWAY}: {why}"))
    }

    fn agent_terminated(&self) -> Option<&Terminated> {
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
    fn ended(&self) -> Option<Stamp> {
        let agent = self.agent_terminated().and_then(|t| stamp(&t.finished_at));
        let all = self.status.container_statuses.iter();
        let all = all.chain(&self.status.init_container_statuses);
        let last = all.filter_map(|c| stamp(&c.state.terminated.as_ref()?.finished_at));
        agent.or(last.max())
    }

    /// Why it does not start, where it says so itself.
    fn stuck(&self) -> Option<String> {
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

    fn waiting(&self) -> Option<String> {
        let waiting = self.agent()?.state.waiting.as_ref()?;
        Some(words(waiting.reason.as_deref(), waiting.message.as_deref()))
    }

    /// Exit code and reason of a pod of a Job that failed.
    fn failure(&self, end: &Condition) -> (Option<i32>, Option<String>) {
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
    fn started(&self) -> Option<Stamp> {
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

impl Event {
    /// Why something does not start, if it says so.
    fn why(&self) -> Option<String> {
        let reason = self.reason.as_deref()?;
        let message = self.message.as_deref().unwrap_or("").trim();
        // `Error: ErrImagePull`: a state's name alone, in an event of the same
        // second as the one that says what happened.
        let error = message.strip_prefix("Error: ");
        let is_bare = error.is_some_and(|error| !error.contains(' '));
        match reason {
            "Failed" if message.is_empty() || is_bare => None,
            "Failed" => Some(message.to_owned()),
            _ if reason.starts_with("Failed") || KUBELET.contains(&reason) => {
                Some(words(Some(reason), Some(message)))
            }
            _ => None,
        }
    }

    fn at(&self) -> Option<Stamp> {
        stamp(&self.last_timestamp).or(stamp(&self.event_time))
    }
}

/// The state that follows another one of the same run: from both it is seen
/// that a pod which ran is replaced, of which nothing may be left to be seen.
#[must_use]
pub fn after(last: Option<&State>, mut state: State) -> State {
    let is_replaced = match last {
        Some(State::Running { .. }) => true,
        Some(State::Pending { why, .. }) => why
            .as_deref()
            .is_some_and(|why| why.starts_with(TAKEN_AWAY)),
        Some(State::Ended { .. } | State::Unborn | State::Told) | None => false,
    };
    let says_nothing = |why: &str| why != DELETED && VAGUE.contains(&why);
    if let State::Pending {
        why,
        suspended: false,
        ..
    } = &mut state
        && is_replaced
        && why.as_deref().is_none_or(says_nothing)
    {
        *why = Some(format!("{TAKEN_AWAY}, and another takes its place"));
    }
    state
}

/// Whether a run waits and only events could say what for.
#[must_use]
pub fn is_vague(state: &State) -> bool {
    match state {
        State::Pending {
            why,
            suspended: false,
            ..
        } => why
            .as_deref()
            .is_none_or(|why| VAGUE.contains(&why) || why.starts_with(TAKEN_AWAY)),
        State::Pending { .. }
        | State::Running { .. }
        | State::Ended { .. }
        | State::Unborn
        | State::Told => false,
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or("").trim()
}

#[cfg(test)]
mod tests;
