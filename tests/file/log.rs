//! What the log says, and that it says it once.

use super::*;

#[test]
fn each_line_of_the_json_log_can_be_read_by_a_machine() {
    let world = World::new("log_json");
    world.items(&json!([
        {"id": "A-1", "summary": "x\ny"}, {"id": "B-1"}, {"id": "C\u{1b}[31m-1"}, {"id": "D-1", "blocked_by": ["B-1"]}, {"id": 1},
    ]));
    let out = orchestrator(&world)
        .agent("test $RECAC_ITEM_ID = A-1")
        .args(["--log-format=json", "--max-attempts=2", "--max-agents=1"])
        .finish(1);
    let mut of_runs = 0;
    for line in out.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = |key: &str| {
            line[key]
                .as_str()
                .unwrap_or_else(|| panic!("{key}: {line}"))
        };
        let ts = text("ts");
        assert!(
            ts.len() == 24 && ts.ends_with('Z') && ts.as_bytes()[10] == b'T',
            "{ts}"
        );
        assert!(
            ["debug", "info", "warn", "error"].contains(&text("level")),
            "{line}"
        );
        assert!(
            ["orchestrator", "source", "runtime"].contains(&text("component")),
            "{line}"
        );
        assert!(!text("msg").is_empty());
        if line["job_name"].is_string() {
            of_runs += 1;
            assert!(text("job_name").starts_with("recac-agent-"), "{line}");
            assert!(["A-1", "B-1"].contains(&text("ticket_id")), "{line}");
        }
        let msg = text("msg");
        if msg == "start"
            || msg == "running"
            || msg.starts_with("failed: ")
            || msg.starts_with("succeeded: ")
        {
            assert!(
                line["attempt"].is_u64() && line["job_name"].is_string(),
                "{line}"
            );
        }
    }
    assert!(of_runs >= 6, "{}", out.stderr);
    assert_eq!(count(&out.stderr, r#""msg":"start""#), 3, "{}", out.stderr);
}

#[test]
fn the_text_log_is_one_line_for_each_thing_whatever_an_item_holds() {
    let world = World::new("log_text");
    world.items(&json!([{"id": "A\u{9b}1", "summary": "x"}, {"id": "é 1"}]));
    let out = orchestrator(&world)
        .agent("echo 'fake\n2026 ERROR line' >&2; exit 78")
        .finish(1);
    for line in out.stderr.lines() {
        assert!(
            line.starts_with("20") && !line.contains('\u{9b}'),
            "{line:?}"
        );
        let level = line.split_whitespace().nth(1).unwrap();
        assert!(
            ["DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
            "{line:?}"
        );
    }
    assert!(out.stderr.contains("ticket_id=é 1"), "{}", out.stderr);
}

#[test]
fn a_verdict_is_told_when_it_changes_and_not_again() {
    let world = World::new("log_once");
    world.items(&json!([
        {"id": "RUN-1"}, {"id": "WAIT-1"}, {"id": "WAIT-2"}, {"id": "HELD-1", "blocked_by": ["RUN-1"]},
        {"id": "BAD-1", "blocked_by": ["NONE-1"]}, {"id": "REST-1", "priority": 1},
    ]));
    let started = orchestrator(&world)
        .agent(&format!(
            "{BEGIN} test $RECAC_ITEM_ID != REST-1 || exit 1; {GATE} {END}"
        ))
        .args(["--max-agents=1", "--retry-backoff=1h"])
        .start();
    started.wait_for_log("running ticket_id=RUN-1");
    let polls = |log: &str| count(log, "items are wanted");
    let before = started.stderr();
    world.wait_for("three more polls", || {
        polls(&started.stderr()) >= polls(&before) + 3
    });
    let after = started.stderr();
    let new: Vec<&str> = after[before.len()..]
        .lines()
        .filter(|l| !l.contains("items are wanted"))
        .collect();
    assert_eq!(new, [] as [&str; 0], "said though nothing has changed");
    for line in [
        "INFO  start ticket_id=REST-1",
        "WARN  failed: exit code 1 ticket_id=REST-1",
        "INFO  waits: attempt 2 comes at",
        "INFO  start ticket_id=RUN-1",
        "INFO  running ticket_id=RUN-1",
        "INFO  waits: blocked by RUN-1 ticket_id=HELD-1",
        "WARN  cannot run: blocked by NONE-1, which is not known ticket_id=BAD-1",
    ] {
        assert_eq!(count(&after, line), 1, "{line}\n{after}");
    }
    assert!(
        !after.contains("ticket_id=WAIT-"),
        "waiting for a slot is a count: {after}"
    );
    // Without --verbose there is nothing between.
    started.terminate();
    open_gate(&world);
    let quiet = orchestrator(&world)
        .agent("exit 0")
        .args(["--no-verbose", "--once", "--wait", "--max-attempts=1"])
        .run();
    assert_eq!(count(&quiet.stderr, "DEBUG"), 0, "{}", quiet.stderr);
}

#[test]
fn levels_are_chosen_by_verbose_and_rust_log() {
    let world = World::new("levels");
    world.items(&json!([{"id": "A-1"}]));
    let run = |args: &[&str], rust_log: &str| {
        orchestrator(&world)
            .agent("exit 0")
            .args(["--no-verbose", "--once"])
            .args(args)
            .env("RUST_LOG", rust_log)
            .run()
            .stderr
    };
    assert!(!run(&[], "").contains("DEBUG"));
    assert!(run(&["-v"], "").contains("DEBUG"));
    assert!(run(&[], "debug").contains("DEBUG"));
    assert_eq!(run(&[], "off"), "");
}
