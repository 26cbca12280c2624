//! How long it rests, when it looks again, and what an odd clock does to it.

use super::*;

fn backoff(id: &str, attempt: u32, base: Duration) -> Duration {
    let ended = [run(id, attempt).ended(0, 1)];
    let world = see(&[item(id)], &ended).limited(|l| {
        l.max_attempts = u32::MAX;
        l.retry_backoff = base;
    });
    world.rest(0).since(at(0))
}

#[test]
fn the_rest_doubles_from_attempt_to_attempt_up_to_an_hour() {
    for (attempt, plain) in [(1, 30), (2, 60), (3, 120), (4, 240), (7, 1920)] {
        let rest = backoff("IT-1", attempt, secs(30));
        let (low, high) = (secs(plain) * 8 / 10, secs(plain) * 12 / 10);
        assert!((low..=high).contains(&rest), "{attempt}: {rest:?}");
    }
    for (attempt, base) in [(8, secs(30)), (40, secs(30)), (2, Duration::MAX)] {
        let rest = backoff("IT-1", attempt, base);
        assert!((secs(2880)..=secs(3600)).contains(&rest), "{rest:?}");
    }
}

#[test]
fn the_rest_is_spread_by_a_fifth_either_way_and_never_over_an_hour() {
    let rests = |base| (1..400).map(move |n| backoff(&format!("IT-{n}"), 1, secs(base)));
    let (low, high) = (rests(1000).min(), rests(1000).max());
    let near = |found: Option<Duration>, bounds| found.is_some_and(|f| bounds == f.as_secs() / 10);
    assert!(near(low, 80), "{low:?}");
    assert!(near(high, 119) || near(high, 120), "{high:?}");
    assert_eq!(rests(3600).max(), Some(secs(3600)));
    // Nor do those that would rest longer all come back together.
    assert!(rests(36_000).min() < Some(secs(2900)));
    // After a restart the rest is the same: it follows from the run's name.
    assert_eq!(backoff("IT-1", 1, secs(30)), backoff("IT-1", 1, secs(30)));
    assert_eq!(
        backoff("IT-1", 1, secs(1000)),
        Duration::from_millis(1_104_000)
    );
}

#[test]
fn an_action_that_failed_is_tried_again_after_pauses_that_double() {
    let ended = run("IT-1", 1).ended(0, 0);
    let subject = Subject::Run(ended.uid.clone());
    let mut world = see(&[item("IT-1")], std::slice::from_ref(&ended));
    for pause in [5, 10, 20, 40, 60, 60, 60] {
        world.note(0, Note::Failed(&subject));
        world.note(0, Note::Listed(std::slice::from_ref(&ended)));
        world.note(0, Note::Polled(&[]));
        assert_eq!(world.wake(0), Some(at(pause)));
        let words = format!("waits: tried again at {}", at(pause));
        assert_eq!(world.says(pause - 1), ["waits: it has a run", &words]);
        assert_eq!(world.says(pause)[1], "succeeded: exit code 0");
    }
    // Whoever says when is taken at his word, and it counts for nothing else.
    world.note(0, Note::FailedUntil(&subject, at(7)));
    assert_eq!(world.wake(0), Some(at(7)));
    world.note(0, Note::Failed(&subject));
    assert_eq!(world.wake(0), Some(at(60)));
    for note in [
        Note::Done(&subject),
        Note::Told(&subject),
        // Another run, so another count.
        Note::Listed(&[]),
    ] {
        world.note(0, note);
        assert_eq!(world.wake(0), None);
        world.note(0, Note::Failed(&subject));
        assert_eq!(world.wake(0), Some(at(5)));
    }
}

#[test]
fn a_pause_holds_up_neither_other_runs_nor_the_item_of_that_name() {
    let runs = [run("IT-1", 1).ended(0, 0), run("IT-2", 1).ended(0, 0)];
    let mut world = see(&[], &runs);
    world.note(0, Note::Failed(&Subject::Run(runs[0].uid.clone())));
    world.note(0, Note::Failed(&Subject::Item(runs[1].uid.clone())));
    let report = "succeeded: exit code 0";
    assert_eq!(world.says(0)[1], report);
}

#[test]
fn a_run_on_which_an_action_is_under_way_is_left_to_it() {
    let ended = run("IT-1", 1).ended(0, 0);
    let mut world = see(&[item("IT-1")], std::slice::from_ref(&ended));
    world.in_hand.insert(ended.uid);
    assert_eq!(world.says(0), ["waits: it has a run", "in hand"]);
    assert_eq!(world.wake(0), None);
}

#[test]
fn the_earliest_moment_that_matters_is_the_one_to_wake_at() {
    let runs = [
        run("IT-1", 1),
        run("IT-2", 1).pending(None),
        run("IT-3", 1).stop_asked(0, StopCause::Orphaned, "its supervisor died"),
        run("IT-4", 1).suspended(),
    ];
    let mut world = see(&[item("IT-5")], &runs);
    assert_eq!(world.wake(0), Some(at(30)));
    world.refused(0, "IT-5", 1);
    world.note(0, Note::Failed(&Subject::Run(runs[0].uid.clone())));
    assert_eq!(world.wake(0), Some(at(5)));
    // Moments that have passed are none to wake at.
    assert_eq!(world.wake(5), Some(at(30)));
    assert_eq!(world.wake(30), Some(at(60)));
    assert_eq!(world.wake(60), Some(at(600)));
    assert_eq!(world.wake(600), Some(at(7200)));
    assert_eq!(world.wake(7200), None);
}

#[test]
fn a_clock_set_back_delays_and_does_nothing_else() {
    let runs = [
        run("IT-1", 1),
        run("IT-2", 1).pending(None),
        run("IT-3", 1).ended(0, 1),
        run("IT-4", 1).ended(0, 0),
    ];
    let items = [item("IT-1"), item("IT-2"), item("IT-3"), item("IT-4")];
    let world = see(&items, &runs);
    let words = world.says(0);
    assert_eq!(world.says(-86_400), words);
}

#[test]
fn limits_without_end_are_no_limits() {
    let runs = [run("IT-1", 1), run("IT-2", 1).pending(None), run("IT-3", 1)];
    let mut world = see(&[item("IT-4")], &runs).limited(|l| {
        l.agent_timeout = Duration::MAX;
        l.start_timeout = Duration::MAX;
        l.stop_grace = Duration::MAX;
        l.interval = Duration::MAX;
    });
    world = world.withdrawn(0, "IT-3");
    world.refused(0, "IT-4", 1);
    assert_eq!(world.says(1_000_000_000)[1..3], ["running", "pending"]);
    assert_eq!(world.wake(0), Some(Stamp(u64::MAX)));
}
