//! The orchestrator, a supervisor or an agent goes away; the others carry on.

use super::*;
use crate::world::kill;
use rustix::process::Signal;
use serde_json::json;

#[test]
fn agents_outlive_the_orchestrator_and_are_found_again() {
    for signal in [Signal::TERM, Signal::KILL] {
        let world = World::new("outlive");
        world.items(&json!([{"id": "A-1"}]));
        let agent = format!("{BEGIN} {GATE} {END}");
        let first = orchestrator(&world).agent(&agent).start();
        world.wait_for("it began", || begun(&world) == 1);
        let pid = agent_pid(&world, &run_dir(&world));
        first.signal(signal);
        let out = first.wait();
        assert_eq!(out.code.is_some(), signal == Signal::TERM);
        assert_eq!(out.code.unwrap_or(0), 0);
        assert!(lives(pid), "the agent ended with the orchestrator");
        // It is found, and nothing is started beside it.
        let second = orchestrator(&world).agent(&agent).arg("--once").run();
        assert_eq!(second.code, Some(0));
        assert!(second.stderr.contains("running"), "{}", second.stderr);
        let third = orchestrator(&world).agent(&agent).start();
        third.wait_for_log("running");
        open_gate(&world);
        world.wait_for("it is reported", || world.outcomes().len() == 1);
        assert_eq!(third.terminate().code, Some(0));
        let outcome = world.outcome("A-1");
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"]),
            (&json!("succeeded"), &json!(1))
        );
        assert_eq!(begun(&world), 1);
        assert_nothing_left(&world);
    }
}

#[test]
fn an_end_that_nobody_saw_is_reported_by_the_next_start() {
    let world = World::new("unseen_end");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let agent = format!("{BEGIN} {GATE} {END} test $RECAC_ITEM_ID = A-1 || exit 78");
    orchestrator(&world).agent(&agent).arg("--once").run();
    open_gate(&world);
    world.wait_for("both have ended", || {
        run_dirs(&world)
            .iter()
            .filter(|d| d.join("exit").exists())
            .count()
            == 2
    });
    let out = orchestrator(&world).agent(&agent).arg("--once").run();
    assert_eq!(
        out.code,
        Some(0),
        "with --once alone a failed item is no failure"
    );
    assert_eq!(world.outcome("A-1")["outcome"], "succeeded");
    assert_eq!(world.outcome("B-1")["outcome"], "failed");
    assert_eq!(begun(&world), 2);
    assert_nothing_left(&world);
}

#[test]
fn an_agent_whose_supervisor_died_is_stopped_and_tried_again() {
    let world = World::new("supervisor");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent(&format!(
            "{BEGIN} test $RECAC_ATTEMPT = 2 || {{ sleep 600 & exec sleep 600; }}"
        ))
        .start();
    world.wait_for("it began", || begun(&world) == 1);
    let dir = run_dir(&world);
    let agent = agent_pid(&world, &dir);
    kill(parent(agent).unwrap(), Signal::KILL);
    world.wait_for("it is reported", || world.outcomes().len() == 1);
    assert!(!lives(agent));
    let outcome = world.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(outcome["history"][0]["reason"], "its supervisor died");
    assert_eq!(outcome["history"][0]["exit_code"], json!(null));
    assert_eq!(begun(&world), 2);
    // The former attempt goes first, in a pass of its own.
    world.wait_for("its runs are gone", || run_dirs(&world).is_empty());
    started.terminate();
    assert_nothing_left(&world);
}

#[test]
fn supervisor_and_orchestrator_die_and_the_agent_is_stopped_later() {
    let world = World::new("both_die");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let agent = format!("{BEGIN} test $RECAC_ATTEMPT = 2 || exec sleep 600");
    let started = orchestrator(&world).agent(&agent).start();
    world.wait_for("both began", || begun(&world) == 2);
    started.kill();
    let mut agents = vec![];
    for (n, dir) in run_dirs(&world).iter().enumerate() {
        let agent = agent_pid(&world, dir);
        let supervisor = parent(agent).unwrap();
        kill(supervisor, Signal::KILL);
        world.wait_for("the supervisor is gone", || !lives(supervisor));
        if n == 0 {
            kill(agent, Signal::KILL);
            world.wait_for("the agent is gone", || !lives(agent));
        }
        agents.push(agent);
    }
    orchestrator(&world).agent(&agent).finish(0);
    for (id, agent) in ["A-1", "B-1"].into_iter().zip(agents) {
        let outcome = world.outcome(id);
        assert_eq!(outcome["attempts"], 2);
        assert_eq!(outcome["history"][0]["reason"], "its supervisor died");
        assert!(!lives(agent));
    }
    assert_eq!(begun(&world), 4);
    assert_nothing_left(&world);
}

#[test]
fn an_agent_that_was_killed_is_tried_again() {
    let world = World::new("agent_killed");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent(&format!(
            "{BEGIN} test $RECAC_ATTEMPT = 2 || exec sleep 600"
        ))
        .start();
    world.wait_for("it began", || begun(&world) == 1);
    kill(agent_pid(&world, &run_dir(&world)), Signal::KILL);
    world.wait_for("it is reported", || world.outcomes().len() == 1);
    let outcome = world.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(outcome["history"][0]["reason"], "exit code 137 (SIGKILL)");
    // The former attempt goes first, in a pass of its own.
    world.wait_for("its runs are gone", || run_dirs(&world).is_empty());
    started.terminate();
    assert_nothing_left(&world);
}

#[test]
fn a_claim_without_an_agent_is_taken_back() {
    let world = World::new("unborn");
    world.items(&json!([{"id": "A-1"}]));
    let agent = format!("{BEGIN} {GATE} {END}");
    orchestrator(&world).agent(&agent).arg("--once").run();
    let dir = run_dir(&world);
    let pid = agent_pid(&world, &dir);
    let supervisor = parent(pid).unwrap();
    // As if the orchestrator had died before it started the supervisor.
    kill(supervisor, Signal::KILL);
    kill(pid, Signal::KILL);
    world.wait_for("both are gone", || !lives(pid) && !lives(supervisor));
    fs::remove_file(dir.join("pid")).unwrap();
    // And one that died before its claim had a name.
    let new = world.state_dir().join("runs/.new-0123456789abcdef");
    fs::create_dir_all(new.join("work")).unwrap();
    fs::write(new.join("lock"), "").unwrap();
    let gone = world.state_dir().join("runs/.gone-0123456789abcdef");
    fs::create_dir_all(gone.join("work/a")).unwrap();
    open_gate(&world);
    orchestrator(&world).agent(&agent).finish(0);
    let outcome = world.outcome("A-1");
    assert_eq!(
        (&outcome["attempts"], &outcome["history"]),
        (&json!(1), &json!([]))
    );
    assert_nothing_left(&world);
}

#[test]
fn a_stop_that_was_begun_is_carried_on() {
    let world = World::new("stop_again");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent("trap '' TERM; sleep 600 & wait")
        .args(["--agent-timeout=300ms", "--max-attempts=1"])
        .start();
    started.wait_for_log("stop: timed out");
    let dir = run_dir(&world);
    world.wait_for("the note is there", || dir.join("stop").exists());
    started.kill();
    // As if that had been a while ago.
    let mut note = part(&dir, "stop").unwrap();
    note["at"] = json!("2026-01-01T00:00:00.000Z");
    fs::write(dir.join("stop"), note.to_string()).unwrap();
    orchestrator(&world)
        .agent("exit 0")
        .args(["--agent-timeout=1h", "--max-attempts=1"])
        .finish(1);
    let outcome = world.outcome("A-1");
    assert_eq!(outcome["reason"], "timed out after 300ms");
    assert_eq!(outcome["exit_code"], 137);
    assert_nothing_left(&world);
}
