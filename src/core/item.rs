//! A unit of work as its source describes it.

use std::{collections::BTreeMap, fmt};

use super::name::fnv64;

/// One item that its source wants done.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The id people use: a ticket's key, or `id` of a work file's entry.
    pub id: String,
    /// What identifies the item for good, where its id can change: Jira's
    /// numeric issue id; else the same as [`Item::id`].
    pub source_id: String,
    /// One line on what is to be done; may be empty.
    pub summary: String,
    /// Markdown; may be empty.
    pub description: String,
    /// Where the agent works, `--default-repo` already applied. `None` where
    /// the agent command does not need one.
    pub repo_url: Option<String>,
    /// Where a person reads the item.
    pub url: Option<String>,
    /// Variables the item itself asks for.
    pub env: BTreeMap<String, String>,
    /// Variables the source adds (`JIRA_TICKET`, `RECAC_ITEM_STATUS`, …), in
    /// their order; none for a work file.
    pub facts: Vec<(String, String)>,
    /// Over what the agent gets of the item; another one means other work.
    pub fingerprint: Fingerprint,
    /// Why the item cannot start, if it cannot.
    pub hold: Option<Hold>,
}

/// 64 bits over the content of an item; written as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Over what the agent gets of the item itself, before any default of the
    /// command line: so changing `--default-repo` runs nothing again.
    #[must_use]
    pub fn of(
        id: &str,
        summary: &str,
        description: &str,
        repo_url: Option<&str>,
        url: Option<&str>,
        env: &BTreeMap<String, String>,
    ) -> Fingerprint {
        let mut hash = fnv64::START;
        // Each part with its length first, so that no two contents read alike.
        let mut part = |text: &str| {
            hash = fnv64::add(hash, &(text.len() as u64).to_le_bytes());
            hash = fnv64::add(hash, text.as_bytes());
        };
        for text in [
            id,
            summary,
            description,
            repo_url.unwrap_or(""),
            url.unwrap_or(""),
        ] {
            part(text);
        }
        for (name, value) in env {
            part(name);
            part(value);
        }
        Fingerprint(hash)
    }

    /// Reads the 16 hex digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Fingerprint> {
        let lawful = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        lawful
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
            .map(Fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why a wanted item cannot start. The wording is that of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// These items have to succeed first, and still can.
    Blocked(Vec<String>),
    /// This blocker has failed.
    BlockerFailed(String),
    /// The source knows no such blocker.
    BlockerUnknown(String),
    /// These items block each other, in this order, in a circle.
    Cycle(Vec<String>),
    /// The agent needs a repository and none is named. Says what to add.
    NoRepository(String),
    /// The repository named is not allowed; a sentence why.
    RepositoryRefused(String),
    /// The entry or ticket cannot be read as an item; a sentence why.
    Bad(String),
    /// No agent can be given this item; a sentence why.
    Unfit(String),
}

impl Hold {
    /// Whether only a person can end it. An open blocker ends by itself.
    #[must_use]
    pub fn lasts(&self) -> bool {
        match self {
            Hold::Blocked(_) => false,
            Hold::BlockerFailed(_)
            | Hold::BlockerUnknown(_)
            | Hold::Cycle(_)
            | Hold::NoRepository(_)
            | Hold::RepositoryRefused(_)
            | Hold::Bad(_)
            | Hold::Unfit(_) => true,
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Blocked(by) => write!(f, "blocked by {}", by.join(", ")),
            Hold::BlockerFailed(by) => write!(f, "blocked by {by}, which did not succeed"),
            Hold::BlockerUnknown(by) => write!(f, "blocked by {by}, which is not known"),
            Hold::Cycle(ids) => write!(f, "blocked in a circle: {}", ids.join(" → ")),
            Hold::NoRepository(advice) => write!(f, "no repository: {advice}"),
            Hold::RepositoryRefused(why) => write!(f, "repository refused: {why}"),
            Hold::Bad(why) | Hold::Unfit(why) => f.write_str(why),
        }
    }
}

/// What a source says of one item it was asked for by id.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Still wanted; what it looks like now.
    Wanted(Box<Item>),
    /// A person took it back while it could still be asked for: the ticket is
    /// closed, or its label is gone. A sentence fragment that says which.
    Withdrawn(String),
    /// Not there any more, or told already: a run goes on to its end and is
    /// reported, and there is no further one.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, summary: &str, env: &[(&str, &str)]) -> Fingerprint {
        let env = env
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        Fingerprint::of(id, summary, "", None, None, &env)
    }

    #[test]
    fn a_fingerprint_tells_contents_apart() {
        assert_eq!(of("a", "b", &[]), of("a", "b", &[]));
        assert_ne!(of("ab", "", &[]), of("a", "b", &[]));
        assert_ne!(of("a", "b", &[("N", "v")]), of("a", "b", &[("Nv", "")]));
        assert_ne!(of("a", "b", &[]), of("a", "b", &[("", "")]));
    }

    #[test]
    fn a_fingerprint_survives_its_text() {
        let print = of("a", "b", &[]);
        assert_eq!(print.to_string().len(), 16);
        assert_eq!(Fingerprint::parse(&print.to_string()), Some(print));
        assert_eq!(Fingerprint::parse("+123456789abcdef"), None);
    }
}
