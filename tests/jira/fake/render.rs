//! Tickets as JSON. Written as text at once, for there may be ten thousand of
//! them with four kilobytes each.

use std::fmt::Write as _;

use super::{
    site::{LinkType, Site},
    stamp,
    ticket::{Comment, Ticket},
};

/// How many comments Cloud puts into an issue: the oldest.
const COMMENTS_INSIDE: usize = 20;

/// Which fields are asked for.
pub struct Wanted {
    /// Nothing was said, or only `id`.
    pub id_only: bool,
    /// Nothing but `id` and `key`.
    pub keys_only: bool,
    all: bool,
    navigable: bool,
    names: Vec<String>,
    without: Vec<String>,
}

impl Wanted {
    /// `fields` as they were asked for; none is what the resource takes then.
    pub fn new(fields: Option<Vec<String>>, default: &str) -> Wanted {
        let fields = fields.unwrap_or_else(|| vec![default.to_owned()]);
        let plain = |f: &&String| !f.starts_with('-');
        let mut wanted = Wanted {
            id_only: fields.iter().all(|f| f == "id"),
            keys_only: fields.iter().all(|f| f == "id" || f == "key"),
            all: fields.iter().any(|f| f == "*all"),
            navigable: fields.iter().any(|f| f == "*navigable"),
            names: fields.iter().filter(plain).cloned().collect(),
            without: fields
                .iter()
                .filter_map(|f| f.strip_prefix('-').map(str::to_owned))
                .collect(),
        };
        // Only something left out: the rest of the default.
        if wanted.names.is_empty() && !wanted.without.is_empty() {
            wanted.all = default == "*all";
            wanted.navigable = !wanted.all;
        }
        wanted
    }

    fn has(&self, name: &str) -> bool {
        let unasked = self.all || self.navigable && name != "comment";
        (unasked || self.names.iter().any(|n| n == name)) && !self.without.iter().any(|n| n == name)
    }
}

/// A string of JSON.
pub fn string(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// One issue as `GET issue` and the searches give it.
pub fn issue(site: &Site, ticket: &Ticket, wanted: &Wanted, out: &mut String) {
    if wanted.id_only && site.cloud {
        let _ = write!(out, "{{\"id\":\"{}\"}}", ticket.id);
        return;
    }
    let _ = write!(
        out,
        "{{\"expand\":\"operations,editmeta,changelog,renderedFields\",\"id\":\"{}\",\"self\":\"{}/issue/{}\",\"key\":{}",
        ticket.id,
        site.api(),
        ticket.id,
        string(&ticket.key),
    );
    if !wanted.keys_only {
        out.push_str(",\"fields\":{");
        let before = out.len();
        fields(site, ticket, wanted, out);
        if out.len() > before {
            out.pop();
        }
        out.push('}');
    }
    out.push('}');
}

/// Each with a comma after it.
fn fields(site: &Site, ticket: &Ticket, wanted: &Wanted, out: &mut String) {
    let mut field = |name: &str, json: &dyn Fn(&mut String)| {
        if wanted.has(name) {
            let _ = write!(out, "{}:", string(name));
            json(out);
            out.push(',');
        }
    };
    let text = |text: &str| {
        let text = string(text);
        move |out: &mut String| out.push_str(&text)
    };
    field("summary", &text(&ticket.summary));
    field("description", &|out| {
        out.push_str(ticket.description.as_deref().unwrap_or("null"))
    });
    field("status", &|out| {
        out.push_str(&site.status(&ticket.status).json)
    });
    field("labels", &|out| {
        let labels: Vec<String> = ticket.labels.iter().map(|l| string(l)).collect();
        let _ = write!(out, "[{}]", labels.join(","));
    });
    field("priority", &|out| priority(site, ticket, out));
    field("issuetype", &|out| kind(site, ticket, out));
    field("resolution", &|out| match &ticket.resolution {
        Some(name) => {
            let _ = write!(
                out,
                "{{\"self\":\"{}/resolution/1\",\"id\":\"1\",\"name\":{},\"description\":\"\"}}",
                site.api(),
                string(name)
            );
        }
        None => out.push_str("null"),
    });
    field("project", &|out| {
        let key = string(ticket.project());
        let _ = write!(
            out,
            "{{\"self\":\"{}/project/10000\",\"id\":\"10000\",\"key\":{key},\"name\":{key}}}",
            site.api()
        );
    });
    if ticket.parent.is_some() {
        field(
            "parent",
            &|out| match ticket.parent.as_deref().and_then(|p| site.find(p)) {
                Some(parent) => near(site, parent, out),
                None => out.push_str("null"),
            },
        );
    }
    field("subtasks", &|out| {
        out.push('[');
        for (at, child) in site.children_of(ticket).into_iter().enumerate() {
            out.push_str(if at > 0 { "," } else { "" });
            near(site, child, out);
        }
        out.push(']');
    });
    field("issuelinks", &|out| links(site, ticket, out));
    field("created", &text(&stamp::write(ticket.created)));
    field("updated", &text(&stamp::write(ticket.updated)));
    field("reporter", &|out| out.push_str(&user(site, "Ria Reporter")));
    field("creator", &|out| out.push_str(&user(site, "Ria Reporter")));
    field("assignee", &|out| out.push_str("null"));
    field("duedate", &|out| out.push_str("null"));
    field("comment", &|out| {
        let most = if site.cloud {
            COMMENTS_INSIDE
        } else {
            usize::MAX
        };
        let shown: Vec<&Comment> = ticket.comments.iter().take(most).collect();
        let total = ticket.comments.len();
        out.push_str(&page(site, ticket, &shown, 0, shown.len(), total));
    });
    for (name, json) in &ticket.more {
        field(name, &|out| out.push_str(json));
    }
}

/// As other issues speak of it.
fn near(site: &Site, ticket: &Ticket, out: &mut String) {
    let _ = write!(
        out,
        "{{\"id\":\"{}\",\"key\":{},\"self\":\"{}/issue/{}\",\"fields\":{{\"summary\":{},\"status\":{},\"issuetype\":",
        ticket.id,
        string(&ticket.key),
        site.api(),
        ticket.id,
        string(&ticket.summary),
        site.status(&ticket.status).json,
    );
    kind(site, ticket, out);
    if ticket.priority.is_some() {
        out.push_str(",\"priority\":");
        priority(site, ticket, out);
    }
    out.push_str("}}");
}

fn priority(site: &Site, ticket: &Ticket, out: &mut String) {
    let Some(name) = &ticket.priority else {
        out.push_str("null");
        return;
    };
    let id = site
        .priorities
        .iter()
        .position(|p| p == name)
        .map_or(10_100, |at| at + 1);
    let _ = write!(
        out,
        "{{\"self\":\"{}/priority/{id}\",\"iconUrl\":\"{}/images/p.svg\",\"name\":{},\"id\":\"{id}\"}}",
        site.api(),
        site.base,
        string(name),
    );
}

fn kind(site: &Site, ticket: &Ticket, out: &mut String) {
    let _ = write!(
        out,
        "{{\"self\":\"{}/issuetype/10001\",\"id\":\"10001\",\"description\":\"\",\"iconUrl\":\"{}/images/t.svg\",\"name\":{},\"subtask\":{}}}",
        site.api(),
        site.base,
        string(&ticket.kind),
        ticket.kind == "Sub-task",
    );
}

/// Exactly one of the two sides, and only issues that can be seen.
fn links(site: &Site, ticket: &Ticket, out: &mut String) {
    out.push('[');
    let mut first = true;
    for (link, outward) in site.links_of(ticket) {
        let other = if outward {
            &link.inward_of
        } else {
            &link.outward_of
        };
        let Some(other) = site.find(other) else {
            continue;
        };
        out.push_str(if first { "" } else { "," });
        first = false;
        let foreign = LinkType {
            id: "10001".to_owned(),
            name: link.kind.clone(),
            inward: format!("inward {}", link.kind),
            outward: format!("outward {}", link.kind),
        };
        let kind = if link.kind == site.blocks.name {
            &site.blocks
        } else {
            &foreign
        };
        let _ = write!(
            out,
            "{{\"id\":\"{}\",\"self\":\"{}/issueLink/{}\",\"type\":{{\"id\":\"{}\",\"name\":{},\"inward\":{},\"outward\":{},\"self\":\"{}/issueLinkType/{}\"}},\"{}\":",
            link.id,
            site.api(),
            link.id,
            kind.id,
            string(&kind.name),
            string(&kind.inward),
            string(&kind.outward),
            site.api(),
            kind.id,
            if outward {
                "outwardIssue"
            } else {
                "inwardIssue"
            },
        );
        near(site, other, out);
        out.push('}');
    }
    out.push(']');
}

/// A page of comments, as `GET …/comment` and the field `comment` have it.
pub fn page(
    site: &Site,
    ticket: &Ticket,
    comments: &[&Comment],
    start: usize,
    most: usize,
    total: usize,
) -> String {
    let all: Vec<String> = comments.iter().map(|c| comment(site, ticket, c)).collect();
    format!(
        "{{\"self\":\"{}/issue/{}/comment\",\"startAt\":{start},\"maxResults\":{most},\"total\":{total},\"comments\":[{}]}}",
        site.api(),
        ticket.id,
        all.join(","),
    )
}

pub fn comment(site: &Site, ticket: &Ticket, comment: &Comment) -> String {
    let author = user(site, &comment.author);
    let created = stamp::write(comment.created);
    let public = if site.cloud {
        ",\"jsdPublic\":true"
    } else {
        ""
    };
    format!(
        "{{\"self\":\"{}/issue/{}/comment/{}\",\"id\":\"{}\",\"author\":{author},\"body\":{},\"updateAuthor\":{author},\"created\":\"{created}\",\"updated\":\"{created}\"{public}}}",
        site.api(),
        ticket.id,
        comment.id,
        comment.id,
        comment.body,
    )
}

/// A person as comments and issues have it.
pub fn user(site: &Site, display: &str) -> String {
    let account = &site.account;
    let own = display == account.display;
    let slug: String = display
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    let name = if own { account.user.clone() } else { slug };
    let json = if site.cloud {
        let id = if own {
            account.id.clone()
        } else {
            format!("712020:{name}")
        };
        serde_json::json!({
            "self": format!("{}/user?accountId={}", site.api(), id.replace(':', "%3A")),
            "accountId": id,
            "avatarUrls": {"48x48": format!("{}/avatar.png", site.base)},
            "displayName": display,
            "active": true,
            "timeZone": "America/Sao_Paulo",
            "accountType": "atlassian",
        })
    } else {
        serde_json::json!({
            "self": format!("{}/user?username={name}", site.api()),
            "name": name,
            "key": format!("JIRAUSER-{name}"),
            "emailAddress": format!("{name}@example.com"),
            "avatarUrls": {"48x48": format!("{}/avatar.png", site.base)},
            "displayName": display,
            "active": true,
            "timeZone": "America/Sao_Paulo",
        })
    };
    json.to_string()
}

/// `/myself`.
pub fn myself(site: &Site) -> String {
    let user = user(site, &site.account.display);
    let mut user: serde_json::Value = serde_json::from_str(&user).expect("JSON");
    user["locale"] = site.say("en_US", "de_DE").into();
    if site.cloud {
        user["emailAddress"] = site.account.user.as_str().into();
    }
    user.to_string()
}

/// `/serverInfo`.
pub fn server_info(site: &Site) -> String {
    let common = serde_json::json!({
        "baseUrl": site.base,
        "serverTime": stamp::write(stamp::now()),
        "scmInfo": "d8e9b0b1",
        "serverTitle": "Jira",
    });
    let own = if site.cloud {
        serde_json::json!({
            "version": "1001.0.0-SNAPSHOT",
            "versionNumbers": [1001, 0, 0],
            "deploymentType": "Cloud",
            "buildNumber": 100_294,
            "buildDate": "2026-09-25T22:42:39.399-0300",
        })
    } else {
        serde_json::json!({
            "version": "10.3.24",
            "versionNumbers": [10, 3, 24],
            "deploymentType": "Server",
            "buildNumber": 10_030_024,
            "buildDate": "2026-09-25T00:00:00.000-0300",
        })
    };
    let mut all = common;
    let object = all.as_object_mut().expect("an object");
    object.extend(own.as_object().cloned().expect("an object"));
    all.to_string()
}

/// `/field`: clients look up the ids of fields by their names.
pub fn fields_known() -> String {
    let all = [
        ("summary", "Summary"),
        ("description", "Description"),
        ("status", "Status"),
        ("labels", "Labels"),
        ("priority", "Priority"),
        ("issuetype", "Issue Type"),
        ("issuelinks", "Linked Issues"),
        ("comment", "Comment"),
        ("resolution", "Resolution"),
        ("parent", "Parent"),
    ];
    let all = all.map(|(id, name)| {
        serde_json::json!({
            "id": id,
            "name": name,
            "custom": false,
            "orderable": true,
            "navigable": id != "comment",
            "searchable": true,
            "clauseNames": [id],
        })
    });
    serde_json::Value::from(all.to_vec()).to_string()
}
