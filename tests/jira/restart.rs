//! Reports that fail half-way, and an orchestrator that is killed in between.

use super::*;
use crate::process::{BEGIN, begun, run_dirs};
use fake::Fault;

#[test]
fn killed_between_comment_and_label_it_writes_no_second_comment() {
    for jira in both() {
        let world = World::new("jira_killed");
        jira.add(wanted("A-1"));
        jira.fault(Fault::hang().on("PUT */issue/10001").times(1));
        let run = orchestrator(&world, &jira).agent(BEGIN).start();
        world.wait_for("the label is on its way", || {
            jira.count("PUT */issue/10001") == 1
        });
        assert_eq!(jira.comments("A-1").len(), 1);
        run.kill();
        assert_eq!(jira.labels("A-1").len(), 1);
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!(jira.comments("A-1").len(), 1);
        assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-done"]);
        assert_eq!(begun(&world), 1);
        assert!(run_dirs(&world).is_empty());
    }
}

#[test]
fn a_comment_whose_answer_is_lost_is_not_written_twice() {
    for jira in both() {
        let world = World::new("jira_cut");
        jira.add(wanted("A-1"));
        // Many comments of people do not hide ours.
        for n in 0..150 {
            jira.edit("A-1", |t| {
                *t = t.clone().comment("Mia", &format!("word {n}"))
            });
        }
        jira.fault(Fault::cut_off().on("POST */comment").times(1));
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!(jira.comments("A-1").len(), 151, "{:#?}", asked(&jira));
        assert_eq!(jira.labels("A-1").len(), 2);
    }
}

#[test]
fn a_report_that_fails_is_made_again_and_the_run_stays_until_then() {
    for status in [401, 403, 404, 409, 500, 503] {
        let jira = Fake::cloud();
        let world = World::new("jira_again");
        jira.add(wanted("A-1"));
        jira.fault(Fault::status(status).on("POST */comment").times(1));
        let run = orchestrator(&world, &jira).agent(BEGIN).start();
        run.wait_for_log("cannot report how it ended (succeeded after 1 attempt)");
        assert_eq!(run_dirs(&world).len(), 1);
        // Refused credentials are given a minute of rest.
        if status != 401 {
            world.wait_for("it is told", || jira.labels("A-1").len() == 2);
            assert_eq!(jira.comments("A-1").len(), 1);
        }
        let out = run.terminate();
        let said = out.stderr.matches("INFO  succeeded: exit code 0").count();
        assert_eq!((begun(&world), said), (1, 1), "{}", out.stderr);
    }
}

#[test]
fn a_label_that_cannot_be_set_keeps_the_run_and_says_why() {
    for jira in both() {
        let world = World::new("jira_no_label");
        jira.add(wanted("A-1"));
        jira.fault(Fault::status(403).on("PUT */issue/10001").always());
        let out = orchestrator(&world, &jira).agent(BEGIN).finish(1);
        assert!(
            out.stderr
                .contains("the label recac-agent-done with status 403"),
            "{}",
            out.stderr
        );
        assert_eq!((jira.comments("A-1").len(), run_dirs(&world).len()), (1, 1));
        // And never a second agent.
        jira.no_faults();
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!((begun(&world), jira.comments("A-1").len()), (1, 1));
        assert!(run_dirs(&world).is_empty());
    }
}

#[test]
fn a_ticket_that_is_gone_keeps_its_report_for_an_hour() {
    for jira in both() {
        let world = World::new("jira_gone");
        jira.add(wanted("A-1"));
        let agent = format!("{BEGIN} {}", process::GATE);
        let run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("it runs", || begun(&world) == 1);
        jira.delete("A-1");
        process::open_gate(&world);
        run.wait_for_log("the ticket is gone or not visible (status 404)");
        run.terminate();
        assert_eq!(run_dirs(&world).len(), 1);
        // An hour later, by its own clock.
        for (file, key) in [("exit", "at"), ("pid", "started")] {
            let file = run_dirs(&world)[0].join(file);
            let text = std::fs::read_to_string(&file).unwrap();
            let mut json: Value = serde_json::from_str(&text).unwrap();
            json[key] = "2026-01-01T00:00:00.000Z".into();
            std::fs::write(&file, json.to_string()).unwrap();
        }
        // The ticket is not gone for so long.
        let pass = orchestrator(&world, &jira).agent(BEGIN).arg("--once");
        assert_eq!(pass.clone().run().code, Some(1));
        assert_eq!(run_dirs(&world).len(), 1);
        let dir = world.state_dir().join(format!("{}.gone", world.owner));
        let notes: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().collect();
        assert_eq!(notes.len(), 1);
        std::fs::write(notes[0].path(), "2026-01-01T00:00:00.000Z").unwrap();
        let out = pass.run();
        assert_eq!(out.code, Some(0));
        assert!(!notes[0].path().exists());
        assert!(
            out.stderr
                .contains("told here and nowhere else: {\"id\":\"A-1\""),
            "{}",
            out.stderr
        );
        assert!(run_dirs(&world).is_empty());
    }
}

#[test]
fn a_moved_ticket_is_the_same_item() {
    for jira in both() {
        let world = World::new("jira_moved");
        jira.add(wanted("A-1"));
        let agent = format!("{BEGIN} {}", process::GATE);
        let run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("it runs", || begun(&world) == 1);
        jira.edit("A-1", |ticket| ticket.key = "B-7".into());
        run.terminate();
        process::open_gate(&world);
        orchestrator(&world, &jira).agent(BEGIN).finish(0);
        assert_eq!(begun(&world), 1);
        assert_eq!(jira.labels("B-7"), ["recac-agent", "recac-agent-done"]);
    }
}

#[test]
fn a_start_that_could_not_be_shown_is_shown_later() {
    for jira in both() {
        let world = World::new("jira_start");
        jira.add(wanted("A-1"));
        jira.fault(Fault::status(500).on("GET */transitions").times(1));
        let agent = format!("{BEGIN} {}", process::GATE);
        let run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("it runs", || begun(&world) == 1);
        world.wait_for("its start is shown", || jira.status("A-1") == "In Progress");
        run.kill();
        // By another start, too, and only from a status that is to do.
        jira.edit("A-1", |ticket| ticket.status = "To Do".into());
        let run = orchestrator(&world, &jira).agent(&agent).start();
        world.wait_for("its start is shown", || jira.status("A-1") == "In Progress");
        process::open_gate(&world);
        world.wait_for("it is told", || jira.labels("A-1").len() == 2);
        run.terminate();
        assert_eq!(begun(&world), 1);
    }
}

#[test]
fn a_status_that_cannot_be_changed_does_not_hold_up_its_report() {
    for fault in [
        Fault::status(403).on("GET */transitions"),
        Fault::status(409).on("POST */transitions"),
    ] {
        let jira = Fake::cloud();
        let world = World::new("jira_unmoved");
        jira.add(wanted("A-1"));
        jira.fault(fault.always());
        let line = orchestrator(&world, &jira)
            .args(["--jira-start-status=none", "--jira-done-status=Done"])
            .agent(BEGIN);
        let run = line.clone().start();
        run.wait_for_log("its status is not changed");
        world.wait_for("it is told", || run_dirs(&world).is_empty());
        assert_eq!(run.terminate().code, Some(0));
        assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-done"]);
        assert_eq!(jira.comments("A-1").len(), 1);
        // One pass has no next time.
        jira.add(wanted("B-1"));
        let out = line.finish(0);
        assert!(out.stderr.contains("its status is not changed"));
    }
}
