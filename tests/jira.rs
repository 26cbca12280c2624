//! The program with `--poller jira`, seen from outside: against a Jira of our
//! own, with agents that are plain processes.

mod blocked;
pub mod fake;
mod hostile;
mod life;
mod poll;
mod refused;
mod restart;

use serde_json::Value;

use crate::{
    process,
    world::{Orchestrator, World},
};
use fake::{Fake, Ticket};

/// A command line with this Jira as its source, and agents that have a
/// directory of ours in `$MARKS`.
pub fn orchestrator<'w>(world: &'w World, jira: &Fake) -> Orchestrator<'w> {
    world.set("JIRA_API_TOKEN", jira.token());
    let mut line = process::orchestrator(world)
        .arg("--poller=jira")
        .arg(format!("--jira-url={}", jira.url()));
    if jira.with(|site| site.cloud) {
        line = line.arg(format!("--jira-username={}", jira.user()));
    }
    world.on_failure({
        let asked: Vec<String> = Vec::new();
        move |_| asked.join("\n")
    });
    line
}

/// A ticket that asks for an agent and names a repository.
pub fn wanted(key: &str) -> Ticket {
    Ticket::new(key)
        .label("recac-agent")
        .text("Do it.\n\nRepo: https://github.com/acme/shop")
}

/// What was asked of this Jira, a line each, for a failure to show.
pub fn asked(jira: &Fake) -> Vec<String> {
    let line = |asked: fake::Asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        format!("{} {} {} {body}", asked.status, asked.method, asked.target)
    };
    jira.requests().into_iter().map(line).collect()
}

/// Both kinds of Jira.
pub fn both() -> [Fake; 2] {
    [Fake::cloud(), Fake::data_center()]
}
