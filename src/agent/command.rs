//! `--agent-command`: an argument list with places for the item's own words.
//!
//! Never hands such words to a shell, and never looks into them again once
//! they are filled in.

use super::{guard, words};

/// The command of RECAC's own agent.
pub const DEFAULT: &str = "/usr/local/bin/recac-agent --project {id} --path {workspace} \
    --detached=false --cleanup=false --allow-dirty --verbose --repo-url {repo_url} \
    --summary {summary} --description {description}";

/// A parsed `--agent-command`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// `None`: the image's own entry point and command.
    words: Option<Vec<Word>>,
}

/// What is filled in.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `{id}`
    pub id: &'a str,
    /// `{summary}`
    pub summary: &'a str,
    /// `{description}`
    pub description: &'a str,
    /// `{repo_url}`
    pub repo_url: &'a str,
    /// `{url}`
    pub url: &'a str,
    /// `{attempt}`
    pub attempt: &'a str,
    /// `{workspace}`
    pub workspace: &'a str,
}

/// A place that is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Id,
    Summary,
    Description,
    RepoUrl,
    Url,
    Attempt,
    Workspace,
}

impl Slot {
    /// Every slot with its word and the variable that holds the same.
    const ALL: [(Slot, &'static str, &'static str); 7] = [
        (Slot::Id, "id", "RECAC_ITEM_ID"),
        (Slot::Summary, "summary", "RECAC_ITEM_SUMMARY"),
        (Slot::Description, "description", "RECAC_ITEM_DESCRIPTION"),
        (Slot::RepoUrl, "repo_url", "RECAC_REPO_URL"),
        (Slot::Url, "url", "RECAC_ITEM_URL"),
        (Slot::Attempt, "attempt", "RECAC_ATTEMPT"),
        (Slot::Workspace, "workspace", "RECAC_WORKSPACE"),
    ];

    fn named(word: &str) -> Result<Slot, String> {
        Self::ALL
            .iter()
            .find(|(_, name, _)| *name == word)
            .map(|(slot, ..)| *slot)
            .ok_or_else(|| {
                let near = Self::ALL.iter().map(|(_, name, _)| *name);
                let typed = word.to_ascii_lowercase();
                // Who writes a part of a name, or more than it, means that one.
                let near = near.min_by_key(|name| {
                    let part = name.starts_with(&typed) || typed.starts_with(name);
                    (!part, distance(&typed, name))
                });
                let near = near.unwrap_or("");
                format!(
                    "there is no placeholder {{{word}}}; did you mean {{{near}}}? (for the text \
                     {{{word}}} itself write {{{{{word}}})"
                )
            })
    }

    /// Its word, without braces.
    pub(super) fn name(self) -> &'static str {
        self.row().map_or("", |(_, name, _)| name)
    }

    /// The variable that every agent finds the same in.
    pub(super) fn variable(self) -> &'static str {
        self.row().map_or("", |(.., variable)| variable)
    }

    fn row(self) -> Option<&'static (Slot, &'static str, &'static str)> {
        Self::ALL.iter().find(|(slot, ..)| *slot == self)
    }

    /// Whether somebody who may write a ticket chooses what it holds.
    pub(super) fn is_foreign(self) -> bool {
        !matches!(self, Slot::Attempt | Slot::Workspace)
    }

    fn of<'a>(self, values: &Values<'a>) -> &'a str {
        match self {
            Slot::Id => values.id,
            Slot::Summary => values.summary,
            Slot::Description => values.description,
            Slot::RepoUrl => values.repo_url,
            Slot::Url => values.url,
            Slot::Attempt => values.attempt,
            Slot::Workspace => values.workspace,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Slot(Slot),
}

/// One argument, as written and as understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) raw: String,
    pieces: Vec<Piece>,
}

impl Word {
    /// A word without placeholders.
    pub(super) fn literal(text: &str) -> Word {
        Word {
            raw: text.to_owned(),
            pieces: vec![Piece::Text(text.to_owned())],
        }
    }

    /// Single pass from left to right: what is filled in later is never read
    /// as a template.
    fn parse(raw: &str) -> Result<Word, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = raw;
        while let Some((before, behind)) = rest.split_once('{') {
            text.push_str(before);
            rest = behind;
            let name = placeholder(behind);
            match name {
                // `${NAME}` is a shell's, for the scripts people write.
                Some(_) if before.ends_with('$') => text.push('{'),
                Some(name) => {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::Slot(Slot::named(name)?));
                    rest = behind.get(name.len() + 1..).unwrap_or("");
                }
                None => {
                    text.push('{');
                    rest = behind.strip_prefix('{').unwrap_or(behind);
                }
            }
        }
        text.push_str(rest);
        pieces.push(Piece::Text(text));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        let raw = raw.to_owned();
        Ok(Word { raw, pieces })
    }

    /// The places in it, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Slot(slot) => Some(*slot),
            Piece::Text(_) => None,
        })
    }

    fn fill(&self, values: &Values<'_>) -> String {
        let text = |piece: &'_ Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Slot(slot) => slot.of(values).to_owned(),
        };
        self.pieces.iter().map(text).collect()
    }
}

/// The word before a `}`, if `text` begins with one. A dash may stand in it:
/// `{repo-url}` is nothing but a slip, and has to be told.
fn placeholder(text: &str) -> Option<&str> {
    let (word, _) = text.split_once('}')?;
    let lawful = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    lawful.then_some(word)
}

/// How many letters have to change to make `a` from `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (above, y) in row.iter().skip(1).zip(b.chars()) {
            left = (left + 1).min(above + 1).min(corner + usize::from(x != y));
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

impl Command {
    /// The image's own entry point and command: what the word `image` means.
    #[must_use]
    pub fn image() -> Command {
        Command { words: None }
    }

    /// Reads the text of `--agent-command`.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(text: &str) -> Result<Command, String> {
        let words = words::split_command(text)?;
        match words.as_slice() {
            [] => Err("is empty; the word image means the image's own command".to_owned()),
            [word] if word == "image" => Ok(Command { words: None }),
            [program, ..] if program.is_empty() => Err("the program has no name".to_owned()),
            words => {
                let words: Vec<Word> = words
                    .iter()
                    .map(|word| Word::parse(word))
                    .collect::<Result<_, _>>()?;
                match guard::refusal(&words) {
                    Some(why) => Err(why),
                    None => Ok(Command { words: Some(words) }),
                }
            }
        }
    }

    /// Whether it is the image's own.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.words.is_none()
    }

    /// Whether it asks for a repository, so that an item without one cannot
    /// run.
    #[must_use]
    pub fn names_repo(&self) -> bool {
        let mut words = self.words.iter().flatten();
        words.any(|word| word.slots().any(|slot| slot == Slot::RepoUrl))
    }

    /// The arguments for one run; `None` for the image's own.
    #[must_use]
    pub fn fill(&self, values: &Values<'_>) -> Option<Vec<String>> {
        let words = self.words.as_ref()?;
        Some(words.iter().map(|word| word.fill(values)).collect())
    }

    /// At most how many bytes it takes when no value has more than `value`.
    pub(super) fn at_most(&self, value: usize) -> usize {
        let words = self.words.iter().flatten();
        words
            .map(|word| word.raw.len() + 1 + word.slots().count() * value)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'static> = Values {
        id: "RD-42",
        summary: "say {id} $(id) {{x}} '\"",
        description: "{summary}\n{nonsense}",
        repo_url: "https://example.com/r.git",
        url: "https://example.com/RD-42",
        attempt: "2",
        workspace: "/workspace",
    };

    fn fill(text: &str) -> Vec<String> {
        Command::parse(text).unwrap().fill(&VALUES).unwrap()
    }

    fn wrong(text: &str) -> String {
        Command::parse(text).expect_err(text)
    }

    #[test]
    fn the_default_is_that_of_recac() {
        assert_eq!(
            fill(DEFAULT),
            [
                "/usr/local/bin/recac-agent",
                "--project",
                "RD-42",
                "--path",
                "/workspace",
                "--detached=false",
                "--cleanup=false",
                "--allow-dirty",
                "--verbose",
                "--repo-url",
                "https://example.com/r.git",
                "--summary",
                "say {id} $(id) {{x}} '\"",
                "--description",
                "{summary}\n{nonsense}",
            ]
        );
        assert!(Command::parse(DEFAULT).unwrap().names_repo());
        assert!(!DEFAULT.contains("  "));
    }

    #[test]
    fn the_word_image_is_the_images_own_command() {
        let image = Command::parse(" image ").unwrap();
        assert!(image.is_image() && !image.names_repo());
        assert_eq!(image.fill(&VALUES), None);
        assert!(!Command::parse("image x").unwrap().is_image());
        assert!(!Command::parse("./image").unwrap().is_image());
    }

    #[test]
    fn every_placeholder_is_filled_in_inside_its_argument() {
        assert_eq!(
            fill("a {id}{attempt} --x={url}! '{workspace}/a b'"),
            [
                "a",
                "RD-422",
                "--x=https://example.com/RD-42!",
                "/workspace/a b"
            ]
        );
        for (slot, name, variable) in Slot::ALL {
            assert_eq!((slot.name(), slot.variable()), (name, variable));
            let word = Word::parse(&format!("{{{name}}}")).unwrap();
            assert_eq!(word.slots().collect::<Vec<_>>(), [slot]);
        }
    }

    #[test]
    fn braces_that_are_no_placeholder_stand_for_themselves() {
        for (text, is) in [
            ("${id}", "${id}"),
            ("${NAME}", "${NAME}"),
            ("$${id}", "$${id}"),
            ("a${id}{id}", "a${id}RD-42"),
            ("{{id}", "{id}"),
            ("{{id}}", "{id}}"),
            ("{{{id}", "{RD-42"),
            ("{{{{", "{{"),
            ("{{}", "{}"),
            ("{}", "{}"),
            ("}", "}"),
            ("{", "{"),
            ("x{", "x{"),
            ("{id", "{id"),
            ("id}", "id}"),
            ("{a,b}", "{a,b}"),
            ("{1}", "{1}"),
            ("{ id }", "{ id }"),
            ("{ä}", "{ä}"),
            ("${{id}", "${id}"),
            ("${x:-1}", "${x:-1}"),
        ] {
            assert_eq!(fill(&format!("a '{text}'")), ["a", is], "{text}");
        }
        assert_eq!(fill(r#"a '{"a":1}'"#), ["a", r#"{"a":1}"#]);
        // Quotes are gone before placeholders are looked for.
        assert_eq!(fill(r"a {i'd}'"), ["a", "RD-42"]);
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_with_the_nearest_known_one() {
        for (typed, near) in [
            ("sumary", "summary"),
            ("repo-url", "repo_url"),
            ("repo", "repo_url"),
            ("ID", "id"),
            ("desc", "description"),
            ("work_space", "workspace"),
            ("attempts", "attempt"),
            ("uri", "url"),
        ] {
            let error = wrong(&format!("a {{{typed}}}"));
            assert!(error.contains(&format!("{{{typed}}}")), "{error}");
            assert!(
                error.contains(&format!("did you mean {{{near}}}?")),
                "{error}"
            );
            assert!(error.contains(&format!("{{{{{typed}}}")), "{error}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn an_empty_command_and_one_for_a_shell_are_errors() {
        assert!(wrong("").contains("empty"));
        assert!(wrong("  \n").contains("empty"));
        assert!(wrong("'' x").contains("no name"));
        assert!(wrong("a | b").contains("no shell"));
        assert!(wrong("a 'b").contains("quote"));
    }

    #[test]
    fn what_is_filled_in_is_never_read_again() {
        let alphabet: Vec<char> = "{}$idx_ \\'\"\n".chars().collect();
        let mut seed = 0xdead_beef_1234_5678_u64;
        let mut next = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let command = Command::parse("a -{id}- {summary}").unwrap();
        for _ in 0..10_000 {
            let mut text = || -> String { (0..next(12)).map(|_| alphabet[next(12)]).collect() };
            let (id, summary) = (text(), text());
            let values = Values {
                id: &id,
                summary: &summary,
                ..VALUES
            };
            let expected = ["a".to_owned(), format!("-{id}-"), summary.clone()];
            assert_eq!(command.fill(&values).unwrap(), expected);
            // Nor does any text of a template make it panic or change size
            // beyond what was promised.
            let template = format!("a {}", words::quote(&id));
            if let Ok(command) = Command::parse(&template) {
                let size: usize = command
                    .fill(&values)
                    .unwrap()
                    .iter()
                    .map(|w| w.len() + 1)
                    .sum();
                assert!(size <= command.at_most(id.len().max(100)));
            }
        }
    }
}
