//! Since when tickets are not there that something is to be told: in files, for
//! one pass of `--once` remembers nothing of the one before.
//!
//! Never decides how long is long enough.

use std::{io, path::PathBuf};

use crate::{core::Stamp, state};

/// A directory with a file for each such ticket.
#[derive(Debug)]
pub struct Gone {
    dir: PathBuf,
}

impl Gone {
    /// The notes in this directory; nothing is looked at or created.
    #[must_use]
    pub fn at(dir: PathBuf) -> Gone {
        Gone { dir }
    }

    /// Since when the ticket of this id, a number, is gone: noted as `now` the
    /// first time. What was noted before `from` is of another time.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn since(&self, id: &str, from: Stamp, now: Stamp) -> io::Result<Stamp> {
        let path = self.dir.join(id);
        let noted = match std::fs::read_to_string(&path) {
            Ok(text) => text.parse().ok(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if let Some(noted) = noted.filter(|noted| (from..=now).contains(noted)) {
            return Ok(noted);
        }
        state::create_dir(&self.dir)?;
        state::write_whole(&path, now.to_string().as_bytes())?;
        Ok(now)
    }

    /// The ticket is there, or nothing is to be told any more.
    pub fn forget(&self, id: &str) {
        // Mostly there is none; and one that stays is of another time.
        let _ = std::fs::remove_file(self.dir.join(id));
    }
}
