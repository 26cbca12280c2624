//! A leader that cannot renew its Lease acts no more before another can.

use std::time::Duration;

use serde_json::Value;

use super::Faked;
use crate::kube::double::{Agents, Fault, Request};

fn spec(kube: &Faked) -> Value {
    let name = format!("recac-orchestrator-{}", kube.owner);
    let lease = kube.double.object("coordination.k8s.io", "leases", &name);
    lease.map_or(Value::Null, |lease| lease["spec"].clone())
}

fn holder(kube: &Faked) -> String {
    spec(kube)["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn who_cannot_renew_stops_acting_before_another_begins() {
    let kube = Faked::new("lost_lease");
    let items: Vec<_> = (1..=200)
        .map(|n| serde_json::json!({"id": format!("I-{n}")}))
        .collect();
    kube.items(&items.into());
    kube.double.agents(Agents::Run);
    let state = |n| format!("--state-dir={}", kube.path(&format!("state-{n}")).display());
    let orchestrator = kube
        .orchestrator()
        .args(["--leader-elect", "--max-agents=1"]);
    let mut first = orchestrator.clone().arg(state(1)).start();
    kube.wait_for("one leads", || !holder(&kube).is_empty());
    let name = holder(&kube);
    let lease = spec(&kube);
    assert_eq!(lease["leaseDurationSeconds"], 15, "{lease}");
    let mut second = orchestrator.arg(state(2)).start();
    kube.job("I-1");
    // Its renewals are not answered any more; all else is.
    let of = name.clone();
    kube.double.fault_when(Fault::Hang, usize::MAX, move |r| {
        r.method != "GET" && r.path.contains("/leases") && r.body.contains(&of)
    });
    // It has something to do all the time, as long as it leads.
    kube.double.agents(Agents::Exit(0));
    kube.wait_for("the other one leads", || {
        let holder = holder(&kube);
        !holder.is_empty() && holder != name
    });
    let taken = kube.double.requests().into_iter().rev().find(|r| {
        matches!(r.method.as_str(), "PUT" | "PATCH")
            && r.path.contains("/leases/")
            && r.status == 200
    });
    let taken = taken.unwrap();
    let told = kube.outcomes().len();
    kube.wait_for("it acts", || kube.outcomes().len() > told + 2);
    assert!(first.is_running() && second.is_running());
    // Connections of the first one are those that came before the second had
    // any, or that the fault befell; what it did last it did before.
    let creations = kube.double.asked("POST", "/jobs");
    let before: Vec<_> = creations.iter().filter(|r| r.at < taken.at).collect();
    let last = before.last().unwrap();
    assert!(taken.at - last.at > Duration::ZERO);
    let theirs = |r: &&Request| before.iter().any(|b| b.connection == r.connection);
    let late: Vec<_> = creations
        .iter()
        .filter(|r| r.at > taken.at)
        .filter(theirs)
        .collect();
    assert!(late.is_empty(), "{late:?}");
    kube.double.no_more_faults();
    assert_eq!(first.terminate().code, Some(0));
    assert_eq!(second.terminate().code, Some(0));
    assert_eq!(holder(&kube), "");
}

#[test]
fn what_waited_for_a_full_server_is_not_done_by_who_leads_no_longer() {
    let kube = Faked::new("lead_and_pause");
    // More than are begun at once, so that some wait in the midst of a call.
    let items: Vec<_> = (1..=30)
        .map(|n| serde_json::json!({"id": format!("I-{n}")}))
        .collect();
    kube.items(&items.into());
    kube.double.agents(Agents::Run);
    kube.double.fault(Fault::busy(429, 10), "POST", "/jobs", 8);
    let started = kube
        .orchestrator()
        .args(["--leader-elect", "--max-agents=30"])
        .start();
    kube.wait_for("it is told to wait", || {
        !kube.double.asked("POST", "/jobs").is_empty()
    });
    kube.double.fault_when(Fault::Hang, usize::MAX, |r| {
        r.method != "GET" && r.path.contains("/leases")
    });
    let renewed = |requests: &[Request]| {
        let mut all = requests.iter().rev();
        let last = all.find(|r| {
            r.path.contains("/leases") && r.method != "GET" && matches!(r.status, 200 | 201)
        });
        last.map(|r| r.at).unwrap()
    };
    started.wait_for_log("leads no longer");
    // What it does then is to look, which it may.
    let asked = kube.double.requests().len();
    kube.wait_for("the pause is over", || {
        kube.double.requests().len() > asked + 2
    });
    let requests = kube.double.requests();
    let end = renewed(&requests) + Duration::from_secs(10);
    let late: Vec<_> = requests
        .iter()
        .filter(|r| r.at > end && r.method != "GET" && !r.path.contains("/leases"))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    kube.double.no_more_faults();
    assert_eq!(started.terminate().code, Some(0));
}

#[test]
fn times_of_a_lease_have_their_microseconds_and_a_stale_renewal_loses() {
    let kube = Faked::new("lease_times");
    kube.items(&serde_json::json!([]));
    let started = kube.orchestrator().arg("--leader-elect").start();
    kube.wait_for("it is renewed", || {
        let lease = spec(&kube);
        !lease.is_null() && lease["renewTime"] != lease["acquireTime"]
    });
    for request in kube.double.requests() {
        let leases = request.path.contains("/leases");
        assert!(
            !leases || matches!(request.status, 200 | 201 | 404),
            "{request:?}"
        );
    }
    // Somebody else has taken it, whoever that is.
    let name = format!("recac-orchestrator-{}", kube.owner);
    let mut lease = kube
        .double
        .object("coordination.k8s.io", "leases", &name)
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = recac_orchestrator::core::Stamp(now.as_millis() as u64 + 60_000).to_string();
    lease["spec"]["holderIdentity"] = "somebody".into();
    lease["spec"]["renewTime"] = now.replace('Z', "000Z").into();
    kube.double.put("coordination.k8s.io", "leases", lease);
    // It finds that out when it renews.
    started.wait_for_log("leads no longer");
    kube.double.agents(Agents::Exit(0));
    kube.items(&serde_json::json!([{"id": "A-1"}]));
    let asked = kube.double.requests().len();
    kube.wait_for("it looks at the Lease", || {
        let requests = kube.double.requests();
        let later = requests[asked..]
            .iter()
            .filter(|r| r.path.contains("/leases"));
        later.count() >= 3
    });
    assert_eq!(kube.jobs("A-1").len(), 0);
    assert_eq!(started.terminate().code, Some(0));
    // It is not its own to release.
    assert_eq!(holder(&kube), "somebody");
}
