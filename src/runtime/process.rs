//! Runs as plain processes, each in a directory of its own under the state
//! directory, each watched by a supervisor that outlives the orchestrator.
//!
//! Never isolates anything: an agent can do what its user can.

pub mod files;
mod group;
pub mod supervise;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, TryLockError},
    io::{
        self,
        ErrorKind::{InvalidData, NotADirectory},
    },
    path::PathBuf,
    process::Child,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{Refused, claim, lock, stop::StopFile};
use crate::{
    agent::{Spec, is_secret},
    cmd,
    core::{Removal, Run, Stamp, State, Stop},
    state::{self, StateDir},
};
use files::{ExitFile, PidFile, RunDir, RunFile, stamp};

/// How long an agent has to end after SIGTERM.
const TERM: Duration = Duration::from_secs(10);
/// How long the end of a killed one takes at most.
const KILL: Duration = Duration::from_secs(5);
/// How often the ends of runs are looked for while any runs.
const WATCH: Duration = Duration::from_millis(500);
/// Names of directories that are not runs yet, and not any more.
const HIDDEN: &str = ".";

/// The runs of one owner in one state directory.
pub struct Process {
    owner: String,
    state: StateDir,
    /// Looks, and writes nothing.
    dry_run: bool,
    /// Supervisors we started ourselves, to be waited for when they end.
    children: Mutex<Vec<Child>>,
    /// The runs that lived when last listed.
    live: Mutex<Vec<Live>>,
    more: Condvar,
    strangers: Mutex<BTreeSet<claim::Stranger>>,
    /// By uid, of live runs as they were first seen: once an agent has ended,
    /// nobody knows what it was given.
    secrets: Mutex<BTreeMap<String, Vec<(String, String)>>>,
}

/// A run to be watched.
struct Live {
    dir: RunDir,
    uid: String,
    /// Its agent had not been started.
    pending: bool,
}

impl Process {
    /// The runs of `owner` below `state`, without touching it.
    #[must_use]
    pub fn new(owner: &str, state: StateDir, dry_run: bool) -> Process {
        Process {
            owner: owner.to_owned(),
            state,
            dry_run,
            children: Mutex::default(),
            live: Mutex::default(),
            more: Condvar::new(),
            strangers: Mutex::default(),
            secrets: Mutex::default(),
        }
    }

    /// Where the agent of the run `name` works.
    #[must_use]
    pub fn workspace(&self, name: &str) -> PathBuf {
        self.state.runs().join(name).join("work")
    }

    /// All runs of this owner.
    ///
    /// # Errors
    /// If the directory of the runs cannot be read.
    pub fn list(&self, now: Stamp) -> Result<Vec<Run>, String> {
        self.reap();
        let path = self.state.runs();
        let entries = match path.read_dir() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
        };
        let mut runs = Vec::new();
        let mut live = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with(HIDDEN) {
                continue;
            }
            let dir = RunDir(entry.path());
            match self.read(&name, &dir, now) {
                Ok(Ok(run)) => {
                    if run.is_live() {
                        let pending = matches!(run.state, State::Pending { .. });
                        let uid = run.uid.clone();
                        live.push(Live { dir, uid, pending });
                    }
                    runs.push(run);
                }
                Ok(Err(Some(why))) => self.stranger(claim::Stranger { name, why }),
                Ok(Err(None)) => {}
                // Taken away while it was looked at.
                Err(_) if !dir.0.exists() => {}
                // A run that is not seen would be started again.
                Err(e) => return Err(format!("cannot read {}: {e}", dir.0.display())),
            }
        }
        *lock(&self.live) = live;
        self.more.notify_all();
        Ok(runs)
    }

    /// One run. If it is none of ours: why, unless it is plainly another
    /// owner's.
    fn read(
        &self,
        name: &str,
        dir: &RunDir,
        now: Stamp,
    ) -> io::Result<Result<Run, Option<String>>> {
        let file = match dir.run() {
            Ok(Some(file)) => file,
            // Made by nobody of us: ours get their name with everything inside.
            Ok(None) => return Ok(Err(dir.0.exists().then(|| "it has no run.json".to_owned()))),
            // What we write is whole from its first moment.
            Err(e) if [InvalidData, NotADirectory].contains(&e.kind()) => {
                return Ok(Err(Some(format!("its run.json cannot be read: {e}"))));
            }
            Err(e) => return Err(e),
        };
        if file
            .labels
            .get(crate::agent::OWNER)
            .is_some_and(|owner| *owner != self.owner)
        {
            return Ok(Err(None));
        }
        let label = |key: &str| file.labels.get(key).map(String::as_str);
        let mut run = match claim::read(&self.owner, name, &file.uid, label) {
            Ok(run) => run,
            Err(stranger) => return Ok(Err(Some(stranger.why))),
        };
        run.stop = StopFile::read(&dir.part("stop"));
        run.state = self.state_of(dir, stamp(&file.created), now)?;
        Ok(Ok(run))
    }

    fn state_of(&self, dir: &RunDir, created: Stamp, now: Stamp) -> io::Result<State> {
        if let Some(exit) = dir.exit()? {
            return ended(dir, &exit);
        }
        if is_locked(dir)? {
            return Ok(match dir.pid()? {
                Some(pid) => State::Running {
                    since: stamp(&pid.started).max(created),
                    orphaned: false,
                },
                None => State::Pending {
                    since: created,
                    why: None,
                    suspended: false,
                },
            });
        }
        // The supervisor is gone: since just now, with everything written
        // down, or before its time.
        if let Some(exit) = dir.exit()? {
            return ended(dir, &exit);
        }
        let Some(pid) = dir.pid()? else {
            return Ok(State::Unborn);
        };
        if group::lives(&pid) {
            return Ok(State::Running {
                since: stamp(&pid.started),
                orphaned: true,
            });
        }
        let why = Some("its supervisor died".to_owned());
        let exit = ExitFile {
            exit_code: None,
            at: now.to_string(),
            why,
        };
        if !self.dry_run {
            // So that this is when it ended from now on. On a full disk it is
            // written later.
            let _ = dir.write("exit", &exit);
        }
        ended(dir, &exit)
    }

    /// Claims the name of the run and starts its supervisor.
    ///
    /// # Errors
    /// If the name is another's, or nothing can be started.
    pub fn spawn(&self, spec: &Spec, now: Stamp) -> Result<(), Refused> {
        let failed = |e: io::Error| Refused::Everything(format!("cannot start a process: {e}"));
        let dir = RunDir(self.state.runs().join(&spec.name));
        let uid = super::random_hex().map_err(failed)?;
        // The run gets its name with everything inside, in one step: so there
        // is no moment at which it could be taken for half a run.
        let new = RunDir(self.state.runs().join(format!("{HIDDEN}new-{uid}")));
        let prepared = self.prepare(&new, &uid, spec, now).map_err(failed);
        let claimed = prepared.and_then(|held| match fs::rename(&new.0, &dir.0) {
            Ok(()) => Ok(Some(held)),
            Err(e) => self.claimed_before(spec, &dir, now, &e).map(|()| None),
        });
        let held = match claimed {
            Ok(Some(held)) => held,
            other => {
                let _ = state::remove_dir(&new.0);
                return other.map(|_| ());
            }
        };
        let started = fs::OpenOptions::new()
            .append(true)
            .open(dir.part("log"))
            .and_then(|log| {
                let args = [OsStr::new(supervise::SUPERVISE), dir.0.as_os_str()];
                let env = spec
                    .env
                    .iter()
                    .filter_map(|var| Some((&*var.name, var.value.text()?)));
                cmd::start_ourselves(&args, env, &dir.0, held, log)
            });
        match started {
            Ok(child) => {
                lock(&self.children).push(child);
                Ok(())
            }
            // The lock went with the attempt, so the claim is seen to have
            // come to nothing.
            Err(e) => Err(failed(e)),
        }
    }

    fn prepare(&self, new: &RunDir, uid: &str, spec: &Spec, now: Stamp) -> io::Result<fs::File> {
        state::create_dir(&new.0)?;
        let held = state::create_file(&new.part("lock"))?;
        held.try_lock()?;
        let labels = spec
            .labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect();
        let file = RunFile {
            uid: uid.to_owned(),
            created: now.to_string(),
            labels,
        };
        new.write("run.json", &file)?;
        new.write_argv(&absolute(spec.command.clone().unwrap_or_default())?)?;
        state::create_dir(&new.part("work"))?;
        state::create_file(&new.part("log"))?;
        Ok(held)
    }

    /// The name is taken. By this very run, if what was done took effect and
    /// we do not know; else by a stranger.
    fn claimed_before(
        &self,
        spec: &Spec,
        dir: &RunDir,
        now: Stamp,
        e: &io::Error,
    ) -> Result<(), Refused> {
        let same = || {
            let file = dir.run().ok().flatten();
            file.is_some_and(|file| {
                claim::is_same(&spec.labels, |k| file.labels.get(k).map(String::as_str))
            })
        };
        let path = dir.0.display();
        match self.read(&spec.name, dir, now) {
            // Only what is listed: else it would be claimed again and again.
            Ok(Ok(_)) if same() => Ok(()),
            _ if !dir.0.exists() => Err(Refused::Everything(format!("cannot create {path}: {e}"))),
            Err(e) => Err(Refused::Everything(format!("cannot read {path}: {e}"))),
            Ok(_) => Err(Refused::Item(format!(
                "{path} is there and not a run of ours"
            ))),
        }
    }

    /// Ends a run: SIGTERM to all its processes, SIGKILL after 10 s. Why is
    /// written down before.
    ///
    /// # Errors
    /// If it is not yet far enough to be stopped, or does not end.
    pub fn stop(&self, run: &Run, stop: &Stop) -> Result<(), String> {
        let dir = self.dir_of(run)?;
        let failed = |e: io::Error| format!("cannot stop it: {e}");
        dir.write("stop", &StopFile::of(stop)).map_err(failed)?;
        let Some(pid) = dir.pid().map_err(failed)? else {
            return Err("its agent is just being started".to_owned());
        };
        // A number that is another's by now is not signalled.
        if group::lives(&pid) {
            group::terminate(&pid);
            if !wait_until(TERM, || has_ended(&dir, &pid)) {
                group::kill(&pid);
            }
        }
        if wait_until(KILL, || has_ended(&dir, &pid)) {
            return Ok(());
        }
        Err("its processes do not end".to_owned())
    }

    /// The last `bytes` of its log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn tail(&self, run: &Run, bytes: u64) -> Result<Vec<u8>, String> {
        use std::io::{Read, Seek, SeekFrom};
        let failed = |e: io::Error| format!("cannot read its log: {e}");
        let path = self.dir_of(run)?.part("log");
        let mut file = fs::File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(bytes)))
            .map_err(failed)?;
        let mut tail = Vec::new();
        file.take(bytes).read_to_end(&mut tail).map_err(failed)?;
        Ok(tail)
    }

    fn remember_secrets(&self, run: &Live) {
        let mut known = lock(&self.secrets);
        if known.contains_key(&run.uid) {
            return;
        }
        if let Ok(Some(pid)) = run.dir.pid() {
            let secrets = group::environment(&pid).into_iter();
            let secrets = secrets.filter(|(name, _)| is_secret(name)).collect();
            known.insert(run.uid.clone(), secrets);
        }
    }

    /// What its agent was given under names of secrets, if it was seen alive.
    #[must_use]
    pub fn secrets(&self, run: &Run) -> Vec<(String, String)> {
        lock(&self.secrets)
            .get(&run.uid)
            .cloned()
            .unwrap_or_default()
    }

    /// Takes a run away, its log going to the saved ones. What is still there
    /// of it afterwards has no name any more.
    ///
    /// # Errors
    /// If it is not what it was, or cannot be moved.
    pub fn remove(&self, run: &Run, removal: Removal) -> Result<(), String> {
        let Ok(dir) = self.dir_of(run) else {
            return Ok(());
        };
        let failed = |e: io::Error| format!("cannot remove {}: {e}", dir.0.display());
        // Held until it is gone: nobody starts an agent from it any more. A
        // supervisor that has written `exit` is about to let go.
        let held = dir.lock().map_err(failed)?;
        if !wait_until(KILL, || held.try_lock().is_ok()) {
            return Err("its supervisor still runs".to_owned());
        }
        match removal {
            Removal::Unborn if dir.pid().map_err(failed)?.is_some() => {
                return Err("its agent was started after all".to_owned());
            }
            Removal::Unborn => {}
            Removal::Told | Removal::Superseded => {
                let log = self.state.log(&run.name, &run.uid);
                let saved = state::create_dir(&self.state.logs())
                    .and_then(|()| fs::rename(dir.part("log"), &log));
                // Whoever began this removal may have died behind that step.
                if let Err(e) = saved
                    && !log.exists()
                {
                    log::warn!(ticket_id = run.item_id, job_name = run.name; "its log is lost: {e}");
                }
            }
        }
        lock(&self.secrets).remove(&run.uid);
        let gone = self.state.runs().join(format!("{HIDDEN}gone-{}", run.uid));
        fs::rename(&dir.0, &gone).map_err(failed)?;
        if let Err(e) = state::remove_dir(&gone) {
            log::warn!(ticket_id = run.item_id, job_name = run.name;
                "cannot clear {}: {e}", gone.display());
        }
        Ok(())
    }

    /// Clears what earlier removals and claims have left behind.
    pub fn sweep(&self) {
        let Ok(entries) = self.state.runs().read_dir() else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let dir = RunDir(entry.path());
            if name.starts_with(".gone-") {
                let _ = state::remove_dir(&dir.0);
            } else if name.starts_with(".new-") {
                match dir.lock() {
                    // Another owner's may be in the making: then it is locked.
                    // From here on it cannot be any more.
                    Ok(lock) if lock.try_lock().is_ok() => {
                        // Under a name that says so, for whoever is killed in
                        // the middle leaves a directory without a lock.
                        let gone = name.replacen(".new-", ".gone-new-", 1);
                        let gone = dir.0.with_file_name(gone);
                        if fs::rename(&dir.0, &gone).is_ok() {
                            let _ = state::remove_dir(&gone);
                        }
                    }
                    Ok(_) => {}
                    // Empty, or it stays: the lock is the first thing inside.
                    Err(_) => {
                        let _ = fs::remove_dir(&dir.0);
                    }
                }
            }
        }
    }

    /// Calls `wake` when a run has started or ended since it was last listed.
    /// Returns when `wake` says false.
    pub fn watch(&self, wake: impl Fn() -> bool) {
        loop {
            let mut live = lock(&self.live);
            while live.is_empty() {
                live = self.more.wait(live).unwrap_or_else(PoisonError::into_inner);
            }
            let mut changed = false;
            // Once is enough for each.
            live.retain_mut(|run| {
                self.remember_secrets(run);
                let started = run.pending && run.dir.part("pid").exists();
                run.pending &= !started;
                let ended = run.dir.part("exit").exists() || !is_locked(&run.dir).unwrap_or(false);
                changed |= started || ended;
                !ended
            });
            drop(live);
            if changed && !wake() {
                return;
            }
            thread::sleep(WATCH);
        }
    }

    fn dir_of(&self, run: &Run) -> Result<RunDir, String> {
        let dir = RunDir(self.state.runs().join(&run.name));
        match dir.run() {
            Ok(Some(file)) if file.uid == run.uid => Ok(dir),
            _ => Err("it is not there any more".to_owned()),
        }
    }

    fn reap(&self) {
        lock(&self.children).retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    fn stranger(&self, stranger: claim::Stranger) {
        if lock(&self.strangers).insert(stranger.clone()) {
            log::error!(job_name = stranger.name; "left alone: not a run of ours: {}", stranger.why);
        }
    }
}

fn ended(dir: &RunDir, exit: &ExitFile) -> io::Result<State> {
    let at = stamp(&exit.at);
    let started = dir.pid()?.map(|pid| stamp(&pid.started));
    Ok(State::Ended {
        started,
        at,
        exit_code: exit.exit_code,
        why: exit.why.clone(),
    })
}

/// Whether the supervisor lives, or somebody is just making or removing it.
fn is_locked(dir: &RunDir) -> io::Result<bool> {
    match dir.lock()?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn has_ended(dir: &RunDir, pid: &PidFile) -> bool {
    dir.part("exit").exists() || (matches!(is_locked(dir), Ok(false)) && !group::lives(pid))
}

fn wait_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The command with a path for its program that leads to the same place from
/// the agent's working directory. A bare name is found along `PATH` there, too.
fn absolute(mut argv: Vec<String>) -> io::Result<Vec<String>> {
    if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
        let path = std::path::absolute(&*program)?;
        *program = path
            .into_os_string()
            .into_string()
            .map_err(|path| io::Error::new(InvalidData, format!("{path:?} is not UTF-8")))?;
    }
    Ok(argv)
}
