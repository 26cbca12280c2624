//! The loop with a work file: what is wanted, what is told, what a person is
//! told of it, and the exit code. Agents are plain processes.

mod broken;
mod exits;
mod items;
mod log;

use std::fs;

use serde_json::{Value, json};

use crate::{
    process::{
        BEGIN, END, GATE, assert_nothing_left, begun, mark_file, marks, open_gate, orchestrator,
        run_dirs,
    },
    world::{Orchestrator, World},
};

/// Writes the work file as it is, in place.
fn write(world: &World, text: &str) {
    let new = world.path("work.json.new");
    fs::write(&new, text).unwrap();
    fs::rename(new, world.path("work.json")).unwrap();
}

/// The items in the order in which their attempts began.
fn order(world: &World) -> Vec<String> {
    let begun = marks(world).into_iter().filter(|mark| mark.begin);
    begun.map(|mark| mark.item).collect()
}

/// How often the log says this.
fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

/// Waits for this many outcomes.
#[track_caller]
fn wait_for_outcomes(world: &World, n: usize) {
    world.wait_for("the outcomes are there", || world.outcomes().len() == n);
}

/// Agents that leave marks.
fn marking<'w>(world: &'w World, script: &str) -> Orchestrator<'w> {
    orchestrator(world).agent(&format!("{BEGIN} {script} {END}"))
}

/// The ways in which items ended, by id.
fn ends(world: &World) -> Vec<(String, String)> {
    let mut all: Vec<_> = world
        .outcomes()
        .iter()
        .map(|o| {
            let text = |key: &str| o[key].as_str().unwrap().to_owned();
            (text("id"), text("outcome"))
        })
        .collect();
    all.sort();
    all
}

fn fingerprint(outcome: &Value) -> &str {
    outcome["fingerprint"].as_str().unwrap()
}
