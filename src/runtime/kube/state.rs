//! What Kubernetes says of Jobs, pods and events, read and made into the state
//! of a run. Pure.
//!
//! Only its conditions end a Job; why one does not start, and why it failed,
//! has to be dug out of its pods and events.

mod pod;

use serde::{Deserialize, Serialize};

use super::{
    manifest::{REPORTED, STOP},
    objects::{Condition, Event, Job, Pod, Terminated, stamp, words},
};
use crate::{
    core::{Stamp, State, Stop, StopCause},
    redact::last_lines,
};
pub use pod::JOB_NAME;
use pod::TAKEN_AWAY;

/// What a container says that is merely not there yet, and what is said where
/// nothing better is known.
const VAGUE: [&str; 3] = ["ContainerCreating", "PodInitializing", DELETED];
const DELETED: &str = "somebody is deleting it";

/// What else than `Failed…` an event of the kubelet is called that says why an
/// image is not there
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/events/event.go>).
const KUBELET: [&str; 2] = ["ErrImageNeverPull", "InspectFailed"];

/// How a generated name is made: so much of what it is made from, and so many
/// letters and digits
/// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/storage/names/generate.go>).
const GENERATED: usize = 58;
const RANDOM: usize = 5;

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
        Some(State::Pending { why, .. }) => why.as_deref().is_some_and(pod::is_taken_away),
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
            .is_none_or(|why| VAGUE.contains(&why) || pod::is_taken_away(why)),
        State::Pending { .. }
        | State::Running { .. }
        | State::Ended { .. }
        | State::Unborn
        | State::Told => false,
    }
}

#[cfg(test)]
mod tests;
