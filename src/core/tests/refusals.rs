//! What the runtime refuses, of one item or altogether.

use super::*;

#[test]
fn a_runtime_that_refuses_everything_counts_against_no_item() {
    let mut world = see(&[item("IT-1"), item("IT-2")], &[]);
    for minute in 0..100 {
        world.note(minute * 60, Note::RuntimeRefused("the daemon is ill"));
        let words = "waits: nothing can be started: the daemon is ill";
        assert_eq!(world.says(minute * 60), [words, words]);
        assert_eq!(world.wake(minute * 60), Some(at(minute * 60 + 60)));
        assert_eq!(world.says(minute * 60 + 60), ["start", "start"]);
    }
    world.items = Some(vec![item("IT-1")]);
    let new = world.spawn(6000);
    assert_eq!((new.attempt, new.history), (1, vec![]));
}

#[test]
fn a_runtime_that_answers_for_one_item_is_tried_with_the_others_at_once() {
    let mut world = see(&[item("IT-1"), item("IT-2")], &[]);
    world.note(0, Note::RuntimeRefused("the daemon is ill"));
    world.note(1, Note::Spawned("IT-1"));
    assert_eq!(world.says(1), ["start", "start"]);
    world.note(2, Note::RuntimeRefused("the daemon is ill"));
    world.refused(3, "IT-1", 1);
    assert_eq!(world.says(3)[1], "start");
}

#[test]
fn a_refused_item_is_tried_again_at_each_tick_and_holds_up_nobody() {
    let mut world = see(&[item("IT-1"), item("IT-2")], &[]).limited(|l| l.max_agents = 1);
    world.refused(0, "IT-1", 1);
    let words = "waits: refused since 2026-11-24T03:05:07.000Z: no such image";
    assert_eq!(world.says(0), [words, "start"]);
    assert_eq!(world.wake(0), Some(at(60)));
    assert_eq!(world.says(60)[0], "start");
    // Since the first refusal, not the last.
    world.refused(60, "IT-1", 1);
    assert_eq!(world.says(60)[0], words);
    assert_eq!(world.wake(60), Some(at(120)));
}

#[test]
fn refused_for_the_start_timeout_on_end_is_a_failed_attempt() {
    let mut world = see(&[item("IT-1")], &[]).limited(|l| l.start_timeout = secs(90));
    world.refused(0, "IT-1", 1);
    world.refused(60, "IT-1", 1);
    // The last try is not later than the end of the timeout.
    assert_eq!(world.wake(60), Some(at(90)));
    world.refused(90, "IT-1", 1);
    let rest = world.rest(90).since(at(90));
    assert!((secs(24)..=secs(36)).contains(&rest), "{rest:?}");
    assert_eq!(world.wake(90), Some(world.rest(90)));
    let new = world.spawn(130);
    let failed = Past::new(1, at(0), at(90), None, "no such image");
    assert_eq!(new.attempt, 2);
    // It never had a run, so no number is taken.
    assert_eq!(new.number, 1);
    assert_eq!(new.history, [failed]);
    // The next attempt has a start timeout of its own, and a longer rest.
    world.refused(130, "IT-1", 2);
    let words = "waits: refused since 2026-11-24T03:07:17.000Z: no such image";
    assert_eq!(world.says(130), [words]);
    world.refused(220, "IT-1", 2);
    let rest = world.rest(220).since(at(220));
    assert!((secs(48)..=secs(72)).contains(&rest), "{rest:?}");
}

#[test]
fn a_spawn_that_took_longer_than_the_start_timeout_to_be_refused_is_a_failed_attempt() {
    let mut world = see(&[item("IT-1")], &[]);
    let note = Note::Refused {
        source_id: "IT-1",
        attempt: 1,
        begun: at(0),
        why: "the pull takes too long",
    };
    world.note(600, note);
    assert_eq!(world.spawn(700).history[0].took, secs(600));
}

/// As [`World::refused`] until `attempt` counts as failed.
fn refused_to_the_end(world: &mut World, id: &str, attempt: u32, from: i64) {
    world.refused(from, id, attempt);
    world.refused(from + 600, id, attempt);
}

#[test]
fn an_item_refused_to_the_end_is_reported_without_a_run() {
    let mut world = see(&[item("IT-1")], &[]);
    for attempt in 1..=3 {
        let from = i64::from(attempt) * 1000;
        refused_to_the_end(&mut world, "IT-1", attempt, from);
    }
    let failed = |n| {
        let from = i64::from(n) * 1000;
        Past::new(n, at(from), at(from + 600), None, "no such image")
    };
    let outcome = Outcome {
        item_id: "IT-1".into(),
        source_id: "IT-1".into(),
        fingerprint: Fingerprint(7),
        end: End::Failed,
        reason: "no such image".into(),
        attempts: 3,
        exit_code: None,
        started: at(3000),
        finished: at(3600),
        history: vec![failed(1), failed(2)],
        run: None,
    };
    assert_eq!(world.report(3600), outcome);
    assert_eq!(world.says(3600), ["failed: no such image"]);

    let subject = Subject::Item("IT-1".into());
    world.note(3600, Note::Failed(&subject));
    let words = "waits: tried again at 2026-11-24T04:05:12.000Z";
    assert_eq!(world.says(3600), [words]);
    assert_eq!(world.wake(3600), Some(at(3605)));
    assert_eq!(world.report(3605), outcome);
    // Once told it begins anew, if a person wants it again.
    world.note(3605, Note::Told(&subject));
    assert_eq!(world.spawn(3605).attempt, 1);
}

#[test]
fn refused_after_a_real_run_is_reported_with_that_run_and_all_attempts() {
    let mut world = see(&[item("IT-1")], &[run("IT-1", 1).ended(0, 137)]);
    refused_to_the_end(&mut world, "IT-1", 2, 100);
    assert_eq!(world.says(700)[1], "failed: no such image");
    let rest = world.rest(700).since(at(700));
    assert!((secs(48)..=secs(72)).contains(&rest), "{rest:?}");
    let new = world.spawn(800);
    assert_eq!((new.number, new.attempt), (2, 3));
    assert_eq!(new.history.len(), 2);

    // A look at the runtime does not make it forget.
    let runs = world.runs.clone().unwrap();
    world.note(800, Note::Listed(&runs));
    refused_to_the_end(&mut world, "IT-1", 3, 800);
    let first = Past::new(1, at(-20), at(0), Some(137), "exit code 137 (SIGKILL)");
    let second = Past::new(2, at(100), at(700), None, "no such image");
    let outcome = world.report(1400);
    assert_eq!(outcome.run, Some(runs[0].run_id()));
    assert_eq!((outcome.end, outcome.attempts), (End::Failed, 3));
    assert_eq!(outcome.reason, "no such image");
    assert_eq!(outcome.exit_code, None);
    assert_eq!((outcome.started, outcome.finished), (at(800), at(1400)));
    assert_eq!(outcome.history, [first, second]);
}

#[test]
fn a_refused_run_that_is_there_after_all_was_not_refused() {
    let told = run("IT-1", 3).is(State::Told);
    let unborn = run("IT-1", 2).is(State::Unborn);
    let earlier = run("IT-1", 1).ended(-3600, 1);
    for (seen, forgotten) in [
        (run("IT-1", 2), true),
        (run("IT-1", 2).ended(0, 1), true),
        (earlier, false),
        // Neither a claim without an agent nor a run of an earlier round.
        (unborn, false),
        (told, false),
    ] {
        let mut world = see(&[item("IT-1")], &[]);
        world.refused(0, "IT-1", 2);
        world.note(1, Note::Listed(std::slice::from_ref(&seen)));
        let refused = world.says(1)[0].starts_with("waits: refused");
        assert_eq!(refused, !forgotten, "{seen:?}");

        refused_to_the_end(&mut world, "IT-1", 2, 0);
        world.note(1000, Note::Listed(std::slice::from_ref(&seen)));
        let counted = world.spawn(1000).attempt == 2;
        assert_eq!(counted, !forgotten, "{seen:?}");
    }
}

#[test]
fn refusals_are_forgotten_with_the_item_and_with_the_start_of_its_run() {
    let items = [item("IT-1")];
    let subject = Subject::Item("IT-1".into());
    for note in [Note::Polled(&[]), Note::Spawned("IT-1")] {
        let mut world = see(&items, &[]);
        refused_to_the_end(&mut world, "IT-1", 1, 0);
        world.refused(700, "IT-1", 2);
        world.note(700, Note::Polled(&items));
        assert!(world.says(700)[0].starts_with("waits: refused"));
        world.note(700, note);
        assert_eq!(world.spawn(700).attempt, 1);
    }
    // And the pause after a report of it that failed.
    let mut world = see(&items, &[]);
    world.note(0, Note::Failed(&subject));
    world.note(0, Note::Polled(&items));
    world.note(0, Note::Listed(&[]));
    assert!(world.says(0)[0].starts_with("waits: tried again"));
    world.note(0, Note::Polled(&[]));
    assert_eq!(world.says(0), ["start"]);
}
