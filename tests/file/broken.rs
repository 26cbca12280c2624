//! Work files that are missing, broken, odd or too large.

use super::*;

#[test]
fn a_file_that_breaks_changes_nothing_until_it_is_mended() {
    let world = World::new("breaks");
    world.items(&json!([{"id": "A-1"}]));
    let started = marking(&world, GATE).start();
    world.wait_for("it began", || begun(&world) == 1);
    write(&world, "[{\"id\": \"A-1\"},\n {\"id\": \"B-1\" \"x\": 1}]");
    started.wait_for_log("broken JSON");
    open_gate(&world);
    // The end of a run needs the source: it is told when that is back.
    world.wait_for("it has ended", || run_dirs(&world)[0].join("exit").exists());
    let warned = started.stderr().matches("WARN").count();
    // Nothing shows that nothing happens: two more polls.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let log = started.stderr();
    assert_eq!(
        count(&log, "broken JSON: expected `,` or `}` at line 2 column 15"),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("WARN").count(),
        warned,
        "nothing is said twice: {log}"
    );
    assert_eq!((world.outcomes().len(), begun(&world)), (0, 1));
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    wait_for_outcomes(&world, 2);
    let log = started.terminate().stderr;
    assert_eq!(count(&log, "the items can be read again"), 1, "{log}");
    assert_eq!(begun(&world), 2);
    assert_nothing_left(&world);
}

#[test]
fn a_missing_file_is_an_error_once_and_a_warning_in_the_daemon() {
    let world = World::new("missing");
    for args in [vec!["--once"], vec!["--once", "--wait"]] {
        let out = marking(&world, "").args(args).run();
        assert_eq!(out.code, Some(1));
        assert_eq!(count(&out.stderr, "ERROR"), 1, "{}", out.stderr);
        let said = format!(
            "{}: there is no such work file",
            world.path("work.json").display()
        );
        assert!(out.stderr.contains(&said), "{}", out.stderr);
    }
    let started = marking(&world, "").start();
    started.wait_for_log("there is no such work file");
    let passes = std::time::Instant::now();
    world.wait_for("a few polls are over", || {
        passes.elapsed().as_millis() > 2200
    });
    world.items(&json!([{"id": "A-1"}]));
    wait_for_outcomes(&world, 1);
    let log = started.terminate().stderr;
    assert_eq!((count(&log, "WARN"), count(&log, "ERROR")), (1, 0), "{log}");
    assert_eq!(count(&log, "the items can be read again"), 1, "{log}");
}

#[test]
fn a_broken_file_ends_a_single_pass_with_1() {
    let world = World::new("broken_once");
    for (text, said) in [
        ("", "it is empty"),
        ("{}", "it holds an object"),
        (
            "[{\"id\": \"A-1\"}",
            "broken JSON: EOF while parsing a list at line 1 column 14",
        ),
        ("[]]", "line 1 column 3"),
    ] {
        write(&world, text);
        let out = marking(&world, "").arg("--once").run();
        assert_eq!(out.code, Some(1), "{text}");
        assert_eq!(count(&out.stderr, said), 1, "{}", out.stderr);
        assert_eq!(begun(&world), 0);
    }
    // The path of a directory, and a path through a file.
    let out = marking(&world, "")
        .arg("--once")
        .arg(format!("--work-file={}", world.dir.display()))
        .run();
    assert_eq!(out.code, Some(1));
    assert!(out.stderr.contains("not a regular file"), "{}", out.stderr);
    let out = marking(&world, "")
        .arg("--once")
        .arg(format!(
            "--work-file={}/x",
            world.path("work.json").display()
        ))
        .run();
    assert_eq!(out.code, Some(1));
    assert!(
        out.stderr.contains("there is no such work file"),
        "{}",
        out.stderr
    );
}

#[test]
fn bad_entries_are_named_by_index_and_id_and_the_others_run() {
    let world = World::new("entries");
    write(
        &world,
        r#"[{"id": "A-1", "sumary": "x"}, 7, {"summary": "no id"}, {"id": "B-1", "env": {"RECAC_X": "1"}},
            {"id": "A-1", "summary": "again"}, {"id": "C-1", "blocked_by": "A-1"}, {"id": "D\n1"}]"#,
    );
    let out = marking(&world, "").finish(1);
    assert_eq!(ends(&world), [("A-1".to_owned(), "succeeded".to_owned())]);
    for said in [
        "WARN  PATH: items[0] (A-1): the key \"sumary\" is not known; did you mean \"summary\"? ticket_id=A-1",
        "ERROR PATH: items[1] is left out: it is a number, not an object",
        "ERROR PATH: items[2] is left out: it has no \"id\"",
        "ERROR PATH: items[3] (B-1) is left out: its \"env\" names \"RECAC_X\": ",
        "ERROR PATH: items[4] (A-1) is left out: its id is that of an earlier entry ticket_id=A-1",
        "ERROR PATH: items[5] (C-1) is left out: its \"blocked_by\" is a string, not an array of ids ticket_id=C-1",
        "ERROR PATH: items[6] is left out: its \"id\" holds a control character: \"D\\n1\"",
    ] {
        let said = said.replace("PATH", world.path("work.json").to_str().unwrap());
        assert_eq!(count(&out.stderr, &said), 1, "{said}\n{}", out.stderr);
    }
    // With --once alone they are no failure of the program.
    assert_eq!(marking(&world, "").arg("--once").run().code, Some(0));
}

#[test]
fn a_file_of_more_than_64_mib_is_not_read() {
    let world = World::new("large");
    let mut text = String::from("[{\"id\":\"A-1\"}");
    text += &" ".repeat((64 << 20) - text.len() - 1);
    text.push(']');
    write(&world, &text);
    marking(&world, "").finish(0);
    assert_eq!(world.outcomes().len(), 1);
    text.push('\n');
    write(&world, &text);
    drop(text);
    let out = marking(&world, "").arg("--once").run();
    assert_eq!(out.code, Some(1));
    assert!(out.stderr.contains("larger than 64 MiB"), "{}", out.stderr);
}
