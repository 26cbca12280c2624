//! One issue: reading it, its labels, and its comments.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{
    adf,
    http::Reply,
    refusal,
    render::{self, Wanted},
    routes::Request,
    site::Site,
    ticket::{Comment, Ticket},
};

/// Of a comment and of a description, in UTF-16 units, as Java counts.
pub const LONGEST: usize = 32_767;

pub fn get(site: &Site, request: &Request<'_>, ticket: &Ticket) -> Reply {
    let mut wanted = Wanted::new(request.list("fields"), "*all");
    // `GET` gives more than the id in any case.
    wanted.id_only = false;
    let mut body = String::new();
    render::issue(site, ticket, &wanted, &mut body);
    Reply::json(200, body)
}

pub fn put(site: &mut Site, request: &Request<'_>, ticket: &Ticket) -> Reply {
    let keys = [
        "fields",
        "update",
        "historyMetadata",
        "properties",
        "transition",
    ];
    let body = match request.body(site, &keys) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    if ticket.read_only {
        return if site.cloud {
            refusal::fields(400, &[off_screen(site, "labels")])
        } else {
            refusal::messages(
                403,
                &["You do not have permission to edit issues in this project."],
            )
        };
    }
    let mut new = ticket.clone();
    if let Err(reply) = change(site, &body, &mut new) {
        return reply;
    }
    site.edit(&ticket.id.to_string(), |t| {
        (t.labels, t.summary) = (new.labels, new.summary);
        t.description = new.description;
    });
    if site.cloud && request.param("returnIssue") == Some("true") {
        let changed = site
            .stored(ticket.id)
            .cloned()
            .expect("the ticket is there");
        let mut body = String::new();
        render::issue(site, &changed, &Wanted::new(None, "*all"), &mut body);
        return Reply::json(200, body);
    }
    Reply::new(204, "", "")
}

/// Does what `fields` and `update` say to a copy of the ticket.
fn change(site: &Site, body: &Map<String, Value>, ticket: &mut Ticket) -> Result<(), Reply> {
    let (fields, update) = maps(site, body)?;
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("summary", Value::String(text)) if !text.trim().is_empty() => {
                ticket.summary.clone_from(text);
            }
            ("description", value) => {
                let good = match value {
                    Value::Null => true,
                    Value::String(_) => !site.cloud,
                    document => site.cloud && adf::check(document).is_ok(),
                };
                if !good {
                    return Err(refusal::fields(400, &[no_document(site, "description")]));
                }
                ticket.description = (!value.is_null()).then(|| value.to_string());
            }
            ("labels", Value::Array(all)) => ticket.labels = labels(site, all)?,
            (name, _) => return Err(refusal::fields(400, &[off_screen(site, name)])),
        }
    }
    for (name, operations) in update {
        if name != "labels" {
            return Err(refusal::fields(400, &[off_screen(site, name)]));
        }
        for (verb, value) in operations_of(site, operations)? {
            match (verb.as_str(), value) {
                ("set", Value::Array(all)) => ticket.labels = labels(site, all)?,
                ("add", one @ Value::String(_)) => {
                    let mut all = labels(site, std::slice::from_ref(one))?;
                    ticket.labels.retain(|l| !all.contains(l));
                    ticket.labels.append(&mut all);
                }
                // Exactly this one. None is removed where it is not there.
                ("remove", Value::String(one)) => ticket.labels.retain(|l| l != one),
                _ => return Err(refusal::fields(400, &[no_string(site, "labels")])),
            }
        }
    }
    Ok(())
}

/// Values by the names of fields.
type Named<'b> = &'b Map<String, Value>;

/// `fields` and `update`, which must not both name a field.
pub fn maps<'b>(
    site: &Site,
    body: &'b Map<String, Value>,
) -> Result<(Named<'b>, Named<'b>), Reply> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let of = |key: &str| match body.get(key) {
        None => Ok(&*NONE),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(refusal::payload(site)),
    };
    let (fields, update) = (of("fields")?, of("update")?);
    match fields.keys().find(|name| update.contains_key(*name)) {
        Some(name) => {
            let text = format!("Field '{name}' cannot appear in both 'fields' and 'update'");
            Err(refusal::fields(400, &[(name.clone(), text)]))
        }
        None => Ok((fields, update)),
    }
}

/// The operations of one field of `update`, a verb each.
pub fn operations_of<'v>(
    site: &Site,
    operations: &'v Value,
) -> Result<Vec<(&'v String, &'v Value)>, Reply> {
    let refused = || refusal::payload(site);
    let mut all = vec![];
    for operation in operations.as_array().ok_or_else(refused)? {
        for (verb, value) in operation.as_object().ok_or_else(refused)? {
            if !["add", "copy", "edit", "remove", "set"].contains(&verb.as_str()) {
                return Err(refused());
            }
            all.push((verb, value));
        }
    }
    Ok(all)
}

fn labels(site: &Site, all: &[Value]) -> Result<Vec<String>, Reply> {
    let mut labels: Vec<String> = vec![];
    for label in all {
        let Some(label) = label.as_str() else {
            return Err(refusal::fields(400, &[no_string(site, "labels")]));
        };
        if label.is_empty() || label.contains(char::is_whitespace) {
            let text = site.say(
                &format!("The label '{label}' contains spaces which is invalid."),
                &format!("Das Stichwort „{label}“ enthält Leerzeichen und ist daher ungültig."),
            );
            return Err(refusal::fields(400, &[("labels".to_owned(), text)]));
        }
        if label.chars().count() > 255 {
            let text = format!(
                "The label '{label}' exceeds the maximum length for a single label of 255 characters."
            );
            return Err(refusal::fields(400, &[("labels".to_owned(), text)]));
        }
        if !labels.iter().any(|l| l == label) {
            labels.push(label.to_owned());
        }
    }
    Ok(labels)
}

pub fn off_screen(site: &Site, name: &str) -> (String, String) {
    let text = site.say(
        &format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."),
        &format!("Das Feld „{name}“ kann nicht gesetzt werden. Es ist nicht auf der entsprechenden Maske oder unbekannt."),
    );
    (name.to_owned(), text)
}

fn no_string(site: &Site, name: &str) -> (String, String) {
    (
        name.to_owned(),
        site.say(
            "data was not of type string",
            "Daten sind nicht vom Typ String",
        ),
    )
}

fn no_document(site: &Site, name: &str) -> (String, String) {
    let text = if site.cloud {
        site.say(
            "Operation value must be an Atlassian Document (see the Atlassian Document Format)",
            "Der Wert muss ein Atlassian-Dokument sein (siehe Atlassian Document Format)",
        )
    } else {
        site.say(
            "Operation value must be a string",
            "Der Wert muss ein String sein",
        )
    };
    (name.to_owned(), text)
}

/// What is wrong with the text of a comment or description. None: nothing.
pub fn wrong_text(site: &Site, name: &str, body: Option<&Value>) -> Option<Reply> {
    let Some(body) = body else {
        let text = site.say(
            "Comment body can not be empty!",
            "Der Text darf nicht leer sein!",
        );
        return Some(refusal::fields(400, &[(name.to_owned(), text)]));
    };
    let units = |text: &str| text.encode_utf16().count();
    if site.cloud {
        if !body.is_object() {
            let text = site.say("Comment body is not valid!", "Der Text ist ungültig!");
            return Some(refusal::fields(400, &[(name.to_owned(), text)]));
        }
        if units(&body.to_string()) > LONGEST {
            return Some(refusal::messages(400, &["CONTENT_LIMIT_EXCEEDED"]));
        }
        return adf::check(body)
            .err()
            .map(|_| refusal::messages(400, &["INVALID_INPUT"]));
    }
    match body.as_str() {
        None => Some(refusal::messages(
            400,
            &["Can not deserialize instance of java.lang.String out of START_OBJECT token"],
        )),
        Some(text) if text.trim().is_empty() => wrong_text(site, name, None),
        Some(text) if units(text) > LONGEST => {
            let text = site.say(
                "The entered text is too long. It exceeds the allowed limit of 32,767 characters.",
                "Der eingegebene Text ist zu lang. Er überschreitet die zulässige Länge von 32.767 Zeichen.",
            );
            Some(refusal::fields(400, &[(name.to_owned(), text)]))
        }
        Some(_) => None,
    }
}

pub fn comments(site: &Site, request: &Request<'_>, ticket: &Ticket) -> Reply {
    let (start, most) = match (
        request.number("startAt", site),
        request.number("maxResults", site),
    ) {
        (Ok(start), Ok(most)) => (start.unwrap_or(0).max(0) as usize, most),
        (Err(reply), _) | (_, Err(reply)) => return reply,
    };
    let most = if site.cloud {
        most.unwrap_or(100).clamp(1, 100) as usize
    } else {
        // As it was until 8.20: all of them.
        most.filter(|m| *m >= 0).map_or(usize::MAX, |m| m as usize)
    };
    let mut all: Vec<&Comment> = ticket.comments.iter().collect();
    match request.param("orderBy") {
        None | Some("created" | "+created" | " created") => {}
        Some("-created") if site.knows_no_order => {}
        Some("-created") => all.reverse(),
        Some(other) => {
            let text = format!("The orderBy field '{other}' is not known.");
            return refusal::messages(400, &[text]);
        }
    }
    let total = all.len();
    let shown: Vec<&Comment> = all.into_iter().skip(start).take(most).collect();
    let echoed = if most == usize::MAX { total } else { most };
    Reply::json(
        200,
        render::page(site, ticket, &shown, start, echoed, total),
    )
}

pub fn comment(site: &mut Site, request: &Request<'_>, ticket: &Ticket) -> Reply {
    let body = match request.body(site, &["body", "visibility", "properties"]) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    if let Some(reply) = wrong_text(site, "comment", body.get("body")) {
        return reply;
    }
    if ticket.read_only {
        let text = site.say(
            "You do not have the permission to comment on this issue.",
            "Sie haben keine Berechtigung, diesen Vorgang zu kommentieren.",
        );
        return refusal::messages(400, &[text]);
    }
    let author = site.account.display.clone();
    let comment = site.add_comment(ticket.id, &author, body["body"].to_string());
    Reply::json(201, render::comment(site, ticket, &comment))
}
