//! Text of people, and of people who mean harm.

use serde_json::json;

use super::*;
use crate::process::{BEGIN, begun, mark_file};

/// Writes what it is given into files, byte by byte.
const WRITE: &str = r#"printf %s "$RECAC_ITEM_DESCRIPTION" >"$MARKS/description"; printf %s "$RECAC_ITEM_SUMMARY" >"$MARKS/summary"; printf %s "$RECAC_REPO_URL" >"$MARKS/repo""#;

/// For tickets that name no repository.
const DEFAULT: &str = "--default-repo=https://github.com/acme/shop";

#[test]
fn a_repository_in_a_smart_link_is_found() {
    let card = json!({"type": "doc", "version": 1, "content": [
        {"type": "paragraph", "content": [
            {"type": "text", "text": "Repo: "},
            {"type": "inlineCard", "attrs": {"url": "https://github.com/acme/shop"}}]}]});
    let only = json!({"type": "doc", "version": 1, "content": [
        {"type": "paragraph", "content": [
            {"type": "text", "text": "See "},
            {"type": "inlineCard", "attrs": {"data": {"url": "https://github.com/acme/shop"}}}]}]});
    for description in [card, only] {
        let jira = Fake::cloud();
        let world = World::new("jira_card");
        jira.add(
            Ticket::new("A-1")
                .label("recac-agent")
                .description(&description),
        );
        orchestrator(&world, &jira).agent(WRITE).finish(0);
        assert_eq!(mark_file(&world, "repo"), "https://github.com/acme/shop");
    }
    let jira = Fake::data_center();
    let world = World::new("jira_card");
    let text = "Repo: [https://github.com/acme/shop|https://github.com/acme/shop|smart-link]";
    jira.add(Ticket::new("A-1").label("recac-agent").text(text));
    orchestrator(&world, &jira).agent(WRITE).finish(0);
    assert_eq!(mark_file(&world, "repo"), "https://github.com/acme/shop");
}

#[test]
fn a_ticket_without_a_repository_is_skipped_with_advice() {
    for jira in both() {
        let world = World::new("jira_no_repo");
        jira.add(Ticket::new("A-1").label("recac-agent").text("just words"));
        jira.add(
            Ticket::new("A-2")
                .label("recac-agent")
                .text("Repo: file:///etc"),
        );
        // Also where the agent's command does not name it.
        let out = orchestrator(&world, &jira).agent("exit 0").finish(1);
        assert!(
            out.stderr.contains("no repository: add a line"),
            "{}",
            out.stderr
        );
        assert!(
            out.stderr.contains("repository refused: file://"),
            "{}",
            out.stderr
        );
        orchestrator(&world, &jira)
            .arg("--agent-command=sh -c 'exit 0' sh {repo_url}")
            .arg(DEFAULT)
            .finish(1);
        assert_eq!(jira.labels("A-1").len(), 2);
        assert_eq!(jira.labels("A-2").len(), 1);
    }
}

#[test]
fn the_longest_description_arrives_whole() {
    for jira in both() {
        let world = World::new("jira_long");
        // As many characters as Jira takes, four bytes each: more than a
        // variable may hold, so its end is cut, and it says so.
        let long = "\u{1f600}".repeat(32_767);
        jira.add(Ticket::new("A-1").label("recac-agent").text(&long));
        let out = orchestrator(&world, &jira)
            .arg(DEFAULT)
            .agent(WRITE)
            .finish(0);
        let text = mark_file(&world, "description");
        assert!(text.starts_with(&"\u{1f600}".repeat(20_000)));
        assert!(
            text.contains("[shortened by the orchestrator:"),
            "{}",
            out.stderr
        );
        assert_eq!(jira.labels("A-1").len(), 2);
    }
}

#[test]
fn no_text_of_a_ticket_is_ever_code() {
    let hostile = "$(touch pwned) `touch pwned`; touch pwned\n--help\n\u{1b}[31m'\"\\ {id} $HOME";
    for jira in both() {
        let world = World::new("jira_hostile");
        let ticket = Ticket::new("A-1").label("recac-agent").summary(hostile);
        jira.add(ticket.text(hostile).comment("Mia $(id)", hostile));
        let dry = orchestrator(&world, &jira)
            .agent(WRITE)
            .args([DEFAULT, "--dry-run"])
            .run();
        assert_eq!(dry.code, Some(0));
        assert_eq!((jira.comments("A-1").len(), begun(&world)), (1, 0));
        let agent = format!("{WRITE}; printf '%s\\n' \"$RECAC_ITEM_SUMMARY\"; ls");
        orchestrator(&world, &jira)
            .arg(DEFAULT)
            .arg(format!(
                "--agent-command=sh -c '{}' sh {{summary}}",
                agent.replace('\'', r"'\''")
            ))
            .finish(0);
        assert!(mark_file(&world, "description").contains("$(touch pwned)"));
        assert!(mark_file(&world, "summary").contains("$(touch pwned)"));
        let comment = jira.comments("A-1").pop().unwrap();
        assert!(!comment.text().contains('\u{1b}'));
        assert!(comment.text().contains("$(touch pwned)") && !comment.text().contains("\npwned"));
        jira.assert_no_violations();
    }
}

#[test]
fn a_ticket_too_deep_to_read_is_refused_alone() {
    let jira = Fake::cloud();
    let world = World::new("jira_deep");
    let levels = 20_000;
    let open = r#"{"type":"blockquote","content":["#;
    let deep = format!("{}{}", open.repeat(levels), "]}".repeat(levels));
    assert!(deep.len() > 500_000);
    jira.add(
        Ticket::new("A-1")
            .label("recac-agent")
            .raw_description(&deep),
    );
    jira.add(wanted("A-2"));
    let out = orchestrator(&world, &jira).agent(BEGIN).finish(1);
    assert_eq!(begun(&world), 1);
    assert_eq!(jira.labels("A-2").len(), 2);
    let told = out.stderr.lines().any(|l| {
        l.contains("its description cannot be read: it is nested too deep") && l.contains("A-1")
    });
    assert!(told, "{}", out.stderr);
}

#[test]
fn a_megabyte_of_odd_documents_reaches_the_agent_or_is_refused() {
    let jira = Fake::cloud();
    let world = World::new("jira_odd");
    let wide = json!({"type": "doc", "version": 1, "content": vec![
        json!({"type": "unknown", "content": [{"type": "text", "text": "x\u{0}\u{7}y"}]}); 20_000]});
    jira.add(Ticket::new("A-1").label("recac-agent").description(&wide));
    jira.add(Ticket::new("A-2").label("recac-agent").raw_description("7"));
    jira.add(
        Ticket::new("A-3")
            .label("recac-agent")
            .raw_description("[]"),
    );
    orchestrator(&world, &jira)
        .agent(WRITE)
        .args([DEFAULT, "--once", "--wait"])
        .run();
    assert!(mark_file(&world, "description").len() < 128 * 1024);
    assert_eq!(jira.labels("A-1").len(), 2);
}
