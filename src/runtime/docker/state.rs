//! What `docker` says of a container, read. Pure.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerState, ContainerStateStatusEnum as Status};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::{Stamp, State, explain};

/// A line of [`super::words::inspect`].
#[derive(Debug)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// Without the slash.
    pub name: String,
    /// What it is labelled with.
    pub labels: HashMap<String, String>,
    /// What has become of it.
    pub state: State,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Created")]
    created: String,
    #[serde(rename = "State", borrow)]
    state: &'a RawValue,
    #[serde(rename = "Labels")]
    labels: Option<HashMap<String, String>>,
    #[serde(rename = "Memory")]
    memory: Option<i64>,
}

/// A container that was created this long ago and not started never will be:
/// whoever wanted to start it was given less time than that.
const UNBORN: std::time::Duration = std::time::Duration::from_secs(60);

/// Reads one line.
///
/// # Errors
/// With what is odd about it.
pub fn parse(line: &str, now: Stamp) -> Result<Container, String> {
    let odd = |e: serde_json::Error| format!("cannot read what docker says of a container: {e}");
    let line: Line = serde_json::from_str(line).map_err(odd)?;
    let state = container_state(line.state.get()).map_err(odd)?;
    Ok(Container {
        state: state_of(&state, &line.created, line.memory, now)?,
        id: line.id,
        name: line.name.trim_start_matches('/').to_owned(),
        labels: line.labels.unwrap_or_default(),
    })
}

/// Podman has more words for a status, and its own form of a health check,
/// which nobody asks for here.
fn container_state(text: &str) -> Result<ContainerState, serde_json::Error> {
    serde_json::from_str(text).or_else(|_| {
        let mut value: serde_json::Value = serde_json::from_str(text)?;
        if let Some(state) = value.as_object_mut() {
            state.remove("Health");
            state.remove("Healthcheck");
            let plain = match state.get("Status").and_then(|status| status.as_str()) {
                Some("configured" | "initialized") => Some("created"),
                Some("stopped") => Some("exited"),
                _ => None,
            };
            if let Some(plain) = plain {
                state.insert("Status".to_owned(), plain.into());
            }
        }
        serde_json::from_value(value)
    })
}

fn state_of(
    state: &ContainerState,
    created: &str,
    memory: Option<i64>,
    now: Stamp,
) -> Result<State, String> {
    // "Never" is written as the year 1.
    let stamp = |text: &Option<String>| text.as_deref().and_then(|t| t.parse::<Stamp>().ok());
    let created: Stamp = created.parse()?;
    let started = stamp(&state.started_at);
    let exit_code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let error = state.error.as_deref().filter(|error| !error.is_empty());
    let ended = |why: Option<String>, exit_code| {
        let at = stamp(&state.finished_at).or(started).unwrap_or(created);
        State::Ended {
            started,
            at,
            exit_code,
            why,
        }
    };
    Ok(match state.status.unwrap_or(Status::EMPTY) {
        Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING => {
            State::Running {
                since: started.unwrap_or(created),
                orphaned: false,
            }
        }
        Status::CREATED if error.is_some() || exit_code.is_some_and(|code| code != 0) => {
            let error = error.map(|e| format!(": {e}")).unwrap_or_default();
            let why = format!("it could not be started, {}{error}", explain(exit_code));
            ended(Some(why), exit_code)
        }
        Status::CREATED if now.since(created) > UNBORN => State::Unborn,
        Status::CREATED => State::Pending {
            since: created,
            why: None,
            suspended: false,
        },
        Status::EXITED if exit_code == Some(0) => ended(None, exit_code),
        Status::EXITED => {
            let out_of_memory = state.oom_killed.unwrap_or(false).then(|| {
                let limit = memory.filter(|bytes| *bytes > 0);
                let limit = limit.map(|bytes| format!(" (limit {} MiB)", bytes >> 20));
                let limit = limit.unwrap_or_default();
                match exit_code {
                    Some(137) => format!("out of memory{limit}"),
                    code => format!("{} after a process ran out of memory{limit}", explain(code)),
                }
            });
            let error = error.map(|error| format!("{}: {error}", explain(exit_code)));
            ended(out_of_memory.or(error), exit_code)
        }
        Status::REMOVING => {
            let why = format!("it was removed by someone else, {}", explain(exit_code));
            ended((exit_code != Some(0)).then_some(why), exit_code)
        }
        Status::DEAD => {
            let why = format!("docker could not remove it, {}", explain(exit_code));
            ended((exit_code != Some(0)).then_some(why), exit_code)
        }
        Status::EMPTY => return Err("docker gives no status of a container".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker Engine 20.10 prints them.
    fn line(state: &str) -> String {
        format!(
            r#"{{"Id":"0b41","Name":"/recac-agent-rd-1-1","Created":"2026-11-24T03:45:26.574133091Z","State":{state},"Labels":{{"recac.io/owner":"default"}},"Memory":33554432}}"#
        )
    }

    fn state(status: &str, code: i64, oom: bool, error: &str) -> State {
        let started = match status {
            "created" => "0001-01-01T00:00:00Z",
            _ => "2026-11-24T03:45:26.758186328Z",
        };
        let state = serde_json::json!({
            "Dead": status == "dead", "Error": error, "ExitCode": code,
            "FinishedAt": if status == "exited" { "2026-11-24T03:45:27.828419681Z" } else { "0001-01-01T00:00:00Z" },
            "OOMKilled": oom, "Paused": status == "paused", "Pid": 0, "Restarting": false,
            "Running": status == "running", "StartedAt": started, "Status": status,
        });
        parse(&line(&state.to_string()), NOW).unwrap().state
    }

    const CREATED: u64 = 1_795_491_926_574;
    const NOW: Stamp = Stamp(CREATED + 20_000);

    fn why(state: State) -> String {
        let State::Ended { why, .. } = state else {
            panic!("{state:?}")
        };
        why.unwrap_or_default()
    }

    #[test]
    fn a_live_container_runs_since_it_was_started() {
        for status in ["running", "paused", "restarting"] {
            let expected = State::Running {
                since: Stamp(CREATED + 184),
                orphaned: false,
            };
            assert_eq!(state(status, 0, false, ""), expected);
        }
    }

    #[test]
    fn an_ended_one_says_when_and_how() {
        let expected = State::Ended {
            started: Some(Stamp(CREATED + 184)),
            at: Stamp(CREATED + 1254),
            exit_code: Some(3),
            why: None,
        };
        assert_eq!(state("exited", 3, false, ""), expected);
        assert_eq!(
            why(state("exited", 137, true, "")),
            "out of memory (limit 32 MiB)"
        );
        assert_eq!(
            why(state("exited", 2, true, "")),
            "exit code 2 after a process ran out of memory (limit 32 MiB)"
        );
        assert_eq!(why(state("exited", 0, true, "")), "");
        assert!(why(state("dead", 1, false, "")).starts_with("docker could not remove it"));
        assert!(why(state("removing", 137, false, "")).contains("removed by someone else"));
    }

    #[test]
    fn one_that_could_not_be_started_has_ended_with_the_reason() {
        let why = why(state("created", 127, false, "exec: \"nosuch\": not found"));
        assert!(
            why.contains("command not found") && why.contains("nosuch"),
            "{why}"
        );
    }

    #[test]
    fn one_that_is_only_created_is_being_started_or_never_will_be() {
        assert!(matches!(
            state("created", 0, false, ""),
            State::Pending { .. }
        ));
        let text = line(r#"{"Status":"created","ExitCode":0,"Error":""}"#);
        let later = Stamp(CREATED + 60_001);
        assert_eq!(parse(&text, later).unwrap().state, State::Unborn);
    }

    #[test]
    fn podman_words_are_understood_and_nonsense_is_an_error() {
        let text = line(r#"{"Status":"configured","ExitCode":0,"Health":{"Log":7}}"#);
        assert!(matches!(
            parse(&text, NOW).unwrap().state,
            State::Pending { .. }
        ));
        for bad in [
            "",
            "{}",
            "[]",
            "\u{0}",
            &line("{}"),
            &line(r#"{"Status":"odd"}"#),
            &line("7"),
        ] {
            assert!(parse(bad, NOW).is_err(), "{bad}");
        }
    }
}
