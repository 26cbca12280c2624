//! What is said to `docker`. Pure.
//!
//! Values of secrets are never among the words: those go by name, and docker
//! takes the values from its own environment
//! (<https://docs.docker.com/reference/cli/docker/container/run/#env>).

use super::super::claim;
use crate::{
    agent::{self, Spec, Value},
    flags::PullPolicy,
};

/// What is the same for every container.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--docker-binary`
    pub binary: std::path::PathBuf,
    /// `--docker-arg`
    pub extra: Vec<String>,
    /// `--image-pull-policy`
    pub pull: PullPolicy,
    /// `--owner`
    pub owner: String,
}

/// The arguments of the `docker run` that starts `spec`.
#[must_use]
pub fn run(settings: &Settings, spec: &Spec) -> Vec<String> {
    let pull = match settings.pull {
        PullPolicy::Always => "always",
        PullPolicy::IfNotPresent => "missing",
        PullPolicy::Never => "never",
    };
    let mut words: Vec<String> = ["run", "--detach", "--init", "--pull", pull]
        .map(Into::into)
        .into();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("--name", spec.name.clone());
    add("--security-opt", "no-new-privileges".to_owned());
    add("--workdir", spec.workspace.clone());
    for (key, value) in &spec.labels {
        add("--label", format!("{key}={value}"));
    }
    for var in &spec.env {
        add(
            "--env",
            match &var.value {
                Value::Plain(value) => format!("{}={value}", var.name),
                Value::Secret(_) | Value::Key(_) => var.name.clone(),
            },
        );
    }
    words.extend(limits(spec));
    words.extend(settings.extra.iter().cloned());
    let command = spec.command.as_ref().and_then(|argv| argv.split_first());
    if let Some((program, _)) = command {
        words.push(format!("--entrypoint={program}"));
    }
    words.push(spec.image.clone());
    words.extend(
        command
            .into_iter()
            .flat_map(|(_, args)| args.iter().cloned()),
    );
    words
}

fn limits(spec: &Spec) -> Vec<String> {
    let mut words = vec![];
    if let Some(cpus) = spec.cpus {
        words.extend(["--cpus".to_owned(), cpus.decimal()]);
    }
    if let Some(memory) = spec.memory {
        // The same for memory and swap together: a limit is a limit.
        words.extend(["--memory".to_owned(), format!("{memory}b")]);
        words.extend(["--memory-swap".to_owned(), format!("{memory}b")]);
    }
    words
}

/// The same options as every run has, for the client to look at and do
/// nothing: whether it understands them at all.
#[must_use]
pub fn check(settings: &Settings, spec: &Spec) -> Vec<String> {
    let mut words = vec!["run".to_owned()];
    words.extend(limits(spec));
    words.extend(settings.extra.iter().cloned());
    words.push("--help".to_owned());
    words
}

/// Lists the ids of the containers of this owner, ended ones included.
#[must_use]
pub fn list(owner: &str) -> Vec<String> {
    let ours = format!("label={}={}", agent::MANAGED_BY, agent::MANAGER);
    let owner = format!("label={}={owner}", agent::OWNER);
    [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        &ours,
        "--filter",
        &owner,
        "--format",
        "{{.ID}}",
    ]
    .map(Into::into)
    .into()
}

/// Lists the id of the container of this very name.
#[must_use]
pub fn find(name: &str) -> Vec<String> {
    let name = format!("name=^/?{name}$");
    [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        &name,
        "--format",
        "{{.ID}}",
    ]
    .map(Into::into)
    .into()
}

/// Describes containers, a line of JSON each, for [`super::state::parse`].
/// Only what is used: the environment, where the secrets are, stays out.
#[must_use]
pub fn inspect(ids: &[String]) -> Vec<String> {
    const FORMAT: &str = concat!(
        r#"{"Id":{{json .ID}},"Name":{{json .Name}},"Created":{{json .Created}},"#,
        r#""State":{{json .State}},"Labels":{{json .Config.Labels}},"#,
        r#""Memory":{{json .HostConfig.Memory}}}"#
    );
    let mut words: Vec<String> = ["inspect", "--type", "container", "--format", FORMAT]
        .map(Into::into)
        .into();
    words.extend_from_slice(ids);
    words
}

/// Removes a container that does not run, with the volumes that are its own.
#[must_use]
pub fn remove(id: &str) -> Vec<String> {
    ["rm", "--volumes", id].map(Into::into).into()
}

/// Prints the environment of a container as one JSON array.
#[must_use]
pub fn environment(id: &str) -> Vec<String> {
    let format = "{{json .Config.Env}}";
    ["inspect", "--type", "container", "--format", format, id]
        .map(Into::into)
        .into()
}

/// Prints a line when a container of this owner ends, until `end` (seconds
/// since 1970).
#[must_use]
pub fn events(owner: &str, end: u64) -> Vec<String> {
    let owner = format!("label={}={owner}", agent::OWNER);
    let end = end.to_string();
    let format = "{{.Status}}";
    [
        "events",
        "--until",
        &end,
        "--filter",
        "type=container",
        "--filter",
        &owner,
        "--format",
        format,
    ]
    .map(Into::into)
    .into()
}

/// Whether such a line says that a container ended or went away.
#[must_use]
pub fn is_end(event: &str) -> bool {
    ["die", "destroy", "remove", "oom"]
        .iter()
        .any(|word| event.starts_with(word))
}

/// Whether a container of these labels is the run that was to be started.
pub fn is_same(spec: &Spec, labels: &std::collections::HashMap<String, String>) -> bool {
    claim::is_same(&spec.labels, |key| labels.get(key).map(String::as_str))
}
