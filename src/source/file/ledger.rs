//! Where the outcomes of a work file are kept: in a file, or elsewhere as one
//! text with a version. The lines are the same.

use std::{collections::BTreeSet, path::PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::disk::{self, Print};
use crate::source::Trouble;

/// What a text elsewhere may hold: an object of Kubernetes has 1 MiB, and some
/// of it is not ours.
pub const ROOM: usize = 900 * 1024;

/// A text elsewhere that others may write, too.
pub trait Remote: Send {
    /// What tells the text from an earlier one; `None` if there is none.
    ///
    /// # Errors
    /// If that is not known.
    fn version(&self) -> Result<Option<String>, Trouble>;

    /// Version and text; `None` if there is none.
    ///
    /// # Errors
    /// If that is not known.
    fn read(&self) -> Result<Option<(String, String)>, Trouble>;

    /// Puts `text` in the place of that of `version`, or where there was none;
    /// gives back its version, or `None` if somebody else was faster.
    ///
    /// # Errors
    /// If it is not known to be there.
    fn write(&self, text: &str, version: Option<&str>) -> Result<Option<String>, Trouble>;
}

/// Where outcomes are kept.
pub enum Ledger {
    /// In this file.
    File(PathBuf),
    /// Elsewhere.
    Far(Far),
}

/// A text elsewhere, and what is known of it.
pub struct Far {
    name: String,
    remote: Box<dyn Remote>,
    /// Version and text as they were last seen.
    held: Option<(String, String)>,
}

/// What tells one state of a ledger from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Of a file that is there, or is not.
    File(Option<Print>),
    /// Of a text that is there, or is not.
    Far(Option<String>),
}

impl From<PathBuf> for Ledger {
    fn from(path: PathBuf) -> Ledger {
        Ledger::File(path)
    }
}

impl Ledger {
    /// A text elsewhere, called `name` in messages.
    #[must_use]
    pub fn far(name: String, remote: impl Remote + 'static) -> Ledger {
        Ledger::Far(Far {
            name,
            remote: Box::new(remote),
            held: None,
        })
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Ledger::File(path) => path.display().to_string(),
            Ledger::Far(far) => far.name.clone(),
        }
    }

    /// How it looks now.
    ///
    /// # Errors
    /// If that cannot be seen.
    pub fn look(&self) -> Result<Mark, Trouble> {
        match self {
            Ledger::File(path) => disk::look(path).map(Mark::File),
            Ledger::Far(far) => {
                let version = far.remote.version().map_err(|e| far.named(e))?;
                Ok(Mark::Far(version))
            }
        }
    }
}

impl Far {
    fn named(&self, trouble: Trouble) -> Trouble {
        let named = |why: String| format!("{}: {why}", self.name);
        match trouble {
            Trouble::Later(why, pause) => Trouble::Later(named(why), pause),
            Trouble::Item(why) => Trouble::Item(named(why)),
            Trouble::Everything(why) => Trouble::Everything(named(why)),
            Trouble::Refused(why) => Trouble::Refused(named(why)),
        }
    }

    /// The text, which is asked for only if its version is another than that
    /// of `mark`; with it comes its own.
    pub fn text(&mut self, mark: Option<&Mark>) -> Result<(&str, Mark), Trouble> {
        let known = |(version, _): &(String, String)| match mark {
            Some(Mark::Far(Some(now))) => now == version,
            Some(Mark::Far(None) | Mark::File(_)) => false,
            None => true,
        };
        if !self.held.as_ref().is_some_and(known) {
            self.held = self.remote.read().map_err(|e| self.named(e))?;
        }
        Ok(match &self.held {
            Some((version, text)) => (text, Mark::Far(Some(version.clone()))),
            None => ("", Mark::Far(None)),
        })
    }

    /// Puts `text` in the place of what was read last. False if somebody else
    /// was faster: read again.
    pub fn write(&mut self, text: String) -> Result<bool, Trouble> {
        let before = self.held.take();
        let version = before.as_ref().map(|(version, _)| version.as_str());
        let written = self.remote.write(&text, version);
        let written = written.map_err(|e| self.named(e))?;
        let done = written.is_some();
        self.held = written.map(|version| (version, text));
        Ok(done)
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    id: String,
    #[serde(borrow)]
    tail: &'a RawValue,
}

/// `text` with as little taken out as makes it fit into [`ROOM`]: first the
/// oldest tails, then the oldest outcomes of what is in no work file any more
/// (`wanted` are the ids of the work file, where they are known). What is left
/// may still be too much.
#[must_use]
pub fn fit(text: &str, wanted: Option<&BTreeSet<String>>) -> String {
    let mut over = text.len().saturating_sub(ROOM);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for line in &mut lines {
        if over == 0 {
            break;
        }
        if let Some(shorter) = without_tail(line) {
            over = over.saturating_sub(line.len() - shorter.len());
            *line = shorter;
        }
    }
    lines.retain(|line| {
        let read = || serde_json::from_slice::<Line>(line.as_bytes()).ok();
        let gone = |id: &str| wanted.is_some_and(|wanted| !wanted.contains(id));
        if over == 0 || !read().is_some_and(|read| gone(&read.id)) {
            return true;
        }
        over = over.saturating_sub(line.len());
        false
    });
    lines.concat()
}

/// The same line, its tail empty; `None` if it is, or cannot be read.
fn without_tail(line: &str) -> Option<String> {
    let read: Line = serde_json::from_slice(line.as_bytes()).ok()?;
    let tail = read.tail.get();
    if tail.len() <= 2 {
        return None;
    }
    // It is a part of the line.
    let at = tail.as_ptr().addr().checked_sub(line.as_ptr().addr())?;
    let (before, after) = (line.get(..at)?, line.get(at + tail.len()..)?);
    Some(format!("{before}\"\"{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: usize, tail: usize) -> String {
        let tail = "t".repeat(tail);
        format!("{{\"id\":\"A-{id}\",\"outcome\":\"failed\",\"tail\":\"{tail}\"}}\n")
    }

    fn lines(text: &str) -> Vec<(usize, usize)> {
        let of = |line: &str| {
            let read: serde_json::Value = serde_json::from_str(line).unwrap();
            let id = read["id"].as_str().unwrap()[2..].parse().unwrap();
            (id, read["tail"].as_str().unwrap().len())
        };
        text.lines().map(of).collect()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let text = line(1, 10) + "odd\n" + &line(2, 10);
        assert_eq!(fit(&text, Some(&BTreeSet::new())), text);
    }

    #[test]
    fn the_oldest_tails_go_first_and_no_more_than_has_to() {
        let text: String = (0..20).map(|id| line(id, 50_000)).collect();
        let fitted = fit(&text, Some(&BTreeSet::new()));
        assert!(fitted.len() <= ROOM);
        let expected: Vec<_> = (0..20)
            .map(|id| (id, if id < 2 { 0 } else { 50_000 }))
            .collect();
        assert_eq!(lines(&fitted), expected);
    }

    #[test]
    fn then_go_the_oldest_of_what_is_in_no_file_any_more() {
        let text: String = (0..25_000).map(|id| line(id, 5)).collect();
        let wanted = (0..25_000).step_by(2).map(|id| format!("A-{id}")).collect();
        let fitted = fit(&text, Some(&wanted));
        assert!(fitted.len() <= ROOM && fitted.len() > ROOM - 100);
        let left = lines(&fitted);
        assert!(left.iter().all(|(_, tail)| *tail == 0));
        assert_eq!(left.iter().filter(|(id, _)| id % 2 == 0).count(), 12_500);
        assert_eq!(left.last(), Some(&(24_999, 0)));
        // Nothing goes that may still be wanted.
        let all = fit(&text, None);
        assert_eq!(lines(&all).len(), 25_000);
        assert!(all.len() > ROOM);
    }
}
