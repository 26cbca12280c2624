//! Tickets of Jira, Cloud or Data Center.
//!
//! Polls, and looks tickets up. The ticket alone remembers; nothing of it is
//! kept here but what the last poll showed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use log::{debug, warn};
use serde_json::{json, value::RawValue};

use super::{
    Begun, Looked, Trouble,
    blockers::{self, Blocker},
};
use crate::{
    core::{Hold, Item, Standing},
    http::{Answer, Method},
};
use client::{Call, Client, NoAnswer};
use gone::Gone;
use issue::{FIELDS, Keep, Reading, Rules, Ticket, Wish};
use site::{Deployment, Site};
use tell::When;
use transition::Move;

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
mod tell;
pub mod transition;
pub mod wiki;

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
