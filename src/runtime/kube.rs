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
mod look;
pub mod manifest;
pub mod objects;
pub mod skew;
pub mod state;
pub mod template;
mod watch;

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, PoisonError, RwLock},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Refused, TAIL, claim, lock};
use crate::{
    agent::{self, Spec},
    clock,
    core::{Removal, Run, State, Stop},
    http::Method,
    redact::{Redactor, last_lines},
    state::{self as files, StateDir},
};
use client::{Call, Client, Error, JSON, MERGE, escaped};
use config_map::ConfigMap;
use lease::Lease;
use look::{Memory, Seen};
use manifest::{AGENT, REPORTED, STOP, Settings};
use objects::Job;
use state::StopNote;

/// For saving a log, which may be large.
const SAVING: Duration = Duration::from_secs(600);
/// The same of a run that is to be stopped, which ought not to wait for long.
const BEFORE_STOP: Duration = Duration::from_secs(30);
/// Bytes of a log that are saved at most.
const SAVED: usize = 64 << 20;
/// Lines of a log that are read for its last ones.
const LINES: usize = 200;
/// So many are asked for instead, one after the other, where they are too long.
const FEWER_LINES: [usize; 4] = [50, 12, 3, 1];
/// Bytes of a note on a stop, as it is written.
const NOTE: usize = 8 * 1024;
/// Lines of the tail in it.
const NOTE_LINES: usize = 50;
/// A Job this large is refused for what its item makes of it, whatever the
/// server calls it: etcd takes 1.5 MiB, in another form.
const LARGE: usize = 1 << 20;

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
            lease.stand(|| {
                // The other replica may have made runs that we never saw.
                lock(&self.memory).knows_all = false;
                changed();
            });
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
        if started.is_some() {
            // Its pod goes, and the log with it.
            self.keep_log(run, seen.as_deref(), BEFORE_STOP);
        }
        let note = StopNote::of(stop, started, tail).fitted(NOTE);
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
        let log = log.map(|pod| self.log(pod).unwrap_or_default());
        let text = String::from_utf8_lossy(log.as_deref().unwrap_or_default()).into_owned();
        let redactor = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
        let text = redactor.clean(&text);
        last_lines(&text, NOTE_LINES, NOTE).to_owned()
    }

    /// The last lines of what an agent wrote. Whole lines only, so that no half
    /// secret stands at an edge.
    fn log(&self, pod: &str) -> Result<Vec<u8>, Error> {
        // One byte less than what would look cut off.
        let limit = TAIL - 1;
        let path = self.core(&format!("pods/{pod}/log"));
        let read = |lines: usize| {
            let path = format!("{path}?container={AGENT}&tailLines={lines}&limitBytes={limit}");
            let call = Call {
                accept: "*/*",
                ..Call::get(&path)
            };
            self.client.call(&call).map(|answer| answer.body)
        };
        let mut text = read(LINES)?;
        for lines in FEWER_LINES {
            if text.len() < limit {
                return Ok(text);
            }
            // The limit took the last of them.
            text = read(lines)?;
        }
        if text.len() >= limit {
            text.clear();
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
        match self.log(pod) {
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
                self.keep_log(run, seen.as_deref(), SAVING);
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

    /// Saves its log, or says that it is lost.
    fn keep_log(&self, run: &Run, seen: Option<&Seen>, deadline: Duration) {
        let pod = seen.and_then(|seen| seen.pod.as_deref());
        if let Err(e) = pod.map_or(Ok(()), |pod| self.save_log(run, pod, deadline)) {
            log::warn!(ticket_id = run.item_id, job_name = run.name; "its log is lost: {e}");
        }
    }

    /// Saves the log of this pod, if there is one and we may read it.
    fn save_log(&self, run: &Run, pod: &str, deadline: Duration) -> Result<(), String> {
        let path = self.core(&format!("pods/{pod}/log"));
        let path = format!("{path}?container={AGENT}&limitBytes={SAVED}");
        let call = Call {
            accept: "*/*",
            deadline,
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
