//! Telling the source: that runs have begun, and how they ended. On threads of
//! its own, so that a source that is slow holds up nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use log::{debug, error, info, warn};

use super::{Done, Event, Orchestrator};
use crate::{
    clock,
    core::{End, Item, Note, Outcome, Removal, Run, Stamp, Subject},
    redact::{Redactor, last_lines},
    report,
    runtime::{self, Runtime},
    source::{Begun, Trouble},
};

/// Lines of an agent's output that an outcome holds.
const TAIL_LINES: usize = 50;
/// Their bytes.
const TAIL_BYTES: usize = 64 * 1024;

/// Runs whose begin the source has still to hear of, by the source id of
/// their item. Lost at a restart, when every live run is told of once more.
#[derive(Default)]
pub struct Starts {
    open: BTreeMap<String, Start>,
    /// Uids of the live runs that were seen.
    seen: BTreeSet<String>,
}

struct Start {
    item_id: String,
    begun: Begun,
    in_hand: bool,
    /// When it is told again.
    next: Stamp,
}

impl Starts {
    /// A run of this item has begun.
    pub fn add(&mut self, source_id: &str, item_id: &str, begun: Begun) {
        let start = Start {
            item_id: item_id.to_owned(),
            begun,
            in_hand: false,
            next: Stamp::default(),
        };
        self.open.insert(source_id.to_owned(), start);
    }

    /// Whether the source is hearing just now that a run of this item began.
    /// Its end is told only then, or the start would come last.
    #[must_use]
    pub fn is_in_hand(&self, source_id: &str) -> bool {
        self.open.get(source_id).is_some_and(|start| start.in_hand)
    }

    /// Whether somebody is being told.
    #[must_use]
    pub fn are_in_hand(&self) -> bool {
        self.open.values().any(|start| start.in_hand)
    }
}

impl Orchestrator {
    /// Takes in which runs live, for what the source has to hear.
    pub(super) fn note_starts(&mut self, runs: &[Run]) {
        if !self.source.hears_of_starts() {
            return;
        }
        let live: Vec<&Run> = runs.iter().filter(|run| run.is_live()).collect();
        let starts = &mut self.starts;
        // What has ended meanwhile is told in another way.
        starts.open.retain(|source_id, start| {
            start.in_hand || live.iter().any(|run| run.source_id == *source_id)
        });
        for run in &live {
            let new = !starts.seen.contains(&run.uid);
            if new && !self.started_here.contains(&run.name) {
                starts.add(&run.source_id, &run.item_id, Begun::Before);
            }
        }
        starts.seen = live.iter().map(|run| run.uid.clone()).collect();
    }

    /// Begins to tell the source of the runs it has still to hear of.
    pub(super) fn tell_starts(&mut self, now: Stamp) {
        for (source_id, start) in &mut self.starts.open {
            if start.in_hand || now < start.next {
                continue;
            }
            start.in_hand = true;
            let (source, sender) = (Arc::clone(&self.source), self.sender.clone());
            let (source_id, begun) = (source_id.clone(), start.begun);
            self.tells.run(move || {
                let result = source.started(&source_id, begun);
                // The loop may have left.
                let _ = sender.send(Event::Done(Done::Begun { source_id, result }));
            });
        }
    }

    /// Takes in how that went.
    pub(super) fn told_start(&mut self, source_id: &str, result: Result<(), Trouble>) {
        let Some(start) = self.starts.open.get_mut(source_id) else {
            return;
        };
        start.in_hand = false;
        match result {
            Ok(()) => {
                self.starts.open.remove(source_id);
            }
            Err(Trouble::Item(why)) => {
                warn!(ticket_id = start.item_id; "its start is not shown: {why}");
                self.starts.open.remove(source_id);
            }
            Err(trouble) => {
                debug!(ticket_id = start.item_id; "its start is not shown yet: {trouble}");
                start.next = self.next_poll;
            }
        }
    }

    /// Tells the source how a run ended, and removes it then if it is the
    /// `last` of its item.
    pub(super) fn tell_end(&mut self, run: &Run, outcome: &Outcome, last: bool) {
        self.in_hand.insert(run.uid.clone());
        let (runtime, source) = (Arc::clone(&self.runtime), Arc::clone(&self.source));
        let (redactor, sender) = (Arc::clone(&self.redactor), self.sender.clone());
        // Else it has the secrets of another time.
        let known = self.started_here.contains(&run.name);
        let (run, outcome) = (Box::new(run.clone()), Box::new(outcome.clone()));
        self.tells.run(move || {
            let tail = tail(&runtime, &redactor, &run, known);
            let outcome = Box::new(cleaned(&redactor, &outcome));
            let result = match runtime.leads() {
                true => source.report(&outcome, &tail),
                false => Err(Trouble::Later("another replica leads now".to_owned(), None)),
            };
            let gone = result.is_ok() && last;
            let removed = gone.then(|| runtime.remove(&run, Removal::Told));
            let done = Done::Told {
                run,
                outcome,
                result,
                removed,
            };
            let _ = sender.send(Event::Done(done));
        });
    }

    /// Tells the source of an item that never had a run.
    pub(super) fn tell_end_of_item(&mut self, item: &Item, outcome: &Outcome) {
        let outcome = cleaned(&self.redactor, outcome);
        let result = self.source.report(&outcome, "");
        self.told(&outcome, result, Subject::Item(item.source_id.clone()));
    }

    /// Takes in how it went to tell of an end.
    pub(super) fn told(
        &mut self,
        outcome: &Outcome,
        result: Result<(), Trouble>,
        subject: Subject,
    ) {
        let now = clock::now();
        match result {
            Ok(()) => {
                debug!(ticket_id = outcome.item_id; "told: {}", report::headline(outcome));
                if self.untold.remove(&subject).is_some() {
                    info!(ticket_id = outcome.item_id; "how it ended is reported after all");
                }
                self.core.note(now, Note::Told(&subject));
                self.tally.went_well(&subject);
                self.tally.failed |= outcome.end == End::Failed;
                // What it blocked may start, and what has changed is wanted.
                self.next_poll = now;
            }
            Err(trouble) => {
                let why = trouble.to_string();
                // It is tried every minute, perhaps for days.
                if self.untold.get(&subject) == Some(&why) {
                    debug!(ticket_id = outcome.item_id; "cannot report how it ended yet: {why}");
                } else {
                    error!(ticket_id = outcome.item_id;
                        "cannot report how it ended ({}): {why}", report::headline(outcome));
                }
                self.untold.insert(subject.clone(), why);
                let note = if let Trouble::Later(_, Some(pause)) = trouble {
                    Note::FailedUntil(&subject, now.plus(pause))
                } else {
                    Note::Failed(&subject)
                };
                self.core.note(now, note);
                self.tally.went_badly(subject);
            }
        }
    }
}

/// The last lines of what an agent wrote, without secrets.
fn tail(runtime: &Runtime, redactor: &RwLock<Redactor>, run: &Run, known: bool) -> String {
    if !known {
        let mut redactor = redactor.write().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in runtime.secrets(run) {
            redactor.add(&name, &value);
        }
    }
    let tail = runtime.tail(run).unwrap_or_else(|e| {
        debug!(ticket_id = run.item_id, job_name = run.name; "no output of it: {e}");
        vec![]
    });
    let redactor = redactor.read().unwrap_or_else(PoisonError::into_inner);
    let text = redactor.clean(&String::from_utf8_lossy(&tail)).into_owned();
    // Where it was cut, half a secret may stand, with half a character
    // before it, which is a mark of three bytes for each of its own.
    let whole = tail.len() < runtime::TAIL;
    let edge = if whole { 0 } else { redactor.longest() + 9 };
    let edge = (edge..text.len()).find(|at| text.is_char_boundary(*at));
    let text = edge.and_then(|edge| text.get(edge..)).unwrap_or("");
    last_lines(text, TAIL_LINES, TAIL_BYTES).to_owned()
}

/// An outcome without secrets.
fn cleaned(redactor: &RwLock<Redactor>, outcome: &Outcome) -> Outcome {
    let redactor = redactor.read().unwrap_or_else(PoisonError::into_inner);
    let mut outcome = outcome.clone();
    outcome.reason = redactor.clean(&outcome.reason).into_owned();
    for past in &mut outcome.history {
        past.reason = redactor.clean(&past.reason).into_owned();
    }
    outcome
}
