use serde_json::{Value, json};

use super::*;

/// Second 0 of the examples.
const T: u64 = 1_795_341_279_000;

fn at(second: u64) -> Stamp {
    Stamp(T + second * 1000)
}

fn time(second: u64) -> String {
    at(second).to_string()
}

/// A Job created in second 0 and let go at once.
fn job(status: Value) -> Value {
    let mut status = status;
    status["startTime"] = json!(time(0));
    json!({
        "metadata": {
            "name": "recac-agent-a-1-1", "uid": "j1", "resourceVersion": "7",
            "creationTimestamp": time(0),
        },
        "spec": {"suspend": false, "activeDeadlineSeconds": 7860},
        "status": status,
    })
}

fn read(job: &Value) -> Job {
    serde_json::from_value(job.clone()).unwrap()
}

fn active() -> Value {
    job(json!({"active": 1, "ready": 0, "terminating": 0}))
}

fn condition(kind: &str, reason: &str, message: &str, second: u64) -> Value {
    json!({"type": kind, "status": "True", "lastProbeTime": null, "reason": reason,
        "message": message, "lastTransitionTime": time(second)})
}

fn failed(reason: &str) -> Value {
    job(json!({"failed": 1, "terminating": 0, "conditions": [
        condition("FailureTarget", reason, "m", 4),
        condition("Failed", reason, "what the Job says", 4),
    ]}))
}

fn complete() -> Value {
    job(
        json!({"succeeded": 1, "completionTime": time(4), "conditions": [
            condition("SuccessCriteriaMet", "CompletionsReached", "m", 4),
            condition("Complete", "CompletionsReached", "m", 4),
        ]}),
    )
}

/// A pod created in second 1 whose agent is in this state.
fn pod(phase: &str, state: Value) -> Value {
    json!({
        "metadata": {"name": "recac-agent-a-1-1-x", "uid": "p1", "creationTimestamp": time(1),
            "ownerReferences": [{"uid": "j1"}]},
        "spec": {"containers": [{"name": "agent", "resources": {"limits": {"memory": "20Mi"}}}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "agent", "state": state}]},
    })
}

fn terminated(code: i32, reason: &str, message: Option<&str>) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    pod(
        phase,
        json!({"terminated": {"exitCode": code, "reason": reason, "message": message,
            "startedAt": time(2), "finishedAt": time(3)}}),
    )
}

fn waiting(reason: &str, message: Option<&str>) -> Value {
    pod(
        "Pending",
        json!({"waiting": {"reason": reason, "message": message}}),
    )
}

fn warning(about: &str, reason: &str, message: &str, second: u64) -> Value {
    json!({"involvedObject": {"uid": about}, "type": "Warning", "reason": reason,
        "message": message, "lastTimestamp": time(second), "eventTime": null})
}

fn state(job: &Value, pods: &[Value], events: &[Value]) -> State {
    let pods: Vec<Pod> = serde_json::from_value(json!(pods)).unwrap();
    let events: Vec<Event> = serde_json::from_value(json!(events)).unwrap();
    read(job).state(&pods, &events, None)
}

fn pending(job: &Value, pods: &[Value], events: &[Value]) -> (u64, String) {
    let state = state(job, pods, events);
    let State::Pending {
        since,
        why,
        suspended: false,
    } = state
    else {
        panic!("{state:?}");
    };
    ((since.0 - T) / 1000, why.unwrap_or_default())
}

fn ended(job: &Value, pods: &[Value]) -> (Option<i32>, String) {
    let state = state(job, pods, &[]);
    let State::Ended { exit_code, why, .. } = state else {
        panic!("{state:?}");
    };
    (exit_code, why.unwrap_or_default())
}

// The cases recorded from a real cluster, in their words.

#[test]
fn an_agent_that_ended_well_has_ended_with_0_whatever_it_wrote() {
    let pod = terminated(0, "Completed", Some("opened pull request 7\n"));
    let expected = State::Ended {
        started: Some(at(2)),
        at: at(3),
        exit_code: Some(0),
        why: None,
    };
    assert_eq!(state(&complete(), &[pod], &[]), expected);
    // Its pod may be gone; it had begun when the Job had.
    let expected = State::Ended {
        started: Some(at(0)),
        at: at(4),
        exit_code: Some(0),
        why: None,
    };
    assert_eq!(state(&complete(), &[], &[]), expected);
}

#[test]
fn a_failed_one_has_its_exit_code_and_a_reason_where_the_code_says_nothing() {
    let of = |code, reason, message| {
        ended(
            &failed("BackoffLimitExceeded"),
            &[terminated(code, reason, message)],
        )
    };
    let log = Some("cloning\nfatal: repository not found\n");
    assert_eq!(of(128, "Error", log), (Some(128), String::new()));
    assert_eq!(of(1, "Error", None), (Some(1), String::new()));
    assert_eq!(of(78, "Error", None), (Some(78), String::new()));
    assert_eq!(
        of(137, "OOMKilled", None),
        (Some(137), "out of memory (limit 20 MiB)".into())
    );
    assert_eq!(
        of(2, "OOMKilled", None).1,
        "exit code 2 after a process ran out of memory (limit 20 MiB)"
    );
    let start = "exec: \"/no/such/program\": stat /no/such/program: no such file or directory";
    assert_eq!(
        of(128, "StartError", Some(start)),
        (
            Some(127),
            format!("it could not be started, exit code 127 (command not found): {start}")
        )
    );
    assert_eq!(
        of(128, "StartError", Some("exec: \"/x\": permission denied")).0,
        Some(126)
    );
    assert_eq!(of(128, "StartError", Some("cgroup trouble")).0, Some(128));
    assert_eq!(
        of(137, "ContainerStatusUnknown", Some("could not be located")).1,
        "exit code 137 (SIGKILL): ContainerStatusUnknown: could not be located"
    );
    // "Never" of a container that could not be started.
    let mut never = terminated(128, "StartError", None);
    never["status"]["containerStatuses"][0]["state"]["terminated"]["startedAt"] =
        json!("1970-01-01T00:00:00Z");
    let state = state(&failed("BackoffLimitExceeded"), &[never], &[]);
    let State::Ended {
        started, at: end, ..
    } = state
    else {
        panic!("{state:?}");
    };
    assert_eq!((started, end), (Some(at(0)), at(3)));
}

#[test]
fn what_does_not_start_says_why() {
    let image = "Container image \"no-such:1\" is not present with pull policy of Never";
    for (reason, message) in [
        ("ErrImageNeverPull", image),
        (
            "ErrImagePull",
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"127.0.0.1:1/no-such:1\"",
        ),
        ("CreateContainerConfigError", "secret \"missing\" not found"),
        ("InvalidImageName", "couldn't parse image name"),
    ] {
        let pod = waiting(reason, Some(message));
        // It counts before any event.
        let event = warning("p1", "Failed", "something else", 9);
        let expected = (1, format!("{reason}: {message}"));
        assert_eq!(pending(&active(), &[pod], &[event]), expected);
    }
    let mut pod = pod("Pending", json!({}));
    pod["status"]["containerStatuses"] = json!([]);
    let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": message}]);
    assert_eq!(
        pending(&active(), &[pod], &[]).1,
        format!("Unschedulable: {message}")
    );
}

#[test]
fn that_a_pod_is_replaced_is_seen_from_what_was_before() {
    let running = State::Running {
        since: at(1),
        orphaned: false,
    };
    let waits = |why: Option<&str>, suspended| State::Pending {
        since: at(2),
        why: why.map(str::to_owned),
        suspended,
    };
    let said = |last: Option<&State>, now: State| {
        let State::Pending { why, .. } = after(last, now) else {
            return String::new();
        };
        why.unwrap_or_default()
    };
    let replaced = "its pod was taken away, and another takes its place";
    let first = after(Some(&running), waits(None, false));
    assert_eq!(said(None, first.clone()), replaced);
    // For as long as nothing better is known.
    assert_eq!(
        said(Some(&first), waits(Some("ContainerCreating"), false)),
        replaced
    );
    assert_eq!(
        said(Some(&first), waits(Some("ErrImagePull"), false)),
        "ErrImagePull"
    );
    for (last, now) in [
        (None, waits(None, false)),
        (Some(&waits(None, false)), waits(None, false)),
        (Some(&running), waits(None, true)),
        (Some(&running), running.clone()),
    ] {
        assert_eq!(after(last, now.clone()), now);
    }
}

#[test]
fn a_job_without_a_pod_says_why_in_its_events() {
    let none = job(json!({"terminating": 0, "ready": 0}));
    let message = "Error creating: pods \"x-\" is forbidden: error looking up service account";
    let events = [
        warning("j1", "FailedCreate", "an older one", 1),
        warning("j1", "FailedCreate", message, 5),
        warning("other", "FailedCreate", "of another Job", 9),
        warning("j1", "Odd", "no reason for anything", 9),
    ];
    assert_eq!(
        pending(&none, &[], &events),
        (0, format!("FailedCreate: {message}"))
    );
    // Each try is of a pod of another name, which is no news.
    let name = none["metadata"]["name"].as_str().unwrap();
    let refused = |pod: &str| {
        let message = format!("Error creating: pods \"{pod}\" is forbidden: exceeded quota");
        pending(&none, &[], &[warning("j1", "FailedCreate", &message, 5)]).1
    };
    let said = refused(name);
    for (pod, alike) in [
        ("-xblv8", true),
        ("-8thlw", true),
        ("-1", false),
        ("-\u{e9}\u{e9}x", false),
    ] {
        assert_eq!(refused(&format!("{name}{pod}")) == said, alike, "{pod}");
    }
    assert_eq!(pending(&none, &[], &[]), (0, String::new()));
}

#[test]
fn a_pod_that_says_nothing_itself_is_asked_for_its_events() {
    let pod = waiting("ContainerCreating", None);
    assert_eq!(
        pending(&active(), std::slice::from_ref(&pod), &[]).1,
        "ContainerCreating"
    );
    let events = [
        warning(
            "p1",
            "MissingClusterDNS",
            "kubelet does not have ClusterDNS IP",
            9,
        ),
        warning("p1", "FailedMount", "configmap \"x\" not found", 5),
    ];
    assert_eq!(
        pending(&active(), &[pod], &events).1,
        "FailedMount: configmap \"x\" not found"
    );
    // Of what an image's events say, all of one second.
    let pull = "Failed to pull image \"r/x:1\": connection refused";
    let never = "Container image \"x:1\" is not present with pull policy of Never";
    for (events, why) in [
        (&[("Failed", pull), ("Failed", "Error: ErrImagePull")], pull),
        (
            &[
                ("ErrImageNeverPull", never),
                ("Failed", "Error: ErrImageNeverPull"),
            ],
            &format!("ErrImageNeverPull: {never}"),
        ),
        (
            &[("Failed", "Error: secret \"a\" not found"), ("Failed", "")],
            "Error: secret \"a\" not found",
        ),
        (
            &[("BackOff", "Back-off"), ("Failed", "Error: ErrImagePull")],
            "ContainerCreating",
        ),
    ] {
        let pod = waiting("ContainerCreating", None);
        let events = events.map(|(reason, message)| warning("p1", reason, message, 5));
        assert_eq!(pending(&active(), &[pod], &events).1, why);
    }
    // Of an init container as well.
    let mut init = waiting("PodInitializing", None);
    init["status"]["initContainerStatuses"] = json!([{"name": "clone", "state": {"waiting": {
        "reason": "ErrImagePull", "message": "no"}}}]);
    assert_eq!(pending(&active(), &[init], &[]).1, "ErrImagePull: no");
}

#[test]
fn an_agent_runs_since_its_container_does() {
    let pod = pod("Running", json!({"running": {"startedAt": time(5)}}));
    let running = State::Running {
        since: at(5),
        orphaned: false,
    };
    let job = job(json!({"active": 1, "ready": 1}));
    assert_eq!(state(&job, std::slice::from_ref(&pod), &[]), running);
    // Not ready, by the word of a probe, runs as well.
    assert_eq!(state(&active(), &[pod], &[]), running);
    // One whose agent is through, while another container of it goes on.
    let mut other = terminated(0, "Completed", None);
    other["status"]["phase"] = json!("Running");
    let running = State::Running {
        since: at(2),
        orphaned: false,
    };
    assert_eq!(state(&job, &[other], &[]), running);
    // One whose pod is over, which its Job says a few seconds later.
    let over = terminated(0, "Completed", None);
    assert_eq!(state(&active(), std::slice::from_ref(&over), &[]), running);
    // Another one will come for this.
    let mut evicted = over;
    evicted["status"]["conditions"] = json!([condition("DisruptionTarget", "", "", 3)]);
    let waits = state(&active(), &[evicted], &[]);
    assert!(matches!(waits, State::Pending { .. }), "{waits:?}");
}

#[test]
fn only_its_conditions_end_a_job() {
    // Kubernetes is retrying, because a template says so.
    let retrying = job(json!({"active": 1, "failed": 1, "ready": 0}));
    assert!(matches!(state(&retrying, &[], &[]), State::Pending { .. }));
    let mut target = failed("BackoffLimitExceeded");
    target["status"]["conditions"].as_array_mut().unwrap().pop();
    assert!(!read(&target).has_ended());
    // Older servers do not wait for the pods.
    let mut early = failed("DeadlineExceeded");
    early["status"]["terminating"] = json!(1);
    assert!(!read(&early).has_ended());
    let mut false_one = failed("BackoffLimitExceeded");
    false_one["status"]["conditions"][1]["status"] = json!("False");
    assert!(!read(&false_one).has_ended());
}

#[test]
fn a_pod_that_is_gone_or_was_evicted_is_said_to_be() {
    let job = failed("BackoffLimitExceeded");
    let expected = (
        None,
        "its pod is gone, perhaps deleted, or not for us to see (BackoffLimitExceeded: what the \
         Job says)"
            .into(),
    );
    assert_eq!(ended(&job, &[]), expected);
    let mut evicted = pod("Failed", json!({}));
    evicted["status"]["reason"] = json!("Evicted");
    evicted["status"]["message"] =
        json!("Usage of EmptyDir volume \"workspace\" exceeds the limit");
    let (code, why) = ended(&job, &[evicted]);
    assert_eq!(code, None);
    assert!(why.starts_with("Evicted: Usage of EmptyDir"), "{why}");
    let mut init = pod("Failed", json!({"waiting": {"reason": "PodInitializing"}}));
    init["status"]["initContainerStatuses"] = json!([{"name": "clone", "state": {"terminated": {
        "exitCode": 128, "message": "a\nfatal: no\n", "finishedAt": time(3)}}}]);
    let (_, why) = ended(&job, &[init]);
    assert_eq!(
        why,
        "its init container clone failed, exit code 128: fatal: no"
    );
    let mut helper = terminated(0, "Completed", None);
    helper["status"]["phase"] = json!("Failed");
    let more = json!({"name": "helper", "state": {"terminated": {"exitCode": 3}}});
    helper["status"]["containerStatuses"]
        .as_array_mut()
        .unwrap()
        .push(more);
    let (code, why) = ended(&job, &[helper]);
    assert_eq!(
        (code, why.as_str()),
        (Some(0), "its container helper failed, exit code 3")
    );
}

fn stopped(job: &mut Value, second: u64) {
    let stop = Stop {
        cause: StopCause::AgentTimeout,
        why: "timed out after 2h".into(),
        at: Stamp(at(second).0 + 700),
    };
    let note = StopNote::of(&stop, Some(at(2)), "last words".into());
    job["metadata"]["annotations"] = json!({STOP: serde_json::to_string(&note).unwrap()});
}

#[test]
fn a_note_is_never_larger_than_it_may_be() {
    let stop = |size| Stop {
        cause: StopCause::StartTimeout,
        why: "w".repeat(size),
        at: at(4),
    };
    for tail in [
        "short",
        &"line \"é\"\u{1b}\n".repeat(900),
        &"x".repeat(9000),
    ] {
        let note = StopNote::of(&stop(1024), None, tail.to_owned());
        let text = note.fitted(8192);
        assert!(text.len() <= 8192, "{}", text.len());
        let read: StopNote = serde_json::from_str(&text).unwrap();
        assert_eq!(read.why.len(), 1024);
        assert!(!read.tail.is_empty() && tail.trim_end().ends_with(&read.tail));
    }
}

#[test]
fn a_stopped_one_keeps_why_and_what_went_with_its_pod() {
    let mut job = failed("DeadlineExceeded");
    stopped(&mut job, 4);
    let dead = read(&job);
    assert_eq!(dead.stop().unwrap().cause, StopCause::AgentTimeout);
    assert_eq!(dead.stop_note().unwrap().tail, "last words");
    // Never before the stop was asked for, though the server cuts seconds.
    let expected = State::Ended {
        started: Some(at(2)),
        at: Stamp(at(4).0 + 700),
        exit_code: None,
        why: Some("DeadlineExceeded: what the Job says".into()),
    };
    assert_eq!(dead.state(&[], &[], None), expected);
    // What ended by itself just before was not stopped.
    for mut job in [failed("BackoffLimitExceeded"), complete()] {
        stopped(&mut job, 3);
        assert_eq!(read(&job).stop(), None);
    }
    let mut live = active();
    stopped(&mut live, 3);
    assert!(read(&live).stop().is_some());
    live["metadata"]["annotations"] = json!({STOP: "{"});
    assert_eq!(read(&live).stop(), None);
}

#[test]
fn a_suspended_job_waits_for_its_queue_and_ends_by_the_note_alone() {
    let mut held = job(json!({"conditions": [condition("Suspended", "JobSuspended", "m", 0)]}));
    held["spec"]["suspend"] = json!(true);
    held["status"]["startTime"] = Value::Null;
    let of = |job: &Value, pods: &[Value]| state(job, pods, &[]);
    assert!(matches!(
        of(&held, &[]),
        State::Pending {
            suspended: true,
            ..
        }
    ));
    // Its pods are being stopped.
    let pod = pod("Running", json!({"running": {"startedAt": time(5)}}));
    assert!(matches!(of(&held, &[pod]), State::Running { .. }));
    stopped(&mut held, 3);
    let ended = State::Ended {
        started: Some(at(2)),
        at: Stamp(at(3).0 + 700),
        exit_code: None,
        why: None,
    };
    assert_eq!(of(&held, &[]), ended);
    assert!(read(&held).stop().is_some());
    held["status"]["terminating"] = json!(1);
    assert!(matches!(
        of(&held, &[]),
        State::Pending {
            suspended: false,
            ..
        }
    ));
}

#[test]
fn waiting_counts_from_the_latest_of_what_it_waited_for() {
    let mut resumed = active();
    resumed["status"]["startTime"] = json!(time(8));
    assert_eq!(pending(&resumed, &[], &[]).0, 8);
    let mut let_go = condition("Suspended", "JobResumed", "m", 9);
    let_go["status"] = json!("False");
    resumed["status"]["conditions"] = json!([let_go]);
    assert_eq!(pending(&resumed, &[], &[]).0, 9);
    let mut newer = waiting("ContainerCreating", None);
    newer["metadata"]["creationTimestamp"] = json!(time(20));
    let mut old = terminated(137, "Error", None);
    old["status"]["conditions"] = json!([condition("DisruptionTarget", "m", "m", 3)]);
    assert_eq!(
        pending(&active(), &[old.clone(), newer], &[]),
        (20, "its pod was taken away: m: m".into())
    );
    // An evicted pod that is over, and none in its place yet.
    let mut evicted = old;
    evicted["status"]["conditions"] = json!([condition("DisruptionTarget", "", "", 3)]);
    assert_eq!(pending(&active(), &[evicted], &[]).0, 3);
    // One that is not even there any more, but was seen.
    let seen = read(&active()).state(&[], &[], Some(at(70)));
    assert!(matches!(seen, State::Pending { since, .. } if since == at(70)));
}

#[test]
fn what_is_told_counts_as_gone_and_needs_no_look() {
    let mut told = failed("BackoffLimitExceeded");
    told["metadata"]["annotations"] = json!({REPORTED: time(5)});
    assert_eq!(state(&told, &[], &[]), State::Told);
    assert_eq!(read(&told).need(), Need::Nothing);
    assert_eq!(read(&complete()).need(), Need::PodsOnce);
    assert_eq!(read(&active()).need(), Need::Pods);
    let running = job(json!({"active": 1, "ready": 1}));
    assert_eq!(read(&running).need(), Need::PodsOnce);
}

/// Whatever is left out or turned into something else: no panic, and what
/// cannot be read is an error of the reading.
#[test]
fn nothing_a_server_says_can_break_it() {
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    fn spoil(value: &mut Value, next: &mut impl FnMut(usize) -> usize) {
        if next(12) == 0 {
            *value = [Value::Null, json!(-1), json!(""), json!([]), json!({})][next(5)].clone();
            return;
        }
        match value {
            Value::Object(map) => {
                map.retain(|_, _| next(15) > 0);
                map.values_mut().for_each(|v| spoil(v, next));
            }
            Value::Array(list) => list.iter_mut().for_each(|v| spoil(v, next)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut stop = failed("DeadlineExceeded");
    stopped(&mut stop, 4);
    let jobs = [active(), complete(), failed("BackoffLimitExceeded"), stop];
    let pods = [
        terminated(1, "Error", Some("m")),
        terminated(137, "OOMKilled", None),
        waiting("ErrImagePull", Some("m")),
        pod("Running", json!({"running": {"startedAt": time(5)}})),
    ];
    let mut read = 0;
    for _ in 0..20_000 {
        let (mut job, mut pod) = (jobs[next(4)].clone(), pods[next(4)].clone());
        let mut event = warning("j1", "FailedCreate", "m", 1);
        spoil(&mut job, &mut next);
        spoil(&mut pod, &mut next);
        spoil(&mut event, &mut next);
        let job = serde_json::from_value::<Job>(job);
        let pod = serde_json::from_value::<Pod>(pod);
        let event = serde_json::from_value::<Event>(event);
        if let (Ok(job), Ok(pod), Ok(event)) = (job, pod, event) {
            read += 1;
            let _ = (job.state(&[pod], &[event], None), job.need(), job.stop());
        }
    }
    assert!(read > 500, "{read}");
}

#[test]
fn a_last_word_that_the_kubelet_has_cut_is_taken_in_whole_lines() {
    let said = |text: &str, containers: usize| {
        let mut pod = terminated(1, "Error", Some(text));
        let others = vec![json!({"name": "other", "state": {}}); containers - 1];
        let all = pod["status"]["containerStatuses"].as_array_mut().unwrap();
        all.extend(others);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        pod.message().map(str::to_owned)
    };
    let whole = |text: String| Some(text);
    assert_eq!(said("a\nb", 1), whole("a\nb".into()));
    // Of a log it is the end, and of what the agent wrote itself the begin.
    let line = "x".repeat(2000);
    assert_eq!(said(&format!("{line}\nb"), 1), whole(format!("{line}\nb")));
    let log = format!("{}\nb\nc", "x".repeat(2044));
    assert_eq!(said(&log, 1), whole("b\nc".into()));
    let message = format!("a\nb\n{}", "x".repeat(4092));
    assert_eq!(said(&message, 1), whole("b".into()));
    // Ten containers have less to say each.
    let message = format!("a\nb\n{}", "x".repeat(1224));
    assert_eq!(said(&message, 10), whole("a\nb".into()));
    assert_eq!(said(&message, 9), whole(message.clone()));
    assert_eq!(said(&"x".repeat(2048), 1), None);
}

#[test]
fn only_a_job_that_has_ended_can_be_one_whose_source_knows() {
    let told = |mut job: Value| {
        job["metadata"]["annotations"] = json!({"recac.io/reported": "x"});
        read(&job).is_told()
    };
    assert!(told(complete()));
    assert!(!told(active()));
}
