//! `--dry-run`: what would be done, and nothing touched.

use super::*;
use std::{collections::BTreeSet, process::Command};

#[test]
fn a_dry_run_prints_a_process_that_a_shell_can_start() {
    let world = World::new("dry_process");
    let nasty = "a 'b' \"c\" $(touch gone) `touch gone` \\ ${HOME}\n\tnew & ; | é";
    world.items(&json!([
        {"id": "A-1", "summary": nasty, "env": {"OTHER_TOKEN": "item-secret-1", "PLAIN": "it's"}},
        {"id": "B-1", "blocked_by": ["A-1"]},
    ]));
    world.set("GITHUB_TOKEN", "ghp-secret-22222");
    let out = world
        .orchestrator()
        .arg("--mode=process")
        .arg("--dry-run")
        .arg("--agent-env=X_PASSWORD=given-secret-3")
        .arg("--agent-command=sh -c 'printf \"%s|\" \"$@\" \"$RECAC_ITEM_SUMMARY\" \"$PLAIN\" \"$GITHUB_TOKEN\" \"$OTHER_TOKEN\" \"$X_PASSWORD\"' -- {id} {summary}")
        .run();
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(!world.state_dir().exists(), "the state directory was made");
    assert!(!world.path("work.outcomes.jsonl").exists());
    for secret in ["item-secret-1", "ghp-secret-22222", "given-secret-3"] {
        assert!(
            !out.stdout.contains(secret) && !out.stderr.contains(secret),
            "{}",
            out.stdout
        );
    }
    assert!(out.stdout.starts_with("env PATH="), "{}", out.stdout);
    assert!(
        out.stdout.contains(r#" GITHUB_TOKEN="$GITHUB_TOKEN" "#),
        "{}",
        out.stdout
    );
    assert!(
        !out.stdout.contains("RECAC_ITEM_ID=B-1"),
        "it waits: {}",
        out.stdout
    );
    assert!(
        out.stderr.contains("waits: blocked by A-1 ticket_id=B-1"),
        "{}",
        out.stderr
    );
    // What was printed is the whole command.
    let mut sh = Command::new("sh");
    sh.args(["-c", &out.stdout])
        .current_dir(&world.dir)
        .env_clear();
    sh.env("PATH", std::env::var_os("PATH").unwrap());
    sh.env("GITHUB_TOKEN", "one")
        .env("OTHER_TOKEN", "two")
        .env("X_PASSWORD", "three 3");
    let said = sh.output().unwrap();
    let expected = format!("A-1|{nasty}|{nasty}|it's|one|two|three 3|");
    assert_eq!(String::from_utf8_lossy(&said.stdout), expected);
    assert!(!world.path("gone").exists(), "text of a ticket was run");
}

#[test]
fn a_dry_run_prints_the_docker_command() {
    let world = World::new("dry_docker");
    let docker = fake_docker(&world, "exit 0");
    world
        .items(&json!([{"id": "A-1", "summary": "it's $(x)", "env": {"MY_KEY": "item-secret-1"}}]));
    world.set("GITHUB_TOKEN", "ghp-secret-22222");
    let out = world
        .orchestrator()
        .arg("--dry-run")
        .arg(format!("--docker-binary={}", docker.display()))
        .args([
            "--image=agent:1",
            "--docker-arg=--network=my net",
            "--agent-command=agent --text {summary}",
        ])
        .run();
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(!world.state_dir().exists());
    assert_eq!(docker_calls(&world, "run"), 0);
    assert!(docker_calls(&world, "ps") >= 1, "it looks at what runs");
    assert_eq!(out.stdout.matches('\n').count(), 1, "{}", out.stdout);
    // The words as a shell sees them.
    let mut sh = Command::new("sh");
    sh.args([
        "-c",
        &format!("print() {{ printf '%s\\n' \"$@\"; }}; print {}", out.stdout),
    ]);
    let words = String::from_utf8(sh.output().unwrap().stdout).unwrap();
    let words: Vec<&str> = words.lines().collect();
    assert_eq!(words[..2], [docker.to_str().unwrap(), "run"]);
    for word in [
        "--init",
        "--network=my net",
        "agent:1",
        "RECAC_ITEM_SUMMARY=it's $(x)",
        "GITHUB_TOKEN",
        "MY_KEY",
    ] {
        let found = words
            .iter()
            .any(|w| *w == word || *w == format!("--env={word}"));
        assert!(found, "{word}: {words:#?}");
    }
    assert_eq!(words[words.len() - 2..], ["--text", "it's $(x)"]);
    assert!(!out.stdout.contains("secret"), "{}", out.stdout);
}

#[test]
fn a_dry_run_beside_runs_changes_nothing() {
    let world = World::new("dry_runs");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let agent = || world.orchestrator().arg("--mode=process").agent("exit 0");
    agent().args(["--once", "--max-agents=1"]).run();
    world.wait_for("it has ended", || {
        let runs = fs::read_dir(world.state_dir().join("runs")).unwrap();
        runs.flatten().any(|e| e.path().join("exit").exists())
    });
    let all = || -> BTreeSet<PathBuf> {
        let mut todo = vec![world.state_dir()];
        let mut all = BTreeSet::new();
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                todo.extend(entry.path().is_dir().then(|| entry.path()));
                all.insert(entry.path());
            }
        }
        all
    };
    let before = all();
    let out = agent().arg("--dry-run").run();
    assert_eq!(out.code, Some(0));
    assert!(
        out.stderr.contains("succeeded: exit code 0 ticket_id=A-1"),
        "{}",
        out.stderr
    );
    assert!(
        out.stdout.contains("RECAC_ITEM_ID=B-1") && !out.stdout.contains("RECAC_ITEM_ID=A-1"),
        "{}",
        out.stdout
    );
    assert_eq!(all(), before);
    assert!(world.outcomes().is_empty());
}

#[test]
fn a_dry_run_that_cannot_look_fails() {
    let world = World::new("dry_bad");
    let out = world
        .orchestrator()
        .args(["--mode=process", "--dry-run"])
        .run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(1), ""));
    let out = with_docker(&world, "echo away >&2; exit 1")
        .arg("--dry-run")
        .run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(1), ""));
    assert!(out.stderr.contains("away"), "{}", out.stderr);
    assert!(!world.state_dir().exists());
}
