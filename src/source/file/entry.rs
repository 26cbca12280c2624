//! The entries of a work file, read one by one.
//!
//! Pure. Never gives up on the file because of one entry: only what is not
//! JSON, or not an array, is an error as a whole.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::agent::item_env_refused;
use crate::core::Fingerprint;

/// The keys an entry may have.
const KEYS: [&str; 8] = [
    "id",
    "summary",
    "description",
    "repo_url",
    "url",
    "priority",
    "blocked_by",
    "env",
];

/// The most bytes an id may have.
const ID_LIMIT: usize = 255;

/// An entry that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place in the array, from 0.
    pub index: usize,
    /// 1 to 255 bytes without control characters.
    pub id: String,
    /// Empty where there is none.
    pub summary: String,
    /// Empty where there is none.
    pub description: String,
    /// As written, without the space around it; `None` if blank.
    pub repo_url: Option<String>,
    /// As written.
    pub url: Option<String>,
    /// Finite; 0 where there is none.
    pub priority: f64,
    /// Ids, each once.
    pub blocked_by: Vec<String>,
    /// Lawful names and their values.
    pub env: BTreeMap<String, String>,
    /// Keys that mean nothing, each as a sentence fragment with advice.
    pub unknown: Vec<String>,
}

impl Entry {
    /// Over its own values, whatever the command line adds.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(
            &self.id,
            &self.summary,
            &self.description,
            self.repo_url.as_deref(),
            self.url.as_deref(),
            &self.env,
        )
    }
}

/// An entry that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its place in the array, from 0.
    pub index: usize,
    /// Its id, if that much can be read.
    pub id: Option<String>,
    /// All that is wrong with it, as a sentence fragment.
    pub why: String,
}

/// Hands the entries of a whole file to `take`, in their order, one at a time.
///
/// # Errors
/// If the file as a whole cannot be read, with line and column where there is
/// a place to name. What `take` was given before is then worth nothing.
pub fn each(bytes: &[u8], mut take: impl FnMut(Result<Entry, Bad>)) -> Result<(), String> {
    const WANTED: &str = "an array of objects such as [{\"id\": \"A-1\"}] is expected";
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16; save it as UTF-8".into());
    }
    // Some editors put a byte order mark before UTF-8, too.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.iter().find(|b| !b" \t\r\n".contains(b));
    let found = match first {
        None => return Err(format!("it is empty; {WANTED} ([] for no items)")),
        Some(b'{') => "an object",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        // Anything else is told by the parser, with its place.
        Some(_) => "",
    };
    if !found.is_empty() {
        return Err(format!("it holds {found}; {WANTED}"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut index = 0;
    let each = Each(|value| {
        take(read(index, value));
        index += 1;
    });
    json.deserialize_seq(each)
        .and_then(|()| json.end())
        .map_err(|e| format!("broken JSON: {e}"))
}

/// Calls its function with each element, so that one at a time is in memory.
struct Each<F>(F);

impl<'de, F: FnMut(Value)> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element()? {
            (self.0)(value);
        }
        Ok(())
    }
}

/// One entry, or all that is wrong with it.
fn read(index: usize, value: Value) -> Result<Entry, Bad> {
    let Value::Object(mut map) = value else {
        return Err(Bad {
            index,
            id: None,
            why: format!("it is {}, not an object", kind(&value)),
        });
    };
    let mut wrong = Vec::new();
    let id = read_id(map.remove("id"), &mut wrong);
    let summary = text(&mut map, "summary", &mut wrong).unwrap_or_default();
    let description = text(&mut map, "description", &mut wrong).unwrap_or_default();
    let repo_url = text(&mut map, "repo_url", &mut wrong)
        .map(|repo| repo.trim().to_owned())
        .filter(|repo| !repo.is_empty());
    let url = text(&mut map, "url", &mut wrong);
    let priority = read_priority(map.remove("priority"), &mut wrong);
    let blocked_by = read_blockers(map.remove("blocked_by"), &mut wrong);
    let env = read_env(map.remove("env"), &mut wrong);
    match id {
        Some(id) if wrong.is_empty() => Ok(Entry {
            index,
            id,
            summary,
            description,
            repo_url,
            url,
            priority,
            blocked_by,
            env,
            unknown: map.keys().map(|key| unknown(key)).collect(),
        }),
        id => Err(Bad {
            index,
            id,
            why: wrong.join("; "),
        }),
    }
}

fn read_id(value: Option<Value>, wrong: &mut Vec<String>) -> Option<String> {
    let why = match value {
        None | Some(Value::Null) => "it has no \"id\"".to_owned(),
        Some(Value::String(id)) if id.is_empty() => "its \"id\" is empty".to_owned(),
        Some(Value::String(id)) if id.len() > ID_LIMIT => {
            format!(
                "its \"id\" has {} bytes, and {ID_LIMIT} are allowed",
                id.len()
            )
        }
        Some(Value::String(id)) if id.chars().any(char::is_control) => {
            format!("its \"id\" holds a control character: {id:?}")
        }
        Some(Value::String(id)) => return Some(id),
        Some(other) => format!("its \"id\" is {}, not a string", kind(&other)),
    };
    wrong.push(why);
    None
}

fn text(map: &mut Map<String, Value>, key: &str, wrong: &mut Vec<String>) -> Option<String> {
    match string(map.remove(key)?) {
        Ok(text) => Some(text),
        Err(Value::Null) => None,
        Err(other) => {
            wrong.push(format!("its {key:?} is {}, not a string", kind(&other)));
            None
        }
    }
}

/// A string's text, or whatever it is instead.
fn string(value: Value) -> Result<String, Value> {
    if let Value::String(text) = value {
        return Ok(text);
    }
    Err(value)
}

fn read_priority(value: Option<Value>, wrong: &mut Vec<String>) -> f64 {
    match value {
        None | Some(Value::Null) => 0.0,
        // The sum makes one zero of the two, which would not compare equal.
        Some(Value::Number(n)) => n.as_f64().unwrap_or_default() + 0.0,
        Some(other) => {
            wrong.push(format!(
                "its \"priority\" is {}, not a number",
                kind(&other)
            ));
            0.0
        }
    }
}

fn read_blockers(value: Option<Value>, wrong: &mut Vec<String>) -> Vec<String> {
    let ids = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(ids)) => ids,
        Some(other) => {
            let kind = kind(&other);
            wrong.push(format!("its \"blocked_by\" is {kind}, not an array of ids"));
            return Vec::new();
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut blockers = Vec::new();
    for (at, id) in ids.into_iter().enumerate() {
        match string(id) {
            Ok(id) => {
                if seen.insert(id.clone()) {
                    blockers.push(id);
                }
            }
            Err(other) => {
                let kind = kind(&other);
                wrong.push(format!("its \"blocked_by\"[{at}] is {kind}, not a string"));
            }
        }
    }
    blockers
}

fn read_env(value: Option<Value>, wrong: &mut Vec<String>) -> BTreeMap<String, String> {
    let variables = match value {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(variables)) => variables,
        Some(other) => {
            let kind = kind(&other);
            wrong.push(format!("its \"env\" is {kind}, not an object of strings"));
            return BTreeMap::new();
        }
    };
    let mut env = BTreeMap::new();
    for (name, value) in variables {
        if let Some(why) = item_env_refused(&name) {
            wrong.push(format!("its \"env\" names {}: {why}", quoted(&name)));
            continue;
        }
        match string(value) {
            Ok(value) => {
                env.insert(name, value);
            }
            Err(other) => {
                let kind = kind(&other);
                let name = quoted(&name);
                wrong.push(format!("its \"env\" gives {name} {kind}, not a string"));
            }
        }
    }
    env
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Foreign text for a message: in quotes, escaped, of bounded length.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
    }
}

/// What to say of a key that means nothing.
fn unknown(key: &str) -> String {
    let name = quoted(key);
    match nearest(key) {
        Some(known) => format!("the key {name} is not known; did you mean {known:?}?"),
        None => format!("the key {name} is not known; known are {}", KEYS.join(", ")),
    }
}

/// The known key that `key` is probably meant to be.
fn nearest(key: &str) -> Option<&'static str> {
    // Too long to be a slip of the fingers, and not worth the time.
    if key.len() > 32 {
        return None;
    }
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let typed = plain(key);
    KEYS.into_iter()
        .map(|known| (distance(&typed, &plain(known)), known))
        .filter(|(steps, known)| *steps <= known.len() / 3)
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, known)| known)
}

/// Letters to insert, delete or replace to make `b` of `a` (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut above_left = i;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (above_left + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            above_left = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Result<Entry, Bad>>, String> {
        let mut found = Vec::new();
        each(text.as_bytes(), |entry| found.push(entry)).map(|()| found)
    }

    fn one(text: &str) -> Result<Entry, String> {
        let mut found = all(&format!("[{text}]")).unwrap();
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0).map_err(|bad| bad.why)
    }

    #[test]
    fn an_entry_is_read_with_all_its_keys() {
        let entry = one(
            r#"{"id":"A-1","summary":"s","description":"d","repo_url":" https://h/a ","url":"u",
                "priority":-1.5,"blocked_by":["B","C","B"],"env":{"N":"v"}}"#,
        );
        assert_eq!(
            entry,
            Ok(Entry {
                index: 0,
                id: "A-1".into(),
                summary: "s".into(),
                description: "d".into(),
                repo_url: Some("https://h/a".into()),
                url: Some("u".into()),
                priority: -1.5,
                blocked_by: vec!["B".into(), "C".into()],
                env: BTreeMap::from([("N".into(), "v".into())]),
                unknown: vec![],
            })
        );
    }

    #[test]
    fn null_is_absent() {
        let null = one(
            r#"{"id":"A","summary":null,"description":null,"repo_url":null,"url":null,
                "priority":null,"blocked_by":null,"env":null}"#,
        );
        assert_eq!(null, one(r#"{"id":"A"}"#));
        assert_eq!(null, one(r#"{"id":"A","repo_url":" "}"#));
        let zero = one(r#"{"id":"A","priority":-0.0}"#);
        assert_eq!(zero.unwrap().priority.to_bits(), 0);
        assert_eq!(one(r#"{"id":null}"#), Err("it has no \"id\"".into()));
    }

    #[test]
    fn all_that_is_wrong_with_an_entry_is_said_at_once() {
        for (text, why) in [
            ("7", "it is a number, not an object"),
            ("[]", "it is an array, not an object"),
            ("{}", "it has no \"id\""),
            (r#"{"id":7}"#, "its \"id\" is a number, not a string"),
            (r#"{"id":""}"#, "its \"id\" is empty"),
            (
                r#"{"id":"a\nb"}"#,
                "its \"id\" holds a control character: \"a\\nb\"",
            ),
            (
                r#"{"id":"A","description":["x"]}"#,
                "its \"description\" is an array, not a string",
            ),
            (
                r#"{"id":"A","summary":1,"url":true}"#,
                "its \"summary\" is a number, not a string; its \"url\" is a boolean, not a string",
            ),
            (
                r#"{"id":"A","priority":"high"}"#,
                "its \"priority\" is a string, not a number",
            ),
            (
                r#"{"id":"A","blocked_by":"B"}"#,
                "its \"blocked_by\" is a string, not an array of ids",
            ),
            (
                r#"{"id":"A","blocked_by":["B",null]}"#,
                "its \"blocked_by\"[1] is null, not a string",
            ),
            (
                r#"{"id":"A","env":[]}"#,
                "its \"env\" is an array, not an object of strings",
            ),
            (
                r#"{"id":"A","env":{"N":1}}"#,
                "its \"env\" gives \"N\" a number, not a string",
            ),
        ] {
            assert_eq!(one(text), Err(why.into()), "{text}");
        }
        let why = one(r#"{"id":"A","env":{"RECAC_X":"v"}}"#).unwrap_err();
        assert!(why.starts_with("its \"env\" names \"RECAC_X\": "), "{why}");
    }

    #[test]
    fn an_id_may_have_255_bytes() {
        let id = |n| format!(r#"{{"id":"{}"}}"#, "é".repeat(n) + "x");
        assert!(one(&id(127)).is_ok());
        assert_eq!(
            one(&id(128)),
            Err("its \"id\" has 257 bytes, and 255 are allowed".into())
        );
    }

    #[test]
    fn a_bad_entry_is_named_and_the_others_are_read() {
        let found = all(r#"[{"id":"A"}, {"id":"B","summary":1}, {"id":"C"}]"#).unwrap();
        assert_eq!(found[0].as_ref().unwrap().id, "A");
        let bad = found[1].as_ref().unwrap_err();
        assert_eq!((bad.index, bad.id.as_deref()), (1, Some("B")));
        assert_eq!(found[2].as_ref().unwrap().index, 2);
    }

    #[test]
    fn a_key_that_means_nothing_is_named_with_the_nearest_one() {
        for (key, said) in [
            ("repoUrl", "did you mean \"repo_url\"?"),
            ("repo", "known are id, summary"),
            ("blocked-by", "did you mean \"blocked_by\"?"),
            ("Descripton", "did you mean \"description\"?"),
            ("prioritty", "did you mean \"priority\"?"),
            ("URL", "did you mean \"url\"?"),
            ("title", "known are id, summary"),
            ("", "known are id, summary"),
        ] {
            let entry = one(&format!(r#"{{"id":"A","{key}":1}}"#)).unwrap();
            assert_eq!(entry.unknown.len(), 1);
            assert!(entry.unknown[0].contains(said), "{:?}", entry.unknown);
        }
        let long = unknown(&"\u{1b}".repeat(100));
        assert!(!long.contains('\u{1b}') && long.contains('…'), "{long}");
    }

    #[test]
    fn a_file_that_is_no_array_says_what_it_is() {
        for (text, said) in [
            ("", "it is empty; an array of objects"),
            (" \n\t", "it is empty; an array of objects"),
            ("{\"items\":[", "it holds an object; an array"),
            ("\"x\"", "it holds a string; an array"),
            ("-1", "it holds a number; an array"),
            ("true", "it holds a boolean; an array"),
            ("null", "it holds null; an array"),
        ] {
            let why = all(text).unwrap_err();
            assert!(why.starts_with(said), "{text}: {why}");
        }
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend(b"[\0]\0");
        let why = each(&utf16, |_| {}).unwrap_err();
        assert!(why.contains("UTF-16"), "{why}");
    }

    #[test]
    fn a_broken_file_is_named_with_line_and_column() {
        for (text, place) in [
            ("[", "line 1 column 1"),
            ("[{\"id\":\"A\"},\n{\"id\":", "line 2 column 6"),
            ("[{\"id\":\"A\"},\n]", "line 2 column 1"),
            ("[]\n\n x", "line 3 column 2"),
            ("[] []", "line 1 column 4"),
            ("x", "line 1 column 1"),
            ("[{\"id\":\"A\" \"x\"}]", "line 1 column 12"),
        ] {
            let why = all(text).unwrap_err();
            assert!(why.starts_with("broken JSON: "), "{why}");
            assert!(why.ends_with(place), "{text:?}: {why}");
        }
        assert!(each(b"[{\"id\":\"\xff\"}]", |_| {}).is_err());
        assert!(all(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_no_matter() {
        assert_eq!(all("\u{feff}[]"), Ok(vec![]));
        assert_eq!(all("\u{feff} [{\"id\":\"A\"}]").unwrap().len(), 1);
    }
}
