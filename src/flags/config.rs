//! What the options come to: [`Config`], and the draft the setters write.
//!
//! Settles what depends on several options or on the place the program runs
//! in. Never touches a path; `main` hands the environment in.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Verb, jira::Jira};
use crate::agent::{Bytes, Command, EnvRule, Millicores};

/// Everything the orchestrator was told, checked as far as that is possible
/// without looking at the world. Paths are as they were written.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where agents run.
    pub mode: Mode,
    /// Where items come from.
    pub poller: Poller,
    /// Time between two polls; at least a second.
    pub interval: Duration,
    /// The provider an agent is told of (`RECAC_PROVIDER`).
    pub agent_provider: String,
    /// The model an agent is told of (`RECAC_MODEL`).
    pub agent_model: String,
    /// The image of an agent's container.
    pub image: String,
    /// When the image is pulled; the default of the mode already applied.
    pub image_pull_policy: PullPolicy,
    /// Jira, where items come from there.
    pub jira: Jira,
    /// The JSON file of items.
    pub work_file: PathBuf,
    /// Where the outcomes of the work file are kept.
    pub outcomes: Outcomes,
    /// The repository of items that name none.
    pub default_repo: Option<String>,
    /// Hosts agents may be sent to, in lower case; empty means any.
    pub repo_hosts: Vec<String>,
    /// The one host, in lower case, whose git is given `GITHUB_TOKEN`.
    pub github_host: String,
    /// Live runs at once; with 0 nothing starts and what runs is finished.
    pub max_agents: u32,
    /// Attempts at one item; at least 1.
    pub max_attempts: u32,
    /// Rest after the first failed attempt; may be zero.
    pub retry_backoff: Duration,
    /// How long an agent may run.
    pub agent_timeout: Duration,
    /// How long a run may be pending, and a pull may take.
    pub start_timeout: Duration,
    /// How long a run whose item was withdrawn may go on; may be zero.
    pub stop_grace: Duration,
    /// What is started in the container or as the process.
    pub agent_command: Command,
    /// Variables an agent is given besides.
    pub agent_env: Vec<EnvRule>,
    /// Limit of processors, in Kubernetes notation.
    pub agent_cpus: Option<Millicores>,
    /// Limit of memory, in Kubernetes notation.
    pub agent_memory: Option<Bytes>,
    /// Further arguments of `docker run`, before the image.
    pub docker_args: Vec<String>,
    /// The docker client, or one that behaves like it.
    pub docker_binary: PathBuf,
    /// Where Jobs live; `None` where that is to be found out.
    pub namespace: Option<String>,
    /// The JSON file that is laid over every Job.
    pub job_template: Option<PathBuf>,
    /// The Secret of every Job.
    pub agent_secret: String,
    /// The service account of every Job, with its token.
    pub agent_service_account: Option<String>,
    /// Files, as the variable `KUBECONFIG` holds them.
    pub kubeconfig: Option<PathBuf>,
    /// The context of them.
    pub kube_context: Option<String>,
    /// How long a reported Job is kept; may be zero.
    pub keep_finished: Duration,
    /// Whether a Lease decides which replica acts.
    pub leader_elect: bool,
    /// Tells several orchestrators of one host, daemon or namespace apart.
    pub owner: String,
    /// Where lock, logs and process runs live; see section 9 of the design.
    pub state_dir: PathBuf,
    /// How long logs of ended runs are kept; zero keeps none.
    pub keep_logs: Duration,
    /// One pass and out. True of every dry run.
    pub once: bool,
    /// With [`Config::once`]: go on until nothing is left that could move.
    /// False in a dry run, which has nothing to wait for.
    pub wait: bool,
    /// Print what would be done and touch nothing.
    pub dry_run: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Log at debug level.
    pub verbose: bool,
}

/// Where agents run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In a container of the docker daemon.
    Local,
    /// As a Job of Kubernetes.
    Kubernetes,
    /// As a plain process of this host.
    Process,
}

/// Where the outcomes of a work file are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcomes {
    /// In this file.
    File(PathBuf),
    /// In the ConfigMap of this name, beside the Jobs.
    ConfigMap(String),
}

/// Where items come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poller {
    /// A JSON file.
    File,
    /// Tickets of Jira.
    Jira,
}

/// When an image is pulled, in the words of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before every run.
    Always,
    /// Where it is not there yet.
    IfNotPresent,
    /// Not at all: it has to be there.
    Never,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the setters write. What depends on something else is settled at the
/// end, when all of it is known.
#[derive(Debug)]
pub(super) struct Draft {
    pub config: Config,
    pub image_pull_policy: Option<PullPolicy>,
    pub outcomes: Option<Outcomes>,
    pub state_dir: Option<PathBuf>,
    /// `--orchestrator-image`
    pub orchestrator_image: Option<String>,
}

/// The name under which an option was given, its value, and whether that is
/// only the default.
pub(super) struct Spoken {
    pub name: String,
    pub value: String,
    pub by_default: bool,
}

impl Draft {
    /// Nothing said yet. None of these values is a default: those stand in the
    /// table, and the parser applies them like any other value.
    pub(super) fn blank() -> Draft {
        Draft {
            config: Config {
                mode: Mode::Local,
                poller: Poller::File,
                interval: Duration::ZERO,
                agent_provider: String::new(),
                agent_model: String::new(),
                image: String::new(),
                image_pull_policy: PullPolicy::IfNotPresent,
                jira: Jira::default(),
                work_file: PathBuf::new(),
                outcomes: Outcomes::File(PathBuf::new()),
                default_repo: None,
                repo_hosts: vec![],
                github_host: String::new(),
                max_agents: 0,
                max_attempts: 0,
                retry_backoff: Duration::ZERO,
                agent_timeout: Duration::ZERO,
                start_timeout: Duration::ZERO,
                stop_grace: Duration::ZERO,
                agent_command: Command::image(),
                agent_env: vec![],
                agent_cpus: None,
                agent_memory: None,
                docker_args: vec![],
                docker_binary: PathBuf::new(),
                namespace: None,
                job_template: None,
                agent_secret: String::new(),
                agent_service_account: None,
                kubeconfig: None,
                kube_context: None,
                keep_finished: Duration::ZERO,
                leader_elect: false,
                owner: String::new(),
                state_dir: PathBuf::new(),
                keep_logs: Duration::ZERO,
                once: false,
                wait: false,
                dry_run: false,
                log_format: LogFormat::Text,
                verbose: false,
            },
            image_pull_policy: None,
            outcomes: None,
            state_dir: None,
            orchestrator_image: None,
        }
    }

    /// Settles what depends on several options or on the environment.
    pub(super) fn settle(
        self,
        spoken: &dyn Fn(&str) -> Option<Spoken>,
        env: &dyn Fn(&str) -> Option<OsString>,
        verb: Verb,
    ) -> Result<Config, Vec<String>> {
        let mut config = self.config;
        let mut wrong = vec![];
        let name = |long: &str| spoken(long).map_or_else(|| format!("--{long}"), |s| s.name);

        // Asked before a dry run drops it: a line that is wrong without
        // --dry-run is wrong with it.
        if config.wait && !config.once {
            wrong.push(format!("{} works only with --once", name("wait")));
        }
        if config.leader_elect && config.mode != Mode::Kubernetes {
            wrong.push(format!(
                "{} works only with --mode k8s",
                name("leader-elect")
            ));
        }
        if config.leader_elect && config.once {
            let name = name("leader-elect");
            wrong.push(format!(
                "{name} does not go together with --once: one pass leads nobody"
            ));
        }
        if config.poller == Poller::Jira {
            // What a manifest is for finds them in a Secret.
            if verb == Verb::Run {
                let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
                wrong.extend(config.jira.find_access(&is_set));
            }
            wrong.extend(config.jira.settle(spoken));
        }
        if config.dry_run {
            config.once = true;
            config.wait = false;
        }

        config.image_pull_policy = self.image_pull_policy.unwrap_or(match config.mode {
            Mode::Kubernetes => PullPolicy::Always,
            Mode::Local | Mode::Process => PullPolicy::IfNotPresent,
        });

        if let Some(place) = &self.outcomes {
            let name = name("outcomes");
            match place {
                Outcomes::File(path) if *path == config.work_file => wrong.push(format!(
                    "{name}: {path:?} is the work file itself; outcomes need a file of their own"
                )),
                Outcomes::ConfigMap(map) if config.mode != Mode::Kubernetes => {
                    let value = format!("configmap:{map}");
                    wrong.push(format!(
                        "{name}: {value:?} works only with --mode k8s; give a file"
                    ));
                }
                Outcomes::File(_) | Outcomes::ConfigMap(_) => {}
            }
        }
        config.outcomes = self.outcomes.unwrap_or_else(|| match config.mode {
            Mode::Kubernetes => Outcomes::ConfigMap(outcomes_of(&config.owner)),
            Mode::Local | Mode::Process => Outcomes::File(outcomes_beside(&config.work_file)),
        });

        match self.state_dir.or_else(|| state_dir(env)) {
            Some(path) => config.state_dir = path,
            None => wrong.push(
                "--state-dir: there is no place for state, as none of STATE_DIRECTORY, \
                 XDG_STATE_HOME and HOME is set; give --state-dir PATH"
                    .to_owned(),
            ),
        }

        if wrong.is_empty() {
            Ok(config)
        } else {
            Err(wrong)
        }
    }
}

/// The ConfigMap of an owner's outcomes.
fn outcomes_of(owner: &str) -> String {
    match owner {
        "default" => "recac-orchestrator-outcomes".to_owned(),
        owner => format!("recac-orchestrator-outcomes-{owner}"),
    }
}

/// `items.json` is kept in `items.outcomes.jsonl`.
fn outcomes_beside(work_file: &Path) -> PathBuf {
    let stem = match work_file.extension() {
        Some(json) if json == "json" => work_file.with_extension(""),
        _ => work_file.to_owned(),
    };
    let mut name = stem.into_os_string();
    name.push(".outcomes.jsonl");
    name.into()
}

/// Where state goes if nobody said: what systemd made for this unit, else
/// where the XDG base directories put it.
fn state_dir(env: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|v| !v.is_empty());
    let unit = set("STATE_DIRECTORY").and_then(|all| {
        // One directory of several belongs to us: the first.
        let first = all.as_bytes().split(|b| *b == b':').find(|p| !p.is_empty());
        first.map(|p| PathBuf::from(OsString::from_vec(p.to_vec())))
    });
    let xdg = || {
        let home = PathBuf::from(set("XDG_STATE_HOME")?);
        // The XDG specification wants a relative path ignored.
        home.is_absolute().then(|| home.join("recac-orchestrator"))
    };
    let home = || Some(PathBuf::from(set("HOME")?).join(".local/state/recac-orchestrator"));
    unit.or_else(xdg).or_else(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(vars: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| {
            let found = vars.iter().find(|(n, _)| *n == name);
            found.map(|(_, v)| OsString::from(v))
        };
        state_dir(&env).map(|p| p.display().to_string())
    }

    #[test]
    fn state_goes_where_systemd_or_xdg_say() {
        let home = ("HOME", "/home/me");
        let xdg = ("XDG_STATE_HOME", "/xdg");
        let unit = ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
        let beneath = "/home/me/.local/state/recac-orchestrator";
        assert_eq!(dir(&[home, xdg, unit]).as_deref(), Some("/var/lib/a"));
        assert_eq!(
            dir(&[home, xdg]).as_deref(),
            Some("/xdg/recac-orchestrator")
        );
        assert_eq!(dir(&[home]).as_deref(), Some(beneath));
        let unset = [home, ("XDG_STATE_HOME", ""), ("STATE_DIRECTORY", "")];
        assert_eq!(dir(&unset).as_deref(), Some(beneath));
        let odd = [home, ("XDG_STATE_HOME", "xdg"), ("STATE_DIRECTORY", "::")];
        assert_eq!(dir(&odd).as_deref(), Some(beneath));
        assert_eq!(dir(&[("HOME", "")]), None);
        assert_eq!(dir(&[]), None);
    }

    #[test]
    fn outcomes_lie_beside_the_work_file() {
        for (work, outcomes) in [
            ("work_items.json", "work_items.outcomes.jsonl"),
            ("/a.json/b.json", "/a.json/b.outcomes.jsonl"),
            ("a.json.json", "a.json.outcomes.jsonl"),
            ("items", "items.outcomes.jsonl"),
            ("items.txt", "items.txt.outcomes.jsonl"),
        ] {
            assert_eq!(outcomes_beside(Path::new(work)), Path::new(outcomes));
        }
    }
}
