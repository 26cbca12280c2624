//! Pods that never start, or end in their own ways: the outcome says why, in
//! the words of Kubernetes.

use serde_json::{Value, json};

use super::Kube;
use crate::world::Orchestrator;

/// Runs one item to its end, which is bad, with these arguments; gives its
/// outcome, and the reason in it.
#[track_caller]
fn ends_badly(kube: &Kube, agent: &str, args: &[String]) -> (Value, String) {
    kube.items(&json!([{"id": "A-1"}]));
    line(kube, agent, args).finish(1);
    ended_badly(kube)
}

/// Runs one item whose pod never starts, until the log says why in these words,
/// and then to its end. The outcome says so, too; gives its reason, and the log.
#[track_caller]
fn never_starts(kube: &Kube, args: &[String], words: &[&str]) -> (String, String) {
    kube.items(&json!([{"id": "A-1"}]));
    let patient = line(kube, "true", args).arg("--start-timeout=1h").start();
    kube.wait_for(&format!("the log says {words:?}"), || {
        let log = patient.stderr();
        let mut said = log.lines().filter(|line| line.contains("pending: "));
        said.any(|line| words.iter().all(|word| line.contains(word)))
    });
    let log = patient.terminate().stderr;
    line(kube, "true", args).arg("--start-timeout=1s").finish(1);
    let (_, reason) = ended_badly(kube);
    assert_says(&reason, words);
    (reason, log)
}

fn line<'k>(kube: &'k Kube, agent: &str, args: &[String]) -> Orchestrator<'k> {
    kube.orchestrator()
        .arg(format!("--agent-command={agent}"))
        .arg("--max-attempts=1")
        .args(args)
}

#[track_caller]
fn ended_badly(kube: &Kube) -> (Value, String) {
    let outcome = kube.outcome("A-1");
    assert_eq!(outcome["outcome"], "failed", "{outcome}");
    kube.assert_nothing_left();
    let reason = outcome["reason"].as_str().unwrap().to_owned();
    (outcome, reason)
}

#[track_caller]
fn assert_says(reason: &str, words: &[&str]) {
    for word in words {
        assert!(reason.contains(word), "{word:?} is not in {reason:?}");
    }
}

/// A pod template to be laid over.
fn pod(spec: &Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

#[test]
fn an_image_that_is_not_on_the_node_is_named() {
    let Some(kube) = Kube::new("no_image") else {
        return;
    };
    let args = ["--image=no-such:1", "--image-pull-policy=Never"].map(str::to_owned);
    never_starts(&kube, &args, &["ErrImageNeverPull", "no-such:1"]);
}

#[test]
fn a_registry_that_refuses_is_named() {
    let Some(kube) = Kube::new("no_registry") else {
        return;
    };
    let args = [
        "--image=127.0.0.1:1/no-such:1",
        "--image-pull-policy=Always",
    ];
    let args = args.map(str::to_owned);
    // What its events say, what the pod says, and what that says a little later.
    let pull = ["Failed to pull", "ErrImagePull", "ImagePullBackOff"];
    let (reason, _) = never_starts(&kube, &args, &["127.0.0.1:1/no-such:1"]);
    assert!(pull.iter().any(|word| reason.contains(word)), "{reason}");
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let Some(kube) = Kube::new("no_secret") else {
        return;
    };
    let from = json!([{"secretRef": {"name": "missing"}}]);
    let template = pod(&json!({"containers": [{"name": "agent", "envFrom": from}]}));
    let args = [kube.template(&template)];
    never_starts(
        &kube,
        &args,
        &["CreateContainerConfigError", "secret \"missing\" not found"],
    );
}

#[test]
fn a_node_that_nobody_is_is_named() {
    let Some(kube) = Kube::new("unschedulable") else {
        return;
    };
    let template = pod(&json!({"nodeSelector": {"pool": "none"}}));
    let args = [kube.template(&template)];
    never_starts(
        &kube,
        &args,
        &[
            "Unschedulable",
            "nodes are available",
            "node affinity/selector",
        ],
    );
}

#[test]
fn a_service_account_that_is_missing_is_named() {
    let Some(kube) = Kube::new("no_account") else {
        return;
    };
    let args = ["--agent-service-account=missing".to_owned()];
    never_starts(&kube, &args, &["serviceaccount \"missing\" not found"]);
}

/// At most so many of these, from now on.
fn quota(kube: &Kube, name: &str, of: &str, most: usize) {
    kube.kubectl(&["create", "quota", name, &format!("--hard={of}={most}")]);
    // It is not in force before it has been counted.
    kube.wait_for("the quota is counted", || {
        let quota = kube.one(&format!("quota/{name}")).unwrap();
        quota["status"]["used"][of] == "0"
    });
}

#[test]
fn a_quota_without_room_for_the_pod_is_named() {
    let Some(kube) = Kube::new("pod_quota") else {
        return;
    };
    quota(&kube, "none", "pods", 0);
    never_starts(&kube, &[], &["exceeded quota: none"]);
}

#[test]
fn a_quota_without_room_for_the_job_is_waited_for() {
    let Some(kube) = Kube::new("job_quota") else {
        return;
    };
    quota(&kube, "jobs", "count/jobs.batch", 1);
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let started = kube
        .orchestrator()
        .agent("true")
        .args(["--keep-finished=1h", "--start-timeout=1h"])
        .start();
    started.wait_for_log("exceeded quota");
    kube.wait_for("one is told of", || kube.outcomes().len() == 1);
    kube.kubectl(&["delete", "quota", "jobs"]);
    kube.wait_for("both are told of", || kube.outcomes().len() == 2);
    assert_eq!(started.terminate().code, Some(0));
    for id in ["A-1", "A-2"] {
        kube.assert_ended(id, "succeeded", 1);
    }
}

#[test]
fn what_pod_security_has_against_a_pod_is_told() {
    let Some(kube) = Kube::new("restricted") else {
        return;
    };
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kube.kubectl(&["label", "namespace", &kube.namespace, label]);
    let (_, said) = never_starts(
        &kube,
        &[],
        &["violates PodSecurity", "runAsNonRoot != true"],
    );
    // The server had warned, and that is in the log.
    assert!(said.contains("would violate PodSecurity"), "{said}");
}

#[test]
fn a_command_that_is_not_in_the_image_is_named() {
    let Some(kube) = Kube::new("no_command") else {
        return;
    };
    let (outcome, reason) = ends_badly(&kube, "/no/such/program", &[]);
    assert_says(&reason, &["/no/such/program"]);
    assert_eq!(outcome["exit_code"], 127, "{outcome}");
}

#[test]
fn an_agent_that_takes_too_much_memory_is_told_of_as_such() {
    let Some(kube) = Kube::new("oom") else {
        return;
    };
    let agent = "sh -c 'x=0123456789; while :; do x=$x$x; done'";
    let (outcome, reason) = ends_badly(&kube, agent, &["--agent-memory=20Mi".to_owned()]);
    assert_eq!(outcome["exit_code"], 137, "{outcome}");
    assert_says(&reason, &["out of memory"]);
}

#[test]
fn a_value_that_no_container_survives_is_refused_before_it_is_posted() {
    let Some(kube) = Kube::new("big_value") else {
        return;
    };
    kube.items(&json!([{"id": "A-1", "env": {"BIG": "x".repeat(131_072)}}]));
    let output = kube.orchestrator().agent("true").finish(1);
    assert!(output.stderr.contains("BIG"), "{}", output.stderr);
    assert_eq!(kube.all("jobs").len(), 0);
    // One byte less than what the kernel takes, `NAME=` and NUL included.
    kube.items(&json!([{"id": "A-1", "env": {"BIG": "x".repeat(131_072 - 5)}}]));
    kube.orchestrator().agent("[ ${#BIG} = 131067 ]").finish(0);
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
}
