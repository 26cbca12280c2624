//! A ticket from its label to the comment that tells how it ended.

use super::*;
use crate::process::{BEGIN, END, GATE, begun, mark_file, open_gate, run_dirs};
use fake::Fault;

#[test]
fn a_ticket_goes_from_label_to_done() {
    for jira in both() {
        let world = World::new("jira_life");
        jira.add(wanted("A-1").summary("Fix it"));
        jira.add(Ticket::new("A-2").text("not ours"));
        let agent = format!("{BEGIN} echo \"$RECAC_ITEM_SUMMARY\"; {END}");
        orchestrator(&world, &jira).agent(&agent).finish(0);
        assert_eq!(
            jira.labels("A-1"),
            ["recac-agent", "recac-agent-done"],
            "{:#?}",
            asked(&jira)
        );
        assert_eq!(jira.status("A-1"), "In Progress");
        let comments = jira.comments("A-1");
        assert_eq!(comments.len(), 1);
        let text = comments[0].text();
        for words in [
            "The agent succeeded",
            "Attempt 1",
            "exit code 0",
            "Fix it",
            "recac-agent-done",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(jira.comments("A-2").is_empty());
        assert_eq!(begun(&world), 1);
        jira.assert_no_violations();
        // There is nothing more to do.
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!((begun(&world), jira.comments("A-1").len()), (1, 1));
    }
}

#[test]
fn an_agent_is_given_all_there_is_of_its_ticket() {
    for jira in both() {
        let world = World::new("jira_given");
        jira.add(Ticket::new("A-0").summary("All of it"));
        jira.add(
            wanted("A-1")
                .summary("Fix it")
                .priority("High")
                .kind("Bug")
                .label("x")
                .parent("A-0")
                .comment("Mia", "please hurry")
                .comment("Tom", "no rush"),
        );
        let agent = "env >\"$MARKS/env\"";
        orchestrator(&world, &jira).agent(agent).finish(0);
        let env = mark_file(&world, "env");
        for line in [
            "RECAC_ITEM_ID=A-1".to_owned(),
            "JIRA_TICKET=A-1".to_owned(),
            "RECAC_ITEM_SUMMARY=Fix it".to_owned(),
            format!("RECAC_ITEM_URL={}", jira.browse_url("A-1")),
            "RECAC_REPO_URL=https://github.com/acme/shop".to_owned(),
            "RECAC_ITEM_STATUS=To Do".to_owned(),
            "RECAC_ITEM_TYPE=Bug".to_owned(),
            "RECAC_ITEM_PRIORITY=High".to_owned(),
            "RECAC_ITEM_LABELS=recac-agent,x".to_owned(),
            "RECAC_ITEM_PARENT=A-0 All of it".to_owned(),
        ] {
            assert!(env.lines().any(|l| l == line), "{line} in\n{env}");
        }
        let (first, second) = (env.find("please hurry"), env.find("no rush"));
        assert!(first.is_some() && first < second, "{env}");
        assert!(env.contains("### Mia, "), "{env}");
        assert!(!env.contains(&jira.token()), "{env}");
    }
}

#[test]
fn a_failure_is_retried_and_told_in_the_end() {
    for jira in both() {
        let world = World::new("jira_retry");
        jira.add(wanted("A-1"));
        let agent = format!("{BEGIN} echo \"try $RECAC_ATTEMPT\"; exit 3");
        orchestrator(&world, &jira)
            .arg("--max-attempts=2")
            .arg("--jira-failed-status=To Do")
            .agent(&agent)
            .finish(1);
        assert_eq!(begun(&world), 2);
        assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-failed"]);
        assert_eq!(jira.status("A-1"), "To Do");
        let text = jira.comments("A-1")[0].text();
        for words in [
            "The agent failed",
            "Attempt 1",
            "Attempt 2",
            "exit code 3",
            "try 2",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        // Taking the label off asks for another try.
        jira.edit("A-1", |ticket| {
            ticket.labels.retain(|l| l != "recac-agent-failed")
        });
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!(begun(&world), 3);
        assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-done"]);
        assert_eq!(jira.comments("A-1").len(), 2);
        jira.assert_no_violations();
    }
}

#[test]
fn an_agent_that_closes_its_own_ticket_is_left_to_finish() {
    for jira in both() {
        let world = World::new("jira_closes");
        jira.add(wanted("A-1"));
        let agent = format!("{BEGIN} {GATE} {END}");
        let mut run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("it runs", || {
            begun(&world) == 1 && jira.status("A-1") == "In Progress"
        });
        jira.edit("A-1", |ticket| ticket.status = "Done".into());
        run.wait_for_log("the ticket was closed (Done)");
        open_gate(&world);
        world.wait_for("it is told", || {
            jira.labels("A-1").contains(&"recac-agent-done".to_owned())
        });
        assert!(run.is_running());
        assert_eq!(run.terminate().code, Some(0));
        assert!(
            jira.comments("A-1")[0]
                .text()
                .contains("The agent succeeded")
        );
    }
}

/// A person takes a ticket back: closes it, or takes its label off.
fn take_back(jira: &Fake, key: &str, closed: bool) {
    jira.edit(key, |ticket| match closed {
        true => ticket.status = "Done".into(),
        false => ticket.labels.clear(),
    });
}

/// One that was taken back has neither label nor status of an end: a person
/// may want it again, and then gets another agent.
fn assert_wanted_again(world: &World, jira: &Fake, key: &str) {
    let labels = jira.labels(key);
    assert!(!labels.iter().any(|l| l.starts_with("recac-agent-")));
    jira.edit(key, |ticket| {
        ticket.status = "To Do".into();
        ticket.labels = vec!["recac-agent".into()];
    });
    orchestrator(world, jira).agent(BEGIN).finish(0);
    assert_eq!(begun(world), 2);
}

#[test]
fn a_ticket_that_is_taken_back_stops_its_agent() {
    for jira in both() {
        for closed in [true, false] {
            let world = World::new("jira_stops");
            let key = if closed { "A-1" } else { "B-1" };
            jira.add(wanted(key));
            let agent = format!("{BEGIN} exec sleep 600");
            let run = orchestrator(&world, &jira)
                .arg("--stop-grace=0s")
                .agent(&agent)
                .start();
            world.wait_for("it runs", || {
                begun(&world) == 1 && jira.status(key) == "In Progress"
            });
            take_back(&jira, key, closed);
            world.wait_for("it is told", || !jira.comments(key).is_empty());
            run.terminate();
            let text = jira.comments(key)[0].text();
            assert!(text.contains("The agent was stopped"), "{text}");
            assert_wanted_again(&world, &jira, key);
        }
    }
}

#[test]
fn an_agent_that_fails_after_its_ticket_was_taken_back_leaves_no_label() {
    for jira in both() {
        for (key, words) in [("A-1", "was closed (Done)"), ("B-1", "was taken off")] {
            let world = World::new("jira_back");
            jira.add(wanted(key));
            let agent = format!("{BEGIN} {GATE} exit 1");
            let run = orchestrator(&world, &jira)
                .arg("--max-attempts=1")
                .agent(&agent)
                .start();
            world.wait_for("it runs", || {
                begun(&world) == 1 && jira.status(key) == "In Progress"
            });
            take_back(&jira, key, key == "A-1");
            run.wait_for_log(words);
            open_gate(&world);
            world.wait_for("it is told", || run_dirs(&world).is_empty());
            run.terminate();
            let text = jira.comments(key)[0].text();
            assert!(text.contains("The agent failed"), "{text}");
            assert_wanted_again(&world, &jira, key);
        }
    }
}

#[test]
fn a_start_is_shown_as_soon_as_jira_lets_it() {
    for (status, on) in [
        (502, "POST */transitions"),
        (409, "POST */transitions"),
        (500, "POST */transitions"),
        (408, "GET */transitions*"),
    ] {
        let jira = Fake::cloud();
        let world = World::new("jira_start_later");
        jira.add(wanted("A-1"));
        jira.fault(Fault::status(status).on(on).times(5));
        let agent = format!("{BEGIN} {GATE} {END}");
        let run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("it is shown", || jira.status("A-1") == "In Progress");
        open_gate(&world);
        world.wait_for("it is told", || jira.labels("A-1").len() == 2);
        let log = run.terminate().stderr;
        let said = log.lines().filter(|l| l.contains("not shown yet"));
        let loud = said.filter(|l| l.contains(" WARN "));
        assert_eq!(loud.count(), 1, "{log}");
    }
}

#[test]
fn the_newest_comments_are_given_by_a_server_that_knows_no_order() {
    let jira = Fake::data_center();
    jira.with(|site| site.knows_no_order = true);
    let world = World::new("jira_no_order");
    let mut ticket = wanted("A-1");
    for n in 1..=130 {
        ticket = ticket.comment("Mia", &format!("comment {n}."));
    }
    jira.add(ticket);
    let agent = "printf %s \"$RECAC_ITEM_COMMENTS\" >\"$MARKS/comments\"";
    orchestrator(&world, &jira).agent(agent).finish(0);
    let given = mark_file(&world, "comments");
    let has = |n: u32| given.contains(&format!("comment {n}."));
    assert!(has(130) && has(111) && !has(110), "{given}");
}

#[test]
fn the_status_goes_where_it_is_told_to() {
    for jira in both() {
        let world = World::new("jira_status");
        jira.add(wanted("A-1"));
        jira.add(wanted("A-2").status("In Review"));
        orchestrator(&world, &jira)
            .args(["--jira-start-status=In Review", "--jira-done-status=auto"])
            .agent(BEGIN)
            .finish(0);
        for key in ["A-1", "A-2"] {
            assert_eq!(jira.status(key), "Done", "{:#?}", asked(&jira));
        }
        let none = orchestrator(&world, &jira).arg("--jira-start-status=none");
        jira.add(wanted("A-3"));
        none.agent(BEGIN).finish(0);
        assert_eq!(jira.status("A-3"), "To Do");
    }
}

#[test]
fn a_status_that_cannot_be_reached_is_a_warning_and_no_more() {
    for jira in both() {
        let world = World::new("jira_nowhere");
        jira.add(wanted("A-1"));
        jira.workflow(vec![]);
        let out = orchestrator(&world, &jira)
            .arg("--jira-done-status=Shipped")
            .agent(BEGIN)
            .finish(0);
        assert!(
            out.stderr.contains("its start is not shown"),
            "{}",
            out.stderr
        );
        assert!(out.stderr.contains("\"Shipped\""), "{}", out.stderr);
        assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-done"]);
    }
}

#[test]
fn tickets_that_leave_the_poll_are_looked_up_together_and_each_for_itself() {
    for jira in both() {
        let world = World::new("jira_together");
        for n in 1..=4 {
            jira.add(wanted(&format!("A-{n}")));
        }
        let agent = format!("{BEGIN} exec sleep 600");
        let run = orchestrator(&world, &jira)
            .arg("--stop-grace=0s")
            .agent(&agent)
            .start();
        world.wait_for("all run", || {
            begun(&world) == 4 && (1..=4).all(|n| jira.status(&format!("A-{n}")) == "In Progress")
        });
        // One that is gone spoils nothing for the others.
        jira.delete("A-1");
        jira.edit("A-2", |ticket| ticket.status = "Done".into());
        jira.edit("A-3", |ticket| ticket.labels.clear());
        world.wait_for("both are told", || {
            !jira.comments("A-2").is_empty() && !jira.comments("A-3").is_empty()
        });
        let log = run.stderr();
        assert!(
            log.contains("stop because the ticket was closed (Done)"),
            "{log}"
        );
        assert!(
            log.contains("stop because the label recac-agent was taken off"),
            "{log}"
        );
        // The run of the ticket that is gone goes on to its own end.
        world.wait_for("the two that were told of are removed", || {
            run_dirs(&world).len() == 2
        });
        run.terminate();
        jira.assert_no_violations();
    }
}

#[test]
fn the_end_is_told_after_the_start_however_long_that_takes() {
    for jira in both() {
        let world = World::new("jira_start_slow");
        jira.add(wanted("A-1"));
        let slow = Fault::slow(std::time::Duration::from_millis(1500));
        jira.fault(slow.on("GET */transitions*").times(1));
        orchestrator(&world, &jira)
            .arg("--jira-done-status=Done")
            .agent(BEGIN)
            .finish(0);
        assert_eq!(jira.status("A-1"), "Done");
        jira.assert_no_violations();
    }
}
