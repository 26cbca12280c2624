//! The clock of the API server beside ours: the times of a Job are the
//! server's, and our limits are counted on our own clock.

use crate::core::{Stamp, State};

/// Milliseconds by which two clocks may differ and count as one: a date of HTTP
/// has whole seconds, and an answer may be slow.
const SAME: u64 = 30_000;

/// By how many milliseconds the server's clock is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew(i64);

impl Skew {
    /// What the `Date` of an answer that came at `now` says of it. Stays as it
    /// is while that makes no difference, so that no time moves to and fro.
    #[must_use]
    pub fn after(self, date: &str, now: Stamp) -> Skew {
        let Some(theirs) = Stamp::from_http(date) else {
            return self;
        };
        let ahead = signed(theirs) - signed(now);
        let differs = |from: i64| from.abs_diff(ahead) > SAME;
        match (differs(0), differs(self.0)) {
            (false, _) => Skew(0),
            (true, true) => Skew(ahead),
            (true, false) => self,
        }
    }

    /// A time of ours on the server's clock.
    #[must_use]
    pub fn theirs(self, ours: Stamp) -> Stamp {
        moved(ours, self.0)
    }

    /// What was seen of a run, on our clock.
    #[must_use]
    pub fn ours(self, state: State) -> State {
        let ours = |theirs| moved(theirs, -self.0);
        match state {
            State::Pending {
                since,
                why,
                suspended,
            } => State::Pending {
                since: ours(since),
                why,
                suspended,
            },
            State::Running { since, orphaned } => State::Running {
                since: ours(since),
                orphaned,
            },
            State::Ended {
                started,
                at,
                exit_code,
                why,
            } => State::Ended {
                started: started.map(ours),
                at: ours(at),
                exit_code,
                why,
            },
            State::Unborn => State::Unborn,
            State::Told => State::Told,
        }
    }
}

fn signed(stamp: Stamp) -> i64 {
    i64::try_from(stamp.0).unwrap_or(i64::MAX)
}

fn moved(stamp: Stamp, by: i64) -> Stamp {
    Stamp(stamp.0.saturating_add_signed(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Stamp {
        "2026-11-26T01:00:00Z".parse().unwrap()
    }

    fn after(skew: Skew, date: &str) -> Skew {
        skew.after(&format!("Thu, 26 Nov 2026 {date} GMT"), now())
    }

    #[test]
    fn a_clock_that_is_a_little_off_is_ours() {
        for date in ["01:00:00", "01:00:29", "00:59:31"] {
            assert_eq!(after(Skew(0), date), Skew(0), "{date}");
            assert_eq!(after(Skew(3_600_000), date), Skew(0), "{date}");
        }
        assert_eq!(Skew(7).after("nonsense", now()), Skew(7));
    }

    #[test]
    fn a_clock_that_is_wrong_is_counted_with_and_stays_what_it_is() {
        let ahead = after(Skew(0), "02:00:00");
        assert_eq!(ahead, Skew(3_600_000));
        assert_eq!(after(ahead, "02:00:01"), ahead);
        let behind = after(ahead, "00:00:00");
        assert_eq!(behind, Skew(-3_600_000));
        let theirs = behind.theirs(now());
        assert_eq!(theirs.to_string(), "2026-11-26T00:00:00.000Z");
        let state = behind.ours(State::Running {
            since: theirs,
            orphaned: false,
        });
        assert_eq!(
            state,
            State::Running {
                since: now(),
                orphaned: false
            }
        );
    }
}
