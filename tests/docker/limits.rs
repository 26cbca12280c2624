//! How many at once, and whose.

use serde_json::{Value, json};

use super::{BEGIN, Docker, END};

/// The most agents that lived at once, as they wrote it down themselves.
fn most(log: &str) -> i32 {
    let steps = log
        .lines()
        .map(|line| if line.starts_with("begin ") { 1 } else { -1 });
    let live = steps.scan(0, |live, step| {
        *live += step;
        Some(*live)
    });
    live.max().unwrap_or(0)
}

#[test]
fn no_more_agents_live_at_once_than_may() {
    let Some(docker) = Docker::new("max_agents") else {
        return;
    };
    let items: Vec<Value> = (1..=7).map(|n| json!({"id": format!("I-{n}")})).collect();
    docker.items(&items.into());
    // Two wait for each other, so that two it is.
    let agent = format!(
        r#"{BEGIN} : >"/ledger/$RECAC_ITEM_ID"
        case $RECAC_ITEM_ID in I-1) await I-2;; I-2) await I-1;; *) sleep 0.3;; esac
        {END} [ "$RECAC_ITEM_ID$RECAC_ATTEMPT" != I-31 ]"#
    );
    let orchestrator = docker.orchestrator().agent(&agent);
    let output = orchestrator.clone().arg("--max-agents=0").finish(0);
    assert_eq!(
        docker.ledger("log"),
        "",
        "nothing starts:\n{}",
        output.stderr
    );

    orchestrator.arg("--max-agents=2").finish(0);
    assert_eq!(most(&docker.ledger("log")), 2);
    assert_eq!(docker.outcomes().len(), 7);
    docker.assert_nothing_left();
}

#[test]
fn agents_of_other_owners_are_left_alone_and_do_not_count() {
    let Some(docker) = Docker::new("owner") else {
        return;
    };
    let Some(other) = Docker::new("other_owner") else {
        return;
    };
    for docker in [&docker, &other] {
        docker.items(&json!([{"id": "A-1"}]));
    }
    let agent = format!("{BEGIN} await go; {END}");
    let theirs = other
        .orchestrator()
        .agent(&agent)
        .args(["--once", "--wait"])
        .start();
    other.wait_for("theirs runs", || other.begun("A-1") == 1);
    let before = other.containers();

    docker.give("go");
    // Short limits, were it ours.
    let orchestrator = docker
        .orchestrator()
        .arg("--max-agents=1")
        .arg("--agent-timeout=20s");
    let output = orchestrator.agent(&agent).finish(0);
    assert!(!output.stderr.contains(&other.owner), "{}", output.stderr);
    assert_eq!((docker.begun("A-1"), docker.outcomes().len()), (1, 1));
    docker.assert_nothing_left();

    assert_eq!(other.containers(), before);
    assert_eq!((other.begun("A-1"), other.ended("A-1")), (1, 0));
    other.give("go");
    assert_eq!(theirs.wait().code, Some(0));
    assert_eq!((other.begun("A-1"), other.outcomes().len()), (1, 1));
    other.assert_nothing_left();
}

#[test]
fn a_stranger_under_our_name_is_left_alone_and_named() {
    let Some(docker) = Docker::new("stranger") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let orchestrator = docker.orchestrator().agent("true");
    let dry = orchestrator.clone().arg("--dry-run").run();
    let mut words = dry.stdout.split_whitespace();
    words.find(|word| *word == "--name");
    let name = words.next().unwrap().to_owned();
    // One has no label of ours, the other those of another item.
    for labels in [
        vec![],
        vec![
            format!("--label=recac.io/owner={}", docker.owner),
            "--label=app.kubernetes.io/managed-by=recac-orchestrator".to_owned(),
            "--label=recac.io/item-id=B-2".to_owned(),
            "--label=recac.io/source-id=B-2".to_owned(),
            "--label=recac.io/attempt=1".to_owned(),
            "--label=recac.io/fingerprint=0123456789abcdef".to_owned(),
        ],
    ] {
        let mut args = vec!["create", "--name", &name, "--network=none"];
        args.extend(labels.iter().map(String::as_str));
        args.extend([docker.image.tag.as_str(), "sh", "-c", "exit 3"]);
        let id = docker.call("docker", &args).trim().to_owned();
        docker.call("docker", &["start", &id]);
        docker.at_end({
            let id = id.clone();
            move |world| {
                let _ = world.try_call("docker", &["rm", "--force", &id]);
            }
        });
        let limits = ["--start-timeout=1s", "--max-attempts=1"];
        let output = orchestrator.clone().args(limits).finish(1);
        assert!(output.stderr.contains(&name), "{}", output.stderr);
        let outcome = docker.outcome("A-1");
        assert!(
            outcome["reason"].as_str().unwrap().contains(&name),
            "{outcome}"
        );
        assert_eq!(docker.inspect(&id)["State"]["Status"], "exited");
        docker.call("docker", &["rm", "--force", &id]);
        std::fs::remove_file(docker.path("work.outcomes.jsonl")).unwrap();
    }
    // With nobody in the way it runs.
    orchestrator.finish(0);
    assert_eq!(docker.outcome("A-1")["outcome"], "succeeded");
}
