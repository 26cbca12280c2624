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
    core::{End, Item, NewRun, Note, Outcome, Removal, Run, Stamp, Stop, Subject, Verdict},
    redact::last_lines,
    report,
    runtime::{self, Refused, Runtime},
};

/// Lines of an agent's output that an outcome holds.
const TAIL_LINES: usize = 50;
/// Their bytes.
const TAIL_BYTES: usize = 64 * 1024;

/// What is done to a run, as a message says it.
const STOP: &str = "stop it";
const REMOVE: &str = "remove it";

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
}

impl Orchestrator {
    /// Begins everything the plan asks for.
    pub(super) fn act(&mut self, picture: &Picture) {
        for (verdict, run) in picture.plan.runs.iter().zip(&picture.runs) {
            if self.is_leaving() {
                return;
            }
            match verdict {
                Verdict::Stop(stop) => self.stop(run, stop),
                Verdict::Remove(removal) => self.remove(run, *removal),
                Verdict::Report(outcome) => {
                    let tail = self.tail(run);
                    let told = self.report(outcome, &tail, Subject::Run(run.uid.clone()));
                    if told && !picture.runs.iter().any(|other| other.is_former(run)) {
                        self.remove(run, Removal::Told);
                    }
                }
                Verdict::Keep(_) | Verdict::Wait(_) | Verdict::Spawn(_) | Verdict::Skip(_) => {}
            }
        }
        for (verdict, item) in picture.plan.items.iter().zip(picture.items.iter()) {
            if self.is_leaving() {
                return;
            }
            match verdict {
                Verdict::Spawn(new) if !self.gives_up_spawning() => self.spawn(new, item),
                Verdict::Report(outcome) => {
                    self.report(outcome, "", Subject::Item(item.source_id.clone()));
                }
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
            let result = (!leaving.load(Ordering::SeqCst)).then(|| match spec {
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
        let stop = stop.clone();
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

    /// The last lines of what an agent wrote, without secrets.
    fn tail(&self, run: &Run) -> String {
        if !self.started_here.contains(&run.name) {
            // It has the secrets of another time.
            let secrets = self.runtime.secrets(run);
            self.hide(
                secrets
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
        }
        let tail = self.runtime.tail(run).unwrap_or_else(|e| {
            debug!(ticket_id = run.item_id, job_name = run.name; "no output of it: {e}");
            vec![]
        });
        let text = self.clean(&String::from_utf8_lossy(&tail));
        // Where it was cut, half a secret may stand, with half a character
        // before it, which is a mark of three bytes for each of its own.
        let whole = tail.len() < runtime::TAIL;
        let edge = if whole { 0 } else { self.longest_secret() + 9 };
        let edge = (edge..text.len()).find(|at| text.is_char_boundary(*at));
        let text = edge.and_then(|edge| text.get(edge..)).unwrap_or("");
        last_lines(text, TAIL_LINES, TAIL_BYTES).to_owned()
    }

    /// Tells the source. True if it knows now.
    fn report(&mut self, outcome: &Outcome, tail: &str, subject: Subject) -> bool {
        let mut outcome = outcome.clone();
        outcome.reason = self.clean(&outcome.reason);
        for past in &mut outcome.history {
            past.reason = self.clean(&past.reason);
        }
        let told = self.source.report(&outcome, tail);
        let now = clock::now();
        match told {
            Ok(()) => {
                debug!(ticket_id = outcome.item_id; "told: {}", report::headline(&outcome));
                self.core.note(now, Note::Told(&subject));
                self.tally.went_well(&subject);
                self.tally.failed |= outcome.end == End::Failed;
                // What it blocked may start, and what has changed is wanted.
                self.next_poll = now;
                true
            }
            Err(trouble) => {
                error!(ticket_id = outcome.item_id;
                    "cannot report how it ended ({}): {trouble}", report::headline(&outcome));
                self.core.note(now, Note::Failed(&subject));
                self.tally.went_badly(subject);
                false
            }
        }
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
                true
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

    /// In bytes.
    fn longest_secret(&self) -> usize {
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
        redactor.longest()
    }

    /// The text without secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
        redactor.clean(text).into_owned()
    }

    /// Has the runtime wake the loop.
    pub(super) fn watch(&self) {
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        thread::spawn(move || runtime.watch(|| sender.send(Event::Changed).is_ok()));
    }
}
