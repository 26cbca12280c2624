//! The exit codes of section 6 of the design.

use super::*;

#[test]
fn a_single_pass_is_well_if_all_was_done_whatever_agents_make_of_it() {
    let world = World::new("once");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1", "blocked_by": ["NONE-1"]}]));
    let once = || marking(&world, "exit 78;").arg("--once").run();
    assert_eq!(once().code, Some(0));
    world.wait_for("it has ended", || run_dirs(&world)[0].join("exit").exists());
    assert_eq!(once().code, Some(0));
    assert_eq!(world.outcome("A-1")["outcome"], "failed");
    assert_nothing_left(&world);
}

#[test]
fn waiting_ends_with_1_if_an_item_fails_or_cannot_run() {
    let world = World::new("wait");
    let finish = |items: Value, code: i32| {
        world.items(&items);
        marking(&world, "case $RECAC_ITEM_ID in BAD*) exit 78;; esac;").finish(code)
    };
    finish(json!([]), 0);
    finish(json!([{"id": "A-1"}]), 0);
    finish(json!([{"id": "BAD-1"}]), 1);
    // An earlier call's failures do not count.
    finish(json!([{"id": "A-1"}, {"id": "BAD-1"}]), 0);
    // What it blocks cannot run now either.
    finish(
        json!([{"id": "BAD-1"}, {"id": "C-1", "blocked_by": ["BAD-1"]}]),
        1,
    );
    finish(json!([{"id": "C-1", "blocked_by": ["NONE-1"]}]), 1);
    finish(json!([{"id": "C-1", "blocked_by": ["C-1"]}]), 1);
    finish(json!([{"id": 7}]), 1);
    assert_eq!(begun(&world), 2);
}

#[test]
fn waiting_follows_a_retry_and_a_rest_to_the_end() {
    let world = World::new("wait_rest");
    world.items(&json!([{"id": "A-1"}]));
    let begin = std::time::Instant::now();
    marking(&world, "test $RECAC_ATTEMPT = 2 || exit 1;")
        .args(["--retry-backoff=1500ms", "--interval=1h"])
        .finish(0);
    assert!(
        begin.elapsed().as_millis() >= 1200,
        "the rest of 1.5 s, less 20 %"
    );
    assert_eq!(begun(&world), 2);
}

#[test]
fn with_no_slot_there_is_nothing_to_wait_for() {
    let world = World::new("wait_none");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1", "blocked_by": ["A-1"]}]));
    let out = marking(&world, "").arg("--max-agents=0").finish(0);
    assert_eq!(begun(&world), 0);
    assert!(out.stderr.contains("blocked by A-1"), "{}", out.stderr);
    assert_eq!(
        count(
            &out.stderr,
            "1 wait, and with --max-agents 0 no agent is started"
        ),
        1,
        "{}",
        out.stderr
    );
}

#[test]
fn a_source_that_breaks_while_waiting_is_given_three_tries() {
    let world = World::new("wait_broken");
    world.items(&json!([{"id": "A-1"}]));
    let started = marking(&world, GATE).args(["--once", "--wait"]).start();
    world.wait_for("it began", || begun(&world) == 1);
    write(&world, "[");
    started.wait_for_log("broken JSON");
    open_gate(&world);
    let out = started.wait();
    assert_eq!(out.code, Some(1));
    assert_eq!(count(&out.stderr, "broken JSON"), 1, "{}", out.stderr);
    // Its end waits for the next start.
    assert_eq!((run_dirs(&world).len(), world.outcomes().len()), (1, 0));
    world.items(&json!([{"id": "A-1"}]));
    marking(&world, "").finish(0);
    assert_eq!((begun(&world), world.outcomes().len()), (1, 1));
    assert_nothing_left(&world);
}

#[test]
fn an_item_that_no_agent_can_be_given_is_refused_with_its_reason() {
    let world = World::new("unfit");
    world.items(&json!([
        {"id": "A-1", "env": {"LONG": "x".repeat(200 * 1024)}},
        {"id": "B-1", "summary": "nul \u{0} here"},
        {"id": "C-1", "description": "é".repeat(100 * 1024), "url": "https://t.example/C-1"},
    ]));
    let out = orchestrator(&world)
        .agent(r#"printf '%s' "$RECAC_ITEM_DESCRIPTION" | tail -n 1"#)
        .finish(1);
    assert_eq!(world.outcomes().len(), 1);
    let tail = world.outcome("C-1")["tail"].as_str().unwrap().to_owned();
    assert!(
        tail.starts_with("[shortened by the orchestrator: "),
        "{tail}"
    );
    assert!(
        tail.ends_with(" of 204800 bytes; the rest is at https://t.example/C-1]"),
        "{tail}"
    );
    for (id, word) in [("A-1", "LONG"), ("B-1", "NUL")] {
        let said = format!("ticket_id={id}");
        let line = out
            .stderr
            .lines()
            .find(|l| l.contains("cannot run: ") && l.contains(&said));
        assert!(
            line.is_some_and(|l| l.contains(word) && l.len() < 500),
            "{id}: {line:?}"
        );
    }
}
