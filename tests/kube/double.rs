//! A double of the API server: plain HTTP on loopback, keeps state, answers
//! as strictly as the recordings beside it ([`replay`] compares the two), and
//! does on command what a real one does not.

mod access;
mod answer;
mod check;
mod default;
mod life;
mod refusal;
mod replay;
mod select;
mod serve;
mod store;
mod wire;

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use self::{
    access::Access,
    answer::Server,
    life::Life,
    serve::connection,
    store::{JOBS, Kind, Namespace, PODS, text},
};
pub use self::{
    life::Agents,
    wire::{Answer, Request},
};

/// The namespace that a new one has.
pub const NAMESPACE: &str = "agents";
/// The token that may do everything.
pub const TOKEN: &str = "token-of-the-double";
/// How often controllers look.
const STEP: Duration = Duration::from_millis(20);

/// What a real server does not do on command.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This is the answer; nothing else happens.
    Answer(Answer),
    /// Nothing is ever answered.
    Hang,
    /// The connection is closed without a word; nothing else happens.
    Close,
    /// It is done, and then the connection is closed without a word.
    Lost,
    /// It is done, and half of the body is sent.
    Cut,
}

impl Fault {
    /// A status, with a body as proxies have them.
    pub fn status(status: u16) -> Fault {
        Fault::Answer(Answer::new(status, "text/html", "<html>no</html>"))
    }

    /// The same, and when to come back, in seconds.
    pub fn busy(status: u16, seconds: u64) -> Fault {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "the server is busy, please try again later",
            "reason": if status == 429 { "TooManyRequests" } else { "ServiceUnavailable" },
            "details": {"retryAfterSeconds": seconds}, "code": status,
        });
        let answer = Answer::json(status, &body);
        Fault::Answer(answer.header("Retry-After", seconds.to_string()))
    }
}

/// Which requests a fault befalls.
type When = Box<dyn Fn(&Request) -> bool + Send>;

struct Armed {
    when: When,
    fault: Fault,
    left: usize,
}

struct State {
    server: Server,
    life: Life,
    faults: Vec<Armed>,
    requests: Vec<Request>,
    /// Those that are open, to be closed from here.
    connections: BTreeMap<usize, TcpStream>,
    connected: usize,
    /// Goes up when all watches have to end.
    watches: usize,
    /// Nobody is let in.
    away: bool,
    over: bool,
    /// Controllers look by themselves.
    lively: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Something has changed.
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It ends when this goes.
pub struct Double {
    shared: Arc<Shared>,
    port: u16,
}

impl Double {
    /// One with the namespace [`NAMESPACE`] and the token [`TOKEN`], whose
    /// pods stay Pending until they are told otherwise.
    pub fn start() -> Double {
        let double = Double::still();
        double.lock().lively = true;
        let shared = Arc::clone(&double.shared);
        thread::spawn(move || {
            loop {
                thread::sleep(STEP);
                let mut state = shared.lock();
                if state.over {
                    return;
                }
                if state.lively {
                    step(&mut state);
                }
                drop(state);
                shared.news.notify_all();
            }
        });
        double
    }

    /// One in which nothing happens but by [`Double::step`].
    pub fn still() -> Double {
        let mut server = Server::new();
        let namespaces = &mut server.store.namespaces;
        namespaces.insert(NAMESPACE.to_owned(), Namespace::default());
        server.tokens.insert(TOKEN.to_owned(), Access::default());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                server,
                life: Life::new(),
                faults: Vec::new(),
                requests: Vec::new(),
                connections: BTreeMap::new(),
                connected: 0,
                watches: 0,
                away: false,
                over: false,
                lively: false,
            }),
            news: Condvar::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accept = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accept.lock().over {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accept);
                thread::spawn(move || connection(&shared, stream));
            }
        });
        Double { shared, port }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes a kubeconfig that leads here, with a token.
    pub fn kubeconfig(&self, path: &Path, user: Value) {
        let config = json!({
            "kind": "Config", "apiVersion": "v1", "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.url()}}],
            "users": [{"name": "double", "user": user}],
            "contexts": [{
                "name": "double",
                "context": {"cluster": "double", "user": "double", "namespace": NAMESPACE}
            }],
        });
        let new = path.with_extension("new");
        std::fs::write(&new, config.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Everybody in the cluster does what is due. They do so by themselves,
    /// but in a still one.
    pub fn step(&self) {
        step(&mut self.lock());
        self.shared.news.notify_all();
    }

    /// Nobody in the cluster does anything by himself any more.
    pub fn rest(&self) {
        self.lock().lively = false;
    }

    /// What agents do without being told.
    pub fn agents(&self, agents: Agents) {
        self.lock().life.agents = agents;
    }

    /// How long a pod takes to end when it is told to.
    pub fn grace(&self, grace: Duration) {
        self.lock().life.grace = grace;
    }

    /// Changes, or makes, a namespace.
    pub fn namespace(&self, name: &str, change: impl FnOnce(&mut Namespace)) {
        let mut state = self.lock();
        change(
            state
                .server
                .store
                .namespaces
                .entry(name.to_owned())
                .or_default(),
        );
    }

    fn objects(&self, kind: &Kind) -> Vec<Value> {
        self.lock().server.store.list(kind, NAMESPACE)
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.objects(JOBS)
    }

    /// The Job of this name.
    #[track_caller]
    pub fn job(&self, name: &str) -> Value {
        let job = self.lock().server.store.get(JOBS, NAMESPACE, name).cloned();
        job.unwrap_or_else(|| panic!("no job {name}"))
    }

    pub fn pods(&self) -> Vec<Value> {
        self.objects(PODS)
    }

    /// An object of another kind, such as the ConfigMap of outcomes.
    pub fn object(&self, group: &str, plural: &str, name: &str) -> Option<Value> {
        let kind = Kind::find(group, plural).unwrap();
        self.lock().server.store.get(kind, NAMESPACE, name).cloned()
    }

    /// Writes an object down, past all rules.
    pub fn put(&self, group: &str, plural: &str, mut object: Value) {
        let kind = Kind::find(group, plural).unwrap();
        object["metadata"]["namespace"] = json!(NAMESPACE);
        let mut state = self.lock();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(state.server.store.uid());
            object["metadata"]["creationTimestamp"] = json!(state.server.store.time());
        }
        state.server.store.put(kind, object);
        drop(state);
        self.shared.news.notify_all();
    }

    fn with_pod(&self, job: &str, act: impl FnOnce(&mut State, &Value)) {
        let mut state = self.lock();
        step(&mut state);
        let found = state.server.store.get(JOBS, NAMESPACE, job).cloned();
        let found = found.unwrap_or_else(|| panic!("no job {job}"));
        let mut pods = life::pods_of(&state.server.store, &found);
        pods.retain(|pod| life::condition(pod, "DisruptionTarget").is_none());
        let pod = pods.pop().unwrap_or_else(|| panic!("no pod of job {job}"));
        act(&mut state, &pod);
        drop(state);
        self.shared.news.notify_all();
    }

    /// The agent of this Job begins.
    pub fn run_job(&self, name: &str) {
        self.with_pod(name, |state, pod| life::begin(&mut state.server.store, pod));
    }

    /// The agent of this Job ends with this exit code.
    pub fn finish_job(&self, name: &str, code: i64) {
        self.with_pod(name, |state, pod| {
            life::finish(&mut state.server.store, pod, code);
        });
    }

    /// The pod of this Job is evicted.
    pub fn evict(&self, name: &str) {
        self.with_pod(name, |state, pod| life::evict(&mut state.server.store, pod));
    }

    /// What the pod of this Job has printed.
    pub fn log(&self, name: &str, words: &str) {
        self.with_pod(name, |state, pod| {
            let key = store::place(pod);
            state.server.logs.insert(key, words.to_owned());
        });
    }

    /// Job, pod and events come into a state of the recorded ones.
    pub fn pod_state(&self, job: &str, case: &str) {
        let recorded = pod_states();
        let mut cases = recorded["cases"].as_array().unwrap().iter();
        let case = cases.find(|c| c["case"] == case).unwrap();
        let mut state = self.lock();
        step(&mut state);
        let State { server, life, .. } = &mut *state;
        let job = server.store.get(JOBS, NAMESPACE, job).cloned().unwrap();
        life.replay(&mut server.store, &job, case);
        drop(state);
        self.shared.news.notify_all();
    }

    /// All requests up to now, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Those of this method whose path ends so.
    pub fn asked(&self, method: &str, end: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|r| r.method == method && r.path.ends_with(end));
        requests
    }

    /// This befalls the next `times` requests of this method whose path holds
    /// this.
    pub fn fault(&self, fault: Fault, method: &'static str, path: &'static str, times: usize) {
        self.fault_when(fault, times, move |request| {
            request.method == method && request.path.contains(path)
        });
    }

    /// This befalls the next `times` requests for which this is so.
    pub fn fault_when(
        &self,
        fault: Fault,
        times: usize,
        when: impl Fn(&Request) -> bool + Send + 'static,
    ) {
        self.lock().faults.push(Armed {
            when: Box::new(when),
            fault,
            left: times,
        });
    }

    /// No fault befalls anybody any more.
    pub fn no_more_faults(&self) {
        self.lock().faults.clear();
    }

    /// Takes a permission away from [`TOKEN`]: a verb and a resource such as
    /// `pods/log`.
    pub fn forbid(&self, verb: &str, resource: &str) {
        let mut state = self.lock();
        for access in state.server.tokens.values_mut() {
            access
                .forbidden
                .insert((verb.to_owned(), resource.to_owned()));
        }
    }

    /// Gives all permissions back.
    pub fn permit_all(&self) {
        for access in self.lock().server.tokens.values_mut() {
            access.forbidden.clear();
        }
    }

    /// From now on this is the one token, and others are not known.
    pub fn only_token(&self, token: &str) {
        let mut state = self.lock();
        state.server.tokens = BTreeMap::from([(token.to_owned(), Access::default())]);
    }

    /// Seconds that the server's clock is ahead from now on.
    pub fn skew(&self, seconds: i64) {
        self.lock().server.store.skew = seconds;
    }

    /// All watches end, as they do when a proxy loses patience.
    pub fn cut_watches(&self) {
        self.lock().watches += 1;
        self.shared.news.notify_all();
    }

    /// What has happened up to now nobody is told any more: 410.
    pub fn expire(&self) {
        let mut state = self.lock();
        // So that whoever is up to date is late, too.
        state.server.store.version += 1;
        state.server.store.forget();
        state.watches += 1;
        drop(state);
        self.shared.news.notify_all();
    }

    /// Every watch of Jobs has this much to tell, of nothing.
    pub fn storm(&self, events: usize) {
        let mut state = self.lock();
        let store = &mut state.server.store;
        let jobs = store.list(JOBS, NAMESPACE);
        for n in 0..events {
            let mut job = jobs[n % jobs.len()].clone();
            let (namespace, name) = store::place(&job);
            // As it is by now.
            if let Some(current) = store.get(JOBS, &namespace, &name) {
                job = current.clone();
            }
            store.put(JOBS, job);
        }
        drop(state);
        self.shared.news.notify_all();
    }

    /// The server is stopped: connections break, new ones are refused.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.away = true;
        for (_, stream) in std::mem::take(&mut state.connections) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The server is there again.
    pub fn resume(&self) {
        self.lock().away = false;
    }

    /// For a report of a failure.
    pub fn report(&self) -> String {
        let state = self.lock();
        let mut words = String::from("--- what the double was asked\n");
        for r in &state.requests {
            let query: Vec<String> = r.query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            words += &format!(
                "{} {}?{} {} [{}]\n",
                r.method,
                r.path,
                query.join("&"),
                r.status,
                r.connection
            );
        }
        for job in state.server.store.list(JOBS, NAMESPACE) {
            words += &format!(
                "job {} {} {}\n",
                text(&job["metadata"]["name"]),
                job["metadata"]["annotations"],
                job["status"]
            );
        }
        for pod in state.server.store.list(PODS, NAMESPACE) {
            words += &format!("pod {} {}\n", text(&pod["metadata"]["name"]), pod["status"]);
        }
        words
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.lock().over = true;
        self.stop();
        self.shared.news.notify_all();
        // The one that accepts is waiting for somebody.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// The recorded states of pods.
pub fn pod_states() -> Value {
    serde_json::from_str(include_str!("recorded/kube-pod-states.json")).unwrap()
}

fn step(state: &mut State) {
    let State { server, life, .. } = state;
    life.step(&mut server.store);
}
