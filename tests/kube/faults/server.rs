//! A server that fails, is slow, is full, says nonsense or is away.

use std::{fs, time::Duration};

use serde_json::json;

use super::Faked;
use crate::kube::double::{Agents, Answer, Fault};

const JOBS: &str = "/jobs";

#[test]
fn while_runs_cannot_be_listed_nothing_is_done() {
    for (fault, status) in [
        (Fault::status(500), 500),
        (Fault::status(503), 503),
        (Fault::status(200), 200),
        (
            Fault::Answer(Answer::json(200, &json!({"kind": "JobList"}))),
            200,
        ),
        (Fault::Cut, 200),
        (Fault::Close, 0),
    ] {
        let kube = Faked::new("list_fails");
        kube.on_failure(move |_| format!("with {status}"));
        kube.items(&json!([{"id": "A-1"}]));
        let orchestrator = kube
            .orchestrator()
            .args(["--start-timeout=3s", "--max-attempts=1"]);
        // There is a run already, which nobody may start again.
        kube.double.agents(Agents::Run);
        let first = orchestrator.clone().start();
        let job = kube.job("A-1");
        first.kill();
        kube.double.fault_when(fault, usize::MAX, |r| {
            r.method == "GET" && r.path.ends_with(JOBS)
        });
        kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
        let started = orchestrator.start();
        kube.passes(status, 3);
        kube.double.finish_job(&job, 0);
        kube.passes(status, 2);
        assert_eq!(kube.double.asked("POST", JOBS).len(), 1);
        assert_eq!(kube.outcomes().len(), 0);
        kube.double.no_more_faults();
        kube.double.agents(Agents::Exit(0));
        kube.wait_for("both are told of", || kube.outcomes().len() == 2);
        assert_eq!(started.terminate().code, Some(0));
        assert_eq!(kube.outcome("A-1")["attempts"], 1);
        assert_eq!((kube.jobs("A-1").len(), kube.jobs("A-2").len()), (1, 1));
    }
}

#[test]
fn a_job_that_cannot_be_created_counts_against_nobody() {
    for fault in [
        Fault::status(500),
        Fault::busy(503, 1),
        Fault::Close,
        Fault::status(200),
    ] {
        let kube = Faked::new("create_fails");
        kube.items(&json!([{"id": "A-1"}]));
        kube.double.agents(Agents::Exit(0));
        kube.double.fault(fault, "POST", JOBS, 2);
        let started = kube
            .orchestrator()
            .args(["--start-timeout=3s", "--max-attempts=1"])
            .start();
        kube.wait_for("it is told of", || !kube.outcomes().is_empty());
        let out = started.terminate();
        assert_eq!(out.code, Some(0));
        // That it is tried again is no news.
        let said = out.stderr.matches("INFO  start ").count();
        assert_eq!(said, 1, "{}", out.stderr);
        let outcome = kube.outcome("A-1");
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"]),
            (&json!("succeeded"), &json!(1)),
            "{outcome}"
        );
        assert_eq!(kube.jobs("A-1").len(), 1);
    }
}

#[test]
fn a_job_whose_creation_was_not_heard_of_is_found_and_not_doubled() {
    for fault in [Fault::Lost, Fault::Cut] {
        let kube = Faked::new("create_lost");
        kube.items(&json!([{"id": "A-1"}]));
        kube.double.agents(Agents::Run);
        kube.double.fault(fault, "POST", JOBS, 1);
        let started = kube.orchestrator().args(["--once", "--wait"]).start();
        let job = kube.job("A-1");
        kube.passes(200, 2);
        kube.double.finish_job(&job, 0);
        assert_eq!(started.wait().code, Some(0));
        assert_eq!(kube.outcome("A-1")["attempts"], 1);
        assert_eq!(kube.jobs("A-1").len(), 1);
    }
}

#[test]
fn a_report_whose_commit_was_not_heard_of_is_not_told_twice() {
    for fault in [Fault::Lost, Fault::Cut, Fault::status(500), Fault::Close] {
        let kube = Faked::new("commit_lost");
        kube.items(&json!([{"id": "A-1"}]));
        kube.double.agents(Agents::Exit(0));
        kube.double.fault(fault, "PATCH", JOBS, 1);
        let started = kube.orchestrator().start();
        kube.wait_for("it is committed", || {
            let jobs = kube.jobs("A-1");
            jobs.iter()
                .any(|job| job["spec"]["ttlSecondsAfterFinished"].is_number())
        });
        kube.passes(200, 2);
        assert_eq!(started.terminate().code, Some(0));
        assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
        assert_eq!(kube.jobs("A-1").len(), 1);
    }
}

#[test]
fn a_list_that_is_never_answered_does_not_hold_up_the_loop_for_ever() {
    let kube = Faked::new("hang");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Exit(0));
    let list = |r: &crate::kube::double::Request| {
        r.method == "GET" && r.path.ends_with(JOBS) && !r.is_watch()
    };
    kube.double.fault_when(Fault::Hang, 1, list);
    let started = kube.orchestrator().start();
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.jobs("A-1").len(), 1);
}

#[test]
fn a_server_that_is_full_is_left_alone_for_as_long_as_it_says() {
    for status in [429, 503] {
        let kube = Faked::new("retry_after");
        kube.items(&json!([{"id": "A-1"}]));
        kube.double.agents(Agents::Exit(0));
        kube.double.fault(Fault::busy(status, 3), "POST", JOBS, 1);
        let started = kube.orchestrator().start();
        kube.wait_for("it is told of", || !kube.outcomes().is_empty());
        assert_eq!(started.terminate().code, Some(0));
        let posts = kube.double.asked("POST", JOBS);
        assert_eq!(posts.len(), 2);
        assert!(posts[1].at - posts[0].at >= Duration::from_secs(3));
        assert_eq!(kube.outcome("A-1")["attempts"], 1);
    }
}

#[test]
fn a_long_pause_is_said_once_and_so_is_its_end() {
    let kube = Faked::new("long_pause");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Exit(0));
    kube.double.fault(Fault::busy(429, 13), "GET", JOBS, 1);
    let started = kube.orchestrator().start();
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    let out = started.terminate();
    assert_eq!(out.code, Some(0));
    let said = |words: &str| out.stderr.matches(words).count();
    assert_eq!(said("what runs is not known, so"), 1, "{}", out.stderr);
    // Of the runs, and of the ConfigMap of outcomes.
    assert!(said("asks for a pause until 20") <= 2, "{}", out.stderr);
    assert_eq!(said("the runs can be seen again"), 1, "{}", out.stderr);
}

#[test]
fn a_server_that_was_away_is_found_again_and_nothing_is_lost() {
    let kube = Faked::new("away");
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    kube.double.agents(Agents::Run);
    let started = kube.orchestrator().arg("--max-agents=1").start();
    let job = kube.job("A-1");
    kube.double.stop();
    started.wait_for_log("what runs is not known");
    kube.double.finish_job(&job, 3);
    kube.double.resume();
    let second = kube.until("it is tried again", || {
        let jobs = kube.jobs("A-1");
        (jobs.len() == 2).then(|| crate::kube::name(&jobs[1]).to_owned())
    });
    kube.double.finish_job(&second, 0);
    let other = kube.job("A-2");
    kube.double.finish_job(&other, 0);
    kube.wait_for("both are told of", || kube.outcomes().len() == 2);
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.outcome("A-1")["attempts"], 2);
    assert_eq!(kube.outcome("A-1")["history"][0]["exit_code"], 3);
}

#[test]
fn a_permission_that_is_taken_away_counts_against_nobody() {
    for (verb, resource) in [
        ("list", "jobs"),
        ("create", "jobs"),
        ("patch", "jobs"),
        ("get", "configmaps"),
        ("patch", "configmaps"),
    ] {
        let kube = Faked::new("revoked");
        kube.on_failure(move |_| format!("without {verb} {resource}"));
        kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
        kube.double.agents(Agents::Exit(0));
        let started = kube
            .orchestrator()
            .args(["--max-agents=1", "--start-timeout=3s", "--max-attempts=1"])
            .start();
        kube.wait_for("one is told of", || kube.outcomes().len() == 1);
        kube.double.forbid(verb, resource);
        kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}, {"id": "A-3"}]));
        started.wait_for_log("forbidden");
        kube.double.permit_all();
        kube.wait_for("all are told of", || kube.outcomes().len() == 3);
        assert_eq!(started.terminate().code, Some(0));
        for id in ["A-1", "A-2", "A-3"] {
            let outcome = kube.outcome(id);
            assert_eq!(
                (&outcome["outcome"], &outcome["attempts"]),
                (&json!("succeeded"), &json!(1)),
                "{id}"
            );
            assert_eq!(kube.jobs(id).len(), 1, "{id}");
        }
    }
}

#[test]
fn without_the_permission_to_look_into_pods_runs_go_on_and_only_reasons_are_missing() {
    let kube = Faked::new("blind");
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    for (verb, resource) in [("list", "pods"), ("list", "events"), ("get", "pods/log")] {
        kube.double.forbid(verb, resource);
    }
    let started = kube
        .orchestrator()
        .args(["--once", "--wait", "--start-timeout=3s", "--max-attempts=1"])
        .start();
    let job = kube.job("A-1");
    kube.double.run_job(&job);
    kube.double.finish_job(&job, 0);
    assert_eq!(started.wait().code, Some(1));
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
    let failed = kube.outcome("A-2");
    assert_eq!(failed["outcome"], "failed");
    assert_ne!(failed["reason"], "");
}

#[test]
fn a_token_is_read_again_when_it_is_not_taken_any_more() {
    let kube = Faked::new("token");
    let file = kube.path("token");
    fs::write(&file, "first\n").unwrap();
    kube.double.only_token("first");
    kube.double
        .kubeconfig(&kube.path("kubeconfig"), json!({"tokenFile": file}));
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    let started = kube.orchestrator().start();
    let job = kube.job("A-1");
    // As the kubelet does it: the file first.
    fs::write(kube.path("token.new"), "second\n").unwrap();
    fs::rename(kube.path("token.new"), &file).unwrap();
    kube.double.only_token("second");
    kube.double.finish_job(&job, 0);
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.outcome("A-1")["attempts"], 1);
}

#[test]
fn a_token_that_nobody_takes_is_tried_once_more_and_no_oftener() {
    let kube = Faked::new("no_token");
    let file = kube.path("token");
    fs::write(&file, "first\n").unwrap();
    kube.double
        .kubeconfig(&kube.path("kubeconfig"), json!({"tokenFile": file}));
    kube.items(&json!([{"id": "A-1"}]));
    let output = kube.orchestrator().arg("--once").run();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("Unauthorized"), "{}", output.stderr);
    let jobs = |r: &&crate::kube::double::Request| r.path.ends_with(JOBS) && !r.is_watch();
    let asked = kube.double.requests();
    assert!(
        asked.iter().filter(jobs).count() <= 2,
        "{}",
        kube.double.report()
    );
    assert!(asked.iter().all(|r| r.status == 401));
}

#[test]
fn a_clock_that_goes_wrong_stops_nobody_before_the_time() {
    for skew in [-3600, 3600] {
        let kube = Faked::new("skew");
        kube.double.skew(skew);
        kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
        let started = kube
            .orchestrator()
            .args(["--start-timeout=10m", "--agent-timeout=30m"])
            .start();
        let (pending, running) = (kube.job("A-1"), kube.job("A-2"));
        kube.double.run_job(&running);
        kube.passes(200, 4);
        kube.double.run_job(&pending);
        kube.passes(200, 2);
        for job in [&pending, &running] {
            let job = kube.double.job(job);
            assert_ne!(job["spec"]["activeDeadlineSeconds"], 1, "{skew}: {job}");
            kube.double.finish_job(crate::kube::name(&job), 0);
        }
        kube.wait_for("both are told of", || kube.outcomes().len() == 2);
        assert_eq!(started.terminate().code, Some(0));
        for id in ["A-1", "A-2"] {
            assert_eq!(kube.outcome(id)["outcome"], "succeeded", "{skew}");
        }
    }
}

#[test]
fn a_list_that_expires_between_its_pages_is_begun_again() {
    let kube = Faked::new("page_expired");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Exit(0));
    let expired = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "The provided continue parameter is too old to display a consistent list result.",
        "reason": "Expired", "code": 410,
    });
    // Also without a page: whatever is 410 is asked for anew.
    kube.double
        .fault_when(Fault::Answer(Answer::json(410, &expired)), 1, |r| {
            r.method == "GET" && r.path.ends_with(JOBS) && !r.is_watch()
        });
    let started = kube.orchestrator().start();
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.jobs("A-1").len(), 1);
}

#[test]
fn an_attempt_never_overlaps_a_pod_that_is_still_stopping() {
    let kube = Faked::new("overlap");
    kube.items(&json!([{"id": "A-1"}]));
    kube.double.agents(Agents::Run);
    kube.double.grace(Duration::from_secs(4));
    let started = kube
        .orchestrator()
        .args(["--agent-timeout=1s", "--max-attempts=2"])
        .start();
    let first = kube.job("A-1");
    kube.until("there is a second attempt", || {
        let jobs = kube.jobs("A-1");
        let pods = kube.double.pods();
        let of = |name: &str| {
            pods.iter()
                .any(|pod| pod["metadata"]["ownerReferences"][0]["name"] == name)
        };
        assert!(jobs.len() < 2 || !of(&first), "{jobs:?} {pods:?}");
        (jobs.len() == 2).then_some(())
    });
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    let outcome = kube.outcome("A-1");
    assert_eq!(outcome["reason"], "timed out after 1s");
    assert_eq!(outcome["attempts"], 2);
}

#[test]
fn every_warning_is_in_the_log_once() {
    let kube = Faked::new("warnings");
    kube.double
        .namespace(crate::kube::double::NAMESPACE, |namespace| {
            namespace.restricted = true;
        });
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}, {"id": "A-3"}]));
    let output = kube
        .orchestrator()
        .args(["--once", "--wait", "--start-timeout=2s", "--max-attempts=1"])
        .run();
    assert_eq!(output.code, Some(1));
    let said = output.stderr.matches("would violate PodSecurity").count();
    assert_eq!(said, 1, "{}", output.stderr);
    for id in ["A-1", "A-2", "A-3"] {
        let reason = kube.outcome(id)["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("violates PodSecurity"), "{reason}");
    }
}
