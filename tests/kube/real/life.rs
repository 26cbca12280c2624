//! The life of an item: how a Job ends, what is told of it, and what comes
//! next.

use rustix::process::Signal;
use serde_json::json;

use super::Kube;
use crate::kube::{AWAIT, mark, name};

#[test]
fn an_item_runs_as_a_job_which_stays_until_it_expires_and_never_runs_again() {
    let Some(kube) = Kube::new("succeeds") else {
        return;
    };
    kube.items(&json!([{"id": "A-1", "summary": "first"}]));
    let orchestrator = kube.orchestrator().agent("echo one; echo two");
    orchestrator.clone().finish(0);
    let outcome = kube.outcome("A-1");
    let jobs = kube.jobs("A-1");
    assert_eq!(jobs.len(), 1);
    let job = &jobs[0];
    assert_eq!(
        (
            &outcome["outcome"],
            &outcome["attempts"],
            &outcome["exit_code"]
        ),
        (&json!("succeeded"), &json!(1), &json!(0)),
        "{outcome}"
    );
    assert_eq!(outcome["run"], job["metadata"]["name"]);
    assert_eq!(outcome["uid"], job["metadata"]["uid"]);
    assert_eq!(outcome["tail"], "one\ntwo");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 3600);
    for (label, value) in [
        ("recac.io/owner", kube.owner.as_str()),
        ("recac.io/attempt", "1"),
        ("app.kubernetes.io/managed-by", "recac-orchestrator"),
        ("app", "recac-agent"),
        ("ticket", "A-1"),
    ] {
        assert_eq!(job["metadata"]["labels"][label], value, "{label}");
    }
    assert_eq!(mark(job, "recac.io/fingerprint"), outcome["fingerprint"]);
    // It is still there, and counts as gone.
    orchestrator.finish(0);
    assert_eq!(kube.jobs("A-1").len(), 1);
    assert_eq!(kube.outcomes().len(), 1);
}

#[test]
fn a_reported_job_goes_when_its_time_is_over() {
    let Some(kube) = Kube::new("expires") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    kube.orchestrator()
        .agent("true")
        .arg("--keep-finished=1s")
        .finish(0);
    kube.wait_for("the job is gone", || kube.all("jobs").is_empty());
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
}

#[test]
fn a_failed_attempt_is_tried_again_and_told_of_with_the_next() {
    let Some(kube) = Kube::new("retry") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    kube.orchestrator()
        .agent(r#"echo "attempt $RECAC_ATTEMPT of $RECAC_MAX_ATTEMPTS"; [ "$RECAC_ATTEMPT" = 2 ] || exit 7"#)
        .finish(0);
    let outcome = kube.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"], &outcome["tail"]),
        (&json!("succeeded"), &json!(2), &json!("attempt 2 of 3")),
        "{outcome}"
    );
    let history = outcome["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["exit_code"], 7);
    let jobs = kube.jobs("A-1");
    let names: Vec<&str> = jobs.iter().map(name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(
        names[0].ends_with("-1") && names[1].ends_with("-2"),
        "{names:?}"
    );
    kube.assert_never_two_at_once();
    kube.assert_nothing_left();
}

#[test]
fn an_item_fails_for_good_after_its_last_attempt_or_by_agreement() {
    let Some(kube) = Kube::new("fails") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    kube.orchestrator()
        .agent(r#"echo "$RECAC_ITEM_ID says no"; [ "$RECAC_ITEM_ID" = A-1 ] && exit 3; exit 78"#)
        .arg("--max-attempts=2")
        .finish(1);
    let (spent, agreed) = (kube.outcome("A-1"), kube.outcome("A-2"));
    assert_eq!(
        (&spent["outcome"], &spent["attempts"], &spent["exit_code"]),
        (&json!("failed"), &json!(2), &json!(3))
    );
    assert_eq!(
        (
            &agreed["outcome"],
            &agreed["attempts"],
            &agreed["exit_code"]
        ),
        (&json!("failed"), &json!(1), &json!(78))
    );
    assert_eq!(agreed["tail"], "A-2 says no");
    kube.assert_nothing_left();
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_its_last_words_are_kept() {
    let Some(kube) = Kube::new("timeout") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    // It hears the signal and takes a while.
    kube.orchestrator()
        .agent("echo working; trap 'sleep 3; exit 0' TERM; while :; do sleep 0.1; done")
        .args(["--agent-timeout=5s", "--max-attempts=2"])
        .finish(1);
    let outcome = kube.outcome("A-1");
    assert_eq!(
        (
            &outcome["outcome"],
            &outcome["attempts"],
            &outcome["reason"]
        ),
        (&json!("failed"), &json!(2), &json!("timed out after 5s")),
        "{outcome}"
    );
    assert_eq!(outcome["history"][0]["reason"], "timed out after 5s");
    assert_eq!(outcome["tail"], "working");
    // Its pod goes with the stop, and its log is here.
    let logs = std::fs::read_dir(kube.state_dir().join("logs")).unwrap();
    let logs: Vec<_> = logs.map(|log| log.unwrap().path()).collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    for log in logs {
        assert_eq!(std::fs::read_to_string(log).unwrap(), "working\n");
    }
    // Its pod is the last to go, and the next attempt comes after that.
    let jobs = kube.jobs("A-1");
    let failed = jobs[0]["status"]["conditions"].as_array().unwrap();
    let failed = failed.iter().find(|c| c["type"] == "Failed").unwrap();
    let next = jobs[1]["metadata"]["creationTimestamp"].as_str();
    assert!(failed["lastTransitionTime"].as_str() <= next, "{jobs:?}");
    kube.assert_nothing_left();
}

#[test]
fn an_entry_taken_out_of_the_file_runs_to_its_end_and_is_not_tried_again() {
    let Some(kube) = Kube::new("taken_out") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let started = kube
        .orchestrator()
        .agent(&format!("{AWAIT} await go; [ $RECAC_ITEM_ID = A-1 ]"))
        .args(["--once", "--wait"])
        .start();
    let pods = [kube.running("A-1"), kube.running("A-2")];
    kube.items(&json!([]));
    for pod in pods {
        kube.give(&pod, "go");
    }
    started.wait();
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
    let failed = kube.outcome("A-2");
    assert_eq!(
        (&failed["outcome"], &failed["attempts"]),
        (&json!("failed"), &json!(1))
    );
    kube.assert_nothing_left();
}

#[test]
fn told_to_leave_or_killed_it_leaves_its_agents_and_finds_them_again() {
    let Some(kube) = Kube::new("adopted") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let orchestrator = kube
        .orchestrator()
        .agent(&format!("{AWAIT} await go; echo done"))
        .arg("--max-agents=1");
    let mut pods = vec![];
    for signal in [Signal::TERM, Signal::KILL, Signal::INT] {
        let started = orchestrator.clone().start();
        pods.push(kube.running("A-1"));
        started.wait_for_log("running");
        started.signal(signal);
        let code = started.wait().code;
        assert_eq!(code, (signal != Signal::KILL).then_some(0));
    }
    pods.dedup();
    assert_eq!(pods.len(), 1, "{pods:?}");
    // It ends while nobody looks.
    kube.give(&pods[0], "go");
    kube.succeeds("A-1");
    assert_eq!(kube.outcomes().len(), 0);
    let started = orchestrator.args(["--once", "--wait"]).start();
    let pod = kube.running("A-2");
    kube.give(&pod, "go");
    assert_eq!(started.wait().code, Some(0));
    assert_eq!((kube.jobs("A-1").len(), kube.jobs("A-2").len()), (1, 1));
    assert_eq!(kube.outcome("A-1")["tail"], "done");
    kube.assert_nothing_left();
}

#[test]
fn the_end_of_a_run_is_heard_of_long_before_the_next_poll() {
    let Some(kube) = Kube::new("watch") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let started = kube
        .orchestrator()
        .agent("sleep 2")
        .args(["--interval=1h", "--max-agents=1"])
        .start();
    // The second one gets its slot by the end of the first.
    kube.wait_for("both are told of", || kube.outcomes().len() == 2);
    assert_eq!(started.terminate().code, Some(0));
    kube.assert_nothing_left();
}

#[test]
fn a_job_that_a_person_deletes_is_run_again() {
    let Some(kube) = Kube::new("deleted") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let started = kube
        .orchestrator()
        .agent(&format!("{AWAIT} trap 'exit 1' TERM; await go"))
        .args(["--once", "--wait"])
        .start();
    let first = kube.running("A-1");
    let uid = kube.jobs("A-1")[0]["metadata"]["uid"].clone();
    kube.kubectl(&["delete", "jobs", "--all"]);
    let second = kube.running("A-1");
    assert_ne!(first, second);
    kube.give(&second, "go");
    assert_eq!(started.wait().code, Some(0));
    let outcome = kube.assert_ended("A-1", "succeeded", 1);
    assert_ne!(outcome["uid"], uid);
}

#[test]
fn a_stranger_under_our_name_is_left_alone_and_named() {
    let Some(kube) = Kube::new("stranger") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let orchestrator = kube.orchestrator().agent("true");
    let dry = orchestrator.clone().arg("--dry-run").run();
    assert_eq!(dry.code, Some(0));
    let mut job: serde_json::Value = serde_json::from_str(&dry.stdout).unwrap();
    let taken = name(&job).to_owned();
    // One has nothing of ours, the other is that of another item.
    for labels in [true, false] {
        match labels {
            true => job["metadata"]["annotations"]["recac.io/item-id"] = json!("B-2"),
            false => {
                job["metadata"]["labels"] = json!({});
                job["metadata"]["annotations"] = json!({});
            }
        }
        kube.apply(&job);
        let uid = kube.one(&format!("job/{taken}")).unwrap()["metadata"]["uid"].clone();
        let output = orchestrator
            .clone()
            .args(["--start-timeout=2s", "--max-attempts=1"])
            .finish(1);
        assert!(output.stderr.contains(&taken), "{}", output.stderr);
        let outcome = kube.outcome("A-1");
        assert!(
            outcome["reason"].as_str().unwrap().contains(&taken),
            "{outcome}"
        );
        let there = kube.one(&format!("job/{taken}")).unwrap();
        assert_eq!(there["metadata"]["uid"], uid);
        assert!(there["spec"]["ttlSecondsAfterFinished"].is_null());
        kube.kubectl(&["delete", "job", &taken]);
        kube.kubectl(&["delete", "configmap", "--all"]);
    }
    orchestrator.finish(0);
    assert_eq!(kube.outcome("A-1")["outcome"], "succeeded");
}

#[test]
fn an_evicted_pod_is_replaced_and_is_no_failed_attempt() {
    let Some(kube) = Kube::new("evicted") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let started = kube
        .orchestrator()
        .agent(&format!("{AWAIT} trap 'exit 1' TERM; await go"))
        .args(["--once", "--wait"])
        .start();
    let first = kube.running("A-1");
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": first, "namespace": kube.namespace},
    });
    let file = kube.path("eviction.json");
    std::fs::write(&file, eviction.to_string()).unwrap();
    let at = format!(
        "/api/v1/namespaces/{}/pods/{first}/eviction",
        kube.namespace
    );
    kube.kubectl(&["create", "--raw", &at, "-f", &file.display().to_string()]);
    kube.wait_for("another pod runs", || kube.running("A-1") != first);
    kube.give(&kube.running("A-1"), "go");
    assert_eq!(started.wait().code, Some(0));
    kube.assert_ended("A-1", "succeeded", 1);
    assert_eq!(kube.jobs("A-1").len(), 1);
    kube.assert_nothing_left();
}

#[test]
fn a_suspended_job_waits_for_its_queue_and_is_not_pending() {
    let Some(kube) = Kube::new("suspended") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let line = kube
        .orchestrator()
        .agent("true")
        .arg(kube.template(&json!({"spec": {"suspend": true}})))
        .args(["--start-timeout=1s", "--max-agents=1"]);
    for (id, told) in [("A-1", 0), ("A-2", 1)] {
        let started = line.clone().start();
        let job = kube.until("it is there", || kube.jobs(id).pop());
        let looks = || started.stderr().matches("items are wanted").count();
        let before = looks();
        // One a second: its time to start would be over.
        kube.wait_for("there are a few more looks", || looks() > before + 3);
        assert_eq!(kube.outcomes().len(), told);
        // It has the one slot.
        assert_eq!(kube.jobs("A-2").len(), told);
        assert_eq!(started.terminate().code, Some(0));
        let job = name(&job);
        kube.kubectl(&["patch", "job", job, "-p", r#"{"spec":{"suspend":false}}"#]);
        kube.succeeds(id);
    }
    line.finish(0);
    for id in ["A-1", "A-2"] {
        kube.assert_ended(id, "succeeded", 1);
    }
}

#[test]
fn a_job_deleted_while_nobody_looked_counts_until_its_pod_is_gone() {
    let Some(kube) = Kube::new("orphan") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let line = kube
        .orchestrator()
        .agent(&format!("{AWAIT} await done"))
        .arg("--interval=1s");
    let first = line.clone().start();
    let pod = kube.running("A-1");
    first.terminate();
    let job = name(&kube.jobs("A-1")[0]).to_owned();
    kube.kubectl(&["delete", "job", &job, "--cascade=orphan"]);
    let second = line.start();
    second.wait_for_log("its Job was deleted");
    let looks = || second.stderr().matches("items are wanted").count();
    let before = looks();
    kube.wait_for("there are a few more looks", || looks() > before + 2);
    assert_eq!(kube.all("jobs").len(), 0);
    // When it ends, the item is begun again.
    kube.give(&pod, "done");
    let next = kube.running("A-1");
    assert_ne!(pod, next);
    assert_eq!(kube.jobs("A-1").len(), 1);
    kube.give(&next, "done");
    kube.wait_for("it is told of", || !kube.outcomes().is_empty());
    assert_eq!(second.stderr().matches("its Job was deleted").count(), 1);
    second.terminate();
}

#[test]
fn of_long_lines_the_last_ones_are_told() {
    let Some(kube) = Kube::new("long_lines") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    // 100 lines of 8 KiB.
    kube.orchestrator()
        .agent(
            "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); printf '%08000d\\n' $i; done; \
             echo the end",
        )
        .finish(0);
    let tail = kube.outcome("A-1")["tail"].as_str().unwrap().to_owned();
    assert!(tail.ends_with("0100\nthe end"), "{tail}");
}
