//! What a poll makes of what a search answers.

use std::time::Duration;

use super::*;
use crate::process::{BEGIN, begun, marks};
use fake::{Fault, Lag};

/// The pattern of a search of either kind.
const SEARCH: &str = "POST */search*";

/// Ids in the order in which their agents began.
fn order(world: &World) -> Vec<String> {
    let begun = marks(world).into_iter().filter(|mark| mark.begin);
    begun.map(|mark| mark.item).collect()
}

#[test]
fn a_thousand_tickets_in_pages_of_fifty_are_seen_once_each() {
    for jira in both() {
        let world = World::new("jira_pages");
        jira.add_all((1..=1000).map(|n| wanted(&format!("A-{n}"))));
        jira.page_cap(50);
        jira.fault(Fault::same_page().on(SEARCH).after(7).times(1));
        let out = orchestrator(&world, &jira)
            .args(["--max-agents=0", "--once"])
            .agent(BEGIN)
            .run();
        assert_eq!(out.code, Some(0));
        assert!(
            out.stderr.contains("1000 items are wanted"),
            "{}",
            out.stderr
        );
        assert_eq!(jira.count(SEARCH), 21);
        jira.assert_no_violations();
    }
}

#[test]
fn a_search_that_goes_in_circles_ends() {
    for (fault, words) in [
        (Fault::same_token().on(SEARCH).always(), "leads in a circle"),
        (Fault::empty_page().on(SEARCH).always(), "nothing new"),
    ] {
        let jira = Fake::cloud();
        let world = World::new("jira_circle");
        jira.add_all((1..=9).map(|n| wanted(&format!("A-{n}"))));
        jira.page_cap(5);
        jira.fault(fault);
        let out = orchestrator(&world, &jira)
            .args(["--max-agents=0", "--once"])
            .agent(BEGIN)
            .run();
        assert!(out.stderr.contains(words), "{words}: {}", out.stderr);
        assert!(jira.count(SEARCH) < 20);
    }
}

#[test]
fn a_page_that_is_to_nobody_in_particular_is_no_end_of_the_list() {
    let nothing = r#"{"issues":[],"isLast":true}"#;
    for before in [0, 1] {
        let jira = Fake::cloud();
        let world = World::new("jira_nobody");
        jira.add_all((1..=9).map(|n| wanted(&format!("A-{n}"))));
        jira.page_cap(5);
        let page = Fault::reply(200, "application/json", nothing);
        jira.fault(page.on(SEARCH).after(before).times(1));
        let out = orchestrator(&world, &jira)
            .args(["--max-agents=0", "--once"])
            .agent(BEGIN)
            .run();
        assert_eq!(out.code, Some(1), "{}", out.stderr);
        let words = "it answers as to an anonymous user";
        assert!(out.stderr.contains(words), "{}", out.stderr);
        assert!(!out.stderr.contains("are wanted"), "{}", out.stderr);
    }
}

#[test]
fn what_the_search_still_lists_and_the_ticket_denies_is_not_started() {
    for jira in both() {
        let world = World::new("jira_lag");
        jira.add(wanted("A-1"));
        jira.add(wanted("A-2"));
        jira.add(wanted("A-3"));
        jira.lag(Lag::Frozen);
        jira.edit("A-1", |ticket| ticket.status = "Done".into());
        jira.edit("A-2", |ticket| ticket.labels.clear());
        // The index lags behind what is told to the third, too.
        let out = orchestrator(&world, &jira)
            .agent(BEGIN)
            .args(["--once", "--wait"])
            .run();
        assert_eq!(order(&world), ["A-3"]);
        assert_eq!(out.code, Some(0), "{}", out.stderr);
        orchestrator(&world, &jira).agent(BEGIN).arg("--once").run();
        assert_eq!(order(&world), ["A-3"]);
        assert!(
            !out.stderr.contains("A-1") && !out.stderr.contains("A-2"),
            "{}",
            out.stderr
        );
    }
}

#[test]
fn a_query_of_the_users_is_sent_as_it_is_and_its_answers_are_filtered() {
    for jira in both() {
        let world = World::new("jira_query");
        let query = "project = A AND status = \"To Do\" ORDER BY key DESC";
        let ticket = |key: &str| wanted(key);
        jira.add(ticket("A-1"));
        jira.add(ticket("A-2").label("recac-agent-done"));
        jira.add(ticket("A-3").label("recac-agent-failed"));
        jira.add(ticket("A-4"));
        jira.edit("A-4", |ticket| ticket.labels.clear());
        jira.add(ticket("B-5"));
        // It moves out of the query when its agent starts, and is tried again
        // all the same.
        let agent = format!("{BEGIN} test $RECAC_ITEM_ID.$RECAC_ATTEMPT != A-1.1");
        orchestrator(&world, &jira)
            .arg(format!("--jira-query={query}"))
            .arg("--max-agents=1")
            .agent(&agent)
            .finish(0);
        assert_eq!(order(&world), ["A-4", "A-1", "A-1"]);
        for asked in jira.asked(SEARCH) {
            let jql = asked.json()["jql"].as_str().unwrap_or_default().to_owned();
            assert!(jql == query || jql.starts_with("id in ("), "{jql}");
        }
        assert_eq!(jira.labels("A-4"), ["recac-agent-done"]);
        jira.assert_no_violations();
    }
}

#[test]
fn the_order_of_the_query_is_the_order_of_starting() {
    for jira in both() {
        let world = World::new("jira_order");
        jira.add(wanted("A-1").priority("Low"));
        jira.add(wanted("A-2").priority("Highest"));
        jira.add(wanted("A-3").priority("High"));
        orchestrator(&world, &jira)
            .arg("--max-agents=1")
            .agent(BEGIN)
            .finish(0);
        assert_eq!(order(&world), ["A-2", "A-3", "A-1"]);
    }
}

#[test]
fn a_jira_that_is_away_for_ten_polls_is_one_line_and_no_loss() {
    for jira in both() {
        let world = World::new("jira_away");
        jira.add(wanted("A-1"));
        let agent = format!("{BEGIN} until [ -e \"$MARKS/gate\" ]; do sleep 0.05; done");
        let run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("it runs", || begun(&world) == 1);
        jira.fault(Fault::close().on("* *").always());
        let before = jira.requests().len();
        run.wait_for_log("WARN");
        // It ends while nobody can be told.
        process::open_gate(&world);
        run.wait_for_log("waits: its source does not answer");
        world.wait_for("ten polls have failed", || {
            jira.requests().len() >= before + 10
        });
        jira.refuse();
        jira.no_faults();
        jira.accept();
        world.wait_for("it is told", || jira.labels("A-1").len() == 2);
        let out = run.terminate();
        let warnings = out.stderr.lines().filter(|line| line.contains(" WARN "));
        let warnings: Vec<&str> = warnings.collect();
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        assert!(out.stderr.contains("the items can be read again"));
        assert_eq!(jira.comments("A-1").len(), 1);
        assert_eq!(begun(&world), 1);
    }
}

#[test]
fn a_throttle_is_obeyed_to_the_second() {
    for jira in both() {
        for (fault, n) in [
            (Fault::status(429).retry_after("2"), 1),
            (Fault::status(503).retry_after("2"), 2),
        ] {
            let world = World::new("jira_throttle");
            let key = format!("A-{n}");
            jira.add(wanted(&key));
            // The third request: whatever comes after it has to wait.
            jira.fault(fault.on("* *").after(2).times(1));
            let out = orchestrator(&world, &jira).agent(BEGIN).finish(0);
            assert!(out.stderr.contains(", for 2 s"), "{}", out.stderr);
            assert_eq!(jira.labels(&key).len(), 2);
        }
        // A request that came too early would be one.
        jira.assert_no_violations();
    }
}

#[test]
fn one_ticket_that_is_throttled_holds_up_no_other() {
    let jira = Fake::cloud();
    let world = World::new("jira_per_issue");
    jira.add(wanted("A-1"));
    jira.add(wanted("A-2"));
    let throttle = Fault::status(429)
        .retry_after("600")
        .reason("jira-per-issue-on-write");
    jira.fault(throttle.on("POST */issue/10001/comment").times(1));
    let run = orchestrator(&world, &jira).agent(BEGIN).start();
    world.wait_for("the other is told", || jira.labels("A-2").len() == 2);
    run.wait_for_log("cannot report how it ended");
    run.terminate();
    assert_eq!(jira.labels("A-1").len(), 1);
    jira.assert_no_violations();
}

#[test]
fn nothing_is_asked_again_before_a_refusal_is_over() {
    let jira = Fake::cloud();
    let world = World::new("jira_quiet");
    jira.add(wanted("A-1"));
    let run = orchestrator(&world, &jira)
        .env("JIRA_API_TOKEN", "wrong")
        .agent(BEGIN)
        .start();
    run.wait_for_log("jira refuses the token");
    let before = jira.requests().len();
    // Polls come every second, and each is noted in no line at all: so what
    // shows that time goes by is that the clock does.
    let begun = std::time::Instant::now();
    world.wait_for("a few polls are over", || {
        begun.elapsed() > Duration::from_secs(3)
    });
    assert_eq!(jira.requests().len(), before);
    assert_eq!(run.stderr().matches("jira refuses").count(), 1);
    run.terminate();
}

#[test]
fn jql_that_is_none_is_told_of_with_the_query() {
    for jira in both() {
        let world = World::new("jira_jql");
        let out = orchestrator(&world, &jira)
            .args(["--jira-query=nonsense = = 1", "--once"])
            .agent(BEGIN)
            .run();
        assert_eq!(out.code, Some(1));
        assert!(
            out.stderr.contains("(query: nonsense = = 1)"),
            "{}",
            out.stderr
        );
    }
}

#[test]
fn pages_too_large_to_read_are_asked_for_in_pieces() {
    let jira = Fake::cloud();
    let world = World::new("jira_large");
    let text = "word ".repeat(120_000);
    jira.add_all((1..=40).map(|n| wanted(&format!("A-{n}")).text(&text)));
    let out = orchestrator(&world, &jira)
        .args(["--max-agents=0", "--once", "--default-repo=https://h/a"])
        .agent(BEGIN)
        .run();
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(out.stderr.contains("40 items are wanted"), "{}", out.stderr);
    jira.assert_no_violations();
}

#[test]
fn a_ticket_that_cannot_be_read_holds_up_no_other() {
    let throttle = Fault::status(429)
        .retry_after("600")
        .reason("jira-per-issue-on-read");
    for fault in [throttle, Fault::close(), Fault::status(500)] {
        let jira = Fake::cloud();
        let world = World::new("jira_unread");
        jira.add(wanted("A-1"));
        jira.add(wanted("A-2"));
        jira.add(wanted("A-3"));
        for of in ["10001*", "10002*"] {
            jira.fault(fault.clone().on(&format!("GET */issue/{of}")).always());
        }
        let run = orchestrator(&world, &jira).agent(BEGIN).start();
        world.wait_for("the third is told", || jira.labels("A-3").len() == 2);
        let out = run.terminate();
        assert_eq!(order(&world), ["A-3"]);
        for words in ["ticket_id=A-1", "ticket_id=A-2"] {
            let said = out.stderr.lines().filter(|line| line.ends_with(words));
            assert_eq!(said.count(), 1, "{words}: {}", out.stderr);
        }
    }
}

#[test]
fn a_ticket_too_large_to_read_is_named_and_the_others_go_on() {
    for jira in both() {
        let world = World::new("jira_giant");
        jira.add(wanted("A-1").text(&"word ".repeat(3_500_000)));
        jira.add(wanted("A-2"));
        // Something that asks for an agent cannot have one.
        let out = orchestrator(&world, &jira).agent(BEGIN).finish(1);
        assert_eq!(order(&world), ["A-2"]);
        let words = "ticket \"A-1\" is too large, and left out";
        assert!(out.stderr.contains(words), "{}", out.stderr);
        jira.assert_no_violations();
    }
}
