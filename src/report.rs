//! An outcome in words: the line of an outcomes file, the sentence of a log,
//! the comment of a ticket.
//!
//! Pure: redacts nothing (what it is given already is), writes nothing.

mod comment;

use serde::Serialize;

use crate::core::{End, Outcome, Past};
pub use comment::{Again, Comment};

/// The keys of a line, in their order.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    outcome: &'a str,
    reason: &'a str,
    attempts: u32,
    exit_code: Option<i32>,
    started: String,
    finished: String,
    history: Vec<Former<'a>>,
    run: Option<&'a str>,
    uid: Option<&'a str>,
    fingerprint: String,
    tail: &'a str,
}

#[derive(Serialize)]
struct Former<'a> {
    attempt: u32,
    started: String,
    seconds: f64,
    exit_code: Option<i32>,
    reason: &'a str,
}

impl<'a> Former<'a> {
    fn of(past: &'a Past) -> Former<'a> {
        Former {
            attempt: past.attempt,
            started: past.started.to_string(),
            seconds: (past.took.as_secs_f64() * 1000.0).round() / 1000.0,
            exit_code: past.exit_code,
            reason: &past.reason,
        }
    }
}

/// The line of an outcomes file that tells `outcome`, without its newline.
/// `tail` is what the log of the last attempt ended with.
#[must_use]
pub fn line(outcome: &Outcome, tail: &str) -> String {
    let line = Line {
        id: &outcome.item_id,
        outcome: outcome.end.word(),
        reason: &outcome.reason,
        attempts: outcome.attempts,
        exit_code: outcome.exit_code,
        started: outcome.started.to_string(),
        finished: outcome.finished.to_string(),
        history: outcome.history.iter().map(Former::of).collect(),
        run: outcome.run.as_ref().map(|run| run.name.as_str()),
        uid: outcome.run.as_ref().map(|run| run.uid.as_str()),
        fingerprint: outcome.fingerprint.to_string(),
        tail,
    };
    // Fails only for a map whose keys are no strings, and there is none.
    serde_json::to_string(&line).unwrap_or_default()
}

/// One short sentence for the log, such as `failed after 3 attempts: exit code
/// 1`. One line, whatever the reason holds.
#[must_use]
pub fn headline(outcome: &Outcome) -> String {
    let mut text = outcome.end.word().to_owned();
    match outcome.attempts {
        0 => {}
        1 => text.push_str(" after 1 attempt"),
        n => text.push_str(&format!(" after {n} attempts")),
    }
    let reason = outcome.reason.trim();
    // That an agent left with 0 is what success means.
    if outcome.end != End::Succeeded && !reason.is_empty() {
        text.push_str(": ");
        text.extend(reason.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{Fingerprint, RunId, Stamp};

    fn outcome(end: End, attempts: u32, reason: &str) -> Outcome {
        Outcome {
            item_id: "A-1".into(),
            source_id: "A-1".into(),
            fingerprint: Fingerprint(0xab),
            end,
            reason: reason.into(),
            attempts,
            exit_code: Some(1),
            started: Stamp(1_795_489_507_123),
            finished: Stamp(1_795_489_509_000),
            history: vec![Past {
                attempt: 1,
                started: Stamp(1_795_489_500_000),
                took: Duration::from_micros(2_500_400),
                exit_code: None,
                reason: "timed out".into(),
            }],
            run: Some(RunId {
                name: "recac-agent-a-1-2".into(),
                uid: "u2".into(),
            }),
        }
    }

    #[test]
    fn a_line_has_every_key_in_its_order() {
        let end = outcome(End::Failed, 2, "exit code 1");
        assert_eq!(
            line(&end, "last\n\"words\""),
            concat!(
                r#"{"id":"A-1","outcome":"failed","reason":"exit code 1","attempts":2,"#,
                r#""exit_code":1,"started":"2026-11-24T03:05:07.123Z","#,
                r#""finished":"2026-11-24T03:05:09.000Z","history":[{"attempt":1,"#,
                r#""started":"2026-11-24T03:05:00.000Z","seconds":2.5,"exit_code":null,"#,
                r#""reason":"timed out"}],"run":"recac-agent-a-1-2","uid":"u2","#,
                r#""fingerprint":"00000000000000ab","tail":"last\n\"words\""}"#
            )
        );
    }

    #[test]
    fn what_is_not_there_is_null() {
        let mut end = outcome(End::Failed, 3, "refused");
        end.run = None;
        end.exit_code = None;
        end.history.clear();
        let line = line(&end, "");
        assert!(line.contains(r#""exit_code":null"#), "{line}");
        assert!(
            line.contains(r#""history":[],"run":null,"uid":null"#),
            "{line}"
        );
    }

    #[test]
    fn a_headline_is_one_short_sentence() {
        let headline = |end, n, reason| headline(&outcome(end, n, reason));
        assert_eq!(
            headline(End::Succeeded, 2, "exit code 0"),
            "succeeded after 2 attempts"
        );
        assert_eq!(
            headline(End::Failed, 3, "exit code 1"),
            "failed after 3 attempts: exit code 1"
        );
        assert_eq!(
            headline(End::Stopped, 1, " a\nb\u{1b}c "),
            "stopped after 1 attempt: a b c"
        );
        assert_eq!(headline(End::Failed, 0, ""), "failed");
    }
}
