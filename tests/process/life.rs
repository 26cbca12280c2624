//! How an attempt ends, and what comes of that.

use super::*;
use crate::world::Output;
use serde_json::json;
use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

#[test]
fn an_agent_that_exits_with_0_has_succeeded() {
    let world = World::new("success");
    world.items(&json!([{"id": "A-1", "summary": "one"}]));
    orchestrator(&world)
        .agent(&format!("{BEGIN} echo out; echo err >&2; {END}"))
        .finish(0);
    let outcome = world.outcome("A-1");
    assert_eq!(outcome["outcome"], "succeeded");
    assert_eq!(outcome["attempts"], 1);
    assert_eq!(outcome["exit_code"], 0);
    assert_eq!(outcome["tail"], "out\nerr");
    assert_eq!(outcome["history"], json!([]));
    assert_eq!(
        outcome["run"],
        "recac-agent-x-1".replace('x', &slug(&world, "A-1"))
    );
    assert_eq!(begun(&world), 1);
    let (run, uid) = (
        outcome["run"].as_str().unwrap(),
        outcome["uid"].as_str().unwrap(),
    );
    let log = world.state_dir().join(format!("logs/{run}.{uid}.log"));
    assert_eq!(fs::read_to_string(log).unwrap(), "out\nerr\n");
    assert_nothing_left(&world);
    // There is nothing more to do.
    orchestrator(&world).agent("exit 1").finish(0);
    assert_eq!(world.outcomes().len(), 1);
}

/// FNV-1a as in section 4 of the design, written a second time.
fn slug(world: &World, id: &str) -> String {
    let text = format!("{}\0{id}", world.owner);
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{}-x{hash:08x}", id.to_lowercase())
}

#[test]
fn a_failed_attempt_is_followed_by_another() {
    let world = World::new("retry");
    world.items(&json!([{"id": "A-1"}]));
    let out = orchestrator(&world)
        .agent(&format!(
            "{BEGIN} echo try $RECAC_ATTEMPT; {END} test $RECAC_ATTEMPT = 3 || exit 5"
        ))
        .finish(0);
    let outcome = world.outcome("A-1");
    assert_eq!(outcome["outcome"], "succeeded");
    assert_eq!(outcome["attempts"], 3);
    assert_eq!(outcome["tail"], "try 3");
    let former = |n: usize| {
        let past = &outcome["history"][n];
        assert!(
            past["seconds"].is_number() && past["started"].is_string(),
            "{past}"
        );
        (
            past["attempt"].as_u64(),
            past["exit_code"].as_i64(),
            past["reason"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(former(0), (Some(1), Some(5), "exit code 5".to_owned()));
    assert_eq!(former(1), (Some(2), Some(5), "exit code 5".to_owned()));
    assert_eq!(outcome["history"].as_array().unwrap().len(), 2);
    let attempts: Vec<_> = marks(&world)
        .iter()
        .filter(|m| m.begin)
        .map(|m| m.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    // The log of each attempt is saved.
    assert_eq!(
        fs::read_dir(world.state_dir().join("logs"))
            .unwrap()
            .count(),
        3
    );
    assert_eq!(
        out.stderr.matches("failed: exit code 5").count(),
        2,
        "one line for each"
    );
    assert_nothing_left(&world);
}

#[test]
fn the_last_attempt_and_exit_78_fail_for_good() {
    let world = World::new("for_good");
    world.items(&json!([{"id": "LAST-1"}, {"id": "NEVER-1"}]));
    orchestrator(&world)
        .agent(&format!(
            "{BEGIN} {END} case $RECAC_ITEM_ID in LAST-1) exit 7;; *) exit 78;; esac"
        ))
        .arg("--max-attempts=2")
        .finish(1);
    let (last, never) = (world.outcome("LAST-1"), world.outcome("NEVER-1"));
    assert_eq!(
        [&last["outcome"], &last["reason"]],
        ["failed", "exit code 7"]
    );
    assert_eq!(
        (&last["attempts"], &last["exit_code"]),
        (&json!(2), &json!(7))
    );
    assert_eq!(
        [&never["outcome"], &never["reason"]],
        ["failed", "exit code 78 (failed for good, by its own word)"]
    );
    assert_eq!(
        (&never["attempts"], &never["exit_code"]),
        (&json!(1), &json!(78))
    );
    assert_eq!(begun(&world), 3);
    assert_nothing_left(&world);
    // A failure of an earlier call is none of this one, and nothing runs again.
    orchestrator(&world).agent(BEGIN).finish(0);
    assert_eq!(begun(&world), 3);
}

#[test]
fn an_agent_that_takes_too_long_is_ended() {
    let world = World::new("timeout");
    world.items(&json!([{"id": "A-1"}]));
    orchestrator(&world)
        .agent(&format!("{BEGIN} exec sleep 600"))
        .args(["--agent-timeout=700ms", "--max-attempts=2"])
        .finish(1);
    let outcome = world.outcome("A-1");
    assert_eq!(
        [&outcome["outcome"], &outcome["reason"]],
        ["failed", "timed out after 700ms"]
    );
    assert_eq!(
        (&outcome["attempts"], &outcome["exit_code"]),
        (&json!(2), &json!(143))
    );
    assert_eq!(outcome["history"][0]["reason"], "timed out after 700ms");
    assert_eq!(outcome["history"][0]["exit_code"], 143);
    assert_nothing_left(&world);
}

#[test]
fn one_that_does_not_heed_sigterm_is_killed_after_ten_seconds() {
    let world = World::new("stubborn");
    world.items(&json!([{"id": "A-1"}]));
    let begun = Instant::now();
    // Neither the shell nor what it starts hears SIGTERM.
    orchestrator(&world)
        .agent("trap '' TERM; sleep 600 & wait")
        .args(["--agent-timeout=500ms", "--max-attempts=1"])
        .finish(1);
    let took = begun.elapsed();
    let outcome = world.outcome("A-1");
    assert_eq!(
        [&outcome["outcome"], &outcome["reason"]],
        ["failed", "timed out after 500ms"]
    );
    assert_eq!(outcome["exit_code"], 137);
    assert!(took >= Duration::from_secs(10), "killed after {took:?}");
    assert_nothing_left(&world);
}

#[test]
fn an_agent_that_uses_its_ten_seconds_has_them() {
    let world = World::new("last_words");
    world.items(&json!([{"id": "A-1"}]));
    orchestrator(&world)
        .agent("trap 'sleep 1; echo done; exit 0' TERM; while :; do sleep 0.05; done")
        .args(["--agent-timeout=500ms", "--max-attempts=1"])
        .finish(1);
    let outcome = world.outcome("A-1");
    // It was stopped, whatever it says itself.
    assert_eq!(
        [&outcome["outcome"], &outcome["reason"]],
        ["failed", "timed out after 500ms"]
    );
    assert_eq!(outcome["exit_code"], 0);
    assert!(outcome["tail"].as_str().unwrap().ends_with("done"));
}

#[test]
fn a_command_that_cannot_be_run_is_a_failed_attempt() {
    let world = World::new("no_command");
    world.items(&json!([{"id": "A-1"}]));
    let plain = world.path("plain");
    fs::write(&plain, "text").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    let plain = plain.to_str().unwrap();
    for (n, (command, code, reason)) in [
        (
            "no-such-agent --id {id}",
            127,
            "exit code 127 (command not found)",
        ),
        ("/no/such/agent", 127, "exit code 127 (command not found)"),
        (plain, 126, "exit code 126 (the command cannot be executed)"),
    ]
    .into_iter()
    .enumerate()
    {
        world.items(&json!([{"id": format!("A-{n}")}]));
        orchestrator(&world)
            .arg(format!("--agent-command={command}"))
            .arg("--max-attempts=2")
            .finish(1);
        let outcome = world.outcome(&format!("A-{n}"));
        assert_eq!(
            [&outcome["outcome"], &outcome["reason"]],
            ["failed", reason]
        );
        assert_eq!(
            (&outcome["attempts"], &outcome["exit_code"]),
            (&json!(2), &json!(code))
        );
        let program = command.split(' ').next().unwrap();
        let tail = outcome["tail"].as_str().unwrap();
        assert!(tail.contains(&format!("cannot run `{program}`")), "{tail}");
    }
    assert_nothing_left(&world);
}

#[test]
fn a_signal_that_ends_an_agent_is_its_exit_code() {
    let world = World::new("signal");
    world.items(&json!([{"id": "A-1"}]));
    orchestrator(&world)
        .agent(&format!(
            "{BEGIN} test $RECAC_ATTEMPT = 2 || kill -9 $$; kill -SEGV $$"
        ))
        .arg("--max-attempts=2")
        .finish(1);
    let outcome = world.outcome("A-1");
    assert_eq!(outcome["history"][0]["reason"], "exit code 137 (SIGKILL)");
    assert_eq!(outcome["reason"], "exit code 139 (SIGSEGV)");
    assert_eq!(outcome["exit_code"], 139);
}

#[test]
fn never_more_agents_at_once_than_allowed() {
    let world = World::new("max_agents");
    let items: Vec<_> = (0..9).map(|n| json!({"id": format!("A-{n}")})).collect();
    world.items(&json!(items));
    let out: Output = orchestrator(&world)
        .agent(&format!(
            "{BEGIN} sleep 0.3; {END} test $RECAC_ATTEMPT = 2 || test $RECAC_ITEM_ID != A-3"
        ))
        .arg("--max-agents=3")
        .finish(0);
    let (mut now, mut most) = (0_i32, 0);
    for mark in marks(&world) {
        now += if mark.begin { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!((now, most), (0, 3));
    assert_eq!(begun(&world), 10);
    assert!(
        out.stderr
            .contains("6 more wait for one of 3 agents to end"),
        "waiting is a count"
    );
    assert_nothing_left(&world);
}

#[test]
fn with_no_agents_allowed_nothing_starts_and_what_runs_is_finished() {
    let world = World::new("max_none");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let agent = format!("{BEGIN} {GATE} {END}");
    orchestrator(&world)
        .agent(&agent)
        .args(["--once", "--max-agents=1"])
        .run();
    let again = orchestrator(&world)
        .agent(&agent)
        .args(["--max-agents=0"])
        .start();
    again.wait_for_log("running");
    open_gate(&world);
    world.wait_for("the one that ran is reported", || {
        world.outcomes().len() == 1
    });
    assert_eq!(again.terminate().code, Some(0));
    assert_eq!(world.outcome("A-1")["outcome"], "succeeded");
    assert_eq!(begun(&world), 1);
    assert_nothing_left(&world);
}

#[test]
fn ends_that_come_close_together_are_all_seen_at_once() {
    // No poll helps out: whatever is missed stays so for an hour.
    let world = World::new("prompt");
    let items: Vec<_> = (0..60).map(|n| json!({"id": format!("A-{n}")})).collect();
    world.items(&json!(items));
    orchestrator(&world)
        .agent("sleep 0.$(($$ % 5))")
        .args(["--interval=1h", "--max-agents=6"])
        .finish(0);
    assert_eq!(world.outcomes().len(), 60);
    assert_nothing_left(&world);
}
