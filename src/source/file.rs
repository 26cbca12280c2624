//! A JSON file of items, and beside it a file of what became of them.
//!
//! Both are read anew at every poll unless nothing has touched them. Only
//! [`File::report`] writes, and only to the outcomes. Never touches the work
//! file, and decides nothing on half of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    core::{Item, Outcome, Stamp, Standing},
    report,
    source::{Trouble, repo::Repos},
};

mod disk;
pub mod entry;
#[cfg(test)]
pub(super) mod fuzz;
pub mod outcomes;
pub mod plan;

use disk::{Locked, Print};
use outcomes::Told;
use plan::Complaint;

/// The largest work file that is read.
const LIMIT: u64 = 64 << 20;

/// How long another writer of the outcomes is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A work file and its outcomes.
pub struct File {
    work: PathBuf,
    outcomes: PathBuf,
    repos: Repos,
    /// What was read last, if nothing is known to have changed since.
    seen: Option<Seen>,
    items: Vec<Item>,
    bad: usize,
    told: Told,
    /// How the outcomes looked when `told` was read from them.
    told_at: Option<Print>,
    about_work: Heard,
    about_outcomes: Heard,
}

/// Both files as they were when they were read, and when that was.
struct Seen {
    work: Print,
    outcomes: Option<Print>,
    at: Stamp,
}

impl File {
    /// A source that reads the items of `work` and appends to `outcomes`.
    /// Touches neither.
    #[must_use]
    pub fn new(work: PathBuf, outcomes: PathBuf, repos: Repos) -> File {
        File {
            work,
            outcomes,
            repos,
            seen: None,
            items: Vec::new(),
            bad: 0,
            told: Told::default(),
            told_at: None,
            about_work: Heard::default(),
            about_outcomes: Heard::default(),
        }
    }

    /// The entries that have not been told as they are now: highest priority
    /// first, then in the order of the file.
    ///
    /// # Errors
    /// *Everything* where a person has to do something: a file that is
    /// missing, too large, no regular file, or not ours to read. *Later* where
    /// the next poll may find it whole: a file that is broken, or changes
    /// under the reading.
    pub fn wanted(&mut self, now: Stamp) -> Result<Vec<Item>, Trouble> {
        self.refresh(now)?;
        Ok(self.items.clone())
    }

    /// What has become of these ids. An entry that is gone, told, or cannot be
    /// used any more is [`Standing::Gone`]: taking an entry out stops nothing.
    ///
    /// # Errors
    /// As of [`File::wanted`].
    pub fn look_up(
        &mut self,
        now: Stamp,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Standing>, Trouble> {
        self.refresh(now)?;
        let mut standings: BTreeMap<String, Standing> = ids
            .iter()
            .map(|id| ((*id).to_owned(), Standing::Gone))
            .collect();
        for item in &self.items {
            if let Some(standing) = standings.get_mut(&item.source_id) {
                *standing = Standing::Wanted(Box::new(item.clone()));
            }
        }
        Ok(standings)
    }

    /// Appends `outcome` to the outcomes, unless it stands there already. When
    /// this is back without an error, it is on the disk.
    ///
    /// # Errors
    /// Always *later*, with the path; the line is then taken for not written.
    pub fn report(&mut self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        self.tell(outcome, tail).map_err(|why| {
            // Whatever is there now is to be read before it is believed.
            self.seen = None;
            self.told_at = None;
            Trouble::Later(format!("{}: {why}", self.outcomes.display()), None)
        })
    }

    /// How many entries of the last whole reading could not be used.
    #[must_use]
    pub fn bad_entries(&self) -> usize {
        self.bad
    }

    fn refresh(&mut self, now: Stamp) -> Result<(), Trouble> {
        let missing = || {
            let path = self.work.display();
            Trouble::Everything(format!("{path}: there is no such work file"))
        };
        let work = disk::look(&self.work)?.ok_or_else(missing)?;
        let outcomes = disk::look(&self.outcomes)?;
        if let Some(seen) = &self.seen
            && (seen.work, seen.outcomes) == (work, outcomes)
            && work.settled(seen.at)
            && outcomes.is_none_or(|print| print.settled(seen.at))
        {
            return Ok(());
        }
        // Nothing of the last reading changes until all of this one is there.
        let (told, told_at, wrong) = self.read_outcomes(outcomes.is_some())?;
        let (mut file, work) = disk::open(&self.work)?.ok_or_else(missing)?;
        let bytes = disk::read(&self.work, &mut file, work, LIMIT)?;
        let plan = plan::plan(&bytes, &told, &self.repos)
            .map_err(|why| Trouble::Later(format!("{}: {why}", self.work.display()), None))?;
        self.about_outcomes.tell(&self.outcomes, wrong);
        self.about_work.tell(&self.work, plan.complaints);
        self.items = plan.items;
        self.bad = plan.bad;
        self.told = told;
        self.told_at = told_at;
        self.seen = Some(Seen {
            work,
            outcomes: told_at,
            at: now,
        });
        Ok(())
    }

    fn read_outcomes(
        &self,
        there: bool,
    ) -> Result<(Told, Option<Print>, BTreeSet<Complaint>), Trouble> {
        let path = &self.outcomes;
        let opened = match there {
            true => disk::open(path)?,
            false => None,
        };
        let Some((file, print)) = opened else {
            // Agents that work for hours should not find that out at the end.
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            if parent.is_some_and(|parent| !parent.is_dir()) {
                let text = format!("{}: its directory does not exist", path.display());
                return Err(Trouble::Everything(text));
            }
            return Ok((Told::default(), None, BTreeSet::new()));
        };
        let file = std::io::BufReader::with_capacity(1 << 16, file);
        let (told, wrong) = outcomes::read(file).map_err(|e| disk::trouble(path, &e))?;
        Ok((told, Some(print), complaints(wrong)))
    }

    fn tell(&mut self, outcome: &Outcome, tail: &str) -> Result<(), String> {
        let path = &self.outcomes;
        let file = Locked::open(path, PATIENCE)?;
        let said = |e: std::io::Error| e.to_string();
        let print = file.print().map_err(said)?;
        // Nobody appends without a change of size, so the same look is enough.
        if self.told_at != Some(print) {
            let (told, wrong) = outcomes::read(file.reader().map_err(said)?).map_err(said)?;
            self.about_outcomes.tell(path, complaints(wrong));
            self.told = told;
            self.told_at = Some(print);
            self.seen = None;
        }
        if self.told.knows(outcome) {
            return file.settle(path);
        }
        file.append(path, &report::line(outcome, tail))?;
        self.told.add(outcome);
        self.told_at = Some(file.print().map_err(said)?);
        self.seen = None;
        Ok(())
    }
}

/// Lines of the outcomes that cannot be read: nothing is left undone for them.
fn complaints(wrong: Vec<String>) -> BTreeSet<Complaint> {
    let warning = |text| Complaint {
        grave: false,
        id: None,
        text,
    };
    wrong.into_iter().map(warning).collect()
}

/// What has been said of a file, so that it is said once.
#[derive(Default)]
struct Heard(BTreeSet<Complaint>);

impl Heard {
    /// Logs what is new in `complaints`.
    fn tell(&mut self, path: &Path, complaints: BTreeSet<Complaint>) {
        for complaint in self.news(complaints) {
            let (path, text) = (path.display(), &complaint.text);
            let level = match complaint.grave {
                true => log::Level::Error,
                false => log::Level::Warn,
            };
            match complaint.id.as_deref() {
                Some(id) => log::log!(level, ticket_id = id; "{path}: {text}"),
                None => log::log!(level, "{path}: {text}"),
            }
        }
    }

    /// Those that were not there last time. One that went away and comes back
    /// is new again.
    fn news(&mut self, complaints: BTreeSet<Complaint>) -> Vec<Complaint> {
        let new = complaints.difference(&self.0).cloned().collect();
        self.0 = complaints;
        new
    }
}

#[cfg(test)]
mod tests;
