//! Argv and environment in, exit code out. The only look at the environment,
//! and the only exit code.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    path::Path,
    process::ExitCode,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicBool, mpsc},
    thread,
    time::Duration,
};

use recac_orchestrator::{
    agent::{Agent, Place},
    clock,
    core::{Limits, spell},
    flags::{self, Asked, Config, Mode, Outcomes, Poller},
    http, logs,
    orchestrator::{Ended, Event, How, Orchestrator, Setup},
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
            manifest,
            template::Template,
        },
        process::{Process, supervise},
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
    state::{self, StateDir},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

/// The command line or the configuration is wrong.
const WRONG: u8 = 2;
/// Another orchestrator of this owner runs (EX_TEMPFAIL of sysexits.h).
const LOCKED: u8 = 75;
/// How long an action in hand may go on after a signal.
const LEAVE: Duration = Duration::from_secs(10);

#[expect(
    clippy::disallowed_methods,
    reason = "the only look at the environment"
)]
fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [verb, dir] = argv.as_slice() {
        let (verb, dir) = (verb.to_str(), Path::new(dir));
        if verb == Some(supervise::SUPERVISE) {
            return if supervise::supervise(dir).is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        if verb == Some(supervise::BECOME) {
            return ExitCode::from(supervise::become_agent(dir));
        }
    }
    let env = |name: &str| std::env::var_os(name);
    match flags::parse(argv, &env) {
        Ok(Asked::Text(text)) => {
            // Whoever reads it may have seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(config)) => {
            // What is no text can be no agent's either.
            let texts = std::env::vars_os()
                .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
            orchestrate(*config, texts.collect())
        }
        Ok(Asked::Manifest(asked)) => match manifest_of(&asked) {
            Ok(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(why) => {
                logs::say(&why);
                ExitCode::from(WRONG)
            }
        },
        Ok(Asked::Healthy(config)) => healthy(&config),
        Err(bad) => {
            bad.lines().iter().for_each(|line| logs::say(line));
            ExitCode::from(WRONG)
        }
    }
}

fn orchestrate(config: Config, environment: BTreeMap<String, String>) -> ExitCode {
    let levels = environment.get("RUST_LOG").cloned();
    let agent = agent(&config, environment);
    let mut redactor = Redactor::new();
    for (name, value) in agent.secrets() {
        redactor.add(name, value);
    }
    let redactor = Arc::new(RwLock::new(redactor));
    logs::start(
        config.log_format,
        config.verbose,
        levels.as_deref(),
        Arc::clone(&redactor),
    );
    if let Err(why) = agent.check() {
        logs::say(&why);
        return ExitCode::from(WRONG);
    }
    let repos = Repos {
        hosts: config.repo_hosts.clone(),
        default: config.default_repo.clone(),
        needed: agent.command.names_repo(),
    };
    if let (Some(default), Err(hold)) = (&config.default_repo, repos.choose(None, "")) {
        logs::say(&format!("--default-repo: {default:?}: {hold}"));
        return ExitCode::from(WRONG);
    }
    let root = match std::path::absolute(&config.state_dir) {
        Ok(root) => root,
        Err(e) => {
            logs::say(&format!("--state-dir: {:?}: {e}", config.state_dir));
            return ExitCode::from(WRONG);
        }
    };
    let state = StateDir::at(&root);
    let how = match (config.dry_run, config.once, config.wait) {
        (true, ..) => How::DryRun,
        (_, true, true) => How::UntilDone,
        (_, true, false) => How::Once,
        (_, false, _) => How::Forever,
    };
    // Held until the end of the program. A dry run touches nothing.
    let held = match how {
        How::DryRun => None,
        How::Forever | How::Once | How::UntilDone => match state.lock(&config.owner) {
            Ok(file) => Some(file),
            Err(refused) => return locked(&refused),
        },
    };
    let runtime = match runtime(&config, &state, &agent, &redactor) {
        Ok(runtime) => Arc::new(runtime),
        Err(why) => {
            logs::say(&why);
            return ExitCode::from(WRONG);
        }
    };
    if how == How::Forever {
        greet(&config, &root);
    }
    let source = match source(&config, repos, &agent.environment, &redactor, how, &runtime) {
        Ok(source) => source,
        Err(why) => {
            logs::say(&why);
            return ExitCode::from(WRONG);
        }
    };
    let setup = Setup {
        limits: limits(&config),
        source,
        runtime,
        agent,
        state,
        keep_logs: config.keep_logs,
        redactor,
        how,
        leaving: Arc::new(AtomicBool::new(false)),
    };
    let ended = run(setup);
    drop(held);
    ended
}

/// Runs the loop on a thread of its own, so that a signal is heard whatever
/// the loop is waiting for.
fn run(setup: Setup) -> ExitCode {
    let (events, listener) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let runtime = Arc::clone(&setup.runtime);
    if let Err(e) = listen(&setup.leaving, events.clone(), end.clone()) {
        logs::say(&format!("cannot listen to signals: {e}"));
        return ExitCode::FAILURE;
    }
    let orchestrator = Orchestrator::new(setup, listener, events);
    thread::spawn(move || end.send(Some(orchestrator.run())));
    let ended = match ended.recv() {
        // A signal: what is in hand may still come to its end.
        Ok(None) => {
            let _ = ended.recv_timeout(LEAVE);
            ExitCode::SUCCESS
        }
        Ok(Some(Ended::Well)) => ExitCode::SUCCESS,
        Ok(Some(Ended::Badly)) | Err(_) => ExitCode::FAILURE,
    };
    runtime.close();
    ended
}

/// The first signal asks the loop to leave; a second one ends the program at
/// once, with 128 and its number.
fn listen(
    leaving: &Arc<AtomicBool>,
    events: mpsc::Sender<Event>,
    end: mpsc::Sender<Option<Ended>>,
) -> std::io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(leaving))?;
        flag::register(signal, Arc::clone(leaving))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            // The loop may be through already.
            let _ = events.send(Event::Leave);
            let _ = end.send(None);
        }
    });
    Ok(())
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

/// What runs this configuration in a cluster.
fn manifest_of(asked: &flags::Manifest) -> Result<String, String> {
    let config = &asked.config;
    // What would be refused there is refused here.
    agent(config, BTreeMap::new()).check()?;
    job_settings(config, None)?;
    let template = config.job_template.as_ref().map(std::fs::read_to_string);
    let template = template
        .transpose()
        .map_err(|e| format!("--job-template: {e}"))?;
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
        template: template.as_deref(),
    });
    Ok(format!("{list:#}\n"))
}

/// Whether the loop of this state directory is well, for a liveness probe.
fn healthy(config: &Config) -> ExitCode {
    let due = StateDir::at(&config.state_dir).next_beat(&config.owner);
    let why = match due {
        Ok(due) if clock::now() <= due => return ExitCode::SUCCESS,
        Ok(due) => format!("no sign of life: one was due at {due}"),
        Err(why) => format!("no sign of life: {why}"),
    };
    logs::say(&why);
    ExitCode::FAILURE
}

/// What somebody who looks at the log wants to know first.
fn greet(config: &Config, state: &Path) {
    let items = match config.poller {
        Poller::File => config.work_file.display().to_string(),
        Poller::Jira => config.jira.url.clone(),
    };
    log::info!(
        "orchestrator {}: items of {items} every {}, at most {} agents as {}, owner {}, state in {}",
        env!("CARGO_PKG_VERSION"),
        spell(config.interval),
        config.max_agents,
        match config.mode {
            Mode::Local => "containers",
            Mode::Kubernetes => "Jobs",
            Mode::Process => "processes",
        },
        config.owner,
        state.display()
    );
}

fn locked(refused: &state::Refused) -> ExitCode {
    match refused {
        state::Refused::Locked(path, pid) => {
            let who = if pid.is_empty() {
                String::new()
            } else {
                format!(" (pid {pid})")
            };
            logs::say(&format!(
                "another orchestrator{who} holds {}; wait for it, or give this one another \
                 --owner or --state-dir",
                path.display()
            ));
            ExitCode::from(LOCKED)
        }
        state::Refused::Broken(path, e) => {
            logs::say(&format!("--state-dir: cannot use {}: {e}", path.display()));
            ExitCode::from(WRONG)
        }
    }
}

fn limits(config: &Config) -> Limits {
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

fn agent(config: &Config, environment: BTreeMap<String, String>) -> Agent {
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

fn source(
    config: &Config,
    repos: Repos,
    environment: &BTreeMap<String, String>,
    redactor: &Arc<RwLock<Redactor>>,
    how: How,
    runtime: &Runtime,
) -> Result<Source, String> {
    if config.poller == Poller::Jira {
        let client = jira_client(&config.jira, environment, redactor)?;
        let settings = jira_settings(&config.jira, repos, how);
        return Ok(Source::jira(Jira::new(client, settings)));
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

fn jira_client(
    given: &flags::Jira,
    environment: &BTreeMap<String, String>,
    redactor: &Arc<RwLock<Redactor>>,
) -> Result<jira::client::Client, String> {
    let mut settings = http::Settings::default();
    let mut trusted = String::new();
    if let Some(path) = &given.ca_file {
        trusted = format!("--jira-ca-file: {}: ", path.display());
        let pem = std::fs::read(path).map_err(|e| format!("{trusted}{e}"))?;
        settings.roots = Some(pem);
    }
    let http = http::Client::new(&settings).map_err(|why| format!("{trusted}{why}"))?;
    let token = match (&given.token_file, given.token_variable) {
        (Some(path), _) => jira::client::Token::File(path.clone()),
        (None, name) => {
            let name = name.unwrap_or_default();
            let value = environment.get(name).cloned().unwrap_or_default();
            jira::client::Token::Value(name.to_owned(), value)
        }
    };
    let access = jira::client::Access {
        url: given.url.clone(),
        username: given.username.clone(),
        token,
        deployment: given.deployment.map(|kind| match kind {
            flags::Deployment::Cloud => jira::site::Deployment::Cloud,
            flags::Deployment::DataCenter => jira::site::Deployment::DataCenter,
        }),
    };
    let redactor = Arc::clone(redactor);
    let hide = Box::new(move |name: &str, value: &str| {
        let mut redactor = redactor.write().unwrap_or_else(PoisonError::into_inner);
        redactor.add(name, value);
    });
    Ok(jira::client::Client::new(access, http, hide))
}

fn jira_settings(given: &flags::Jira, repos: Repos, how: How) -> jira::Settings {
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
            repos,
        },
        start: jira::transition::Move::parse(&given.start_status),
        done: jira::transition::Move::parse(&given.done_status),
        failed: jira::transition::Move::parse(&given.failed_status),
        forgets: how != How::Forever,
    }
}

fn runtime(
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
            let env = |name: &str| agent.environment.get(name).cloned();
            let (files, context) = (config.kubeconfig.as_deref(), config.kube_context.as_deref());
            let client = Arc::new(Client::new(Origin::choose(files, context, env))?);
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
fn job_settings(config: &Config, context: Option<String>) -> Result<manifest::Settings, String> {
    let namespace = config.namespace.clone().or(context);
    let mut settings = manifest::Settings {
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
