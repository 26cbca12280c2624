//! A docker that is not there, fails or hangs: nothing is done, and it is
//! said once.

use super::*;

/// `run` fails, nothing is there, and not even a plain `create` is possible.
const REFUSES: &str = "case $1 in ps) ;; *) echo \"no $1\" >&2; exit 125;; esac";

fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

#[test]
fn a_docker_that_does_not_exist_is_told_with_what_to_do() {
    let world = World::new("no_docker");
    world.items(&json!([{"id": "A-1"}]));
    for args in [vec!["--once"], vec!["--once", "--wait"]] {
        let out = world
            .orchestrator()
            .agent("exit 0")
            .arg("--docker-binary=/no/such/docker")
            .args(args)
            .run();
        assert_eq!(out.code, Some(1), "{}", out.stderr);
        assert_eq!(count(&out.stderr, "ERROR"), 1, "{}", out.stderr);
        for word in ["/no/such/docker", "--docker-binary"] {
            assert!(out.stderr.contains(word), "{word}: {}", out.stderr);
        }
        assert!(world.outcomes().is_empty());
    }
}

#[test]
fn a_docker_that_fails_is_told_once_for_each_change() {
    let world = World::new("docker_fails");
    let script = "test -e $dir/fine && exit 0; cat $dir/why >&2; exit 1";
    fs::write(world.path("why"), "Cannot connect to the daemon\n").unwrap();
    let started = with_docker(&world, script).arg("--max-agents=0").start();
    started.wait_for_log("Cannot connect to the daemon");
    let polls = || docker_calls(&world, "ps");
    let before = polls();
    world.wait_for("two more polls", || polls() >= before + 2);
    fs::write(world.path("why.new"), "permission denied\n").unwrap();
    fs::rename(world.path("why.new"), world.path("why")).unwrap();
    started.wait_for_log("permission denied");
    let before = polls();
    world.wait_for("two more polls", || polls() >= before + 2);
    fs::write(world.path("fine"), "").unwrap();
    started.wait_for_log("the runs can be seen again");
    let log = started.terminate().stderr;
    assert_eq!(count(&log, "ERROR"), 2, "{log}");
    assert_eq!(
        count(&log, "what runs is not known, so nothing is done"),
        2,
        "{log}"
    );
    assert_eq!(count(&log, "the runs can be seen again"), 1, "{log}");
    assert_eq!(docker_calls(&world, "run"), 0);
}

#[test]
fn waiting_gives_up_after_three_passes_without_docker() {
    let world = World::new("docker_away");
    let out = with_docker(&world, "echo away >&2; exit 1")
        .args(["--once", "--wait"])
        .run();
    assert_eq!(out.code, Some(1));
    assert_eq!(docker_calls(&world, "ps"), 3, "{}", out.stderr);
    assert_eq!(count(&out.stderr, "ERROR"), 1, "{}", out.stderr);
}

#[test]
fn a_docker_that_hangs_is_given_up_and_nothing_of_it_is_left() {
    let world = World::new("docker_hangs");
    // The deadline of a call is 30 s.
    let out = with_docker(&world, "exec sleep 600").arg("--once").run();
    assert_eq!(out.code, Some(1));
    assert!(
        out.stderr.contains("took longer than 30s"),
        "{}",
        out.stderr
    );
    assert_eq!(docker_calls(&world, "run"), 0);
    world.wait_for("it is gone", || world.processes().is_empty());
}

#[test]
fn a_signal_ends_the_waiting_for_a_docker_that_hangs() {
    let world = World::new("docker_signal");
    let started = with_docker(&world, "exec sleep 600").start();
    world.wait_for("docker was called", || docker_calls(&world, "ps") == 1);
    let asked = std::time::Instant::now();
    assert_eq!(started.terminate().code, Some(0));
    assert!(asked.elapsed().as_secs() < 20, "{:?}", asked.elapsed());
}

#[test]
fn answers_that_make_no_sense_are_no_reason_to_do_anything() {
    let world = World::new("docker_odd");
    for (script, said) in [
        (
            "test $1 = ps && echo 0123456789ab; exit 0",
            "docker lists containers that it cannot describe",
        ),
        (
            "case $1 in ps) echo 0123456789ab;; inspect) echo '{\"Id\": 7}';; esac",
            "",
        ),
        (
            "case $1 in ps) echo 0123456789ab;; *) echo '<html>';; esac",
            "",
        ),
    ] {
        let out = with_docker(&world, script).arg("--once").run();
        assert_eq!(out.code, Some(1), "{script}: {}", out.stderr);
        assert!(
            out.stderr
                .contains("what runs is not known, so nothing is done"),
            "{}",
            out.stderr
        );
        assert!(out.stderr.contains(said), "{}", out.stderr);
        assert_eq!(docker_calls(&world, "run"), 0);
    }
}

#[test]
fn a_docker_that_refuses_every_run_is_counted_against_no_item() {
    let world = World::new("docker_refuses");
    let out = with_docker(&world, REFUSES)
        .args(["--once", "--wait", "--max-attempts=1"])
        .run();
    assert_eq!(out.code, Some(1));
    assert_eq!(
        count(&out.stderr, "ERROR nothing can be started"),
        1,
        "{}",
        out.stderr
    );
    // Three attempts, and after each the question whether it was the options.
    assert_eq!(docker_calls(&world, "run"), 6, "{}", out.stderr);
    assert!(world.outcomes().is_empty());
}

#[test]
fn what_waits_for_a_slot_is_counted_once_while_every_run_is_refused() {
    let world = World::new("docker_refuses_all");
    let line = with_docker(&world, REFUSES).args(["--max-agents=1", "--start-timeout=1h"]);
    world.items(&json!([{"id": "A-1"}, {"id": "A-2"}, {"id": "A-3"}]));
    let started = line.start();
    let tried = || docker_calls(&world, "run");
    world.wait_for("it is tried a few times", || tried() >= 4);
    let log = started.terminate().stderr;
    assert_eq!(count(&log, "ERROR nothing can be started"), 1, "{log}");
    let waits = count(&log, "wait for one of");
    assert_eq!(waits, 1, "{log}");
}
