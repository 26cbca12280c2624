//! Where runs live. One of a closed set of runtimes, each of which lists,
//! starts, stops and removes runs and gives the end of their output.
//!
//! Never decides which run is to be started, stopped or removed.

pub mod claim;
pub mod docker;
pub mod kube;
pub mod process;
mod stop;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    agent::{self, Spec, Value},
    core::{Removal, Run, Stamp, Stop},
};

/// Bytes of a run's output that are looked at for its last lines.
pub const TAIL: usize = 256 * 1024;

/// Why a run was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// For a reason of its own; counted against its item when it lasts.
    Item(String),
    /// As any other would be now; counted against nobody.
    Everything(String),
}

/// The runtime of `--mode`.
pub enum Runtime {
    /// Containers of a Docker Engine, through the `docker` command.
    Docker(docker::Docker),
    /// Jobs of Kubernetes.
    Kube(Box<kube::Kube>),
    /// Plain processes.
    Process(process::Process),
}

impl Runtime {
    /// The directory in which the agent of the run `name` works.
    #[must_use]
    pub fn workspace(&self, name: &str) -> PathBuf {
        match self {
            Runtime::Docker(_) => PathBuf::from("/workspace"),
            Runtime::Kube(_) => PathBuf::from(kube::manifest::WORKSPACE),
            Runtime::Process(process) => process.workspace(name),
        }
    }

    /// All runs of this owner.
    ///
    /// # Errors
    /// If that is not known for certain: then nothing may be done.
    pub fn list(&self, now: Stamp) -> Result<Vec<Run>, String> {
        match self {
            Runtime::Docker(docker) => docker.list(now),
            Runtime::Kube(kube) => kube.list(now),
            Runtime::Process(process) => process.list(now),
        }
    }

    /// Starts a run, and comes back when it is there.
    ///
    /// # Errors
    /// If it is not, and nobody else of this owner has started it.
    pub fn spawn(&self, spec: &Spec, now: Stamp) -> Result<(), Refused> {
        match self {
            Runtime::Docker(docker) => docker.spawn(spec),
            Runtime::Kube(kube) => kube.spawn(spec),
            Runtime::Process(process) => process.spawn(spec, now),
        }
    }

    /// Ends a run: SIGTERM, 10 s, SIGKILL. Why is kept beside it.
    ///
    /// # Errors
    /// If it may still run.
    pub fn stop(&self, run: &Run, stop: &Stop) -> Result<(), String> {
        match self {
            Runtime::Docker(docker) => docker.stop(run, stop),
            Runtime::Kube(kube) => kube.stop(run, stop),
            Runtime::Process(process) => process.stop(run, stop),
        }
    }

    /// The last [`TAIL`] bytes of what its agent wrote.
    ///
    /// # Errors
    /// If there is nothing to be had.
    pub fn tail(&self, run: &Run) -> Result<Vec<u8>, String> {
        match self {
            Runtime::Docker(docker) => docker.tail(run),
            Runtime::Kube(kube) => kube.tail(run),
            Runtime::Process(process) => process.tail(run, TAIL as u64),
        }
    }

    /// The secrets that a run was given by an orchestrator before this one, as
    /// far as they can still be known.
    #[must_use]
    pub fn secrets(&self, run: &Run) -> Vec<(String, String)> {
        match self {
            Runtime::Docker(docker) => docker.secrets(run),
            // Only the kubelet reads the Secret.
            Runtime::Kube(_) => vec![],
            Runtime::Process(process) => process.secrets(run),
        }
    }

    /// Saves the log of an ended run and takes the run away.
    ///
    /// # Errors
    /// If it may still be there.
    pub fn remove(&self, run: &Run, removal: Removal) -> Result<(), String> {
        match self {
            Runtime::Docker(docker) => docker.remove(run, removal),
            Runtime::Kube(kube) => kube.remove(run, removal),
            Runtime::Process(process) => process.remove(run, removal),
        }
    }

    /// Calls `wake` whenever a run may have ended, for as long as `wake` says
    /// true. Does not miss an end for long, and may wake without one.
    pub fn watch(&self, wake: impl Fn() -> bool) {
        match self {
            Runtime::Docker(docker) => docker.watch(wake),
            Runtime::Kube(kube) => kube.watch(wake),
            Runtime::Process(process) => process.watch(wake),
        }
    }

    /// Ends what listens for [`Runtime::watch`] and gives the lead away, so that
    /// nothing of ours is left when the program ends.
    pub fn close(&self) {
        match self {
            Runtime::Docker(docker) => docker.close(),
            Runtime::Kube(kube) => kube.close(),
            Runtime::Process(_) => {}
        }
    }

    /// Whether we are the replica that acts. There is only one, but in a
    /// cluster.
    #[must_use]
    pub fn leads(&self) -> bool {
        match self {
            Runtime::Kube(kube) => kube.leads(),
            Runtime::Docker(_) | Runtime::Process(_) => true,
        }
    }

    /// Stands for election, where there is one, and calls `changed` with each
    /// change of [`Runtime::leads`]; comes back when that is over.
    pub fn stand(&self, changed: impl Fn()) {
        match self {
            Runtime::Kube(kube) => kube.stand(changed),
            Runtime::Docker(_) | Runtime::Process(_) => {}
        }
    }

    /// Clears what an earlier start has left behind.
    pub fn sweep(&self) {
        match self {
            Runtime::Docker(_) | Runtime::Kube(_) => {}
            Runtime::Process(process) => process.sweep(),
        }
    }

    /// What would start a run, as one line for a dry run: a command for a
    /// shell, or the JSON of a Job. Secrets stand there by name; everything else
    /// goes through `clean`.
    #[must_use]
    pub fn command_line(&self, spec: &Spec, clean: &dyn Fn(&str) -> String) -> String {
        let quoted = |word: &str| agent::quote(&clean(word));
        let words: Vec<String> = match self {
            Runtime::Docker(docker) => docker
                .command(spec)
                .iter()
                .map(|word| quoted(word))
                .collect(),
            // Before what a Job writes otherwise than we do; and its template.
            Runtime::Kube(kube) => {
                vec![cleaned(kube.job(&spec.cleaned(clean)), clean).to_string()]
            }
            Runtime::Process(_) => {
                let set = spec.env.iter().map(|var| match &var.value {
                    Value::Plain(value) => quoted(&format!("{}={value}", var.name)),
                    Value::Secret(_) | Value::Key(_) => format!("{0}=\"${0}\"", var.name),
                });
                let argv = spec.command.iter().flatten().map(|word| quoted(word));
                ["env".to_owned()]
                    .into_iter()
                    .chain(set)
                    .chain(argv)
                    .collect()
            }
        };
        words.join(" ")
    }
}

/// The same, every text in it cleaned.
fn cleaned(value: serde_json::Value, clean: &dyn Fn(&str) -> String) -> serde_json::Value {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match value {
        String(text) => String(clean(&text)),
        Array(list) => list.into_iter().map(|v| cleaned(v, clean)).collect(),
        Object(map) => Object(
            map.into_iter()
                .map(|(key, value)| (key, cleaned(value, clean)))
                .collect(),
        ),
        other @ (Null | Bool(_) | Number(_)) => other,
    }
}

/// What is behind a mutex, also if somebody has panicked while holding it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 16 random hex digits.
fn random_hex() -> std::io::Result<String> {
    use std::{fmt::Write, io::Read};
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    }))
}
