//! Telling tickets: that an agent has started, and how it ended. A comment,
//! then a label, then a status.
//!
//! What is there already is not written again; what could not be written is
//! left to the next call.

use std::time::Duration;

use log::{error, warn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Begun, Jira, answer,
    client::Call,
    comments,
    issue::{Keep, Ticket, Wish},
    query,
    site::{Deployment, Site},
    transition::{self, Choice, Goal, Move, Transition},
};
use crate::{
    clock,
    core::{End, Outcome},
    http::{Answer, Method},
    report,
    source::{Trouble, lock},
};

/// How often a ticket whose end is told is tried to be moved that Jira does not
/// move just now.
const MOVES: u32 = 3;
/// How long a ticket has to be gone before its report is given up.
const GONE: Duration = Duration::from_secs(3600);

/// What a ticket is moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    Started,
    Succeeded,
    Failed,
}

impl Jira {
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
            None => report::Again::Wanting {
                closed: ticket.closed,
                label: Some(labels.wanted.as_str())
                    .filter(|_| rules.by_label && !labels.want(&ticket.labels)),
            },
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
                lock(&self.unmoved).remove(&(id.clone(), when));
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
        let mut unmoved = lock(&self.unmoved);
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
}
