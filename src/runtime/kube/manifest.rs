//! The Job of a run: what is posted to the API server, and what a dry run
//! prints. Pure.
//!
//! Never holds the value of a secret: those are named, and the kubelet reads
//! them from a Secret.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::template::Template;
use crate::{
    agent::{self, Spec, Var},
    core::id_hash,
    flags::PullPolicy,
};

/// The container the agent runs in; others come from a template.
pub const AGENT: &str = "agent";
/// Where an agent works, a volume of its own.
pub const WORKSPACE: &str = "/workspace";
/// Label: [`id_hash`] of the item's raw id, which may hold any character.
pub const ITEM_HASH: &str = "recac.io/item-hash";
/// Annotation: that the run was to be stopped, why, and what goes with its
/// pod. See [`super::state::StopNote`].
pub const STOP: &str = "recac.io/stop";
/// Annotation: when the source had been told. Such a Job counts as gone.
pub const REPORTED: &str = "recac.io/reported";

/// How long an agent has to end after SIGTERM, in seconds.
const GRACE: u64 = 10;
/// What the last limit of a Job has beyond ours, which come first.
const MARGIN: Duration = Duration::from_secs(60);

/// What is the same for every Job.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Jobs live: `--namespace`, or what was found out.
    pub namespace: String,
    /// `--image-pull-policy`
    pub pull: PullPolicy,
    /// `--agent-secret`
    pub secret: String,
    /// `--agent-service-account`; with none no token is mounted.
    pub service_account: Option<String>,
    /// `--start-timeout`
    pub start_timeout: Duration,
    /// `--agent-timeout`
    pub agent_timeout: Duration,
    /// `--job-template`
    pub template: Option<Template>,
}

/// The Job of `spec`, the template laid over it.
#[must_use]
pub fn job(settings: &Settings, spec: &Spec) -> Value {
    let (labels, annotations) = marks(spec);
    // By these a pod is known whose Job was deleted.
    let mut of_pod = annotations.clone();
    of_pod.remove(agent::HISTORY);
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": spec.name,
            "namespace": settings.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline(settings),
            // A drained node is not a failed attempt.
            "podFailurePolicy": { "rules": [{
                "action": "Ignore",
                "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
            }]},
            "template": {
                "metadata": { "labels": labels, "annotations": of_pod },
                "spec": pod(settings, spec),
            },
        },
    });
    match &settings.template {
        Some(template) => template.over(job),
        None => job,
    }
}

/// The backstop for a time without any orchestrator, in seconds since the Job
/// was let go.
fn deadline(settings: &Settings) -> u64 {
    let all = settings
        .start_timeout
        .saturating_add(settings.agent_timeout);
    seconds(all.saturating_add(MARGIN))
}

/// Where the backstop has to be for a run that has `left` before one of our own
/// limits strikes, `after` its Job was let go.
#[must_use]
pub fn deadline_after(after: Duration, left: Duration) -> u64 {
    seconds(after.saturating_add(left).saturating_add(MARGIN))
}

/// Whole seconds, as many as Kubernetes takes (a signed number of 64 bits that
/// it turns into nanoseconds).
fn seconds(time: Duration) -> u64 {
    const MOST: u64 = i32::MAX as u64;
    time.as_secs().min(MOST)
}

fn pod(settings: &Settings, spec: &Spec) -> Value {
    let mut pod = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": settings.service_account.is_some(),
        "enableServiceLinks": false,
        "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [container(settings, spec)],
        "volumes": [{ "name": "workspace", "emptyDir": {} }],
    });
    if let Some(account) = &settings.service_account {
        set(&mut pod, "serviceAccountName", json!(account));
    }
    pod
}

fn container(settings: &Settings, spec: &Spec) -> Value {
    let pull = match settings.pull {
        PullPolicy::Always => "Always",
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Never => "Never",
    };
    let mut container = json!({
        "name": AGENT,
        "image": spec.image,
        "imagePullPolicy": pull,
        "workingDir": spec.workspace,
        "env": spec.env.iter().map(|var| env(settings, var)).collect::<Vec<_>>(),
        "envFrom": [{ "secretRef": { "name": settings.secret, "optional": true } }],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": { "allowPrivilegeEscalation": false },
        "volumeMounts": [{ "name": "workspace", "mountPath": spec.workspace }],
    });
    if let Some(argv) = &spec.command {
        let argv: Vec<String> = argv.iter().map(|word| literal(word)).collect();
        set(&mut container, "command", json!(argv));
    }
    let mut limits = Map::new();
    if let Some(cpus) = spec.cpus {
        limits.insert("cpu".to_owned(), json!(cpus.to_string()));
    }
    if let Some(memory) = spec.memory {
        limits.insert("memory".to_owned(), json!(memory.to_string()));
    }
    if !limits.is_empty() {
        set(&mut container, "resources", json!({ "limits": limits }));
    }
    container
}

fn env(settings: &Settings, var: &Var) -> Value {
    use agent::Value::{Key, Plain, Secret};
    match &var.value {
        Plain(text) => json!({ "name": var.name, "value": literal(text) }),
        Secret(_) => key(settings, &var.name, &var.name),
        Key(of) => key(settings, &var.name, of),
    }
}

fn key(settings: &Settings, name: &str, key: &str) -> Value {
    let key = json!({ "name": settings.secret, "key": key, "optional": true });
    json!({ "name": name, "valueFrom": { "secretKeyRef": key } })
}

/// Text that arrives as it is: Kubernetes expands `$(NAME)` in variables,
/// commands and arguments, and makes one `$` of two
/// (<https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>).
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// The labels and the annotations. What may hold any character is an
/// annotation.
fn marks(spec: &Spec) -> (Map<String, Value>, Map<String, Value>) {
    let (mut labels, mut annotations) = (Map::new(), Map::new());
    labels.insert("app".to_owned(), json!("recac-agent"));
    for (name, value) in &spec.labels {
        let of = match *name {
            agent::ITEM_ID | agent::SOURCE_ID | agent::FINGERPRINT | agent::HISTORY => {
                &mut annotations
            }
            _ => &mut labels,
        };
        of.insert((*name).to_owned(), json!(value));
        if *name == agent::ITEM_ID {
            labels.insert(ITEM_HASH.to_owned(), json!(id_hash(value)));
            labels.insert("ticket".to_owned(), json!(label_value(value)));
        }
    }
    (labels, annotations)
}

/// `id` as far as the value of a label can hold it: at most 63 of
/// `[A-Za-z0-9._-]`, a letter or digit at either end, or nothing.
fn label_value(id: &str) -> String {
    let plain = |c: char| match c {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' => c,
        _ => '-',
    };
    let text: String = id.chars().map(plain).collect();
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let text = text.trim_matches(edge);
    text.get(..63)
        .unwrap_or(text)
        .trim_end_matches(edge)
        .to_owned()
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// A Job that shows what a template may not change: whatever is ours in it has
/// the value `mark`, which no template holds by chance.
#[must_use]
pub fn sample(mark: &str) -> Spec {
    let labels = [
        agent::ITEM_ID,
        agent::SOURCE_ID,
        agent::OWNER,
        agent::ATTEMPT,
        agent::FINGERPRINT,
        agent::HISTORY,
        agent::MANAGED_BY,
    ];
    Spec {
        name: mark.to_owned(),
        image: mark.to_owned(),
        command: None,
        env: vec![],
        labels: labels.map(|label| (label, mark.to_owned())).into(),
        workspace: WORKSPACE.to_owned(),
        cpus: None,
        memory: None,
        warnings: vec![],
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::{Bytes, Millicores};

    pub fn settings() -> Settings {
        Settings {
            namespace: "agents".into(),
            pull: PullPolicy::Always,
            secret: "recac-agent-secrets".into(),
            service_account: None,
            start_timeout: Duration::from_secs(600),
            agent_timeout: Duration::from_secs(7200),
            template: None,
        }
    }

    pub fn spec() -> Spec {
        let plain = |name: &str, value: &str| Var {
            name: name.into(),
            value: agent::Value::Plain(value.into()),
        };
        Spec {
            name: "recac-agent-rd-42-2".into(),
            image: "agent:1".into(),
            command: Some(vec!["run".into(), "pay $(COST) $$".into()]),
            env: vec![
                plain("RECAC_ITEM_SUMMARY", "show $(OPENROUTER_API_KEY)"),
                Var {
                    name: "RECAC_GITHUB_API_KEY".into(),
                    value: agent::Value::Key("GITHUB_API_KEY".into()),
                },
            ],
            labels: vec![
                (agent::ITEM_ID, "RD-42".into()),
                (agent::SOURCE_ID, "10042".into()),
                (agent::OWNER, "default".into()),
                (agent::ATTEMPT, "2".into()),
                (agent::FINGERPRINT, "0123456789abcdef".into()),
                (agent::HISTORY, "1\t…".into()),
                (agent::MANAGED_BY, agent::MANAGER.into()),
            ],
            workspace: "/workspace".into(),
            cpus: Some(Millicores(1500)),
            memory: Some(Bytes(1 << 30)),
            warnings: vec![],
        }
    }

    #[test]
    fn a_job_is_whole() {
        let expected = json!({
          "apiVersion": "batch/v1", "kind": "Job",
          "metadata": {
            "name": "recac-agent-rd-42-2", "namespace": "agents",
            "labels": {
              "app": "recac-agent", "ticket": "RD-42",
              "app.kubernetes.io/managed-by": "recac-orchestrator",
              "recac.io/attempt": "2", "recac.io/owner": "default",
              "recac.io/item-hash": id_hash("RD-42"),
            },
            "annotations": {
              "recac.io/item-id": "RD-42", "recac.io/source-id": "10042",
              "recac.io/fingerprint": "0123456789abcdef", "recac.io/history": "1\t…",
            },
          },
          "spec": {
            "backoffLimit": 0, "activeDeadlineSeconds": 7860,
            "podFailurePolicy": { "rules": [{ "action": "Ignore", "onPodConditions": [
              { "type": "DisruptionTarget", "status": "True" }] }] },
            "template": {
              "metadata": { "labels": {
                "app": "recac-agent", "ticket": "RD-42",
                "app.kubernetes.io/managed-by": "recac-orchestrator",
                "recac.io/attempt": "2", "recac.io/owner": "default",
                "recac.io/item-hash": id_hash("RD-42"),
              }, "annotations": {
                "recac.io/item-id": "RD-42", "recac.io/source-id": "10042",
                "recac.io/fingerprint": "0123456789abcdef",
              } },
              "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 10,
                "automountServiceAccountToken": false, "enableServiceLinks": false,
                "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
                "volumes": [{ "name": "workspace", "emptyDir": {} }],
                "containers": [{
                  "name": "agent", "image": "agent:1", "imagePullPolicy": "Always",
                  "workingDir": "/workspace",
                  "command": ["run", "pay $$(COST) $$$$"],
                  "env": [
                    { "name": "RECAC_ITEM_SUMMARY", "value": "show $$(OPENROUTER_API_KEY)" },
                    { "name": "RECAC_GITHUB_API_KEY", "valueFrom": { "secretKeyRef": {
                      "name": "recac-agent-secrets", "key": "GITHUB_API_KEY",
                      "optional": true } } },
                  ],
                  "envFrom": [{ "secretRef": {
                    "name": "recac-agent-secrets", "optional": true } }],
                  "terminationMessagePolicy": "FallbackToLogsOnError",
                  "securityContext": { "allowPrivilegeEscalation": false },
                  "resources": { "limits": { "cpu": "1500m", "memory": "1073741824" } },
                  "volumeMounts": [{ "name": "workspace", "mountPath": "/workspace" }],
                }],
              },
            },
          },
        });
        assert_eq!(job(&settings(), &spec()), expected);
    }

    #[test]
    fn an_account_brings_its_token_and_the_word_image_no_command() {
        let mut settings = settings();
        settings.service_account = Some("builder".into());
        settings.pull = PullPolicy::Never;
        let spec = Spec {
            command: None,
            cpus: None,
            memory: None,
            ..spec()
        };
        let job = job(&settings, &spec);
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "builder");
        assert_eq!(pod["automountServiceAccountToken"], true);
        let container = &pod["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Never");
        assert!(container.get("command").is_none() && container.get("resources").is_none());
    }

    /// As the kubelet does it: `third_party/forked/golang/expansion` of
    /// Kubernetes.
    fn expanded(text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let (mut out, mut at) = (String::new(), 0);
        while at < chars.len() {
            let next = chars.get(at + 1);
            let end = chars[at..].iter().position(|c| *c == ')');
            match (chars[at], next, end) {
                ('$', Some('$'), _) => {
                    out.push('$');
                    at += 1;
                }
                ('$', Some('('), Some(end)) => {
                    out.push_str("EXPANDED");
                    at += end;
                }
                (c, ..) => out.push(c),
            }
            at += 1;
        }
        out
    }

    #[test]
    fn whatever_a_ticket_says_arrives_as_it_was() {
        assert_eq!(expanded("$(A) $$(A) $A"), "EXPANDED $(A) $A");
        let alphabet: Vec<char> = "$()AKEY \n\"ä".chars().collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..5000 {
            let n = next() as usize % 16;
            let text: String = (0..n)
                .map(|_| alphabet[next() as usize % alphabet.len()])
                .collect();
            assert_eq!(expanded(&literal(&text)), text);
        }
    }

    #[test]
    fn an_id_is_cut_to_a_lawful_label() {
        for (id, label) in [
            ("RD-42", "RD-42"),
            ("a b/c", "a-b-c"),
            ("-x-", "x"),
            ("ä", ""),
            ("(fix) it_1.", "fix--it_1"),
        ] {
            assert_eq!(label_value(id), label);
        }
        let long = label_value(&format!("{}-{}", "x".repeat(62), "y".repeat(9)));
        assert_eq!(long, "x".repeat(62));
    }

    #[test]
    fn the_backstop_is_behind_every_limit_of_ours_and_a_number_kubernetes_takes() {
        let mut settings = settings();
        settings.agent_timeout = Duration::MAX;
        let job = job(&settings, &spec());
        assert_eq!(job["spec"]["activeDeadlineSeconds"], i32::MAX);
        let after = Duration::from_secs(100);
        assert_eq!(deadline_after(after, Duration::from_secs(600)), 760);
    }
}
