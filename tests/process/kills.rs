//! `kill -9` of the orchestrator at any moment: nothing is lost, nothing runs
//! twice.

use super::*;
use crate::random::{Random, seed};
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

const KILLS: usize = 45;
const ITEMS: usize = 12;

/// What an agent does follows from its item and attempt alone.
const AGENT: &str = "sleep 0.$((${RECAC_ITEM_ID#*-} % 3)); \
    case ${RECAC_ITEM_ID#*-} in \
    3) code=1;; \
    5) code=78;; \
    7) test $RECAC_ATTEMPT = 3; code=$?;; \
    *[02468]) test $RECAC_ATTEMPT = 2; code=$?;; \
    *) code=0;; \
    esac;";

/// Attempts and outcome of the item with this number.
fn expected(n: usize) -> (u64, &'static str) {
    match n {
        3 => (3, "failed"),
        5 => (1, "failed"),
        7 => (3, "succeeded"),
        n if n.is_multiple_of(2) => (2, "succeeded"),
        _ => (1, "succeeded"),
    }
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_runs_twice() {
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let world = World::new("kills");
    let command = || {
        orchestrator(&world)
            .agent(&format!("{BEGIN} {AGENT} {END} exit $code"))
            .args(["--max-agents=4", "--max-attempts=3"])
    };
    let mut kills = 0;
    let mut rounds = 0;
    while kills < KILLS {
        let items: Vec<_> = (0..ITEMS)
            .map(|n| json!({"id": format!("R{rounds}-{n}")}))
            .collect();
        world.items(&json!(items));
        rounds += 1;
        while world.outcomes().len() < rounds * ITEMS {
            let started = command().start();
            if random.one_in(2) {
                thread::sleep(Duration::from_millis(random.below(250)));
            } else {
                // Just when something has happened.
                let seen = (
                    begun(&world),
                    world.outcomes().len(),
                    run_dirs(&world).len(),
                );
                let begun_at = Instant::now();
                while seen
                    == (
                        begun(&world),
                        world.outcomes().len(),
                        run_dirs(&world).len(),
                    )
                    && begun_at.elapsed() < Duration::from_millis(600)
                {
                    thread::sleep(Duration::from_micros(300));
                }
                thread::sleep(Duration::from_micros(random.below(6000)));
            }
            let out = started.kill();
            assert_eq!(
                out.signal,
                Some(9),
                "seed {seed}: it left by itself: {}",
                out.stderr
            );
            assert!(!out.stderr.contains("ERROR"), "seed {seed}: {}", out.stderr);
            kills += 1;
        }
    }
    let out = command().args(["--once", "--wait"]).run();
    assert_eq!(
        out.code,
        Some(0),
        "seed {seed}: earlier failures are none of this call"
    );
    check(&world, rounds, seed);
}

#[track_caller]
fn check(world: &World, rounds: usize, seed: u64) {
    let all = marks(world);
    for round in 0..rounds {
        for n in 0..ITEMS {
            let id = format!("R{round}-{n}");
            // Exactly one line.
            let outcome = world.outcome(&id);
            let (attempts, end) = expected(n);
            assert_eq!(outcome["outcome"], end, "seed {seed}: {outcome}");
            assert_eq!(outcome["attempts"], attempts, "seed {seed}: {outcome}");
            let history = outcome["history"].as_array().unwrap().len() as u64;
            assert_eq!(history + 1, attempts, "seed {seed}: {outcome}");
            // Every attempt once, one after the other.
            let seen: Vec<(bool, u64)> = all
                .iter()
                .filter(|m| m.item == id)
                .map(|m| (m.begin, m.attempt))
                .collect();
            let right: Vec<_> = (1..=attempts)
                .flat_map(|n| [(true, n), (false, n)])
                .collect();
            assert_eq!(seen, right, "seed {seed}: {id}");
        }
    }
    assert_eq!(world.outcomes().len(), rounds * ITEMS, "seed {seed}");
    assert_nothing_left(world);
    // Nothing waits in the outcomes file but whole lines.
    let text = fs::read_to_string(world.path("work.outcomes.jsonl")).unwrap();
    assert_eq!(text.lines().count(), rounds * ITEMS, "seed {seed}");
}

#[test]
fn supervisors_killed_at_any_moment_cost_an_attempt_and_nothing_else() {
    let seed = seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let world = World::new("super_kills");
    let items: Vec<_> = (0..ITEMS)
        .map(|n| json!({"id": format!("A-{n}")}))
        .collect();
    world.items(&json!(items));
    let started = orchestrator(&world)
        .agent(&format!("{BEGIN} sleep 0.2; {END} exit 0"))
        .args([
            "--max-agents=4",
            "--max-attempts=1000",
            "--retry-backoff=10ms",
        ])
        .start();
    let mut killed = 0;
    while killed < 25 && world.outcomes().len() < ITEMS {
        // Whatever is a child of ours at this moment: most are supervisors
        // already, some are only about to become one.
        let children = world
            .processes()
            .into_iter()
            .filter(|pid| parent(*pid) == Some(started.pid()));
        let children: Vec<i32> = children.collect();
        if !children.is_empty() {
            crate::world::kill(*random.pick(&children), rustix::process::Signal::KILL);
            killed += 1;
        }
        thread::sleep(Duration::from_millis(random.below(60)));
    }
    world.wait_for("all items are through", || world.outcomes().len() == ITEMS);
    assert_eq!(started.terminate().code, Some(0));
    let all = marks(&world);
    for n in 0..ITEMS {
        let id = format!("A-{n}");
        let outcome = world.outcome(&id);
        assert_eq!(outcome["outcome"], "succeeded", "seed {seed}");
        // Never two at a time: the one before has ended, or was ended.
        let mut attempts: Vec<u64> = all
            .iter()
            .filter(|m| m.item == id && m.begin)
            .map(|m| m.attempt)
            .collect();
        let count = attempts.len();
        attempts.dedup();
        assert_eq!(attempts.len(), count, "seed {seed}: {id} {attempts:?}");
        assert!(attempts.is_sorted(), "seed {seed}: {id} {attempts:?}");
        assert_eq!(
            outcome["attempts"].as_u64(),
            attempts.last().copied(),
            "seed {seed}"
        );
    }
    assert_nothing_left(&world);
}
