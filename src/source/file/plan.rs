//! What a work file means beside what was told: which of its entries are
//! wanted, in which order, and what holds them.
//!
//! Pure. Remembers no text of an entry that is done.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    entry::{self, Bad, Entry},
    outcomes::Told,
};
use crate::{
    core::{End, Fingerprint, Hold, Item},
    source::{
        blockers::{self, Blocker},
        repo::Repos,
    },
};

/// A reading of the work file.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// What is wanted, in the order in which it should start.
    pub items: Vec<Item>,
    /// How many entries cannot be used.
    pub bad: usize,
    /// What a person should hear.
    pub complaints: BTreeSet<Complaint>,
    /// The ids of all entries that have one.
    pub ids: BTreeSet<String>,
}

/// What a person should hear of one entry or line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Whether something is left out for it; else it is a warning.
    pub grave: bool,
    /// The item it concerns, if that is known.
    pub id: Option<String>,
    /// A sentence fragment that names its place.
    pub text: String,
}

/// What the file holds under an id.
enum Found {
    /// An entry that is wanted, at this place of the order.
    Wanted(usize),
    /// An entry that was told as it is.
    Done(End),
    /// An entry that cannot be used.
    Bad,
}

/// Reads the bytes of a work file.
///
/// # Errors
/// If the file as a whole cannot be read, as a sentence fragment.
pub fn plan(bytes: &[u8], told: &Told, repos: &Repos) -> Result<Plan, String> {
    let mut reading = Reading {
        told,
        wanted: Vec::new(),
        found: BTreeMap::new(),
        bad: 0,
        complaints: BTreeSet::new(),
    };
    entry::each(bytes, |entry| match entry {
        Ok(entry) => reading.take(entry),
        Err(bad) => reading.leave_out(bad),
    })?;
    Ok(reading.finish(repos))
}

struct Reading<'a> {
    told: &'a Told,
    wanted: Vec<(Entry, Fingerprint)>,
    found: BTreeMap<String, Found>,
    bad: usize,
    complaints: BTreeSet<Complaint>,
}

impl Reading<'_> {
    fn take(&mut self, mut entry: Entry) {
        if self.found.contains_key(&entry.id) {
            let (index, id) = (entry.index, Some(entry.id));
            let why = "its id is that of an earlier entry".to_owned();
            return self.leave_out(Bad { index, id, why });
        }
        for unknown in std::mem::take(&mut entry.unknown) {
            self.complaints.insert(Complaint {
                grave: false,
                text: format!("{}: {unknown}", name(entry.index, Some(&entry.id))),
                id: Some(entry.id.clone()),
            });
        }
        let fingerprint = entry.fingerprint();
        let end = self.told.last(&entry.id);
        match end.filter(|(told, _)| *told == fingerprint) {
            Some((_, end)) => {
                self.found.insert(entry.id, Found::Done(end));
            }
            None => {
                // The place is known when all are there.
                self.found.insert(entry.id.clone(), Found::Wanted(0));
                self.wanted.push((entry, fingerprint));
            }
        }
    }

    fn leave_out(&mut self, bad: Bad) {
        self.bad += 1;
        let place = name(bad.index, bad.id.as_deref());
        self.complaints.insert(Complaint {
            grave: true,
            text: format!("{place} is left out: {}", bad.why),
            id: bad.id.clone(),
        });
        if let Some(id) = bad.id {
            self.found.entry(id).or_insert(Found::Bad);
        }
    }

    fn finish(mut self, repos: &Repos) -> Plan {
        // Stable: within a priority, the order of the file.
        self.wanted
            .sort_by(|(a, _), (b, _)| b.priority.total_cmp(&a.priority));
        for (place, (entry, _)) in self.wanted.iter().enumerate() {
            if let Some(found) = self.found.get_mut(&entry.id) {
                *found = Found::Wanted(place);
            }
        }
        let ids: Vec<(&str, &[String])> = self
            .wanted
            .iter()
            .map(|(entry, _)| (entry.id.as_str(), entry.blocked_by.as_slice()))
            .collect();
        let holds = blockers::holds(&ids, |id| self.blocker(id));
        let wanted = self.wanted.into_iter().zip(holds);
        Plan {
            items: wanted
                .map(|((entry, fingerprint), hold)| item(entry, fingerprint, hold, repos))
                .collect(),
            bad: self.bad,
            complaints: self.complaints,
            ids: self.found.into_keys().collect(),
        }
    }

    fn blocker(&self, id: &str) -> Blocker {
        let by_end = |end| match end {
            End::Succeeded => Blocker::Succeeded,
            End::Failed | End::Stopped => Blocker::Failed,
        };
        match self.found.get(id) {
            Some(Found::Wanted(place)) => Blocker::Open(*place),
            Some(Found::Done(end)) => by_end(*end),
            // It may have succeeded in its day, but it has changed since.
            Some(Found::Bad) => Blocker::Unknown,
            None => match self.told.last(id) {
                Some((_, end)) => by_end(end),
                None => Blocker::Unknown,
            },
        }
    }
}

/// How an entry names its repository.
const ADVICE: &str = "add \"repo_url\" to the entry, or give --default-repo";

/// The item of an entry. A fault of its own is named before one of others.
fn item(entry: Entry, fingerprint: Fingerprint, hold: Option<Hold>, repos: &Repos) -> Item {
    let (repo_url, refused) = match repos.choose(entry.repo_url.as_deref(), ADVICE) {
        Ok(repo_url) => (repo_url, None),
        Err(refused) => (None, Some(refused)),
    };
    Item {
        source_id: entry.id.clone(),
        id: entry.id,
        summary: entry.summary,
        description: entry.description,
        repo_url,
        url: entry.url,
        env: entry.env,
        facts: Vec::new(),
        fingerprint,
        hold: refused.or(hold),
    }
}

/// `items[3] (A-1)`
fn name(index: usize, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("items[{index}] ({id})"),
        None => format!("items[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Outcome, Stamp};

    fn read(text: &str, told: &Told) -> Plan {
        plan(text.as_bytes(), told, &Repos::default()).unwrap()
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.items.iter().map(|item| item.id.as_str()).collect()
    }

    fn tell(told: &mut Told, id: &str, fingerprint: Fingerprint, end: End) {
        told.add(&Outcome {
            item_id: id.into(),
            source_id: id.into(),
            fingerprint,
            end,
            reason: String::new(),
            attempts: 1,
            exit_code: None,
            started: Stamp(0),
            finished: Stamp(0),
            history: vec![],
            run: None,
        });
    }

    fn print(text: &str) -> Fingerprint {
        read(&format!("[{text}]"), &Told::default()).items[0].fingerprint
    }

    fn holds(plan: &Plan) -> Vec<String> {
        let hold = |item: &Item| item.hold.as_ref().map_or("".into(), Hold::to_string);
        plan.items.iter().map(hold).collect()
    }

    #[test]
    fn higher_priority_comes_first_and_then_the_order_of_the_file() {
        let text = r#"[{"id":"a"},{"id":"b","priority":-1},{"id":"c","priority":0},
            {"id":"d","priority":2.5},{"id":"e"},{"id":"f","priority":2.5},
            {"id":"g","priority":-0.0}]"#;
        let plan = read(text, &Told::default());
        assert_eq!(ids(&plan), ["d", "f", "a", "c", "e", "g", "b"]);
    }

    #[test]
    fn what_was_told_as_it_is_now_is_done() {
        let a = r#"{"id":"A","summary":"s"}"#;
        let mut told = Told::default();
        for end in [End::Failed, End::Stopped, End::Succeeded] {
            tell(&mut told, "A", print(a), end);
            assert_eq!(ids(&read(&format!("[{a}]"), &told)), [""; 0]);
        }
        // Layout, priority, blockers and unknown keys are not content.
        let same = r#"[{ "priority": 7, "x": 1, "summary" : "s", "id":"A", "blocked_by":["B"] }]"#;
        assert_eq!(ids(&read(same, &told)), [""; 0]);
        for other in [
            r#"{"id":"A","summary":"t"}"#,
            r#"{"id":"A","summary":"s","url":"u"}"#,
            r#"{"id":"A","summary":"s","repo_url":"https://h/a"}"#,
            r#"{"id":"A","summary":"s","env":{"N":"v"}}"#,
        ] {
            assert_eq!(ids(&read(&format!("[{other}]"), &told)), ["A"], "{other}");
        }
        // The last line counts: told with other content since, wanted again.
        tell(&mut told, "A", Fingerprint(1), End::Succeeded);
        assert_eq!(ids(&read(&format!("[{a}]"), &told)), ["A"]);
    }

    #[test]
    fn of_an_id_given_twice_the_first_counts() {
        let text = r#"[{"id":"A","summary":"1"},{"id":"B"},{"id":"A","summary":"2"}]"#;
        let plan = read(text, &Told::default());
        assert_eq!(ids(&plan), ["A", "B"]);
        assert_eq!(plan.items[0].summary, "1");
        assert_eq!(plan.bad, 1);
        let said = plan.complaints.first().unwrap();
        assert_eq!(
            (said.grave, said.id.as_deref(), said.text.as_str()),
            (
                true,
                Some("A"),
                "items[2] (A) is left out: its id is that of an earlier entry"
            )
        );
        // Also where the first one is done, or bad.
        let mut told = Told::default();
        tell(&mut told, "A", plan.items[0].fingerprint, End::Failed);
        assert_eq!(ids(&read(text, &told)), ["B"]);
        // And what comes second changes nothing for those who wait for it.
        tell(&mut told, "A", plan.items[0].fingerprint, End::Succeeded);
        let waiting = text.replace(r#"{"id":"B"}"#, r#"{"id":"B","blocked_by":["A"]}"#);
        assert_eq!(holds(&read(&waiting, &told)), [""]);
        let plan = read(r#"[{"id":"A","summary":1},{"id":"A"}]"#, &Told::default());
        assert_eq!((ids(&plan).len(), plan.bad), (0, 2));
    }

    #[test]
    fn bad_entries_and_unknown_keys_are_named_with_index_and_id() {
        let text = r#"[{"id":"A","sumary":"s"},{"id":"B","summary":1},{}]"#;
        let plan = read(text, &Told::default());
        assert_eq!((ids(&plan), plan.bad), (vec!["A"], 2));
        let said: Vec<String> = plan
            .complaints
            .iter()
            .map(|c| format!("{} {:?} {}", c.grave, c.id.as_deref(), c.text))
            .collect();
        assert_eq!(
            said,
            [
                "false Some(\"A\") items[0] (A): the key \"sumary\" is not known; \
                 did you mean \"summary\"?",
                "true None items[2] is left out: it has no \"id\"",
                "true Some(\"B\") items[1] (B) is left out: its \"summary\" is a number, \
                 not a string",
            ]
        );
    }

    #[test]
    fn a_blocker_counts_by_its_last_line_and_its_present_content() {
        let now = print(r#"{"id":"X"}"#);
        let old = Fingerprint(1);
        let entry = r#"[{"id":"A","blocked_by":["X"]},{"id":"X"}]"#;
        let bad = r#"[{"id":"A","blocked_by":["X"]},{"id":"X","url":1}]"#;
        let gone = r#"[{"id":"A","blocked_by":["X"]}]"#;
        let (free, open) = ("", "blocked by X");
        let failed = "blocked by X, which did not succeed";
        let unknown = "blocked by X, which is not known";
        for (text, told_as, hold) in [
            (entry, None, open),
            (entry, Some((now, End::Succeeded)), free),
            (entry, Some((now, End::Failed)), failed),
            (entry, Some((now, End::Stopped)), failed),
            (entry, Some((old, End::Succeeded)), open),
            (entry, Some((old, End::Failed)), open),
            (gone, None, unknown),
            (gone, Some((old, End::Succeeded)), free),
            (gone, Some((old, End::Failed)), failed),
            (gone, Some((old, End::Stopped)), failed),
            (bad, None, unknown),
            (bad, Some((now, End::Succeeded)), unknown),
        ] {
            let mut told = Told::default();
            if let Some((print, end)) = told_as {
                tell(&mut told, "X", print, end);
            }
            let holds = holds(&read(text, &told));
            assert_eq!(holds[0], hold, "{text} {told_as:?}");
        }
    }

    #[test]
    fn blockers_are_found_whatever_the_order_of_start() {
        let text = r#"[{"id":"A"},{"id":"B","blocked_by":["C"]},{"id":"E","blocked_by":["A"]},
            {"id":"C","priority":1,"blocked_by":["D"]},{"id":"D","priority":9,"blocked_by":["B"]}]"#;
        let plan = read(text, &Told::default());
        let circle = "blocked in a circle: D → B → C";
        assert_eq!(ids(&plan), ["D", "C", "A", "B", "E"]);
        assert_eq!(holds(&plan), [circle, circle, "", circle, "blocked by A"]);
    }

    #[test]
    fn the_default_repository_is_no_part_of_the_content() {
        let repos = Repos {
            hosts: vec!["h".into()],
            default: Some("https://h/d".into()),
            needed: true,
        };
        let text = br#"[{"id":"A"},{"id":"B","repo_url":"https://evil/b","blocked_by":["A"]}]"#;
        let with = plan(text, &Told::default(), &repos).unwrap();
        assert_eq!(with.items[0].repo_url.as_deref(), Some("https://h/d"));
        assert_eq!(with.items[1].repo_url, None);
        assert!(matches!(
            with.items[1].hold,
            Some(Hold::RepositoryRefused(_))
        ));
        let without = plan(text, &Told::default(), &Repos::default()).unwrap();
        assert_eq!(with.items[0].fingerprint, without.items[0].fingerprint);
    }

    #[test]
    fn a_large_file_takes_no_time() {
        let mut text = String::from("[");
        for i in 0..20_000 {
            let comma = if i == 0 { "" } else { "," };
            text += &format!("{comma}{{\"id\":\"{i}\",\"blocked_by\":[\"{}\"]}}", i + 1);
        }
        text += "]";
        let plan = read(&text, &Told::default());
        assert_eq!(plan.items.len(), 20_000);
        assert!(plan.items.iter().all(|item| item.hold.is_some()));
    }
}
