//! Which items are started, when, in which order, and why others wait.

use super::*;

#[test]
fn a_wanted_item_without_a_run_is_started() {
    let world = see(&[item("IT-1")], &[]);
    let new = NewRun {
        name: "recac-agent-it-1-1".into(),
        number: 1,
        attempt: 1,
        history: vec![],
    };
    assert_eq!(world.spawn(0), new);
    assert_eq!(world.says(0), ["start"]);
    assert_eq!(world.wake(0), None);
}

#[test]
fn slots_are_given_in_the_order_of_the_source() {
    let items = [item("IT-3"), item("IT-1"), item("IT-2")];
    let world = see(&items, &[]).limited(|l| l.max_agents = 2);
    assert_eq!(
        world.says(0),
        ["start", "start", "waits: 2 of 2 agents run"]
    );
}

#[test]
fn suspended_pending_and_starting_runs_hold_a_slot_and_ended_ones_do_not() {
    let runs = [
        run("IT-1", 1),
        run("IT-2", 1).pending(None),
        run("IT-3", 1).suspended(),
        run("IT-4", 1).ended(0, 0),
        run("IT-5", 1).is(State::Told),
        run("IT-6", 1).is(State::Unborn),
    ];
    // Of the two being started one is already to be seen.
    let world = see(&[item("IT-9")], &runs)
        .starting("IT-2", 1)
        .starting("IT-7", 1);
    assert_eq!(world.plan(0).live, 4);
    let world = world.limited(|l| l.max_agents = 4);
    assert_eq!(world.says(0)[0], "waits: 4 of 4 agents run");
    let world = world.limited(|l| l.max_agents = 5);
    assert_eq!(world.says(0)[0], "start");
}

#[test]
fn no_agents_at_all_start_nothing_and_finish_what_runs() {
    let items = [item("IT-1"), item("IT-2"), item("IT-3")];
    let runs = [run("IT-1", 1), run("IT-2", 1).ended(0, 0)];
    let mut world = see(&items, &runs).limited(|l| l.max_agents = 0);
    assert_eq!(
        world.says(0),
        [
            "waits: it has a run",
            "waits: it has a run",
            "waits: 1 of 0 agents run",
            "running",
            "succeeded: exit code 0"
        ]
    );
    world.runs = Some(vec![]);
    assert_eq!(world.says(0)[2], "waits: 0 of 0 agents run");
}

#[test]
fn an_item_whose_run_is_being_started_waits_for_it() {
    let world = see(&[item("IT-1")], &[]).starting("IT-1", 1);
    assert_eq!(world.says(0), ["waits: its run is being started"]);
    assert_eq!(world.plan(0).live, 1);
}

#[test]
fn a_half_made_run_that_is_being_started_is_left_to_whoever_starts_it() {
    let half = run("IT-1", 1).is(State::Unborn);
    let world = see(&[item("IT-1")], &[half]).starting("IT-1", 1);
    let words = ["waits: its run is being started", "in hand"];
    assert_eq!(world.says(0), words);
}

#[test]
fn an_old_run_gets_its_verdict_while_the_next_is_being_started() {
    let runs = [run("IT-1", 1).ended(0, 1), run("IT-1", 2).ended(60, 1)];
    let world = see(&[item("IT-1")], &runs).starting("IT-1", 3);
    assert_eq!(world.says(60)[1], "remove: a later attempt has begun");
}

#[test]
fn of_an_item_that_is_listed_twice_the_first_counts() {
    let bad = item("IT-1").held(Hold::Bad("items[1]: id given twice".into()));
    let items = [item("IT-1"), bad];
    let twice = "waits: listed twice; the first counts";
    let mut world = see(&items, &[]);
    assert_eq!(world.says(0), ["start", twice]);
    world.runs = Some(vec![run("IT-1", 1)]);
    assert_eq!(world.says(0), ["waits: it has a run", twice, "running"]);
    world.runs = Some(vec![run("IT-1", 1).ended(0, 1)]);
    assert_eq!(world.says(60), ["start", twice, "failed: exit code 1"]);
}

#[test]
fn a_lasting_hold_keeps_an_item_from_starting_and_ends_its_round() {
    let held = [item("IT-1").held(Hold::BlockerFailed("IT-9".into()))];
    let skip = "cannot run: blocked by IT-9, which did not succeed";
    assert_eq!(see(&held, &[]).says(0), [skip]);
    assert_eq!(
        see(&held, &[run("IT-1", 1)]).says(0),
        ["waits: it has a run", "running"]
    );
    let words = "failed: exit code 1; not tried again: blocked by IT-9, which did not succeed";
    let world = see(&held, &[run("IT-1", 1).ended(0, 1)]);
    assert_eq!(world.says(0), ["waits: it has a run", words]);
}

#[test]
fn a_hold_that_ends_by_itself_only_delays() {
    let blocked = Hold::Blocked(vec!["IT-8".into(), "IT-9".into()]);
    let held = [item("IT-1").held(blocked)];
    let wait = "waits: blocked by IT-8, IT-9";
    assert_eq!(see(&held, &[]).says(0), [wait]);
    let mut world = see(&held, &[run("IT-1", 1).ended(0, 1)]);
    assert_eq!(world.says(100), [wait, "failed: exit code 1"]);
    world.items = Some(vec![item("IT-1")]);
    assert_eq!(world.spawn(100).attempt, 2);
}

#[test]
fn a_held_item_takes_no_slot() {
    let items = [
        item("IT-1").held(Hold::Blocked(vec!["IT-9".into()])),
        item("IT-2").held(Hold::Bad("items[1]: no id".into())),
        item("IT-3"),
    ];
    let world = see(&items, &[]).limited(|l| l.max_agents = 1);
    assert_eq!(
        world.says(0),
        [
            "waits: blocked by IT-9",
            "cannot run: items[1]: no id",
            "start"
        ]
    );
}
