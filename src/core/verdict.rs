//! What becomes of an item or a run, and in which words. Every reason is a
//! value with its data; its wording stands here and nowhere else.

use std::{fmt, time::Duration};

use super::{End, Hold, Outcome, Past, Stamp, Stop};

/// What becomes of one item or one run that the core was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Start this run of the item.
    Spawn(NewRun),
    /// Nothing yet.
    Wait(Waiting),
    /// The run goes on, or stays, as it is.
    Keep(Keeping),
    /// End the run; what is left of it is reported later.
    Stop(Stop),
    /// Tell the source, then remove the run (if the item ever had one).
    Report(Box<Outcome>),
    /// Remove the run without a report.
    Remove(Removal),
    /// The item cannot run until a person does something about it.
    Skip(Hold),
}

/// A run to be started.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its name: the claim.
    pub name: String,
    /// The number in the name.
    pub number: u32,
    /// Which try of this round it is.
    pub attempt: u32,
    /// The former ones.
    pub history: Vec<Past>,
}

/// Why nothing happens with an item or an ended run.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// Too many agents run already.
    Slot {
        /// Live runs of this owner, those being started included.
        live: usize,
        /// `--max-agents`.
        max: usize,
    },
    /// The pause before another attempt.
    Rest {
        /// When it is over.
        until: Stamp,
        /// The attempt that comes then.
        attempt: u32,
    },
    /// Something else has to end first, and will.
    Held(Hold),
    /// The runtime refuses this run; it is tried again.
    Refused {
        /// For how long already.
        since: Stamp,
        /// The runtime's word.
        why: String,
    },
    /// The runtime refuses every run; counted against nobody.
    RuntimeRefuses(String),
    /// The runtime cannot be listed.
    RuntimeSilent,
    /// The source cannot be read, or has not answered for this item.
    SourceSilent,
    /// An action on it failed and is tried again.
    Again(Stamp),
    /// Its run is being started.
    Starting,
    /// It has a run, whose own verdict says more.
    HasRun,
    /// The source lists it twice, and the first counts.
    ListedTwice,
}

/// Why a run is left alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Keeping {
    /// It waits for its runtime; what for, in the runtime's words.
    Pending(Option<String>),
    /// Its agent runs.
    Running,
    /// It was told to stop.
    Stopping,
    /// Its item was taken back; the agent has until then to end by itself.
    Grace {
        /// When it is stopped.
        until: Stamp,
        /// What was seen.
        why: String,
    },
    /// It ended and its item will be tried again; it stays until then, for it
    /// remembers the attempts. Why it failed.
    ForRetry(String),
    /// An action on it is under way.
    InHand,
    /// Told, and kept by the runtime only.
    Told,
    /// Told, and to be removed when its former attempts are.
    Last,
}

/// Why a run goes without a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its report was made.
    Told,
    /// A later attempt has taken over what it remembered.
    Superseded,
    /// Its agent was never started.
    Unborn,
}

impl Verdict {
    /// Whether, with no change from outside, this leads to another verdict: a
    /// program that waits for the end has to wait for it.
    #[must_use]
    pub fn moves_by_itself(&self) -> bool {
        match self {
            Verdict::Spawn(_) | Verdict::Stop(_) | Verdict::Report(_) | Verdict::Remove(_) => true,
            Verdict::Skip(_) => false,
            Verdict::Keep(keeping) => match keeping {
                Keeping::Pending(_)
                | Keeping::Running
                | Keeping::Stopping
                | Keeping::Grace { .. }
                | Keeping::InHand => true,
                // The item's own verdict says whether the retry comes, and
                // those of the former attempts when they go.
                Keeping::ForRetry(_) | Keeping::Told | Keeping::Last => false,
            },
            Verdict::Wait(waiting) => match waiting {
                Waiting::Rest { .. }
                | Waiting::Refused { .. }
                | Waiting::RuntimeRefuses(_)
                | Waiting::RuntimeSilent
                | Waiting::SourceSilent
                | Waiting::Again(_)
                | Waiting::Starting => true,
                // What it waits for has a verdict of its own.
                Waiting::Slot { .. }
                | Waiting::Held(_)
                | Waiting::HasRun
                | Waiting::ListedTwice => false,
            },
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Spawn(_) => f.write_str("start"),
            Verdict::Wait(waiting) => write!(f, "waits: {waiting}"),
            Verdict::Keep(keeping) => keeping.fmt(f),
            Verdict::Stop(stop) => match stop.why.strip_prefix("stopped ") {
                Some(because) => write!(f, "stop {because}"),
                None => write!(f, "stop: {}", stop.why),
            },
            Verdict::Report(outcome) if outcome.end == End::Stopped => f.write_str(&outcome.reason),
            Verdict::Report(outcome) => {
                write!(f, "{}: {}", outcome.end.word(), outcome.reason)
            }
            Verdict::Remove(removal) => write!(f, "remove: {removal}"),
            Verdict::Skip(hold) => write!(f, "cannot run: {hold}"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Slot { live, max } => write!(f, "{live} of {max} agents run"),
            Waiting::Rest { until, attempt } => write!(f, "attempt {attempt} comes at {until}"),
            Waiting::Held(hold) => hold.fmt(f),
            Waiting::Refused { since, why } => write!(f, "refused since {since}: {why}"),
            Waiting::RuntimeRefuses(why) => write!(f, "nothing can be started: {why}"),
            Waiting::RuntimeSilent => f.write_str("what runs is not known"),
            Waiting::SourceSilent => f.write_str("its source does not answer"),
            Waiting::Again(until) => write!(f, "tried again at {until}"),
            Waiting::Starting => f.write_str("its run is being started"),
            Waiting::HasRun => f.write_str("it has a run"),
            Waiting::ListedTwice => f.write_str("listed twice; the first counts"),
        }
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keeping::Pending(None) => f.write_str("pending"),
            Keeping::Pending(Some(why)) => write!(f, "pending: {why}"),
            Keeping::Running => f.write_str("running"),
            Keeping::Stopping => f.write_str("stopping"),
            Keeping::Grace { until, why } => {
                write!(f, "{why}; stopped at {until} if it still runs")
            }
            Keeping::ForRetry(why) => write!(f, "failed: {why}"),
            Keeping::InHand => f.write_str("in hand"),
            Keeping::Told => f.write_str("reported"),
            Keeping::Last => f.write_str("reported; former attempts are removed first"),
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Removal::Told => "reported",
            Removal::Superseded => "a later attempt has begun",
            Removal::Unborn => "its agent was never started",
        })
    }
}

/// A duration as people write it: `2h`, `1h30m`, `90s` as `1m30s`, `500ms`.
#[must_use]
pub fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut left = seconds;
    let mut text = String::new();
    for (unit, size) in units {
        if left >= size {
            text += &format!("{}{unit}", left / size);
            left %= size;
        }
    }
    match (text.is_empty(), duration.subsec_millis()) {
        (true, ms) if ms > 0 => format!("{ms}ms"),
        (true, _) => "0s".to_owned(),
        (false, _) => text,
    }
}

/// What an exit code says to a person.
#[must_use]
pub fn explain(exit_code: Option<i32>) -> String {
    let Some(code) = exit_code else {
        return "it ended without an exit code".to_owned();
    };
    let meaning = match code {
        78 => " (failed for good, by its own word)",
        126 => " (the command cannot be executed)",
        127 => " (command not found)",
        130 => " (SIGINT)",
        134 => " (SIGABRT)",
        137 => " (SIGKILL)",
        139 => " (SIGSEGV)",
        143 => " (SIGTERM)",
        _ => "",
    };
    format!("exit code {code}{meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelt_as_people_write_them() {
        for (ms, text) in [
            (0, "0s"),
            (500, "500ms"),
            (7_200_000, "2h"),
            (5_400_000, "1h30m"),
            (90_500, "1m30s"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(spell(Duration::from_millis(ms)), text);
        }
    }

    /// Each with whether a program that waits for the end waits for it, and
    /// its words.
    #[test]
    fn what_moves_by_itself_is_waited_for() {
        let until = Stamp(1_795_489_507_123);
        let waits = [
            (
                Waiting::Slot { live: 5, max: 5 },
                false,
                "5 of 5 agents run",
            ),
            (
                Waiting::Rest { until, attempt: 2 },
                true,
                "attempt 2 comes at 2026-11-24T03:05:07.123Z",
            ),
            (
                Waiting::Held(Hold::Blocked(vec!["A-1".into(), "A-2".into()])),
                false,
                "blocked by A-1, A-2",
            ),
            (
                Waiting::Refused {
                    since: until,
                    why: "no such image".into(),
                },
                true,
                "refused since 2026-11-24T03:05:07.123Z: no such image",
            ),
            (
                Waiting::RuntimeRefuses("no daemon".into()),
                true,
                "nothing can be started: no daemon",
            ),
            (Waiting::RuntimeSilent, true, "what runs is not known"),
            (Waiting::SourceSilent, true, "its source does not answer"),
            (
                Waiting::Again(until),
                true,
                "tried again at 2026-11-24T03:05:07.123Z",
            ),
            (Waiting::Starting, true, "its run is being started"),
            (Waiting::HasRun, false, "it has a run"),
            (
                Waiting::ListedTwice,
                false,
                "listed twice; the first counts",
            ),
        ];
        for (waiting, moves, words) in waits {
            let verdict = Verdict::Wait(waiting);
            assert_eq!(verdict.to_string(), format!("waits: {words}"));
            assert_eq!(verdict.moves_by_itself(), moves, "{words}");
        }
        let why = "the ticket is closed".to_owned();
        let keeps = [
            (Keeping::Pending(None), true, "pending"),
            (
                Keeping::Pending(Some("no node has room".into())),
                true,
                "pending: no node has room",
            ),
            (Keeping::Running, true, "running"),
            (Keeping::Stopping, true, "stopping"),
            (
                Keeping::Grace { until, why },
                true,
                "the ticket is closed; stopped at 2026-11-24T03:05:07.123Z if it still runs",
            ),
            (
                Keeping::ForRetry("exit code 1".into()),
                false,
                "failed: exit code 1",
            ),
            (Keeping::InHand, true, "in hand"),
            (Keeping::Told, false, "reported"),
        ];
        for (keeping, moves, words) in keeps {
            let verdict = Verdict::Keep(keeping);
            assert_eq!(verdict.to_string(), words);
            assert_eq!(verdict.moves_by_itself(), moves, "{words}");
        }
        assert!(Verdict::Remove(Removal::Told).moves_by_itself());
        let skip = Verdict::Skip(Hold::NoRepository("add a line Repo: URL".into()));
        let words = "cannot run: no repository: add a line Repo: URL";
        assert_eq!(skip.to_string(), words);
        assert!(!skip.moves_by_itself());
    }

    #[test]
    fn exit_codes_are_explained() {
        assert_eq!(explain(Some(1)), "exit code 1");
        assert_eq!(explain(Some(137)), "exit code 137 (SIGKILL)");
        assert_eq!(explain(None), "it ended without an exit code");
    }
}
