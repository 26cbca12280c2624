//! Against a real Kubernetes: that of `$RECAC_TEST_KUBECONFIG`, which
//! `scripts/test-kube` sets. A namespace for each test, and in it the
//! orchestrator as the service account that `orchestrator manifest` prints,
//! with the permissions of its Role and no others.

mod cluster;
mod given;
mod leader;
mod life;
mod load;
mod states;

use std::{
    fs,
    ops::Deref,
    path::PathBuf,
    sync::{Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde_json::{Value, json};

use crate::{
    docker::say,
    kube,
    world::{Orchestrator, World},
};

/// Whoever takes the cluster away, or all of its node, has it to himself.
static CLUSTER: RwLock<()> = RwLock::new(());

enum Turn {
    Shared {
        _guard: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _guard: RwLockWriteGuard<'static, ()>,
    },
}

/// A world with a namespace of a real cluster.
pub struct Kube {
    world: World,
    pub namespace: String,
    /// An image with a shell, which nodes have.
    pub image: String,
    admin: PathBuf,
    turn: Turn,
}

impl Deref for Kube {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Kube {
    /// None where no cluster is given: then the test is skipped, but never in
    /// CI.
    pub fn new(test: &str) -> Option<Kube> {
        let (admin, image) = given()?;
        let guard = CLUSTER.read().unwrap_or_else(PoisonError::into_inner);
        Some(Kube::with(
            test,
            admin,
            image,
            Turn::Shared { _guard: guard },
        ))
    }

    /// The same, and no other test uses the cluster meanwhile.
    pub fn alone(test: &str) -> Option<Kube> {
        let (admin, image) = given()?;
        let guard = CLUSTER.write().unwrap_or_else(PoisonError::into_inner);
        Some(Kube::with(
            test,
            admin,
            image,
            Turn::Alone { _guard: guard },
        ))
    }

    /// The same with the directory of the cluster, parts of which may be
    /// stopped. None where the cluster is not ours, too.
    pub fn owned(test: &str) -> Option<(Kube, PathBuf)> {
        given()?;
        let Some(dir) = std::env::var_os("RECAC_TEST_CLUSTER") else {
            say("skipped: an API server that goes away, for this cluster is somebody's");
            return None;
        };
        Some((Kube::alone(test)?, PathBuf::from(dir)))
    }

    fn with(test: &str, admin: PathBuf, image: String, turn: Turn) -> Kube {
        let world = World::new(test);
        let namespace = world.owner.clone();
        let kube = Kube {
            world,
            namespace,
            image,
            admin,
            turn,
        };
        kube.kubectl(&["create", "namespace", &kube.namespace]);
        let (config, namespace) = (kube.admin.clone(), kube.namespace.clone());
        let kubectl = move |world: &World, args: &[&str]| {
            let config = format!("--kubeconfig={}", config.display());
            let args: Vec<&str> = [&config as &str].iter().chain(args).copied().collect();
            world.try_call("kubectl", &args).unwrap_or_else(|e| e)
        };
        let look = (kubectl.clone(), namespace.clone());
        kube.on_failure(move |world| {
            let (kubectl, namespace) = &look;
            let objects = "jobs,pods,configmaps,leases";
            let get = kubectl(
                world,
                &["get", objects, "--namespace", namespace, "-o", "wide"],
            );
            let events = kubectl(world, &["get", "events", "--namespace", namespace]);
            let map = format!("configmap/recac-orchestrator-outcomes-{}", world.owner);
            let map = kubectl(
                world,
                &["get", &map, "--namespace", namespace, "-o", "yaml"],
            );
            format!("--- what is in the namespace\n{get}\n{events}\n{map}")
        });
        // Whoever had it to himself may leave much behind, and gives it back
        // as it was.
        let wait = matches!(kube.turn, Turn::Alone { .. });
        kube.at_end(move |world| {
            let wait = format!("--wait={wait}");
            kubectl(
                world,
                &[
                    "delete",
                    "namespace",
                    &namespace,
                    "--ignore-not-found",
                    &wait,
                ],
            );
        });
        kube.identity();
        kube
    }

    /// The service account of the orchestrator, and what it may do: what
    /// `manifest` prints, without the Deployment.
    fn identity(&self) {
        let printed = self.manifest(&["--leader-elect"]);
        let mut items = printed["items"].as_array().unwrap().clone();
        items.retain(|item| {
            let kind = item["kind"].as_str().unwrap();
            matches!(kind, "ServiceAccount" | "Role" | "RoleBinding")
        });
        assert_eq!(items.len(), 3, "{printed}");
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
        let token = self.token();
        self.kubeconfig(&json!({"token": token}));
    }

    /// What `manifest` prints for this namespace, as a list.
    pub fn manifest(&self, args: &[&str]) -> Value {
        let mut command = self.command(env!("CARGO_BIN_EXE_orchestrator"));
        command.args(["manifest", "--poller=file", "--mode=k8s"]);
        command.arg(format!("--orchestrator-image={}", self.image));
        command.arg(format!("--namespace={}", self.namespace));
        command.arg(format!("--owner={}", self.owner));
        command.args(args);
        let text = crate::world::output(command, crate::world::PATIENCE).unwrap();
        let path = self.path("manifest");
        fs::write(&path, &text).unwrap();
        let file = path.display().to_string();
        let list = self.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", &file]);
        // One after the other, and not as a list.
        let items = serde_json::Deserializer::from_str(&list).into_iter();
        let items: Vec<Value> = items.collect::<Result<_, _>>().unwrap();
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    /// The name that `manifest` gives to all.
    pub fn account(&self) -> String {
        format!("recac-orchestrator-{}", self.owner)
    }

    /// A new token of the orchestrator.
    pub fn token(&self) -> String {
        let token = self.kubectl(&["create", "token", &self.account()]);
        token.trim().to_owned()
    }

    /// The kubeconfig of the admin.
    pub fn admin(&self) -> Value {
        let view = [
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
        ];
        serde_json::from_str(&self.kubectl(&view)).unwrap()
    }

    /// Writes the kubeconfig of the orchestrator, for which it is this user.
    pub fn kubeconfig(&self, user: &Value) {
        self.kubeconfig_of(user, |_| {});
    }

    /// The same with another cluster.
    pub fn kubeconfig_of(&self, user: &Value, change: impl FnOnce(&mut Value)) {
        let mut config = self.admin();
        change(&mut config["clusters"][0]["cluster"]);
        config["users"][0]["user"] = user.clone();
        let path = self.path("kubeconfig");
        let new = self.path("kubeconfig.new");
        fs::write(&new, config.to_string()).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// A command line of the program with everything it needs.
    pub fn orchestrator(&self) -> Orchestrator<'_> {
        self.world
            .orchestrator()
            .arg("--mode=k8s")
            .arg(format!("--namespace={}", self.namespace))
            .arg(format!(
                "--kubeconfig={}",
                self.path("kubeconfig").display()
            ))
            .arg(format!("--image={}", self.image))
            .arg(match std::env::var_os("RECAC_TEST_ORCHESTRATOR") {
                Some(_) => "--image-pull-policy=Never",
                None => "--image-pull-policy=IfNotPresent",
            })
    }

    /// Writes a file for `--job-template` and gives the argument.
    pub fn template(&self, template: &Value) -> String {
        let path = self.path("template.json");
        fs::write(&path, template.to_string()).unwrap();
        format!("--job-template={}", path.display())
    }

    /// kubectl as the admin, in the namespace of this world. It has to succeed.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        match self.try_kubectl(args) {
            Ok(stdout) => stdout,
            Err(why) => panic!("{why}"),
        }
    }

    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let config = format!("--kubeconfig={}", self.admin.display());
        let namespace = format!("--namespace={}", self.namespace);
        let mut all = vec![config.as_str(), namespace.as_str()];
        all.extend(args);
        self.try_call("kubectl", &all)
    }

    /// Makes or changes an object.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        let path = self.path("apply.json");
        fs::write(&path, object.to_string()).unwrap();
        self.kubectl(&["apply", "-f", &path.display().to_string()]);
    }

    /// All objects of a kind in the namespace.
    #[track_caller]
    pub fn all(&self, kind: &str) -> Vec<Value> {
        let list: Value =
            serde_json::from_str(&self.kubectl(&["get", kind, "-o", "json"])).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The one object of this name, such as `job/recac-agent-a-1-1`.
    pub fn one(&self, name: &str) -> Option<Value> {
        let args = ["get", name, "-o", "json", "--ignore-not-found"];
        serde_json::from_str(&self.kubectl(&args)).ok()
    }

    /// The runs of this item, by number.
    pub fn jobs(&self, id: &str) -> Vec<Value> {
        let mut jobs = self.all("jobs");
        jobs.retain(|job| kube::mark(job, "recac.io/item-id") == id);
        jobs
    }

    /// The pod of this item that runs.
    #[track_caller]
    pub fn running(&self, id: &str) -> String {
        self.until(&format!("an agent of {id} runs"), || {
            let jobs = self.jobs(id);
            let of = |pod: &Value| {
                jobs.iter().any(|job| {
                    pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
                })
            };
            let pods = self.all("pods");
            let mut pods = pods.iter().filter(|pod| {
                of(pod)
                    && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
                    && pod["metadata"]["deletionTimestamp"].is_null()
            });
            pods.next().map(|pod| kube::name(pod).to_owned())
        })
    }

    /// Waits until the first run of this item has ended well.
    #[track_caller]
    pub fn succeeds(&self, id: &str) {
        self.wait_for("it has ended", || {
            self.jobs(id)[0]["status"]["succeeded"] == 1
        });
    }

    /// Lets the agent in this pod go that waits for this word.
    #[track_caller]
    pub fn give(&self, pod: &str, word: &str) {
        let path = format!("/workspace/{word}");
        self.kubectl(&["exec", pod, "--container=agent", "--", "touch", &path]);
    }

    /// The outcomes in the ConfigMap.
    pub fn outcomes(&self) -> Vec<Value> {
        let name = format!("configmap/recac-orchestrator-outcomes-{}", self.owner);
        kube::outcomes(&self.one(&name).unwrap_or_default())
    }

    /// The one outcome of this item.
    #[track_caller]
    pub fn outcome(&self, id: &str) -> Value {
        kube::outcome(self.outcomes(), id)
    }

    /// The one outcome of this item: it ended so, after so many attempts.
    #[track_caller]
    pub fn assert_ended(&self, id: &str, end: &str, attempts: usize) -> Value {
        let outcome = self.outcome(id);
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"]),
            (&json!(end), &json!(attempts)),
            "{outcome}"
        );
        outcome
    }

    /// All runs that ended have been told of, and none goes on.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        for job in self.all("jobs") {
            let ttl = &job["spec"]["ttlSecondsAfterFinished"];
            assert!(ttl.is_number(), "not told of: {job}");
        }
    }

    /// Containers of one item, as far as their pods are there: when each
    /// began and ended. None of them overlap.
    #[track_caller]
    pub fn assert_never_two_at_once(&self) {
        let mut lives = vec![];
        for pod in self.all("pods") {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            let job = pod["metadata"]["labels"]["job-name"]
                .as_str()
                .unwrap_or_default();
            let item = job.rsplit_once('-').map_or("", |(item, _)| item).to_owned();
            let time = |value: &Value| value.as_str().unwrap_or("9").to_owned();
            let (begun, ended) = match state["terminated"].is_object() {
                true => (
                    time(&state["terminated"]["startedAt"]),
                    time(&state["terminated"]["finishedAt"]),
                ),
                false => (time(&state["running"]["startedAt"]), "9".to_owned()),
            };
            lives.push((item, begun, ended));
        }
        lives.sort();
        for pair in lives.windows(2) {
            let ((item, _, ended), (other, begun, _)) = (&pair[0], &pair[1]);
            assert!(item != other || ended <= begun, "two at once: {lives:?}");
        }
    }
}

/// The admin's kubeconfig and the image of the tests.
fn given() -> Option<(PathBuf, String)> {
    let config = std::env::var_os("RECAC_TEST_KUBECONFIG");
    let image = std::env::var("RECAC_TEST_IMAGE").ok();
    let (Some(config), Some(image)) = (config, image) else {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "no cluster is given; scripts/test-kube does that");
        static SAY: Once = Once::new();
        SAY.call_once(|| say("skipped: the tests of Kubernetes; scripts/test-kube runs them"));
        return None;
    };
    Some((PathBuf::from(config), image))
}
