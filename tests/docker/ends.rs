//! How runs end, and what is said of it.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{BEGIN, Docker, END};

#[test]
fn an_agent_that_exits_with_0_has_succeeded() {
    let Some(docker) = Docker::new("success") else {
        return;
    };
    docker.items(&json!([{"id": "A-1", "summary": "one"}]));
    let agent = format!("{BEGIN} echo hello; echo there >&2; {END}");
    docker.orchestrator().agent(&agent).finish(0);

    let outcome = docker.outcome("A-1");
    assert_eq!(outcome["outcome"], "succeeded");
    assert_eq!(
        (&outcome["attempts"], &outcome["exit_code"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(outcome["history"], json!([]));
    let mut lines: Vec<_> = outcome["tail"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["hello", "there"]);
    assert_eq!(docker.begun("A-1"), 1);
    let saved: Vec<_> = std::fs::read_dir(docker.path("state/logs"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(saved.len(), 1, "saved logs");
    assert_eq!(
        saved[0].metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let log = std::fs::read_to_string(saved[0].path()).unwrap();
    assert!(log.contains("hello\n") && log.contains("there\n"), "{log}");
    docker.assert_nothing_left();

    // Once more: there is nothing to do.
    docker.orchestrator().agent(&agent).finish(0);
    assert_eq!((docker.begun("A-1"), docker.outcomes().len()), (1, 1));
}

#[test]
fn an_attempt_that_fails_is_tried_again() {
    let Some(docker) = Docker::new("retry") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let agent = format!(r#"{BEGIN} {END} echo "attempt $RECAC_ATTEMPT"; [ "$RECAC_ATTEMPT" = 2 ]"#);
    docker.orchestrator().agent(&agent).finish(0);

    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(outcome["tail"], "attempt 2");
    let former = outcome["history"].as_array().unwrap();
    assert_eq!(former.len(), 1);
    assert_eq!(
        (&former[0]["attempt"], &former[0]["exit_code"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(former[0]["reason"], "exit code 1");
    assert_eq!(docker.begun("A-1"), 2);
    let logs = std::fs::read_dir(docker.path("state/logs")).unwrap();
    assert_eq!(logs.count(), 2, "saved logs");
    docker.assert_never_two_at_once();
    docker.assert_nothing_left();
}

#[test]
fn an_item_fails_for_good_with_its_last_attempt_or_by_its_own_word() {
    let Some(docker) = Docker::new("for_good") else {
        return;
    };
    docker.items(&json!([{"id": "bad"}, {"id": "hopeless"}, {"id": "good"}]));
    let agent = format!(
        r#"{BEGIN} {END} echo oh no; case $RECAC_ITEM_ID in bad) exit 3;; hopeless) exit 78;; esac"#
    );
    docker
        .orchestrator()
        .arg("--max-attempts=2")
        .agent(&agent)
        .finish(1);

    let bad = docker.outcome("bad");
    assert_eq!(
        (&bad["outcome"], &bad["attempts"], &bad["exit_code"]),
        (&json!("failed"), &json!(2), &json!(3))
    );
    assert_eq!(
        (&bad["reason"], &bad["tail"]),
        (&json!("exit code 3"), &json!("oh no"))
    );
    assert_eq!(bad["history"][0]["exit_code"], 3);
    let hopeless = docker.outcome("hopeless");
    assert_eq!(
        (&hopeless["outcome"], &hopeless["attempts"]),
        (&json!("failed"), &json!(1))
    );
    assert_eq!(hopeless["exit_code"], 78);
    assert_eq!(docker.outcome("good")["outcome"], "succeeded");
    assert_eq!(
        ["bad", "hopeless", "good"].map(|id| docker.begun(id)),
        [2, 1, 1]
    );
    docker.assert_nothing_left();
}

#[test]
fn an_agent_that_takes_too_long_is_stopped_and_has_failed_whatever_it_says() {
    let Some(docker) = Docker::new("timeout") else {
        return;
    };
    docker.items(&json!([{"id": "meek"}, {"id": "sly"}, {"id": "deaf"}]));
    // The first is ended by SIGTERM, the second leaves with 0 then, the third
    // does not listen.
    let agent = format!(
        r#"{BEGIN} case $RECAC_ITEM_ID in
        sly) trap "exit 0" TERM;;
        deaf) trap "echo no" TERM;;
        esac
        while :; do sleep 0.1; done"#
    );
    let orchestrator = docker
        .orchestrator()
        .args(["--agent-timeout=1s", "--max-attempts=1"]);
    orchestrator.agent(&agent).finish(1);

    for (id, code) in [("meek", 143), ("sly", 0), ("deaf", 137)] {
        let outcome = docker.outcome(id);
        assert_eq!(outcome["outcome"], "failed", "{id}");
        assert_eq!(outcome["reason"], "timed out after 1s", "{id}");
        assert_eq!(outcome["exit_code"], code, "{id}");
    }
    assert_eq!(docker.outcome("deaf")["tail"], "no");
    let notes = std::fs::read_dir(docker.path("state/stops")).unwrap();
    assert_eq!(notes.count(), 0, "notes on stops left");
    docker.assert_nothing_left();
}

#[test]
fn an_image_that_never_comes_is_a_failed_attempt_in_the_end() {
    let Some(docker) = Docker::new("no_image") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let orchestrator = docker.orchestrator().arg("--image=recac-test/never-made:1");
    let limits = ["--start-timeout=2s", "--max-attempts=2"];
    orchestrator.args(limits).agent("true").finish(1);

    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("failed"), &json!(2))
    );
    assert!(
        outcome["reason"].as_str().unwrap().contains("never-made"),
        "{outcome}"
    );
    assert_eq!(
        (&outcome["run"], &outcome["uid"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(outcome["exit_code"], json!(null));
    assert_eq!(outcome["history"].as_array().unwrap().len(), 1);
    docker.assert_nothing_left();
}

#[test]
fn a_command_that_is_not_there_is_an_attempt_that_failed_with_127() {
    let Some(docker) = Docker::new("no_command") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let orchestrator = docker
        .orchestrator()
        .arg("--agent-command=no-such-agent {id}");
    orchestrator.arg("--max-attempts=2").finish(1);

    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["attempts"], &outcome["exit_code"]),
        (&json!(2), &json!(127))
    );
    assert_eq!(outcome["reason"], "exit code 127 (command not found)");
    assert!(
        outcome["tail"].as_str().unwrap().contains("no-such-agent"),
        "{outcome}"
    );
    docker.assert_nothing_left();
}

#[test]
fn an_agent_that_takes_too_much_memory_is_said_to() {
    let Some(docker) = Docker::new("oom") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let orchestrator = docker
        .orchestrator()
        .args(["--agent-memory=16Mi", "--max-attempts=1"]);
    orchestrator
        .agent("exec dd if=/dev/zero of=/dev/null bs=256M count=1")
        .finish(1);

    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["exit_code"]),
        (&json!("failed"), &json!(137))
    );
    assert_eq!(outcome["reason"], "out of memory (limit 16 MiB)");
    docker.assert_nothing_left();
}

#[test]
fn an_end_that_cannot_be_reported_stays_until_it_can() {
    let Some(docker) = Docker::new("unreported") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let agent = format!("{BEGIN} await go; {END}");
    let orchestrator = docker.orchestrator().agent(&agent);
    let started = orchestrator.clone().start();
    docker.wait_for("the agent runs", || docker.begun("A-1") == 1);
    // In the way of the outcomes.
    std::fs::create_dir(docker.path("work.outcomes.jsonl")).unwrap();
    docker.give("go");
    docker.wait_for("the agent has ended", || docker.ended("A-1") == 1);
    docker.wait_for("trouble is told of", || {
        started.stderr().contains("ERROR") || started.stderr().contains("WARN")
    });
    let ended = |docker: &Docker| {
        let ids = docker.containers();
        ids.len() == 1 && docker.inspect(&ids[0])["State"]["Status"] == "exited"
    };
    docker.wait_for("the container has ended", || ended(&docker));
    started.kill();
    assert!(ended(&docker));

    std::fs::remove_dir(docker.path("work.outcomes.jsonl")).unwrap();
    orchestrator.finish(0);
    assert_eq!(docker.outcome("A-1")["outcome"], "succeeded");
    assert_eq!(docker.begun("A-1"), 1);
    docker.assert_nothing_left();
}
