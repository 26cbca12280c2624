//! The ConfigMap of outcomes: no line is lost, and it does not grow for ever.

use serde_json::{Value, json};

use super::Faked;
use crate::kube::double::{Agents, Answer, Fault};

fn line(id: &str, tail: &str) -> String {
    json!({
        "id": id, "outcome": "succeeded", "reason": "exit code 0", "attempts": 1, "exit_code": 0,
        "started": "2026-01-01T00:00:00.000Z", "finished": "2026-01-01T00:00:01.000Z",
        "history": [], "run": "recac-agent-x-1", "uid": "x", "fingerprint": "0000000000000000",
        "tail": tail,
    })
    .to_string()
        + "\n"
}

fn map(kube: &Faked, text: &str) -> Value {
    json!({
        "metadata": {"name": format!("recac-orchestrator-outcomes-{}", kube.owner)},
        "data": {"outcomes.jsonl": text},
    })
}

#[test]
fn who_was_too_late_writes_again_and_nothing_is_lost() {
    let kube = Faked::new("conflict");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Exit(0));
    kube.double
        .put("", "configmaps", map(&kube, &line("B-1", "theirs")));
    let conflict = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Operation cannot be fulfilled on configmaps \"x\": the object has been modified",
        "reason": "Conflict", "code": 409,
    });
    let fault = Fault::Answer(Answer::json(409, &conflict));
    kube.double.fault_when(fault, 3, |r| {
        matches!(r.method.as_str(), "PUT" | "PATCH") && r.path.contains("/configmaps/")
    });
    kube.orchestrator().finish(0);
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
    assert_eq!(kube.outcome("B-1")["tail"], "theirs");
    // Every write says what it has read.
    for request in kube.double.requests() {
        if matches!(request.method.as_str(), "PUT" | "PATCH")
            && request.path.contains("/configmaps/")
        {
            let version = &request.json()["metadata"]["resourceVersion"];
            assert!(version.is_string(), "{}", request.body);
        }
    }
}

#[test]
fn a_write_that_was_not_heard_of_is_not_repeated_in_the_map() {
    for fault in [Fault::Lost, Fault::Cut] {
        for method in ["POST", "PUT"] {
            let kube = Faked::new("write_lost");
            kube.items(&json!([{"id": "A-1"}]));
            kube.double.agents(Agents::Exit(0));
            if method == "PUT" {
                kube.double
                    .put("", "configmaps", map(&kube, &line("B-1", "")));
            }
            kube.double.fault_when(fault.clone(), 1, |r| {
                r.method != "GET" && r.path.contains("/configmaps")
            });
            let started = kube.orchestrator().start();
            kube.wait_for("it is committed", || {
                let jobs = kube.jobs("A-1");
                jobs.iter()
                    .any(|job| job["spec"]["ttlSecondsAfterFinished"].is_number())
            });
            assert_eq!(started.terminate().code, Some(0));
            assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
        }
    }
}

#[test]
fn above_its_size_the_oldest_tails_go_first() {
    let kube = Faked::new("tails_go");
    let all: String = (0..100)
        .map(|n| line(&format!("B-{n}"), &"x".repeat(9_100)))
        .collect();
    assert!(all.len() > 900 * 1024 && all.len() < 1024 * 1024);
    kube.double.put("", "configmaps", map(&kube, &all));
    let items: Vec<_> = (0..100).map(|n| json!({"id": format!("B-{n}")})).collect();
    kube.items(&[vec![json!({"id": "A-1"})], items].concat().into());
    kube.double.agents(Agents::Run);
    let started = kube.orchestrator().arg("--max-agents=1").start();
    let job = kube.job("A-1");
    kube.double.log(&job, "mine\n");
    kube.double.finish_job(&job, 0);
    kube.wait_for("it is told of", || {
        kube.outcomes().iter().any(|outcome| outcome["id"] == "A-1")
    });
    assert_eq!(started.terminate().code, Some(0));
    let text = kube.outcome_map().unwrap()["data"]["outcomes.jsonl"].to_string();
    assert!(text.len() <= 900 * 1024 + 4096, "{} bytes", text.len());
    assert_eq!(kube.outcome("A-1")["tail"], "mine");
    assert_eq!(kube.outcome("B-0")["tail"], "");
    assert_eq!(kube.outcome("B-99")["tail"], "x".repeat(9_100));
}

#[test]
fn when_nothing_more_can_go_nothing_more_is_started_and_the_log_says_what_to_do() {
    let kube = Faked::new("full");
    // Each still wanted to be known of, and without a tail.
    let ids: Vec<String> = (0..3000)
        .map(|n| format!("B-{n}-{}", "x".repeat(240)))
        .collect();
    let all: String = ids.iter().map(|id| line(id, "")).collect();
    assert!(
        all.len() > 900 * 1024 && all.len() < 2 * 1024 * 1024,
        "{}",
        all.len()
    );
    let cut: String = all.split_inclusive('\n').take(1900).collect();
    assert!(
        cut.len() > 900 * 1024 && cut.len() < 1024 * 1024,
        "{}",
        cut.len()
    );
    kube.double.put("", "configmaps", map(&kube, &cut));
    let mut items: Vec<_> = ids.iter().take(1900).map(|id| json!({"id": id})).collect();
    items.insert(0, json!({"id": "A-1"}));
    kube.items(&items.into());
    let pass = kube.orchestrator().arg("--once").run();
    assert!(pass.stderr.contains("--outcomes"), "{}", pass.stderr);
    assert_eq!(kube.double.asked("POST", "/jobs").len(), 0);
    let log = &pass.stderr;
    assert!(log.contains("more than 900 KiB of outcomes"), "{log}");
    let started = kube.orchestrator().start();
    started.wait_for_log("--outcomes");
    // A shorter file helps.
    kube.double.agents(Agents::Exit(0));
    kube.items(&json!([{"id": "A-1"}]));
    kube.wait_for("it is told of", || {
        kube.outcomes().iter().any(|outcome| outcome["id"] == "A-1")
    });
    assert_eq!(started.terminate().code, Some(0));
}

#[test]
fn what_was_polled_before_there_was_no_room_is_not_started_either() {
    let kube = Faked::new("full_later");
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    kube.double.agents(Agents::Run);
    let started = kube
        .orchestrator()
        .args(["--max-agents=1", "--interval=1h"])
        .start();
    let job = kube.job("A-1");
    // What nobody understands never goes.
    let all = format!("{}\n", "#".repeat(9_999)).repeat(95);
    kube.double.put("", "configmaps", map(&kube, &all));
    kube.double.finish_job(&job, 0);
    started.wait_for_log("nothing more is started");
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.double.asked("POST", "/jobs").len(), 1);
}
