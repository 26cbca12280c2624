//! Comments, labels and transitions, and what of them is refused.

use serde_json::{Value, json};

use crate::jira::fake::{Fake, Ticket, Transition, adf};

const COMMENT: &str = "/rest/api/3/issue/A-1/comment";
const MOVE: &str = "/rest/api/3/issue/A-1/transitions";

fn cloud() -> Fake {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1").label("bot"));
    jira
}

fn data_center() -> Fake {
    let jira = Fake::data_center();
    jira.add(Ticket::new("A-1").label("bot"));
    jira
}

#[test]
fn a_comment_is_a_document_on_cloud_and_text_on_data_center() {
    let jira = cloud();
    let good = jira.post(COMMENT, &json!({"body": adf("done\n🦀")}));
    assert_eq!(good.status, 201, "{}", good.text());
    assert_eq!(jira.comments("A-1")[0].text(), "done\n🦀");
    assert_eq!(good.json()["id"], jira.comments("A-1")[0].id.as_str());
    for bad in [
        json!({"body": "text"}),
        json!({"text": 1}),
        json!({}),
        json!({"body": adf("x"), "x": 1}),
        json!([]),
    ] {
        assert_eq!(jira.post(COMMENT, &bad).status, 400, "{bad}");
    }
    let jira = data_center();
    let comment = COMMENT.replace('3', "2");
    assert_eq!(jira.post(&comment, &json!({"body": "*done*"})).status, 201);
    assert_eq!(jira.comments("A-1")[0].text(), "*done*");
    for bad in [
        json!({"body": adf("x")}),
        json!({"body": " "}),
        json!({"body": null}),
    ] {
        assert_eq!(jira.post(&comment, &bad).status, 400, "{bad}");
    }
}

#[test]
fn a_document_that_is_not_legal_is_refused() {
    let jira = cloud();
    let document =
        |content: Value| json!({"body": {"type": "doc", "version": 1, "content": content}});
    let text = |marks: Value| json!({"type": "text", "text": "x", "marks": marks});
    let paragraph = |inline: Value| json!([{"type": "paragraph", "content": [inline]}]);
    let good = [
        json!([]),
        json!([{"type": "codeBlock", "attrs": {"language": "text"}, "content": [{"type": "text", "text": "a\nb"}]}]),
        json!([{"type": "panel", "attrs": {"panelType": "error"}, "content": paragraph(text(json!([])))}]),
        json!([{"type": "expand", "attrs": {"title": "t"}, "content": paragraph(text(json!([])))}]),
        json!([{"type": "bulletList", "content": [{"type": "listItem", "content": paragraph(text(json!([{"type": "code"}])))}]}]),
        json!([{"type": "table", "content": [{"type": "tableRow", "content": [{"type": "tableCell", "attrs": {}, "content": paragraph(text(json!([])))}]}]}]),
        json!([{"type": "rule"}, {"type": "heading", "attrs": {"level": 3}}]),
        paragraph(text(
            json!([{"type": "strong"}, {"type": "link", "attrs": {"href": "https://x"}}]),
        )),
        paragraph(json!({"type": "hardBreak"})),
    ];
    for content in good {
        let answer = jira.post(COMMENT, &document(content.clone()));
        assert_eq!(answer.status, 201, "{content}");
    }
    let bad = [
        json!([{"type": "text", "text": "not in a paragraph"}]),
        json!([{"type": "paragraph", "content": [{"type": "text", "text": ""}]}]),
        json!([{"type": "paragraph", "colour": "red"}]),
        json!([{"type": "heading", "content": []}]),
        json!([{"type": "heading", "attrs": {"level": 7}}]),
        json!([{"type": "codeBlock", "content": [text(json!([{"type": "strong"}]))]}]),
        json!([{"type": "panel", "attrs": {"panelType": "loud"}, "content": []}]),
        json!([{"type": "bulletList", "content": []}]),
        json!([{"type": "bulletList", "content": [{"type": "paragraph"}]}]),
        json!([{"type": "invention"}]),
        paragraph(text(json!([{"type": "code"}, {"type": "strong"}]))),
        paragraph(text(json!([{"type": "link"}]))),
        paragraph(json!({"type": "paragraph"})),
    ];
    // Not more than twenty writes to one issue.
    let jira = cloud();
    for content in bad {
        let answer = jira.post(COMMENT, &document(content.clone()));
        assert_eq!(answer.status, 400, "{content}");
    }
}

#[test]
fn the_length_of_a_comment_counts_its_json_on_cloud_and_its_text_on_data_center() {
    let jira = cloud();
    let empty = adf("x").to_string().len() - 1;
    let post = |chars: usize| {
        jira.post(COMMENT, &json!({"body": adf(&"x".repeat(chars))}))
            .status
    };
    assert_eq!(post(32_767 - empty), 201);
    assert_eq!(post(32_768 - empty), 400);
    // An escape is as long as it is written.
    let quotes = "\"".repeat(32_767 / 2);
    assert_eq!(
        jira.post(COMMENT, &json!({"body": adf(&quotes)})).status,
        400
    );
    let jira = data_center();
    let comment = COMMENT.replace('3', "2");
    let post = |chars: usize| {
        jira.post(&comment, &json!({"body": "ü".repeat(chars)}))
            .status
    };
    assert_eq!(post(32_767), 201);
    assert_eq!(post(32_768), 400);
}

#[test]
fn labels_are_added_and_removed_exactly() {
    let jira = cloud();
    let put = |operations: Value| {
        jira.put(
            "/rest/api/3/issue/A-1",
            &json!({"update": {"labels": operations}}),
        )
        .status
    };
    assert_eq!(
        put(json!([{"add": "done"}, {"add": "done"}, {"remove": "BOT"}])),
        204
    );
    assert_eq!(jira.labels("A-1"), ["bot", "done"]);
    assert_eq!(
        put(json!([{"remove": "bot"}, {"remove": "never there"}])),
        204
    );
    assert_eq!(jira.labels("A-1"), ["done"]);
    for bad in [
        json!([{"add": "two words"}]),
        json!([{"add": 1}]),
        json!({"add": "x"}),
        json!([{"append": "x"}]),
        json!("x"),
    ] {
        assert_eq!(put(bad.clone()), 400, "{bad}");
    }
    let both = json!({"update": {"labels": [{"add": "x"}]}, "fields": {"labels": ["y"]}});
    assert_eq!(jira.put("/rest/api/3/issue/A-1", &both).status, 400);
    assert_eq!(
        jira.put("/rest/api/3/issue/A-1", &json!({"labels": ["x"]}))
            .status,
        400
    );
    assert_eq!(jira.put("/rest/api/3/issue/A-9", &json!({})).status, 404);
    assert_eq!(jira.labels("A-1"), ["done"]);
}

#[test]
fn a_transition_is_made_by_the_id_as_text() {
    let jira = cloud();
    let ways = jira
        .get(&format!("{MOVE}?expand=transitions.fields"))
        .json();
    let way = &ways["transitions"][1];
    assert_eq!(way["to"]["statusCategory"]["key"], "indeterminate");
    let id = way["id"].clone();
    assert_eq!(
        jira.post(MOVE, &json!({"transition": {"id": 21}})).status,
        400
    );
    assert_eq!(
        jira.post(MOVE, &json!({"transition": {"id": id}})).status,
        204
    );
    assert_eq!(jira.status("A-1"), "In Progress");
    assert_eq!(
        jira.post(MOVE, &json!({"transition": {"id": "999"}}))
            .status,
        400
    );
    let dc = data_center();
    let unknown = dc.post(
        &MOVE.replace('3', "2"),
        &json!({"transition": {"id": "999"}}),
    );
    assert_eq!(unknown.status, 500);
}

#[test]
fn a_screen_wants_its_fields_and_no_others() {
    let jira = cloud();
    jira.workflow(vec![
        Transition::new("5", "Finish", "Done")
            .from("To Do")
            .requires("resolution", &["Done", "Duplicate"]),
        Transition::new("6", "Hide", "Done").requires_untold("customfield_10010"),
        Transition::new("7", "Default", "Done")
            .requires("resolution", &["Done"])
            .with_default(),
        Transition::new("8", "Back", "To Do"),
    ]);
    let ways = jira
        .get(&format!("{MOVE}?expand=transitions.fields"))
        .json();
    let field = &ways["transitions"][0]["fields"]["resolution"];
    assert_eq!(
        (&field["required"], &field["allowedValues"][1]["name"]),
        (&json!(true), &json!("Duplicate"))
    );
    assert_eq!(ways["transitions"][1]["fields"], json!({}));
    assert!(
        jira.get(MOVE).json()["transitions"][0]
            .get("fields")
            .is_none()
    );

    let make = |id: &str, fields: Value| {
        let body = json!({"transition": {"id": id}, "fields": fields});
        let answer = jira.post(MOVE, &body);
        (answer.status, answer.text())
    };
    let (status, text) = make("5", json!({}));
    assert!(
        status == 400 && text.contains("Resolution is required."),
        "{text}"
    );
    assert_eq!(make("5", json!({"resolution": {"name": "Perhaps"}})).0, 400);
    assert_eq!(make("6", json!({})).0, 400);
    let (status, text) = make("8", json!({"resolution": {"name": "Done"}}));
    assert!(status == 400 && text.contains("cannot be set"), "{text}");
    assert_eq!(make("5", json!({"resolution": {"id": "10001"}})).0, 204);
    assert_eq!(jira.ticket("A-1").resolution.as_deref(), Some("Duplicate"));
    assert_eq!(
        make("5", json!({"resolution": {"name": "Done"}})).0,
        400,
        "only from To Do"
    );
    assert_eq!(make("7", json!({})).0, 204);
    let comment =
        json!({"transition": {"id": "8"}, "update": {"comment": [{"add": {"body": adf("hi")}}]}});
    assert_eq!(jira.post(MOVE, &comment).status, 204);
    assert_eq!(jira.comments("A-1")[0].text(), "hi");
}

#[test]
fn without_permission_there_are_no_transitions_and_no_error() {
    let jira = cloud();
    jira.edit("A-1", |t| t.read_only = true);
    let ways = jira.get(MOVE);
    assert_eq!(
        (ways.status, &ways.json()["transitions"]),
        (200, &json!([]))
    );
    assert_eq!(
        jira.post(MOVE, &json!({"transition": {"id": "21"}})).status,
        400
    );
    assert_eq!(jira.post(COMMENT, &json!({"body": adf("x")})).status, 400);
    let put = json!({"update": {"labels": [{"add": "x"}]}});
    assert_eq!(jira.put("/rest/api/3/issue/A-1", &put).status, 400);
}

#[test]
fn the_twenty_first_write_to_an_issue_in_two_seconds_is_one_too_many() {
    let jira = cloud();
    jira.add(Ticket::new("A-2"));
    let write = |key: &str| {
        jira.put(
            &format!("/rest/api/3/issue/{key}"),
            &json!({"update": {"labels": [{"add": "x"}]}}),
        )
    };
    for _ in 0..20 {
        assert_eq!(write("A-1").status, 204);
    }
    let refused = write("A-1");
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.header("ratelimit-reason"),
        Some("jira-per-issue-on-write")
    );
    assert_eq!(write("A-2").status, 204, "another issue");
    assert_eq!(jira.write_limit_hits(), 1);
    assert_eq!(jira.violations().len(), 1);
}
