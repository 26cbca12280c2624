//! Carrying out what the core says, and taking in how that went. What takes
//! long goes to a thread; its end comes back as an event.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
};

use log::{debug, error, info, warn};

use super::{Event, How, Orchestrator, look::Picture};
use crate::{
    agent::{Spec, Try},
    clock,
    core::{Item, NewRun, Note, Outcome, Removal, Run, Stamp, Stop, Subject, Verdict},
    redact::shortened,
    runtime::{Refused, Runtime},
    source::{Begun, Trouble},
};

/// What is done to a run, as a message says it.
const STOP: &str = "stop it";
const REMOVE: &str = "remove it";

/// Bytes of a reason that are kept of what a runtime says.
const REASON: usize = 1024;

/// How an action that took its time went.
pub enum Done {
    /// A spawn.
    Spawned {
        /// The item, by its source id.
        source_id: String,
        /// The id people use.
        item_id: String,
        /// Which run it was to be.
        new: NewRun,
        /// When it was begun.
        begun: Stamp,
        /// What came of it; `None` if it was not begun any more.
        result: Option<Result<(), Refused>>,
    },
    /// A stop or a removal.
    Acted {
        /// The run as it was.
        run: Box<Run>,
        /// What was done, for the message.
        what: &'static str,
        /// What came of it.
        result: Result<(), String>,
    },
    /// The source was told how a run ended.
    Told {
        /// The run as it was.
        run: Box<Run>,
        /// What was told.
        outcome: Box<Outcome>,
        /// What came of it.
        result: Result<(), Trouble>,
        /// What came of its removal, where it was to go at once.
        removed: Option<Result<(), String>>,
    },
    /// The source was told that a run has begun.
    Begun {
        /// The item, by its source id.
        source_id: String,
        /// What came of it.
        result: Result<(), Trouble>,
    },
}

impl Orchestrator {
    /// Begins everything the plan asks for.
    pub(super) fn act(&mut self, picture: &Picture) {
        self.tell_starts(clock::now());
        for (verdict, run) in picture.plan.runs.iter().zip(&picture.runs) {
            if !self.may_begin() {
                return;
            }
            match verdict {
                Verdict::Stop(stop) => self.stop(run, stop),
                Verdict::Remove(removal) => self.remove(run, *removal),
                Verdict::Report(_) if self.starts.is_in_hand(&run.source_id) => {}
                Verdict::Report(outcome) => {
                    let last = !picture.runs.iter().any(|other| other.is_former(run));
                    self.tell_end(run, outcome, last);
                }
                Verdict::Keep(_) | Verdict::Wait(_) | Verdict::Spawn(_) | Verdict::Skip(_) => {}
            }
        }
        for (verdict, item) in picture.plan.items.iter().zip(picture.items.iter()) {
            if !self.may_begin() {
                return;
            }
            match verdict {
                Verdict::Spawn(new) if !self.gives_up_spawning() => self.spawn(new, item),
                Verdict::Report(outcome) => self.tell_end_of_item(item, outcome),
                Verdict::Spawn(_)
                | Verdict::Keep(_)
                | Verdict::Wait(_)
                | Verdict::Stop(_)
                | Verdict::Remove(_)
                | Verdict::Skip(_) => {}
            }
        }
    }

    /// What the runtime is to start.
    pub(super) fn spec(&self, new: &NewRun, item: &Item) -> Result<Spec, String> {
        let workspace = self.runtime.workspace(&new.name);
        let attempt = Try {
            number: new.number,
            attempt: new.attempt,
            history: &new.history,
        };
        let spec = self
            .agent
            .spec(item, &attempt, &workspace.to_string_lossy())?;
        for warning in &spec.warnings {
            warn!(ticket_id = item.id, job_name = new.name; "{warning}");
        }
        self.hide(spec.secrets());
        Ok(spec)
    }

    fn spawn(&mut self, new: &NewRun, item: &Item) {
        let spec = self.spec(new, item);
        self.quiet_until = Stamp::default();
        self.starting
            .insert(item.source_id.clone(), new.name.clone());
        self.started_here.insert(new.name.clone());
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        let (source_id, item_id, new) = (item.source_id.clone(), item.id.clone(), new.clone());
        let leaving = Arc::clone(&self.leaving);
        self.spawns.run(move || {
            let begun = clock::now();
            let may = !leaving.load(Ordering::SeqCst) && runtime.leads();
            let result = may.then(|| match spec {
                Ok(spec) => runtime.spawn(&spec, begun),
                Err(why) => Err(Refused::Item(why)),
            });
            let done = Done::Spawned {
                source_id,
                item_id,
                new,
                begun,
                result,
            };
            // The loop may have left.
            let _ = sender.send(Event::Done(done));
        });
    }

    fn stop(&mut self, run: &Run, stop: &Stop) {
        let stop = Stop {
            why: self.heard(&stop.why),
            ..stop.clone()
        };
        self.action(run, STOP, move |runtime, run| runtime.stop(run, &stop));
    }

    fn remove(&mut self, run: &Run, removal: Removal) {
        self.action(run, REMOVE, move |runtime, run| {
            runtime.remove(run, removal)
        });
    }

    fn action(
        &mut self,
        run: &Run,
        what: &'static str,
        act: impl FnOnce(&Runtime, &Run) -> Result<(), String> + Send + 'static,
    ) {
        self.in_hand.insert(run.uid.clone());
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        let run = Box::new(run.clone());
        self.actions.run(move || {
            let result = act(&runtime, &run);
            let _ = sender.send(Event::Done(Done::Acted { run, what, result }));
        });
    }

    /// Takes in how an action went. True if the loop should look soon.
    pub(super) fn done(&mut self, done: Done) -> bool {
        match done {
            Done::Spawned {
                source_id,
                item_id,
                new,
                begun,
                result,
            } => {
                self.starting.remove(&source_id);
                match result {
                    None => true,
                    Some(Ok(())) => {
                        debug!(ticket_id = item_id, job_name = new.name; "started");
                        if self.spawn_trouble.over() {
                            info!("agents can be started again");
                        }
                        self.tally.spawn.over();
                        self.core.note(clock::now(), Note::Spawned(&source_id));
                        if self.source.hears_of_starts() {
                            self.starts.add(&source_id, &item_id, Begun::Now);
                            self.tell_starts(clock::now());
                        }
                        false
                    }
                    Some(Err(refused)) => {
                        self.refused(&source_id, &item_id, &new, begun, &refused);
                        true
                    }
                }
            }
            Done::Acted { run, what, result } => {
                self.in_hand.remove(&run.uid);
                self.acted(&run, what, result);
                true
            }
            Done::Told {
                run,
                outcome,
                result,
                removed,
            } => {
                self.in_hand.remove(&run.uid);
                self.told(&outcome, result, Subject::Run(run.uid.clone()));
                if let Some(result) = removed {
                    self.acted(&run, REMOVE, result);
                }
                true
            }
            Done::Begun { source_id, result } => {
                self.told_start(&source_id, result);
                false
            }
        }
    }

    fn acted(&mut self, run: &Run, what: &'static str, result: Result<(), String>) {
        let subject = Subject::Run(run.uid.clone());
        match result {
            Ok(()) => {
                if what == REMOVE {
                    self.started_here.remove(&run.name);
                }
                self.core.note(clock::now(), Note::Done(&subject));
                self.tally.went_well(&subject);
            }
            Err(why) => {
                warn!(ticket_id = run.item_id, job_name = run.name, attempt = run.attempt;
                    "cannot {what}: {why}");
                self.core.note(clock::now(), Note::Failed(&subject));
                self.tally.went_badly(subject);
            }
        }
    }

    fn refused(
        &mut self,
        source_id: &str,
        item_id: &str,
        new: &NewRun,
        begun: Stamp,
        refused: &Refused,
    ) {
        self.tally.trouble = true;
        let now = clock::now();
        match refused {
            Refused::Item(why) => {
                let why = &self.heard(why);
                let attempt = new.attempt;
                self.core.note(
                    now,
                    Note::Refused {
                        source_id,
                        attempt,
                        begun,
                        why,
                    },
                );
                if self.how == How::Once {
                    // There is no later pass to say so.
                    warn!(ticket_id = item_id, job_name = new.name; "refused: {why}");
                }
            }
            Refused::Everything(why) => {
                if self.spawn_trouble.is(why) {
                    error!("nothing can be started: {why}");
                }
                self.tally.spawn.failed(self.next_poll);
                self.core.note(now, Note::RuntimeRefused(why));
            }
        }
    }

    /// Has these values taken out of all that is written.
    pub(super) fn hide<'a>(&self, secrets: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut redactor = None;
        for (name, value) in secrets {
            redactor
                .get_or_insert_with(|| {
                    self.redactor
                        .write()
                        .unwrap_or_else(PoisonError::into_inner)
                })
                .add(name, value);
        }
    }

    /// The text without secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
        redactor.clean(text).into_owned()
    }

    /// What somebody else says of a run, fit to be kept beside it: it stands in
    /// the note of a stop and in the history that the next attempt is given.
    /// Cleaned first, for half a secret is not found.
    pub(super) fn heard(&self, why: &str) -> String {
        shortened(&self.clean(why), REASON).into_owned()
    }

    /// Has the runtime wake the loop.
    pub(super) fn watch(&self) {
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        thread::spawn(move || runtime.watch(|| sender.send(Event::Changed).is_ok()));
    }
}
