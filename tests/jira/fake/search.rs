//! The three ways to get many issues: Cloud's search with its tokens, Data
//! Center's with its numbers, and Cloud's look-up by keys.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    http::Reply,
    jql::Query,
    refusal,
    render::{self, Wanted},
    routes::Request,
    site::{Site, Walk},
    ticket::Ticket,
};

/// What a token looks like to those who want to look into it: nothing that may
/// go into a URL as it is.
const TOKEN: &str = "CAEaAggB+JA/";

/// What was asked for, from the body or the query.
struct Search {
    jql: Option<String>,
    most: Option<i64>,
    fields: Option<Vec<String>>,
    token: Option<String>,
    start: i64,
    reconcile: Vec<u64>,
    validate: bool,
}

pub fn cloud(site: &mut Site, request: &Request<'_>) -> Reply {
    let search = match cloud_search(site, request) {
        Ok(search) => search,
        Err(reply) => return reply,
    };
    let most = search.most.unwrap_or(50);
    if !(1..=5000).contains(&most) {
        return refusal::messages(
            400,
            &[site.say(
                "The value of maxResults must be between 1 and 5000.",
                "Der Wert von maxResults muss zwischen 1 und 5000 liegen.",
            )],
        );
    }
    if search.reconcile.len() > 50 {
        return refusal::messages(400, &["The max number of issues to reconcile is 50."]);
    }
    let text = search.jql.clone().unwrap_or_default();
    let query = match Query::read(&text, site) {
        Ok(query) => query,
        Err(error) => return refusal::messages(400, &[error]),
    };
    if !query.is_bounded() {
        return refusal::messages(
            400,
            &[site.say(
                "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.",
                "Unbegrenzte JQL-Abfragen sind hier nicht zulässig. Fügen Sie Ihrer Abfrage eine Einschränkung hinzu.",
            )],
        );
    }
    if query.orders() > 7 {
        return refusal::messages(400, &["The maximum number of fields in ORDER BY is 7."]);
    }
    if !request.known && !site.public {
        return Reply::json(200, r#"{"issues":[],"isLast":true}"#);
    }
    if let Err(unknown) = query.check(site) {
        return refusal::messages(400, &unknown);
    }
    let walk = match &search.token {
        None => Walk {
            ids: found(site, &query, &search.reconcile),
            jql: text,
            from: 0,
            before: 0,
        },
        Some(token) => match site.walks.get(token).filter(|walk| walk.jql == text) {
            Some(walk) => {
                let ids = Arc::clone(&walk.ids);
                Walk {
                    ids,
                    jql: text,
                    from: walk.from,
                    before: walk.before,
                }
            }
            None => {
                return refusal::messages(
                    400,
                    &[site.say(
                        "The provided nextPageToken is invalid.",
                        "Der angegebene nextPageToken ist ungültig.",
                    )],
                );
            }
        },
    };
    page_of(site, request, &search, walk, most as usize)
}

fn page_of(
    site: &mut Site,
    request: &Request<'_>,
    search: &Search,
    walk: Walk,
    most: usize,
) -> Reply {
    let wanted = Wanted::new(search.fields.clone(), "id");
    let cap = if wanted.keys_only {
        5000
    } else {
        site.page_cap
    };
    let mut from = walk.from;
    if request.page.same_page {
        from = walk.before;
    }
    let end = (from + most.min(cap)).min(walk.ids.len());
    let mut next = end;
    let mut shown = &walk.ids[from..end];
    if request.page.empty {
        (shown, next) = (&[], from);
    }
    if request.page.same_page {
        // The walk goes on where it would have gone on.
        next = walk.from;
    }
    let mut body = String::with_capacity(64 + shown.len() * 1024);
    body.push_str("{\"issues\":[");
    let mut first = true;
    for id in shown {
        // What reconciliation asks for is read from the store.
        let fresh = search.reconcile.contains(id);
        let ticket = if fresh {
            site.stored(*id)
        } else {
            site.indexed(*id)
        };
        let Some(ticket) = ticket else {
            continue;
        };
        body.push_str(if first { "" } else { "," });
        first = false;
        render::issue(site, ticket, &wanted, &mut body);
    }
    body.push(']');
    let last = next >= walk.ids.len() && !request.page.same_token;
    if !last {
        let given = search.token.clone().filter(|_| request.page.same_token);
        let token = given.unwrap_or_else(|| format!("{TOKEN}{:06x}==", site.walks.len() + 1));
        let new = Walk {
            from: next,
            before: from,
            ..walk
        };
        body.push_str(&format!(",\"nextPageToken\":{}", render::string(&token)));
        if request.page.same_token {
            // What it leads to stays as it is, or is this very page.
            let same = Walk { from, ..new };
            site.walks.entry(token).or_insert(same);
        } else {
            site.walks.insert(token, new);
        }
    }
    body.push_str(&format!(",\"isLast\":{last}}}"));
    Reply::json(200, body)
}

/// The ids that fit, in their order.
fn found(site: &mut Site, query: &Query, reconcile: &[u64]) -> Arc<Vec<u64>> {
    let mut tickets = site.index();
    for id in reconcile {
        match site.stored(*id) {
            Some(ticket) => drop(tickets.insert(*id, Arc::clone(ticket))),
            None => drop(tickets.remove(id)),
        }
    }
    let site = &*site;
    let fits = |t: &&Arc<Ticket>| !t.hidden && query.matches(t, site);
    let mut all: Vec<&Arc<Ticket>> = tickets.values().filter(fits).collect();
    all.sort_by(|a, b| query.compare(a, b, site));
    Arc::new(all.iter().map(|t| t.id).collect())
}

fn cloud_search(site: &Site, request: &Request<'_>) -> Result<Search, Reply> {
    if request.asked.method == "GET" {
        return Ok(Search {
            jql: request.param("jql").map(str::to_owned),
            most: request.number("maxResults", site)?,
            fields: request.list("fields"),
            token: request
                .param("nextPageToken")
                .map(str::to_owned)
                .filter(|t| !t.is_empty()),
            start: 0,
            reconcile: numbers(&request.list("reconcileIssues").unwrap_or_default()),
            validate: true,
        });
    }
    let keys = [
        "jql",
        "nextPageToken",
        "maxResults",
        "fields",
        "expand",
        "properties",
        "fieldsByKeys",
        "failFast",
        "reconcileIssues",
    ];
    let body = request.body(site, &keys)?;
    if body.get("reconcileIssues").is_some_and(Value::is_null) {
        return Err(refusal::stack_trace(
            "Cannot invoke \"java.util.List.size()\" because it is null",
        ));
    }
    let good = [
        typed(&body, "jql", |v| v.is_string() || v.is_null()),
        typed(&body, "nextPageToken", |v| v.is_string() || v.is_null()),
        typed(&body, "maxResults", |v| v.is_i64() || v.is_null()),
        typed(&body, "fields", is_strings),
        typed(&body, "expand", Value::is_string),
        typed(&body, "properties", |v| {
            is_strings(v) && v.as_array().is_some_and(|a| a.len() <= 5)
        }),
        typed(&body, "fieldsByKeys", Value::is_boolean),
        typed(&body, "failFast", Value::is_boolean),
        typed(&body, "reconcileIssues", |v| {
            v.as_array()
                .is_some_and(|all| all.iter().all(Value::is_u64))
        }),
    ];
    if good.contains(&false) {
        return Err(refusal::payload(site));
    }
    let reconcile = body.get("reconcileIssues").and_then(Value::as_array);
    Ok(Search {
        reconcile: reconcile
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect(),
        token: string(&body, "nextPageToken").filter(|t| !t.is_empty()),
        // Nothing is as wrong as zero here.
        most: body
            .get("maxResults")
            .map(|most| most.as_i64().unwrap_or(0)),
        ..common(&body)
    })
}

fn common(body: &Map<String, Value>) -> Search {
    Search {
        jql: string(body, "jql"),
        most: body.get("maxResults").and_then(Value::as_i64),
        fields: body.get("fields").map(strings),
        token: None,
        start: body.get("startAt").and_then(Value::as_i64).unwrap_or(0),
        reconcile: vec![],
        validate: body
            .get("validateQuery")
            .and_then(Value::as_bool)
            .unwrap_or(true),
    }
}

fn typed(body: &Map<String, Value>, key: &str, is: impl Fn(&Value) -> bool) -> bool {
    body.get(key).is_none_or(is)
}

fn is_strings(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|all| all.iter().all(Value::is_string))
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn string(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn numbers(texts: &[String]) -> Vec<u64> {
    texts.iter().filter_map(|t| t.parse().ok()).collect()
}

pub fn data_center(site: &mut Site, request: &Request<'_>) -> Reply {
    let search = match data_center_search(site, request) {
        Ok(search) => search,
        Err(reply) => return reply,
    };
    let text = search.jql.clone().unwrap_or_default();
    let query = match Query::read(&text, site) {
        Ok(query) => query,
        Err(error) => return refusal::warned(400, &[error]),
    };
    let most = search.most.unwrap_or(50);
    if search.start < 0 {
        return refusal::messages(400, &["startAt must not be negative"]);
    }
    // The server takes less than it is asked for, and says so only here.
    let most = if most < 0 {
        site.page_cap
    } else {
        (most as usize).min(site.page_cap)
    };
    let start = search.start as usize;
    if start + most > 10_000 {
        return refusal::stack_trace("Search limit exceeded");
    }
    if !request.known && !site.public {
        let body =
            format!("{{\"startAt\":{start},\"maxResults\":{most},\"total\":0,\"issues\":[]}}");
        return Reply::json(200, body);
    }
    let warnings = match query.check(site) {
        Err(unknown) if search.validate => return refusal::messages(400, &unknown),
        Err(unknown) => unknown,
        Ok(()) => vec![],
    };
    let ids = found(site, &query, &[]);
    let from = if request.page.same_page {
        start.saturating_sub(most)
    } else {
        start
    };
    let end = if request.page.empty {
        from
    } else {
        (from + most).min(ids.len())
    };
    let wanted = Wanted::new(search.fields, "*navigable");
    let mut body = format!(
        "{{\"expand\":\"schema,names\",\"startAt\":{start},\"maxResults\":{most},\"total\":{},\"issues\":[",
        ids.len()
    );
    let shown = ids.get(from..end).unwrap_or_default();
    for (at, ticket) in shown.iter().filter_map(|id| site.indexed(*id)).enumerate() {
        body.push_str(if at > 0 { "," } else { "" });
        render::issue(site, ticket, &wanted, &mut body);
    }
    body.push(']');
    if !warnings.is_empty() {
        let warnings: Vec<String> = warnings.iter().map(|w| render::string(w)).collect();
        body.push_str(&format!(",\"warningMessages\":[{}]", warnings.join(",")));
    }
    body.push('}');
    Reply::json(200, body)
}

fn data_center_search(site: &Site, request: &Request<'_>) -> Result<Search, Reply> {
    if request.asked.method == "GET" {
        return Ok(Search {
            jql: request.param("jql").map(str::to_owned),
            most: request.number("maxResults", site)?,
            fields: request.list("fields"),
            token: None,
            start: request.number("startAt", site)?.unwrap_or(0),
            reconcile: vec![],
            validate: request.param("validateQuery") != Some("false"),
        });
    }
    let keys = [
        "jql",
        "startAt",
        "maxResults",
        "fields",
        "expand",
        "validateQuery",
    ];
    let body = request.body(site, &keys)?;
    let good = [
        typed(&body, "jql", Value::is_string),
        typed(&body, "startAt", Value::is_i64),
        typed(&body, "maxResults", Value::is_i64),
        typed(&body, "fields", is_strings),
        typed(&body, "expand", is_strings),
        typed(&body, "validateQuery", Value::is_boolean),
    ];
    if good.contains(&false) {
        return Err(refusal::messages(
            400,
            &["Can not deserialize instance out of START_OBJECT token"],
        ));
    }
    Ok(common(&body))
}

/// At most 100 issues by id or key. What is not there is not in the answer.
pub fn bulk(site: &mut Site, request: &Request<'_>) -> Reply {
    let keys = [
        "issueIdsOrKeys",
        "fields",
        "expand",
        "fieldsByKeys",
        "properties",
    ];
    let body = match request.body(site, &keys) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let good = body.get("issueIdsOrKeys").is_some_and(is_strings)
        && typed(&body, "fields", is_strings)
        && typed(&body, "expand", is_strings)
        && typed(&body, "properties", is_strings)
        && typed(&body, "fieldsByKeys", Value::is_boolean);
    let asked = body.get("issueIdsOrKeys").map(strings).unwrap_or_default();
    if !good || asked.is_empty() {
        return refusal::payload(site);
    }
    if asked.len() > 100 {
        return refusal::messages(400, &["The number of issues to fetch must be at most 100."]);
    }
    let wanted = Wanted::new(body.get("fields").map(strings), "*navigable");
    let mut found: Vec<&Arc<Ticket>> = asked
        .iter()
        .filter(|_| request.known)
        .filter_map(|key| site.find(key))
        .collect();
    found.sort_by_key(|t| t.id);
    found.dedup_by_key(|t| t.id);
    let mut body = String::from("{\"expand\":\"names,schema\",\"issues\":[");
    for (at, ticket) in found.into_iter().enumerate() {
        body.push_str(if at > 0 { "," } else { "" });
        render::issue(site, ticket, &wanted, &mut body);
    }
    body.push_str("],\"issueErrors\":[]}");
    Reply::json(200, body)
}
