//! Replicas, of which one acts.

use std::time::Duration;

use recac_orchestrator::core::Stamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Kube;
use crate::{
    kube::AWAIT,
    world::{Orchestrator, Started},
};

impl Kube {
    fn lease(&self) -> Option<Value> {
        let name = format!("lease/recac-orchestrator-{}", self.owner);
        Some(self.one(&name)?["spec"].clone())
    }

    fn holder(&self) -> String {
        let lease = self.lease().unwrap_or_default();
        lease["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Two replicas, the first of which leads.
    fn replicas<'k>(&self, orchestrator: &Orchestrator<'k>) -> (Started<'k>, Started<'k>, String) {
        let state = |n| format!("--state-dir={}", self.path(&format!("state-{n}")).display());
        let start = |n| {
            orchestrator
                .clone()
                .arg("--leader-elect")
                .arg(state(n))
                .start()
        };
        let first = start(1);
        self.wait_for("one leads", || !self.holder().is_empty());
        (first, start(2), self.holder())
    }
}

#[test]
fn a_leader_that_is_killed_under_load_is_replaced_and_no_item_is_run_twice_or_lost() {
    let Some(kube) = Kube::new("leader_killed") else {
        return;
    };
    let items: Vec<_> = (1..=30).map(|n| json!({"id": format!("I-{n}")})).collect();
    kube.items(&items.into());
    let orchestrator = kube
        .orchestrator()
        .agent(r#"sleep 2; [ "$RECAC_ATTEMPT" = 2 ] || [ "$RECAC_ITEM_ID" != I-3 ]"#)
        .arg("--max-agents=6");
    let (leader, standby, first) = kube.replicas(&orchestrator);
    kube.wait_for("it is at work", || kube.outcomes().len() >= 6);
    assert_eq!(kube.holder(), first, "the first one leads");
    leader.kill();
    let renewed: Stamp = kube.lease().unwrap()["renewTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    kube.wait_for("the other one leads", || kube.holder() != first);
    let acquired: Stamp = kube.lease().unwrap()["acquireTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    // By their own stamps.
    assert!(
        acquired.since(renewed) < Duration::from_secs(20),
        "{renewed} {acquired}"
    );
    kube.wait_for("all are told of", || kube.outcomes().len() == 30);
    assert_eq!(standby.terminate().code, Some(0));
    for n in 1..=30 {
        let id = format!("I-{n}");
        let attempts = if n == 3 { 2 } else { 1 };
        kube.assert_ended(&id, "succeeded", attempts);
        assert_eq!(kube.jobs(&id).len(), attempts, "{id}");
    }
    kube.assert_never_two_at_once();
}

#[test]
fn a_leader_that_is_told_to_leave_hands_over_at_once() {
    let Some(kube) = Kube::new("handed_over") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let orchestrator = kube.orchestrator().agent(&format!("{AWAIT} await go"));
    let (leader, standby, first) = kube.replicas(&orchestrator);
    let pod = kube.running("A-1");
    leader.signal(Signal::TERM);
    assert_eq!(leader.wait().code, Some(0));
    // Nobody has to wait for the Lease to run out.
    assert_ne!(kube.holder(), first);
    kube.wait_for("the other one leads", || !kube.holder().is_empty());
    kube.give(&pod, "go");
    kube.wait_for("it is told of", || kube.outcomes().len() == 1);
    assert_eq!(standby.terminate().code, Some(0));
    assert_eq!(kube.holder(), "");
    assert_eq!(kube.jobs("A-1").len(), 1);
}

#[test]
fn a_standby_does_nothing_at_all() {
    let Some(kube) = Kube::new("standby") else {
        return;
    };
    kube.items(&json!([]));
    let orchestrator = kube.orchestrator().agent("true");
    let (leader, standby, first) = kube.replicas(&orchestrator);
    // The leader lives, but does not see anything.
    leader.signal(Signal::STOP);
    kube.items(&json!([{"id": "A-1"}]));
    kube.wait_for("the other one leads", || kube.holder() != first);
    let jobs = kube.all("jobs").len();
    kube.wait_for("it is told of", || kube.outcomes().len() == 1);
    assert!(jobs <= 1);
    // Awake again it finds that it leads no more, and stands by.
    leader.signal(Signal::CONT);
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    kube.wait_for("that is told of, too", || kube.outcomes().len() == 2);
    assert_ne!(kube.holder(), first);
    assert_eq!((kube.jobs("A-1").len(), kube.jobs("A-2").len()), (1, 1));
    assert_eq!(leader.terminate().code, Some(0));
    assert_ne!(kube.holder(), "");
    assert_eq!(standby.terminate().code, Some(0));
}
