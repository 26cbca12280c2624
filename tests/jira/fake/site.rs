//! Everything one Jira remembers: tickets and the index of them that lags,
//! statuses, the workflow, accounts, and what was asked of it. Changed only
//! under the lock of the fake. Answers no request.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    account::Account,
    fault::Fault,
    stamp,
    ticket::{Category, Comment, Link, Ticket, adf},
};

/// 2026-01-01, when the first ticket was made.
const BEGIN: i64 = 1_767_225_600_000;
/// On Cloud, of each issue: how many writes in how long.
/// <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>
const WRITES: [(usize, Duration); 2] =
    [(20, Duration::from_secs(2)), (100, Duration::from_secs(30))];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Language {
    English,
    German,
}

/// One Jira.
pub struct Site {
    pub cloud: bool,
    pub language: Language,
    /// Where people and clients find it, with the context path.
    pub base: String,
    /// `/jira`, or nothing.
    pub context: String,
    pub cloud_id: String,
    pub account: Account,
    /// Credentials sent to another host than these are a violation.
    pub hosts: Vec<String>,
    pub statuses: Vec<Status>,
    pub workflow: Vec<Transition>,
    /// Highest first.
    pub priorities: Vec<String>,
    /// The type of link that blocks.
    pub blocks: LinkType,
    pub has_rank: bool,
    /// On Cloud, of a page with more than ids and keys; on DC, of every page.
    pub page_cap: usize,
    /// `X-AAccountId` stands in no answer.
    pub hides_account: bool,
    /// Comments come in the order of their age, whatever is asked for.
    pub knows_no_order: bool,
    /// Who is not logged in may read every ticket.
    pub public: bool,

    tickets: BTreeMap<u64, Arc<Ticket>>,
    keys: HashMap<String, u64>,
    links: Vec<Link>,
    links_of: HashMap<String, Vec<usize>>,
    children: HashMap<String, Vec<u64>>,
    index: Option<BTreeMap<u64, Arc<Ticket>>>,
    lag: Lag,
    old_for: usize,
    next_id: u64,
    next_comment: u64,

    pub walks: HashMap<String, Walk>,
    pub faults: Vec<Fault>,
    pub requests: Vec<Asked>,
    pub violations: Vec<String>,
    writes: HashMap<u64, Vec<Instant>>,
    pub write_limit_hits: usize,
    /// From when until when nobody is to ask; of one issue, where there is a
    /// key.
    pub rests: Vec<(Instant, Instant, Option<String>)>,
}

/// How far the search index is behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lag {
    /// What is written is found at once.
    None,
    /// It stays as it is until it is refreshed.
    Frozen,
    /// So many searches after a change still see what was before.
    Searches(usize),
}

#[derive(Clone, Debug)]
pub struct Status {
    pub id: String,
    pub name: String,
    pub category: Category,
    /// As it stands in answers.
    pub json: String,
}

#[derive(Clone, Debug)]
pub struct LinkType {
    pub id: String,
    pub name: String,
    pub inward: String,
    pub outward: String,
}

/// A transition of the workflow.
#[derive(Clone, Debug)]
pub struct Transition {
    pub id: String,
    pub name: String,
    /// From these statuses; from everywhere, where it is empty.
    pub from: Vec<String>,
    pub to: String,
    pub fields: Vec<ScreenField>,
}

/// A field of the screen of a transition.
#[derive(Clone, Debug)]
pub struct ScreenField {
    pub id: String,
    pub required: bool,
    /// The names it may have. Any value, where it is empty.
    pub allowed: Vec<String>,
    pub has_default: bool,
    /// It is required, and `expand=transitions.fields` does not tell.
    pub untold: bool,
}

/// A search on Cloud that goes over several pages.
pub struct Walk {
    pub ids: Arc<Vec<u64>>,
    pub jql: String,
    pub from: usize,
    pub before: usize,
}

/// One request as it came, and the status of the answer to it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub method: String,
    /// As it stands in the first line of the request.
    pub target: String,
    /// Decoded, without context path, prefix of the gateway and query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Where it was sent: `Host`.
    pub host: String,
    pub gateway: bool,
    pub body: Vec<u8>,
    /// 0: there was no answer, or not yet.
    pub status: u16,
}

impl Asked {
    /// The body, `null` where there is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        super::http::header(&self.headers, name)
    }
}

impl Transition {
    /// From every status.
    pub fn new(id: &str, name: &str, to: &str) -> Transition {
        Transition {
            id: id.to_owned(),
            name: name.to_owned(),
            from: vec![],
            to: to.to_owned(),
            fields: vec![],
        }
    }

    pub fn from(mut self, status: &str) -> Self {
        self.from.push(status.to_owned());
        self
    }

    /// A field that may be set. `allowed`: the names it may have.
    pub fn field(self, id: &str, allowed: &[&str]) -> Self {
        self.screen(id, allowed, false, false)
    }

    /// A field that has to be set.
    pub fn requires(self, id: &str, allowed: &[&str]) -> Self {
        self.screen(id, allowed, true, false)
    }

    /// A field that has to be set, of which the list of transitions is silent.
    pub fn requires_untold(self, id: &str) -> Self {
        self.screen(id, &[], true, true)
    }

    /// The last field has a default.
    pub fn with_default(mut self) -> Self {
        self.fields.last_mut().expect("a field").has_default = true;
        self
    }

    fn screen(mut self, id: &str, allowed: &[&str], required: bool, untold: bool) -> Self {
        self.fields.push(ScreenField {
            id: id.to_owned(),
            required,
            allowed: allowed.iter().map(|&a| a.to_owned()).collect(),
            has_default: false,
            untold,
        });
        self
    }
}

impl Site {
    pub fn new(cloud: bool, language: Language, base: &str, context: &str) -> Site {
        let german = language == Language::German;
        let mut site = Site {
            cloud,
            language,
            base: base.to_owned(),
            context: context.to_owned(),
            cloud_id: "4d3c6f0e-9a57-4c1b-8a0e-2f6f1c0b7a55".to_owned(),
            account: Account::new(cloud),
            hosts: vec![],
            statuses: vec![],
            workflow: vec![],
            priorities: ["Highest", "High", "Medium", "Low", "Lowest"]
                .map(str::to_owned)
                .to_vec(),
            blocks: LinkType {
                id: "10000".to_owned(),
                name: if german { "Blockade" } else { "Blocks" }.to_owned(),
                inward: if german {
                    "wird blockiert von"
                } else {
                    "is blocked by"
                }
                .to_owned(),
                outward: if german { "blockiert" } else { "blocks" }.to_owned(),
            },
            has_rank: true,
            page_cap: if cloud { 100 } else { 1000 },
            hides_account: false,
            knows_no_order: false,
            public: false,
            tickets: BTreeMap::new(),
            keys: HashMap::new(),
            links: vec![],
            links_of: HashMap::new(),
            children: HashMap::new(),
            index: None,
            lag: Lag::None,
            old_for: 0,
            next_id: 10_001,
            next_comment: 50_001,
            walks: HashMap::new(),
            faults: vec![],
            requests: vec![],
            violations: vec![],
            writes: HashMap::new(),
            write_limit_hits: 0,
            rests: vec![],
        };
        if german {
            site.priorities = ["Kritisch", "Hoch", "Mittel", "Niedrig", "Gering"]
                .map(str::to_owned)
                .to_vec();
        }
        let names = if german {
            ["Zu erledigen", "In Arbeit", "In Prüfung", "Fertig"]
        } else {
            ["To Do", "In Progress", "In Review", "Done"]
        };
        use Category::{Done, Indeterminate, New};
        for (name, category) in names.iter().zip([New, Indeterminate, Indeterminate, Done]) {
            site.add_status(name, category);
        }
        let ways = if german {
            ["Zurückstellen", "Anfangen", "Zur Prüfung", "Abschließen"]
        } else {
            ["Back to the list", "Start work", "Send to review", "Finish"]
        };
        for (at, (way, to)) in ways.iter().zip(names).enumerate() {
            let id = format!("{}1", at + 1);
            let mut way = Transition::new(&id, way, to);
            if to == names[3] {
                way = way.field("resolution", &["Done", "Won't Do"]);
            }
            site.workflow.push(way);
        }
        site
    }

    /// In the language of the account.
    pub fn say(&self, english: &str, german: &str) -> String {
        match self.language {
            Language::English => english.to_owned(),
            Language::German => german.to_owned(),
        }
    }

    /// `http://…/rest/api/3/…`, for `self`.
    pub fn api(&self) -> String {
        format!("{}/rest/api/{}", self.base, if self.cloud { 3 } else { 2 })
    }

    pub fn add_status(&mut self, name: &str, category: Category) {
        if self.statuses.iter().any(|s| s.name == name) {
            return;
        }
        let id = (self.statuses.len() + 10_000).to_string();
        let api = self.api();
        let json = serde_json::json!({
            "self": format!("{api}/status/{id}"),
            "description": "",
            "iconUrl": format!("{}/images/icons/statuses/generic.png", self.base),
            "name": name,
            "id": id,
            "statusCategory": {
                "self": format!("{api}/statuscategory/{}", category.id()),
                "id": category.id(),
                "key": category.key(),
                "colorName": "blue-gray",
                "name": category.name(self),
            },
        });
        let json = json.to_string();
        self.statuses.push(Status {
            id,
            name: name.to_owned(),
            category,
            json,
        });
    }

    pub fn status(&self, name: &str) -> &Status {
        let found = self.statuses.iter().find(|s| s.name == name);
        found.unwrap_or_else(|| panic!("the fake has no status {name:?}"))
    }

    pub fn has_status(&self, value: &str) -> bool {
        let same = |s: &&Status| s.name.to_lowercase() == value.to_lowercase() || s.id == value;
        self.statuses.iter().any(|s| same(&s))
    }

    pub fn has_category(&self, value: &str) -> bool {
        let words = Category::ALL.iter().flat_map(|c| c.words(self));
        words
            .into_iter()
            .any(|w| w.to_lowercase() == value.to_lowercase())
    }

    pub fn has_project(&self, value: &str) -> bool {
        self.tickets
            .values()
            .any(|t| t.project().eq_ignore_ascii_case(value))
    }

    /// Higher is more urgent.
    pub fn priority_rank(&self, name: &str) -> Option<usize> {
        let exact = self.priorities.iter().rev().position(|p| p == name);
        if exact.is_some() {
            return exact;
        }
        let same = |p: &String| p.to_lowercase() == name.to_lowercase();
        let at = self.priorities.iter().rev().position(same);
        at.or_else(|| {
            let id = name.parse::<usize>().ok()?;
            self.priorities.len().checked_sub(id)
        })
    }

    /// Puts a new ticket in place. Its key and id must be free.
    pub fn add(&mut self, mut ticket: Ticket) {
        self.before_change();
        if ticket.id == 0 {
            ticket.id = self.next_id;
        }
        self.next_id = self.next_id.max(ticket.id + 1);
        if ticket.status.is_empty() {
            ticket.status.clone_from(&self.statuses[0].name);
        }
        if let Some(category) = ticket.category.take() {
            self.add_status(&ticket.status, category);
        }
        self.status(&ticket.status);
        if ticket.created == 0 {
            ticket.created = BEGIN + (ticket.id as i64 - 10_000) * 1000;
        }
        ticket.updated = ticket.updated.max(ticket.created);
        let description = ticket.description.take();
        ticket.description = description.map(|d| self.document(d));
        for (at, mut comment) in std::mem::take(&mut ticket.comments).into_iter().enumerate() {
            comment.id = self.next_comment.to_string();
            self.next_comment += 1;
            if comment.created == 0 {
                comment.created = ticket.created + (at as i64 + 1) * 60_000;
            }
            comment.body = self.document(comment.body);
            ticket.comments.push(comment);
        }
        for link in std::mem::take(&mut ticket.links) {
            self.link(link);
        }
        if let Some(parent) = &ticket.parent {
            self.children
                .entry(parent.clone())
                .or_default()
                .push(ticket.id);
        }
        let taken = self.keys.insert(ticket.key.clone(), ticket.id);
        assert!(taken.is_none(), "{} is there already", ticket.key);
        let taken = self.tickets.insert(ticket.id, Arc::new(ticket));
        assert!(taken.is_none(), "two tickets with one id");
    }

    /// Plain text was said, and how it is written depends on the deployment.
    fn document(&self, json: String) -> String {
        match json.strip_prefix(' ') {
            Some(text) if self.cloud => {
                let text: String = serde_json::from_str(text).expect("a string");
                adf(&text).to_string()
            }
            Some(text) => text.to_owned(),
            None => json,
        }
    }

    pub fn link(&mut self, mut link: Link) {
        let at = self.links.len();
        link.id = 20_001 + at as u64;
        if link.kind.is_empty() {
            link.kind.clone_from(&self.blocks.name);
        }
        for key in [&link.outward_of, &link.inward_of] {
            self.links_of.entry(key.clone()).or_default().push(at);
        }
        self.links.push(link);
    }

    /// With whether the ticket is the one that the outward text is said of.
    pub fn links_of(&self, ticket: &Ticket) -> Vec<(&Link, bool)> {
        let keys = std::iter::once(&ticket.key).chain(&ticket.former_keys);
        let links = keys.filter_map(|key| Some((key, self.links_of.get(key)?)));
        let links = links.flat_map(|(key, all)| {
            all.iter()
                .map(move |at| (&self.links[*at], self.links[*at].outward_of == *key))
        });
        links.collect()
    }

    pub fn children_of(&self, ticket: &Ticket) -> Vec<&Ticket> {
        let ids = self.children.get(&ticket.key).into_iter().flatten();
        let all = ids.filter_map(|id| self.tickets.get(id));
        all.map(|t| &**t).filter(|t| !t.hidden).collect()
    }

    /// By key, former key or id, in any case; of those that can be seen.
    pub fn find(&self, id_or_key: &str) -> Option<&Arc<Ticket>> {
        self.any(id_or_key).filter(|t| !t.hidden)
    }

    pub fn any(&self, id_or_key: &str) -> Option<&Arc<Ticket>> {
        let by_id = id_or_key.parse::<u64>().ok();
        let id = self.keys.get(&id_or_key.to_uppercase()).copied();
        let id = self.keys.get(id_or_key).copied().or(id).or(by_id)?;
        self.tickets.get(&id)
    }

    /// Changes one ticket.
    pub fn edit(&mut self, id_or_key: &str, edit: impl FnOnce(&mut Ticket)) {
        self.before_change();
        let id = self
            .any(id_or_key)
            .unwrap_or_else(|| panic!("no ticket {id_or_key}"))
            .id;
        let slot = self.tickets.get_mut(&id).expect("the ticket is there");
        let ticket = Arc::make_mut(slot);
        let before = ticket.key.clone();
        ticket.updated = stamp::now();
        edit(ticket);
        if ticket.key != before {
            ticket.former_keys.push(before);
            self.keys.insert(ticket.key.clone(), id);
        }
        let status = ticket.status.clone();
        let mut comments = std::mem::take(&mut ticket.comments);
        for comment in &mut comments {
            if comment.id.is_empty() {
                comment.id = self.next_comment.to_string();
                self.next_comment += 1;
                comment.created = stamp::now();
            }
            comment.body = self.document(std::mem::take(&mut comment.body));
        }
        self.status(&status);
        let slot = self.tickets.get_mut(&id).expect("the ticket is there");
        Arc::make_mut(slot).comments = comments;
    }

    /// Takes a ticket away, as if it had never been.
    pub fn remove(&mut self, key: &str) {
        self.before_change();
        let id = self
            .any(key)
            .unwrap_or_else(|| panic!("no ticket {key}"))
            .id;
        self.tickets.remove(&id);
        self.keys.retain(|_, other| *other != id);
    }

    pub fn add_comment(&mut self, id: u64, author: &str, body: String) -> Comment {
        let number = self.next_comment;
        self.next_comment += 1;
        let created = stamp::now();
        let id_of_comment = number.to_string();
        let comment = Comment {
            id: id_of_comment,
            author: author.to_owned(),
            created,
            body,
        };
        let added = comment.clone();
        self.edit(&id.to_string(), |t| t.comments.push(added));
        comment
    }

    pub fn set_lag(&mut self, lag: Lag) {
        self.lag = lag;
        self.refresh();
        if lag == Lag::Frozen {
            self.index = Some(self.tickets.clone());
        }
    }

    /// The index sees what is.
    pub fn refresh(&mut self) {
        self.index = (self.lag == Lag::Frozen).then(|| self.tickets.clone());
    }

    fn before_change(&mut self) {
        if let (Lag::Searches(many), None) = (self.lag, &self.index) {
            self.index = Some(self.tickets.clone());
            self.old_for = many;
        }
    }

    /// A search begins: what it sees.
    pub fn index(&mut self) -> BTreeMap<u64, Arc<Ticket>> {
        if matches!(self.lag, Lag::Searches(_)) && self.index.is_some() {
            match self.old_for.checked_sub(1) {
                Some(left) => self.old_for = left,
                None => self.index = None,
            }
        }
        self.index.as_ref().unwrap_or(&self.tickets).clone()
    }

    /// One ticket as a search sees it.
    pub fn indexed(&self, id: u64) -> Option<&Arc<Ticket>> {
        self.index.as_ref().unwrap_or(&self.tickets).get(&id)
    }

    pub fn stored(&self, id: u64) -> Option<&Arc<Ticket>> {
        self.tickets.get(&id)
    }

    /// Counts a write to an issue. How many seconds it has to wait, where it
    /// is one too many.
    pub fn write(&mut self, id: u64) -> Option<u64> {
        if !self.cloud {
            return None;
        }
        let now = Instant::now();
        let writes = self.writes.entry(id).or_default();
        for (many, long) in WRITES {
            let within = writes.iter().filter(|at| now.duration_since(**at) < long);
            if within.count() >= many {
                self.write_limit_hits += 1;
                return Some(long.as_secs());
            }
        }
        writes.push(now);
        None
    }
}
