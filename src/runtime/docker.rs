//! Runs as containers, through the `docker` command (or podman's).
//!
//! Never takes a decision from the words of an error message: what happened is
//! looked up. Never says anything to docker without a deadline.

pub mod state;
pub mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::PathBuf,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{Refused, TAIL, claim, lock, stop::StopFile};
use crate::{
    agent::{Spec, Value, is_secret},
    clock,
    cmd::{Call, Cause, Failed, Listener},
    core::{Removal, Run, Stamp, State, Stop},
    flags::PullPolicy,
    state::{self as files, StateDir},
};
use words::Settings;

/// For every call that does not say otherwise.
const DEADLINE: Duration = Duration::from_secs(30);
/// For saving a log, which may be large.
const SAVING: Duration = Duration::from_secs(600);
/// How long an agent has to end after SIGTERM.
const TERM: &str = "10";
/// How long one call listens for events. It ends by itself, so that none
/// outlives us for long.
const LISTEN: Duration = Duration::from_secs(60);
/// Of a log, for its last lines. Docker counts the pieces of 16 KiB in which it
/// keeps a long line, and the first may begin anywhere in one: so these are
/// more lines than anybody shows, or more bytes than [`TAIL`].
const LINES: &str = "200";
/// The pause before listening again where that ended before its time.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// The containers of one owner.
pub struct Docker {
    settings: Settings,
    state: StateDir,
    /// How long a pull may take: `--start-timeout`.
    start_timeout: Duration,
    /// Held by every `docker run`, so that a later start of ours waits until
    /// those of an earlier one are through.
    spawning: Mutex<Option<File>>,
    listener: Listener,
    live: Mutex<bool>,
    more: Condvar,
    strangers: Mutex<BTreeSet<claim::Stranger>>,
}

impl Docker {
    /// The containers of the owner in `settings`; nothing is asked yet.
    #[must_use]
    pub fn new(settings: Settings, state: StateDir, start_timeout: Duration) -> Docker {
        Docker {
            settings,
            state,
            start_timeout,
            spawning: Mutex::default(),
            listener: Listener::default(),
            live: Mutex::default(),
            more: Condvar::new(),
            strangers: Mutex::default(),
        }
    }

    fn call(&self, words: Vec<String>) -> Call {
        Call::new(&self.settings.binary).args(words)
    }

    fn ask(&self, words: Vec<String>) -> Result<String, Failed> {
        let bytes = self.call(words).read(DEADLINE)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The whole command that starts `spec`.
    #[must_use]
    pub fn command(&self, spec: &Spec) -> Vec<String> {
        let binary = self.settings.binary.to_string_lossy().into_owned();
        std::iter::once(binary)
            .chain(words::run(&self.settings, spec))
            .collect()
    }

    /// All runs of this owner.
    ///
    /// # Errors
    /// If docker does not answer, or its answers do not agree.
    pub fn list(&self, now: Stamp) -> Result<Vec<Run>, String> {
        // A container that goes away between the two questions is asked for
        // in vain. It counts as gone only when it is not listed any more.
        for _ in 0..3 {
            let ids = self
                .ask(words::list(&self.settings.owner))
                .map_err(|e| advised(&e))?;
            let ids: Vec<String> = ids.lines().map(|id| id.trim().to_owned()).collect();
            let containers = self.inspect(&ids, now)?;
            if ids.iter().all(|id| containers.iter().any(|c| c.id == *id)) {
                let runs = self.ours(containers);
                *lock(&self.live) = runs.iter().any(Run::is_live);
                self.more.notify_all();
                return Ok(runs);
            }
        }
        Err("docker lists containers that it cannot describe".to_owned())
    }

    fn inspect(&self, ids: &[String], now: Stamp) -> Result<Vec<state::Container>, String> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let answer = match self.ask(words::inspect(ids)) {
            Ok(answer) => answer,
            // One of them is gone; the others are described all the same.
            Err(Failed {
                cause: Cause::Status { stdout, .. },
                ..
            }) => String::from_utf8_lossy(&stdout).into_owned(),
            Err(e) => return Err(e.to_string()),
        };
        answer
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|l| state::parse(l, now))
            .collect()
    }

    fn ours(&self, containers: Vec<state::Container>) -> Vec<Run> {
        let stops = self.stops();
        let mut runs = Vec::new();
        for container in containers {
            let label = |key: &str| container.labels.get(key).map(String::as_str);
            match claim::read(&self.settings.owner, &container.name, &container.id, label) {
                Ok(mut run) => {
                    run.state = container.state;
                    run.stop = stops.get(&stop_name(&run)).cloned();
                    runs.push(run);
                }
                Err(stranger) => {
                    if lock(&self.strangers).insert(stranger.clone()) {
                        log::error!(job_name = stranger.name;
                            "left alone: not a run of ours: {}", stranger.why);
                    }
                }
            }
        }
        runs
    }

    /// Why containers were stopped, by the names of the notes.
    fn stops(&self) -> BTreeMap<String, Stop> {
        let Ok(entries) = self.state.stops().read_dir() else {
            return BTreeMap::new();
        };
        let notes = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name, StopFile::read(&entry.path())?))
        });
        notes.collect()
    }

    fn stop_note(&self, run: &Run) -> PathBuf {
        self.state.stops().join(stop_name(run))
    }

    /// Starts a container.
    ///
    /// # Errors
    /// If it is not there afterwards, or is not ours.
    pub fn spawn(&self, spec: &Spec) -> Result<(), Refused> {
        let held = self.claim_spawning()?;
        let limit = match self.settings.pull {
            PullPolicy::Never => DEADLINE,
            PullPolicy::Always | PullPolicy::IfNotPresent => self.start_timeout.max(DEADLINE),
        };
        let mut call = self.call(words::run(&self.settings, spec)).holding(held);
        for var in &spec.env {
            if let Value::Secret(value) = &var.value {
                call = call.env(&var.name, value);
            }
        }
        match call.read(limit) {
            Ok(_) => Ok(()),
            Err(failed) => self.after_failure(spec, &failed),
        }
    }

    /// `docker run` says the same (exit code 125) of an image that is missing,
    /// a name that is taken and a daemon that is away: so look.
    fn after_failure(&self, spec: &Spec, failed: &Failed) -> Result<(), Refused> {
        if let Cause::Start(_) = failed.cause {
            return Err(Refused::Everything(advised(failed)));
        }
        let everything = |e: Failed| Refused::Everything(e.to_string());
        let found = self.ask(words::find(&spec.name)).map_err(everything)?;
        let ids: Vec<String> = found.lines().map(|id| id.trim().to_owned()).collect();
        let there = self.inspect(&ids, Stamp(0)).map_err(Refused::Everything)?;
        match there.first() {
            None => {}
            Some(container) if !words::is_same(spec, &container.labels) => {
                let why = format!("a container {} is there and not a run of ours", spec.name);
                return Err(Refused::Item(why));
            }
            Some(container) => return self.after_all(container, failed),
        }
        match self.ask(words::check(&self.settings, spec)) {
            Ok(_) => Err(Refused::Item(failed.to_string())),
            // Not this run's fault: the options are the same for all.
            Err(e) => Err(Refused::Everything(format!(
                "docker does not take its options (see --docker-arg): {e}"
            ))),
        }
    }

    /// The container is there and ours. What it came to is seen when it is
    /// listed, unless it was only created: nobody is left to start it.
    fn after_all(&self, container: &state::Container, failed: &Failed) -> Result<(), Refused> {
        let created = matches!(container.state, State::Pending { .. });
        if created && self.ask(words::remove(&container.id)).is_ok() {
            return Err(Refused::Item(failed.to_string()));
        }
        Ok(())
    }

    /// A `docker run` that outlived a killed orchestrator may still create its
    /// container. Until it is through, nothing new is started.
    fn claim_spawning(&self) -> Result<File, Refused> {
        let failed =
            |e: std::io::Error| Refused::Everything(format!("cannot use the state directory: {e}"));
        let mut spawning = lock(&self.spawning);
        if let Some(file) = &*spawning {
            return file.try_clone().map_err(failed);
        }
        let file =
            files::create_file(&self.state.spawning(&self.settings.owner)).map_err(failed)?;
        file.try_lock().map_err(|_| {
            let why = "a docker command of an earlier start is still under way";
            Refused::Everything(why.to_owned())
        })?;
        let clone = file.try_clone().map_err(failed)?;
        *spawning = Some(file);
        Ok(clone)
    }

    /// Ends a container: SIGTERM, 10 s, SIGKILL. Why is written down before.
    ///
    /// # Errors
    /// If it may still run.
    pub fn stop(&self, run: &Run, stop: &Stop) -> Result<(), String> {
        let note = serde_json::to_vec(&StopFile::of(stop)).unwrap_or_default();
        let written = files::create_dir(&self.state.stops())
            .and_then(|()| files::write_whole(&self.stop_note(run), &note));
        if let Err(e) = written {
            // Then the reason is derived from what is seen.
            log::warn!(ticket_id = run.item_id, job_name = run.name;
                "cannot write down why it is stopped: {e}");
        }
        // The long form has another name in newer clients.
        let words = ["stop", "-t", TERM, &run.uid].map(String::from).into();
        self.ask(words).map(|_| ()).map_err(|e| e.to_string())
    }

    /// The end of what its agent wrote, both outputs together.
    ///
    /// # Errors
    /// If docker does not give it.
    pub fn tail(&self, run: &Run) -> Result<Vec<u8>, String> {
        let words: Vec<String> = ["logs", "--tail", LINES, &run.uid].map(String::from).into();
        self.call(words)
            .tail(DEADLINE, TAIL)
            .map_err(|e| e.to_string())
    }

    /// What a container was given under names of secrets.
    #[must_use]
    pub fn secrets(&self, run: &Run) -> Vec<(String, String)> {
        let answer = self.ask(words::environment(&run.uid)).unwrap_or_default();
        let vars: Vec<String> = serde_json::from_str(&answer).unwrap_or_default();
        let vars = vars.iter().filter_map(|var| var.split_once('='));
        vars.filter(|(name, _)| is_secret(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Ends the listening of [`Docker::watch`].
    pub fn close(&self) {
        self.listener.close();
    }

    /// Saves the log of an ended container and removes it with its volumes.
    ///
    /// # Errors
    /// If it may still be there: a container that was started after all is
    /// not removed.
    pub fn remove(&self, run: &Run, removal: Removal) -> Result<(), String> {
        match removal {
            Removal::Told | Removal::Superseded => {
                if let Err(e) = self.save_log(run) {
                    log::warn!(ticket_id = run.item_id, job_name = run.name;
                        "its log is lost: {e}");
                }
            }
            Removal::Unborn => {}
        }
        if let Err(failed) = self.ask(words::remove(&run.uid)) {
            let id = format!("id={}", run.uid);
            let words = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &id];
            let left = self
                .ask(words.map(String::from).into())
                .map_err(|e| e.to_string())?;
            if !left.trim().is_empty() {
                return Err(failed.to_string());
            }
        }
        // It may never have been stopped.
        let _ = std::fs::remove_file(self.stop_note(run));
        Ok(())
    }

    fn save_log(&self, run: &Run) -> Result<(), String> {
        let path = self.state.log(&run.name, &run.uid);
        let file = files::create_dir(&self.state.logs())
            .and_then(|()| files::create_file(&path))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let words: Vec<String> = ["logs", &run.uid].map(String::from).into();
        self.call(words)
            .save(SAVING, file)
            .map_err(|e| e.to_string())
    }

    /// Calls `wake` when docker says that a container of ours has ended.
    /// Listens only while one lives: a client that listens costs memory.
    pub fn watch(&self, wake: impl Fn() -> bool) {
        loop {
            let mut live = lock(&self.live);
            while !*live {
                live = self.more.wait(live).unwrap_or_else(PoisonError::into_inner);
            }
            drop(live);
            let end = clock::now().plus(LISTEN).0 / 1000;
            let mut heard = true;
            let call = self.call(words::events(&self.settings.owner, end));
            let listened = call.follow(&self.listener, |line| {
                if words::is_end(line) {
                    heard = wake();
                }
                heard && *lock(&self.live)
            });
            // What ended between two calls is seen now.
            if !heard || !wake() {
                return;
            }
            if listened.is_err() || clock::now().0 / 1000 < end {
                thread::sleep(LISTEN_AGAIN);
            }
        }
    }
}

/// The error, with the way out where docker is not there at all.
fn advised(failed: &Failed) -> String {
    match &failed.cause {
        Cause::Start(e) if e.kind() == std::io::ErrorKind::NotFound => format!(
            "{failed}; install docker, or name its client with --docker-binary, or run agents \
             without containers with --mode process"
        ),
        Cause::Start(_)
        | Cause::TooLong(_)
        | Cause::TooMuch(_)
        | Cause::Held
        | Cause::Status { .. } => failed.to_string(),
    }
}

fn stop_name(run: &Run) -> String {
    format!("{}.{}", run.name, run.uid)
}
