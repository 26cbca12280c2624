//! Walking through the pages of a search, to its end and never in a circle.

use std::{borrow::Cow, collections::BTreeSet};

use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{json, value::RawValue};

use super::{
    client::{Call, Client, NoAnswer},
    issue::FIELDS,
    site::{self, Deployment, Identity},
};
use crate::{
    http::{Answer, Method},
    source::Trouble,
};

/// Tickets that a page is asked for.
pub const PAGE: usize = 100;
/// Tickets that one poll looks at: as many as Data Center can page through
/// (`index.max_result_window`).
const MOST: usize = 10_000;
/// Pages in a row that may show nothing new.
const NOTHING_NEW: usize = 10;

/// A search.
pub struct Search<'a> {
    /// Whom to ask.
    pub client: &'a Client,
    /// Which of the two ways of paging it has.
    pub deployment: Deployment,
    /// What to ask.
    pub jql: &'a str,
}

/// A page of either kind; each ticket as its text.
#[derive(Deserialize)]
pub struct Page<'a> {
    /// The tickets.
    #[serde(borrow)]
    pub issues: Vec<&'a RawValue>,
    #[serde(rename = "nextPageToken", default)]
    next: Option<String>,
    #[serde(rename = "isLast", default)]
    is_last: Option<bool>,
    #[serde(default)]
    total: Option<usize>,
}

/// What a walk did not give.
#[derive(Debug, Default)]
pub struct Missing {
    /// What a person should hear.
    pub notes: Vec<String>,
    /// Tickets that are too large to be read.
    pub too_large: usize,
}

/// How far the walk has come.
#[derive(Default)]
struct Walk {
    /// How the last page said whom it was for.
    identity: Option<Identity>,
    seen: BTreeSet<String>,
    tokens: BTreeSet<String>,
    token: Option<String>,
    nothing_new: usize,
}

/// What comes after a page.
enum Next {
    Page,
    End,
    /// A page that was there already: what is behind it cannot be had.
    Circle,
    /// Here, though there may be more; says why.
    Stop(String),
}

impl Search<'_> {
    /// Gives every ticket once, in order. `page` is what a page may hold; it
    /// shrinks when one is too large.
    ///
    /// # Errors
    /// If a page cannot be had: what was given so far is then not all.
    pub fn walk(&self, page: &mut usize, mut each: impl FnMut(&str)) -> Result<Missing, Trouble> {
        let mut walk = Walk::default();
        let mut missing = Missing::default();
        // Whether the next ticket alone is too large, and only named.
        let mut bare = false;
        loop {
            let fields = if bare { &["key"][..] } else { &FIELDS[..] };
            let answer = match self.ask(&walk, *page, fields) {
                Ok(answer) => answer,
                Err(NoAnswer::TooLarge) if *page > 1 => {
                    *page = (*page / 4).max(1);
                    continue;
                }
                Err(NoAnswer::TooLarge) if !bare => {
                    bare = true;
                    continue;
                }
                Err(no) => return Err(no.into()),
            };
            match answer.status {
                200 => {}
                403 => return Err(self.client.refused_by(&answer)),
                400 => {
                    let later = self.client.later(&answer, "the search");
                    let query = self.jql;
                    return Err(Trouble::Everything(format!("{later} (query: {query})")));
                }
                404 | 410 => {
                    let later = self.client.later(&answer, "the search");
                    let advice = "is it the other kind of Jira? see --jira-deployment";
                    return Err(Trouble::Everything(format!("{later}; {advice}")));
                }
                _ => return Err(self.client.later(&answer, "the search")),
            }
            let page: Page<'_> = serde_json::from_slice(&answer.body)
                .map_err(|_| self.client.nonsense(&answer, "the search"))?;
            // One page of a walk is answered as the other.
            let identity = site::identity(&answer);
            if walk.identity != Some(identity) {
                self.client.was_let_in(&answer)?;
                self.client.accepted();
                walk.identity = Some(identity);
            }
            let from = walk.seen.len();
            for raw in &page.issues {
                if walk.seen.len() < MOST && walk.seen.insert(id_of(raw)) {
                    match bare {
                        true => {
                            missing.too_large += 1;
                            let note = format!("{} is too large, and left out", key_of(raw));
                            missing.notes.push(note);
                        }
                        false => each(raw.get()),
                    }
                }
            }
            bare = false;
            let new = walk.seen.len() - from;
            match walk.next(&page, from, new, self.deployment) {
                Next::Page => {}
                Next::End => return Ok(missing),
                Next::Circle => {
                    let why = "jira: the search leads in a circle: a page that was there already \
                               comes next";
                    return Err(Trouble::Later(why.to_owned(), None));
                }
                Next::Stop(why) => {
                    missing.notes.push(format!("jira: the search {why}"));
                    return Ok(missing);
                }
            }
        }
    }

    fn ask(&self, walk: &Walk, page: usize, fields: &[&str]) -> Result<Answer, NoAnswer> {
        let mut body = json!({"jql": self.jql, "maxResults": page, "fields": fields});
        let path = match self.deployment {
            Deployment::Cloud => {
                if let Some(token) = &walk.token {
                    body["nextPageToken"] = json!(token);
                }
                "/search/jql"
            }
            Deployment::DataCenter => {
                // Not by the size of pages: one that comes twice would hide one.
                body["startAt"] = json!(walk.seen.len());
                "/search"
            }
        };
        self.client.call(&Call::with(Method::Post, path, &body))
    }
}

impl Walk {
    /// Never decides by the size of a page: short ones are lawful.
    fn next(&mut self, page: &Page<'_>, from: usize, new: usize, deployment: Deployment) -> Next {
        self.nothing_new = match new {
            0 => self.nothing_new + 1,
            _ => 0,
        };
        let more = match deployment {
            Deployment::Cloud => {
                let token = page.next.clone().filter(|token| !token.is_empty());
                let token = token.filter(|_| page.is_last != Some(true));
                let known = token
                    .as_ref()
                    .is_some_and(|t| !self.tokens.insert(t.clone()));
                if known {
                    return Next::Circle;
                }
                self.token = token;
                self.token.is_some()
            }
            Deployment::DataCenter => {
                let to = from + page.issues.len();
                let at_end = page.total.is_some_and(|total| to >= total);
                // What was to be the last page may have been another one.
                !page.issues.is_empty() && !(at_end && (new > 0 || self.nothing_new > 1))
            }
        };
        if !more {
            return Next::End;
        }
        if self.seen.len() >= MOST {
            return Next::Stop(format!(
                "finds more than {MOST} tickets; only those that come first are looked at"
            ));
        }
        if self.nothing_new >= NOTHING_NEW {
            return Next::Stop("shows nothing new any more; what it showed so far is used".into());
        }
        Next::Page
    }
}

/// What people call a ticket.
fn key_of(raw: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Key {
        key: String,
    }
    let key: Result<Key, _> = serde_json::from_str(raw.get());
    key.map_or_else(
        |_| "a ticket".to_owned(),
        |key| format!("ticket {:?}", key.key),
    )
}

/// What tells a ticket from the others; its whole text where it has no id.
fn id_of(raw: &RawValue) -> String {
    let mut id = None;
    // What stands behind it is not read, which is no success.
    let _ = serde_json::Deserializer::from_str(raw.get()).deserialize_map(Id(&mut id));
    id.unwrap_or_else(|| raw.get().to_owned())
}

/// Reads as far as the id, which mostly is one of the first.
struct Id<'i>(&'i mut Option<String>);

impl<'de> Visitor<'de> for Id<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a ticket")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "id" {
                let id: &RawValue = map.next_value()?;
                *self.0 = Some(id.get().to_owned());
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
