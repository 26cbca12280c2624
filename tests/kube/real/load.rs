//! Many items, many deaths, two at once.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::json;

use super::Kube;
use crate::random::{Random, seed};

#[test]
fn three_hundred_items_run_at_once_and_each_once() {
    let Some(kube) = Kube::alone("three_hundred") else {
        return;
    };
    let ids: Vec<String> = (1..=300).map(|n| format!("I-{n}")).collect();
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    kube.items(&items.into());
    let output = kube
        .orchestrator()
        .agent("echo $RECAC_ITEM_ID")
        .args(["--max-agents=300", "--once", "--wait"])
        .start();
    // A node of two cores takes its time over so many.
    for tenth in 1..=10 {
        kube.wait_for("more are told of", || kube.outcomes().len() >= 30 * tenth);
    }
    assert_eq!(output.wait().code, Some(0));
    let outcomes = kube.outcomes();
    assert_eq!(outcomes.len(), 300);
    let by_id: BTreeMap<&str, _> = outcomes
        .iter()
        .map(|o| (o["id"].as_str().unwrap(), o))
        .collect();
    for id in &ids {
        let outcome = by_id[id.as_str()];
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"], &outcome["tail"]),
            (&json!("succeeded"), &json!(1), &json!(id))
        );
    }
    assert_eq!(kube.all("jobs").len(), 300);
    kube.assert_nothing_left();
}

#[test]
fn killed_at_any_moment_no_item_is_run_twice_or_lost() {
    let Some(kube) = Kube::new("kill_9") else {
        return;
    };
    let seed = seed();
    kube.on_failure(move |_| format!("RECAC_TEST_SEED={seed}"));
    let mut random = Random::new(seed);
    let ids = [
        "ok-1", "ok-2", "ok-3", "ok-4", "retry-1", "retry-2", "bad-1", "hopeless",
    ];
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    kube.items(&items.into());
    let orchestrator = kube
        .orchestrator()
        .agent(
            r#"sleep 1; case $RECAC_ITEM_ID in
            retry-*) [ "$RECAC_ATTEMPT" = 2 ];; bad-*) exit 9;; hopeless) exit 78;; esac"#,
        )
        .arg("--max-agents=4");
    for _ in 0..20 {
        let started = orchestrator.clone().start();
        // Not a wait for anything: the moment of its death.
        thread::sleep(Duration::from_millis(random.below(1500)));
        // A client that the last one was about to start may hold its lock
        // for the moment until it is another program.
        let end = started.kill();
        assert!(end.signal == Some(9) || end.code == Some(75), "{end:?}");
    }
    orchestrator.args(["--once", "--wait"]).run();
    assert_eq!(kube.outcomes().len(), ids.len());
    for id in ids {
        let (end, attempts) = match id.split('-').next().unwrap() {
            "ok" => ("succeeded", 1),
            "retry" => ("succeeded", 2),
            "bad" => ("failed", 3),
            _ => ("failed", 1),
        };
        let outcome = kube.assert_ended(id, end, attempts);
        assert_eq!(kube.jobs(id).len(), attempts, "attempts at {id}");
        assert_eq!(
            outcome["history"].as_array().unwrap().len(),
            attempts - 1,
            "{id}"
        );
    }
    kube.assert_never_two_at_once();
    kube.assert_nothing_left();
}

#[test]
fn two_orchestrators_of_one_owner_run_no_item_twice_and_lose_no_outcome() {
    let Some(kube) = Kube::new("two") else {
        return;
    };
    let items: Vec<_> = (1..=24).map(|n| json!({"id": format!("I-{n}")})).collect();
    kube.items(&items.into());
    // As in two pods: nothing in common but the owner, the items and the
    // ConfigMap of outcomes.
    let orchestrator =
        kube.orchestrator()
            .agent("sleep 1")
            .args(["--max-agents=12", "--once", "--wait"]);
    let state = |n| format!("--state-dir={}", kube.path(&format!("state-{n}")).display());
    let both = [1, 2].map(|n| orchestrator.clone().arg(state(n)).start());
    let codes = both.map(|started| started.wait().code);
    assert_eq!(codes, [Some(0), Some(0)]);
    assert_eq!(kube.outcomes().len(), 24);
    for n in 1..=24 {
        let id = format!("I-{n}");
        assert_eq!(kube.outcome(&id)["outcome"], "succeeded", "{id}");
        assert_eq!(kube.jobs(&id).len(), 1, "{id}");
    }
    kube.assert_nothing_left();
}

#[test]
fn two_owners_in_one_namespace_leave_each_other_alone() {
    let Some(kube) = Kube::new("owners") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let orchestrator = kube.orchestrator().agent("echo $RECAC_RUN");
    let outcomes = |n| {
        format!(
            "--outcomes={}",
            kube.path(&format!("outcomes-{n}")).display()
        )
    };
    let other = format!("--owner={}-2", kube.owner);
    let state = format!("--state-dir={}", kube.path("state-2").display());
    orchestrator.clone().arg(outcomes(1)).finish(0);
    orchestrator.args([&outcomes(2), &other, &state]).finish(0);
    let jobs = kube.jobs("A-1");
    assert_eq!(jobs.len(), 2);
    assert_ne!(jobs[0]["metadata"]["name"], jobs[1]["metadata"]["name"]);
}
