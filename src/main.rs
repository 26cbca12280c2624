//! Argv and environment in, exit code out. The only look at the environment,
//! and the only exit code.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    path::Path,
    process::ExitCode,
    sync::{Arc, RwLock, atomic::AtomicBool, mpsc},
    thread,
    time::Duration,
};

use recac_orchestrator::{
    clock,
    core::spell,
    flags::{self, Asked, Config, Mode, Poller},
    logs,
    orchestrator::{Ended, Event, How, Orchestrator, Setup},
    parts,
    redact::Redactor,
    runtime::process::supervise,
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
            orchestrate(*config, environment()).unwrap_or_else(|why| wrong(&why))
        }
        Ok(Asked::Manifest(asked)) => match parts::manifest(&asked, environment()) {
            Ok((text, lost)) => {
                lost.iter()
                    .for_each(|what| logs::say(&format!("not taken along: {what}")));
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(why) => wrong(&why),
        },
        Ok(Asked::Healthy(config)) => healthy(&config),
        Err(bad) => {
            bad.lines().iter().for_each(|line| logs::say(line));
            ExitCode::from(WRONG)
        }
    }
}

/// What is no text can be no agent's either.
#[expect(clippy::disallowed_methods, reason = "main hands the environment in")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)))
        .collect()
}

fn wrong(why: &str) -> ExitCode {
    logs::say(why);
    ExitCode::from(WRONG)
}

/// Orchestrates. The error is what is wrong with the configuration.
fn orchestrate(config: Config, environment: BTreeMap<String, String>) -> Result<ExitCode, String> {
    let levels = environment.get("RUST_LOG").cloned();
    let agent = parts::agent(&config, environment);
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
    agent.check()?;
    let repos = parts::repos(&config, &agent)?;
    let root = std::path::absolute(&config.state_dir)
        .map_err(|e| format!("--state-dir: {:?}: {e}", config.state_dir))?;
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
            Err(refused) => return Ok(locked(&refused)),
        },
    };
    let runtime = Arc::new(parts::runtime(&config, &state, &agent, &redactor)?);
    if how == How::Forever {
        greet(&config, &root);
    }
    let source = parts::source(&config, &agent, repos, &redactor, how, &state, &runtime)?;
    let setup = Setup {
        limits: parts::limits(&config),
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
    Ok(ended)
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
            if ended.recv_timeout(LEAVE).is_err() {
                log::warn!(
                    "leaving with something still in hand after {}; agents go on and are found \
                     again",
                    spell(LEAVE)
                );
            }
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
            wrong(&format!("--state-dir: cannot use {}: {e}", path.display()))
        }
    }
}
