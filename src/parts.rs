//! The parts that the loop is put together from, as the options ask for them:
//! limits, agent, source, runtime; and the manifest that has them in a cluster.
//!
//! Reads the files that options name for good (a template, certificates), and
//! refuses what cannot be. Starts nothing, asks nobody, and is handed the
//! environment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    agent::{Agent, Place, is_secret},
    core::Limits,
    flags::{self, Config, Mode, Outcomes, Poller},
    http,
    orchestrator::How,
    redact::Redactor,
    runtime::{
        Runtime,
        docker::{Docker, words::Settings},
        kube::{
            self,
            access::Origin,
            client::{self, Client},
            config_map::ConfigMap,
            deploy,
            lease::Lease,
            manifest as job,
            template::Template,
        },
        process::Process,
    },
    source::{
        Source, Trouble,
        file::{
            File,
            ledger::{Ledger, Remote},
        },
        jira::{self, Jira},
        repo::Repos,
    },
    state::StateDir,
};

/// The bounds of the core.
#[must_use]
pub fn limits(config: &Config) -> Limits {
    Limits {
        owner: config.owner.clone(),
        max_agents: usize::try_from(config.max_agents).unwrap_or(usize::MAX),
        max_attempts: config.max_attempts,
        retry_backoff: config.retry_backoff,
        agent_timeout: config.agent_timeout,
        start_timeout: config.start_timeout,
        stop_grace: config.stop_grace,
        interval: config.interval,
    }
}

/// What every agent gets. `environment` is ours.
#[must_use]
pub fn agent(config: &Config, environment: BTreeMap<String, String>) -> Agent {
    Agent {
        owner: config.owner.clone(),
        place: match config.mode {
            Mode::Local => Place::Container,
            Mode::Kubernetes => Place::Pod,
            Mode::Process => Place::Process,
        },
        command: config.agent_command.clone(),
        image: config.image.clone(),
        provider: config.agent_provider.clone(),
        model: config.agent_model.clone(),
        max_attempts: config.max_attempts,
        github_host: config.github_host.clone(),
        extra: config.agent_env.clone(),
        cpus: config.agent_cpus,
        memory: config.agent_memory,
        environment,
    }
}

/// Which repositories agents may be sent to.
///
/// # Errors
/// If `--default-repo` is none of them.
pub fn repos(config: &Config, agent: &Agent) -> Result<Repos, String> {
    let repos = Repos {
        hosts: config.repo_hosts.clone(),
        default: config.default_repo.clone(),
        needed: agent.command.names_repo(),
    };
    if let Some(default) = &config.default_repo {
        repos.check(default).map_err(|why| {
            let default = flags::without_user(default);
            format!("--default-repo: {default:?}: {why}")
        })?;
    }
    Ok(repos)
}

/// Where items come from.
///
/// # Errors
/// What cannot be used, with the option that names it.
pub fn source(
    config: &Config,
    agent: &Agent,
    repos: Repos,
    redactor: &Arc<RwLock<Redactor>>,
    how: How,
    state: &StateDir,
    runtime: &Runtime,
) -> Result<Source, String> {
    if config.poller == Poller::Jira {
        let client = jira_client(&config.jira, &agent.environment, redactor)?;
        let settings = jira_settings(config, repos, how, state);
        return Ok(Source::jira(Jira::new(client, settings)));
    }
    if let Outcomes::File(path) = &config.outcomes
        && let Some(file) = real(path)
        && real(&config.work_file) == Some(file)
    {
        return Err(format!(
            "--outcomes: {path:?} is the work file itself; outcomes need a file of their own"
        ));
    }
    let outcomes = match (&config.outcomes, runtime) {
        (Outcomes::File(path), _) => Ledger::from(path.clone()),
        (Outcomes::ConfigMap(name), Runtime::Kube(kube)) => {
            Ledger::far(format!("ConfigMap {name}"), Far(kube.config_map(name)))
        }
        (Outcomes::ConfigMap(_), Runtime::Docker(_) | Runtime::Process(_)) => {
            return Err("--outcomes: a ConfigMap works only with --mode k8s".to_owned());
        }
    };
    let file = File::new(config.work_file.clone(), outcomes, repos);
    Ok(Source::file(file))
}

/// The file that a path leads to, also where there is none yet.
fn real(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let to_be = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(to_be)
}

fn jira_client(
    given: &flags::Jira,
    environment: &BTreeMap<String, String>,
    redactor: &Arc<RwLock<Redactor>>,
) -> Result<jira::client::Client, String> {
    let mut settings = http::Settings {
        proxy: http::Proxies::of(environment).towards(&given.url)?,
        ..http::Settings::default()
    };
    let mut trusted = String::new();
    if let Some(path) = &given.ca_file {
        let name = ca_option(path, environment);
        trusted = format!("{name}: {}: ", path.display());
        let pem = std::fs::read(path).map_err(|e| format!("{trusted}{e}"))?;
        settings.roots = Some(pem);
    }
    let http = http::Client::new(&settings).map_err(|why| format!("{trusted}{why}"))?;
    let token = match (&given.token_file, given.token_variable) {
        (Some(path), _) => jira::client::Token::File(path.clone()),
        (None, name) => {
            let name = name.unwrap_or_default();
            let value = environment.get(name).cloned().unwrap_or_default();
            jira::client::token_in(&value, given.username.as_deref())
                .map_err(|why| format!("{name}: {why}"))?;
            jira::client::Token::Value(name.to_owned(), value)
        }
    };
    let access = jira::client::Access {
        url: given.url.clone(),
        username: given.username.clone(),
        token,
        deployment: given.deployment,
    };
    let redactor = Arc::clone(redactor);
    let hide = Box::new(move |name: &str, value: &str| {
        let mut redactor = redactor.write().unwrap_or_else(PoisonError::into_inner);
        redactor.add(name, value);
    });
    Ok(jira::client::Client::new(access, http, hide))
}

/// The name that was used for this file of authorities.
fn ca_option(path: &Path, environment: &BTreeMap<String, String>) -> &'static str {
    match environment.get("SSL_CERT_FILE").map(Path::new) == Some(path) {
        true => "SSL_CERT_FILE",
        false => "--jira-ca-file",
    }
}

fn jira_settings(config: &Config, repos: Repos, how: How, state: &StateDir) -> jira::Settings {
    let given = &config.jira;
    let labels = jira::query::Labels {
        wanted: given.label.clone(),
        done: given.done_label.clone(),
        failed: given.failed_label.clone(),
    };
    let by_label = jira::query::by_label(&labels);
    jira::Settings {
        jql: given.query.clone().unwrap_or(by_label),
        rules: jira::issue::Rules {
            labels,
            by_label: given.query.is_none(),
            blocks_link: given.blocks_link.clone(),
            // An agent finds it in its environment, whatever its command names.
            repos: Repos {
                needed: true,
                ..repos
            },
        },
        start: jira::transition::Move::parse(&given.start_status),
        done: jira::transition::Move::parse(&given.done_status),
        failed: jira::transition::Move::parse(&given.failed_status),
        gone: jira::gone::Gone::at(state.gone(&config.owner)),
        forgets: how != How::Forever,
    }
}

/// Where runs live.
///
/// # Errors
/// What cannot be used, with the option that names it.
pub fn runtime(
    config: &Config,
    state: &StateDir,
    agent: &Agent,
    redactor: &Arc<RwLock<Redactor>>,
) -> Result<Runtime, String> {
    Ok(match config.mode {
        Mode::Local => {
            let settings = Settings {
                binary: config.docker_binary.clone(),
                extra: config.docker_args.clone(),
                pull: config.image_pull_policy,
                owner: config.owner.clone(),
            };
            Runtime::Docker(Docker::new(settings, state.clone(), config.start_timeout))
        }
        Mode::Kubernetes => {
            let proxies = http::Proxies::of(&agent.environment);
            let env = |name: &str| agent.environment.get(name).cloned();
            let (files, context) = (config.kubeconfig.as_deref(), config.kube_context.as_deref());
            let client = Arc::new(Client::new(Origin::choose(files, context, env), proxies)?);
            let settings = job_settings(config, client.namespace())?;
            Runtime::Kube(Box::new(kube::Kube::new(kube::Setup {
                lease: lease(config, &client, &settings.namespace, env)?,
                settings,
                client,
                owner: config.owner.clone(),
                keep_finished: config.keep_finished,
                state: state.clone(),
                redactor: Arc::clone(redactor),
                dry_run: config.dry_run,
            })))
        }
        Mode::Process => {
            Runtime::Process(Process::new(&config.owner, state.clone(), config.dry_run))
        }
    })
}

/// The place of this replica in the election, if there is one. A dry run does
/// without.
fn lease(
    config: &Config,
    client: &Arc<Client>,
    namespace: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<Lease>, String> {
    if !config.leader_elect || config.dry_run {
        return Ok(None);
    }
    let pod = env("POD_NAME").or_else(|| env("HOSTNAME"));
    let pod = pod.unwrap_or_else(|| "orchestrator".to_owned());
    let name = deploy::lease(&config.owner);
    Lease::new(Arc::clone(client), namespace, name, &pod)
        .map(Some)
        .map_err(|e| format!("no random number is to be had: {e}"))
}

/// What every Job is made with. `context` is the namespace of where we are.
fn job_settings(config: &Config, context: Option<String>) -> Result<job::Settings, String> {
    let namespace = config.namespace.clone().or(context);
    let mut settings = job::Settings {
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        pull: config.image_pull_policy,
        secret: config.agent_secret.clone(),
        service_account: config.agent_service_account.clone(),
        start_timeout: config.start_timeout,
        agent_timeout: config.agent_timeout,
        template: None,
    };
    if let Some(path) = &config.job_template {
        let wrong = |why: String| format!("--job-template: {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let template = Template::parse(&text).map_err(wrong)?;
        template.check(&settings).map_err(wrong)?;
        settings.template = Some(template);
    }
    Ok(settings)
}

/// Bytes that a file may have that is given along: an object that is applied is
/// kept a second time, in an annotation of at most 256 KiB.
const LARGEST_FILE: usize = 128 << 10;

/// What runs this configuration in a cluster, as JSON for `kubectl apply`, and
/// what of it could not be taken along. `environment` is ours.
///
/// # Errors
/// What would be refused there.
pub fn manifest(
    asked: &flags::Manifest,
    environment: BTreeMap<String, String>,
) -> Result<(String, Vec<String>), String> {
    let config = &asked.config;
    // What would be refused there is refused here.
    let agent = agent(config, environment);
    agent.check()?;
    repos(config, &agent)?;
    job_settings(config, None)?;
    if let Some(why) = deploy::is_taken(&config.owner) {
        return Err(why);
    }
    let mut lost = Vec::new();
    let mut files = Vec::new();
    let mut take = |option: &str, path: &Path, variable, name| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| format!("{option}: {}: {e}", path.display()))?;
        match text.len() <= LARGEST_FILE {
            true => files.push(deploy::File {
                variable,
                name,
                text,
            }),
            false => lost.push(format!("{option}: it is too large for a ConfigMap")),
        }
        Ok::<(), String>(())
    };
    if let Some(path) = &config.job_template {
        let name = "job-template.json";
        take("--job-template", path, "RECAC_JOB_TEMPLATE", name)?;
    }
    if let (Poller::Jira, Some(path)) = (config.poller, &config.jira.ca_file) {
        let name = ca_option(path, &agent.environment);
        take(name, path, "RECAC_JIRA_CA_FILE", "jira-ca.pem")?;
    }
    let always = agent.forwarded();
    let mut forwarded: Vec<(String, String)> = always
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for rule in &config.agent_env {
        if rule.value.is_some() || is_secret(&rule.name) {
            continue;
        }
        match agent.environment.get(&rule.name) {
            Some(value) => forwarded.push((rule.name.clone(), value.clone())),
            None => lost.push(format!("--agent-env {}: it is not set here", rule.name)),
        }
    }
    if config.jira.token_file.is_some() {
        lost.push("--jira-token-file: JIRA_API_TOKEN of the Secret is the token there".to_owned());
    }
    if config.once && !config.dry_run {
        lost.push("--once: a Deployment goes on for ever".to_owned());
    }
    if let (Poller::File, Outcomes::File(path)) = (config.poller, &config.outcomes) {
        lost.push(format!(
            "--outcomes: {} has to be on a volume, which is for you to add",
            path.display()
        ));
    }
    let list = deploy::deploy(&deploy::Deploy {
        owner: &config.owner,
        namespace: config.namespace.as_deref(),
        image: &asked.image,
        given: &asked.given,
        leader_elect: config.leader_elect,
        work_file: config.poller == Poller::File,
        outcomes: match &config.outcomes {
            Outcomes::ConfigMap(name) => Some(name),
            Outcomes::File(_) => None,
        },
        forwarded: &forwarded,
        files: &files,
    });
    Ok((format!("{list:#}\n"), lost))
}

/// Outcomes in a cluster.
struct Far(ConfigMap);

impl Remote for Far {
    fn version(&self) -> Result<Option<String>, Trouble> {
        self.0.version().map_err(|e| trouble(&e))
    }

    fn read(&self) -> Result<Option<(String, String)>, Trouble> {
        self.0.read().map_err(|e| trouble(&e))
    }

    fn write(&self, text: &str, version: Option<&str>) -> Result<Option<String>, Trouble> {
        self.0.write(text, version).map_err(|e| trouble(&e))
    }
}

/// Only a person changes permissions.
fn trouble(e: &client::Error) -> Trouble {
    match e.is(401) || e.is(403) {
        true => Trouble::Everything(e.to_string()),
        false => Trouble::Later(e.to_string(), None),
    }
}
