//! Short, seeded versions of the fuzz targets: the same promises on a few
//! thousand broken inputs. The long ones are in `tests/fuzz`.

use std::collections::BTreeSet;

use super::{outcomes, plan};
use crate::source::repo::Repos;

/// Marsaglia's xorshift: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    /// One of `corpus` with a few bytes changed, cut, doubled or replaced by
    /// pieces that mean something.
    fn broken(&mut self, corpus: &[&str]) -> Vec<u8> {
        const PIECES: [&str; 14] = [
            "\"id\":", "null", "[", "]", "{", "}", ",", "\"", "\\u0000", "\n", "1e400", "\u{feff}",
            "\"A\"", "-",
        ];
        let mut bytes = corpus[self.below(corpus.len())].as_bytes().to_vec();
        for _ in 0..self.below(5) {
            let from = self.below(bytes.len() + 1);
            let to = from + self.below((bytes.len() - from).min(12) + 1);
            match self.below(4) {
                0 if from < bytes.len() => bytes[from] = u8::try_from(self.below(256)).unwrap(),
                1 => drop(bytes.drain(from..to)),
                2 => {
                    let piece = bytes[from..to].to_vec();
                    bytes.splice(from..from, piece);
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(from..from, piece.bytes());
                }
            }
        }
        bytes
    }
}

#[test]
fn no_work_file_does_harm() {
    let corpus = [
        r#"[{"id":"A","summary":"s","priority":2},{"id":"B","blocked_by":["A","C"]},{"id":"C"}]"#,
        r#"[{"id":"A","blocked_by":["B"],"env":{"N":"v"}},{"id":"B","blocked_by":["A"],"x":1}]"#,
        r#"[{"id":"A","repo_url":"git@h:p","url":"u"}, {"id":"A"}, {"description":"d"}, 7]"#,
        "[]",
    ];
    let repos = Repos {
        needed: true,
        ..Repos::default()
    };
    let (told, _) = outcomes::read(
        &br#"{"id":"C","outcome":"succeeded","fingerprint":"0000000000000001"}"#[..],
    )
    .unwrap();
    let mut random = Random::new(1);
    let mut whole = 0;
    for _ in 0..4000 {
        let bytes = random.broken(&corpus);
        let Ok(plan) = plan::plan(&bytes, &told, &repos) else {
            continue;
        };
        whole += 1;
        let ids: BTreeSet<&str> = plan.items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids.len(), plan.items.len(), "an id twice");
        for id in ids {
            assert!((1..=255).contains(&id.len()) && !id.contains(char::is_control));
        }
        let grave = plan.complaints.iter().filter(|c| c.grave).count();
        assert_eq!(grave, plan.bad, "{:?}", plan.complaints);
        for complaint in &plan.complaints {
            assert!(!complaint.text.contains(char::is_control), "{complaint:?}");
        }
        assert_eq!(plan::plan(&bytes, &told, &repos), Ok(plan));
    }
    assert!(whole > 400, "only {whole} inputs got past the parser");
}

#[test]
fn no_outcomes_do_harm() {
    let corpus = [
        concat!(
            r#"{"id":"A","outcome":"failed","fingerprint":"00000000000000ab","run":"r","uid":"u"}"#,
            "\n",
            r#"{"id":"B","outcome":"stopped","fingerprint":"00000000000000cd","run":null,"#,
            r#""uid":null,"attempts":3,"finished":"2026-11-24T03:05:09.000Z","tail":"a\nb"}"#,
            "\n"
        ),
        "\n\n{}\nx",
    ];
    let mut random = Random::new(2);
    for _ in 0..4000 {
        let bytes = random.broken(&corpus);
        let (told, wrong) = outcomes::read(bytes.as_slice()).unwrap();
        let lines = bytes.split(|b| *b == b'\n').count();
        assert!(wrong.len() <= lines);
        for text in &wrong {
            assert!(!text.contains(char::is_control), "{text:?}");
        }
        // A torn line takes nothing with it that stood before.
        let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let (before, _) = outcomes::read(&bytes[..end]).unwrap();
        if before.last("A").is_some() {
            assert!(told.last("A").is_some());
        }
    }
}
