//! Runs that have ended: reported, tried again, removed.

use super::*;

#[test]
fn an_agent_that_exits_with_0_has_succeeded() {
    let world = see(&[item("IT-1")], &[run("IT-1", 2).ended(0, 0)]);
    let outcome = Outcome {
        item_id: "IT-1".into(),
        source_id: "IT-1".into(),
        fingerprint: Fingerprint(7),
        end: End::Succeeded,
        reason: "exit code 0".into(),
        attempts: 2,
        exit_code: Some(0),
        started: at(-20),
        finished: at(0),
        history: vec![past(1)],
        run: Some(RunId {
            name: "recac-agent-it-1-2".into(),
            uid: "uid of recac-agent-it-1-2".into(),
        }),
    };
    assert_eq!(world.report(0), outcome);
    assert_eq!(
        world.says(0),
        ["waits: it has a run", "succeeded: exit code 0"]
    );
}

#[test]
fn a_run_whose_source_was_told_is_removed_and_nothing_more() {
    let ended = run("IT-1", 1).ended(0, 1);
    let mut world = see(&[item("IT-1")], std::slice::from_ref(&ended));
    world.note(0, Note::Told(&Subject::Run(ended.uid.clone())));
    // Whatever else is known of it meanwhile.
    world.note(0, Note::Listed(std::slice::from_ref(&ended)));
    let words = ["waits: it has a run", "remove: reported"];
    assert_eq!(world.says(0), words);
    let mut silent = world.source_silent();
    assert_eq!(silent.says(0), ["remove: reported"]);
    // Nothing is remembered of a run that is gone.
    silent.note(0, Note::Listed(&[]));
    assert_eq!(silent.says(0), ["waits: its source does not answer"]);
}

#[test]
fn a_failed_attempt_rests_is_followed_by_the_next_and_then_removed() {
    let mut world = see(&[item("IT-1")], &[run("IT-1", 2).ended(0, 1)]);
    let until = world.rest(0);
    assert_eq!(
        world.says(0),
        [
            format!("waits: attempt 3 comes at {until}"),
            "failed: exit code 1".to_owned()
        ]
    );
    assert_eq!(world.wake(0), Some(until));
    let last = Stamp(until.0 - 1);
    let rests = world.core.decide(last, &world.sight()).items.remove(0);
    assert_eq!(rests, Verdict::Wait(Waiting::Rest { until, attempt: 3 }));

    let new = world.spawn(80);
    assert_eq!(new.name, "recac-agent-it-1-3");
    assert_eq!((new.number, new.attempt), (3, 3));
    // Its history: all that came before, the one that is to be removed too.
    let second = Past::new(2, at(-20), at(0), Some(1), "exit code 1");
    assert_eq!(new.history, [past(1), second]);
    assert_eq!(world.says(80)[1], "failed: exit code 1");

    world.runs = Some(vec![run("IT-1", 3), run("IT-1", 2).ended(0, 1)]);
    assert_eq!(
        world.says(80),
        [
            "waits: it has a run",
            "running",
            "remove: a later attempt has begun"
        ]
    );
    let silent = world.source_silent();
    assert_eq!(silent.says(80)[1], "remove: a later attempt has begun");
}

#[test]
fn the_last_attempt_is_reported_with_all_that_is_known() {
    let world = see(&[item("IT-1")], &[run("IT-1", 3).ended(0, 137)]);
    let outcome = world.report(0);
    assert_eq!((outcome.end, outcome.attempts), (End::Failed, 3));
    assert_eq!(outcome.reason, "exit code 137 (SIGKILL)");
    assert_eq!(outcome.exit_code, Some(137));
    assert_eq!(outcome.history, [past(1), past(2)]);
}

#[test]
fn an_attempt_beyond_a_lowered_limit_is_the_last() {
    let world = see(&[item("IT-1")], &[run("IT-1", 3).ended(0, 1)]);
    let world = world.limited(|l| l.max_attempts = 2);
    assert_eq!(world.report(0).attempts, 3);
}

#[test]
fn exit_78_is_failed_for_good() {
    let words = "failed: exit code 78 (failed for good, by its own word)";
    let ended = [run("IT-1", 1).ended(0, 78)];
    assert_eq!(see(&[item("IT-1")], &ended).says(0)[1], words);
    // Nothing needs to be known of the item.
    assert_eq!(see(&[], &ended).says(0), [words]);
}

#[test]
fn the_word_of_the_runtime_says_more_than_an_exit_code() {
    let of = |exit_code| {
        let oom = run("IT-1", 3).is(State::Ended {
            started: None,
            at: at(0),
            exit_code,
            why: Some("out of memory".into()),
        });
        see(&[item("IT-1")], &[oom]).report(0)
    };
    for exit_code in [Some(137), Some(0), None] {
        let outcome = of(exit_code);
        assert_eq!(outcome.end, End::Failed);
        assert_eq!(outcome.reason, "out of memory");
        assert_eq!((outcome.started, outcome.finished), (at(0), at(0)));
    }
}

#[test]
fn a_failed_run_of_an_item_nobody_wants_any_more_is_reported_and_not_retried() {
    let ended = [run("IT-1", 1).ended(0, 1)];
    for (standing, words) in [
        (
            Standing::Gone,
            "failed: exit code 1; not tried again: the item is not wanted any more",
        ),
        (
            Standing::Withdrawn("the ticket is closed".into()),
            "failed: exit code 1; not tried again: the ticket is closed",
        ),
    ] {
        let world = see(&[], &ended).answered(0, "IT-1", standing);
        assert_eq!(world.says(0), [words]);
        // The reason why there is no further one is none of the attempt.
        assert_eq!(world.report(0).attempts, 1);
    }
}

#[test]
fn a_told_run_holds_its_number_and_not_its_attempt() {
    let told = [run("IT-1", 4).is(State::Told)];
    let world = see(&[item("IT-1")], &told);
    let new = world.spawn(0);
    assert_eq!(new.name, "recac-agent-it-1-5");
    assert_eq!((new.number, new.attempt), (5, 1));
    assert_eq!(new.history, []);
    assert_eq!(world.says(0)[1], "reported");
    // So number and attempt differ in the whole round.
    let first = Run {
        attempt: 1,
        history: vec![],
        ..run("IT-1", 5).ended(0, 1)
    };
    let new = see(&[item("IT-1")], &[told[0].clone(), first]).spawn(100);
    assert_eq!((new.number, new.attempt), (6, 2));
    assert_eq!(new.history[0].attempt, 1);
    // It takes over nothing and hides nothing.
    let runs = [run("IT-1", 2).ended(0, 1), told[0].clone()];
    let world = see(&[item("IT-1")], &runs);
    let new = world.spawn(100);
    assert_eq!((new.number, new.attempt), (5, 3));
}

#[test]
fn an_unborn_run_is_removed_and_takes_over_nothing() {
    let unborn = |number| Run {
        uid: "0".into(),
        ..run("IT-1", number).is(State::Unborn)
    };
    let removed = "remove: its agent was never started";
    let of = |runs: &[Run]| see(&[item("IT-1")], runs).says(0);
    assert_eq!(of(&[unborn(1)]), ["waits: it has a run", removed]);
    // The failed attempt before it still remembers the attempts.
    assert_eq!(
        of(&[run("IT-1", 1).ended(-600, 1), unborn(2)]),
        ["waits: it has a run", "failed: exit code 1", removed]
    );
    assert_eq!(
        of(&[run("IT-1", 1).ended(-600, 0), unborn(2)])[1],
        "succeeded: exit code 0"
    );
}

#[test]
fn the_order_in_which_the_runtime_lists_runs_is_of_no_consequence() {
    let twin = |uid: &str, code| Run {
        uid: uid.into(),
        ..run("IT-1", 2).ended(0, code)
    };
    let runs = [
        run("IT-1", 1).ended(-600, 1),
        twin("a", 1),
        twin("b", 0),
        run("IT-1", 3).is(State::Unborn),
    ];
    let verdict_of = |runs: &[Run]| {
        let plan = see(&[item("IT-1")], runs).plan(0);
        let uids = runs.iter().map(|r| r.uid.clone());
        uids.zip(plan.runs).collect::<Vec<_>>()
    };
    let mut one = verdict_of(&runs);
    let mut backwards = runs.to_vec();
    backwards.reverse();
    let mut other = verdict_of(&backwards);
    one.sort_by(|a, b| a.0.cmp(&b.0));
    other.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(one, other);
}

#[test]
fn a_live_run_is_alone_whatever_its_number() {
    // A person started an old container again.
    let runs = [run("IT-1", 1), run("IT-1", 2).ended(0, 1)];
    let words = ["waits: it has a run", "running", "failed: exit code 1"];
    assert_eq!(see(&[item("IT-1")], &runs).says(1000), words);
}

#[test]
fn a_moved_ticket_is_the_same_item_under_a_new_name() {
    let moved = Item {
        source_id: "10042".into(),
        ..item("NEW-7")
    };
    let old = |run| Run {
        source_id: "10042".into(),
        ..run
    };
    let items = [moved];
    let world = see(&items, &[old(run("IT-1", 1)).ended(0, 1)]);
    let new = world.spawn(100);
    assert_eq!(new.name, "recac-agent-new-7-2");
    assert_eq!((new.number, new.attempt), (2, 2));
    // And while the old one lives there is no second one.
    let world = see(&items, &[old(run("IT-1", 1))]);
    assert_eq!(world.says(0), ["waits: it has a run", "running"]);
    // Its report names it as it was.
    let world = see(&items, &[old(run("IT-1", 3)).ended(0, 1)]);
    let outcome = world.report(0);
    assert_eq!((&*outcome.item_id, &*outcome.source_id), ("IT-1", "10042"));
}
