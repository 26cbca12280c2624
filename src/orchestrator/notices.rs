//! Which verdicts a person is told of in the log: each once, when it changes.
//! The words are the core's.

use std::collections::BTreeMap;

use log::{Level, log};

use crate::core::{End, Hold, Item, Keeping, Plan, Run, Verdict, Waiting};

/// What was said last, by what it was said of.
#[derive(Default)]
pub struct Notices {
    said: BTreeMap<String, Said>,
    /// How many wait for a slot, and how many slots there are.
    waiting: Option<(usize, usize)>,
}

/// The last words on one subject.
struct Said {
    words: String,
    /// The action that was said and may not have come about: it is tried again
    /// and again, which is no news.
    tried: Option<String>,
}

/// Whether something is done.
fn is_action(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Spawn(_) | Verdict::Stop(_) | Verdict::Report(_) | Verdict::Remove(_)
    )
}

/// Whether what was tried before may be tried again after this.
fn is_between_tries(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Keep(Keeping::InHand)
            | Verdict::Wait(
                Waiting::Refused { .. }
                    | Waiting::RuntimeRefuses(_)
                    | Waiting::RuntimeSilent
                    | Waiting::SourceSilent
                    | Waiting::Again(_)
            )
    )
}

/// Whether nothing is started in this pass, whatever it is: then nobody waits
/// for a slot, and that is no news of those who do.
fn is_of_the_pass(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Wait(Waiting::RuntimeRefuses(_) | Waiting::RuntimeSilent | Waiting::SourceSilent)
    )
}

/// How loudly something is said; `None` for what another line says already.
fn level(verdict: &Verdict) -> Option<Level> {
    Some(match verdict {
        Verdict::Spawn(_) | Verdict::Stop(_) => Level::Info,
        Verdict::Report(outcome) => match outcome.end {
            End::Succeeded | End::Stopped => Level::Info,
            End::Failed => Level::Warn,
        },
        Verdict::Skip(_) => Level::Warn,
        Verdict::Remove(_) => Level::Debug,
        Verdict::Keep(keeping) => match keeping {
            Keeping::Running | Keeping::Pending(Some(_)) | Keeping::Grace { .. } => Level::Info,
            Keeping::ForRetry(_) => Level::Warn,
            Keeping::Pending(None)
            | Keeping::Stopping
            | Keeping::InHand
            | Keeping::Told
            | Keeping::Last => Level::Debug,
        },
        Verdict::Wait(waiting) => match waiting {
            Waiting::Rest { .. } | Waiting::Held(_) => Level::Info,
            Waiting::Refused { .. } => Level::Warn,
            // One of the pass as a whole, or of the action that failed.
            Waiting::RuntimeRefuses(_)
            | Waiting::RuntimeSilent
            | Waiting::SourceSilent
            | Waiting::Again(_) => Level::Debug,
            Waiting::Slot { .. } | Waiting::Starting | Waiting::HasRun | Waiting::ListedTwice => {
                return None;
            }
        },
    })
}

impl Notices {
    /// Says what has changed in this plan.
    pub fn tell(&mut self, plan: &Plan, items: &[Item], runs: &[Run]) {
        let mut before = std::mem::take(&mut self.said);
        let mut waiting = None;
        for (verdict, run) in plan.runs.iter().zip(runs) {
            if let Some(level) = self.news(format!("run {}", run.uid), verdict, &mut before) {
                log!(level, ticket_id = run.item_id, job_name = run.name, attempt = run.attempt;
                    "{verdict}");
            }
        }
        for (verdict, item) in plan.items.iter().zip(items) {
            if let Verdict::Wait(Waiting::Slot { max, .. }) = verdict {
                let (count, _) = waiting.unwrap_or_default();
                waiting = Some((count + 1, *max));
            }
            let key = format!("item {}", item.source_id);
            let Some(level) = self.news(key, verdict, &mut before) else {
                continue;
            };
            // A circle is one thing: the member that it is told from speaks.
            if matches!(verdict, Verdict::Skip(Hold::Cycle(ids)) if ids.first() != Some(&item.id)) {
                continue;
            }
            if let Verdict::Spawn(new) = verdict {
                log!(level, ticket_id = item.id, job_name = new.name, attempt = new.attempt;
                    "{verdict}");
            } else {
                log!(level, ticket_id = item.id; "{verdict}");
            }
        }
        if waiting != self.waiting && !plan.items.iter().any(is_of_the_pass) {
            // The first time it is news; then it changes with every start.
            let level = match self.waiting {
                None => Level::Info,
                Some(_) => Level::Debug,
            };
            match waiting {
                None => log!(level, "no item waits for an agent to end"),
                Some((n, 0)) => log!(
                    level,
                    "{n} wait, and with --max-agents 0 no agent is started"
                ),
                Some((n, max)) => log!(level, "{n} more wait for one of {max} agents to end"),
            }
            self.waiting = waiting;
        }
    }

    /// How loudly to say it, if it is news.
    fn news(
        &mut self,
        key: String,
        verdict: &Verdict,
        before: &mut BTreeMap<String, Said>,
    ) -> Option<Level> {
        let last = before.remove(&key);
        if matches!(verdict, Verdict::Wait(Waiting::HasRun)) {
            // The next start is of another run, whatever its name.
            return None;
        }
        // Each start is another one.
        let words = match verdict {
            Verdict::Spawn(new) => format!("{verdict} {} {}", new.name, new.attempt),
            Verdict::Wait(_)
            | Verdict::Keep(_)
            | Verdict::Stop(_)
            | Verdict::Report(_)
            | Verdict::Remove(_)
            | Verdict::Skip(_) => verdict.to_string(),
        };
        let level = level(verdict);
        let again = |said: &Said| said.tried.as_ref() == Some(&words);
        if level.is_none() || (is_action(verdict) && last.as_ref().is_some_and(again)) {
            self.said.extend(last.map(|said| (key, said)));
            return None;
        }
        let news = last.as_ref().is_none_or(|said| said.words != words);
        let tried = match is_action(verdict) {
            true => Some(words.clone()),
            false => last
                .and_then(|said| said.tried)
                .filter(|_| is_between_tries(verdict)),
        };
        self.said.insert(key, Said { words, tried });
        level.filter(|_| news)
    }
}

/// Trouble that is told of when it changes, and when it is over.
#[derive(Default)]
pub struct Change {
    now: Option<String>,
}

impl Change {
    /// There is trouble. True if it is news.
    pub fn is(&mut self, why: &str) -> bool {
        let new = self.now.as_deref() != Some(why);
        self.now = Some(why.to_owned());
        new
    }

    /// Whether there is trouble.
    pub fn is_on(&self) -> bool {
        self.now.is_some()
    }

    /// There is none. True if there was.
    pub fn over(&mut self) -> bool {
        self.now.take().is_some()
    }
}
