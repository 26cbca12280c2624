//! What an issue looks like, and the six shapes of errors.

use serde_json::{Value, json};

use crate::jira::fake::{Fake, Setup, Ticket};

#[test]
fn a_link_has_one_side_and_each_ticket_sees_the_other() {
    let jira = Fake::cloud();
    jira.add(
        Ticket::new("A-1")
            .blocked_by("A-2")
            .linked("Cloners", "A-1", "A-3"),
    );
    jira.add(Ticket::new("A-2").status("In Progress"));
    jira.add(Ticket::new("A-3").hidden());
    let links = |key: &str| {
        jira.get(&format!("/rest/api/3/issue/{key}?fields=issuelinks"))
            .json()["fields"]["issuelinks"]
            .clone()
    };
    let own = links("A-1");
    assert_eq!(own.as_array().unwrap().len(), 1, "A-3 cannot be seen");
    assert_eq!(own[0]["type"]["name"], "Blocks");
    assert_eq!(own[0]["inwardIssue"]["key"], "A-2");
    assert_eq!(
        own[0]["inwardIssue"]["fields"]["status"]["statusCategory"]["key"],
        "indeterminate"
    );
    assert!(own[0].get("outwardIssue").is_none());
    let other = links("A-2");
    assert_eq!(other[0]["outwardIssue"]["key"], "A-1");
    assert!(other[0].get("inwardIssue").is_none());
}

#[test]
fn an_issue_has_the_fields_that_were_asked_for() {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-9").kind("Epic"));
    jira.add(
        Ticket::new("A-1")
            .parent("A-9")
            .text("a\nb")
            .field("customfield_1", &json!(7)),
    );
    let fields = |query: &str| {
        let issue = jira.get(&format!("/rest/api/3/issue/A-1{query}")).json();
        let mut names: Vec<String> = issue["fields"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        fields("?fields=summary,parent&fields=priority"),
        ["parent", "priority", "summary"]
    );
    assert!(fields("").contains(&"comment".to_owned()));
    assert!(!fields("?fields=-comment").contains(&"comment".to_owned()));
    assert!(!fields("?fields=*navigable").contains(&"comment".to_owned()));
    let issue = jira.get("/rest/api/3/issue/A-1").json();
    assert_eq!(issue["fields"]["priority"], Value::Null);
    assert_eq!(issue["fields"]["parent"]["key"], "A-9");
    assert_eq!(
        issue["fields"]["description"]["content"][1]["content"][0]["text"],
        "b"
    );
    assert_eq!(issue["fields"]["created"], "2025-12-31T21:00:02.000-0300");
}

#[test]
fn the_issue_holds_the_oldest_comments_and_the_list_the_newest() {
    let jira = Fake::cloud();
    let mut ticket = Ticket::new("A-1");
    for n in 1..=130 {
        ticket = ticket.comment("Ria", &format!("comment {n}"));
    }
    jira.add(ticket);
    let inside = jira.get("/rest/api/3/issue/A-1?fields=comment").json();
    let inside = &inside["fields"]["comment"];
    assert_eq!(
        (
            inside["comments"].as_array().unwrap().len(),
            &inside["total"]
        ),
        (20, &json!(130))
    );
    let list = |query: &str| {
        jira.get(&format!("/rest/api/3/issue/A-1/comment{query}"))
            .json()
    };
    let newest = list("?orderBy=-created&maxResults=500");
    assert_eq!(newest["maxResults"], 100);
    assert!(newest["comments"][0].to_string().contains("comment 130"));
    let last = list("?startAt=120");
    assert_eq!(
        (last["comments"].as_array().unwrap().len(), &last["startAt"]),
        (10, &json!(120))
    );
    assert_eq!(list("?startAt=1000")["comments"], json!([]));
    assert_eq!(
        list("?maxResults=0")["comments"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        jira.get("/rest/api/3/issue/A-1/comment?orderBy=size")
            .status,
        400
    );
}

#[test]
fn data_center_writes_wiki_markup_and_gives_all_comments() {
    let jira = Setup::data_center().start();
    let mut ticket = Ticket::new("A-1").text("h1. Title\n{code}x{code}");
    for n in 1..=130 {
        ticket = ticket.comment("Ria", &format!("*comment* {n}"));
    }
    jira.add(ticket);
    let issue = jira.get("/rest/api/2/issue/A-1").json();
    assert_eq!(issue["fields"]["description"], "h1. Title\n{code}x{code}");
    let all = jira.get("/rest/api/2/issue/A-1/comment").json();
    assert_eq!(all["comments"].as_array().unwrap().len(), 130);
    assert_eq!(all["comments"][0]["body"], "*comment* 1");
    assert_eq!(all["comments"][0]["author"]["name"], "ria");
}

#[test]
fn all_shapes_of_errors_occur() {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1"));
    let members = |path: &str, body: &Value| {
        let answer = jira.post(path, body);
        let json = answer.json();
        let mut names: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        names.sort();
        (answer.status, names.join(" "))
    };
    let search = "/rest/api/3/search/jql";
    assert_eq!(
        members(search, &json!({"jql": "x"})),
        (400, "errorMessages errors".to_owned())
    );
    let extra = json!({"jql": "project = A", "startAt": 0});
    assert_eq!(members(search, &extra), (400, "errorMessages".to_owned()));
    let null = json!({"jql": "project = A", "reconcileIssues": null});
    assert_eq!(
        members(search, &null),
        (500, "message stack-trace status-code".to_owned())
    );
    assert_eq!(
        members("/rest/api/3/no", &null),
        (404, "detail instance status title type".to_owned())
    );
    let many = json!({"jql": "project = A", "reconcileIssues": vec![1; 51]});
    assert!(
        jira.post(search, &many)
            .text()
            .contains("The max number of issues to reconcile is 50.")
    );

    let plain = jira.send("POST", search, &[("Content-Type", "text/plain")], "{}");
    assert_eq!(plain.status, 415);
    assert_eq!(
        plain.header("content-type"),
        Some("application/problem+json;charset=UTF-8")
    );
    let word = jira.get("/rest/api/3/issue/A-1/comment?maxResults=many");
    assert_eq!(
        (word.status, word.header("content-type")),
        (400, Some("application/problem+json;charset=UTF-8"))
    );
}

#[test]
fn a_description_comes_as_it_is_however_deep_and_long() {
    let jira = Fake::cloud();
    let deep = format!(
        "{}{}",
        r#"{"content":["#.repeat(50_000),
        "]}".repeat(50_000)
    );
    jira.add(Ticket::new("A-1").raw_description(&deep));
    let long = "🦀".repeat(32_767);
    jira.add(Ticket::new("A-2").text(&long).summary("\u{1b}[31m\u{0}\"ü"));
    let answer = jira.get("/rest/api/3/issue/A-1?fields=description");
    assert!(answer.text().contains(&deep));
    let issue = jira.get("/rest/api/3/issue/A-2").json();
    assert_eq!(
        issue["fields"]["description"]["content"][0]["content"][0]["text"],
        long.as_str()
    );
    assert_eq!(issue["fields"]["summary"], "\u{1b}[31m\u{0}\"ü");
}
