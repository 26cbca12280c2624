//! The name of a run: made from owner, item and number, so that the runtime
//! itself refuses a second copy.

/// 32-bit FNV-1a, of which a slug carries eight hex digits
/// (<https://datatracker.ietf.org/doc/draft-eastlake-fnv/>).
fn fnv32(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash, b| {
        (hash ^ u32::from(b)).wrapping_mul(0x0100_0193)
    })
}

/// 64-bit FNV-1a, a part at a time.
pub(super) mod fnv64 {
    /// The hash of nothing.
    pub const START: u64 = 0xcbf2_9ce4_8422_2325;

    /// `hash` with `bytes` after what it already covers.
    pub fn add(hash: u64, bytes: &[u8]) -> u64 {
        bytes.iter().fold(hash, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

const PREFIX: &str = "recac-agent-";

/// `recac-agent-<slug>-<number>`: at most 63 characters of `[a-z0-9-]`.
#[must_use]
pub fn run_name(owner: &str, id: &str, number: u32) -> String {
    format!("{PREFIX}{}-{number}", slug(owner, id))
}

/// The number in `name`, if that is a name `owner` would give to a run of the
/// item `id`. Anything else is a stranger.
#[must_use]
pub fn run_number(owner: &str, id: &str, name: &str) -> Option<u32> {
    let (_, number) = name.rsplit_once('-')?;
    let number = number.parse().ok()?;
    (run_name(owner, id, number) == name).then_some(number)
}

/// 16 hex digits that stand for an item where its raw id cannot: FNV-1a of it.
#[must_use]
pub fn id_hash(id: &str) -> String {
    format!("{:016x}", fnv64::add(fnv64::START, id.as_bytes()))
}

/// The part of a name that stands for an item: at most 44 characters. A key as
/// Jira makes them stands for itself under the owner `default`; whatever else
/// carries a hash, so that `A-1` and `a-1` never meet.
fn slug(owner: &str, id: &str) -> String {
    if owner == "default" && id.len() <= 44 && is_key(id) {
        return id.to_ascii_lowercase();
    }
    let plain: String = id
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .collect();
    let plain = plain.trim_matches('-');
    // All ASCII by now, so any index is a boundary.
    let plain = plain.get(..34).unwrap_or(plain).trim_matches('-');
    let hash = fnv32(owner.bytes().chain([0]).chain(id.bytes()));
    match plain {
        "" => format!("x{hash:08x}"),
        plain => format!("{plain}-x{hash:08x}"),
    }
}

/// `[A-Z][A-Z0-9]*(-[A-Z0-9]+)*-[0-9]+`
fn is_key(id: &str) -> bool {
    let Some((head, number)) = id.rsplit_once('-') else {
        return false;
    };
    head.starts_with(|c: char| c.is_ascii_uppercase())
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && head.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_itself_and_anything_else_carries_a_hash() {
        assert_eq!(run_name("default", "RD-42", 1), "recac-agent-rd-42-1");
        assert_eq!(run_name("default", "A-B2-7", 3), "recac-agent-a-b2-7-3");
        for other in [
            "rd-42", "RD-", "-1", "RD_42", "RD-4x", "1A-2", "RD--1", "RÄ-1",
        ] {
            assert!(run_name("default", other, 1).contains("-x"), "{other}");
        }
        assert!(run_name("team-b", "RD-42", 1).starts_with("recac-agent-rd-42-x"));
        // FNV-1a of "default\0a" as the reference implementation gives it.
        assert_eq!(
            run_name("default", "!!!", 1).len(),
            "recac-agent-x00000000-1".len()
        );
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of the draft, appendix C.
        assert_eq!(fnv32(b"".iter().copied()), 0x811c_9dc5);
        assert_eq!(fnv32(b"a".iter().copied()), 0xe40c_292c);
        assert_eq!(fnv32(b"foobar".iter().copied()), 0xbf9c_f968);
        assert_eq!(fnv64::add(fnv64::START, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_name_is_lawful_and_none_is_shared() {
        let long = "Z".repeat(300) + "-1";
        let ids = [
            "A-1",
            "a-1",
            "A_1",
            "A 1",
            "ä",
            "Ä",
            "",
            "-",
            "--x",
            "x",
            "X-1-1",
            &long,
            "İ",
            "日本",
            "a\u{202e}b",
            "../etc/passwd",
            "$(id)",
            "A-1-x00000000",
        ];
        let mut seen = std::collections::BTreeSet::new();
        for owner in ["default", "b"] {
            for id in ids {
                for number in [1, 12, 999_999] {
                    let name = run_name(owner, id, number);
                    assert!(name.len() <= 63, "{name}");
                    let lawful = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                    assert!(name.bytes().all(lawful), "{name}");
                    assert_eq!(run_number(owner, id, &name), Some(number));
                    assert!(seen.insert(name.clone()), "{name} twice");
                }
            }
        }
        assert_eq!(run_number("default", "RD-42", "recac-agent-rd-42-x"), None);
        assert_eq!(run_number("default", "RD-42", "recac-agent-rd-43-1"), None);
        assert_eq!(run_number("default", "RD-42", "recac-agent-rd-42-01"), None);
    }
}
