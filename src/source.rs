//! Where items come from and where their outcomes go.
//!
//! Never decides what runs, and never tries anything twice: the next tick is
//! the retry.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::core::{Item, Outcome, Stamp, Standing};

pub mod blockers;
pub mod file;
pub mod jira;
pub mod repo;

/// Why a source could not do what it was asked for. The variants are what to
/// do about it, not where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may pass by itself: try again at the next tick, and not before the
    /// time given, if there is one.
    Later(String, Option<Duration>),
    /// It concerns the one item that was asked for; the others go on.
    Item(String),
    /// It stays until a person does something: the work file is not there.
    Everything(String),
    /// The credentials are refused. Every further try makes it worse, so
    /// nobody should wait for one.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Later(why, _)
            | Trouble::Item(why)
            | Trouble::Everything(why)
            | Trouble::Refused(why) => f.write_str(why),
        }
    }
}

/// What was found out about some items, and what could not be: what one of them
/// refuses keeps the others from nothing.
#[derive(Debug, Default)]
pub struct Looked {
    /// What has become of them, by source id.
    pub standings: BTreeMap<String, Standing>,
    /// Those that cannot be read now, and why.
    pub unread: BTreeMap<String, String>,
    /// Why the rest was not asked for.
    pub trouble: Option<Trouble>,
}

impl Looked {
    fn of(result: Result<BTreeMap<String, Standing>, Trouble>) -> Looked {
        match result {
            Ok(standings) => Looked {
                standings,
                ..Looked::default()
            },
            Err(trouble) => Looked {
                trouble: Some(trouble),
                ..Looked::default()
            },
        }
    }
}

/// The source chosen by `--poller`. Shared by the loop and by the threads that
/// tell it how runs have ended.
pub enum Source {
    /// A JSON file of items.
    File(Box<Mutex<file::File>>),
    /// Tickets.
    Jira(Box<jira::Jira>),
}

/// What is told of a run that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It was started just now.
    Now,
    /// It was found running, started perhaps long ago.
    Before,
}

impl Source {
    /// Items of a work file.
    #[must_use]
    pub fn file(file: file::File) -> Source {
        Source::File(Box::new(Mutex::new(file)))
    }

    /// Tickets of a Jira.
    #[must_use]
    pub fn jira(jira: jira::Jira) -> Source {
        Source::Jira(Box::new(jira))
    }

    /// Everything that is wanted, in the order in which it should start, with
    /// what cannot start and why. What an agent is given may be left out; see
    /// [`Source::fresh`].
    ///
    /// # Errors
    /// If that cannot be known; nothing may be concluded then.
    pub fn wanted(&self, now: Stamp) -> Result<Vec<Item>, Trouble> {
        match self {
            Source::File(file) => lock(file).wanted(now),
            Source::Jira(jira) => jira.wanted(),
        }
    }

    /// What has become of the items with these source ids; what an agent is
    /// given may be left out.
    #[must_use]
    pub fn look_up(&self, now: Stamp, ids: &[&str]) -> Looked {
        match self {
            Source::File(file) => Looked::of(lock(file).look_up(now, ids)),
            Source::Jira(jira) => jira.look_up(ids),
        }
    }

    /// The items with these source ids as they are now, whole, so that they
    /// can be started.
    #[must_use]
    pub fn fresh(&self, now: Stamp, ids: &[&str]) -> Looked {
        match self {
            Source::File(file) => Looked::of(lock(file).fresh(now, ids)),
            Source::Jira(jira) => jira.fresh(ids),
        }
    }

    /// Tells how an item ended. A repeat of what was told before is recognised
    /// and does nothing.
    ///
    /// # Errors
    /// If it could not be told, or not for certain: tell it again.
    pub fn report(&self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        match self {
            Source::File(file) => lock(file).report(outcome, tail),
            Source::Jira(jira) => jira.report(outcome, tail),
        }
    }

    /// Whether others ask it, too: it is a server, which minds when.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self {
            Source::File(_) => false,
            Source::Jira(_) => true,
        }
    }

    /// Whether it wants to hear of runs that begin.
    #[must_use]
    pub fn hears_of_starts(&self) -> bool {
        match self {
            // The run itself is the claim.
            Source::File(_) => false,
            Source::Jira(jira) => jira.hears_of_starts(),
        }
    }

    /// Tells that a run of the item with this source id has begun.
    ///
    /// # Errors
    /// [`Trouble::Item`] if it will never be told; else tell it again.
    pub fn started(&self, source_id: &str, begun: Begun) -> Result<(), Trouble> {
        match self {
            Source::File(_) => Ok(()),
            Source::Jira(jira) => jira.started(source_id, begun),
        }
    }

    /// How many entries of the last whole reading could not be used and were
    /// left out of [`Source::wanted`].
    #[must_use]
    pub fn bad_entries(&self) -> usize {
        match self {
            Source::File(file) => lock(file).bad_entries(),
            // Others that cannot be used have a verdict like any ticket.
            Source::Jira(jira) => jira.unusable(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
