//! Every recorded state of a pod: the outcome of its run says why.

use serde_json::{Value, json};

use super::Faked;
use crate::kube::double::Agents;

/// Case, exit code of the outcome, and what its reason says.
const CASES: &[(&str, Value, &[&str])] = &[
    (
        "real-nopull",
        Value::Null,
        &["ErrImageNeverPull", "no-such:1"],
    ),
    (
        "real-pullfail",
        Value::Null,
        &[
            "ErrImagePull",
            "127.0.0.1:1/no-such:1",
            "connection refused",
        ],
    ),
    (
        "real-nosecret",
        Value::Null,
        &["CreateContainerConfigError", "secret \"missing\" not found"],
    ),
    (
        "real-unsched",
        Value::Null,
        &["Unschedulable", "0/1 nodes are available"],
    ),
    (
        "real-nosa",
        Value::Null,
        &["serviceaccount \"missing\" not found"],
    ),
];

#[test]
fn a_run_that_never_starts_fails_with_what_kubernetes_says_of_it() {
    for (case, code, words) in CASES {
        let kube = Faked::new("state");
        kube.items(&json!([{"id": "A-1"}]));
        let started = kube
            .orchestrator()
            .args(["--start-timeout=3s", "--max-attempts=1", "--once", "--wait"])
            .start();
        let job = kube.job("A-1");
        kube.double.pod_state(&job, case);
        assert_eq!(started.wait().code, Some(1), "{case}");
        let outcome = kube.outcome("A-1");
        assert_eq!(outcome["exit_code"], *code, "{case}: {outcome}");
        let reason = outcome["reason"].as_str().unwrap();
        for word in *words {
            assert!(
                reason.contains(word),
                "{case}: {word:?} is not in {reason:?}"
            );
        }
    }
}

#[test]
fn a_run_that_ended_is_told_of_with_its_code_and_last_words() {
    for (case, end, code, words, tail) in [
        (
            "real-ok",
            "succeeded",
            0,
            "exit code 0",
            "opened pull request https://git.example/pr/7",
        ),
        (
            "real-fail",
            "failed",
            128,
            "exit code 128",
            "cloning\nfatal: repository not found",
        ),
        ("real-badcmd", "failed", 127, "/no/such/program", ""),
        ("real-oom", "failed", 137, "out of memory", ""),
        ("real-bigenv2", "failed", 1, "exit code 1", ""),
    ] {
        let kube = Faked::new("end");
        kube.items(&json!([{"id": "A-1"}]));
        let started = kube
            .orchestrator()
            .args(["--max-attempts=1", "--once", "--wait"])
            .start();
        let job = kube.job("A-1");
        kube.double.pod_state(&job, case);
        let expected = if end == "succeeded" { 0 } else { 1 };
        assert_eq!(started.wait().code, Some(expected), "{case}");
        let outcome = kube.outcome("A-1");
        assert_eq!(
            (&outcome["outcome"], &outcome["exit_code"]),
            (&json!(end), &json!(code)),
            "{case}: {outcome}"
        );
        let reason = outcome["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{case}: {reason}");
        let last = outcome["tail"].as_str().unwrap();
        assert!(tail.is_empty() || last == tail, "{case}: {last:?}");
    }
}

#[test]
fn a_job_that_kubernetes_ends_by_its_deadline_is_a_failed_attempt() {
    let kube = Faked::new("backstop");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    let orchestrator = kube.orchestrator().args([
        "--start-timeout=10m",
        "--agent-timeout=1h",
        "--max-attempts=1",
    ]);
    let started = orchestrator.clone().start();
    let job = kube.job("A-1");
    assert_eq!(
        kube.double.job(&job)["spec"]["activeDeadlineSeconds"],
        600 + 3600 + 60
    );
    started.kill();
    // Nobody is there for so long.
    kube.double.skew(5000);
    kube.wait_for("the backstop strikes", || {
        kube.double.job(&job)["status"]["failed"] == 1
    });
    orchestrator.finish(1);
    let outcome = kube.outcome("A-1");
    assert_eq!(outcome["outcome"], "failed");
    let reason = outcome["reason"].as_str().unwrap();
    assert!(
        reason.contains("DeadlineExceeded") || reason.contains("timed out"),
        "{reason}"
    );
}

#[test]
fn only_a_condition_ends_a_job() {
    let kube = Faked::new("condition");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    let started = kube.orchestrator().start();
    let job = kube.job("A-1");
    // A pod is evicted: the Job has no active one for a while, and goes on.
    kube.passes(200, 1);
    kube.double.evict(&job);
    kube.passes(200, 3);
    assert_eq!(kube.outcomes().len(), 0);
    kube.double.finish_job(&job, 0);
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.outcome("A-1")["attempts"], 1);
    assert_eq!(kube.jobs("A-1").len(), 1);
}

#[test]
fn a_stopped_run_keeps_why_and_its_last_words_over_the_death_of_the_orchestrator() {
    let kube = Faked::new("stop_note");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    kube.double.grace(std::time::Duration::from_secs(3));
    let orchestrator = kube.orchestrator().arg("--max-attempts=1");
    let first = orchestrator.clone().arg("--agent-timeout=1h").start();
    let job = kube.job("A-1");
    kube.double.log(&job, "one\ntwo\n");
    first.kill();
    let second = orchestrator.clone().arg("--agent-timeout=1s").start();
    kube.wait_for("it is told to stop", || {
        kube.double.job(&job)["spec"]["activeDeadlineSeconds"] == 1
    });
    second.kill();
    // With a limit that it would not have passed.
    orchestrator.arg("--agent-timeout=1h").finish(1);
    let outcome = kube.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["reason"], &outcome["tail"]),
        (
            &json!("failed"),
            &json!("timed out after 1s"),
            &json!("one\ntwo")
        ),
        "{outcome}"
    );
}

#[test]
fn a_secret_in_the_last_words_is_nowhere_in_the_cluster() {
    let kube = Faked::new("redacted");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    let started = kube
        .orchestrator()
        .args(["--agent-timeout=3s", "--max-attempts=1", "--once", "--wait"])
        .env("OPENROUTER_API_KEY", "a-secret-of-the-test")
        .start();
    let job = kube.job("A-1");
    kube.double.log(&job, "the key is a-secret-of-the-test\n");
    assert_eq!(started.wait().code, Some(1));
    let job = kube.double.job(&job);
    assert!(!job.to_string().contains("a-secret-of-the-test"), "{job}");
    let map = kube.outcome_map().unwrap();
    assert!(!map.to_string().contains("a-secret-of-the-test"), "{map}");
    assert_eq!(
        kube.outcome("A-1")["tail"],
        "the key is [OPENROUTER_API_KEY]"
    );
}

#[test]
fn a_secret_in_what_kubernetes_says_is_in_no_job_and_long_words_are_cut() {
    const SECRET: &str = "a-secret-of-the-test";
    let kube = Faked::new("redacted_why");
    kube.items(&json!([{"id": "A-1"}]));
    let started = kube
        .orchestrator()
        .args(["--start-timeout=2s", "--max-attempts=2", "--once", "--wait"])
        .args(["--retry-backoff=1s"])
        .env("OPENROUTER_API_KEY", SECRET)
        .start();
    let job = kube.job("A-1");
    let mut pod = kube.until("it has a pod", || kube.double.pods().pop());
    let long = "L".repeat(20_000);
    pod["status"]["containerStatuses"] = json!([{"name": "agent", "state": {"waiting": {
        "reason": "ImagePullBackOff",
        // Where the history cuts a reason, half of it would be left.
        "message": format!("pulling https://u:{SECRET}@r {} {SECRET} {long}", "l".repeat(100)),
    }}}]);
    kube.double.put("", "pods", pod);
    assert_eq!(started.wait().code, Some(1));
    let jobs = kube.jobs("A-1");
    assert_eq!(jobs.len(), 2);
    for body in kube.double.requests().iter().map(|r| &r.body) {
        assert!(!body.contains("a-secret-of"), "{body}");
        assert!(body.len() < 16_000, "{body}");
    }
    let note = crate::kube::mark(&kube.double.job(&job), "recac.io/stop").to_owned();
    let words = "pulling https://u:[OPENROUTER_API_KEY]@r";
    assert!(note.contains(words) && note.len() < 8192, "{note}");
    let history = crate::kube::mark(&jobs[1], "recac.io/history");
    assert!(history.contains(words), "{history}");
}

#[test]
fn a_secret_that_a_job_would_write_otherwise_is_not_printed_by_a_dry_run() {
    let kube = Faked::new("dry_secret");
    kube.items(&json!([{"id": "A-1", "summary": "use se$cret-of-the-test"}]));
    let out = kube
        .orchestrator()
        .args(["--dry-run", "--agent-command=agent {summary}"])
        .env("OPENROUTER_API_KEY", "se$cret-of-the-test")
        .run();
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(!out.stdout.contains("cret-of-the-test"), "{}", out.stdout);
    let words = "use [OPENROUTER_API_KEY]";
    assert_eq!(out.stdout.matches(words).count(), 2, "{}", out.stdout);
}
