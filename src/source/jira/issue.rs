//! One ticket as Jira gives it, made into an item. Pure.
//!
//! Each field is read for itself: one that is not as it should be spoils
//! neither the ticket nor the page.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{
    adf,
    query::Labels,
    repository::{self, Named},
    site::Deployment,
    wiki,
};
use crate::{
    core::{Fingerprint, Hold, Item},
    source::repo::Repos,
};

/// The fields that are asked for.
pub const FIELDS: [&str; 9] = [
    "key",
    "summary",
    "description",
    "status",
    "issuetype",
    "priority",
    "labels",
    "parent",
    "issuelinks",
];

/// What of the settings a ticket is read with.
#[derive(Debug)]
pub struct Reading {
    /// Which markup descriptions are in.
    pub deployment: Deployment,
    /// The base of links for people, without a slash at its end.
    pub browse: String,
}

/// What the command line says about tickets.
#[derive(Debug)]
pub struct Rules {
    /// Which labels mean what.
    pub labels: Labels,
    /// Whether the label is what makes a ticket wanted: there is no query of
    /// the user's.
    pub by_label: bool,
    /// `--jira-blocks-link`: the type of link that blocks.
    pub blocks_link: String,
    /// Where agents may be sent.
    pub repos: Repos,
}

/// A ticket that could be read at least as far as its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// What the core sees.
    pub item: Item,
    /// Whether its status is in the category done.
    pub closed: bool,
    /// The category of its status: `new`, `indeterminate`, `done`.
    pub category: String,
    /// The name of its status.
    pub status: String,
    /// All its labels.
    pub labels: Vec<String>,
    /// Those that block it and are not done: id and key.
    pub blockers: Vec<(String, String)>,
}

/// Whether a ticket asks for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Yes.
    Wanted,
    /// A person took it back; a fragment that says how.
    Withdrawn(String),
    /// It has been told how it ended.
    Told,
}

impl Ticket {
    /// Whether it asks for an agent as it is now.
    #[must_use]
    pub fn wish(&self, rules: &Rules) -> Wish {
        if rules.labels.tell_an_end(&self.labels) {
            Wish::Told
        } else if self.closed {
            Wish::Withdrawn(format!("the ticket was closed ({})", self.status))
        } else if rules.by_label && !rules.labels.want(&self.labels) {
            let label = &rules.labels.wanted;
            Wish::Withdrawn(format!("the label {label} was taken off the ticket"))
        } else {
            Wish::Wanted
        }
    }
}

/// A ticket whose `fields` are whatever they should be, or anything.
#[derive(Deserialize)]
struct Raw<'a, F> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    fields: Option<F>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    issuetype: Option<&'a RawValue>,
    #[serde(borrow)]
    priority: Option<&'a RawValue>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    parent: Option<&'a RawValue>,
    #[serde(borrow)]
    issuelinks: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WithName {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    name: Option<String>,
    #[serde(rename = "statusCategory")]
    category: Option<Category>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Category {
    key: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parent {
    key: Option<String>,
    fields: Option<ParentFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ParentFields {
    summary: Option<String>,
}

/// Exactly one of the two sides is there, though Atlassian's schema asks for
/// both (`IssueLink` of its OpenAPI files).
#[derive(Deserialize)]
struct Link {
    #[serde(rename = "type")]
    kind: Option<WithName>,
    #[serde(rename = "inwardIssue")]
    inward: Option<Linked>,
}

#[derive(Deserialize)]
struct Linked {
    id: Option<String>,
    key: Option<String>,
    fields: Option<LinkedFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinkedFields {
    status: Option<Status>,
}

/// How much of a ticket is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// What it takes to decide: ten thousand tickets have to fit in memory.
    Outline,
    /// All that an agent is given.
    Whole,
}

/// Reads a ticket.
///
/// # Errors
/// If it has no id or no key, so that nobody could say which one is meant.
pub fn read(raw: &str, rules: &Rules, reading: &Reading, keep: Keep) -> Result<Ticket, String> {
    let (raw, broken) = match serde_json::from_str::<Raw<'_, Fields<'_>>>(raw) {
        Ok(raw) if raw.fields.is_none() => (raw, Some("Jira gives no fields of it".to_owned())),
        Ok(raw) => (raw, None),
        Err(_) => {
            let raw: Raw<'_, IgnoredAny> =
                serde_json::from_str(raw).map_err(|_| "a ticket without an id".to_owned())?;
            let (id, key) = (raw.id, raw.key);
            let fields = None;
            let broken = "its fields cannot be read".to_owned();
            (Raw { id, key, fields }, Some(broken))
        }
    };
    let id = text_or_number(raw.id).filter(|id| is_id(id));
    let id = id.ok_or("a ticket whose id is no number")?;
    let key = parsed::<String>(raw.key).unwrap_or_default();
    if !is_key(&key) {
        return Err(format!("a ticket (id {id}) without a key that can be used"));
    }
    let known = !reading.browse.is_empty();
    let url = known.then(|| format!("{}/browse/{key}", reading.browse));
    let fields = raw.fields.unwrap_or_default();
    let (description, too_deep) = match markdown(fields.description, reading.deployment) {
        Ok(description) => (description, None),
        Err(why) => (
            String::new(),
            Some(format!("its description cannot be read: {why}")),
        ),
    };
    let summary: String = parsed(fields.summary).unwrap_or_default();
    // It is one line, and may hold anything.
    let summary: String = summary
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let status: Status = parsed(fields.status).unwrap_or_default();
    let labels: Vec<String> = parsed(fields.labels).unwrap_or_default();
    let category = status.category.and_then(|c| c.key).unwrap_or_default();
    let status = status.name.unwrap_or_default();

    let named = repository::find(&description, &rules.repos.hosts);
    let (repo_url, refused) = repository(&named, &rules.repos);
    let own = match &named {
        Named::One(url) => Some(url.as_str()),
        Named::Several | Named::None => None,
    };
    let env = BTreeMap::new();
    let fingerprint = Fingerprint::of(&key, &summary, &description, own, url.as_deref(), &env);
    let facts = match keep {
        Keep::Outline => vec![],
        Keep::Whole => facts(&key, &status, &labels, &fields),
    };
    let item = Item {
        id: key,
        source_id: id,
        summary,
        description: match keep {
            Keep::Outline => String::new(),
            Keep::Whole => description,
        },
        repo_url,
        url,
        env,
        facts,
        fingerprint,
        hold: broken.or(too_deep).map(Hold::Bad).or(refused),
    };
    Ok(Ticket {
        item,
        closed: category == "done",
        category,
        status,
        labels,
        blockers: blockers(fields.issuelinks, &rules.blocks_link),
    })
}

fn repository(named: &Named, repos: &Repos) -> (Option<String>, Option<Hold>) {
    const ADVICE: &str = "add a line \"Repo: https://HOST/OWNER/NAME\" to the description, or \
                          give --default-repo";
    const WHICH: &str = "the description names several; say which with a line \"Repo: URL\"";
    let (own, advice) = match named {
        Named::One(url) => (Some(url.as_str()), ADVICE),
        Named::Several => (None, WHICH),
        Named::None => (None, ADVICE),
    };
    match repos.choose(own, advice) {
        Ok(url) => (url, None),
        Err(hold) => (None, Some(hold)),
    }
}

fn facts(key: &str, status: &str, labels: &[String], fields: &Fields<'_>) -> Vec<(String, String)> {
    let name = |field| {
        parsed::<WithName>(field)
            .and_then(|n| n.name)
            .unwrap_or_default()
    };
    let parent = parsed::<Parent>(fields.parent).map(|parent| {
        let summary = parent.fields.and_then(|f| f.summary).unwrap_or_default();
        let text = format!("{} {summary}", parent.key.unwrap_or_default());
        text.trim().to_owned()
    });
    let facts = [
        ("JIRA_TICKET", key.to_owned()),
        ("RECAC_ITEM_STATUS", status.to_owned()),
        ("RECAC_ITEM_TYPE", name(fields.issuetype)),
        ("RECAC_ITEM_PRIORITY", name(fields.priority)),
        ("RECAC_ITEM_LABELS", labels.join(",")),
        ("RECAC_ITEM_PARENT", parent.unwrap_or_default()),
    ];
    // An agent can rely on each of them being there.
    let plain = |text: String| text.chars().filter(|c| *c != '\0').collect();
    facts
        .map(|(name, value)| (name.to_owned(), plain(value)))
        .into()
}

/// Text in the markup of this deployment as Markdown; also of a comment.
///
/// # Errors
/// If it cannot be parsed at all; a fragment that says why.
pub fn markdown(raw: Option<&RawValue>, deployment: Deployment) -> Result<String, String> {
    let Some(raw) = raw else {
        return Ok(String::new());
    };
    match deployment {
        Deployment::Cloud => adf::markdown(raw.get()),
        Deployment::DataCenter => match serde_json::from_str::<Option<String>>(raw.get()) {
            Ok(text) => Ok(text.map(|text| wiki::markdown(&text)).unwrap_or_default()),
            // Some front ends hand out the other form.
            Err(_) => adf::markdown(raw.get()),
        },
    }
}

/// Those on the other side of "is blocked by", as far as they are not done.
fn blockers(links: Option<&RawValue>, blocks: &str) -> Vec<(String, String)> {
    let links: Vec<&RawValue> = links
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let blocks = blocks.to_lowercase();
    let open = |link: Link| {
        let kind = link.kind.and_then(|kind| kind.name)?;
        let other = link.inward.filter(|_| kind.to_lowercase() == blocks)?;
        let status = other.fields.unwrap_or_default().status.unwrap_or_default();
        let category = status.category.unwrap_or_default().key.unwrap_or_default();
        if category == "done" {
            return None;
        }
        let key = other.key.unwrap_or_default();
        Some((other.id.unwrap_or_else(|| key.clone()), key))
    };
    let links = links
        .iter()
        .filter_map(|raw| serde_json::from_str(raw.get()).ok());
    links.filter_map(open).collect()
}

fn parsed<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

fn text_or_number(raw: &RawValue) -> Option<String> {
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => None,
    }
}

/// Jira's own number of an issue. It becomes a part of URLs.
#[must_use]
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A key becomes a part of links, names and labels.
fn is_key(text: &str) -> bool {
    let lawful = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    !text.is_empty() && text.len() <= 255 && !text.starts_with('-') && text.bytes().all(lawful)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules() -> Rules {
        Rules {
            labels: Labels {
                wanted: "agent".into(),
                done: "agent-done".into(),
                failed: "agent-failed".into(),
            },
            by_label: true,
            blocks_link: "Blocks".into(),
            repos: Repos {
                needed: true,
                ..Repos::default()
            },
        }
    }

    fn reading(deployment: Deployment) -> Reading {
        Reading {
            deployment,
            browse: "https://acme.example/jira".into(),
        }
    }

    fn of(ticket: &Value) -> Ticket {
        let reading = reading(Deployment::DataCenter);
        read(&ticket.to_string(), &rules(), &reading, Keep::Whole).unwrap()
    }

    fn ticket() -> Value {
        json!({"id": "10001", "key": "AB-1", "self": "x", "fields": {
            "summary": "Do\tit", "description": "Repo: https://h/a/b\n*now*",
            "status": {"name": "Offen", "statusCategory": {"key": "new"}},
            "issuetype": {"name": "Bug"}, "priority": null, "labels": ["agent", "x"],
            "parent": {"key": "AB-0", "fields": {"summary": "All of it"}}, "issuelinks": []}})
    }

    #[test]
    fn a_ticket_becomes_an_item() {
        let ticket = of(&ticket());
        let item = &ticket.item;
        assert_eq!(
            (item.id.as_str(), item.source_id.as_str()),
            ("AB-1", "10001")
        );
        assert_eq!(item.summary, "Do it");
        assert!(item.description.contains("**now**"), "{}", item.description);
        assert_eq!(item.repo_url.as_deref(), Some("https://h/a/b"));
        assert_eq!(
            item.url.as_deref(),
            Some("https://acme.example/jira/browse/AB-1")
        );
        let facts: Vec<String> = item.facts.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            facts,
            [
                "JIRA_TICKET=AB-1",
                "RECAC_ITEM_STATUS=Offen",
                "RECAC_ITEM_TYPE=Bug",
                "RECAC_ITEM_PRIORITY=",
                "RECAC_ITEM_LABELS=agent,x",
                "RECAC_ITEM_PARENT=AB-0 All of it",
            ]
        );
        assert_eq!((ticket.closed, ticket.category.as_str()), (false, "new"));
        assert_eq!(ticket.wish(&rules()), Wish::Wanted);
    }

    #[test]
    fn an_outline_tells_the_same_and_holds_no_text() {
        let text = ticket().to_string();
        let reading = reading(Deployment::DataCenter);
        let outline = read(&text, &rules(), &reading, Keep::Outline).unwrap();
        let whole = read(&text, &rules(), &reading, Keep::Whole).unwrap();
        assert_eq!(outline.item.fingerprint, whole.item.fingerprint);
        assert_eq!(outline.item.repo_url, whole.item.repo_url);
        assert!(outline.item.description.is_empty() && outline.item.facts.is_empty());
    }

    #[test]
    fn a_person_can_take_a_ticket_back() {
        let mut closed = ticket();
        closed["fields"]["status"] = json!({"name": "Done", "statusCategory": {"key": "done"}});
        let why = Wish::Withdrawn("the ticket was closed (Done)".into());
        assert_eq!(of(&closed).wish(&rules()), why);
        let mut off = ticket();
        off["fields"]["labels"] = json!(["x"]);
        let why = Wish::Withdrawn("the label agent was taken off the ticket".into());
        assert_eq!(of(&off).wish(&rules()), why);
        let mut own_query = rules();
        own_query.by_label = false;
        assert_eq!(of(&off).wish(&own_query), Wish::Wanted);
        let mut told = closed;
        told["fields"]["labels"] = json!(["agent", "Agent-Done"]);
        assert_eq!(of(&told).wish(&rules()), Wish::Told);
    }

    #[test]
    fn only_open_tickets_on_the_right_side_of_the_right_link_block() {
        let other = |id: &str, category: &str| {
            json!({"id": id, "key": format!("B-{id}"),
            "fields": {"summary": "s", "status": {"name": "n", "statusCategory": {"key": category}}}})
        };
        let blocks = json!({"id": "1", "name": "blocks", "inward": "wird blockiert von"});
        let mut blocked = ticket();
        blocked["fields"]["issuelinks"] = json!([
            {"type": blocks, "inwardIssue": other("1", "new")},
            {"type": blocks, "inwardIssue": other("2", "done")},
            {"type": blocks, "outwardIssue": other("3", "new")},
            {"type": {"name": "Relates"}, "inwardIssue": other("4", "new")},
            {"type": blocks, "inwardIssue": {"key": "B-5"}},
            {"type": blocks, "inwardIssue": 7},
            null,
        ]);
        let by = |id: &str, key: &str| (id.to_owned(), key.to_owned());
        assert_eq!(of(&blocked).blockers, [by("1", "B-1"), by("B-5", "B-5")]);
    }

    #[test]
    fn what_is_not_as_it_should_be_spoils_nothing_else() {
        for field in [
            "summary",
            "description",
            "status",
            "issuetype",
            "priority",
            "labels",
            "parent",
            "issuelinks",
        ] {
            for odd in [
                json!(7),
                json!([[]]),
                json!({"a": 1}),
                json!(null),
                json!(true),
            ] {
                let mut ticket = ticket();
                ticket["fields"][field] = odd;
                assert_eq!(of(&ticket).item.id, "AB-1", "{field}");
            }
        }
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let text = ticket()
            .to_string()
            .replace("\"Repo: https://h/a/b\\n*now*\"", &deep);
        let cloud = reading(Deployment::Cloud);
        let deep = read(&text, &rules(), &cloud, Keep::Whole).unwrap();
        assert!(matches!(&deep.item.hold, Some(Hold::Bad(why)) if why.contains("description")));
        let reading = reading(Deployment::Cloud);
        for bad in [
            "{}",
            "7",
            r#"{"id":"x","key":"A-1"}"#,
            r#"{"id":"1"}"#,
            r#"{"id":"1","key":"../x"}"#,
        ] {
            assert!(
                read(bad, &rules(), &reading, Keep::Outline).is_err(),
                "{bad}"
            );
        }
        let bare = read(r#"{"id":1,"key":"A-1"}"#, &rules(), &reading, Keep::Outline).unwrap();
        assert!(matches!(bare.item.hold, Some(Hold::Bad(_))));
    }

    #[test]
    fn a_ticket_without_a_repository_says_what_to_add() {
        let hold = |description: &str| {
            let mut ticket = ticket();
            ticket["fields"]["description"] = json!(description);
            of(&ticket)
                .item
                .hold
                .map(|hold| hold.to_string())
                .unwrap_or_default()
        };
        assert!(hold("nothing").contains("add a line \"Repo: https://"));
        assert!(hold("https://github.com/a/b https://github.com/a/c").contains("several"));
        assert!(hold("Repo: http://h/a").contains("write https://"));
    }
}
