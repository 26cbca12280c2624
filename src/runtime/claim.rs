//! The labels of a run, read back: whose it is, and which attempt at what.
//! Pure.

use crate::{
    agent,
    core::{Fingerprint, Past, Run, State, run_number},
};

/// Why a run that looks like ours is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stranger {
    /// The name it goes by.
    pub name: String,
    /// What does not fit.
    pub why: String,
}

/// Reads the labels of the run `name`. Its state is left for the runtime to
/// fill in.
///
/// # Errors
/// If it is not a run that this owner has made under that name.
pub fn read<'a>(
    owner: &str,
    name: &str,
    uid: &str,
    label: impl Fn(&str) -> Option<&'a str>,
) -> Result<Run, Stranger> {
    let stranger = |why: String| Stranger {
        name: name.to_owned(),
        why,
    };
    let have = |key: &str| label(key).ok_or_else(|| stranger(format!("it has no label {key}")));
    match have(agent::OWNER)? {
        whose if whose == owner => {}
        whose => return Err(stranger(format!("it belongs to owner {whose:?}"))),
    }
    let item_id = have(agent::ITEM_ID)?;
    let number = run_number(owner, item_id, name)
        .ok_or_else(|| stranger(format!("it is labelled as a run of {item_id:?}")))?;
    let odd = |key: &str| stranger(format!("its label {key} cannot be read"));
    let attempt = have(agent::ATTEMPT)?
        .parse()
        .map_err(|_| odd(agent::ATTEMPT))?;
    let fingerprint = Fingerprint::parse(have(agent::FINGERPRINT)?);
    Ok(Run {
        name: name.to_owned(),
        uid: uid.to_owned(),
        item_id: item_id.to_owned(),
        source_id: have(agent::SOURCE_ID)?.to_owned(),
        number,
        attempt,
        fingerprint: fingerprint.ok_or_else(|| odd(agent::FINGERPRINT))?,
        history: label(agent::HISTORY).map(Past::of_text).unwrap_or_default(),
        stop: None,
        state: State::Unborn,
    })
}

/// Whether what stands under the name of a new run is that run after all: of
/// the same owner and item.
#[must_use]
pub fn is_same<'a>(labels: &[(&str, String)], label: impl Fn(&str) -> Option<&'a str>) -> bool {
    [agent::OWNER, agent::ITEM_ID, agent::SOURCE_ID]
        .into_iter()
        .all(|key| {
            let new = labels
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| v.as_str());
            new.is_some() && label(key) == new
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn labels() -> BTreeMap<&'static str, &'static str> {
        BTreeMap::from([
            (agent::OWNER, "default"),
            (agent::ITEM_ID, "RD-42"),
            (agent::SOURCE_ID, "10042"),
            (agent::ATTEMPT, "2"),
            (agent::FINGERPRINT, "0123456789abcdef"),
            (
                agent::HISTORY,
                "1\t2026-11-24T03:05:07.123Z\t2.500\t1\texit code 1",
            ),
        ])
    }

    fn of(name: &str, labels: &BTreeMap<&'static str, &'static str>) -> Result<Run, Stranger> {
        read("default", name, "u1", |key| labels.get(key).copied())
    }

    #[test]
    fn what_we_wrote_is_read_back() {
        let run = of("recac-agent-rd-42-7", &labels()).unwrap();
        assert_eq!((run.number, run.attempt, run.history.len()), (7, 2, 1));
        assert_eq!(
            (run.item_id.as_str(), run.source_id.as_str()),
            ("RD-42", "10042")
        );
    }

    #[test]
    fn a_run_with_another_owner_or_item_under_our_name_is_a_stranger() {
        for (key, value) in [
            (agent::OWNER, "other"),
            (agent::ITEM_ID, "RD-43"),
            (agent::ATTEMPT, "many"),
            (agent::FINGERPRINT, "0123"),
        ] {
            let mut labels = labels();
            labels.insert(key, value);
            let bad = of("recac-agent-rd-42-7", &labels).unwrap_err();
            assert_eq!(bad.name, "recac-agent-rd-42-7");
            labels.remove(key);
            assert!(of("recac-agent-rd-42-7", &labels).is_err(), "{key}");
        }
        assert!(of("web-1", &labels()).is_err());
    }
}
