//! Where items come from and where their outcomes go.
//!
//! Never decides what runs, and never tries anything twice: the next tick is
//! the retry.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::core::{Item, Outcome, RunId, Stamp, Standing};

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
    /// It stays until a person does something: the work file is not there,
    /// the credentials are refused.
    Everything(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Later(why, _) | Trouble::Item(why) | Trouble::Everything(why) => {
                f.write_str(why)
            }
        }
    }
}

/// The source chosen by `--poller`.
pub enum Source {
    /// A JSON file of items.
    File(file::File),
}

impl Source {
    /// Everything that is wanted, in the order in which it should start, with
    /// what cannot start and why.
    ///
    /// # Errors
    /// If that cannot be known; nothing may be concluded then.
    pub fn wanted(&mut self, now: Stamp) -> Result<Vec<Item>, Trouble> {
        match self {
            Source::File(file) => file.wanted(now),
        }
    }

    /// What has become of the items with these source ids. The answer has
    /// every one of them.
    ///
    /// # Errors
    /// As of [`Source::wanted`].
    pub fn look_up(
        &mut self,
        now: Stamp,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Standing>, Trouble> {
        match self {
            Source::File(file) => file.look_up(now, ids),
        }
    }

    /// Tells how an item ended. A repeat of what was told before is recognised
    /// and does nothing.
    ///
    /// # Errors
    /// If it could not be told, or not for certain: tell it again.
    pub fn report(&mut self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        match self {
            Source::File(file) => file.report(outcome, tail),
        }
    }

    /// Tells that a run of the item with this source id has started. A file
    /// is told nothing: the run itself is the claim.
    ///
    /// # Errors
    /// If it could not be told.
    pub fn started(&mut self, _source_id: &str, _run: &RunId) -> Result<(), Trouble> {
        match self {
            Source::File(_) => Ok(()),
        }
    }

    /// How many entries of the last whole reading could not be used and were
    /// left out of [`Source::wanted`].
    #[must_use]
    pub fn bad_entries(&self) -> usize {
        match self {
            Source::File(file) => file.bad_entries(),
        }
    }
}
