//! One attempt at an item, as its runtime describes it.

use std::time::Duration;

use super::{Fingerprint, Stamp};

/// A run of this owner that the runtime still shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name, as [`super::run_name`] makes it.
    pub name: String,
    /// What tells it from an earlier run of the same name: the container's id,
    /// the Job's uid, 16 hex digits of a process run.
    pub uid: String,
    /// [`super::Item::id`] when it was started.
    pub item_id: String,
    /// [`super::Item::source_id`]: what ties it to its item.
    pub source_id: String,
    /// The number its name ends in.
    pub number: u32,
    /// 1, 2, …: which try of this round it is.
    pub attempt: u32,
    /// Of the content it was started with.
    pub fingerprint: Fingerprint,
    /// The former attempts of this round, oldest first.
    pub history: Vec<Past>,
    /// That somebody of ours wanted it stopped, and why.
    pub stop: Option<Stop>,
    /// What has become of it.
    pub state: State,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// There, and its agent not yet started.
    Pending {
        /// When it began to wait.
        since: Stamp,
        /// The runtime's word for what it waits for.
        why: Option<String>,
        /// Held back by a queue: its waiting has no limit.
        suspended: bool,
    },
    /// Its agent runs.
    Running {
        /// When the agent started.
        since: Stamp,
        /// Nobody is there to write its exit code: its supervisor died.
        orphaned: bool,
    },
    /// Its agent has ended, and its source has not been told.
    Ended {
        /// When the agent started, if it ever did.
        started: Option<Stamp>,
        /// When it ended.
        at: Stamp,
        /// 128 + n for a signal; none where there was nothing to exit.
        exit_code: Option<i32>,
        /// The runtime's word for what happened, where the code alone does
        /// not say it.
        why: Option<String>,
    },
    /// A claim whose agent was never started and never will be: whoever made
    /// it died in between. The spawn did not happen.
    Unborn,
    /// Told, and kept by the runtime only for a person to look at. It counts
    /// as gone, but still holds its number.
    Told,
}

/// That a run was to be stopped: kept beside the run by its runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Which rule asked for it.
    pub cause: StopCause,
    /// The same as a sentence fragment for people, with its data.
    pub why: String,
    /// When it was asked for.
    pub at: Stamp,
}

/// The rules that stop a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// It ran longer than `--agent-timeout`.
    AgentTimeout,
    /// It was pending longer than `--start-timeout`.
    StartTimeout,
    /// A person took its item back.
    Withdrawn,
    /// Its supervisor died.
    Orphaned,
}

impl StopCause {
    const ALL: [(StopCause, &'static str); 4] = [
        (StopCause::AgentTimeout, "agent-timeout"),
        (StopCause::StartTimeout, "start-timeout"),
        (StopCause::Withdrawn, "withdrawn"),
        (StopCause::Orphaned, "orphaned"),
    ];

    /// The word a runtime keeps.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(cause, _)| *cause == self)
            .map_or("", |(_, word)| word)
    }

    /// Reads such a word.
    #[must_use]
    pub fn of(word: &str) -> Option<StopCause> {
        Self::ALL
            .iter()
            .find(|(_, w)| *w == word)
            .map(|(cause, _)| *cause)
    }
}

/// A former attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Which one.
    pub attempt: u32,
    /// When it began.
    pub started: Stamp,
    /// How long it took.
    pub took: Duration,
    /// As [`State::Ended::exit_code`].
    pub exit_code: Option<i32>,
    /// Why it failed: one line of at most 200 characters.
    pub reason: String,
}

/// Characters of a reason that are kept in the history.
const REASON: usize = 200;

impl Past {
    /// A former attempt, its reason made one line and cut to size.
    #[must_use]
    pub fn new(
        attempt: u32,
        started: Stamp,
        ended: Stamp,
        exit_code: Option<i32>,
        reason: &str,
    ) -> Past {
        let one_line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
        let reason = one_line.take(REASON).collect();
        Past {
            attempt,
            started,
            took: ended.since(started),
            exit_code,
            reason,
        }
    }

    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Stamp {
        self.started.plus(self.took)
    }

    /// Its line of the history: attempt, start, seconds, exit code (`-` where
    /// there is none) and reason, between tabs.
    #[must_use]
    pub fn to_line(&self) -> String {
        let code = self.exit_code.map_or("-".to_owned(), |c| c.to_string());
        let seconds = self.took.as_secs_f64();
        format!(
            "{}\t{}\t{seconds:.3}\t{code}\t{}",
            self.attempt, self.started, self.reason
        )
    }

    /// Reads such a line; `None` if it is none.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Past> {
        let mut parts = line.splitn(5, '\t');
        let mut next = || parts.next();
        Some(Past {
            attempt: next()?.parse().ok()?,
            started: next()?.parse().ok()?,
            took: Duration::try_from_secs_f64(next()?.parse().ok()?).ok()?,
            exit_code: match next()? {
                "-" => None,
                code => Some(code.parse().ok()?),
            },
            reason: next()?.to_owned(),
        })
    }

    /// A whole history as the text of a label, a line each.
    #[must_use]
    pub fn to_text(history: &[Past]) -> String {
        history
            .iter()
            .map(Past::to_line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Reads such a text. A line that is none is left out: it is for people,
    /// and nothing is decided by it.
    #[must_use]
    pub fn of_text(text: &str) -> Vec<Past> {
        text.lines().filter_map(Past::of_line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_its_text() {
        let past = |attempt, code, reason| {
            Past::new(
                attempt,
                Stamp(1_795_489_507_123),
                Stamp(1_795_489_509_623),
                code,
                reason,
            )
        };
        let history = [
            past(1, Some(1), "exit code 1"),
            past(2, None, "a\tb\nc\u{7}"),
        ];
        assert_eq!(history[1].reason, "a b c ");
        let text = Past::to_text(&history);
        assert_eq!(
            text.lines().next(),
            Some("1\t2026-11-24T03:05:07.123Z\t2.500\t1\texit code 1")
        );
        assert_eq!(Past::of_text(&text), history);
        assert_eq!(Past::of_text("junk\n1\t2\t3"), []);
        assert_eq!(past(1, None, &"ä".repeat(300)).reason.chars().count(), 200);
    }

    #[test]
    fn a_cause_survives_its_word() {
        for (cause, word) in StopCause::ALL {
            assert_eq!(cause.word(), word);
            assert_eq!(StopCause::of(word), Some(cause));
        }
        assert_eq!(StopCause::of(""), None);
    }
}
