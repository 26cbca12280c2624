//! What people and other programs do beside us.

use serde_json::json;

use super::{BEGIN, Docker, END};

#[test]
fn an_item_whose_container_a_person_removes_is_run_again() {
    let Some(docker) = Docker::new("removed") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let agent = format!("rmdir /ledger/A-1.lives; {BEGIN} await go; {END}");
    let started = docker
        .orchestrator()
        .agent(&agent)
        .args(["--once", "--wait"])
        .start();
    docker.wait_for("the agent runs", || docker.begun("A-1") == 1);
    let id = docker.until("it is listed", || docker.containers().pop());
    docker.call("docker", &["rm", "--force", &id]);
    docker.wait_for("it runs again", || docker.begun("A-1") == 2);
    assert_ne!(
        docker.until("it is listed", || docker.containers().pop()),
        id
    );
    docker.give("go");
    assert_eq!(started.wait().code, Some(0));
    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("succeeded"), &json!(1))
    );
    docker.assert_nothing_left();
}

#[test]
fn a_container_that_a_person_stops_is_a_failed_attempt() {
    let Some(docker) = Docker::new("stopped") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let agent = format!("rmdir /ledger/A-1.lives; {BEGIN} await go; {END}");
    let started = docker
        .orchestrator()
        .agent(&agent)
        .args(["--once", "--wait"])
        .start();
    docker.wait_for("the agent runs", || docker.begun("A-1") == 1);
    let id = docker.until("it is listed", || docker.containers().pop());
    docker.call("docker", &["kill", &id]);
    docker.wait_for("it runs again", || docker.begun("A-1") == 2);
    docker.give("go");
    assert_eq!(started.wait().code, Some(0));
    let outcome = docker.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(outcome["history"][0]["reason"], "exit code 137 (SIGKILL)");
    docker.assert_nothing_left();
}

#[test]
fn an_entry_taken_out_of_the_file_runs_to_its_end_and_is_not_tried_again() {
    let Some(docker) = Docker::new("taken_out") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let agent = format!("{BEGIN} await go; {END} [ $RECAC_ITEM_ID = A-1 ]");
    let started = docker
        .orchestrator()
        .agent(&agent)
        .args(["--once", "--wait"])
        .start();
    docker.wait_for("both run", || {
        docker.begun("A-1") + docker.begun("A-2") == 2
    });
    docker.items(&json!([]));
    docker.give("go");
    started.wait();
    assert_eq!(docker.outcome("A-1")["outcome"], "succeeded");
    let failed = docker.outcome("A-2");
    assert_eq!(
        (&failed["outcome"], &failed["attempts"]),
        (&json!("failed"), &json!(1))
    );
    assert!(
        failed["reason"]
            .as_str()
            .unwrap()
            .contains("not wanted any more"),
        "{failed}"
    );
    docker.assert_nothing_left();
}

#[test]
fn a_second_orchestrator_of_one_state_directory_leaves_with_75() {
    let Some(docker) = Docker::new("locked") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let agent = format!("{BEGIN} await go; {END}");
    let orchestrator = docker.orchestrator().agent(&agent);
    let first = orchestrator.clone().args(["--once", "--wait"]).start();
    docker.wait_for("the agent runs", || docker.begun("A-1") == 1);
    let second = orchestrator.arg("--once").run();
    assert_eq!(second.code, Some(75));
    assert!(
        second.stderr.contains(&first.pid().to_string()),
        "{}",
        second.stderr
    );
    docker.give("go");
    assert_eq!(first.wait().code, Some(0));
    assert_eq!((docker.begun("A-1"), docker.outcomes().len()), (1, 1));
}

#[test]
fn two_orchestrators_of_one_owner_run_no_item_twice() {
    let Some(docker) = Docker::new("two") else {
        return;
    };
    let items: Vec<_> = (1..=8).map(|n| json!({"id": format!("I-{n}")})).collect();
    docker.items(&items.into());
    let agent = format!(
        r#"{BEGIN} sleep 1; {END} [ "$RECAC_ATTEMPT" = 2 ] || [ "$RECAC_ITEM_ID" != I-3 ]"#
    );
    // As on two machines with one daemon: nothing in common but the owner,
    // the items and the outcomes.
    let orchestrator = docker
        .orchestrator()
        .agent(&agent)
        .args(["--once", "--wait"]);
    let state = |n| {
        format!(
            "--state-dir={}",
            docker.path(&format!("state-{n}")).display()
        )
    };
    let both = [1, 2].map(|n| orchestrator.clone().arg(state(n)).start());
    let codes = both.map(|started| started.wait().code);
    assert_eq!(codes, [Some(0), Some(0)]);
    docker.assert_never_two_at_once();
    assert_eq!(docker.outcomes().len(), 8);
    for n in 1..=8 {
        let id = format!("I-{n}");
        let outcome = docker.outcome(&id);
        assert_eq!(outcome["outcome"], "succeeded", "{id}");
        assert_eq!(outcome["attempts"], docker.begun(&id), "{id}");
    }
    docker.assert_nothing_left();
}
