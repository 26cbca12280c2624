//! Moving an issue through the workflow, with the screens on the way.

use serde_json::{Map, Value, json};

use super::{
    http::Reply,
    issue, refusal,
    routes::Request,
    site::{ScreenField, Site, Transition},
    ticket::Ticket,
};

/// What leads away from where the ticket is, for the one who asks.
fn ways<'s>(site: &'s Site, ticket: &Ticket) -> Vec<&'s Transition> {
    let open = |t: &&Transition| t.from.is_empty() || t.from.contains(&ticket.status);
    site.workflow
        .iter()
        .filter(|_| !ticket.read_only)
        .filter(open)
        .collect()
}

pub fn list(site: &Site, request: &Request<'_>, ticket: &Ticket) -> Reply {
    let expand = request.list("expand").unwrap_or_default();
    let with_fields = expand.iter().any(|e| e == "transitions.fields");
    let one = request.param("transitionId");
    let ways = ways(site, ticket)
        .into_iter()
        .filter(|w| one.is_none_or(|id| w.id == id));
    let ways: Vec<Value> = ways.map(|way| render(site, way, with_fields)).collect();
    Reply::json(
        200,
        json!({"expand": "transitions", "transitions": ways}).to_string(),
    )
}

fn render(site: &Site, way: &Transition, with_fields: bool) -> Value {
    let to: Value = serde_json::from_str(&site.status(&way.to).json).expect("JSON");
    let mut json = json!({"id": way.id, "name": way.name, "to": to});
    if site.cloud {
        json["hasScreen"] = (!way.fields.is_empty()).into();
        json["isGlobal"] = way.from.is_empty().into();
        json["isInitial"] = false.into();
        json["isAvailable"] = true.into();
        json["isConditional"] = false.into();
        json["looped"] = false.into();
    }
    if with_fields {
        let told = way.fields.iter().filter(|f| !f.untold);
        json["fields"] = told
            .map(|f| (f.id.clone(), field(site, f)))
            .collect::<Map<_, _>>()
            .into();
    }
    json
}

fn field(site: &Site, field: &ScreenField) -> Value {
    let kind = match field.id.as_str() {
        "resolution" => json!({"type": "resolution", "system": "resolution"}),
        "assignee" => json!({"type": "user", "system": "assignee"}),
        id if !field.allowed.is_empty() => json!({
            "type": "option",
            "custom": "com.atlassian.jira.plugin.system.customfieldtypes:select",
            "customId": id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(10_010),
        }),
        _ => json!({"type": "string", "system": field.id}),
    };
    let mut json = json!({
        "required": field.required,
        "schema": kind,
        "name": name(field),
        if site.cloud { "key" } else { "fieldId" }: field.id,
        "hasDefaultValue": field.has_default,
        "operations": ["set"],
    });
    if !field.allowed.is_empty() {
        let allowed = field.allowed.iter().enumerate();
        let allowed = allowed.map(|(at, name)| {
            let id = (10_000 + at).to_string();
            json!({"self": format!("{}/{}/{id}", site.api(), field.id), "id": id, "name": name})
        });
        json["allowedValues"] = allowed.collect::<Vec<_>>().into();
    }
    json
}

fn name(field: &ScreenField) -> String {
    let mut letters = field.id.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

pub fn make(site: &mut Site, request: &Request<'_>, ticket: &Ticket) -> Reply {
    let keys = [
        "transition",
        "fields",
        "update",
        "historyMetadata",
        "properties",
    ];
    let body = match request.body(site, &keys) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let id = match body.get("transition").map(|t| &t["id"]) {
        Some(Value::String(id)) if id.bytes().all(|b| b.is_ascii_digit()) => id.clone(),
        Some(Value::Null) | None => {
            let text = site.say(
                "Missing 'transition' identifier",
                "Die Angabe „transition“ fehlt",
            );
            return refusal::messages(400, &[text]);
        }
        Some(_) => return refusal::payload(site),
    };
    let Some(way) = ways(site, ticket)
        .into_iter()
        .find(|way| way.id == id)
        .cloned()
    else {
        let nowhere = site.workflow.iter().all(|way| way.id != id);
        if nowhere && !site.cloud {
            return refusal::stack_trace(&format!("transition {id} does not exist"));
        }
        let text = site.say(
            &format!("Transition id '{id}' is not valid for this issue."),
            &format!("Die Übergangs-ID „{id}“ ist für diesen Vorgang ungültig."),
        );
        return refusal::messages(400, &[text]);
    };
    let (resolution, comments) = match screen(site, &way, &body) {
        Ok(told) => told,
        Err(reply) => return reply,
    };
    let id = ticket.id.to_string();
    site.edit(&id, |t| {
        t.status.clone_from(&way.to);
        if resolution.is_some() {
            t.resolution = resolution;
        }
    });
    let author = site.account.display.clone();
    for comment in comments {
        site.add_comment(ticket.id, &author, comment);
    }
    Reply::new(204, "", "")
}

/// What the screen is given: the resolution and comments to add.
fn screen(
    site: &Site,
    way: &Transition,
    body: &Map<String, Value>,
) -> Result<(Option<String>, Vec<String>), Reply> {
    let (fields, update) = issue::maps(site, body)?;
    let mut given: Vec<(&str, &Value)> = fields.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let mut comments = vec![];
    for (name, operations) in update {
        for (verb, value) in issue::operations_of(site, operations)? {
            match (name.as_str(), verb.as_str()) {
                // Needs no place on the screen.
                ("comment", "add") => {
                    let text = value.get("body");
                    if let Some(reply) = issue::wrong_text(site, "comment", text) {
                        return Err(reply);
                    }
                    comments.extend(text.map(Value::to_string));
                }
                (name, "set") => given.push((name, value)),
                _ => return Err(refusal::payload(site)),
            }
        }
    }
    let mut errors = vec![];
    let mut resolution = None;
    for (name, value) in given {
        let Some(field) = way.fields.iter().find(|f| f.id == name) else {
            errors.push(issue::off_screen(site, name));
            continue;
        };
        match allowed(field, value) {
            Some(chosen) if name == "resolution" => resolution = Some(chosen),
            Some(_) => {}
            None => {
                let text = site.say(
                    "Could not find valid 'id' or 'name'",
                    "Ungültige Angabe für „id“ oder „name“",
                );
                errors.push((name.to_owned(), text));
            }
        }
    }
    for field in way.fields.iter().filter(|f| f.required && !f.has_default) {
        let there = fields.contains_key(&field.id) || update.contains_key(&field.id);
        if !there {
            let name = name(field);
            let text = site.say(
                &format!("{name} is required."),
                &format!("{name} ist erforderlich."),
            );
            errors.push((field.id.clone(), text));
        }
    }
    if errors.is_empty() {
        Ok((resolution, comments))
    } else {
        Err(refusal::fields(400, &errors))
    }
}

/// The name of what was chosen. None: it may not be chosen.
fn allowed(field: &ScreenField, value: &Value) -> Option<String> {
    if field.allowed.is_empty() {
        return Some(value.as_str().unwrap_or_default().to_owned());
    }
    let by_name = |name: &str| field.allowed.iter().find(|a| *a == name);
    let by_id = |id: &str| {
        field
            .allowed
            .get(id.parse::<usize>().ok()?.checked_sub(10_000)?)
    };
    let named = value["name"].as_str().or_else(|| value["value"].as_str());
    named
        .and_then(by_name)
        .or_else(|| by_id(value["id"].as_str()?))
        .cloned()
}
