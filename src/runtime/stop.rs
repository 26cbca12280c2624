//! The note on why a run was stopped, as a runtime keeps it in a file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    core::{Stop, StopCause},
    state,
};

/// What such a note holds.
#[derive(Debug, Deserialize, Serialize)]
pub struct StopFile {
    cause: String,
    why: String,
    at: String,
}

impl StopFile {
    /// What is written of a stop.
    #[must_use]
    pub fn of(stop: &Stop) -> StopFile {
        let cause = stop.cause.word().to_owned();
        StopFile {
            cause,
            why: stop.why.clone(),
            at: stop.at.to_string(),
        }
    }

    /// The stop it was made of; `None` if it holds something else.
    #[must_use]
    pub fn to_stop(&self) -> Option<Stop> {
        let cause = StopCause::of(&self.cause)?;
        Some(Stop {
            cause,
            why: self.why.clone(),
            at: self.at.parse().ok()?,
        })
    }

    /// Reads such a file; whatever is wrong with it, the note is lost.
    #[must_use]
    pub fn read(path: &Path) -> Option<Stop> {
        state::read_json::<StopFile>(path)
            .ok()
            .flatten()
            .and_then(|file| file.to_stop())
    }
}
