//! Items that come, change and go.

use super::*;

#[test]
fn an_item_that_changes_while_it_runs_is_wanted_again_after_its_report() {
    let world = World::new("changed");
    let agent = format!("{BEGIN} {GATE} echo $RECAC_ITEM_SUMMARY; {END}");
    world.items(&json!([{"id": "A-1", "summary": "old"}]));
    let started = orchestrator(&world).agent(&agent).start();
    world.wait_for("it began", || begun(&world) == 1);
    world.items(&json!([{"id": "A-1", "summary": "new", "priority": 7}]));
    started.wait_for_log("running");
    open_gate(&world);
    wait_for_outcomes(&world, 2);
    let all = world.outcomes();
    assert_eq!(
        (&all[0]["tail"], &all[1]["tail"]),
        (&json!("old"), &json!("new"))
    );
    assert_eq!(
        (&all[0]["attempts"], &all[1]["attempts"]),
        (&json!(1), &json!(1))
    );
    assert_ne!(fingerprint(&all[0]), fingerprint(&all[1]));
    assert_ne!(all[0]["uid"], all[1]["uid"]);
    started.terminate();
    // Order and layout are no content.
    world.items(
        &json!([{"priority": 1, "id": "B-1"}, {"priority": 2, "summary": "new", "id": "A-1"}]),
    );
    orchestrator(&world).agent(&agent).finish(0);
    assert_eq!(world.outcomes().len(), 3);
    assert_nothing_left(&world);
}

#[test]
fn an_item_that_changes_while_it_rests_is_tried_again_with_the_new_content() {
    let world = World::new("resting");
    let agent = format!("{BEGIN} echo $RECAC_ITEM_SUMMARY; {END} test $RECAC_ITEM_SUMMARY = new");
    world.items(&json!([{"id": "A-1", "summary": "old"}]));
    let started = orchestrator(&world)
        .agent(&agent)
        .arg("--retry-backoff=3s")
        .start();
    started.wait_for_log("attempt 2 comes at");
    world.items(&json!([{"id": "A-1", "summary": "new"}]));
    wait_for_outcomes(&world, 1);
    let outcome = world.outcome("A-1");
    assert_eq!(
        (&outcome["tail"], &outcome["attempts"]),
        (&json!("new"), &json!(2))
    );
    started.terminate();
    // It counts as told in its new form.
    orchestrator(&world).agent(&agent).finish(0);
    assert_eq!(begun(&world), 2);
}

#[test]
fn an_entry_removed_while_it_runs_goes_on_and_is_reported() {
    let world = World::new("removed");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let agent = format!("{BEGIN} {GATE} {END} test $RECAC_ITEM_ID = A-1");
    let started = orchestrator(&world)
        .agent(&agent)
        .arg("--stop-grace=0s")
        .start();
    world.wait_for("both began", || begun(&world) == 2);
    write(&world, "[]");
    started.wait_for_log("0 items are wanted");
    open_gate(&world);
    wait_for_outcomes(&world, 2);
    started.terminate();
    assert_eq!(world.outcome("A-1")["outcome"], "succeeded");
    let failed = world.outcome("B-1");
    assert_eq!(
        (&failed["outcome"], &failed["attempts"]),
        (&json!("failed"), &json!(1))
    );
    let reason = failed["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "exit code 1; not tried again: the item is not wanted any more"
    );
    assert_eq!(begun(&world), 2);
    assert_nothing_left(&world);
}

#[test]
fn blocked_items_follow_in_order() {
    let world = World::new("chain");
    // One that runs at the same time, and its file order is not the order.
    world.items(&json!([
        {"id": "C-1", "blocked_by": ["B-1", "X-1"]},
        {"id": "B-1", "blocked_by": ["A-1"]},
        {"id": "A-1"},
        {"id": "X-1"},
    ]));
    let out = marking(&world, "sleep 0.1;").finish(0);
    let order = order(&world);
    let place = |id: &str| order.iter().position(|item| item == id).unwrap();
    assert!(
        place("A-1") < place("B-1") && place("B-1") < place("C-1") && place("X-1") < place("C-1")
    );
    let all = marks(&world);
    for (first, then) in [("A-1", "B-1"), ("B-1", "C-1"), ("X-1", "C-1")] {
        let end = all
            .iter()
            .position(|m| m.item == first && !m.begin)
            .unwrap();
        let begin = all.iter().position(|m| m.item == then && m.begin).unwrap();
        assert!(end < begin, "{then} began before {first} had ended");
    }
    assert_eq!(count(&out.stderr, "blocked by A-1 ticket_id=B-1"), 1);
    assert_eq!(world.outcomes().len(), 4);
}

#[test]
fn a_failed_blocker_and_a_cycle_are_named_and_the_others_run() {
    let world = World::new("blocked");
    world.items(&json!([
        {"id": "BAD-1"},
        {"id": "A-1", "blocked_by": ["BAD-1"]},
        {"id": "B-1", "blocked_by": ["A-1"]},
        {"id": "C-1", "blocked_by": ["D-1"]},
        {"id": "D-1", "blocked_by": ["C-1"]},
        {"id": "E-1", "blocked_by": ["NONE-1"]},
        {"id": "F-1"},
    ]));
    let out = marking(&world, "test $RECAC_ITEM_ID != BAD-1 || exit 78;").finish(1);
    let succeeded = |id: &str| (id.to_owned(), "succeeded".to_owned());
    assert_eq!(
        ends(&world),
        [("BAD-1".to_owned(), "failed".to_owned()), succeeded("F-1")]
    );
    for line in [
        "cannot run: blocked by BAD-1, which did not succeed ticket_id=A-1",
        "cannot run: blocked in a circle: C-1 → D-1 ticket_id=C-1",
        "cannot run: blocked by NONE-1, which is not known ticket_id=E-1",
        "blocked by A-1 ticket_id=B-1",
    ] {
        assert_eq!(count(&out.stderr, line), 1, "{line}\n{}", out.stderr);
    }
    // A circle is told of once.
    assert_eq!(count(&out.stderr, "in a circle"), 1, "{}", out.stderr);
    // Only what is open can still be waited for: without the lasting ones it
    // is no failure.
    let again = orchestrator(&world).agent("exit 0").finish(1);
    assert!(again.stderr.contains("did not succeed"), "{}", again.stderr);
    // A blocker that is tried anew and succeeds frees what it held.
    world.items(&json!([{"id": "BAD-1", "summary": "again"}, {"id": "A-1", "blocked_by": ["BAD-1"]}, {"id": "B-1", "blocked_by": ["A-1"]}]));
    orchestrator(&world).agent("exit 0").finish(0);
    assert_eq!(world.outcome("B-1")["outcome"], "succeeded");
}

#[test]
fn an_outcome_line_that_is_removed_runs_the_item_again() {
    let world = World::new("line_removed");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let started = marking(&world, "").start();
    wait_for_outcomes(&world, 2);
    let path = world.path("work.outcomes.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text
        .split_inclusive('\n')
        .filter(|l| !l.contains(r#""id":"A-1""#))
        .collect();
    fs::write(&path, kept).unwrap();
    world.wait_for("it ran again", || begun(&world) == 3);
    wait_for_outcomes(&world, 2);
    started.terminate();
    assert_eq!(order(&world).iter().filter(|id| *id == "A-1").count(), 2);
    assert_eq!(ends(&world).len(), 2);
    assert_nothing_left(&world);
}

#[test]
fn a_torn_last_line_is_warned_of_and_the_next_one_is_whole() {
    let world = World::new("torn");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    marking(&world, "").finish(0);
    let path = world.path("work.outcomes.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let torn = &second[..second.len() / 2];
    fs::write(&path, format!("{first}\n{torn}")).unwrap();
    let lost = if torn.contains(r#""id":"A-1""#) {
        "A-1"
    } else {
        "B-1"
    };
    let out = marking(&world, "").finish(0);
    assert_eq!(
        count(&out.stderr, "the last line (2) is torn and left out"),
        1,
        "{}",
        out.stderr
    );
    assert_eq!(order(&world).iter().filter(|id| *id == lost).count(), 2);
    assert_eq!(begun(&world), 3);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], torn, "what is there is left alone");
    assert_eq!(serde_json::from_str::<Value>(lines[2]).unwrap()["id"], lost);
}

#[test]
fn what_cannot_be_told_now_is_told_later() {
    let world = World::new("untold");
    world.items(&json!([{"id": "A-1"}]));
    let path = world.path("work.outcomes.jsonl");
    // Somebody else holds the file, which also stops root.
    let held = fs::File::create(&path).unwrap();
    held.lock().unwrap();
    let out = marking(&world, "").args(["--once", "--wait"]).start();
    out.wait_for_log("cannot report how it ended");
    assert!(out.stderr().contains("locked by another program"));
    assert_eq!(run_dirs(&world).len(), 1, "the run stays until it is told");
    held.unlock().unwrap();
    let out = out.wait();
    assert_eq!(out.code, Some(0), "in the end all was told: {}", out.stderr);
    assert_eq!(ends(&world), [("A-1".to_owned(), "succeeded".to_owned())]);
    assert_eq!(begun(&world), 1);
    assert_nothing_left(&world);
}

#[test]
fn what_one_start_cannot_tell_the_next_one_does() {
    let world = World::new("untold_once");
    world.items(&json!([{"id": "A-1"}]));
    marking(&world, "").arg("--once").run();
    let path = world.path("work.outcomes.jsonl");
    let held = fs::File::create(&path).unwrap();
    held.lock().unwrap();
    world.wait_for("it has ended", || run_dirs(&world)[0].join("exit").exists());
    let out = marking(&world, "").arg("--once").run();
    assert_eq!(out.code, Some(1));
    assert_eq!(fs::read(&path).unwrap(), b"");
    held.unlock().unwrap();
    assert_eq!(marking(&world, "").arg("--once").run().code, Some(0));
    assert_eq!((ends(&world).len(), begun(&world)), (1, 1));
    assert_nothing_left(&world);
}

#[test]
fn higher_priority_comes_first_then_the_order_of_the_file() {
    let world = World::new("priority");
    world.items(&json!([
        {"id": "Z-1"}, {"id": "LOW-1", "priority": -1}, {"id": "TOP-1", "priority": 10},
        {"id": "HALF-1", "priority": 0.5}, {"id": "A-1", "priority": 0}, {"id": "M-1", "priority": null},
        {"id": "TOP-2", "priority": 10},
    ]));
    marking(&world, "").arg("--max-agents=1").finish(0);
    assert_eq!(
        order(&world),
        ["TOP-1", "TOP-2", "HALF-1", "Z-1", "A-1", "M-1", "LOW-1"]
    );
}

#[test]
fn an_item_gets_its_repository_or_a_reason() {
    let world = World::new("repos");
    world.items(&json!([
        {"id": "A-1", "repo_url": "https://git.example/o/a"},
        {"id": "B-1"},
        {"id": "C-1", "repo_url": "https://evil.example/o/c"},
        {"id": "D-1", "repo_url": "https://me:hunter2hunter2@git.example/o/d"},
        {"id": "E-1", "repo_url": "file:///etc"},
    ]));
    let agent = "--agent-command=sh -c 'echo \"$RECAC_REPO_URL $1\"' -- {repo_url}";
    let out = orchestrator(&world)
        .args([agent, "--repo-host=git.example"])
        .finish(1);
    assert_eq!(world.outcomes().len(), 1);
    assert_eq!(
        world.outcome("A-1")["tail"],
        "https://git.example/o/a https://git.example/o/a"
    );
    for id in ["B-1", "C-1", "D-1", "E-1"] {
        let said = format!("ticket_id={id}");
        let lines: Vec<_> = out
            .stderr
            .lines()
            .filter(|l| l.contains("cannot run: ") && l.contains(&said))
            .collect();
        assert_eq!(lines.len(), 1, "{}", out.stderr);
    }
    assert!(!out.stderr.contains("hunter2"), "{}", out.stderr);
    let out = orchestrator(&world)
        .args([
            agent,
            "--repo-host=git.example",
            "--default-repo=https://git.example/o/b",
        ])
        .finish(1);
    assert_eq!(
        world.outcome("B-1")["tail"],
        "https://git.example/o/b https://git.example/o/b"
    );
    assert_eq!(world.outcomes().len(), 2, "{}", out.stderr);
}

#[test]
fn a_variable_of_the_item_reaches_its_agent() {
    let world = World::new("item_env");
    world.items(&json!([{"id": "A-1", "env": {"GREETING": "hello"}}, {"id": "B-1"}]));
    orchestrator(&world)
        .agent("echo ${GREETING-none} >$MARKS/$RECAC_ITEM_ID")
        .finish(0);
    assert_eq!(
        (
            mark_file(&world, "A-1").as_str(),
            mark_file(&world, "B-1").as_str()
        ),
        ("hello\n", "none\n")
    );
}
