//! Live runs: how long they may take, and what becomes of them when a person
//! takes the item back or the source says nothing.

use super::*;

#[test]
fn a_run_pending_too_long_is_stopped_with_the_word_of_the_runtime() {
    for (why, waits, words) in [
        (None, "pending", "stop: not started within 10m"),
        (
            Some("0/3 nodes are available"),
            "pending: 0/3 nodes are available",
            "stop: not started within 10m: 0/3 nodes are available",
        ),
    ] {
        let world = see(&[item("IT-1")], &[run("IT-1", 1).pending(why)]);
        assert_eq!(world.says(599), ["waits: it has a run", waits]);
        assert_eq!(world.wake(599), Some(at(600)));
        assert_eq!(world.says(600)[1], words);
        let stop = world.stop(601);
        assert_eq!((stop.cause, stop.at), (StopCause::StartTimeout, at(601)));
    }
}

#[test]
fn a_suspended_run_waits_for_its_queue_without_limit() {
    let world = see(&[item("IT-1")], &[run("IT-1", 1).suspended()]);
    assert_eq!(world.says(1_000_000)[1], "pending");
    assert_eq!(world.wake(0), None);
}

#[test]
fn a_run_that_runs_too_long_is_stopped() {
    let world = see(&[item("IT-1")], &[run("IT-1", 1)]);
    assert_eq!(world.says(7199)[1], "running");
    assert_eq!(world.wake(7199), Some(at(7200)));
    assert_eq!(world.says(7200)[1], "stop: timed out after 2h");
    let stop = world.stop(7200);
    assert_eq!((stop.cause, stop.at), (StopCause::AgentTimeout, at(7200)));
    assert_eq!(world.says(7200)[0], "waits: it has a run");
}

#[test]
fn an_orphaned_run_is_stopped() {
    let orphaned = run("IT-1", 1).orphaned();
    let world = see(&[item("IT-1")], &[orphaned]);
    assert_eq!(world.says(0)[1], "stop: its supervisor died");
    let stop = world.stop(0);
    assert_eq!(stop.cause, StopCause::Orphaned);
}

#[test]
fn limits_hold_whatever_the_source_says() {
    let runs = [run("IT-1", 1), run("IT-2", 1).pending(None)];
    let silent = see(&[], &runs).source_silent();
    let unasked = see(&[], &runs);
    let gone = see(&[], &runs)
        .answered(0, "IT-1", Standing::Gone)
        .answered(0, "IT-2", Standing::Gone);
    for world in [silent, unasked, gone] {
        assert_eq!(world.says(0), ["running", "pending"]);
        assert_eq!(
            world.says(7200),
            ["stop: timed out after 2h", "stop: not started within 10m"]
        );
    }
}

#[test]
fn a_run_that_outlives_its_stop_is_stopped_again() {
    for live in [
        run("IT-1", 1),
        run("IT-1", 1).pending(None),
        run("IT-1", 1).orphaned(),
    ] {
        let asked = live.stop_asked(100, StopCause::Withdrawn, "stopped because of X");
        let world = see(&[item("IT-1")], &[asked]);
        assert_eq!(world.says(100)[1], "stopping");
        assert_eq!(world.wake(100), Some(at(130)));
        assert_eq!(world.says(129)[1], "stopping");
        let again = Stop {
            cause: StopCause::Withdrawn,
            why: "stopped because of X".into(),
            at: at(130),
        };
        assert_eq!(world.plan(130).runs[0], Verdict::Stop(again));
    }
}

#[test]
fn a_withdrawn_item_has_its_grace_and_then_its_run_is_stopped() {
    for (live, limit) in [
        (run("IT-1", 1), secs(7200)),
        (run("IT-1", 1).suspended(), secs(600)),
    ] {
        let world = see(&[], &[live]).withdrawn(100, "IT-1");
        let world = world.limited(|l| l.agent_timeout = limit);
        let words = "the ticket is closed; stopped at 2026-11-24T03:16:47.000Z if it still runs";
        assert_eq!(world.says(100), [words]);
        assert_eq!(world.says(699), [words]);
        assert_eq!(world.wake(100), Some(at(700)));
        let stop = Stop {
            cause: StopCause::Withdrawn,
            why: "stopped because the ticket is closed".into(),
            at: at(700),
        };
        assert_eq!(world.plan(700).runs, [Verdict::Stop(stop)]);
    }
}

#[test]
fn the_grace_runs_from_the_first_time_it_was_seen() {
    let live = [run("IT-1", 1)];
    let mut world = see(&[], &live).withdrawn(100, "IT-1");
    world.note(500, Note::Listed(&live));
    world.note(500, Note::Polled(&[]));
    let world = world.withdrawn(500, "IT-1");
    assert_eq!(world.wake(500), Some(at(700)));
}

#[test]
fn an_item_wanted_again_has_its_whole_grace_the_next_time() {
    let again = item("IT-1");
    let wanted = Standing::Wanted(Box::new(again.clone()));
    let others = [run("IT-2", 1)];
    for note in [
        Note::Polled(std::slice::from_ref(&again)),
        Note::LookedUp("IT-1", &wanted),
        Note::LookedUp("IT-1", &Standing::Gone),
        // Not even a run of it is left.
        Note::Listed(&others),
    ] {
        let mut world = see(&[], &[run("IT-1", 1)]).withdrawn(100, "IT-1");
        world.note(300, note);
        let world = world.withdrawn(500, "IT-1");
        assert_eq!(world.wake(500), Some(at(1100)));
    }
}

#[test]
fn an_agent_that_ends_within_the_grace_counts_by_its_exit_code() {
    let of = |code| {
        let ended = run("IT-1", 1).ended(200, code);
        see(&[], &[ended]).withdrawn(100, "IT-1").says(200)
    };
    assert_eq!(of(0), ["succeeded: exit code 0"]);
    let words = "failed: exit code 1; not tried again: the ticket is closed";
    assert_eq!(of(1), [words]);
}

#[test]
fn a_stopped_run_is_reported_as_stopped_whatever_its_exit_code() {
    for code in [0, 1, 78, 143] {
        let why = "stopped because the ticket is closed";
        let ended = run("IT-1", 3)
            .ended(705, code)
            .stop_asked(700, StopCause::Withdrawn, why);
        // Also if it is wanted again by now.
        let outcome = see(&[item("IT-1")], &[ended]).report(705);
        assert_eq!((outcome.end, outcome.attempts), (End::Stopped, 3));
        assert_eq!(outcome.reason, why);
        assert_eq!(outcome.exit_code, Some(code));
        assert_eq!(outcome.history.len(), 2);
    }
}

#[test]
fn a_run_stopped_by_a_limit_is_a_failed_attempt_whatever_its_exit_code() {
    for cause in [
        StopCause::AgentTimeout,
        StopCause::StartTimeout,
        StopCause::Orphaned,
    ] {
        for code in [0, 78, 143] {
            let first = run("IT-1", 1)
                .ended(5, code)
                .stop_asked(5, cause, "its why");
            let world = see(&[item("IT-1")], &[first]);
            assert_eq!(world.says(5)[1], "failed: its why");
            assert_eq!(world.spawn(50).history[0].reason, "its why");
        }
    }
}

#[test]
fn a_run_that_ended_before_its_stop_was_asked_for_ended_by_itself() {
    for cause in [StopCause::AgentTimeout, StopCause::Withdrawn] {
        let ended = run("IT-1", 1).ended(99, 0).stop_asked(100, cause, "late");
        let world = see(&[item("IT-1")], &[ended]);
        assert_eq!(world.says(100)[1], "succeeded: exit code 0");
    }
}

#[test]
fn why_a_run_was_stopped_is_derived_again_where_the_note_is_lost() {
    let ended = |took, code| {
        run("IT-1", 1).is(State::Ended {
            started: Some(at(0)),
            at: at(took),
            exit_code: Some(code),
            why: None,
        })
    };
    let wanted = |run| see(&[item("IT-1")], &[run]).says(7200)[1].clone();
    assert_eq!(wanted(ended(7200, 143)), "failed: timed out after 2h");
    assert_eq!(wanted(ended(7205, 137)), "failed: timed out after 2h");
    assert_eq!(wanted(ended(7199, 143)), "failed: exit code 143 (SIGTERM)");
    assert_eq!(wanted(ended(7200, 1)), "failed: exit code 1");
    assert_eq!(wanted(ended(7200, 0)), "succeeded: exit code 0");

    let closed = |run| see(&[], &[run]).withdrawn(0, "IT-1").report(7200);
    let killed = closed(ended(900, 143));
    assert_eq!(killed.end, End::Stopped);
    assert_eq!(killed.reason, "stopped because the ticket is closed");
    assert_eq!(closed(ended(900, 1)).end, End::Failed);
    let too_late = closed(ended(7200, 137));
    assert_eq!(too_late.end, End::Failed);
    let words = "timed out after 2h; not tried again: the ticket is closed";
    assert_eq!(too_late.reason, words);
}

#[test]
fn a_run_whose_entry_is_gone_goes_on_to_its_end() {
    let of = |run, second| {
        let world = see(&[], &[run]).answered(0, "IT-1", Standing::Gone);
        world.says(second)
    };
    assert_eq!(of(run("IT-1", 1), 7199), ["running"]);
    assert_eq!(
        of(run("IT-1", 1).ended(9, 0), 9),
        ["succeeded: exit code 0"]
    );
    let words = "failed: exit code 1; not tried again: the item is not wanted any more";
    assert_eq!(of(run("IT-1", 1).ended(9, 1), 9), [words]);
}

#[test]
fn a_run_whose_item_was_not_answered_for_is_left_alone() {
    let of = |run| see(&[], &[run]).says(0);
    let wait = "waits: its source does not answer";
    assert_eq!(of(run("IT-1", 1)), ["running"]);
    assert_eq!(of(run("IT-1", 1).ended(0, 1)), [wait]);
    // What needs no word of the source is reported.
    assert_eq!(of(run("IT-1", 1).ended(0, 0)), ["succeeded: exit code 0"]);
    assert_eq!(of(run("IT-1", 3).ended(0, 1)), ["failed: exit code 1"]);
}

#[test]
fn a_run_whose_item_is_wanted_though_not_listed_waits_for_its_retry() {
    let wanted = |item: Item| Standing::Wanted(Box::new(item));
    let ended = [run("IT-1", 1).ended(0, 1)];
    let world = see(&[], &ended).answered(0, "IT-1", wanted(item("IT-1")));
    assert_eq!(world.says(1000), ["failed: exit code 1"]);
    // What is listed is newer than what was answered.
    let world = see(&[item("IT-1")], &ended).withdrawn(0, "IT-1");
    assert_eq!(world.says(1000), ["start", "failed: exit code 1"]);
}

#[test]
fn while_the_source_is_silent_runs_go_on_and_ends_wait() {
    let wait = "waits: its source does not answer";
    let of = |run| {
        let world = see(&[], &[run]).withdrawn(0, "IT-1");
        world.source_silent().says(700)
    };
    assert_eq!(of(run("IT-1", 1)), ["running"]);
    assert_eq!(of(run("IT-1", 1).ended(0, 0)), [wait]);
    assert_eq!(of(run("IT-1", 3).ended(0, 1)), [wait]);
    assert_eq!(of(run("IT-1", 1).ended(0, 78)), [wait]);
    let unborn = run("IT-1", 1).is(State::Unborn);
    assert_eq!(of(unborn), ["remove: its agent was never started"]);
}

#[test]
fn while_the_runtime_is_silent_nothing_is_done() {
    let mut world = see(&[item("IT-1"), item("IT-2")], &[]).starting("IT-2", 1);
    world.runs = None;
    let plan = world.plan(0);
    let words = "waits: what runs is not known";
    assert_eq!(world.says(0), [words, words]);
    assert_eq!((plan.live, plan.wake), (1, None));
}
