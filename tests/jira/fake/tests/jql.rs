//! Which tickets a query finds, and which queries are refused.

use serde_json::json;

use super::keys;
use crate::jira::fake::{Category, Fake, Setup, Ticket};

fn find(jira: &Fake, jql: &str) -> Vec<String> {
    let answer = jira.post(
        "/rest/api/3/search/jql",
        &json!({"jql": jql, "fields": ["key"]}),
    );
    assert_eq!(answer.status, 200, "{jql}: {}", answer.text());
    keys(&answer)
}

#[track_caller]
fn refused(jira: &Fake, jql: &str) -> String {
    let answer = jira.post("/rest/api/3/search/jql", &json!({"jql": jql}));
    assert_eq!(answer.status, 400, "{jql}: {}", answer.text());
    answer.json()["errorMessages"][0]
        .as_str()
        .expect("a message")
        .to_owned()
}

fn four() -> Fake {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1").label("Bot").priority("Low"));
    jira.add(
        Ticket::new("A-2")
            .label("bot")
            .label("bot-done")
            .priority("Highest"),
    );
    jira.add(Ticket::new("A-10").label("bot").status("Done"));
    jira.add(Ticket::new("B-1").summary("nothing on it"));
    jira
}

#[test]
fn the_query_of_the_orchestrator_finds_what_is_open_and_not_done_yet() {
    let jira = four();
    jira.add(Ticket::new("A-3").label("bot").priority("High"));
    jira.add(Ticket::new("A-4").label("bot"));
    let jql = r#"labels = "bot" AND labels not in ("bot-done", "bot-failed") AND statusCategory != Done ORDER BY priority DESC, created ASC, key ASC"#;
    assert_eq!(find(&jira, jql), ["A-3", "A-1", "A-4"]);
}

#[test]
fn a_negated_clause_leaves_out_tickets_without_a_label() {
    let jira = four();
    let all = ["A-1", "A-10"];
    for jql in [
        "labels not in (bot-done)",
        "labels != bot-done",
        "NOT labels = bot-done",
    ] {
        assert_eq!(
            find(&jira, &format!("{jql} ORDER BY key ASC")),
            all,
            "{jql}"
        );
    }
    let jql = "labels is EMPTY OR labels not in (bot-done) ORDER BY key ASC";
    assert_eq!(find(&jira, jql), ["A-1", "A-10", "B-1"]);
    assert_eq!(
        find(
            &jira,
            "NOT labels is EMPTY AND NOT (labels = bot-done OR status = Done)"
        ),
        ["A-1"]
    );
}

#[test]
fn keys_are_ordered_by_project_and_number() {
    let jira = four();
    let jql = "project in (A, B) ORDER BY key DESC";
    assert_eq!(find(&jira, jql), ["B-1", "A-10", "A-2", "A-1"]);
}

#[test]
fn and_binds_before_or_and_parentheses_before_both() {
    let jira = four();
    let find = |jql: &str| find(&jira, &format!("{jql} ORDER BY key ASC"));
    assert_eq!(
        find("project = B OR project = A AND status = Done"),
        ["A-10", "B-1"]
    );
    assert_eq!(
        find("(project = B OR project = A) AND status = Done"),
        ["A-10"]
    );
    assert_eq!(find("project = A and status = \"To Do\""), ["A-1", "A-2"]);
    assert_eq!(find("id in (10001, 10004)"), ["A-1", "B-1"]);
    assert_eq!(find("summary ~ 'NOTHING'"), ["B-1"]);
    assert_eq!(find("priority >= Low"), ["A-1", "A-2"]);
    assert_eq!(
        find("created >= \"2026-01-01\" and created < -1h and key <= A-2"),
        ["A-1", "A-2"]
    );
    assert_eq!(find("assignee = currentUser()"), [""; 0]);
    assert_eq!(find("assignee is EMPTY and project != A"), ["B-1"]);
    assert_eq!(
        find("priority is empty and statusCategory = 'done'"),
        ["A-10"]
    );
}

#[test]
fn quoted_values_may_hold_anything_that_is_escaped() {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1").label("a\"b\\c'ü"));
    assert_eq!(find(&jira, r#"labels = "a\"b\\c'\u00FC""#), ["A-1"]);
    assert_eq!(find(&jira, r#"labels = 'a"b\\c\'ü'"#), ["A-1"]);
    refused(&jira, r#"labels = "a\b""#);
    refused(&jira, r#"labels = "a"#);
    refused(&jira, "labels = a/b");
}

#[test]
fn what_is_not_there_is_refused_but_for_labels() {
    let jira = four();
    assert_eq!(find(&jira, "labels = nobody-has-it"), [""; 0]);
    refused(&jira, "key in (A-1, A-99)");
    refused(&jira, "key = A-99");
    refused(&jira, "id = 4711");
    refused(&jira, "project = C");
    refused(&jira, "status = Nowhere");
    refused(&jira, "colour = red");
    refused(&jira, "summary = x");
    refused(&jira, "labels = a ORDER BY colour");
    jira.edit("A-1", |t| t.hidden = true);
    refused(&jira, "key in (A-1, A-2)");
}

#[test]
fn a_query_without_a_bound_is_refused() {
    let jira = four();
    for jql in ["", "  ", "order by key desc"] {
        refused(&jira, jql);
    }
    refused(
        &jira,
        "project = A ORDER BY key, key, key, key, key, key, key, key",
    );
}

#[test]
fn reserved_words_have_to_be_quoted() {
    let jira = Fake::cloud();
    jira.add(Ticket::new("INT-1"));
    assert!(refused(&jira, "project = INT").contains("'INT' is a reserved JQL word"));
    assert_eq!(find(&jira, "project = \"INT\""), ["INT-1"]);
}

#[test]
fn half_a_query_is_refused() {
    let jira = four();
    for jql in [
        "project",
        "project =",
        "project = A AND",
        "(project = A",
        "project = A)",
        "project A",
        "labels in ()",
        "labels in (a",
        "project = A ORDER key",
        "labels is full",
        "not",
        "= A",
        "project = A project = B",
        "labels not a",
    ] {
        refused(&jira, jql);
    }
}

#[test]
fn a_moved_ticket_is_found_by_both_keys() {
    let jira = four();
    jira.edit("A-1", |t| t.key = "C-7".to_owned());
    assert_eq!(find(&jira, "key = A-1"), ["C-7"]);
    assert_eq!(find(&jira, "key = C-7"), ["C-7"]);
    assert_eq!(jira.get("/rest/api/3/issue/A-1").json()["key"], "C-7");
}

#[test]
fn a_german_site_has_german_names_and_errors_and_understands_english_categories() {
    let jira = Setup::cloud().german().start();
    jira.add(Ticket::new("A-1").label("bot"));
    jira.add(Ticket::new("A-2").label("bot").status("Fertig"));
    jira.add(
        Ticket::new("A-3")
            .label("bot")
            .new_status("Erledigt?", Category::Done),
    );
    assert_eq!(
        find(&jira, "labels = bot AND statusCategory != Done"),
        ["A-1"]
    );
    assert_eq!(
        find(
            &jira,
            "labels = bot AND statusCategory = Fertig ORDER BY key"
        ),
        ["A-2", "A-3"]
    );
    assert!(refused(&jira, "status = Done").contains("existiert"));
}

#[test]
fn data_center_warns_of_what_is_not_there_only_when_it_is_told_to() {
    let jira = Fake::data_center();
    jira.add(Ticket::new("A-1"));
    let jql = "key in (A-1, A-99)";
    let strict = jira.post("/rest/api/2/search", &json!({"jql": jql}));
    assert_eq!(strict.status, 400);
    let lax = jira.post(
        "/rest/api/2/search",
        &json!({"jql": jql, "validateQuery": false}),
    );
    assert_eq!((lax.status, keys(&lax)), (200, vec!["A-1".to_owned()]));
    assert!(
        lax.json()["warningMessages"][0]
            .as_str()
            .unwrap()
            .contains("A-99")
    );
    // Another shape of error than anywhere else.
    let bad = jira
        .post("/rest/api/2/search", &json!({"jql": "key in"}))
        .json();
    assert!(bad["errorMessages"][0].is_string() && bad["warningMessages"].is_array());
    assert!(bad.get("errors").is_none());
}
