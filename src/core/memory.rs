//! What the core remembers between two looks. Everything here may be lost at
//! any moment: that delays, and neither loses nor doubles anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Item, Limits, Past, Run, Stamp, Standing};

/// The first pause after an action that failed; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What an action was about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The run of this uid.
    Run(String),
    /// The item of this source id, which has no run.
    Item(String),
}

/// What happened, told to [`super::Core::note`].
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// The source was polled and wants these.
    Polled(&'a [Item]),
    /// The source was asked for the item of this source id.
    LookedUp(&'a str, &'a Standing),
    /// The runtime shows these runs.
    Listed(&'a [Run]),
    /// A run of the item of this source id was started.
    Spawned(&'a str),
    /// The runtime refuses a run of this item, and only of this item.
    Refused {
        /// The source id.
        source_id: &'a str,
        /// Which attempt it would have been.
        attempt: u32,
        /// When that attempt was begun.
        begun: Stamp,
        /// The runtime's word.
        why: &'a str,
    },
    /// The runtime refuses everything; counted against nobody.
    RuntimeRefused(&'a str),
    /// The source was told how this ended.
    Told(&'a Subject),
    /// An action on this went well.
    Done(&'a Subject),
    /// An action on this failed, and is to be tried again later.
    Failed(&'a Subject),
    /// The same, and whoever it was asked of has said when.
    FailedUntil(&'a Subject, Stamp),
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: BTreeMap<String, Refusal>,
    runtime_refused: Option<(String, Stamp)>,
    again: BTreeMap<Subject, (u32, Stamp)>,
    told: BTreeSet<String>,
    withdrawn: BTreeMap<String, Stamp>,
}

/// How an item fares with a runtime that refuses its runs.
#[derive(Debug, Default)]
struct Refusal {
    /// The present attempt, while it is refused.
    now: Option<Refused>,
    /// The attempts that were refused for so long that they count as failed.
    failed: Vec<Past>,
}

#[derive(Debug)]
struct Refused {
    attempt: u32,
    since: Stamp,
    why: String,
    /// When it is tried again.
    next: Stamp,
}

impl Memory {
    pub(super) fn note(&mut self, now: Stamp, note: Note<'_>, limits: &Limits) {
        match note {
            Note::Polled(items) => {
                let idle = self.refused.is_empty() && self.withdrawn.is_empty();
                if idle && self.again.is_empty() {
                    return;
                }
                let wanted: BTreeSet<&str> = items.iter().map(|i| i.source_id.as_str()).collect();
                self.refused.retain(|id, _| wanted.contains(id.as_str()));
                self.withdrawn.retain(|id, _| !wanted.contains(id.as_str()));
                self.again.retain(|subject, _| match subject {
                    Subject::Run(_) => true,
                    Subject::Item(id) => wanted.contains(id.as_str()),
                });
            }
            Note::LookedUp(source_id, standing) => match standing {
                Standing::Withdrawn(_) => {
                    self.withdrawn.entry(source_id.to_owned()).or_insert(now);
                }
                Standing::Wanted(_) | Standing::Gone => {
                    self.withdrawn.remove(source_id);
                }
            },
            Note::Listed(runs) => {
                let there: BTreeSet<&str> = runs.iter().map(|r| r.uid.as_str()).collect();
                let items: BTreeSet<&str> = runs.iter().map(|r| r.source_id.as_str()).collect();
                // Refused, and there after all: it took effect, or somebody else
                // of this owner was faster. A told run is of an earlier round.
                for run in runs.iter().filter(|run| run.was_started()) {
                    if let Some(refusal) = self.refused.get_mut(&run.source_id) {
                        refusal.failed.retain(|past| past.attempt > run.attempt);
                        refusal.now.take_if(|now| now.attempt <= run.attempt);
                    }
                }
                self.told.retain(|uid| there.contains(uid.as_str()));
                self.withdrawn.retain(|id, _| items.contains(id.as_str()));
                self.again.retain(|subject, _| match subject {
                    Subject::Run(uid) => there.contains(uid.as_str()),
                    Subject::Item(_) => true,
                });
            }
            Note::Spawned(source_id) => {
                // The run remembers the refused attempts from now on.
                self.refused.remove(source_id);
                self.runtime_refused = None;
            }
            Note::Refused {
                source_id,
                attempt,
                begun,
                why,
            } => {
                self.runtime_refused = None;
                let refusal = self.refused.entry(source_id.to_owned()).or_default();
                let since = refusal.now.take().map_or(begun, |refused| refused.since);
                let end = since.plus(limits.start_timeout);
                if now >= end {
                    refusal
                        .failed
                        .push(Past::new(attempt, since, now, None, why));
                } else {
                    let next = now.plus(limits.interval).min(end);
                    refusal.now = Some(Refused {
                        attempt,
                        since,
                        why: why.to_owned(),
                        next,
                    });
                }
            }
            Note::RuntimeRefused(why) => {
                self.runtime_refused = Some((why.to_owned(), now.plus(limits.interval)));
            }
            Note::Told(subject) => {
                self.again.remove(subject);
                match subject {
                    Subject::Run(uid) => {
                        self.told.insert(uid.clone());
                    }
                    Subject::Item(source_id) => {
                        self.refused.remove(source_id);
                    }
                }
            }
            Note::Done(subject) => {
                self.again.remove(subject);
            }
            Note::FailedUntil(subject, until) => {
                let times = self.again.get(subject).map_or(0, |(times, _)| *times);
                self.again.insert(subject.clone(), (times, until));
            }
            Note::Failed(subject) => {
                let times = self.again.get(subject).map_or(0, |(times, _)| *times);
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << times.min(4))
                    .min(LONGEST_PAUSE);
                self.again
                    .insert(subject.clone(), (times.saturating_add(1), now.plus(pause)));
            }
        }
    }

    /// When a failed action on it is tried again.
    pub(super) fn again(&self, subject: &Subject) -> Option<Stamp> {
        self.again.get(subject).map(|(_, until)| *until)
    }

    /// Whether its source has heard of it, and only the removal is left.
    pub(super) fn is_told(&self, run: &Run) -> bool {
        self.told.contains(&run.uid)
    }

    /// Since when the item is seen to be taken back.
    pub(super) fn withdrawn(&self, source_id: &str) -> Option<Stamp> {
        self.withdrawn.get(source_id).copied()
    }

    /// The attempts that failed because the runtime refused them to the end.
    pub(super) fn refused_attempts(&self, source_id: &str) -> &[Past] {
        self.refused
            .get(source_id)
            .map_or(&[], |refusal| &refusal.failed)
    }

    /// Since when the present attempt is refused, why, and until when it rests.
    pub(super) fn refusal(&self, source_id: &str) -> Option<(Stamp, &str, Stamp)> {
        let refused = self.refused.get(source_id)?.now.as_ref()?;
        Some((refused.since, &refused.why, refused.next))
    }

    /// Why the runtime refuses everything, and until when nothing is tried.
    pub(super) fn runtime_refusal(&self) -> Option<(&str, Stamp)> {
        self.runtime_refused
            .as_ref()
            .map(|(why, until)| (why.as_str(), *until))
    }
}
