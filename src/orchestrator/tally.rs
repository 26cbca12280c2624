//! What has gone wrong so far: for the exit code, and with `--wait` for the
//! end. Acts on nothing.

use std::collections::BTreeMap;

use crate::core::{Keeping, Plan, Stamp, Subject, Verdict, Waiting};

/// With `--wait`, tries of what does not answer before it is given up.
const TRIES: u32 = 3;

/// Failures in a row, one at most for each poll.
#[derive(Default)]
pub struct Tries {
    count: u32,
    counted: Stamp,
}

impl Tries {
    /// It failed again, in the time of the poll that is due at `poll`.
    pub fn failed(&mut self, poll: Stamp) {
        if self.counted != poll {
            self.counted = poll;
            self.count += 1;
        }
    }

    /// Another try would change nothing.
    pub fn give_up(&mut self) {
        self.count = TRIES;
    }

    /// It went well.
    pub fn over(&mut self) {
        self.count = 0;
    }

    /// Whether it failed the last time.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.count > 0
    }

    /// Whether whoever waits for it should wait no longer.
    #[must_use]
    pub fn are_enough(&self) -> bool {
        self.count >= TRIES
    }
}

/// All that went wrong.
#[derive(Default)]
pub struct Tally {
    /// Something that had to be done could not be.
    pub trouble: bool,
    /// An item failed for good.
    pub failed: bool,
    /// Whether the source could ever be read.
    pub read: bool,
    /// Polls of the source.
    pub source: Tries,
    /// Looks at items before they are started.
    pub fresh: Tries,
    /// Listings of the runtime.
    pub list: Tries,
    /// Spawns that the runtime refused as it would have any other.
    pub spawn: Tries,
    /// How often the last action on a subject has failed in a row.
    pub actions: BTreeMap<Subject, u32>,
}

impl Tally {
    /// An action on it went well.
    pub fn went_well(&mut self, subject: &Subject) {
        self.actions.remove(subject);
    }

    /// An action on it failed.
    pub fn went_badly(&mut self, subject: Subject) {
        self.trouble = true;
        *self.actions.entry(subject).or_default() += 1;
    }

    /// Whether nothing in the plan moves by itself any more, what was given up
    /// left aside.
    #[must_use]
    pub fn is_at_rest(&self, plan: &Plan) -> bool {
        let moves = |verdict: &Verdict| match verdict {
            Verdict::Wait(Waiting::SourceSilent) => !self.source.are_enough(),
            Verdict::Wait(Waiting::RuntimeSilent) => !self.list.are_enough(),
            Verdict::Wait(Waiting::RuntimeRefuses(_)) | Verdict::Spawn(_) => {
                !self.spawn.are_enough()
            }
            Verdict::Wait(Waiting::Again(_)) => self.actions.values().any(|n| *n < TRIES),
            Verdict::Wait(_)
            | Verdict::Keep(_)
            | Verdict::Stop(_)
            | Verdict::Report(_)
            | Verdict::Remove(_)
            | Verdict::Skip(_) => verdict.moves_by_itself(),
        };
        !plan.items.iter().chain(&plan.runs).any(moves)
    }

    /// Whether the end of `--wait` is a bad one: an item failed or cannot run,
    /// something was given up, or an end could not be told.
    #[must_use]
    pub fn ended_badly(&self, plan: &Plan) -> bool {
        let cannot_run = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::Skip(_) | Verdict::Wait(Waiting::Refused { .. })
            )
        };
        let untold = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::Keep(Keeping::ForRetry(_))
                    | Verdict::Wait(Waiting::Again(_) | Waiting::SourceSilent)
            )
        };
        self.failed
            || self.source.are_enough()
            || self.fresh.is_on()
            || self.list.are_enough()
            || self.spawn.are_enough()
            || plan.items.iter().any(cannot_run)
            || plan.runs.iter().any(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Hold;

    fn plan(items: Vec<Verdict>) -> Plan {
        Plan {
            items,
            runs: vec![],
            live: 0,
            wake: None,
        }
    }

    #[test]
    fn a_failure_counts_once_a_poll_and_three_are_enough() {
        let mut tries = Tries::default();
        for (poll, enough) in [(1, false), (1, false), (2, false), (3, true)] {
            tries.failed(Stamp(poll));
            assert_eq!(tries.are_enough(), enough, "{poll}");
        }
        tries.over();
        assert!(!tries.are_enough());
    }

    #[test]
    fn what_was_given_up_holds_nobody() {
        let mut tally = Tally::default();
        let silent = plan(vec![Verdict::Wait(Waiting::SourceSilent)]);
        assert!(!tally.is_at_rest(&silent));
        tally.source.give_up();
        assert!(tally.is_at_rest(&silent) && tally.ended_badly(&silent));
    }

    #[test]
    fn an_open_blocker_is_no_failure_and_a_lasting_one_is() {
        let tally = Tally::default();
        let open = Hold::Blocked(vec!["A".into()]);
        let open = plan(vec![Verdict::Wait(Waiting::Held(open))]);
        assert!(tally.is_at_rest(&open) && !tally.ended_badly(&open));
        let lasting = plan(vec![Verdict::Skip(Hold::BlockerFailed("A".into()))]);
        assert!(tally.is_at_rest(&lasting) && tally.ended_badly(&lasting));
    }
}
