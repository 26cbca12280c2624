//! The watch only wakes the loop: it comes back from everything, and without
//! it all goes on, more slowly.

use std::time::Duration;

use serde_json::json;

use super::Faked;
use crate::kube::double::{Agents, Answer, Double, Fault, Request};

fn watches(double: &Double) -> usize {
    double.requests().iter().filter(|r| r.is_watch()).count()
}

/// A run ends, and is told of long before the next poll.
fn assert_is_heard(kube: &Faked, id: &str, next: usize) {
    let job = kube.job(id);
    kube.double.finish_job(&job, 0);
    kube.wait_for(&format!("{id} is told of"), || {
        kube.outcomes().len() == next
    });
}

#[test]
fn a_watch_that_ends_in_whatever_way_is_begun_again() {
    let kube = Faked::new("watch_ends");
    let items: Vec<_> = (1..=4).map(|n| json!({"id": format!("A-{n}")})).collect();
    kube.items(&items.into());
    kube.double.agents(Agents::Run);
    let started = kube.orchestrator().arg("--interval=1h").start();
    kube.wait_for("there is a watch", || watches(&kube.double) >= 1);
    assert_is_heard(&kube, "A-1", 1);
    type End = fn(&Double);
    let ends: [End; 3] = [
        // A proxy without patience.
        Double::cut_watches,
        // What it would be told next is forgotten.
        Double::expire,
        |double| {
            let gone = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410,
            });
            let fault = Fault::Answer(Answer::json(410, &gone));
            double.fault_when(fault, 1, Request::is_watch);
            double.cut_watches();
        },
    ];
    for (n, end) in ends.iter().enumerate() {
        let before = watches(&kube.double);
        end(&kube.double);
        kube.wait_for("there is another watch", || watches(&kube.double) > before);
        assert_is_heard(&kube, &format!("A-{}", n + 2), n + 2);
    }
    assert_eq!(started.terminate().code, Some(0));
}

#[test]
fn a_watch_that_is_dropped_again_and_again_is_begun_again() {
    let kube = Faked::new("watch_again");
    kube.items(&json!([]));
    let started = kube.orchestrator().arg("--interval=1h").start();
    for before in 0..5 {
        kube.wait_for("there is a watch", || watches(&kube.double) > before);
        kube.double.cut_watches();
    }
    assert_eq!(started.terminate().code, Some(0));
}

#[test]
fn without_any_watch_the_loop_finds_out_by_itself() {
    for fault in [
        Fault::status(500),
        Fault::Close,
        Fault::status(200),
        Fault::Hang,
    ] {
        let kube = Faked::new("no_watch");
        kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
        kube.double.agents(Agents::Exit(0));
        kube.double.fault_when(fault, usize::MAX, Request::is_watch);
        kube.orchestrator().arg("--max-agents=1").finish(0);
        assert_eq!(kube.outcomes().len(), 2);
        // Nor does it ask as fast as it can.
        assert!(watches(&kube.double) < 40, "{}", watches(&kube.double));
    }
}

#[test]
fn a_watch_that_is_told_to_wait_waits() {
    let kube = Faked::new("watch_busy");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    let busy = Fault::busy(429, 8);
    kube.double.fault_when(busy, 1, Request::is_watch);
    let started = kube.orchestrator().start();
    kube.wait_for("it listens again", || watches(&kube.double) >= 2);
    assert_eq!(started.terminate().code, Some(0));
    let requests = kube.double.requests();
    let watches: Vec<_> = requests.iter().filter(|r| r.is_watch()).collect();
    assert!(watches[1].at - watches[0].at >= Duration::from_secs(8));
}

#[test]
fn without_the_permission_to_watch_the_loop_finds_out_by_itself() {
    let kube = Faked::new("may_not_watch");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Exit(0));
    kube.double.forbid("watch", "jobs");
    kube.orchestrator().finish(0);
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
}

#[test]
fn a_storm_of_events_costs_a_few_looks() {
    let kube = Faked::new("storm");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    let started = kube.orchestrator().arg("--interval=1h").start();
    let job = kube.job("A-1");
    kube.wait_for("there is a watch", || watches(&kube.double) >= 1);
    let before = kube.lists(200);
    for _ in 0..200 {
        kube.double.storm(50);
    }
    kube.double.finish_job(&job, 0);
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    let looks = kube.lists(200) - before;
    assert!(looks < 60, "{looks} looks for 10,000 events");
    assert_eq!(started.terminate().code, Some(0));
}
