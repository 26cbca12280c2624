//! Runs as Jobs of Kubernetes, by plain calls of its API server.
//!
//! Never takes a decision from the words of a message: what happened is looked
//! up. Never deletes a Job, but one that is suspended and can end in no other
//! way.

pub mod access;
pub mod client;
pub mod config_map;
pub mod deploy;
pub mod lease;
pub mod manifest;
pub mod skew;
pub mod state;
pub mod template;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Refused, TAIL, claim};
use crate::{
    agent::{self, Spec},
    clock,
    core::{Removal, Run, Stamp, State, Stop},
    http::Method,
    redact::{Redactor, last_lines},
    state::{self as files, StateDir},
};
use client::{Call, Client, Error, JSON, MERGE, escaped};
use config_map::ConfigMap;
use lease::Lease;
use manifest::{AGENT, REPORTED, STOP, Settings};
use state::{Event, Job, Need, Pod, StopNote, is_vague};

/// For saving a log, which may be large.
const SAVING: Duration = Duration::from_secs(600);
/// Bytes of a log that are saved at most.
const SAVED: usize = 64 << 20;
/// Lines of a log that are read for its last ones.
const LINES: usize = 200;
/// What of a tail fits beside why a run was stopped.
const NOTE: usize = 8 * 1024;
/// Its lines.
const NOTE_LINES: usize = 50;
/// A Job this large is refused for what its item makes of it, whatever the
/// server calls it: etcd takes 1.5 MiB, in another form.
const LARGE: usize = 1 << 20;
/// Jobs whose pods are asked for by name; of more, all pods are.
const NAMED: usize = 40;
/// By how much the backstop may lie before our own limit until it is moved.
const SLACK: u64 = 30;

/// The Jobs of one owner.
pub struct Kube {
    client: Arc<Client>,
    lease: Option<Lease>,
    settings: Settings,
    owner: String,
    keep_finished: Duration,
    state: StateDir,
    redactor: Arc<RwLock<Redactor>>,
    /// Whether nothing may be changed.
    dry_run: bool,
    memory: Mutex<Memory>,
    /// That there is a list a watch can go on from.
    listed: Condvar,
}

/// What was seen at the last look. Losing it costs a look.
#[derive(Default)]
struct Memory {
    /// By uid.
    seen: BTreeMap<String, Arc<Seen>>,
    /// Where a watch goes on from; empty if that is not known.
    version: String,
    /// When that was.
    looked: Stamp,
    strangers: BTreeSet<claim::Stranger>,
    /// What we were not allowed to read.
    denied: BTreeSet<&'static str>,
}

/// A run as it was seen last.
#[derive(Clone)]
struct Seen {
    run: Run,
    /// Of the Job.
    version: String,
    /// Nothing more is to be learnt while the Job does not change.
    settled: bool,
    suspended: bool,
    /// The pod that counts.
    pod: Option<String>,
    /// Its agent's last word.
    message: Option<String>,
    /// What was kept of it when it was stopped.
    kept: Option<StopNote>,
    /// When a pod was last seen.
    alive: Option<Stamp>,
}

impl Seen {
    /// When a pod of it was last seen. One that is settled was there as long
    /// as its Job did not change.
    fn alive(&self, looked: Stamp) -> Option<Stamp> {
        match self.run.state {
            State::Running { .. } if self.settled => Some(looked),
            State::Running { .. }
            | State::Pending { .. }
            | State::Ended { .. }
            | State::Unborn
            | State::Told => self.alive,
        }
    }
}

/// What is the same for all runs.
pub struct Setup {
    /// The API server.
    pub client: Arc<Client>,
    /// With `--leader-elect`: what decides whether anything is changed.
    pub lease: Option<Lease>,
    /// What every Job is made with.
    pub settings: Settings,
    /// `--owner`
    pub owner: String,
    /// `--keep-finished`
    pub keep_finished: Duration,
    /// Where logs are saved.
    pub state: StateDir,
    /// What is taken out of what is written to the cluster.
    pub redactor: Arc<RwLock<Redactor>>,
    /// `--dry-run`
    pub dry_run: bool,
}

impl Kube {
    /// The Jobs of an owner; nothing is asked yet.
    #[must_use]
    pub fn new(setup: Setup) -> Kube {
        Kube {
            client: setup.client,
            lease: setup.lease,
            settings: setup.settings,
            owner: setup.owner,
            keep_finished: setup.keep_finished,
            state: setup.state,
            redactor: setup.redactor,
            dry_run: setup.dry_run,
            memory: Mutex::default(),
            listed: Condvar::new(),
        }
    }

    /// The Job that would start `spec`, as it is posted.
    #[must_use]
    pub fn job(&self, spec: &Spec) -> Value {
        manifest::job(&self.settings, spec)
    }

    /// A ConfigMap beside the Jobs.
    #[must_use]
    pub fn config_map(&self, name: &str) -> ConfigMap {
        ConfigMap::new(
            Arc::clone(&self.client),
            &self.core("configmaps"),
            name,
            &self.owner,
        )
    }

    /// Whether we are the replica that acts.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.client.leads()
    }

    /// Stands for election, if there is one, and calls `changed` with each
    /// change of who leads; comes back when that is over.
    pub fn stand(&self, changed: impl Fn()) {
        if let Some(lease) = &self.lease {
            lease.stand(changed);
        }
    }

    /// Gives the lead away, if we have it.
    pub fn close(&self) {
        if let Some(lease) = &self.lease {
            lease.close();
        }
    }

    fn jobs(&self) -> String {
        format!("/apis/batch/v1/namespaces/{}/jobs", self.settings.namespace)
    }

    fn job_path(&self, name: &str) -> String {
        format!("{}/{name}", self.jobs())
    }

    fn core(&self, what: &str) -> String {
        format!("/api/v1/namespaces/{}/{what}", self.settings.namespace)
    }

    /// The part of a query that asks for what is this owner's.
    fn ours(&self) -> String {
        let labels = format!(
            "{}={},{}={}",
            agent::MANAGED_BY,
            agent::MANAGER,
            agent::OWNER,
            self.owner
        );
        format!("labelSelector={}", escaped(&labels))
    }

    /// All runs of this owner.
    ///
    /// # Errors
    /// If the API server does not say so for certain.
    pub fn list(&self, now: Stamp) -> Result<Vec<Run>, String> {
        let (jobs, version) = self
            .client
            .list::<Job>(&self.jobs(), &self.ours())
            .map_err(|e| e.to_string())?;
        // All times of Jobs and pods are the server's.
        let skew = self.client.skew();
        let now = skew.theirs(now);
        let (before, looked) = {
            let memory = lock(&self.memory);
            (memory.seen.clone(), memory.looked)
        };
        let alive = |uid: &str| before.get(uid).and_then(|last| last.alive(looked));
        let mut seen = BTreeMap::new();
        let mut open = Vec::new();
        let mut listed = BTreeSet::new();
        for job in jobs {
            listed.insert(job.metadata.uid.clone());
            let last = before.get(&job.metadata.uid);
            let known = last.filter(|last| last.version == job.metadata.resource_version);
            match known.filter(|last| last.settled) {
                Some(last) => {
                    seen.insert(job.metadata.uid, Arc::clone(last));
                }
                None => open.extend(self.claimed(&job).map(|run| (job, run))),
            }
        }
        // Somebody deleted these; their pods may still have to end.
        let mut ghosts: Vec<&Arc<Seen>> = before
            .iter()
            .filter(|(uid, last)| !listed.contains(*uid) && last.run.is_live())
            .map(|(_, last)| last)
            .collect();
        let asked = open.iter().filter(|(job, _)| job.need() != Need::Nothing);
        let asked = asked.map(|(job, _)| job.metadata.name.as_str());
        let names: Vec<&str> = asked
            .chain(ghosts.iter().map(|g| g.run.name.as_str()))
            .collect();
        let (pods, whole) = self.pods(&names)?;
        let none = Vec::new();
        let of = |uid: &str| pods.get(uid).unwrap_or(&none);
        ghosts.retain(|ghost| of(&ghost.run.uid).iter().any(|pod| !pod.is_over()));

        let mut states: Vec<State> = open
            .iter()
            .map(|(job, _)| {
                let uid = &job.metadata.uid;
                job.state(of(uid), &[], alive(uid))
            })
            .collect();
        if states.iter().any(is_vague) {
            let events = self.events();
            for ((job, _), state) in open.iter().zip(&mut states).filter(|(_, s)| is_vague(s)) {
                let uid = &job.metadata.uid;
                *state = job.state(of(uid), &events, alive(uid));
            }
        }
        for ((job, mut run), state) in open.into_iter().zip(states) {
            run.state = state;
            run.stop = job.stop();
            let uid = &job.metadata.uid;
            let mut new = self.look(&job, run, of(uid), whole);
            let live = of(uid).iter().any(|pod| !pod.is_over());
            new.alive = live.then_some(now).or_else(|| alive(uid));
            seen.insert(job.metadata.uid, Arc::new(new));
        }
        for ghost in ghosts {
            seen.insert(ghost.run.uid.clone(), Arc::clone(ghost));
        }
        let runs = seen.values().map(|seen| seen.run.clone()).map(|run| Run {
            state: skew.ours(run.state),
            ..run
        });
        let runs = runs.collect();
        let mut memory = lock(&self.memory);
        memory.seen = seen;
        memory.version = version;
        memory.looked = now;
        drop(memory);
        self.listed.notify_all();
        Ok(runs)
    }

    /// The run of a Job that looks like ours; `None` if it is not.
    fn claimed(&self, job: &Job) -> Option<Run> {
        let meta = &job.metadata;
        match claim::read(&self.owner, &meta.name, &meta.uid, |key| meta.mark(key)) {
            Ok(run) => Some(run),
            Err(stranger) => {
                if lock(&self.memory).strangers.insert(stranger.clone()) {
                    log::error!(job_name = stranger.name;
                        "left alone: not a run of ours: {}", stranger.why);
                }
                None
            }
        }
    }

    /// What is kept in mind of a run, its backstop moved out if need be.
    fn look(&self, job: &Job, run: Run, pods: &[Pod], whole: bool) -> Seen {
        let pod = pods.iter().max_by_key(|pod| (!pod.is_over(), pod.age()));
        let in_time = self.keep_backstop(job, &run);
        let settled = match run.state {
            State::Running { .. } => job.need() == Need::PodsOnce && !pods.is_empty(),
            State::Ended { .. } => job.has_ended(),
            State::Told => true,
            State::Pending { .. } | State::Unborn => false,
        };
        Seen {
            settled: settled && in_time && whole,
            version: job.metadata.resource_version.clone(),
            suspended: job.spec.suspend == Some(true),
            pod: pod.map(|pod| pod.metadata.name.clone()),
            message: pod.and_then(|pod| pod.message().map(str::to_owned)),
            kept: job.stop_note(),
            alive: None,
            run,
        }
    }

    /// The pods of the Jobs of these names, by the uid of their Job, and
    /// whether we may see them.
    fn pods(&self, names: &[&str]) -> Result<(BTreeMap<String, Vec<Pod>>, bool), String> {
        let mut of: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        if names.is_empty() {
            return Ok((of, true));
        }
        let query = match names.len() {
            0..=NAMED => {
                let names = names.join(",");
                let labels = format!("batch.kubernetes.io/job-name in ({names})");
                format!("labelSelector={}", escaped(&labels))
            }
            _ => self.ours(),
        };
        let pods = match self.client.list::<Pod>(&self.core("pods"), &query) {
            Ok((pods, _)) => pods,
            Err(e) if e.is(403) => {
                self.denied("pods", &e);
                return Ok((of, false));
            }
            Err(e) => return Err(e.to_string()),
        };
        for pod in pods {
            let owner = pod.metadata.owner_references.first();
            if let Some(uid) = owner.map(|owner| owner.uid.clone()) {
                of.entry(uid).or_default().push(pod);
            }
        }
        Ok((of, true))
    }

    /// Warnings of this namespace. Without them a reason is missing, and
    /// nothing else.
    fn events(&self) -> Vec<Event> {
        let query = format!("fieldSelector={}", escaped("type=Warning"));
        match self.client.list::<Event>(&self.core("events"), &query) {
            Ok((events, _)) => events,
            Err(e) => {
                self.denied("events", &e);
                vec![]
            }
        }
    }

    /// Says once that something cannot be read which only says why.
    fn denied(&self, what: &'static str, e: &Error) {
        if lock(&self.memory).denied.insert(what) {
            log::warn!("cannot read {what}, which would say why agents do not start: {e}");
        }
    }

    /// Moves the Job's own deadline out where it would strike before ours: a
    /// pod was replaced, and time has passed. False if that is still to be done.
    fn keep_backstop(&self, job: &Job, run: &Run) -> bool {
        let settings = &self.settings;
        let by_template = settings
            .template
            .as_ref()
            .is_some_and(|t| t.sets_deadline());
        let left = match run.state {
            State::Running { .. } => settings.agent_timeout,
            State::Pending {
                suspended: false, ..
            } => settings
                .start_timeout
                .saturating_add(settings.agent_timeout),
            State::Pending { .. } | State::Ended { .. } | State::Unborn | State::Told => {
                return true;
            }
        };
        let since = match run.state {
            State::Running { since, .. } | State::Pending { since, .. } => since,
            State::Ended { .. } | State::Unborn | State::Told => return true,
        };
        let after = job.let_go().map(|let_go| since.since(let_go));
        let (Some(is), Some(after)) = (job.spec.active_deadline_seconds, after) else {
            return true;
        };
        let needed = manifest::deadline_after(after, left);
        if by_template || self.dry_run || run.stop.is_some() || needed <= is + SLACK {
            return true;
        }
        let patch = json!({
            "metadata": { "uid": run.uid },
            "spec": { "activeDeadlineSeconds": needed },
        });
        let moved = self.patch(&run.name, &patch);
        if let Err(e) = &moved {
            log::debug!(job_name = run.name; "its own deadline is not moved out yet: {e}");
        }
        moved.is_ok()
    }

    fn patch(&self, name: &str, patch: &Value) -> Result<(), Error> {
        let body = patch.to_string();
        let path = self.job_path(name);
        self.client
            .call(&Call::change(Method::Patch, &path, MERGE, body.as_bytes()))
            .map(|_| ())
    }

    /// Posts a Job.
    ///
    /// # Errors
    /// If it is not there afterwards, or is not ours.
    pub fn spawn(&self, spec: &Spec) -> Result<(), Refused> {
        let body = self.job(spec).to_string();
        // So that a misspelt field of a template is an error that names it.
        let path = format!("{}?fieldValidation=Strict", self.jobs());
        let call = Call::change(Method::Post, &path, JSON, body.as_bytes());
        let Err(e) = self.client.call(&call) else {
            return Ok(());
        };
        match &e {
            Error::Said { status: 409, .. } => self.judge(spec, &e),
            Error::Said {
                status: 400 | 413 | 422 | 500,
                ..
            } if body.len() > LARGE => Err(Refused::Item(format!(
                "its Job has {} bytes, and the API server does not take it: {e}",
                body.len()
            ))),
            Error::Said {
                status: 400 | 422, ..
            } if self.settings.template.is_some() => Err(Refused::Everything(format!(
                "the API server does not take the Job with --job-template laid over it: {e}"
            ))),
            Error::Said { .. } | Error::Silent(_) => Err(Refused::Everything(e.to_string())),
        }
    }

    /// The name is taken: by the very run, or by something else.
    fn judge(&self, spec: &Spec, e: &Error) -> Result<(), Refused> {
        let there: Job = match self.client.object(&self.job_path(&spec.name)) {
            Ok(job) => job,
            // Gone meanwhile: the next try finds the name free.
            Err(Error::Said { status: 404, .. }) => return Err(Refused::Item(e.to_string())),
            Err(e) => return Err(Refused::Everything(e.to_string())),
        };
        let name = &spec.name;
        if !claim::is_same(&spec.labels, |key| there.metadata.mark(key)) {
            let why = format!("a Job {name} is there and not a run of ours");
            return Err(Refused::Item(why));
        }
        // What has ended is reported when it is listed, as it would have been
        // had we heard of its creation.
        match there.is_being_deleted() || there.is_told() {
            true => Err(Refused::Item(format!(
                "an earlier Job {name} is there and on its way out"
            ))),
            false => Ok(()),
        }
    }

    /// Ends a run: its pods get SIGTERM, 10 s, SIGKILL, and the Job stays until
    /// it is reported. Why, and the end of its log, are kept on it.
    ///
    /// # Errors
    /// If it may still run.
    pub fn stop(&self, run: &Run, stop: &Stop) -> Result<(), String> {
        let seen = self.seen(run);
        let before = seen.as_ref().and_then(|seen| seen.kept.clone());
        let mut tail = self.last_words(seen.as_deref());
        if tail.is_empty() {
            // The first stop read it, and the pod is gone by now.
            tail = before.map(|note| note.tail).unwrap_or_default();
        }
        let started = match run.state {
            State::Running { since, .. } => Some(since),
            State::Pending { .. } | State::Ended { .. } | State::Unborn | State::Told => None,
        };
        let note = StopNote::of(stop, started, tail);
        let note = serde_json::to_string(&note).unwrap_or_default();
        let patch = json!({
            "metadata": { "uid": run.uid, "annotations": { STOP: note } },
            "spec": { "activeDeadlineSeconds": 1 },
        });
        self.gone_is_well(self.patch(&run.name, &patch))
    }

    fn gone_is_well(&self, result: Result<(), Error>) -> Result<(), String> {
        match result {
            Err(e) if e.is(404) => Ok(()),
            other => other.map_err(|e| e.to_string()),
        }
    }

    fn seen(&self, run: &Run) -> Option<Arc<Seen>> {
        lock(&self.memory).seen.get(&run.uid).cloned()
    }

    /// The end of a log, without secrets, as far as an annotation takes it.
    fn last_words(&self, seen: Option<&Seen>) -> String {
        let log = seen.and_then(|seen| seen.pod.as_deref());
        let log = log.map(|pod| self.log(pod, LINES, TAIL).unwrap_or_default());
        let text = String::from_utf8_lossy(log.as_deref().unwrap_or_default()).into_owned();
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
        let text = redactor.clean(&text);
        last_lines(&text, NOTE_LINES, NOTE).to_owned()
    }

    /// The last lines of what an agent wrote. Whole lines only, so that no half
    /// secret stands at an edge.
    fn log(&self, pod: &str, lines: usize, bytes: usize) -> Result<Vec<u8>, Error> {
        // One byte less than what would look cut off.
        let limit = bytes.saturating_sub(1);
        let path = format!(
            "{}?container={AGENT}&tailLines={lines}&limitBytes={limit}",
            self.core(&format!("pods/{pod}/log"))
        );
        let call = Call {
            accept: "*/*",
            ..Call::get(&path)
        };
        let mut text = self.client.call(&call)?.body;
        if text.len() >= limit {
            let end = text
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            text.truncate(end);
        }
        Ok(text)
    }

    /// The end of what its agent wrote: its last word, else its log.
    ///
    /// # Errors
    /// If the API server fails. That there is none, or that we may not read it,
    /// is no error.
    pub fn tail(&self, run: &Run) -> Result<Vec<u8>, String> {
        let Some(seen) = self.seen(run) else {
            return Ok(vec![]);
        };
        if let Some(note) = seen.kept.as_ref().filter(|_| seen.run.stop.is_some()) {
            return Ok(note.tail.clone().into_bytes());
        }
        if let Some(message) = &seen.message {
            return Ok(message.clone().into_bytes());
        }
        let Some(pod) = &seen.pod else {
            return Ok(vec![]);
        };
        match self.log(pod, LINES, TAIL) {
            Ok(text) => Ok(text),
            // Not allowed, never started, gone.
            Err(Error::Said {
                status: 400 | 403 | 404,
                ..
            }) => Ok(vec![]),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Saves the log of an ended run and gives its Job to Kubernetes to remove.
    ///
    /// # Errors
    /// If the next look may find it untold.
    pub fn remove(&self, run: &Run, removal: Removal) -> Result<(), String> {
        let seen = self.seen(run);
        match removal {
            Removal::Told | Removal::Superseded => {
                let pod = seen.as_ref().and_then(|seen| seen.pod.as_deref());
                if let Err(e) = pod.map_or(Ok(()), |pod| self.save_log(run, pod)) {
                    log::warn!(ticket_id = run.item_id, job_name = run.name;
                        "its log is lost: {e}");
                }
            }
            Removal::Unborn => {}
        }
        if let Some(seen) = seen.filter(|seen| seen.suspended) {
            return self.delete(run, &seen.version);
        }
        let patch = json!({
            "metadata": {
                "uid": run.uid,
                "annotations": { REPORTED: clock::now().to_string() },
            },
            "spec": { "ttlSecondsAfterFinished": self.keep_finished.as_secs().min(i32::MAX as u64) },
        });
        self.gone_is_well(self.patch(&run.name, &patch))
    }

    /// Deletes a suspended Job, which no deadline ends, unless its queue has
    /// let it go meanwhile.
    fn delete(&self, run: &Run, version: &str) -> Result<(), String> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": { "uid": run.uid, "resourceVersion": version },
        });
        let (path, body) = (self.job_path(&run.name), options.to_string());
        let call = Call::change(Method::Delete, &path, JSON, body.as_bytes());
        self.gone_is_well(self.client.call(&call).map(|_| ()))
    }

    fn save_log(&self, run: &Run, pod: &str) -> Result<(), String> {
        let path = self.core(&format!("pods/{pod}/log"));
        let path = format!("{path}?container={AGENT}&limitBytes={SAVED}");
        let call = Call {
            accept: "*/*",
            deadline: SAVING,
            ..Call::get(&path)
        };
        let mut log = match self.client.open(&call) {
            Ok(log) => log.take(SAVED as u64),
            Err(Error::Said {
                status: 400 | 403 | 404,
                ..
            }) => return Ok(()),
            Err(e) => return Err(e.to_string()),
        };
        let path = self.state.log(&run.name, &run.uid);
        files::create_dir(&self.state.logs())
            .and_then(|()| files::create_file(&path))
            .and_then(|mut file| std::io::copy(&mut log, &mut file))
            .map(|_| ())
            .map_err(|e| format!("{}: {e}", path.display()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
