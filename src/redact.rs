//! Secrets out of text, and text cut to what a person will read.
//!
//! Never learns where a secret comes from or where the text goes.

use std::{borrow::Cow, collections::BTreeMap, fmt};

/// Shorter values are found all over innocent text.
const LEAST: usize = 8;

/// Replaces the values of secrets by `[NAME]`.
#[derive(Clone, Default)]
pub struct Redactor {
    /// What is looked for, by its first eight bytes (every value has eight).
    /// The longest comes first.
    values: BTreeMap<[u8; LEAST], Vec<Known>>,
    /// One bit for a hash of each key above, so that a place where nothing
    /// begins costs next to nothing.
    filter: Filter,
    longest: usize,
}

#[derive(Clone)]
struct Known {
    value: String,
    name: String,
}

/// Says which secrets it knows, never their values.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.values().flatten().map(|known| &known.name);
        f.debug_set().entries(names).finish()
    }
}

impl Redactor {
    /// One that knows no secret.
    #[must_use]
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// From now on hides `value`, and each of its lines, as `[name]`. What
    /// surrounds a value or a line as whitespace is no part of it: a token read
    /// from a file ends in a newline which nobody sends. Less than 8 characters
    /// are not hidden. Of several names for one value the first stays.
    pub fn add(&mut self, name: &str, value: &str) {
        let value = value.trim();
        self.add_one(name, value);
        // A bare CR breaks a line too.
        for line in value.split(['\n', '\r']) {
            self.add_one(name, line.trim());
        }
    }

    fn add_one(&mut self, name: &str, value: &str) {
        let Some(key) = value.as_bytes().first_chunk::<LEAST>() else {
            return;
        };
        if value.chars().nth(LEAST - 1).is_none() {
            return;
        }
        let same = self.values.entry(*key).or_default();
        if same.iter().any(|known| known.value == value) {
            return;
        }
        let at = same.partition_point(|known| known.value.len() >= value.len());
        let known = Known {
            value: value.to_owned(),
            name: name.to_owned(),
        };
        same.insert(at, known);
        self.filter.add(*key);
        self.longest = self.longest.max(value.len());
    }

    /// Bytes of the longest value: whoever cuts text before cleaning it has to
    /// leave that much room, or half a secret stays at the edge.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// `text` without any known value. Values that overlap go together, under
    /// the name of the longest, so that nothing of either is left; what was put
    /// in is not looked at again.
    #[must_use]
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = self.places(text).into_iter();
        let Some(mut open) = found.next() else {
            return Cow::Borrowed(text);
        };
        let mut clean = String::with_capacity(text.len());
        let mut done = 0;
        let mut close = |place: &Place<'_>| {
            // Both edges are those of a `str` found in a `str`.
            clean.push_str(text.get(done..place.start).unwrap_or(""));
            clean.extend(["[", &place.known.name, "]"]);
            done = place.end;
        };
        for next in found {
            if next.start < open.end {
                open.end = open.end.max(next.end);
                if next.known.value.len() > open.known.value.len() {
                    open.known = next.known;
                }
            } else {
                close(&open);
                open = next;
            }
        }
        close(&open);
        clean.push_str(text.get(done..).unwrap_or(""));
        Cow::Owned(clean)
    }

    /// Where values begin, in order, the longest at each place.
    fn places(&self, text: &str) -> Vec<Place<'_>> {
        if self.values.is_empty() {
            return Vec::new();
        }
        let bytes = text.as_bytes();
        let mut places = Vec::new();
        for (start, window) in bytes.windows(LEAST).enumerate() {
            let Ok(key) = <[u8; LEAST]>::try_from(window) else {
                continue;
            };
            if !self.filter.may_hold(key) {
                continue;
            }
            let here = bytes.get(start..).unwrap_or(&[]);
            let known = self
                .values
                .get(&key)
                .and_then(|all| all.iter().find(|k| here.starts_with(k.value.as_bytes())));
            if let Some(known) = known {
                places.push(Place {
                    start,
                    end: start + known.value.len(),
                    known,
                });
            }
        }
        places
    }
}

struct Place<'a> {
    start: usize,
    end: usize,
    known: &'a Known,
}

/// A set of keys that may say yes too often and never no.
#[derive(Clone)]
struct Filter([u64; 64]);

impl Default for Filter {
    fn default() -> Filter {
        Filter([0; 64])
    }
}

impl Filter {
    /// Word and bit for a key: the top twelve bits of a multiplication.
    fn place(key: [u8; LEAST]) -> (usize, u64) {
        let hash = u64::from_le_bytes(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    fn add(&mut self, key: [u8; LEAST]) {
        let (word, bit) = Filter::place(key);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn may_hold(&self, key: [u8; LEAST]) -> bool {
        let (word, bit) = Filter::place(key);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// The end of `text`: at most `lines` lines and `max_bytes` bytes, without the
/// line breaks at its end. Cut where a line begins, or where that would leave
/// nothing, between two characters.
#[must_use]
pub fn last_lines(text: &str, lines: usize, max_bytes: usize) -> &str {
    let text = text.trim_end_matches(['\n', '\r']);
    if lines == 0 {
        return "";
    }
    let by_lines = text
        .rmatch_indices('\n')
        .nth(lines - 1)
        .map_or(0, |(at, _)| at + 1);
    let room = text.len().saturating_sub(max_bytes);
    if by_lines >= room {
        return text.get(by_lines..).unwrap_or("");
    }
    // A line that begins exactly where the room does has its break before it.
    let before = text.as_bytes().get(room - 1..).unwrap_or(&[]);
    let start = before
        .iter()
        .position(|b| *b == b'\n')
        .map(|at| room + at)
        .or_else(|| (room..=text.len()).find(|at| text.is_char_boundary(*at)))
        .unwrap_or(text.len());
    text.get(start..).unwrap_or("")
}

/// The begin of `text`: at most `max_bytes` bytes, with an ellipsis for what is
/// left out. Cut between two characters.
#[must_use]
pub fn shortened(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let room = max_bytes.saturating_sub("…".len());
    let begin = (0..=room).rev().find_map(|end| text.get(..end));
    Cow::Owned(begin.unwrap_or("").to_owned() + "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(secrets: &[(&str, &str)]) -> Redactor {
        let mut redactor = Redactor::new();
        for (name, value) in secrets {
            redactor.add(name, value);
        }
        redactor
    }

    #[test]
    fn every_occurrence_is_replaced() {
        let r = of(&[("A", "hunter2hunter"), ("B", "correct-horse")]);
        assert_eq!(
            r.clean("x hunter2hunter ycorrect-horse hunter2hunter"),
            "x [A] y[B] [A]"
        );
        assert_eq!(r.clean("hunter2hunterhunter2hunter"), "[A][A]");
        assert_eq!(r.clean("correct-horsecorrect-horse"), "[B][B]");
        assert_eq!(
            r.clean("hunter2hunte correct-hors"),
            "hunter2hunte correct-hors"
        );
    }

    #[test]
    fn text_without_secrets_is_not_copied() {
        let r = of(&[("A", "hunter2hunter")]);
        assert!(matches!(
            r.clean("nothing here"),
            Cow::Borrowed("nothing here")
        ));
        assert!(matches!(r.clean(""), Cow::Borrowed("")));
        assert!(matches!(
            Redactor::new().clean("anything"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn a_value_of_less_than_eight_characters_stays() {
        // Seven characters, fourteen bytes.
        let r = of(&[
            ("A", "1234567"),
            ("B", "äöüäöüä"),
            ("C", ""),
            ("D", "a\nb\n"),
        ]);
        assert_eq!(r.longest(), 0);
        assert_eq!(r.clean("1234567 äöüäöüä"), "1234567 äöüäöüä");
        assert_eq!(of(&[("A", "12345678")]).clean("123456789"), "[A]9");
        assert_eq!(of(&[("A", "äöüäöüäö")]).clean("xäöüäöüäöx"), "x[A]x");
    }

    #[test]
    fn the_longest_value_wins_and_the_first_name_of_a_value_stays() {
        let r = of(&[
            ("SHORT", "tokentoken"),
            ("LONG", "tokentoken-extra"),
            ("SAME", "tokentoken"),
            ("INNER", "ntoken-e"),
        ]);
        assert_eq!(r.clean("tokentoken-extra tokentoken"), "[LONG] [SHORT]");
        assert_eq!(r.longest(), 16);
    }

    #[test]
    fn nothing_of_two_overlapping_values_is_left() {
        let r = of(&[("A", "abcdefgh"), ("B", "ghijklmnop")]);
        assert_eq!(r.clean("<abcdefghijklmnop>"), "<[B]>");
        assert_eq!(r.clean("<abcdefgh>"), "<[A]>");
    }

    #[test]
    fn what_was_put_in_is_not_replaced_again() {
        let r = of(&[("TOKENTOKEN", "secret-one"), ("X", "[TOKENTOKEN]")]);
        assert_eq!(r.clean("secret-one"), "[TOKENTOKEN]");
        assert_eq!(r.clean("[TOKENTOKEN]"), "[X]");
    }

    #[test]
    fn each_line_of_a_value_is_a_secret_too() {
        let key = "-----BEGIN KEY-----\r\nabcdefghijkl\r\nend\r\n-----END KEY-----\r\n";
        let r = of(&[("KEY", key)]);
        assert_eq!(r.clean("says abcdefghijkl and end"), "says [KEY] and end");
        assert_eq!(r.clean(key), "[KEY]\r\n");
        assert_eq!(
            r.clean("-----BEGIN KEY-----\n  abcdefghijkl\nend\n"),
            "[KEY]\n  [KEY]\nend\n"
        );
        assert_eq!(
            of(&[("T", " tokentoken\r\n")]).clean("[tokentoken]"),
            "[[T]]"
        );
    }

    #[test]
    fn debug_shows_names_only() {
        let text = format!("{:?}", of(&[("NAME", "hunter2hunter")]));
        assert!(text.contains("NAME") && !text.contains("hunter"), "{text}");
    }

    fn random(seed: &mut u64, below: usize) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed % below as u64) as usize
    }

    #[test]
    fn no_value_is_left_in_any_text() {
        let seed = &mut 0x1234_5678_9abc_def1_u64;
        for _ in 0..3000 {
            let word = |seed: &mut u64, most: usize| -> String {
                (0..random(seed, most))
                    .map(|_| ['a', 'b', 'ä'][random(seed, 3)])
                    .collect()
            };
            let secrets: Vec<String> = (0..random(seed, 6)).map(|_| word(seed, 14)).collect();
            let mut r = Redactor::new();
            for value in &secrets {
                r.add("N", value);
            }
            let mut text = String::new();
            for _ in 0..6 {
                text += &word(seed, 20);
                text += secrets.get(random(seed, 7)).map_or("", String::as_str);
            }
            let clean = r.clean(&text);
            assert_eq!(clean, r.clean(&text));
            for value in secrets.iter().filter(|v| v.chars().count() >= LEAST) {
                assert!(!clean.contains(value.as_str()), "{value} in {clean}");
            }
            // What is left is what was there, in order.
            let mut rest = text.as_str();
            for part in clean.split("[N]") {
                let at = rest.find(part).expect("a part of the text");
                rest = &rest[at + part.len()..];
            }
            assert_eq!(clean == text, !clean.contains("[N]"));
        }
    }

    #[test]
    fn a_megabyte_and_fifty_secrets_are_no_trouble() {
        let mut r = Redactor::new();
        for n in 0..50 {
            r.add("N", &format!("sk-or-v1-{n:040}"));
        }
        let text = "sk-or-v1-0 ".repeat(100_000);
        assert!(matches!(r.clean(&text), Cow::Borrowed(_)));
        let text = format!("sk-or-v1-{:040} ", 7).repeat(20_000);
        assert_eq!(r.clean(&text), "[N] ".repeat(20_000));
    }

    #[test]
    fn the_last_lines_are_cut_where_a_line_begins() {
        let text = "one\ntwo\nthree\n";
        assert_eq!(last_lines(text, 2, 100), "two\nthree");
        assert_eq!(last_lines(text, 3, 100), "one\ntwo\nthree");
        assert_eq!(last_lines(text, 9, 100), "one\ntwo\nthree");
        assert_eq!(last_lines(text, 0, 100), "");
        assert_eq!(last_lines("", 5, 5), "");
        assert_eq!(last_lines("\n\n\r\n", 5, 5), "");
        assert_eq!(last_lines("a\n\n\n", 1, 5), "a");
        // Nine bytes are `two` and `three`, eight are not.
        assert_eq!(last_lines(text, 9, 9), "two\nthree");
        assert_eq!(last_lines(text, 9, 10), "two\nthree");
        assert_eq!(last_lines(text, 9, 8), "three");
        assert_eq!(last_lines(text, 9, 5), "three");
        assert_eq!(last_lines(text, 9, 4), "hree");
        assert_eq!(last_lines(text, 9, 0), "");
        assert_eq!(last_lines("äöü", 1, 3), "ü");
        assert_eq!(last_lines("äöü", 1, 1), "");
        assert_eq!(last_lines("a\nb", 1, usize::MAX), "b");
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abc…");
        assert_eq!(shortened("aäöü", 6), "aä…");
        assert_eq!(shortened("äöüä", 7), "äö…");
        assert_eq!(shortened("", 0), "");
    }

    #[test]
    fn a_tail_is_never_too_long_and_ends_the_text() {
        let seed = &mut 99_u64;
        for _ in 0..20_000 {
            let text: String = (0..random(seed, 30))
                .map(|_| ['a', '\n', 'ä', '日', '\r'][random(seed, 5)])
                .collect();
            let (lines, bytes) = (random(seed, 6), random(seed, 40));
            let tail = last_lines(&text, lines, bytes);
            assert!(tail.len() <= bytes && tail.split('\n').count() <= lines.max(1));
            assert!(text.trim_end_matches(['\n', '\r']).ends_with(tail));
        }
    }
}
