//! From a request to its answer: where it goes, who asks, what is wrong with
//! it as a request, and the headers that stand in every answer.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{
    account::{self, Caller},
    fault::{self, Fault, Kind, Page},
    http::{self, Message, Reply},
    issue, refusal, render, search,
    server::Manner,
    site::{Asked, Site},
    stamp, transitions,
};

/// A client may send what it had begun before it read of a rest.
const IN_FLIGHT: Duration = Duration::from_millis(100);

/// <https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/>
const GATEWAY: &str = "api.atlassian.com";

/// Query parameters that the resources know. A misspelt one is ignored by
/// Jira, and a violation here.
const PARAMETERS: &[&str] = &[
    "expand",
    "expand[]",
    "fields",
    "fieldsByKeys",
    "failFast",
    "includeUnavailableTransitions",
    "jql",
    "maxResults",
    "nextPageToken",
    "notifyUsers",
    "orderBy",
    "overrideEditableFlag",
    "overrideScreenSecurity",
    "properties",
    "reconcileIssues",
    "returnIssue",
    "skipRemoteOnlyCondition",
    "sortByOpsBarAndStatus",
    "startAt",
    "transitionId",
    "updateHistory",
    "validateQuery",
    "doHealthCheck",
];

/// What the resources are given.
pub struct Request<'r> {
    pub asked: &'r Asked,
    pub known: bool,
    pub page: Page,
}

impl Request<'_> {
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self.asked.query.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A number in the query. An error where it is none.
    pub fn number(&self, name: &str, site: &Site) -> Result<Option<i64>, Reply> {
        let Some(text) = self.param(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let detail = format!("Failed to convert '{name}' with value: '{text}'");
            if site.cloud {
                refusal::problem(400, "Bad Request", &detail, &self.asked.path)
            } else {
                refusal::html(404, &detail)
            }
        })
    }

    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let all = self.asked.query.iter().filter(|(n, _)| n == name);
        let split = |v: &String| {
            v.split(',')
                .map(|f| f.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let all: Vec<String> = all
            .flat_map(|(_, v)| split(v))
            .filter(|f| !f.is_empty())
            .collect();
        (!all.is_empty()).then_some(all)
    }

    /// The body, which has to be an object of JSON with no keys but these.
    pub fn body(&self, site: &Site, keys: &[&str]) -> Result<Map<String, Value>, Reply> {
        let kind = self.asked.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let detail = format!("Content-Type '{kind}' is not supported.");
            return Err(if site.cloud {
                refusal::problem(415, "Unsupported Media Type", &detail, &self.asked.path)
            } else {
                refusal::html(415, "Unsupported Media Type")
            });
        }
        match serde_json::from_slice(&self.asked.body) {
            Ok(Value::Object(body)) if body.keys().all(|k| keys.contains(&k.as_str())) => Ok(body),
            Ok(_) => Err(refusal::payload(site)),
            Err(error) => Err(refusal::messages(400, &[error.to_string()])),
        }
    }
}

/// Answers one request: the answer, and how it goes out.
pub fn answer(site: &mut Site, message: Message) -> (Reply, Manner) {
    let at = Instant::now();
    let (asked, place) = asked(site, &message, at);
    let number = site.requests.len();
    site.requests.push(asked.clone());
    look(site, &asked, &message, at);
    site.account.tick();
    let fault = fault::take(site, &asked);
    let (reply, manner) = with_fault(site, &asked, &message, place, fault.as_ref());
    note_rest(site, &asked, &reply, at);
    site.requests[number].status = reply.status;
    (reply, manner)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Site,
    Gateway,
    Nowhere,
}

fn asked(site: &Site, message: &Message, at: Instant) -> (Asked, Place) {
    // A proxy may be told the whole address.
    let target = match message.target.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
        None => &message.target,
    };
    let (raw, query) = target.split_once('?').unwrap_or((target, ""));
    let inside = |prefix: &str| {
        raw.strip_prefix(prefix)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let gateway = format!("/ex/jira/{}", site.cloud_id);
    // Behind TLS the two have names of their own.
    let host = message.header("host").unwrap_or_default();
    let named = site.base.starts_with("https:");
    let right_host = |gateway: bool| !named || gateway == host.starts_with(GATEWAY);
    let (path, place) = match (inside(&gateway), inside(&site.context)) {
        (Some(path), _) if site.cloud && right_host(true) => (path, Place::Gateway),
        _ if site.cloud && raw.starts_with("/ex/") => (raw, Place::Nowhere),
        (_, Some(path)) if right_host(false) => (path, Place::Site),
        _ => (raw, Place::Nowhere),
    };
    let asked = Asked {
        at,
        method: message.method.clone(),
        target: message.target.clone(),
        path: http::decode(path, false).unwrap_or_default(),
        query: http::query(query).unwrap_or_default(),
        headers: message.headers.clone(),
        host: host.to_owned(),
        gateway: place == Place::Gateway,
        body: message.body.clone(),
        status: 0,
    };
    (asked, place)
}

/// What is wrong with a request whatever it asks for.
fn look(site: &mut Site, asked: &Asked, message: &Message, at: Instant) {
    let mut wrong = vec![];
    let count = |name: &str| {
        message
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count()
    };
    if count("cookie") > 0 {
        wrong.push("sent a cookie".to_owned());
    }
    if matches!(asked.method.as_str(), "GET" | "HEAD") && message.framed {
        wrong.push("has a body".to_owned());
    }
    for name in ["host", "authorization", "content-type", "content-length"] {
        if count(name) > 1 {
            wrong.push(format!("has {name} twice"));
        }
    }
    if count("host") == 0 {
        wrong.push("has no host".to_owned());
    }
    if count("authorization") > 0 && !site.hosts.contains(&asked.host) {
        wrong.push(format!("sent credentials to {}", asked.host));
    }
    for (name, _) in &asked.query {
        if !PARAMETERS.contains(&name.as_str()) {
            wrong.push(format!("has an unknown query parameter {name:?}"));
        }
    }
    for (begun, until, issue) in &site.rests {
        let concerns = issue.as_ref().is_none_or(|issue| {
            asked.method != "GET" && issue_of(&asked.path) == Some(issue.as_str())
        });
        if concerns && at > *begun + IN_FLIGHT && at < *until {
            let left = until.duration_since(at).as_secs_f32();
            wrong.push(format!("came {left:.2} s before it was to be tried again"));
        }
    }
    for what in wrong {
        site.violations
            .push(format!("{} {}: {what}", asked.method, asked.target));
    }
}

fn with_fault(
    site: &mut Site,
    asked: &Asked,
    message: &Message,
    place: Place,
    fault: Option<&Fault>,
) -> (Reply, Manner) {
    let page = Page::of(fault);
    let own = fault.and_then(|f| fault::reply(f, site));
    let done = fault.is_none_or(|f| f.done);
    let whole = if done {
        served(site, asked, message, place, page)
    } else {
        refusal::of(503, site)
    };
    let manner = match fault.map(|f| &f.kind) {
        Some(Kind::Slow(wait)) => Manner::After(*wait),
        Some(Kind::Trickle(wait)) => Manner::Slowly(*wait),
        Some(Kind::CutOff) => Manner::Half,
        Some(Kind::Close) => Manner::Nothing,
        Some(Kind::Hang) => Manner::Never,
        Some(Kind::ThenClose) => Manner::ThenClose,
        Some(Kind::Status { .. } | Kind::SameToken | Kind::SamePage | Kind::EmptyPage) | None => {
            Manner::Whole
        }
    };
    (own.unwrap_or(whole), manner)
}

/// The key in `/rest/api/3/issue/A-1/…`.
fn issue_of(path: &str) -> Option<&str> {
    let rest = path.split_once("/issue/")?.1;
    rest.split('/').next()
}

/// From when on a client that was told to wait may come back.
fn note_rest(site: &mut Site, asked: &Asked, reply: &Reply, at: Instant) {
    if !matches!(reply.status, 429 | 503) {
        return;
    }
    let Some(after) = http::header(&reply.headers, "retry-after") else {
        return;
    };
    let wait = match after.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let now = stamp::now();
            let Some(then) = stamp::read_http(after) else {
                return;
            };
            Duration::from_millis((then - now).max(0) as u64)
        }
    };
    let reason = http::header(&reply.headers, "ratelimit-reason").unwrap_or_default();
    let issue = (reason == "jira-per-issue-on-write").then(|| issue_of(&asked.path));
    let issue = issue.flatten().map(str::to_owned);
    site.rests.push((at, at + wait, issue));
}

fn served(site: &mut Site, asked: &Asked, message: &Message, place: Place, page: Page) -> Reply {
    if place == Place::Nowhere {
        return refusal::html(404, "Not Found");
    }
    let gateway = place == Place::Gateway;
    if site.cloud && !gateway && asked.path == "/_edge/tenant_info" {
        let body = format!("{{\"cloudId\":\"{}\"}}", site.cloud_id);
        return Reply::new(200, "application/json", body);
    }
    if site.cloud && !message.target.is_ascii() {
        return refusal::html(400, "Bad Request");
    }
    if site.cloud && matches!(asked.method.as_str(), "GET" | "HEAD") && message.framed {
        return refusal::html(
            400,
            "Your client has issued a malformed or illegal request.",
        );
    }
    let (known, failed) = match account::caller(site, message, gateway, &asked.path) {
        Caller::Known => (true, false),
        Caller::Anonymous { failed } => (false, failed),
        Caller::Refused(reply) => return *reply,
    };
    let reply = route(site, &Request { asked, known, page });
    dressed(site, reply, known, failed)
}

/// What stands in every answer.
fn dressed(site: &Site, mut reply: Reply, known: bool, failed: bool) -> Reply {
    if !site.cloud {
        let name = if known {
            site.account.user.as_str()
        } else {
            "anonymous"
        };
        reply = reply
            .header("X-AREQUESTID", "1071x1x1")
            .header("X-AUSERNAME", name)
            .header(
                "Set-Cookie",
                "JSESSIONID=0123456789ABCDEF; Path=/; HttpOnly",
            )
            .header("Set-Cookie", "atlassian.xsrf.token=B-Q_lin; Path=/");
        if known {
            let refused = reply.status == 429;
            reply = reply
                .header("X-Seraph-LoginReason", "OK")
                .header("X-RateLimit-Limit", "50")
                .header("X-RateLimit-Remaining", if refused { "0" } else { "49" })
                .header("X-RateLimit-Interval-Seconds", "60")
                .header("X-RateLimit-FillRate", "10");
            if !refused {
                reply = reply.header("Retry-After", "0");
            }
        }
        return reply;
    }
    reply = reply.header("Set-Cookie", "atlassian.xsrf.token=41b8_lin; Path=/");
    if failed {
        reply = reply.header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED");
    }
    if known {
        if !site.hides_account {
            reply = reply.header("X-AAccountId", site.account.id.replace(':', "%3A"));
        }
        reply = reply
            .header("RateLimit", "\"jira-burst-based\";r=349;t=1")
            .header("RateLimit-Policy", "\"jira-burst-based\";q=100;w=1")
            .header("X-RateLimit-Limit", "350")
            .header("X-RateLimit-Remaining", "349")
            .header("X-RateLimit-Reset", stamp::write_iso(stamp::now() + 60_000));
    }
    reply
}

fn route(site: &mut Site, request: &Request<'_>) -> Reply {
    let asked = request.asked;
    let segments: Vec<&str> = asked.path.split('/').skip(1).collect();
    let ["rest", "api", version, rest @ ..] = &*segments else {
        return nowhere(site, asked);
    };
    match (site.cloud, *version) {
        (true, "2") if !matches!(rest, ["serverInfo" | "myself" | "search"]) => {
            return nowhere(site, asked);
        }
        (true, "2" | "3") | (false, "2" | "latest") => {}
        _ => return nowhere(site, asked),
    }
    let json = asked
        .header("accept")
        .is_some_and(|a| a.contains("application/json"));
    match (asked.method.as_str(), rest) {
        ("GET", ["serverInfo"]) => Reply::json(200, render::server_info(site)),
        ("GET", ["field"]) => Reply::json(200, render::fields_known()),
        ("GET", ["myself"]) if request.known => Reply::json(200, render::myself(site)),
        ("GET", ["myself"]) => refusal::unauthenticated(json),
        ("GET" | "POST", ["search"]) if site.cloud => refusal::gone(),
        ("GET" | "POST", ["search"]) => search::data_center(site, request),
        ("GET" | "POST", ["search", "jql"]) if site.cloud => search::cloud(site, request),
        ("POST", ["issue", "bulkfetch"]) if site.cloud => search::bulk(site, request),
        (_, ["issue", key, rest @ ..]) => of_issue(site, request, key, rest),
        _ => nowhere(site, asked),
    }
}

fn of_issue(site: &mut Site, request: &Request<'_>, key: &str, rest: &[&str]) -> Reply {
    let method = request.asked.method.as_str();
    let known = match (method, rest) {
        ("GET" | "PUT", []) | ("GET" | "POST", ["comment" | "transitions"]) => true,
        (_, [] | ["comment" | "transitions"]) => {
            return refusal::problem(405, "Method Not Allowed", method, &request.asked.path);
        }
        _ => false,
    };
    if !known {
        return nowhere(site, request.asked);
    }
    // What is no number is refused before anything is looked up.
    for name in ["startAt", "maxResults"] {
        if let Err(reply) = request.number(name, site) {
            return reply;
        }
    }
    let seen = request.known || site.public && method == "GET";
    let Some(ticket) = site.find(key).filter(|_| seen).cloned() else {
        return refusal::no_issue(site);
    };
    if method != "GET"
        && let Some(seconds) = site.write(ticket.id)
    {
        let asked = request.asked;
        site.violations.push(format!(
            "{method} {}: one write too many within {seconds} s",
            asked.target
        ));
        return Reply::new(429, "text/plain", "Too many writes")
            .header("Retry-After", seconds.to_string())
            .header("RateLimit-Reason", "jira-per-issue-on-write");
    }
    match (method, rest) {
        ("GET", []) => issue::get(site, request, &ticket),
        ("PUT", []) => issue::put(site, request, &ticket),
        ("GET", ["comment"]) => issue::comments(site, request, &ticket),
        ("POST", ["comment"]) => issue::comment(site, request, &ticket),
        ("GET", _) => transitions::list(site, request, &ticket),
        _ => transitions::make(site, request, &ticket),
    }
}

fn nowhere(site: &Site, asked: &Asked) -> Reply {
    if site.cloud {
        let detail = format!("No endpoint {} {}.", asked.method, asked.path);
        return refusal::problem(404, "Not Found", &detail, &asked.path);
    }
    let body = serde_json::json!({
        "message": format!("null for uri: {}{}", site.base, asked.path),
        "status-code": 404,
    });
    Reply::json(404, body.to_string())
}
