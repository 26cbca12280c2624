//! A JSON file of items, and beside it a file of what became of them.
//!
//! Both are read anew at every poll unless nothing has touched them. Only
//! [`File::report`] writes, and only to the outcomes, which may also be kept
//! elsewhere. Never touches the work
//! file, and decides nothing on half of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
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
pub mod ledger;
pub mod outcomes;
pub mod plan;

use disk::{Locked, Print};
use ledger::{Ledger, Mark, ROOM, fit};
use outcomes::Told;
use plan::Complaint;

/// The largest work file that is read.
const LIMIT: u64 = 64 << 20;

/// How long another writer of the outcomes is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a line is added to outcomes elsewhere before another writer is
/// let through.
const AT_ONCE: usize = 10;

/// How long outcomes elsewhere are not looked at while nothing else changes:
/// each look is a call. Before anything is started they are.
const IDLE: Duration = Duration::from_secs(10);

/// How much depends on a look.
#[derive(Clone, Copy)]
enum Look {
    /// A poll, of which the next one comes soon.
    Idly,
    /// Something is about to be started or concluded.
    Now,
}

/// A work file and its outcomes.
pub struct File {
    work: PathBuf,
    outcomes: Ledger,
    repos: Repos,
    /// What was read last, if nothing is known to have changed since.
    seen: Option<Seen>,
    items: Vec<Item>,
    bad: usize,
    told: Told,
    /// How the outcomes looked when `told` was read from them.
    told_at: Option<Mark>,
    /// All ids of the work file, once it was read and if somebody has to know.
    ids: Option<BTreeSet<String>>,
    /// Why nothing may be started, though it could be.
    full: bool,
    about_work: Heard,
    about_outcomes: Heard,
}

/// Both files as they were when they were read, and when that was.
struct Seen {
    work: Print,
    outcomes: Mark,
    at: Stamp,
    /// When the outcomes were last looked at.
    looked: Stamp,
}

impl File {
    /// A source that reads the items of `work` and appends to `outcomes`.
    /// Touches neither.
    #[must_use]
    pub fn new(work: PathBuf, outcomes: impl Into<Ledger>, repos: Repos) -> File {
        File {
            work,
            outcomes: outcomes.into(),
            repos,
            seen: None,
            items: Vec::new(),
            bad: 0,
            told: Told::default(),
            told_at: None,
            ids: None,
            full: false,
            about_work: Heard::default(),
            about_outcomes: Heard::default(),
        }
    }

    /// The entries that have not been told as they are now: highest priority
    /// first, then in the order of the file. None while there is no room for
    /// their outcomes.
    ///
    /// # Errors
    /// *Everything* where a person has to do something: a file that is
    /// missing, too large, no regular file, or not ours to read. *Later* where
    /// the next poll may find it whole: a file that is broken, or changes
    /// under the reading.
    pub fn wanted(&mut self, now: Stamp) -> Result<Vec<Item>, Trouble> {
        self.refresh(now, Look::Idly)?;
        Ok(match self.full {
            true => vec![],
            false => self.items.clone(),
        })
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
        self.refresh(now, Look::Now)?;
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

    /// The same, of those that are about to be started: none may be while there
    /// is no room for their outcomes.
    ///
    /// # Errors
    /// As of [`File::wanted`].
    pub fn fresh(
        &mut self,
        now: Stamp,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Standing>, Trouble> {
        let mut standings = self.look_up(now, ids)?;
        if self.full {
            standings.values_mut().for_each(|one| *one = Standing::Gone);
        }
        Ok(standings)
    }

    /// Appends `outcome` to the outcomes, unless it stands there already. When
    /// this is back without an error, it is on the disk.
    ///
    /// # Errors
    /// Always *later*, with the path; the line is then taken for not written.
    pub fn report(&mut self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        let told = self.tell(outcome, tail);
        if told.is_err() {
            // Whatever is there now is to be read before it is believed.
            self.seen = None;
            self.told_at = None;
        }
        told
    }

    /// How many entries of the last whole reading could not be used, or not be
    /// started for lack of room.
    #[must_use]
    pub fn bad_entries(&self) -> usize {
        match self.full {
            true => self.bad + self.items.len(),
            false => self.bad,
        }
    }

    fn refresh(&mut self, now: Stamp, look: Look) -> Result<(), Trouble> {
        let path = self.work.clone();
        let missing = || {
            let path = path.display();
            Trouble::Everything(format!("{path}: there is no such work file"))
        };
        let work = disk::look(&self.work)?.ok_or_else(missing)?;
        if let (Look::Idly, Ledger::Far(_), Some(seen)) = (look, &self.outcomes, &self.seen)
            && seen.work == work
            && work.settled(seen.at)
            && now < seen.looked.plus(IDLE)
        {
            return Ok(());
        }
        let outcomes = self.outcomes.look()?;
        if let Some(seen) = &mut self.seen
            && (seen.work, &seen.outcomes) == (work, &outcomes)
            && work.settled(seen.at)
            && match &outcomes {
                Mark::File(print) => print.is_none_or(|print| print.settled(seen.at)),
                Mark::Far(_) => true,
            }
        {
            seen.looked = now;
            return Ok(());
        }
        // Nothing of the last reading changes until all of this one is there.
        let (told, told_at, wrong) = self.read_outcomes(&outcomes)?;
        let (mut file, work) = disk::open(&self.work)?.ok_or_else(missing)?;
        let bytes = disk::read(&self.work, &mut file, work, LIMIT)?;
        let plan = plan::plan(&bytes, &told, &self.repos)
            .map_err(|why| Trouble::Later(format!("{}: {why}", self.work.display()), None))?;
        let mut complaints = complaints(wrong);
        self.full = match &mut self.outcomes {
            Ledger::File(_) => false,
            Ledger::Far(far) => {
                let size = fit(far.text(Some(&told_at))?.0, Some(&plan.ids)).len();
                self.ids = Some(plan.ids);
                complaints.extend((size > ROOM).then(no_room));
                size > ROOM
            }
        };
        self.about_outcomes.tell(&self.outcomes.name(), complaints);
        self.about_work
            .tell(&self.work.display().to_string(), plan.complaints);
        self.items = plan.items;
        self.bad = plan.bad;
        self.told = told;
        self.told_at = Some(told_at.clone());
        self.seen = Some(Seen {
            work,
            outcomes: told_at,
            at: now,
            looked: now,
        });
        Ok(())
    }

    fn read_outcomes(&mut self, mark: &Mark) -> Result<(Told, Mark, Vec<String>), Trouble> {
        let path = match &mut self.outcomes {
            Ledger::File(path) => path,
            Ledger::Far(far) => {
                let (text, mark) = far.text(Some(mark))?;
                // Reading from memory does not fail.
                let (told, wrong) = outcomes::read(text.as_bytes()).unwrap_or_default();
                return Ok((told, mark, wrong));
            }
        };
        let opened = match mark {
            Mark::File(Some(_)) => disk::open(path)?,
            Mark::File(None) | Mark::Far(_) => None,
        };
        let Some((file, print)) = opened else {
            // Agents that work for hours should not find that out at the end.
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            if parent.is_some_and(|parent| !parent.is_dir()) {
                let text = format!("{}: its directory does not exist", path.display());
                return Err(Trouble::Everything(text));
            }
            return Ok((Told::default(), Mark::File(None), vec![]));
        };
        let file = std::io::BufReader::with_capacity(1 << 16, file);
        let (told, wrong) = outcomes::read(file).map_err(|e| disk::trouble(path, &e))?;
        Ok((told, Mark::File(Some(print)), wrong))
    }

    fn tell(&mut self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        let line = report::line(outcome, tail);
        if let Ledger::Far(_) = self.outcomes {
            return self.tell_far(outcome, &line);
        }
        let name = self.outcomes.name();
        self.tell_file(outcome, &line)
            .map_err(|why| Trouble::Later(format!("{name}: {why}"), None))
    }

    fn tell_file(&mut self, outcome: &Outcome, line: &str) -> Result<(), String> {
        let Ledger::File(path) = &self.outcomes else {
            return Ok(());
        };
        let file = Locked::open(path, PATIENCE)?;
        let said = |e: std::io::Error| e.to_string();
        let mark = Some(Mark::File(Some(file.print().map_err(said)?)));
        // Nobody appends without a change of size, so the same look is enough.
        if self.told_at != mark {
            let (told, wrong) = outcomes::read(file.reader().map_err(said)?).map_err(said)?;
            self.about_outcomes
                .tell(&self.outcomes.name(), complaints(wrong));
            self.told = told;
            self.told_at = mark;
            self.seen = None;
        }
        if self.told.knows(outcome) {
            return file.settle(path);
        }
        file.append(path, line)?;
        self.told.add(outcome);
        self.told_at = Some(Mark::File(Some(file.print().map_err(said)?)));
        self.seen = None;
        Ok(())
    }

    /// Adds a line to what is there, whoever else writes to it at the same time.
    fn tell_far(&mut self, outcome: &Outcome, line: &str) -> Result<(), Trouble> {
        let Ledger::Far(far) = &mut self.outcomes else {
            return Ok(());
        };
        self.seen = None;
        for _ in 0..AT_ONCE {
            let (text, mark) = far.text(None)?;
            if self.told_at.as_ref() != Some(&mark) {
                // Reading from memory does not fail.
                (self.told, _) = outcomes::read(text.as_bytes()).unwrap_or_default();
                self.told_at = Some(mark);
            }
            if self.told.knows(outcome) {
                return Ok(());
            }
            let end = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            let text = fit(&format!("{text}{end}{line}\n"), self.ids.as_ref());
            if far.write(text)? {
                self.told.add(outcome);
                self.told_at = Some(far.text(None)?.1);
                return Ok(());
            }
        }
        Err(Trouble::Later(
            format!("{}: others write to it all the time", self.outcomes.name()),
            None,
        ))
    }
}

fn no_room() -> Complaint {
    Complaint {
        grave: true,
        id: None,
        text: format!(
            "more than {} KiB of outcomes: nothing more is started; give --outcomes a file on a \
             volume, or take entries that are done out of the work file",
            ROOM / 1024
        ),
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
    fn tell(&mut self, path: &str, complaints: BTreeSet<Complaint>) {
        for complaint in self.news(complaints) {
            let text = &complaint.text;
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
