//! The command line from outside: what is refused and how, what a dry run
//! prints, and what is said of a docker that is not there.

mod docker;
mod dry;
mod manifest;
mod values;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::Stdio,
    sync::mpsc,
    thread,
};

use rustix::process::Signal;

use serde_json::json;

use crate::world::{Orchestrator, Output, PATIENCE, World, kill};

/// The program with nothing on its command line but this.
fn bare(world: &World, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = world.command(env!("CARGO_BIN_EXE_orchestrator"));
    command.args(args).envs(env.iter().copied());
    command.current_dir(&world.dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = child.id() as i32;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(out) = receiver.recv_timeout(PATIENCE) else {
        kill(pid, Signal::KILL);
        panic!("it does not end: {args:?} {env:?}");
    };
    let out = out.unwrap();
    Output {
        code: out.status.code(),
        signal: out.status.signal(),
        stdout: String::from_utf8(out.stdout).unwrap(),
        stderr: String::from_utf8(out.stderr).unwrap(),
    }
}

/// A `docker` that is this script of a shell. Each call of it is noted in
/// `$CALLS`.
fn fake_docker(world: &World, script: &str) -> PathBuf {
    let path = world.path("docker");
    let calls = world.path("docker-calls");
    let text = format!(
        "#!/bin/sh\ndir={}\necho \"$1\" >>{}\n{script}\n",
        world.dir.display(),
        calls.display()
    );
    // In place at once: a script that is open for writing cannot be run.
    let new = world.path("docker.new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

/// How often it was called with this.
fn docker_calls(world: &World, word: &str) -> usize {
    let calls = fs::read_to_string(world.path("docker-calls")).unwrap_or_default();
    calls.lines().filter(|line| *line == word).count()
}

/// A command line with containers by the fake.
fn with_docker<'w>(world: &'w World, script: &str) -> Orchestrator<'w> {
    let docker = fake_docker(world, script);
    world.items(&json!([{"id": "A-1"}]));
    world
        .orchestrator()
        .agent("exit 0")
        .arg(format!("--docker-binary={}", docker.display()))
}
