//! What an outcomes file tells: which items have ended, and how.
//!
//! Keeps ids and markers only, not what was said. Changes nothing; a line that
//! cannot be read is named and left alone.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Read},
};

use serde::Deserialize;

use crate::core::{End, Fingerprint, Outcome};

/// A longer line is none of ours: a tail of 50 lines is far below.
const LINE_LIMIT: u64 = 16 << 20;

/// What has been told, by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    last: BTreeMap<Box<str>, (Fingerprint, End)>,
    markers: BTreeSet<Box<str>>,
}

impl Told {
    /// What the last line for `id` says.
    #[must_use]
    pub fn last(&self, id: &str) -> Option<(Fingerprint, End)> {
        self.last.get(id).copied()
    }

    /// Whether this very outcome has been told: the same run, or, where there
    /// was none, the same end of the same content.
    #[must_use]
    pub fn knows(&self, outcome: &Outcome) -> bool {
        self.markers.contains(marker_of(outcome).as_str())
    }

    /// That `outcome` has been told now.
    pub fn add(&mut self, outcome: &Outcome) {
        self.last.insert(
            outcome.item_id.as_str().into(),
            (outcome.fingerprint, outcome.end),
        );
        self.markers.insert(marker_of(outcome).into());
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        // Serde would also take an array for the fields in their order.
        if !line.trim_ascii_start().starts_with(b"{") {
            return Err("it is not a JSON object".into());
        }
        let line: Line = serde_json::from_slice(line).map_err(|e| short(&e.to_string()))?;
        let end = End::of(&line.outcome)
            .ok_or("its \"outcome\" is not one of succeeded, failed, stopped")?;
        let fingerprint = Fingerprint::parse(&line.fingerprint)
            .ok_or("its \"fingerprint\" is not 16 hex digits")?;
        let marker = match (&line.run, &line.uid) {
            (Some(run), Some(uid)) => Some(marker_of_run(run, uid)),
            _ => line
                .finished
                .zip(line.attempts)
                .map(|(finished, n)| marker_without_run(&line.id, fingerprint, n, &finished)),
        };
        self.last.insert(line.id.into(), (fingerprint, end));
        self.markers.extend(marker.map(String::into_boxed_str));
        Ok(())
    }
}

/// What is read of a line; whatever else it holds is for people.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    fingerprint: Cow<'a, str>,
    attempts: Option<u32>,
    finished: Option<String>,
    run: Option<String>,
    uid: Option<String>,
}

fn marker_of(outcome: &Outcome) -> String {
    match &outcome.run {
        Some(run) => marker_of_run(&run.name, &run.uid),
        None => marker_without_run(
            &outcome.item_id,
            outcome.fingerprint,
            outcome.attempts,
            &outcome.finished.to_string(),
        ),
    }
}

fn marker_of_run(name: &str, uid: &str) -> String {
    format!("{name}\0{uid}")
}

/// Begins with a NUL, as no name does.
fn marker_without_run(id: &str, of: Fingerprint, attempts: u32, finished: &str) -> String {
    format!("\0{id}\0{of}\0{attempts}\0{finished}")
}

/// Serde repeats what it did not expect, however long that is.
fn short(why: &str) -> String {
    why.chars().take(200).collect()
}

/// Reads a whole file, a line at a time. With it come what is wrong with which
/// lines, as sentence fragments.
///
/// # Errors
/// Only those of `from`.
pub fn read(mut from: impl BufRead) -> io::Result<(Told, Vec<String>)> {
    let mut told = Told::default();
    let mut wrong = Vec::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        (&mut from).take(LINE_LIMIT).read_until(b'\n', &mut line)?;
        let whole = line.ends_with(b"\n");
        if !whole && line.len() as u64 == LINE_LIMIT {
            wrong.push(format!("line {number} is too long and left out"));
            from.skip_until(b'\n')?;
            continue;
        }
        let mut text = line.as_slice();
        if number == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if !text.trim_ascii().is_empty()
            && let Err(why) = told.add_line(text)
        {
            wrong.push(match whole {
                true => format!("line {number} is left out: {why}"),
                // Whoever wrote it died in the middle; it was never told.
                false => format!("the last line ({number}) is torn and left out: {why}"),
            });
        }
        if !whole {
            break;
        }
    }
    Ok((told, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{RunId, Stamp};

    fn outcome(id: &str, fingerprint: u64, end: End, run: Option<(&str, &str)>) -> Outcome {
        Outcome {
            item_id: id.into(),
            source_id: id.into(),
            fingerprint: Fingerprint(fingerprint),
            end,
            reason: "r".into(),
            attempts: 2,
            exit_code: None,
            started: Stamp(1000),
            finished: Stamp(2000),
            history: vec![],
            run: run.map(|(name, uid)| RunId {
                name: name.into(),
                uid: uid.into(),
            }),
        }
    }

    fn line(outcome: &Outcome) -> String {
        crate::report::line(outcome, "tail\n") + "\n"
    }

    #[test]
    fn what_is_written_is_read_again() {
        let a = outcome("A \"é", 1, End::Failed, Some(("run", "uid")));
        let b = outcome("B", 2, End::Stopped, None);
        let (told, wrong) = read((line(&a) + &line(&b)).as_bytes()).unwrap();
        assert_eq!(wrong, [""; 0]);
        assert_eq!(told.last("A \"é"), Some((Fingerprint(1), End::Failed)));
        assert_eq!(told.last("B"), Some((Fingerprint(2), End::Stopped)));
        assert_eq!(told.last("C"), None);
        let mut added = Told::default();
        added.add(&a);
        added.add(&b);
        assert_eq!(told, added);
    }

    #[test]
    fn the_last_line_of_an_id_counts_and_every_marker_stays() {
        let old = outcome("A", 1, End::Failed, Some(("run", "u1")));
        let new = outcome("A", 2, End::Succeeded, Some(("run", "u2")));
        let (told, _) = read((line(&old) + &line(&new)).as_bytes()).unwrap();
        assert_eq!(told.last("A"), Some((Fingerprint(2), End::Succeeded)));
        assert!(told.knows(&old) && told.knows(&new));
    }

    #[test]
    fn a_repeat_is_recognised_by_its_run_or_by_its_end() {
        let with = outcome("A", 1, End::Failed, Some(("run", "u1")));
        let without = outcome("B", 1, End::Failed, None);
        let (told, _) = read((line(&with) + &line(&without)).as_bytes()).unwrap();
        // The same run tells the same, whatever is said of it this time.
        let mut again = with.clone();
        again.reason = "another word".into();
        again.finished = Stamp(9);
        assert!(told.knows(&again));
        again.run = Some(RunId {
            name: "run".into(),
            uid: "u2".into(),
        });
        assert!(!told.knows(&again));
        assert!(told.knows(&without));
        for change in [
            |o: &mut Outcome| o.item_id = "C".into(),
            |o: &mut Outcome| o.fingerprint = Fingerprint(2),
            |o: &mut Outcome| o.attempts = 3,
            |o: &mut Outcome| o.finished = Stamp(2001),
        ] {
            let mut other = without.clone();
            change(&mut other);
            assert!(!told.knows(&other), "{other:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_by_number_and_left_alone() {
        let good = line(&outcome("A", 1, End::Failed, None));
        for (bad, why) in [
            ("x", "it is not a JSON object"),
            ("\0\0\0", "it is not a JSON object"),
            (
                r#"["A","failed","0000000000000001",1,"","",""]"#,
                "it is not a JSON object",
            ),
            ("{", "EOF while parsing an object"),
            (r#"{"outcome":"failed"}"#, "missing field `id`"),
            (
                r#"{"id":"A","outcome":"failed"}"#,
                "missing field `fingerprint`",
            ),
            (
                r#"{"id":"A","outcome":"done","fingerprint":"0000000000000001"}"#,
                "its \"outcome\" is not one of",
            ),
            (
                &format!(r#"{{"id":"A","run":{{"{}":1}}}}"#, "x".repeat(9999)),
                "invalid type: map",
            ),
            (
                &format!(r#"{{"id":"A","attempts":"{}"}}"#, "x".repeat(9999)),
                "invalid type: string",
            ),
            (
                r#"{"id":"A","outcome":"failed","fingerprint":"1"}"#,
                "its \"fingerprint\" is not 16 hex digits",
            ),
        ] {
            let text = format!("{good}\n{bad}\r\n{good}");
            let (told, wrong) = read(text.as_bytes()).unwrap();
            assert_eq!(told.last("A"), Some((Fingerprint(1), End::Failed)));
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            let said = format!("line 3 is left out: {why}");
            assert!(wrong[0].starts_with(&said), "{wrong:?}");
            assert!(wrong[0].len() < 300, "{wrong:?}");
        }
    }

    #[test]
    fn a_torn_last_line_is_ignored_and_a_whole_one_without_newline_counts() {
        let text = line(&outcome("A", 1, End::Failed, None));
        let whole = text.trim_end();
        let (told, wrong) = read(whole.as_bytes()).unwrap();
        assert!(told.last("A").is_some() && wrong.is_empty());
        let torn = &text[..text.len() - 4];
        let (told, wrong) = read(format!("{text}{torn}").as_bytes()).unwrap();
        assert!(told.last("A").is_some());
        assert_eq!(wrong.len(), 1);
        assert!(
            wrong[0].starts_with("the last line (2) is torn"),
            "{wrong:?}"
        );
        assert_eq!(read(&b""[..]).unwrap(), (Told::default(), vec![]));
    }

    #[test]
    fn a_byte_order_mark_is_no_matter() {
        let text = "\u{feff}".to_owned() + &line(&outcome("A", 1, End::Failed, None));
        let (told, wrong) = read(text.as_bytes()).unwrap();
        assert!(told.last("A").is_some() && wrong.is_empty());
    }

    #[test]
    fn a_line_without_end_is_left_out_and_what_follows_is_read() {
        let good = line(&outcome("A", 1, End::Failed, None));
        let long = io::Cursor::new("{").chain(io::repeat(b' ').take(LINE_LIMIT));
        let text = long.chain(io::Cursor::new(format!("}}\n{good}")));
        let (told, wrong) = read(io::BufReader::new(text)).unwrap();
        assert_eq!(wrong, ["line 1 is too long and left out"]);
        assert!(told.last("A").is_some());
    }
}
