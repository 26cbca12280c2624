//! How an item ended, before it is put into words for its source.

use super::{Fingerprint, Past, Stamp};

/// What is told to a source, once for each round of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The id people use.
    pub item_id: String,
    /// What identifies the item for good.
    pub source_id: String,
    /// Of the content that was worked on.
    pub fingerprint: Fingerprint,
    /// How it ended.
    pub end: End,
    /// A sentence fragment for people.
    pub reason: String,
    /// Attempts made, the last one included.
    pub attempts: u32,
    /// Of the last attempt: 128 + n for a signal; none where there is none.
    pub exit_code: Option<i32>,
    /// When the last attempt began.
    pub started: Stamp,
    /// When it ended.
    pub finished: Stamp,
    /// The former attempts, oldest first.
    pub history: Vec<Past>,
    /// Name and uid of the last run; none where the runtime refused every
    /// attempt. Together they are the marker by which a report that was made
    /// before is recognised.
    pub run: Option<RunId>,
}

/// What tells one run from every other, for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId {
    /// Its name.
    pub name: String,
    /// What tells it from an earlier run of that name.
    pub uid: String,
}

/// The three ways an item ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent exited with 0.
    Succeeded,
    /// No attempt succeeded, and there will be no further one.
    Failed,
    /// A person took the item back while its agent ran.
    Stopped,
}

impl End {
    const ALL: [(End, &'static str); 3] = [
        (End::Succeeded, "succeeded"),
        (End::Failed, "failed"),
        (End::Stopped, "stopped"),
    ];

    /// The word of an outcomes file.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(end, _)| *end == self)
            .map_or("", |(_, word)| word)
    }

    /// Reads such a word.
    #[must_use]
    pub fn of(word: &str) -> Option<End> {
        Self::ALL
            .iter()
            .find(|(_, w)| *w == word)
            .map(|(end, _)| *end)
    }
}
