//! One orchestrator for each owner of a state directory, and how it leaves.

use super::*;
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs::File,
    time::{Duration, Instant, SystemTime},
};

#[test]
fn a_second_orchestrator_is_told_who_holds_the_directory() {
    let world = World::new("locked");
    world.items(&json!([]));
    let mut first = orchestrator(&world).start();
    first.wait_for_log("items are wanted");
    let second = orchestrator(&world).arg("--once").run();
    assert_eq!(second.code, Some(75));
    let pid = format!("(pid {})", first.pid());
    assert!(second.stderr.contains(&pid), "{}", second.stderr);
    assert!(second.stderr.contains("--owner"), "{}", second.stderr);
    // A dry run takes no lock, and another owner has one of its own.
    assert_eq!(orchestrator(&world).arg("--dry-run").run().code, Some(0));
    let other = format!("--owner={}-2", world.owner);
    assert_eq!(
        orchestrator(&world).arg("--once").arg(other).run().code,
        Some(0)
    );
    assert!(first.is_running());
    // The lock is never stale.
    first.kill();
    assert_eq!(orchestrator(&world).arg("--once").run().code, Some(0));
}

#[test]
fn owners_in_one_directory_leave_each_other_alone() {
    let world = World::new("owners");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let other = format!("{}-2", world.owner);
    let of_other = || {
        orchestrator(&world)
            .arg(format!("--owner={other}"))
            .arg(format!(
                "--outcomes={}",
                world.path("other.jsonl").display()
            ))
    };
    let agent = format!("{BEGIN} {GATE} {END}");
    let first = orchestrator(&world)
        .agent(&agent)
        .arg("--max-agents=1")
        .start();
    world.wait_for("one began", || begun(&world) == 1);
    // Its agents count for nobody else, and its runs are nobody else's.
    let second = of_other()
        .agent(&agent)
        .args(["--max-agents=2", "--agent-timeout=1ms"])
        .arg("--once")
        .run();
    assert_eq!(second.code, Some(0));
    world.wait_for("two more began", || begun(&world) == 3);
    assert!(!second.stderr.contains("left alone"), "{}", second.stderr);
    open_gate(&world);
    of_other().agent(&agent).finish(0);
    world.wait_for("the first one's are reported", || {
        world.outcomes().len() == 2
    });
    first.terminate();
    let lines = fs::read_to_string(world.path("other.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(begun(&world), 4);
    let mut runs: Vec<_> = marks(&world).into_iter().map(|m| m.run).collect();
    runs.sort();
    runs.dedup();
    assert_eq!(
        runs.len(),
        4,
        "the names of runs are told apart by their owner"
    );
    assert_nothing_left(&world);
}

#[test]
fn an_agent_that_does_not_heed_a_stop_holds_up_nobody_for_long() {
    let world = World::new("leaving");
    world.items(&json!([{"id": "A-1"}]));
    let begin = || {
        orchestrator(&world)
            .agent("trap '' TERM; sleep 600 & wait")
            .args([
                "--agent-timeout=300ms",
                "--max-attempts=1",
                "--interval=1h",
                "--start-timeout=1h",
            ])
            .start()
    };
    let first = begin();
    world.wait_for("it began", || {
        run_dirs(&world).iter().any(|d| d.join("pid").exists())
    });
    first.kill();
    let stopping = begin();
    stopping.wait_for_log("stop: timed out");
    let asked = Instant::now();
    let out = stopping.terminate();
    let took = asked.elapsed();
    assert_eq!(out.code, Some(0));
    assert!(out.stderr.contains("leaving"), "{}", out.stderr);
    assert!(took < Duration::from_secs(25), "left after {took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let world = World::new("second_signal");
        world.items(&json!([{"id": "A-1"}]));
        let started = orchestrator(&world)
            .agent("trap '' TERM; sleep 600 & wait")
            .args(["--agent-timeout=300ms", "--max-attempts=1"])
            .start();
        started.wait_for_log("stop: timed out");
        let asked = Instant::now();
        started.signal(Signal::TERM);
        started.wait_for_log("leaving");
        started.signal(signal);
        let out = started.wait();
        assert_eq!(out.code, Some(code));
        assert!(
            asked.elapsed() < Duration::from_secs(8),
            "{:?}",
            asked.elapsed()
        );
    }
}

#[test]
fn an_idle_orchestrator_leaves_at_once() {
    let world = World::new("idle");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent(&format!("{BEGIN} {GATE}"))
        .arg("--interval=1h")
        .start();
    world.wait_for("it began", || begun(&world) == 1);
    started.wait_for_log("pending");
    let asked = Instant::now();
    assert_eq!(started.terminate().code, Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

#[test]
fn logs_are_kept_for_as_long_as_asked() {
    let world = World::new("keep_logs");
    world.items(&json!([{"id": "A-1"}]));
    orchestrator(&world).agent("echo one").finish(0);
    let logs = || {
        fs::read_dir(world.state_dir().join("logs"))
            .unwrap()
            .flatten()
            .map(|e| e.path())
            .collect::<Vec<_>>()
    };
    let first = logs().remove(0);
    let age = |hours: u64| {
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        File::options()
            .append(true)
            .open(&first)
            .unwrap()
            .set_modified(then)
            .unwrap();
    };
    age(13 * 24);
    orchestrator(&world).finish(0);
    assert_eq!(
        (logs().len(), first.exists()),
        (1, true),
        "14 days by default"
    );
    age(3);
    world.items(&json!([{"id": "B-1"}]));
    orchestrator(&world)
        .agent("echo two")
        .args(["--keep-logs=2h"])
        .finish(0);
    let left = logs();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0], first);
}
