//! Many issues: pages, tokens, caps and the index that lags.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::keys;
use crate::jira::fake::{Fake, Fault, Lag, Ticket, client::Answer};

const BOT: &str = "labels = bot ORDER BY key ASC";

fn many(jira: &Fake, count: usize) {
    jira.add_all((1..=count).map(|n| Ticket::new(&format!("A-{n}")).label("bot")));
}

fn page(jira: &Fake, token: Option<&str>) -> Answer {
    let mut body = json!({"jql": BOT, "fields": ["summary"], "maxResults": 50});
    if let Some(token) = token {
        body["nextPageToken"] = token.into();
    }
    let answer = jira.post("/rest/api/3/search/jql", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn token(answer: &Answer) -> Option<String> {
    answer
        .json()
        .get("nextPageToken")
        .map(|t| t.as_str().expect("text").to_owned())
}

#[test]
fn pages_follow_each_other_by_token_until_there_is_none() {
    let jira = Fake::cloud();
    many(&jira, 120);
    let mut all = vec![];
    let mut answer = page(&jira, None);
    loop {
        all.extend(keys(&answer));
        let json = answer.json();
        let mut members: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        members.sort_unstable();
        let Some(token) = token(&answer) else {
            assert_eq!(members, ["isLast", "issues"]);
            assert_eq!(json["isLast"], true);
            break;
        };
        assert_eq!(members, ["isLast", "issues", "nextPageToken"]);
        assert_eq!(json["isLast"], false);
        answer = page(&jira, Some(&token));
    }
    assert_eq!(all.len(), 120);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 120);
    assert_eq!(jira.count("POST */search/jql"), 3);
    jira.assert_no_violations();
}

#[test]
fn a_token_belongs_to_its_query() {
    let jira = Fake::cloud();
    many(&jira, 60);
    let token = token(&page(&jira, None)).unwrap();
    let other = json!({"jql": "project = A", "nextPageToken": token});
    assert_eq!(jira.post("/rest/api/3/search/jql", &other).status, 400);
    let made_up = json!({"jql": BOT, "nextPageToken": "x"});
    assert_eq!(jira.post("/rest/api/3/search/jql", &made_up).status, 400);
    // GET has to encode it: it holds `+`, `/` and `=`.
    let encoded = token
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let jql = BOT.replace(' ', "+").replace('=', "%3D");
    let get = |token: &str| {
        jira.get(&format!(
            "/rest/api/3/search/jql?jql={jql}&fields=key&nextPageToken={token}"
        ))
    };
    assert_eq!(keys(&get(&encoded)).len(), 10);
    assert_eq!(get(&token).status, 400);
}

#[test]
fn the_default_field_is_the_id_alone() {
    let jira = Fake::cloud();
    many(&jira, 1);
    let answer = jira.post("/rest/api/3/search/jql", &json!({"jql": BOT}));
    assert_eq!(answer.json()["issues"], json!([{"id": "10001"}]));
}

#[test]
fn pages_with_fields_are_shorter_than_asked_for() {
    let jira = Fake::cloud();
    many(&jira, 300);
    let ask = |fields: Value| {
        let body = json!({"jql": BOT, "fields": fields, "maxResults": 5000});
        keys(&jira.post("/rest/api/3/search/jql", &body)).len()
    };
    assert_eq!(ask(json!(["key"])), 300);
    assert_eq!(ask(json!(["summary"])), 100);
    for wrong in [json!(0), json!(-1), json!(5001), json!(null), json!("50")] {
        let body = json!({"jql": BOT, "maxResults": wrong});
        assert_eq!(
            jira.post("/rest/api/3/search/jql", &body).status,
            400,
            "{wrong}"
        );
    }
}

#[test]
fn a_walk_repeats_and_empties_pages_on_command() {
    let jira = Fake::cloud();
    many(&jira, 120);
    jira.fault(Fault::same_page().after(1));
    jira.fault(Fault::empty_page().after(1));
    let mut pages = vec![page(&jira, None)];
    while let Some(token) = token(pages.last().unwrap()) {
        pages.push(page(&jira, Some(&token)));
    }
    let sizes: Vec<usize> = pages.iter().map(|p| keys(p).len()).collect();
    assert_eq!(sizes, [50, 50, 0, 50, 20]);
    assert_eq!(keys(&pages[0]), keys(&pages[1]));
    let all: HashSet<String> = pages.iter().flat_map(keys).collect();
    assert_eq!(all.len(), 120);
}

#[test]
fn a_token_repeated_leads_to_where_it_led() {
    let jira = Fake::cloud();
    many(&jira, 120);
    let first = token(&page(&jira, None)).unwrap();
    jira.fault(Fault::same_token());
    let second = page(&jira, Some(&first));
    assert_eq!(token(&second).as_ref(), Some(&first));
    assert_eq!(keys(&page(&jira, Some(&first))), keys(&second));
}

#[test]
fn the_search_lags_and_the_ticket_does_not() {
    let jira = Fake::cloud();
    many(&jira, 2);
    let found = || keys(&page(&jira, None));
    jira.lag(Lag::Searches(2));
    jira.edit("A-1", |t| t.labels.clear());
    assert_eq!(
        jira.get("/rest/api/3/issue/A-1").json()["fields"]["labels"],
        json!([])
    );
    assert_eq!(found(), ["A-1", "A-2"]);
    assert_eq!(found(), ["A-1", "A-2"]);
    assert_eq!(found(), ["A-2"]);

    jira.lag(Lag::Frozen);
    jira.edit("A-2", |t| t.labels.clear());
    for _ in 0..5 {
        assert_eq!(found(), ["A-2"]);
    }
    // Asked to, the search looks at the tickets themselves.
    let body = json!({"jql": BOT, "fields": ["key"], "reconcileIssues": [10002]});
    assert_eq!(keys(&jira.post("/rest/api/3/search/jql", &body)), [""; 0]);
    jira.refresh_index();
    assert_eq!(found(), [""; 0]);
}

#[test]
fn data_center_caps_in_silence_and_echoes_what_it_took() {
    let jira = Fake::data_center();
    many(&jira, 120);
    jira.page_cap(50);
    let ask = |start: usize| {
        let body = json!({"jql": BOT, "startAt": start, "maxResults": 1000, "fields": ["key"]});
        jira.post("/rest/api/2/search", &body)
    };
    let first = ask(0).json();
    assert_eq!(
        (&first["maxResults"], &first["total"]),
        (&json!(50), &json!(120))
    );
    assert_eq!(keys(&ask(100)).len(), 20);
    assert_eq!(keys(&ask(120)).len(), 0);
    let get = jira.get("/rest/api/2/search?jql=labels%3Dbot&startAt=100&maxResults=7&fields=key");
    assert_eq!(keys(&get).len(), 7);
    assert_eq!(ask(9990).status, 500, "beyond what the index holds");
}

#[test]
fn ten_thousand_tickets_are_no_trouble() {
    let jira = Fake::cloud();
    let text = "Ünïcödé 🦀 ".repeat(350);
    let ticket = |n: usize| Ticket::new(&format!("A-{n}")).label("bot").text(&text);
    jira.add_all((1..=10_000).map(ticket));
    jira.page_cap(5000);
    let body = json!({"jql": BOT, "fields": ["summary", "description", "status", "labels", "priority", "issuelinks"], "maxResults": 5000});
    let answer = jira.post("/rest/api/3/search/jql", &body);
    assert!(answer.body.len() > 20_000_000);
    assert_eq!(answer.json()["issues"].as_array().unwrap().len(), 5000);
}

#[test]
fn a_look_up_by_keys_leaves_out_what_is_not_there() {
    let jira = Fake::cloud();
    many(&jira, 3);
    jira.edit("A-3", |t| t.hidden = true);
    let ask = |keys: &[&str]| {
        jira.post(
            "/rest/api/3/issue/bulkfetch",
            &json!({"issueIdsOrKeys": keys, "fields": ["status"]}),
        )
    };
    assert_eq!(
        keys(&ask(&["A-2", "A-99", "A-1", "A-3", "10001"])),
        ["A-1", "A-2"]
    );
    assert_eq!(
        ask(&["A-1"]).json()["issues"][0]["fields"]["status"]["name"],
        "To Do"
    );
    assert_eq!(ask(&[]).status, 400);
    assert_eq!(ask(&["A-1"; 101]).status, 400);
}
