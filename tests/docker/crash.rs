//! Killed at any moment, the next start carries on.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use super::{BEGIN, Docker, END};
use crate::random::{Random, seed};

#[test]
fn killed_at_any_moment_no_item_is_run_twice_or_lost() {
    let Some(docker) = Docker::new("kill_9") else {
        return;
    };
    let seed = seed();
    docker.on_failure(move |_| format!("RECAC_TEST_SEED={seed}"));
    let mut random = Random::new(seed);
    let ids = [
        "ok-1", "ok-2", "ok-3", "ok-4", "ok-5", "retry-1", "retry-2", "retry-3", "bad-1", "bad-2",
        "hopeless", "long",
    ];
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    docker.items(&items.into());
    let agent = format!(
        r#"{BEGIN} case $RECAC_ITEM_ID in long) sleep 5;; *) sleep 0.7;; esac; {END}
        case $RECAC_ITEM_ID in
        retry-*) [ "$RECAC_ATTEMPT" = 2 ];; bad-*) exit 9;; hopeless) exit 78;;
        esac"#
    );
    let orchestrator = docker.orchestrator().agent(&agent).arg("--max-agents=4");
    for _ in 0..35 {
        let started = orchestrator.clone().start();
        // Not a wait for anything: the moment of its death.
        thread::sleep(Duration::from_millis(random.below(700)));
        assert_eq!(started.kill().signal, Some(9));
    }
    orchestrator.args(["--once", "--wait"]).run();

    docker.assert_never_two_at_once();
    assert_eq!(docker.outcomes().len(), ids.len());
    for id in ids {
        let outcome = docker.outcome(id);
        let (end, attempts) = match id.split('-').next().unwrap() {
            "ok" | "long" => ("succeeded", 1),
            "retry" => ("succeeded", 2),
            "bad" => ("failed", 3),
            _ => ("failed", 1),
        };
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"]),
            (&json!(end), &json!(attempts)),
            "{id}"
        );
        assert_eq!(docker.begun(id), attempts, "attempts at {id}");
        assert_eq!(
            outcome["history"].as_array().unwrap().len(),
            attempts - 1,
            "{id}"
        );
    }
    docker.assert_nothing_left();
}

#[test]
fn what_ended_while_nobody_looked_is_reported_by_the_next_start() {
    let Some(docker) = Docker::new("adopted") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let agent = format!("{BEGIN} await go; {END} echo done");
    let orchestrator = docker.orchestrator().agent(&agent);
    let started = orchestrator.clone().start();
    docker.wait_for("the agent runs", || docker.begun("A-1") == 1);
    started.kill();
    docker.give("go");
    let id = docker.containers().pop().unwrap();
    docker.wait_for("it has ended", || {
        docker.inspect(&id)["State"]["Status"] == "exited"
    });
    assert_eq!(docker.outcomes().len(), 0);
    orchestrator.finish(0);
    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["uid"], &outcome["tail"]),
        (&json!(id), &json!("done"))
    );
    assert_eq!(docker.begun("A-1"), 1);
    docker.assert_nothing_left();
}

#[test]
fn told_to_leave_it_leaves_its_agents_and_finds_them_again() {
    let Some(docker) = Docker::new("sigterm") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let agent = format!("{BEGIN} await go; {END}");
    let orchestrator = docker.orchestrator().agent(&agent).arg("--max-agents=1");
    for signal in [Signal::TERM, Signal::INT] {
        let started = orchestrator.clone().start();
        docker.wait_for("the agent runs", || docker.begun("A-1") == 1);
        started.wait_for_log("running");
        started.signal(signal);
        assert_eq!(started.wait().code, Some(0));
        let id = docker.containers().pop().unwrap();
        assert_eq!(docker.inspect(&id)["State"]["Status"], "running");
    }
    docker.give("go");
    orchestrator.finish(0);
    assert_eq!((docker.begun("A-1"), docker.begun("A-2")), (1, 1));
    assert_eq!(docker.outcomes().len(), 2);
    docker.assert_nothing_left();
}

#[test]
fn a_docker_run_that_outlives_its_orchestrator_is_waited_for() {
    let Some(docker) = Docker::new("outlived") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    // The first `docker run` is slow to begin.
    let first = docker.path("first").display().to_string();
    let go = docker.path("go").display().to_string();
    let client = docker.client(&format!(
        r#"if [ "$1" = run ] && mkdir {first} 2>/dev/null; then
        until [ -e {go} ]; do sleep 0.05; done; fi; exec docker "$@""#
    ));
    let orchestrator = docker
        .orchestrator()
        .agent(&format!("{BEGIN} {END}"))
        .arg(client);
    let started = orchestrator.clone().start();
    docker.wait_for("docker run is begun", || docker.path("first").exists());
    started.kill();

    let started = orchestrator.start();
    docker.wait_for("the next start waits, or does not", || {
        started.stderr().contains("still under way") || docker.begun("A-1") > 0
    });
    assert_eq!(docker.begun("A-1"), 0);
    std::fs::write(&go, "").unwrap();
    docker.wait_for("there is an outcome", || !docker.outcomes().is_empty());
    docker.wait_for("nothing is left", || docker.containers().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!((docker.begun("A-1"), docker.outcomes().len()), (1, 1));
}

#[test]
fn a_failed_attempt_stays_until_the_next_one_is_there() {
    let Some(docker) = Docker::new("handed_over") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    // The second `docker run` waits, and is killed with its orchestrator.
    let (second, go) = (docker.path("second"), docker.path("go"));
    let client = docker.client(&format!(
        r#"if [ "$1" = run ]; then case "$*" in *RECAC_ATTEMPT=2*)
        : >{}; until [ -e {} ]; do sleep 0.05; done;; esac; fi; exec docker "$@""#,
        second.display(),
        go.display(),
    ));
    let agent = format!(r#"{BEGIN} {END} [ "$RECAC_ATTEMPT" = 2 ]"#);
    let orchestrator = docker.orchestrator().agent(&agent).arg(client);
    let started = orchestrator.clone().start();
    docker.wait_for("the second docker run is begun", || second.exists());
    let ids = docker.containers();
    assert_eq!(ids.len(), 1, "the first attempt");
    started.kill();
    // Its client may be in the middle of a sleep; the world knows them all.
    for pid in docker.processes() {
        crate::world::kill(pid, Signal::KILL);
    }
    assert_eq!(docker.containers(), ids);

    std::fs::write(go, "").unwrap();
    orchestrator.finish(0);
    let outcome = docker.outcome("A-1");
    assert_eq!((&outcome["attempts"], docker.begun("A-1")), (&json!(2), 2));
    assert_eq!(outcome["history"].as_array().unwrap().len(), 1);
    docker.assert_nothing_left();
}

#[test]
fn why_a_run_was_stopped_outlives_its_orchestrator() {
    let Some(docker) = Docker::new("stop_note") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    // It hears the signal, takes its time, and leaves as if all were well.
    let agent = format!(
        r#"{BEGIN} trap ": >/ledger/heard; await go; exit 0" TERM; while :; do sleep 0.1; done"#
    );
    let orchestrator = docker
        .orchestrator()
        .agent(&agent)
        .args(["--agent-timeout=1s", "--max-attempts=1"]);
    let started = orchestrator.clone().start();
    docker.wait_for("the agent is told to stop", || {
        docker.path("ledger/heard").exists()
    });
    started.kill();
    docker.give("go");
    let id = docker.containers().pop().unwrap();
    docker.wait_for("it has ended", || {
        docker.inspect(&id)["State"]["Status"] == "exited"
    });
    assert_eq!(docker.inspect(&id)["State"]["ExitCode"], 0);
    // With a limit that it would not have passed.
    orchestrator.arg("--agent-timeout=1h").finish(1);
    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["reason"]),
        (&json!("failed"), &json!("timed out after 1s"))
    );
    docker.assert_nothing_left();
}

#[test]
fn a_former_attempt_that_cannot_be_removed_is_never_told_of() {
    let Some(docker) = Docker::new("former") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let stuck = docker.path("stuck");
    let client = docker.client(&format!(
        r#"if [ "$1" = rm ] && [ -e {} ]; then case $(docker logs "$3") in
        *"attempt 1"*) exit 1;; esac; fi; exec docker "$@""#,
        stuck.display()
    ));
    std::fs::write(&stuck, "").unwrap();
    let agent = format!(r#"{BEGIN} {END} echo "attempt $RECAC_ATTEMPT"; [ "$RECAC_ATTEMPT" = 2 ]"#);
    let orchestrator = docker.orchestrator().agent(&agent).arg(client);
    let started = orchestrator.clone().start();
    docker.wait_for("there is an outcome", || !docker.outcomes().is_empty());
    started.wait_for_log("cannot remove it");
    // What is in hand comes to its end.
    assert_eq!(started.terminate().code, Some(0));
    std::fs::remove_file(stuck).unwrap();
    orchestrator.finish(0);
    assert_eq!(docker.outcome("A-1")["attempts"], 2);
    assert_eq!(docker.begun("A-1"), 2);
    docker.assert_nothing_left();
}
