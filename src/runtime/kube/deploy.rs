//! What runs the orchestrator itself in a cluster, for `kubectl apply -f -`.
//! Pure.
//!
//! Never asks for more than is used, and holds no secret: those are taken from
//! a Secret by reference.

use serde_json::{Map, Value, json};

use crate::core::id_hash;

/// What the configuration is made of.
pub struct Deploy<'a> {
    /// `--owner`
    pub owner: &'a str,
    /// `--namespace`, where everything goes then.
    pub namespace: Option<&'a str>,
    /// `--orchestrator-image`
    pub image: &'a str,
    /// The options that were given: long name, name in the environment, value.
    pub given: &'a [(&'static str, &'static str, String)],
    /// `--leader-elect`
    pub leader_elect: bool,
    /// Whether items come from a work file, and not from Jira.
    pub work_file: bool,
    /// The ConfigMap of the outcomes, if that is where they are kept.
    pub outcomes: Option<&'a str>,
    /// What agents are forwarded, `--agent-env` or not: names and values.
    pub forwarded: &'a [(String, String)],
    /// What is given along in files.
    pub files: &'a [File],
}

/// A file that an option names.
pub struct File {
    /// What the option is called in the environment.
    pub variable: &'static str,
    /// Its own name there.
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

/// Options that mean nothing there, or something else.
const LEFT_OUT: [&str; 14] = [
    "mode",
    "work-file",
    "state-dir",
    "job-template",
    "orchestrator-image",
    "kubeconfig",
    "kube-context",
    "docker-arg",
    "docker-binary",
    "once",
    "wait",
    "dry-run",
    "jira-token-file",
    "jira-ca-file",
];

/// What Jira's settings are called in the Secret and in the environment.
const JIRA: [&str; 3] = ["JIRA_URL", "JIRA_USERNAME", "JIRA_API_TOKEN"];
/// Where the binary is in the image.
const BINARY: &str = "/orchestrator";
/// Where things are in the container.
const ITEMS: &str = "/items";
const STATE: &str = "/state";
const FILES: &str = "/files";
/// The key of the work file.
const WORK_KEY: &str = "work_items.json";
/// Somebody who owns nothing.
const NOBODY: u32 = 65532;

/// Everything, as one list.
#[must_use]
pub fn deploy(deploy: &Deploy<'_>) -> Value {
    let mut items = vec![
        deploy.object("v1", "ServiceAccount", &deploy.name(), json!({})),
        deploy.object(
            "rbac.authorization.k8s.io/v1",
            "Role",
            &deploy.name(),
            json!({ "rules": deploy.rules() }),
        ),
        deploy.object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            &deploy.name(),
            json!({
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": deploy.name(),
                },
                "subjects": [{ "kind": "ServiceAccount", "name": deploy.name() }],
            }),
        ),
        deploy.object(
            "v1",
            "ConfigMap",
            &deploy.name(),
            json!({ "data": deploy.options() }),
        ),
    ];
    if !deploy.files.is_empty() {
        let data = json!({ "data": deploy.texts() });
        items.push(deploy.object("v1", "ConfigMap", &deploy.named("-files"), data));
    }
    let spec = json!({ "spec": deploy.deployment() });
    items.push(deploy.object("apps/v1", "Deployment", &deploy.name(), spec));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// Why this owner cannot have names of its own beside those of others, if so.
#[must_use]
pub fn is_taken(owner: &str) -> Option<String> {
    let first = owner.split('-').next()?;
    let taken = ["files", "outcomes", "work"].contains(&first);
    taken.then(|| {
        format!("--owner {owner}: recac-orchestrator-{owner} may be a name of another owner's")
    })
}

/// The Lease of an owner's replicas.
#[must_use]
pub fn lease(owner: &str) -> String {
    format!("recac-orchestrator-{owner}")
}

impl Deploy<'_> {
    fn name(&self) -> String {
        self.named("")
    }

    fn named(&self, what: &str) -> String {
        match self.owner {
            "default" => format!("recac-orchestrator{what}"),
            owner => format!("recac-orchestrator{what}-{owner}"),
        }
    }

    fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/name": "recac-orchestrator",
            "app.kubernetes.io/instance": self.name(),
        })
    }

    fn object(&self, version: &str, kind: &str, name: &str, rest: Value) -> Value {
        let mut meta = Map::new();
        meta.insert("name".to_owned(), json!(name));
        meta.insert("labels".to_owned(), self.labels());
        if let Some(namespace) = self.namespace {
            meta.insert("namespace".to_owned(), json!(namespace));
        }
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), json!(version));
        object.insert("kind".to_owned(), json!(kind));
        object.insert("metadata".to_owned(), Value::Object(meta));
        if let Value::Object(rest) = rest {
            object.extend(rest);
        }
        Value::Object(object)
    }

    /// No more than what is called.
    fn rules(&self) -> Vec<Value> {
        let rule = |group: &str, what: &str, verbs: &[&str]| json!({ "apiGroups": [group], "resources": [what], "verbs": verbs });
        let named = |group: &str, what: &str, verbs: &[&str], name: &str| {
            json!({
                "apiGroups": [group], "resources": [what], "verbs": verbs,
                "resourceNames": [name],
            })
        };
        let mut rules = vec![
            rule(
                "batch",
                "jobs",
                &["create", "delete", "get", "list", "patch", "watch"],
            ),
            rule("", "pods", &["list"]),
            rule("", "pods/log", &["get"]),
            rule("", "events", &["list"]),
        ];
        if let Some(name) = self.outcomes.filter(|_| self.work_file) {
            rules.push(rule("", "configmaps", &["create"]));
            rules.push(named("", "configmaps", &["get", "patch"], name));
        }
        if self.leader_elect {
            let (group, what) = ("coordination.k8s.io", "leases");
            rules.push(rule(group, what, &["create"]));
            rules.push(named(group, what, &["get", "update"], &lease(self.owner)));
        }
        rules
    }

    fn texts(&self) -> Map<String, Value> {
        let texts = self.files.iter();
        texts
            .map(|file| (file.name.to_owned(), json!(file.text)))
            .collect()
    }

    /// The options as variables.
    fn options(&self) -> Map<String, Value> {
        let given = self.given.iter();
        let kept = given.filter(|(long, ..)| !LEFT_OUT.contains(long));
        let mut options: Map<String, Value> = kept
            .map(|(_, name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        for (name, value) in self.forwarded {
            options.entry(name.clone()).or_insert(json!(value));
        }
        let mut set = |name: &str, value: &str| options.insert(name.to_owned(), json!(value));
        set("RECAC_ORCHESTRATOR_MODE", "k8s");
        set("RECAC_STATE_DIR", STATE);
        if self.work_file {
            set("RECAC_WORK_FILE", &format!("{ITEMS}/{WORK_KEY}"));
        }
        for file in self.files {
            set(file.variable, &format!("{FILES}/{}", file.name));
        }
        options
    }

    fn deployment(&self) -> Value {
        // Two without an election would only be in each other's way.
        let (replicas, strategy) = match self.leader_elect {
            true => (2, "RollingUpdate"),
            false => (1, "Recreate"),
        };
        // A change of the options starts it anew.
        let config = json!([self.options(), self.texts()]).to_string();
        json!({
            "replicas": replicas,
            "strategy": { "type": strategy },
            "selector": { "matchLabels": self.labels() },
            "template": {
                "metadata": {
                    "labels": self.labels(),
                    "annotations": { "recac.io/config": id_hash(&config) },
                },
                "spec": self.pod(),
            },
        })
    }

    fn pod(&self) -> Value {
        let mut volumes = vec![json!({ "name": "state", "emptyDir": {} })];
        let mut mounts = vec![json!({ "name": "state", "mountPath": STATE })];
        let mut env = vec![json!({
            "name": "POD_NAME",
            "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } },
        })];
        if self.work_file {
            let map = json!({ "name": self.named("-work"), "optional": true });
            volumes.push(json!({ "name": "items", "configMap": map }));
            mounts.push(json!({ "name": "items", "mountPath": ITEMS, "readOnly": true }));
        } else {
            env.extend(JIRA.map(|key| {
                let from = json!({ "name": self.name(), "key": key, "optional": true });
                json!({ "name": key, "valueFrom": { "secretKeyRef": from } })
            }));
        }
        if !self.files.is_empty() {
            let map = json!({ "name": self.named("-files") });
            volumes.push(json!({ "name": "files", "configMap": map }));
            mounts.push(json!({ "name": "files", "mountPath": FILES, "readOnly": true }));
        }
        json!({
            "serviceAccountName": self.name(),
            "enableServiceLinks": false,
            // What is in hand may end, and the lead is given away.
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "fsGroup": NOBODY,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "orchestrator",
                "image": self.image,
                "command": [BINARY],
                "envFrom": [{ "configMapRef": { "name": self.name() } }],
                "env": env,
                "livenessProbe": {
                    "exec": { "command": [BINARY, "healthy"] },
                    "initialDelaySeconds": 10,
                    "periodSeconds": 30,
                    "timeoutSeconds": 5,
                },
                "resources": {
                    "requests": { "cpu": "10m", "memory": "32Mi" },
                    "limits": { "memory": "256Mi" },
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(given: &'a [(&'static str, &'static str, String)]) -> Deploy<'a> {
        Deploy {
            owner: "default",
            namespace: None,
            image: "registry.example/orchestrator:1",
            given,
            leader_elect: false,
            work_file: true,
            outcomes: Some("recac-orchestrator-outcomes"),
            forwarded: &[],
            files: &[],
        }
    }

    fn object<'a>(list: &'a Value, kind: &str) -> Vec<&'a Value> {
        let items = list["items"].as_array().unwrap();
        items.iter().filter(|item| item["kind"] == kind).collect()
    }

    fn rules(list: &Value) -> Vec<String> {
        let rules = object(list, "Role")[0]["rules"].as_array().unwrap();
        rules
            .iter()
            .map(|rule| {
                let verbs = rule["verbs"].as_array().unwrap();
                let verbs: Vec<&str> = verbs.iter().map(|v| v.as_str().unwrap()).collect();
                let what = rule["resources"][0].as_str().unwrap();
                let name = rule["resourceNames"][0].as_str().unwrap_or("*");
                format!("{what} {name}: {}", verbs.join(" "))
            })
            .collect()
    }

    #[test]
    fn the_role_holds_what_is_called_and_no_more() {
        let jobs = "jobs *: create delete get list patch watch";
        let mut plain = of(&[]);
        let pods = ["pods *: list", "pods/log *: get", "events *: list"];
        let maps = [
            "configmaps *: create",
            "configmaps recac-orchestrator-outcomes: get patch",
        ];
        let expected = [&[jobs][..], &pods, &maps].concat();
        assert_eq!(rules(&deploy(&plain)), expected);
        let text = deploy(&plain).to_string();
        assert!(!text.contains("\"*\"") && !text.contains("secrets"));
        plain.leader_elect = true;
        plain.work_file = false;
        let leases = [
            "leases *: create",
            "leases recac-orchestrator-default: get update",
        ];
        assert_eq!(
            rules(&deploy(&plain)),
            [&[jobs][..], &pods, &leases].concat()
        );
    }

    #[test]
    fn options_that_mean_something_there_are_kept() {
        let given = [
            ("poller", "RECAC_POLLER", "file".to_owned()),
            ("max-agents", "RECAC_MAX_AGENTS", "9".to_owned()),
            ("state-dir", "RECAC_STATE_DIR", "/home/me".to_owned()),
            (
                "kubeconfig",
                "KUBECONFIG",
                "/home/me/.kube/config".to_owned(),
            ),
            ("dry-run", "RECAC_DRY_RUN", "true".to_owned()),
        ];
        let list = deploy(&of(&given));
        let data = &object(&list, "ConfigMap")[0]["data"];
        let expected = json!({
            "RECAC_POLLER": "file", "RECAC_MAX_AGENTS": "9",
            "RECAC_ORCHESTRATOR_MODE": "k8s", "RECAC_STATE_DIR": "/state",
            "RECAC_WORK_FILE": "/items/work_items.json",
        });
        assert_eq!(*data, expected);
        // A change of them starts it anew.
        let hash = |list: &Value| {
            object(list, "Deployment")[0]["spec"]["template"]["metadata"]["annotations"].clone()
        };
        assert_ne!(hash(&list), hash(&deploy(&of(&[]))));
    }

    #[test]
    fn another_owner_has_everything_under_its_own_name() {
        let mut other = of(&[]);
        other.owner = "b";
        other.namespace = Some("agents");
        let files = [File {
            variable: "RECAC_JOB_TEMPLATE",
            name: "job-template.json",
            text: "{}".into(),
        }];
        other.files = &files;
        other.leader_elect = true;
        let list = deploy(&other);
        for item in list["items"].as_array().unwrap() {
            let name = item["metadata"]["name"].as_str().unwrap();
            assert!(name.ends_with("-b"), "{name}");
            assert_eq!(item["metadata"]["namespace"], "agents");
        }
        let text = list.to_string();
        for name in ["recac-orchestrator-work-b", "recac-orchestrator-files-b"] {
            assert!(text.contains(name), "{name}");
        }
        let spec = &object(&list, "Deployment")[0]["spec"];
        assert_eq!(spec["replicas"], 2);
        assert_eq!(object(&list, "ConfigMap").len(), 2);
        assert_eq!(
            object(&list, "ConfigMap")[0]["data"]["RECAC_JOB_TEMPLATE"],
            "/files/job-template.json"
        );
        for (owner, taken) in [
            ("work", true),
            ("files-b", true),
            ("works", false),
            ("b", false),
        ] {
            assert_eq!(is_taken(owner).is_some(), taken, "{owner}");
        }
    }

    #[test]
    fn what_agents_are_forwarded_is_there_unless_an_option_says_otherwise() {
        let given = [("model", "RECAC_MODEL", "m".to_owned())];
        let forwarded = [("A".into(), "1".into()), ("RECAC_MODEL".into(), "n".into())];
        let mut both = of(&given);
        both.forwarded = &forwarded;
        let list = deploy(&both);
        let data = &object(&list, "ConfigMap")[0]["data"];
        assert_eq!(
            (&data["A"], &data["RECAC_MODEL"]),
            (&json!("1"), &json!("m"))
        );
    }

    #[test]
    fn jira_is_known_by_a_secret_alone() {
        let mut jira = of(&[]);
        jira.work_file = false;
        let list = deploy(&jira);
        let pod = &object(&list, "Deployment")[0]["spec"]["template"]["spec"];
        let env = pod["containers"][0]["env"].as_array().unwrap();
        let token = env
            .iter()
            .find(|var| var["name"] == "JIRA_API_TOKEN")
            .unwrap();
        let expected = json!({
            "name": "recac-orchestrator", "key": "JIRA_API_TOKEN", "optional": true,
        });
        assert_eq!(token["valueFrom"]["secretKeyRef"], expected);
        assert!(!pod.to_string().contains(ITEMS));
    }
}
