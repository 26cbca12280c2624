//! What a tick asks of the server, however many runs there are.

use std::collections::BTreeSet;

use serde_json::json;

use super::Faked;
use crate::kube::double::{Agents, Request};

fn is_list(request: &Request, of: &str) -> bool {
    request.method == "GET" && request.path.ends_with(of) && !request.is_watch()
}

#[test]
fn a_thousand_runs_cost_one_list_of_two_pages_and_few_connections() {
    let kube = Faked::new("thousand");
    let items: Vec<_> = (0..1000).map(|n| json!({"id": format!("I-{n}")})).collect();
    kube.items(&items.into());
    kube.double.rest();
    let orchestrator = kube.orchestrator().arg("--max-agents=1000");
    orchestrator.clone().arg("--once").run();
    kube.double.agents(Agents::Run);
    kube.wait_for("all run", || {
        kube.double.step();
        let jobs = kube.double.jobs();
        jobs.iter().all(|job| job["status"]["ready"] == 1)
    });
    let before = kube.double.requests().len();
    let started = orchestrator.start();
    let looks = || {
        let requests = kube.double.requests();
        let lists = requests[before..].iter().filter(|r| is_list(r, "/jobs"));
        lists.count()
    };
    kube.wait_for("it has looked some times", || looks() >= 12);
    let requests = kube.double.requests().split_off(before);
    let lists: Vec<_> = requests.iter().filter(|r| is_list(r, "/jobs")).collect();
    for pages in lists.chunks_exact(2) {
        assert_eq!(pages[0].parameter("continue"), "");
        assert_ne!(pages[1].parameter("continue"), "");
        assert_eq!(pages[0].parameter("limit"), "500");
    }
    // Into their pods it has looked once.
    let others = requests
        .iter()
        .filter(|r| is_list(r, "/pods") || is_list(r, "/events"));
    assert!(others.count() <= 4, "{}", kube.double.report());
    let connections: BTreeSet<usize> = requests.iter().map(|r| r.connection).collect();
    assert!(connections.len() <= 4, "{} connections", connections.len());
    assert_eq!(started.terminate().code, Some(0));
}

#[test]
fn many_runs_that_wait_are_looked_into_with_one_list_of_pods() {
    let kube = Faked::new("one_list");
    let items: Vec<_> = (1..=20).map(|n| json!({"id": format!("A-{n}")})).collect();
    kube.items(&items.into());
    let started = kube.orchestrator().arg("--max-agents=20").start();
    kube.wait_for("all are posted", || kube.double.jobs().len() == 20);
    kube.passes(200, 4);
    assert_eq!(started.terminate().code, Some(0));
    let requests = kube.double.requests();
    let count = |of: &str| requests.iter().filter(|r| is_list(r, of)).count();
    assert!(
        count("/pods") <= count("/jobs"),
        "{} {}",
        count("/pods"),
        count("/jobs")
    );
    let single = requests
        .iter()
        .filter(|r| r.method == "GET" && r.path.contains("/pods/"));
    assert_eq!(single.count(), 0);
    // Eight at a time are posted, over connections that are used again.
    let posts = kube.double.asked("POST", "/jobs");
    let connections: BTreeSet<usize> = posts.iter().map(|r| r.connection).collect();
    assert!(connections.len() <= 9, "{} connections", connections.len());
    for post in posts {
        assert_eq!(post.parameter("fieldValidation"), "Strict");
    }
}

#[test]
fn only_our_own_are_asked_for() {
    let kube = Faked::new("labels");
    kube.items(&json!([{"id": "A-1"}]));
    let started = kube.orchestrator().start();
    kube.passes(200, 2);
    assert_eq!(started.terminate().code, Some(0));
    for request in kube.double.requests() {
        if request.method == "GET" && request.path.ends_with("/jobs") {
            let selector = request.parameter("labelSelector");
            assert!(
                selector.contains(&format!("recac.io/owner={}", kube.owner)),
                "{selector}"
            );
        }
    }
}
