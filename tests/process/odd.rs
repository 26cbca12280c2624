//! Directories of runs that are not what they should be.

use super::*;
use crate::world::kill;
use rustix::process::Signal;
use serde_json::json;
use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

/// Runs an item until its agent is there, and ends orchestrator, supervisor
/// and agent without leaving them a word. What is left: a run whose agent was
/// started and that nobody watches.
fn abandoned(world: &World) -> PathBuf {
    orchestrator(world)
        .agent(&format!("{BEGIN} exec sleep 600"))
        .arg("--once")
        .run();
    let dir = run_dir(world);
    let agent = agent_pid(world, &dir);
    let supervisor = parent(agent).unwrap();
    kill(supervisor, Signal::KILL);
    kill(agent, Signal::KILL);
    world.wait_for("both are gone", || !lives(supervisor) && !lives(agent));
    dir
}

/// A process of somebody else, which leads a group and a session.
struct Stranger(Child);

impl Stranger {
    fn start(world: &World) -> Stranger {
        let mut command = Command::new("sh");
        command
            .args(["-c", "while :; do sleep 0.1; done"])
            .process_group(0);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.current_dir(&world.dir).stdin(Stdio::null());
        Stranger(command.spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn start_ticks(&self) -> u64 {
        stat(self.pid()).unwrap()[19].parse().unwrap()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_number_that_is_another_process_by_now_is_not_signalled() {
    let world = World::new("pid_reuse");
    world.items(&json!([{"id": "A-1"}]));
    let dir = abandoned(&world);
    let template = part(&dir, "pid").unwrap();
    let mut stranger = Stranger::start(&world);
    let ticks = stranger.start_ticks();
    let old_boot = "00000000-0000-4000-8000-000000000000";
    let now = template["boot_id"].as_str().unwrap().to_owned();
    // Also as one whose stop was asked for, and whose time is over.
    for (boot, ticks) in [(old_boot, ticks), (&now, ticks - 1), (&now, ticks + 1)] {
        let mut pid = template.clone();
        pid["pid"] = json!(stranger.pid());
        pid["boot_id"] = json!(boot);
        pid["start_ticks"] = json!(ticks);
        fs::write(dir.join("pid"), pid.to_string()).unwrap();
        let _ = fs::remove_file(dir.join("exit"));
        // Nothing is started: only the run is looked after.
        orchestrator(&world)
            .agent("exit 0")
            .args(["--once", "--max-agents=0", "--agent-timeout=1ms"])
            .run();
        assert!(
            stranger.0.try_wait().unwrap().is_none(),
            "the stranger was ended"
        );
        assert_eq!(part(&dir, "exit").unwrap()["why"], "its supervisor died");
    }
    orchestrator(&world).agent("exit 0").finish(0);
    assert!(
        stranger.0.try_wait().unwrap().is_none(),
        "the stranger was ended"
    );
    let outcome = world.outcome("A-1");
    assert_eq!(
        (&outcome["attempts"], &outcome["history"][0]["reason"]),
        (&json!(2), &json!("its supervisor died"))
    );
    assert_nothing_left(&world);
}

/// Names and contents.
type Files = Vec<(&'static str, Vec<u8>)>;

#[test]
fn what_is_no_run_of_ours_is_named_and_left_alone() {
    let world = World::new("strangers");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    // Under the name that A-1 wants.
    let out = orchestrator(&world).agent("exit 0").arg("--dry-run").run();
    assert_eq!(out.code, Some(0));
    let name = out.stdout.lines().next().unwrap();
    let name = name
        .split_once("RECAC_RUN=")
        .unwrap()
        .1
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let runs = world.state_dir().join("runs");
    let strangers: Vec<(PathBuf, Files)> = vec![
        (
            runs.join(&name),
            vec![
                ("run.json", b"{garbage".to_vec()),
                ("precious", b"1".to_vec()),
            ],
        ),
        (
            runs.join("recac-agent-foreign-1"),
            vec![("precious", b"2".to_vec())],
        ),
        (
            runs.join("web"),
            vec![(
                "run.json",
                json!({"uid": "1", "created": "", "labels": {"recac.io/owner": world.owner}})
                    .to_string()
                    .into_bytes(),
            )],
        ),
        (
            runs.join("binary"),
            vec![("run.json", vec![0xff, 0, 1]), ("pid", vec![0xff])],
        ),
    ];
    for (dir, files) in &strangers {
        fs::create_dir_all(dir).unwrap();
        for (name, content) in files {
            fs::write(dir.join(name), content).unwrap();
        }
    }
    fs::write(runs.join("a file"), "3").unwrap();
    let out = orchestrator(&world)
        .agent(BEGIN)
        .args(["--start-timeout=1s", "--max-attempts=2"])
        .finish(1);
    // The others are served, and the one whose name is taken fails in the end.
    assert_eq!(world.outcome("B-1")["outcome"], "succeeded");
    let outcome = world.outcome("A-1");
    assert_eq!(
        (&outcome["outcome"], &outcome["attempts"]),
        (&json!("failed"), &json!(2))
    );
    let reason = outcome["reason"].as_str().unwrap();
    assert!(
        reason.contains("is there and not a run of ours"),
        "{reason}"
    );
    assert_eq!(
        (&outcome["run"], &outcome["uid"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(begun(&world), 1);
    for (dir, files) in &strangers {
        let said = format!("job_name={}", dir.file_name().unwrap().to_str().unwrap());
        let lines = out
            .stderr
            .lines()
            .filter(|l| l.contains("left alone") && l.contains(&said));
        assert_eq!(lines.count(), 1, "{said}");
        for (name, content) in files {
            assert_eq!(&fs::read(dir.join(name)).unwrap(), content);
        }
    }
    assert_eq!(run_dirs(&world).len(), 5);
}

#[test]
fn a_run_of_ours_that_cannot_be_read_is_never_started_a_second_time() {
    let world = World::new("unreadable");
    world.items(&json!([{"id": "A-1"}]));
    // The second attempt runs, and the first is gone.
    let agent = format!("{BEGIN} test $RECAC_ATTEMPT = 2 || exit 1; {GATE} {END}");
    let started = orchestrator(&world).agent(&agent).start();
    world.wait_for("the second attempt runs alone", || {
        begun(&world) == 2 && run_dirs(&world).len() == 1
    });
    started.kill();
    let dir = run_dir(&world);
    // As a failing disk would answer: neither there nor not there.
    fs::create_dir(dir.join("exit")).unwrap();
    let out = orchestrator(&world).agent(&agent).arg("--once").run();
    assert_eq!(out.code, Some(1), "{}", out.stderr);
    assert!(out.stderr.contains(dir.to_str().unwrap()), "{}", out.stderr);
    let again = orchestrator(&world).agent(&agent).start();
    again.wait_for_log("nothing is done");
    assert_eq!(begun(&world), 2, "a second agent for the item");
    fs::remove_dir(dir.join("exit")).unwrap();
    open_gate(&world);
    world.wait_for("it is reported", || world.outcomes().len() == 1);
    again.terminate();
    assert_eq!(begun(&world), 2);
    assert_eq!(world.outcome("A-1")["attempts"], 2);
    assert_nothing_left(&world);
}
