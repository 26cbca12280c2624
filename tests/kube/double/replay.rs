//! Every recorded exchange, one after the other, against a double: it answers
//! as the real server did.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Map, Value, json};

use super::{
    Access, Double, State, life,
    store::{JOBS, PODS, place, text},
};

/// What each recorded exchange needs to have happened before it, beside the
/// exchanges themselves.
fn prepare(replay: &mut Replay, name: &str) {
    match name {
        "LIST page 1 (limit=2, labelSelector)" => {
            for n in 2..=5 {
                replay.create(&format!("agent-task-{n}"), &format!("TASK-{n}"), |_| {});
            }
            replay.double.step();
        }
        "job: running (active 1, ready 1)" => {
            replay.status("agent-task-1", |status| status["ready"] = json!(1));
        }
        "job: Complete" => {
            replay.pod_status("agent-task-1", "pods of a Complete job");
            replay.end("agent-task-1", 0);
        }
        "job: Failed (backoffLimit 0, exit 17)" => {
            replay.pod_status("agent-task-2", "pods of a Failed job");
            replay.end("agent-task-2", 17);
        }
        "job with backoffLimit 3: one pod failed, Kubernetes is still retrying" => {
            replay.create("agent-retrying", "TASK-9", |spec| {
                spec["backoffLimit"] = json!(3);
            });
            replay.double.step();
            replay.status("agent-retrying", |status| status["failed"] = json!(1));
        }
        "job: DeadlineExceeded" => {
            replay.create("agent-deadline", "TASK-10", |spec| {
                spec["activeDeadlineSeconds"] = json!(2);
            });
            replay.double.step();
            replay.double.skew(3);
            replay.double.step();
            replay.double.step();
            replay.double.skew(0);
        }
        "job with podFailurePolicy: evicted pod is replaced and not counted" => {
            replay.double.step();
            replay.with_pod("agent-disrupt", |state, pod| {
                life::evict(&mut state.server.store, pod);
            });
            replay.double.step();
        }
        "its pod (container status set by hand, as a kubelet sets it)" => {
            replay.pod_status("agent-task-3", name);
        }
        "that job: no pod is ever created" => replay.double.step(),
        "its events" => {
            let recorded = replay.recorded(name)["response"]["body"]["items"].clone();
            for _ in 1..recorded.as_array().unwrap().len() {
                replay.double.step();
            }
        }
        "403 exceeded quota" => {
            replay.create_in("quota", "agent-q1", "TASK-1", |_| {});
        }
        "DELETE missing job" => replay.double.step(),
        "DELETE with the right uid precondition" => {
            let ours = replay.job("agent-task-5")["metadata"]["uid"].clone();
            let sent = &replay.recorded(name)["request"]["body"]["preconditions"]["uid"];
            let sent = text(sent);
            replay.ours.insert(sent, text(&ours));
        }
        _ => {}
    }
}

#[test]
fn the_double_answers_as_the_recorded_server_did() {
    let mut replay = Replay::new();
    let exchanges = replay.exchanges.clone();
    assert_eq!(exchanges.len(), 57);
    for exchange in &exchanges {
        let name = text(&exchange["name"]);
        prepare(&mut replay, &name);
        if name.starts_with("WATCH") {
            replay.watch(exchange);
        } else {
            replay.exchange(exchange);
        }
    }
}

struct Replay {
    double: Double,
    exchanges: Vec<Value>,
    /// What stood for it in the recording: uids, versions, names of pods.
    ours: BTreeMap<String, String>,
}

/// An answer, as it came.
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

const RECORDED: &str = "agents2";

impl Replay {
    fn new() -> Replay {
        let double = Double::still();
        double.namespace(RECORDED, |_| {});
        double.namespace("locked", |namespace| namespace.restricted = true);
        double.namespace("quota", |namespace| namespace.quota = Some(("q".into(), 1)));
        let unbound = Access {
            nothing: true,
            ..Access::default()
        };
        double.lock().server.tokens = BTreeMap::from([
            ("admin".to_owned(), Access::default()),
            ("unbound".to_owned(), unbound),
        ]);
        let all: Value =
            serde_json::from_str(include_str!("../recorded/kube-exchanges.json")).unwrap();
        Replay {
            double,
            exchanges: all["exchanges"].as_array().unwrap().clone(),
            ours: BTreeMap::new(),
        }
    }

    fn recorded(&self, name: &str) -> Value {
        let mut all = self.exchanges.iter();
        all.find(|e| e["name"] == name).unwrap().clone()
    }

    fn job(&self, name: &str) -> Value {
        let state = self.double.lock();
        state
            .server
            .store
            .get(JOBS, RECORDED, name)
            .unwrap()
            .clone()
    }

    fn with_pod(&self, job: &str, act: impl FnOnce(&mut State, &Value)) {
        let job = self.job(job);
        let mut state = self.double.lock();
        let pods = life::pods_of(&state.server.store, &job);
        act(&mut state, &pods[0]);
    }

    fn status(&self, job: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.double.lock();
        let store = &mut state.server.store;
        store.change(JOBS, RECORDED, job, |job| change(&mut job["status"]));
    }

    /// Sets the status of a Job's pod by hand, as the one who recorded did.
    fn pod_status(&self, job: &str, exchange: &str) {
        let body = self.recorded(exchange)["response"]["body"].clone();
        self.with_pod(job, |state, pod| {
            let (namespace, name) = place(pod);
            state.server.store.change(PODS, &namespace, &name, |pod| {
                pod["status"] = body["items"][0]["status"].clone();
            });
        });
    }

    /// Ends a Job, whose pod keeps the status that it has.
    fn end(&self, job: &str, code: i64) {
        self.with_pod(job, |state, pod| {
            let (namespace, name) = place(pod);
            let status = pod["status"].clone();
            let store = &mut state.server.store;
            life::finish(store, pod, code);
            store.change(PODS, &namespace, &name, |pod| {
                pod["status"] = status;
                pod["spec"].as_object_mut().unwrap().remove("nodeName");
            });
        });
    }

    fn create(&self, name: &str, item: &str, change: impl FnOnce(&mut Value)) {
        self.create_in(RECORDED, name, item, change);
    }

    /// As the recorded ones, with another name, item and perhaps more.
    fn create_in(&self, namespace: &str, name: &str, item: &str, change: impl FnOnce(&mut Value)) {
        let mut body = self.recorded("201 create job")["request"]["body"].clone();
        body["metadata"]["name"] = json!(name);
        body["metadata"]["labels"]["recac.io/item"] = json!(item);
        body["spec"]["template"]["metadata"]["labels"]["recac.io/item"] = json!(item);
        change(&mut body["spec"]);
        let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
        let headers = BTreeMap::from([("Content-Type".to_owned(), "application/json".to_owned())]);
        let reply = self.send("POST", &path, headers, "admin", &body.to_string());
        assert_eq!(reply.status, 201, "{name}: {}", reply.body);
    }

    fn exchange(&mut self, exchange: &Value) {
        let name = text(&exchange["name"]);
        let request = &exchange["request"];
        let token = match name.as_str() {
            "401 bad token" => "nobody",
            "403 service account without RBAC: list jobs"
            | "403 service account without RBAC: create job"
            | "SelfSubjectAccessReview denied" => "unbound",
            _ => "admin",
        };
        let mut headers: BTreeMap<String, String> =
            serde_json::from_value(request["headers"].clone()).unwrap_or_default();
        let body = match &request["body"] {
            Value::Null => String::new(),
            // What does not fit into a recording.
            Value::String(words) if words.starts_with("<a Job") => {
                headers.insert("Content-Type".into(), "application/json".into());
                self.big(words)
            }
            Value::String(words) => words.clone(),
            body => body.to_string(),
        };
        let path = self.translated(&text(&request["path"]));
        let body = self.translated(&body);
        let reply = self.send(&text(&request["method"]), &path, headers, token, &body);
        let recorded = &exchange["response"];
        assert_eq!(
            json!(reply.status),
            recorded["status"],
            "{name}: {}",
            reply.body
        );
        for wanted in ["Content-Type", "Warning"] {
            let theirs = text(&recorded["headers"][wanted]);
            if recorded["headers"].is_null() {
                continue;
            }
            let ours = reply.headers.get(&wanted.to_lowercase());
            assert_eq!(ours.map_or("", String::as_str), theirs, "{name}: {wanted}");
        }
        let ours: Value = serde_json::from_str(&reply.body).unwrap_or(json!(reply.body));
        let theirs = &recorded["body"];
        let fields: &[&str] = match name.as_str() {
            // Its message is an accident of the retry inside of the server.
            "object over the size limit (1.6 MB env value)" => &["kind", "reason", "code"],
            "GET /version" => &["major", "minor", "gitVersion"],
            _ => {
                self.learn(theirs, &ours);
                let mut found = Vec::new();
                differences("", &plain(&ours), &plain(theirs), &mut found);
                assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
                return;
            }
        };
        for field in fields {
            assert_eq!(ours[*field], theirs[*field], "{name}: {field}");
        }
    }

    fn big(&self, words: &str) -> String {
        let digits: String = words.chars().filter(char::is_ascii_digit).collect();
        let size: usize = digits.parse().unwrap();
        let mut body = self.recorded("201 create job")["request"]["body"].clone();
        body["metadata"]["name"] = json!("agent-big");
        let env = json!([{"name": "BIG", "value": "x".repeat(size)}]);
        body["spec"]["template"]["spec"]["containers"][0]["env"] = env;
        body.to_string()
    }

    fn watch(&mut self, exchange: &Value) {
        let name = text(&exchange["name"]);
        let from = self.double.lock().server.store.version;
        let recorded: Vec<Value> = match exchange["response"]["body_lines"].as_array() {
            Some(lines) => lines.clone(),
            None => lines(&text(&exchange["response"]["body"])),
        };
        let all = name.ends_with("too old");
        if !all {
            self.create("agent-watched", "TASK-77", |_| {});
            self.double.step();
            self.status("agent-watched", |status| status["ready"] = json!(1));
            self.end("agent-watched", 0);
            let path = format!(
                "/apis/batch/v1/namespaces/{RECORDED}/jobs/agent-watched?propagationPolicy=Background"
            );
            let reply = self.send("DELETE", &path, BTreeMap::new(), "admin", "");
            assert_eq!(reply.status, 200);
        }
        let path = text(&exchange["request"]["path"])
            .replace("<rv of the list>", &from.to_string())
            .replace("timeoutSeconds=12", "timeoutSeconds=1")
            .replace("timeoutSeconds=2", "timeoutSeconds=1");
        let reply = self.send("GET", &path, BTreeMap::new(), "admin", "");
        assert_eq!(json!(reply.status), exchange["response"]["status"]);
        let mut ours = lines(&reply.body);
        let mut theirs = recorded;
        if all {
            // Not every step between is the same, but what came and went is.
            let came = |line: &Value| {
                let kind = text(&line["type"]);
                let name = text(&line["object"]["metadata"]["name"]);
                (kind != "MODIFIED").then_some((kind, name))
            };
            let ours: Vec<_> = ours.iter().filter_map(came).collect();
            let theirs: Vec<_> = theirs.iter().filter_map(came).collect();
            assert_eq!(ours, theirs, "{name}");
            return;
        }
        // Bookmarks come as often as the server likes.
        for lines in [&mut ours, &mut theirs] {
            lines.dedup_by(|a, b| a["type"] == "BOOKMARK" && b["type"] == "BOOKMARK");
            for line in lines {
                // While the controller still counts its pods.
                line["object"]["status"]["uncountedTerminatedPods"] = json!({});
                *line = plain(line);
            }
        }
        let mut found = Vec::new();
        differences("", &json!(ours), &json!(theirs), &mut found);
        assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: BTreeMap<String, String>,
        token: &str,
        body: &str,
    ) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
        for (name, value) in headers.iter().filter(|(name, _)| *name != "Authorization") {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!(
            "Authorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.double.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut head = head.lines();
        let status = head.next().unwrap().split(' ').nth(1).unwrap();
        let headers: BTreeMap<String, String> = head
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let chunked = headers.contains_key("transfer-encoding");
        Reply {
            status: status.parse().unwrap(),
            body: if chunked {
                joined(body)
            } else {
                body.to_owned()
            },
            headers,
        }
    }

    /// The names that the double has for what is in the recording.
    fn translated(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for (theirs, ours) in &self.ours {
            // Versions are numbers, which may stand anywhere.
            match theirs.bytes().all(|b| b.is_ascii_digit()) {
                true => {
                    let field = |v: &str| format!("\"resourceVersion\":\"{v}\"");
                    words = words.replace(&field(theirs), &field(ours));
                }
                false => words = words.replace(theirs, ours),
            }
        }
        words
    }

    fn learn(&mut self, theirs: &Value, ours: &Value) {
        let generated = theirs["generateName"].is_string();
        for (name, value) in theirs.as_object().into_iter().flatten() {
            let known = matches!(name.as_str(), "uid" | "resourceVersion" | "continue")
                || (name == "name" && generated);
            if let (true, Some(theirs), Some(ours)) = (known, value.as_str(), ours[name].as_str()) {
                self.ours.insert(theirs.to_owned(), ours.to_owned());
            }
            self.learn(value, &ours[name]);
        }
        for (n, value) in theirs.as_array().into_iter().flatten().enumerate() {
            self.learn(value, &ours[n]);
        }
    }
}

fn lines(body: &str) -> Vec<Value> {
    body.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn joined(chunks: &str) -> String {
    let mut body = String::new();
    let mut rest = chunks;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body += &after[..size];
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}

/// Where two values differ, a line each.
fn differences(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let [ours, theirs] = [a, b].map(|fields| match fields.get(name) {
                    Some(value) => value.clone(),
                    None => json!("(nothing)"),
                });
                differences(&format!("{at}.{name}"), &ours, &theirs, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (ours, theirs)) in a.iter().zip(b).enumerate() {
                differences(&format!("{at}[{n}]"), ours, theirs, found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!(
            "{at}: the double says {ours}, the server said {theirs}"
        )),
    }
}

/// Without what is another each time, but that it is there and looks right.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(words) => json!(plain_words(words)),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                let value = match name.as_str() {
                    "managedFields" => continue,
                    // A volume that the server adds for the token.
                    "volumes" | "volumeMounts" => {
                        let mut volumes = value.as_array().unwrap().clone();
                        volumes.retain(|v| !text(&v["name"]).starts_with("kube-api-access-"));
                        if volumes.is_empty() {
                            continue;
                        }
                        Value::Array(volumes)
                    }
                    "resourceVersion" | "continue" if value.is_string() => json!("<>"),
                    _ => value.clone(),
                };
                kept.insert(name.clone(), plain(&value));
            }
            Value::Object(kept)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn plain_words(words: &str) -> String {
    if words.len() == 20 && words.parse::<recac_orchestrator::core::Stamp>().is_ok() {
        return "<time>".to_owned();
    }
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let mut plain = String::new();
    for word in words.split_inclusive(|c| !inside(c)) {
        let (name, end) = word.split_at(word.trim_end_matches(|c| !inside(c)).len());
        let hex = |s: &str| s.bytes().all(|b| b.is_ascii_hexdigit());
        let parts: Vec<&str> = name.split('-').collect();
        let generated = |s: &str| {
            s.len() == 5
                && s.bytes()
                    .all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
        };
        if name.len() == 36 && parts.len() == 5 && parts.iter().all(|part| hex(part)) {
            // One of nothing but zeros is no uid of anything.
            plain += if name.starts_with("00000000-") {
                name
            } else {
                "<uid>"
            };
        } else if let Some((of, last)) = name.rsplit_once('.')
            && last.len() == 16
            && hex(last)
        {
            plain += &format!("{of}.<event>");
        } else if let Some((of, last)) = name.rsplit_once('-')
            && generated(last)
        {
            plain += &format!("{of}-<pod>");
        } else {
            plain += name;
        }
        plain += end;
    }
    plain
}
