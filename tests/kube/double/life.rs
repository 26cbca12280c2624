//! What goes on in a cluster beside the API server: pods are made for Jobs,
//! begin, end and are replaced; deadlines strike, finished Jobs expire, what
//! is being deleted goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use recac_orchestrator::core::Stamp;
use serde_json::{Value, json};

use super::{
    check,
    store::{EVENTS, JOBS, Kind, PODS, Store, place, seconds, text},
};

/// What agents do without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agents {
    /// Their pods stay Pending, as where no node is free.
    Wait,
    /// They begin, and go on.
    Run,
    /// They begin, and end with this code.
    Exit(i64),
}

/// The controllers and the one node.
#[derive(Debug)]
pub struct Life {
    pub agents: Agents,
    /// How long a pod takes to end when it is told to.
    pub grace: Duration,
    /// When a pod that is ending is gone, by its uid.
    ending: BTreeMap<String, Instant>,
    /// Jobs that get no pod any more, by their uid.
    barren: BTreeSet<String>,
}

impl Life {
    pub fn new() -> Life {
        Life {
            agents: Agents::Wait,
            grace: Duration::ZERO,
            ending: BTreeMap::new(),
            barren: BTreeSet::new(),
        }
    }

    /// Everybody does what is due.
    pub fn step(&mut self, store: &mut Store) {
        let namespaces: Vec<String> = store.namespaces.keys().cloned().collect();
        for namespace in &namespaces {
            let mut pods: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for pod in store.list(PODS, namespace) {
                let owner = text(&pod["metadata"]["ownerReferences"][0]["uid"]);
                pods.entry(owner).or_default().push(pod);
            }
            for job in store.list(JOBS, namespace) {
                let own = pods.remove(&text(&job["metadata"]["uid"]));
                self.job(store, &job, &own.unwrap_or_default());
            }
            for pod in store.list(PODS, namespace) {
                self.pod(store, &pod);
            }
        }
    }

    fn job(&mut self, store: &mut Store, job: &Value, pods: &[Value]) {
        let (namespace, name) = place(job);
        let meta = &job["metadata"];
        if meta["deletionTimestamp"].is_string() {
            let finalizer = text(&meta["finalizers"][0]);
            if finalizer == "foregroundDeletion" {
                for pod in pods {
                    self.end(store, pod);
                }
                if !pods_of(store, job).is_empty() {
                    return;
                }
            } else {
                for pod in pods {
                    let (namespace, name) = place(pod);
                    store.change(PODS, &namespace, &name, |pod| {
                        pod["metadata"]["ownerReferences"] = json!([]);
                    });
                }
            }
            store.remove(JOBS, &namespace, &name);
            return;
        }
        if ended(job) {
            let ttl = job["spec"]["ttlSecondsAfterFinished"].as_u64();
            let due = ttl.is_some_and(|ttl| {
                let at = last_condition(job).plus(Duration::from_secs(ttl));
                at <= store.now()
            });
            if due {
                store.remove(JOBS, &namespace, &name);
            }
            return;
        }
        if condition(job, "FailureTarget").is_some() {
            for pod in pods {
                self.end(store, pod);
            }
            if pods_of(store, job).is_empty() {
                fail(store, job, "DeadlineExceeded");
            }
            return;
        }
        if job["spec"]["suspend"] == true {
            for pod in pods {
                self.end(store, pod);
            }
            suspended(store, job, true);
            return;
        }
        if condition(job, "Suspended").is_some() {
            suspended(store, job, false);
            return;
        }
        let started = stamp(&job["status"]["startTime"]);
        let deadline = job["spec"]["activeDeadlineSeconds"].as_u64();
        let due = deadline
            .is_some_and(|seconds| started.plus(Duration::from_secs(seconds)) <= store.now());
        if due && started != Stamp::default() {
            doom(store, job, "DeadlineExceeded");
            return;
        }
        let live = pods.iter().any(|pod| !over(pod));
        let barren = self.barren.contains(&text(&meta["uid"]));
        if !live
            && !barren
            && pods
                .iter()
                .all(|pod| condition(pod, "DisruptionTarget").is_some())
        {
            let made = make_pod(store, job);
            let now = store.time();
            store.change(JOBS, &namespace, &name, |job| {
                let status = &mut job["status"];
                if status["startTime"].is_null() {
                    *status = json!({
                        "startTime": now, "terminating": 0, "uncountedTerminatedPods": {},
                        "ready": 0,
                    });
                }
                if made {
                    status["active"] = json!(1);
                }
            });
        }
    }

    fn pod(&mut self, store: &mut Store, pod: &Value) {
        let (namespace, name) = place(pod);
        let uid = text(&pod["metadata"]["uid"]);
        if let Some(at) = self.ending.get(&uid) {
            if *at <= Instant::now() {
                self.ending.remove(&uid);
                store.remove(PODS, &namespace, &name);
            }
            return;
        }
        let owner = &pod["metadata"]["ownerReferences"][0];
        let job = store.get(JOBS, &namespace, &text(&owner["name"])).cloned();
        match job {
            Some(job) if job["metadata"]["uid"] == owner["uid"] => {
                let scheduled = !text(&pod["spec"]["nodeName"]).is_empty();
                match (self.agents, text(&pod["status"]["phase"]).as_str()) {
                    (Agents::Run | Agents::Exit(_), "Pending") if !scheduled => begin(store, pod),
                    (Agents::Exit(code), "Running") => finish(store, pod, code),
                    _ => {}
                }
            }
            _ if owner["uid"].is_string() => self.end(store, pod),
            _ => {}
        }
    }

    /// SIGTERM, and at the end of its grace it is gone.
    fn end(&mut self, store: &mut Store, pod: &Value) {
        let (namespace, name) = place(pod);
        if over(pod) || self.grace.is_zero() {
            store.remove(PODS, &namespace, &name);
            return;
        }
        let uid = text(&pod["metadata"]["uid"]);
        if self.ending.contains_key(&uid) {
            return;
        }
        self.ending.insert(uid, Instant::now() + self.grace);
        let now = store.time();
        store.change(PODS, &namespace, &name, |pod| {
            pod["metadata"]["deletionTimestamp"] = json!(now);
        });
    }

    /// Puts a Job, its pods and events into a state that was recorded elsewhere,
    /// as if it had come to it now.
    pub fn replay(&mut self, store: &mut Store, job: &Value, case: &Value) {
        let (namespace, name) = place(job);
        let begun = stamp(&case["job_status"]["startTime"]);
        let shift =
            |value: &Value| shifted(value, begun, stamp(&job["metadata"]["creationTimestamp"]));
        let recorded = case["pods"].as_array().cloned().unwrap_or_default();
        let mut pods = pods_of(store, job);
        if recorded.is_empty() {
            self.barren.insert(text(&job["metadata"]["uid"]));
            for pod in pods.drain(..) {
                let (namespace, name) = place(&pod);
                store.remove(PODS, &namespace, &name);
            }
        }
        for (pod, status) in pods.iter().zip(&recorded) {
            let (namespace, name) = place(pod);
            store.change(PODS, &namespace, &name, |pod| {
                pod["status"] = shift(status);
                let unscheduled = pod["status"]["conditions"][0]["reason"] == "Unschedulable";
                if !unscheduled {
                    pod["spec"]["nodeName"] = json!("node1");
                }
            });
        }
        store.change(JOBS, &namespace, &name, |job| {
            job["status"] = shift(&case["job_status"]);
        });
        for recorded in case["events"].as_array().into_iter().flatten() {
            let of_job = recorded["involvedObject"]["kind"] == "Job";
            let (kind, about) = match (of_job, pods.first()) {
                (true, _) => (JOBS, job),
                (false, Some(pod)) => (PODS, pod),
                (false, None) => continue,
            };
            let (sort, reason) = (text(&recorded["type"]), text(&recorded["reason"]));
            let message = text(&recorded["message"]);
            event(store, kind, about, &sort, &reason, &message);
        }
    }
}

/// The pods that this very Job owns.
pub fn pods_of(store: &Store, job: &Value) -> Vec<Value> {
    let (namespace, _) = place(job);
    let mut pods = store.list(PODS, &namespace);
    pods.retain(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]);
    pods
}

/// A condition that is `True`.
pub fn condition(object: &Value, name: &str) -> Option<Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    let mut conditions = conditions.iter();
    conditions
        .find(|c| c["type"] == name && c["status"] == "True")
        .cloned()
}

pub fn ended(job: &Value) -> bool {
    condition(job, "Complete").is_some() || condition(job, "Failed").is_some()
}

fn over(pod: &Value) -> bool {
    matches!(
        text(&pod["status"]["phase"]).as_str(),
        "Succeeded" | "Failed"
    )
}

fn stamp(time: &Value) -> Stamp {
    text(time).parse().unwrap_or_default()
}

fn last_condition(job: &Value) -> Stamp {
    let conditions = job["status"]["conditions"].as_array().cloned();
    let times = conditions.unwrap_or_default();
    let times = times.iter().map(|c| stamp(&c["lastTransitionTime"]));
    times.max().unwrap_or_default()
}

fn suspended(store: &mut Store, job: &Value, so: bool) {
    let (namespace, name) = place(job);
    let now = store.time();
    let (status, reason, message) = match so {
        true => ("True", "JobSuspended", "Job suspended"),
        false => ("False", "JobResumed", "Job resumed"),
    };
    store.change(JOBS, &namespace, &name, |job| {
        if so == condition(job, "Suspended").is_some() {
            return;
        }
        job["status"] = json!({
            "conditions": [{
                "type": "Suspended", "status": status, "reason": reason, "message": message,
                "lastProbeTime": now, "lastTransitionTime": now,
            }],
            "terminating": 0, "uncountedTerminatedPods": {}, "ready": 0,
        });
        if !so {
            job["status"]["startTime"] = json!(now);
        }
    });
}

/// False if that is refused.
fn make_pod(store: &mut Store, job: &Value) -> bool {
    let (namespace, name) = place(job);
    let template = &job["spec"]["template"];
    let rules = store.namespaces[&namespace].clone();
    let pod_name = format!("{name}-{}", store.suffix());
    let account = match template["spec"]["serviceAccountName"].as_str() {
        None => "default".to_owned(),
        Some(account) => account.to_owned(),
    };
    let refused = match rules
        .restricted
        .then(|| check::violation(template))
        .flatten()
    {
        Some(words) => Some(format!(
            "Error creating: pods \"{pod_name}\" is forbidden: violates PodSecurity \
             \"restricted:latest\": {words}"
        )),
        None if account != "default" && !rules.accounts.contains(&account) => Some(format!(
            "Error creating: pods \"{name}-\" is forbidden: error looking up service account \
             {namespace}/{account}: serviceaccount \"{account}\" not found"
        )),
        None => None,
    };
    if let Some(refused) = refused {
        event(store, JOBS, job, "Warning", "FailedCreate", &refused);
        return false;
    }
    let uid = store.uid();
    let now = store.time();
    let mut spec = template["spec"].clone();
    spec["serviceAccountName"] = json!(account);
    spec["serviceAccount"] = json!(account);
    spec["priority"] = json!(0);
    spec["preemptionPolicy"] = json!("PreemptLowerPriority");
    if spec["enableServiceLinks"].is_null() {
        spec["enableServiceLinks"] = json!(true);
    }
    spec["tolerations"] = ["not-ready", "unreachable"]
        .map(|what| {
            json!({
                "key": format!("node.kubernetes.io/{what}"), "operator": "Exists",
                "effect": "NoExecute", "tolerationSeconds": 300
            })
        })
        .to_vec()
        .into();
    let pod = json!({
        "metadata": {
            "name": pod_name, "generateName": format!("{name}-"), "namespace": namespace,
            "uid": uid, "generation": 1, "creationTimestamp": now,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": name,
                "uid": job["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }],
            "finalizers": ["batch.kubernetes.io/job-tracking"],
        },
        "spec": spec,
        "status": {
            "phase": "Pending",
            "conditions": [{
                "type": "PodScheduled", "observedGeneration": 1, "status": "False",
                "lastProbeTime": null, "lastTransitionTime": now, "reason": "Unschedulable",
                "message": "no nodes available to schedule pods",
            }],
            "qosClass": "BestEffort",
        },
    });
    store.put(PODS, pod);
    let created = format!("Created pod: {pod_name}");
    event(store, JOBS, job, "Normal", "SuccessfulCreate", &created);
    true
}

/// Its container runs.
pub fn begin(store: &mut Store, pod: &Value) {
    let (namespace, name) = place(pod);
    let now = store.time();
    store.change(PODS, &namespace, &name, |pod| {
        pod["spec"]["nodeName"] = json!("node1");
        let on = |kind: &str| {
            json!({
                "type": kind, "observedGeneration": 1, "status": "True", "lastProbeTime": null,
                "lastTransitionTime": now,
            })
        };
        pod["status"] = json!({
            "phase": "Running",
            "conditions": [
                on("PodReadyToStartContainers"), on("Initialized"), on("Ready"),
                on("ContainersReady"), on("PodScheduled"),
            ],
            "startTime": now,
            "containerStatuses": [status(pod, json!({"running": {"startedAt": now}}))],
            "qosClass": "BestEffort",
        });
    });
    count(store, pod, |status| status["ready"] = json!(1));
}

/// Its container has ended, and so has its Job.
pub fn finish(store: &mut Store, pod: &Value, code: i64) {
    let (namespace, name) = place(pod);
    let now = store.time();
    store.change(PODS, &namespace, &name, |pod| {
        if text(&pod["spec"]["nodeName"]).is_empty() {
            pod["spec"]["nodeName"] = json!("node1");
        }
        let running = &pod["status"]["containerStatuses"][0]["state"]["running"];
        let begun = match running["startedAt"].as_str() {
            Some(begun) => begun.to_owned(),
            None => now.clone(),
        };
        let ended = json!({
            "exitCode": code, "startedAt": begun, "finishedAt": now,
            "reason": if code == 0 { "Completed" } else { "Error" },
            "containerID": "containerd://x",
        });
        pod["status"]["containerStatuses"] = json!([status(pod, json!({"terminated": ended}))]);
        pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
        pod["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
    });
    let owner = text(&pod["metadata"]["ownerReferences"][0]["name"]);
    let Some(job) = store.get(JOBS, &namespace, &owner).cloned() else {
        return;
    };
    match code {
        0 => complete(store, &job),
        _ => fail(store, &job, "BackoffLimitExceeded"),
    }
}

/// Its node is drained: it goes, and does not count where the Job says so.
pub fn evict(store: &mut Store, pod: &Value) {
    let (namespace, name) = place(pod);
    let now = store.time();
    store.change(PODS, &namespace, &name, |pod| {
        pod["status"]["phase"] = json!("Failed");
        pod["status"]["conditions"] = json!([{
            "type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": now, "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }]);
        let ended = json!({
            "exitCode": 143, "reason": "Error", "startedAt": now, "finishedAt": now,
            "containerID": "containerd://x",
        });
        pod["status"]["containerStatuses"] = json!([status(pod, json!({"terminated": ended}))]);
    });
    count(store, pod, |status| {
        status["ready"] = json!(0);
        status.as_object_mut().unwrap().remove("active");
    });
}

fn status(pod: &Value, state: Value) -> Value {
    let container = &pod["spec"]["containers"][0];
    json!({
        "name": container["name"], "state": state, "lastState": {},
        "ready": state["running"].is_object(), "restartCount": 0,
        "image": container["image"], "imageID": "", "containerID": "containerd://x",
        "started": state["running"].is_object(),
    })
}

fn count(store: &mut Store, pod: &Value, change: impl FnOnce(&mut Value)) {
    let (namespace, _) = place(pod);
    let owner = text(&pod["metadata"]["ownerReferences"][0]["name"]);
    store.change(JOBS, &namespace, &owner, |job| change(&mut job["status"]));
}

fn told(kind: &str, reason: &str, now: &str) -> Value {
    let message = match reason {
        "CompletionsReached" => "Reached expected number of succeeded pods",
        "DeadlineExceeded" => "Job was active longer than specified deadline",
        _ => "Job has reached the specified backoff limit",
    };
    json!({
        "type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now,
        "reason": reason, "message": message,
    })
}

/// In two steps, as it is seen on a watch.
fn complete(store: &mut Store, job: &Value) {
    let (namespace, name) = place(job);
    let now = store.time();
    let reason = "CompletionsReached";
    store.change(JOBS, &namespace, &name, |job| {
        let status = &mut job["status"];
        status["conditions"] = json!([told("SuccessCriteriaMet", reason, &now)]);
        status["ready"] = json!(0);
        status.as_object_mut().unwrap().remove("active");
    });
    store.change(JOBS, &namespace, &name, |job| {
        let status = &mut job["status"];
        let conditions = status["conditions"].as_array_mut().unwrap();
        conditions.push(told("Complete", reason, &now));
        status["completionTime"] = json!(now);
        status["succeeded"] = json!(1);
    });
    event(store, JOBS, job, "Normal", "Completed", "Job completed");
}

/// It will fail, and its pods are being ended.
fn doom(store: &mut Store, job: &Value, reason: &str) {
    let (namespace, name) = place(job);
    let now = store.time();
    store.change(JOBS, &namespace, &name, |job| {
        job["status"]["conditions"] = json!([told("FailureTarget", reason, &now)]);
    });
}

fn fail(store: &mut Store, job: &Value, reason: &str) {
    let (namespace, name) = place(job);
    if condition(job, "FailureTarget").is_none() {
        doom(store, job, reason);
    }
    let now = store.time();
    store.change(JOBS, &namespace, &name, |job| {
        let status = &mut job["status"];
        let conditions = status["conditions"].as_array_mut().unwrap();
        conditions.push(told("Failed", reason, &now));
        status["ready"] = json!(0);
        status["failed"] = json!(1);
        status.as_object_mut().unwrap().remove("active");
    });
    let words = text(&told("Failed", reason, &now)["message"]);
    event(store, JOBS, job, "Warning", reason, &words);
}

/// Written down once, and counted after that.
pub fn event(
    store: &mut Store,
    kind: &'static Kind,
    about: &Value,
    sort: &str,
    reason: &str,
    message: &str,
) {
    let (namespace, name) = place(about);
    let now = store.time();
    let same = |event: &Value| {
        event["involvedObject"]["uid"] == about["metadata"]["uid"]
            && event["reason"] == reason
            && event["message"] == message
    };
    if let Some(event) = store.find(EVENTS, &namespace, same) {
        let (namespace, name) = place(&event);
        store.change(EVENTS, &namespace, &name, |event| {
            event["count"] = json!(event["count"].as_u64().unwrap_or(0) + 1);
            event["lastTimestamp"] = json!(now);
        });
        return;
    }
    let uid = store.uid();
    let event_name = format!("{name}.{}", &uid.replace('-', "")[16..]);
    let event = json!({
        "metadata": {
            "name": event_name, "namespace": namespace, "uid": uid, "creationTimestamp": now,
        },
        "involvedObject": {
            "kind": kind.name, "namespace": namespace, "name": name,
            "uid": about["metadata"]["uid"], "apiVersion": kind.api_version(),
            "resourceVersion": about["metadata"]["resourceVersion"],
        },
        "reason": reason, "message": message, "source": {"component": "job-controller"},
        "firstTimestamp": now, "lastTimestamp": now, "count": 1, "type": sort,
        "eventTime": null, "reportingComponent": "job-controller", "reportingInstance": "",
    });
    store.put(EVENTS, event);
}

/// All times of it moved along with the first.
fn shifted(value: &Value, from: Stamp, to: Stamp) -> Value {
    match value {
        Value::String(words) => match words.parse::<Stamp>() {
            Ok(stamp) if stamp >= from => json!(seconds(to.plus(stamp.since(from)))),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(|v| shifted(v, from, to)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, v)| (name.clone(), shifted(v, from, to)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
