//! What a test says of a ticket, and what the fake keeps of it.

use serde_json::{Value, json};

use super::{site::Site, stamp};

/// One issue. Made with [`Ticket::new`] and the methods that follow it;
/// changed later through `Fake::edit`.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The numeric id. 0: the fake gives the next one.
    pub id: u64,
    /// `A-1`. What stands before the last `-` is the project.
    pub key: String,
    pub summary: String,
    /// JSON: an ADF document, or a string of wiki markup. None is `null`.
    pub description: Option<String>,
    pub labels: Vec<String>,
    /// The name of a status of the site.
    pub status: String,
    pub priority: Option<String>,
    /// The name of the issue type.
    pub kind: String,
    pub parent: Option<String>,
    pub resolution: Option<String>,
    /// Milliseconds since 1970; 0: a second after the ticket before it.
    pub created: i64,
    pub updated: i64,
    /// In the order in which they were made.
    pub comments: Vec<Comment>,
    /// A moved ticket is found under these, too.
    pub former_keys: Vec<String>,
    /// Nobody but the administrator sees it.
    pub hidden: bool,
    /// The caller may read and not change it.
    pub read_only: bool,
    /// What stands in `fields` besides: name and JSON.
    pub more: Vec<(String, String)>,
    pub(super) links: Vec<Link>,
    pub(super) category: Option<Category>,
    /// For comments and links whose time and id do not matter to a test.
    pub(super) next: u64,
}

/// One comment as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    pub id: String,
    pub author: String,
    /// Milliseconds since 1970.
    pub created: i64,
    /// JSON: an ADF document, or a string of wiki markup.
    pub body: String,
}

/// `blocker` blocks `blocked`, in the words of the link type.
#[derive(Clone, Debug)]
pub struct Link {
    pub id: u64,
    pub kind: String,
    pub outward_of: String,
    pub inward_of: String,
}

/// What a status means, in every language.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Category {
    Undefined,
    New,
    Indeterminate,
    Done,
}

impl Ticket {
    /// A task without description, label and priority, to be done.
    pub fn new(key: &str) -> Ticket {
        Ticket {
            id: 0,
            key: key.to_owned(),
            summary: format!("Summary of {key}"),
            description: None,
            labels: vec![],
            status: String::new(),
            priority: None,
            kind: "Task".to_owned(),
            parent: None,
            resolution: None,
            created: 0,
            updated: 0,
            comments: vec![],
            former_keys: vec![],
            hidden: false,
            read_only: false,
            more: vec![],
            links: vec![],
            category: None,
            next: 0,
        }
    }

    pub fn id(mut self, id: u64) -> Self {
        self.id = id;
        self
    }

    pub fn summary(mut self, summary: &str) -> Self {
        summary.clone_into(&mut self.summary);
        self
    }

    /// An ADF document (Cloud), or a string of wiki markup (Data Center).
    pub fn description(mut self, description: &Value) -> Self {
        self.description = Some(description.to_string());
        self
    }

    /// Wiki markup on Data Center; on Cloud paragraphs of plain text.
    pub fn text(mut self, text: &str) -> Self {
        // Which of the two it has to be is known when it is added.
        self.description = Some(format!(" {}", Value::from(text)));
        self
    }

    /// JSON as it stands, however deep and wrong it may be.
    pub fn raw_description(mut self, json: &str) -> Self {
        self.description = Some(json.to_owned());
        self
    }

    pub fn label(mut self, label: &str) -> Self {
        self.labels.push(label.to_owned());
        self
    }

    /// One of the statuses of the site.
    pub fn status(mut self, name: &str) -> Self {
        name.clone_into(&mut self.status);
        self
    }

    /// A status that the site gets with it.
    pub fn new_status(mut self, name: &str, category: Category) -> Self {
        self.category = Some(category);
        self.status(name)
    }

    pub fn priority(mut self, name: &str) -> Self {
        self.priority = Some(name.to_owned());
        self
    }

    pub fn kind(mut self, name: &str) -> Self {
        name.clone_into(&mut self.kind);
        self
    }

    pub fn parent(mut self, key: &str) -> Self {
        self.parent = Some(key.to_owned());
        self
    }

    /// As Jira writes it: `2026-09-25T22:42:39.399-0300`.
    pub fn created(mut self, time: &str) -> Self {
        self.created = stamp::read(time).expect("a time");
        self
    }

    /// Nobody sees it any more: 404, and no link to it is shown.
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// May be read and not changed: no transitions, 403 and 400 for writes.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// A link of the site's blocking type. Seen from both tickets.
    pub fn blocked_by(self, key: &str) -> Self {
        let own = self.key.clone();
        self.link("", key, &own)
    }

    pub fn blocks(self, key: &str) -> Self {
        let own = self.key.clone();
        self.link("", &own, key)
    }

    /// A link of another type: "`outward_of` clones `inward_of`".
    pub fn linked(self, kind: &str, outward_of: &str, inward_of: &str) -> Self {
        self.link(kind, outward_of, inward_of)
    }

    fn link(mut self, kind: &str, outward_of: &str, inward_of: &str) -> Self {
        self.links.push(Link {
            id: 0,
            kind: kind.to_owned(),
            outward_of: outward_of.to_owned(),
            inward_of: inward_of.to_owned(),
        });
        self
    }

    /// A comment of a person, in plain text.
    pub fn comment(mut self, author: &str, text: &str) -> Self {
        self.next += 1;
        self.comments.push(Comment {
            id: String::new(),
            author: author.to_owned(),
            created: 0,
            body: format!(" {}", Value::from(text)),
        });
        self
    }

    /// A comment whose body is this JSON: ADF, or a string of wiki markup.
    pub fn raw_comment(mut self, author: &str, json: &str) -> Self {
        self.comments.push(Comment {
            id: String::new(),
            author: author.to_owned(),
            created: 0,
            body: json.to_owned(),
        });
        self
    }

    /// One more field of the answer.
    pub fn field(mut self, name: &str, value: &Value) -> Self {
        self.more.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn project(&self) -> &str {
        self.key
            .rsplit_once('-')
            .map_or(&self.key, |(project, _)| project)
    }

    pub fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|l| l == label)
    }
}

impl Comment {
    /// What a person reads, without marks. A line a block.
    pub fn text(&self) -> String {
        match serde_json::from_str(&self.body) {
            Ok(Value::String(text)) => text,
            Ok(document) => plain(&document).trim_end().to_owned(),
            Err(_) => self.body.clone(),
        }
    }

    /// The body as it was posted.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body is JSON")
    }
}

/// The text of an ADF node and of what is in it.
pub fn plain(node: &Value) -> String {
    let own = match node["type"].as_str() {
        Some("text") => node["text"].as_str().unwrap_or_default().to_owned(),
        Some("hardBreak") => "\n".to_owned(),
        Some("inlineCard" | "blockCard") => {
            node["attrs"]["url"].as_str().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    let inner: String = node["content"]
        .as_array()
        .into_iter()
        .flatten()
        .map(plain)
        .collect();
    let block = matches!(
        node["type"].as_str(),
        Some("paragraph" | "heading" | "codeBlock" | "rule" | "blockCard")
    );
    own + &inner + if block { "\n" } else { "" }
}

/// An ADF document with a paragraph for every line.
pub fn adf(text: &str) -> Value {
    let paragraph = |line: &str| match line {
        "" => json!({"type": "paragraph"}),
        line => json!({"type": "paragraph", "content": [{"type": "text", "text": line}]}),
    };
    let content: Vec<Value> = text.split('\n').map(paragraph).collect();
    json!({"type": "doc", "version": 1, "content": content})
}

impl Category {
    pub const ALL: [Category; 4] = [
        Category::Undefined,
        Category::New,
        Category::Indeterminate,
        Category::Done,
    ];

    pub fn id(self) -> u8 {
        match self {
            Category::Undefined => 1,
            Category::New => 2,
            Category::Done => 3,
            Category::Indeterminate => 4,
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Category::Undefined => "undefined",
            Category::New => "new",
            Category::Indeterminate => "indeterminate",
            Category::Done => "done",
        }
    }

    pub fn english(self) -> &'static str {
        match self {
            Category::Undefined => "No Category",
            Category::New => "To Do",
            Category::Indeterminate => "In Progress",
            Category::Done => "Done",
        }
    }

    pub fn name(self, site: &Site) -> String {
        let german = match self {
            Category::Undefined => "Keine Kategorie",
            Category::New => "Zu erledigen",
            Category::Indeterminate => "In Arbeit",
            Category::Done => "Fertig",
        };
        site.say(self.english(), german)
    }

    /// As what it may be asked for in JQL. English always works.
    pub fn words(self, site: &Site) -> Vec<String> {
        vec![
            self.english().to_owned(),
            self.name(site),
            self.key().to_owned(),
            self.id().to_string(),
        ]
    }
}
