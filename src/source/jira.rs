//! Tickets of Jira, Cloud or Data Center.
//!
//! Polls, looks tickets up, and writes to them what became of their runs: a
//! comment, a label, a status. The ticket alone remembers; nothing of it is
//! kept here but what the last poll showed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use log::{debug, error, warn};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    Begun, Looked, Trouble,
    blockers::{self, Blocker},
};
use crate::{
    clock,
    core::{End, Hold, Item, Outcome, Standing},
    http::{Answer, Method},
    report,
};
use client::{Call, Client, NoAnswer};
use gone::Gone;
use issue::{FIELDS, Keep, Reading, Rules, Ticket, Wish};
use site::{Deployment, Site};
use transition::{Choice, Goal, Move, Transition};

pub mod adf;
mod answer;
pub mod client;
mod comments;
pub mod gone;
pub mod issue;
mod markdown;
pub mod query;
pub mod repository;
mod search;
pub mod site;
pub mod transition;
pub mod wiki;

/// How often a ticket whose end is told is tried to be moved that Jira does not
/// move just now.
const MOVES: u32 = 3;
/// How long a ticket has to be gone before its report is given up.
const GONE: Duration = Duration::from_secs(3600);
/// Tickets that are looked up with one call.
const BATCH: usize = 50;

/// What the command line says about Jira, beside how it is reached.
#[derive(Debug)]
pub struct Settings {
    /// How tickets are read.
    pub rules: Rules,
    /// The query of a poll.
    pub jql: String,
    /// Where a ticket goes when its agent starts.
    pub start: Move,
    /// Where it goes when its agent succeeded.
    pub done: Move,
    /// Where it goes when its agents failed.
    pub failed: Move,
    /// Since when tickets are gone that something is to be told.
    pub gone: Gone,
    /// The program makes one pass and forgets everything.
    pub forgets: bool,
}

/// What a ticket is moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Started,
    Succeeded,
    Failed,
}

/// The tickets of one Jira.
pub struct Jira {
    client: Client,
    settings: Settings,
    /// What a page may hold: less after one that was too large.
    page: Mutex<usize>,
    /// Tickets whose look-up broke off, by id.
    broke: Mutex<BTreeSet<String>>,
    /// How often tickets could not be moved, by id.
    unmoved: Mutex<BTreeMap<(String, When), u32>>,
    /// How many tickets of the last poll cannot be used.
    unusable: Mutex<usize>,
    /// What has been said of polls.
    said: Mutex<BTreeSet<String>>,
}

impl Jira {
    /// The tickets that `settings` ask for; nothing is asked yet.
    #[must_use]
    pub fn new(client: Client, settings: Settings) -> Jira {
        Jira {
            client,
            settings,
            page: Mutex::new(search::PAGE),
            broke: Mutex::default(),
            unmoved: Mutex::default(),
            unusable: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// The tickets that ask for an agent, in the order of the query, without
    /// their descriptions.
    ///
    /// # Errors
    /// If Jira cannot be read to the end, or refuses the credentials: an
    /// answer to nobody in particular is never an empty one.
    pub fn wanted(&self) -> Result<Vec<Item>, Trouble> {
        let site = self.client.site()?;
        let reading = reading(&site);
        let rules = &self.settings.rules;
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut notes = BTreeSet::new();
        let mut unusable = 0;
        let mut page = *super::lock(&self.page);
        let search = search::Search {
            client: &self.client,
            deployment: site.deployment,
            jql: &self.settings.jql,
        };
        let walked = search.walk(&mut page, |raw| {
            match issue::read(raw, rules, &reading, Keep::Outline) {
                Ok(ticket) if ticket.wish(rules) == Wish::Wanted => tickets.push(ticket),
                Ok(_) => {}
                Err(why) => {
                    unusable += 1;
                    notes.insert(format!("jira shows {why}; it is left out"));
                }
            }
        });
        *super::lock(&self.page) = page;
        let missing = walked?;
        notes.extend(missing.notes);
        *super::lock(&self.unusable) = unusable + missing.too_large;
        self.say(notes);
        Ok(items(tickets))
    }

    /// What has become of these tickets.
    #[must_use]
    pub fn look_up(&self, ids: &[&str]) -> Looked {
        let site = match self.client.site() {
            Ok(site) => site,
            Err(trouble) => return Looked::of(Err(trouble)),
        };
        let mut looked = Looked::default();
        for batch in ids.chunks(BATCH) {
            match self.read_batch(&site, batch) {
                Ok(tickets) => looked.standings.extend(tickets.into_iter().map(|ticket| {
                    let id = ticket.item.source_id.clone();
                    (id, self.standing(ticket))
                })),
                Err(trouble) => {
                    looked.trouble = Some(trouble);
                    return looked;
                }
            }
        }
        // What a batch does not show may be there all the same: its index lags.
        let missing = ids.iter().filter(|id| !looked.standings.contains_key(**id));
        let missing: Vec<&str> = missing.copied().collect();
        self.each(&missing, looked, |id| {
            let ticket = self.read(&site, id, Keep::Outline)?;
            Ok(ticket.map_or(Standing::Gone, |ticket| self.standing(ticket)))
        })
    }

    /// These tickets as they are now, whole.
    #[must_use]
    pub fn fresh(&self, ids: &[&str]) -> Looked {
        let site = match self.client.site() {
            Ok(site) => site,
            Err(trouble) => return Looked::of(Err(trouble)),
        };
        self.each(ids, Looked::default(), |id| {
            let Some(mut ticket) = self.read(&site, id, Keep::Whole)? else {
                debug!("the ticket of id {id} is listed and not there any more");
                return Ok(Standing::Gone);
            };
            if ticket.wish(&self.settings.rules) == Wish::Wanted {
                let comments = self.comments_for_agent(&site, id)?;
                ticket
                    .item
                    .facts
                    .push(("RECAC_ITEM_COMMENTS".to_owned(), comments));
                hold(&mut ticket);
            }
            Ok(self.standing(ticket))
        })
    }

    /// Looks at each of these tickets with `look`, and ends early only where
    /// Jira as a whole cannot be asked any more, which two in a row without an
    /// answer show as well. Those are the last in the next look, so that the
    /// others have their turn.
    fn each(
        &self,
        ids: &[&str],
        mut looked: Looked,
        look: impl Fn(&str) -> Result<Standing, Trouble>,
    ) -> Looked {
        let mut ids = ids.to_vec();
        ids.sort_by_cached_key(|id| super::lock(&self.broke).contains(*id));
        let mut in_a_row = 0;
        for (at, id) in ids.iter().enumerate() {
            let trouble = match look(id) {
                Ok(standing) => {
                    in_a_row = 0;
                    super::lock(&self.broke).remove(*id);
                    looked.standings.insert((*id).to_owned(), standing);
                    continue;
                }
                Err(trouble) => trouble,
            };
            if matches!(trouble, Trouble::Later(_, None)) {
                in_a_row += 1;
                super::lock(&self.broke).insert((*id).to_owned());
            }
            let lasting = matches!(trouble, Trouble::Everything(_) | Trouble::Refused(_));
            if lasting || !self.client.is_open() {
                looked.trouble = Some(trouble);
                return looked;
            }
            let unread = trouble.to_string();
            looked.unread.insert((*id).to_owned(), unread.clone());
            if in_a_row == 2 {
                let rest = ids[at..].iter();
                let rest = rest.map(|id| ((*id).to_owned(), unread.clone()));
                looked.unread.extend(rest);
                return looked;
            }
        }
        looked
    }

    /// How many tickets of the last poll cannot be used and were left out of
    /// [`Jira::wanted`].
    #[must_use]
    pub fn unusable(&self) -> usize {
        *super::lock(&self.unusable)
    }

    /// Whether tickets are moved when their agents start.
    #[must_use]
    pub fn hears_of_starts(&self) -> bool {
        self.settings.start != Move::None
    }

    /// Moves a ticket to where one goes whose agent starts.
    ///
    /// # Errors
    /// [`Trouble::Item`] if that is refused; anything else may be tried again.
    pub fn started(&self, id: &str, begun: Begun) -> Result<(), Trouble> {
        let site = self.client.site()?;
        let ticket = self.read(&site, id, Keep::Outline)?;
        let ticket = ticket.ok_or_else(|| Trouble::Item("the ticket is gone".to_owned()))?;
        let to_do = ticket.category == "new";
        let moved = match &self.settings.start {
            Move::None => return Ok(()),
            // A run that was found may be old, and its ticket moved on.
            Move::Auto if !to_do => return Ok(()),
            Move::To(_) if begun == Begun::Before && !to_do => return Ok(()),
            Move::Auto => self.transit(&ticket, Goal::Category("indeterminate"), When::Started)?,
            Move::To(name) => self.transit(&ticket, Goal::Name(name), When::Started)?,
        };
        moved.map_err(Trouble::Item)
    }

    /// Tells a ticket how it ended: a comment, then a label, then a status.
    /// What was told before is not told again.
    ///
    /// # Errors
    /// If any of it could not be told for certain.
    pub fn report(&self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        let id = &outcome.source_id;
        let site = self.client.site()?;
        let Some(ticket) = self.read(&site, id, Keep::Outline)? else {
            return self.report_to_nobody(outcome, tail);
        };
        self.settings.gone.forget(id);
        let rules = &self.settings.rules;
        let labels = &rules.labels;
        let label = match outcome.end {
            End::Succeeded => Some(&labels.done),
            // Reopened, or labelled again, it is wanted again.
            End::Failed if matches!(ticket.wish(rules), Wish::Withdrawn(_)) => None,
            End::Failed => Some(&labels.failed),
            End::Stopped => None,
        };
        let again = match label {
            Some(label) => report::Again::Without(label),
            None if rules.by_label => report::Again::With(&labels.wanted),
            None => report::Again::Open,
        };
        let comment = report::Comment::of(outcome, tail, again);
        if !self.is_told(&site, id, &comment.marker)? {
            let body = match site.deployment {
                Deployment::Cloud => json!({"body": comment.to_adf()}),
                Deployment::DataCenter => json!({"body": comment.to_wiki()}),
            };
            let path = format!("/issue/{id}/comment");
            let answer = self
                .client
                .call(&Call::with(Method::Post, &path, &body).about(id))?;
            self.expect(&answer, &[201, 200], "the comment")?;
        }
        let Some(label) = label else { return Ok(()) };
        if !query::has(&ticket.labels, label) {
            let body = json!({"update": {"labels": [{"add": label}]}});
            let path = format!("/issue/{id}");
            let answer = self
                .client
                .call(&Call::with(Method::Put, &path, &body).about(id))?;
            self.expect(&answer, &[204, 200], &format!("the label {label}"))?;
        }
        let (to, when) = match outcome.end {
            End::Succeeded => (&self.settings.done, When::Succeeded),
            End::Failed | End::Stopped => (&self.settings.failed, When::Failed),
        };
        let goal = match to {
            Move::None => return Ok(()),
            Move::Auto => Goal::Category("done"),
            Move::To(name) => Goal::Name(name),
        };
        if let Err(why) = self.transit(&ticket, goal, when)? {
            warn!(ticket_id = outcome.item_id; "its status is not changed: {why}");
        }
        Ok(())
    }

    /// A report whose ticket is not there: kept for an hour, for it may be
    /// hidden and no more; then the log is all there is left to tell.
    fn report_to_nobody(&self, outcome: &Outcome, tail: &str) -> Result<(), Trouble> {
        let now = clock::now();
        let id = &outcome.source_id;
        let gone = &self.settings.gone;
        let since = gone
            .since(id, outcome.finished.min(now), now)
            .map_err(|e| {
                let why = format!("the ticket is gone, and since when cannot be noted: {e}");
                Trouble::Later(why, None)
            })?;
        if now.since(since) < GONE {
            let why = "the ticket is gone or not visible (status 404)".to_owned();
            return Err(Trouble::Later(why, None));
        }
        gone.forget(id);
        error!(ticket_id = outcome.item_id;
            "the ticket is gone, so this is told here and nowhere else: {}",
            report::line(outcome, tail));
        Ok(())
    }

    fn standing(&self, ticket: Ticket) -> Standing {
        match ticket.wish(&self.settings.rules) {
            Wish::Wanted => Standing::Wanted(Box::new(ticket.item)),
            Wish::Withdrawn(why) => Standing::Withdrawn(why),
            Wish::Told => Standing::Gone,
        }
    }

    /// One ticket as it is now; `None` if it is not there, or nobody may see
    /// it.
    fn read(&self, site: &Site, id: &str, keep: Keep) -> Result<Option<Ticket>, Trouble> {
        if !issue::is_id(id) {
            return Ok(None);
        }
        let path = format!("/issue/{id}?fields={}", FIELDS.join(","));
        let answer = self.client.call(&Call::get(&path).about(id))?;
        match answer.status {
            200 => {}
            404 | 410 => {
                self.client.knows_us(&answer)?;
                return Ok(None);
            }
            _ => return Err(self.of_item(&answer, id)),
        }
        let text = String::from_utf8_lossy(&answer.body);
        let ticket = issue::read(&text, &self.settings.rules, &reading(site), keep);
        ticket.map(Some).map_err(Trouble::Item)
    }

    /// Those of these tickets that Jira shows together.
    fn read_batch(&self, site: &Site, ids: &[&str]) -> Result<Vec<Ticket>, Trouble> {
        let ids: Vec<&str> = ids.iter().copied().filter(|id| issue::is_id(id)).collect();
        if ids.len() < 2 {
            return Ok(vec![]);
        }
        let (path, body) = match site.deployment {
            Deployment::Cloud => {
                let body = json!({"issueIdsOrKeys": ids, "fields": FIELDS});
                ("/issue/bulkfetch", body)
            }
            Deployment::DataCenter => {
                let jql = format!("id in ({})", ids.join(", "));
                // One that is gone must not spoil the others.
                let body = json!({"jql": jql, "fields": FIELDS, "maxResults": ids.len(),
                    "startAt": 0, "validateQuery": false});
                ("/search", body)
            }
        };
        let answer = self.client.call(&Call::with(Method::Post, path, &body))?;
        if answer.status != 200 {
            // Each of them is then read by itself.
            return Ok(vec![]);
        }
        self.client.knows_us(&answer)?;
        let page: search::Page<'_> = match serde_json::from_slice(&answer.body) {
            Ok(page) => page,
            Err(_) => return Ok(vec![]),
        };
        let (rules, reading) = (&self.settings.rules, reading(site));
        let read = |raw: &&RawValue| issue::read(raw.get(), rules, &reading, Keep::Outline).ok();
        let tickets = page.issues.iter().filter_map(read);
        Ok(tickets
            .filter(|t| ids.contains(&t.item.source_id.as_str()))
            .collect())
    }

    fn comments_for_agent(&self, site: &Site, id: &str) -> Result<String, Trouble> {
        let answers = match self.newest_comments(site, id, comments::SHOWN) {
            Ok(answers) => answers,
            Err(NoAnswer::TooLarge) => {
                debug!("the comments of the ticket of id {id} are too large");
                return Ok(String::new());
            }
            Err(no) => return Err(no.into()),
        };
        // The agent can work without.
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            debug!(
                "the comments of the ticket of id {id}: {}",
                answer::words(answer)
            );
        }
        let newest = answers.iter().rfind(|answer| answer.status == 200);
        Ok(newest.map_or_else(String::new, |answer| {
            comments::markdown(&answer.body, site.deployment)
        }))
    }

    /// Whether one of the newest comments carries this marker.
    fn is_told(&self, site: &Site, id: &str, marker: &str) -> Result<bool, Trouble> {
        let mut found = false;
        for answer in self.newest_comments(site, id, 100)? {
            self.expect(&answer, &[200], "its comments")?;
            found |= comments::marked(&answer.body, marker)
                .map_err(|why| Trouble::Later(format!("jira: its comments: {why}"), None))?;
        }
        Ok(found)
    }

    /// The newest comments, at most so many. Of a server that does not sort
    /// them the last answer is what is meant, and what it gave first stands
    /// before it.
    fn newest_comments(&self, site: &Site, id: &str, most: usize) -> Result<Vec<Answer>, NoAnswer> {
        let page = |from: usize| {
            let path =
                format!("/issue/{id}/comment?startAt={from}&maxResults={most}&orderBy=-created");
            self.client.call(&Call::get(&path).about(id))
        };
        let mut answers = vec![page(0)?];
        if site.deployment == Deployment::DataCenter
            && let Some(total) = comments::unsorted(&answers[0].body)
        {
            answers.push(page(total.saturating_sub(most))?);
        }
        Ok(answers)
    }

    /// Moves a ticket, unless it is there. What is refused for good is the
    /// inner error.
    fn transit(
        &self,
        ticket: &Ticket,
        goal: Goal<'_>,
        when: When,
    ) -> Result<Result<(), String>, Trouble> {
        let id = &ticket.item.source_id;
        let there = match goal {
            Goal::Name(name) => name.to_lowercase() == ticket.status.to_lowercase(),
            Goal::Category(key) => ticket.category == key,
        };
        if there {
            return Ok(Ok(()));
        }
        let path = format!("/issue/{id}/transitions?expand=transitions.fields");
        let answer = self.client.call(&Call::get(&path).about(id))?;
        match answer.status {
            200 => {}
            408 | 409 | 425 | 500.. => return self.unmoved(ticket, when, &answer),
            _ => return Ok(Err(answer::words(&answer))),
        }
        #[derive(Deserialize)]
        struct Offered {
            #[serde(default)]
            transitions: Vec<Value>,
        }
        let offered: Offered = match serde_json::from_slice(&answer.body) {
            Ok(offered) => offered,
            Err(_) => return Ok(Err("its transitions cannot be read".to_owned())),
        };
        let offered = offered.transitions.into_iter();
        let offered: Vec<Transition> = offered
            .filter_map(|one| serde_json::from_value(one).ok())
            .collect();
        let choice = match transition::choose(&offered, goal, when != When::Failed) {
            Ok(choice) => choice,
            Err(why) => return Ok(Err(why)),
        };
        let answer = self.make(id, &choice, true)?;
        // A screen may list a field that it does not take.
        let answer = match answer.status {
            400 if !choice.fields.is_empty() => self.make(id, &choice, false)?,
            _ => answer,
        };
        match answer.status {
            200 | 204 => {
                super::lock(&self.unmoved).remove(&(id.clone(), when));
                Ok(Ok(()))
            }
            400 | 403 | 404 | 413 | 422 => Ok(Err(answer::words(&answer))),
            // 500 is also what Data Center says to a transition that is gone.
            _ => self.unmoved(ticket, when, &answer),
        }
    }

    /// An answer that may be another one next time. At a start it is waited
    /// for as long as the agent runs; at an end not for long: without its
    /// status a ticket has been told all the same.
    fn unmoved(
        &self,
        ticket: &Ticket,
        when: When,
        answer: &Answer,
    ) -> Result<Result<(), String>, Trouble> {
        let key = (ticket.item.source_id.clone(), when);
        let mut unmoved = super::lock(&self.unmoved);
        let times = unmoved.entry(key.clone()).or_default();
        *times = times.saturating_add(1);
        if self.settings.forgets || *times >= MOVES && when != When::Started {
            unmoved.remove(&key);
            return Ok(Err(answer::words(answer)));
        }
        let later = self.client.later(answer, "a transition");
        if *times == MOVES {
            warn!(ticket_id = ticket.item.id; "its start is not shown yet: {later}");
        }
        Err(later)
    }

    fn make(&self, id: &str, choice: &Choice, with_fields: bool) -> Result<Answer, Trouble> {
        let body = choice.body(with_fields);
        let path = format!("/issue/{id}/transitions");
        Ok(self
            .client
            .call(&Call::with(Method::Post, &path, &body).about(id))?)
    }

    fn expect(&self, answer: &Answer, good: &[u16], what: &str) -> Result<(), Trouble> {
        match good.contains(&answer.status) {
            true => Ok(()),
            false => Err(self.client.later(answer, what)),
        }
    }

    /// An answer about one ticket that is none.
    fn of_item(&self, answer: &Answer, id: &str) -> Trouble {
        match self.client.later(answer, &format!("the ticket of id {id}")) {
            Trouble::Later(why, None) => Trouble::Item(why),
            trouble @ (Trouble::Later(..)
            | Trouble::Item(_)
            | Trouble::Everything(_)
            | Trouble::Refused(_)) => trouble,
        }
    }

    /// Logs what is new about a poll.
    fn say(&self, notes: BTreeSet<String>) {
        let mut said = super::lock(&self.said);
        for note in notes.difference(&said) {
            warn!("{note}");
        }
        *said = notes;
    }
}

fn reading(site: &Site) -> Reading {
    Reading {
        deployment: site.deployment,
        browse: site.browse.clone(),
    }
}

/// Those that can start, and why the others cannot yet.
fn items(tickets: Vec<Ticket>) -> Vec<Item> {
    let places: BTreeMap<&str, usize> = tickets
        .iter()
        .enumerate()
        .map(|(place, ticket)| (ticket.item.source_id.as_str(), place))
        .collect();
    let keys: BTreeMap<&str, &str> = tickets
        .iter()
        .flat_map(|ticket| &ticket.blockers)
        .map(|(id, key)| (key.as_str(), id.as_str()))
        .collect();
    let by: Vec<Vec<String>> = tickets
        .iter()
        .map(|ticket| ticket.blockers.iter().map(|(_, key)| key.clone()).collect())
        .collect();
    let wanted: Vec<(&str, &[String])> = tickets
        .iter()
        .zip(&by)
        .map(|(ticket, by)| (ticket.item.id.as_str(), by.as_slice()))
        .collect();
    let holds = blockers::holds(&wanted, |key| {
        let place = keys.get(key).and_then(|id| places.get(id));
        place.map_or(Blocker::Elsewhere, |place| Blocker::Open(*place))
    });
    tickets
        .into_iter()
        .zip(holds)
        .map(|(ticket, hold)| {
            let mut item = ticket.item;
            item.hold = item.hold.or(hold);
            item
        })
        .collect()
}

/// The hold of a ticket that is looked at by itself.
fn hold(ticket: &mut Ticket) {
    if ticket.item.hold.is_none() && !ticket.blockers.is_empty() {
        let keys = ticket.blockers.iter().map(|(_, key)| key.clone());
        ticket.item.hold = Some(Hold::Blocked(keys.collect()));
    }
}
