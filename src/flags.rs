//! The command line and the environment made into a [`Config`].
//!
//! Every option stands once, in a table; from it come the parser, `--help`, the
//! block of options in README.md and the completions. Defaults, environment and
//! command line are layers of the same kind: text, which goes through the same
//! setter. Only says what was asked for; never touches a file, and `main` hands
//! the environment in.

mod complete;
mod config;
mod help;
mod jira;
mod option;
mod table;
mod value;

pub use config::{Config, LogFormat, Mode, Outcomes, Poller, PullPolicy};
pub use jira::{Deployment, Jira};
pub use value::without_user;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

use config::{Draft, Spoken};
use option::{Flag, List, Print, SHELLS, Takes};
use table::FLAGS;

const BIN: &str = "orchestrator";
const VERBS: &str = "the verbs are: completions bash|zsh|fish, manifest, healthy";

/// What the command line asked for.
#[derive(Debug)]
pub enum Asked {
    /// To orchestrate.
    Run(Box<Config>),
    /// To print what a cluster needs to run the orchestrator.
    Manifest(Box<Manifest>),
    /// To say whether the orchestrator of this configuration is well.
    Healthy(Box<Config>),
    /// To print this and leave with 0: help, version, a completion script.
    Text(String),
}

/// What `manifest` was told.
#[derive(Debug)]
pub struct Manifest {
    /// The configuration that is to run in the cluster.
    pub config: Config,
    /// The orchestrator's own image.
    pub image: String,
    /// The options that were given: long name, name in the environment, value
    /// as that takes it.
    pub given: Vec<(&'static str, &'static str, String)>,
}

/// A command line or an environment that cannot be obeyed: one line for each
/// thing that is wrong, with the name the user typed and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad(Vec<String>);

impl Bad {
    /// The lines, without an end of line.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl std::error::Error for Bad {}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl From<String> for Bad {
    fn from(line: String) -> Bad {
        Bad(vec![line])
    }
}

/// Reads `argv` (without the program's name) and the environment.
///
/// Of the three layers that may give an option its value only the highest is
/// looked at, so a broken variable does no harm where the command line
/// overrides it.
///
/// # Errors
/// Whatever cannot be obeyed. A slip in the form of the command line ends the
/// reading; wrong values are all told at once.
pub fn parse(
    argv: impl IntoIterator<Item = OsString>,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Asked, Bad> {
    let (verb, typed) = match lex(argv)? {
        Line::Print(Print::Help) => return Ok(Asked::Text(help::help())),
        Line::Print(Print::Version) => return Ok(Asked::Text(help::version())),
        Line::Print(Print::Completions(shell)) => {
            return Ok(Asked::Text(complete::script(shell)));
        }
        Line::Options(verb, typed) => (verb, typed),
    };
    let given: Vec<Given> = FLAGS
        .iter()
        .flat_map(|flag| highest_layer(flag, &typed, env))
        .collect();

    let mut draft = Draft::blank();
    let mut wrong: Vec<String> = given
        .iter()
        .filter_map(|given| {
            let why = given.apply(&mut draft).err()?;
            Some(format!("{}: {why}", given.name))
        })
        .collect();
    let spoken = |long: &str| {
        let last = given.iter().rfind(|g| g.flag.long == long)?;
        Some(Spoken {
            name: last.name.clone(),
            value: last.value.to_string_lossy().into_owned(),
            by_default: last.by_default,
        })
    };
    let image = draft.orchestrator_image.take();
    if verb == Verb::Manifest {
        wrong.extend(for_manifest(&mut draft, image.is_some(), &spoken));
    } else if wrong.is_empty()
        && let Some(typed) = typed.iter().find(|t| t.flag.long == "orchestrator-image")
    {
        wrong.push(format!("{} works only with the verb manifest", typed.name));
    }
    // How options go together says nothing while one of them is wrong.
    let mut config = None;
    if wrong.is_empty() {
        match draft.settle(&spoken, env, verb) {
            Ok(settled) => config = Some(settled),
            Err(why) => wrong = why,
        }
    }
    match (config, image) {
        (Some(config), Some(image)) if wrong.is_empty() && verb == Verb::Manifest => {
            let given = as_environment(&given);
            let manifest = Manifest {
                config,
                image,
                given,
            };
            Ok(Asked::Manifest(Box::new(manifest)))
        }
        (Some(config), _) if wrong.is_empty() && verb == Verb::Healthy => {
            Ok(Asked::Healthy(Box::new(config)))
        }
        (Some(config), _) if wrong.is_empty() => Ok(Asked::Run(Box::new(config))),
        _ => Err(Bad(wrong)),
    }
}

/// What runs in a cluster starts Jobs there, unless somebody says otherwise,
/// which is wrong.
fn for_manifest(
    draft: &mut Draft,
    has_image: bool,
    spoken: &dyn Fn(&str) -> Option<Spoken>,
) -> Vec<String> {
    let mut wrong = vec![];
    if !has_image {
        wrong.push("manifest needs --orchestrator-image=IMAGE".to_owned());
    }
    match spoken("mode") {
        Some(mode) if !mode.by_default && draft.config.mode != Mode::Kubernetes => {
            wrong.push(format!(
                "{}: {:?} does not go together with manifest, which is for k8s",
                mode.name, mode.value
            ));
        }
        _ => draft.config.mode = Mode::Kubernetes,
    }
    wrong
}

/// The options that were given, as the environment takes them.
fn as_environment(given: &[Given]) -> Vec<(&'static str, &'static str, String)> {
    let mut all: Vec<(&str, &str, String)> = vec![];
    for given in given.iter().filter(|given| !given.by_default) {
        let Some(name) = given.flag.env.first() else {
            continue;
        };
        let text = given.value.to_string_lossy().into_owned();
        let text = match given.flag.list {
            List::Words if !given.quoted => crate::agent::quote(&text),
            List::Words | List::Hosts | List::No => text,
        };
        match all.last_mut() {
            Some((long, _, before)) if *long == given.flag.long => match given.flag.list {
                List::No => *before = text,
                List::Words | List::Hosts => *before = format!("{before} {text}"),
            },
            _ => all.push((given.flag.long, name, text)),
        }
    }
    all
}

/// One value and the name under which it was given.
struct Given {
    flag: &'static Flag,
    name: String,
    value: OsString,
    by_default: bool,
    /// Whether several values may stand in this one, quoted as for a shell.
    quoted: bool,
}

impl Given {
    fn apply(&self, draft: &mut Draft) -> Result<(), String> {
        if self.value.is_empty() {
            return Err(format!("the value is empty{}", self.shape()));
        }
        if let Takes::Path { set, .. } = self.flag.takes {
            return set(draft, PathBuf::from(&self.value));
        }
        let Some(text) = self.value.to_str() else {
            return Err(if self.flag.private {
                "the value is not UTF-8".to_owned()
            } else {
                format!("{:?} is not UTF-8", self.value)
            });
        };
        match self.flag.takes {
            Takes::Switch(slot) => *slot(draft) = value::switch(text)?,
            Takes::Text { set, .. } => {
                for piece in self.pieces(text)? {
                    set(draft, &piece)?;
                }
            }
            Takes::Path { .. } | Takes::Print(_) => {}
        }
        Ok(())
    }

    fn pieces(&self, text: &str) -> Result<Vec<String>, String> {
        match self.flag.list {
            List::Hosts => value::hosts(text),
            List::Words if self.quoted => crate::agent::split(text).map_err(|why| {
                let shown = format!("{text:?} ");
                let shown = if self.flag.private { "" } else { &shown };
                format!("{shown}cannot be split into words: {why}")
            }),
            List::Words | List::No => Ok(vec![text.to_owned()]),
        }
    }

    fn shape(&self) -> String {
        let shape = self.flag.shape();
        shape.map_or_else(String::new, |shape| format!("; write {shape}"))
    }
}

/// What the highest layer that speaks of `flag` says: the command line, else
/// the environment, else the default. A list is replaced as a whole.
fn highest_layer<'a>(
    flag: &'static Flag,
    typed: &'a [Typed],
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Vec<Given> {
    let given = |name: String, value: OsString, by_default, quoted| Given {
        flag,
        name,
        value,
        by_default,
        quoted,
    };
    let mine = |t: &&'a Typed| t.flag.long == flag.long;
    let argv: Vec<Given> = typed
        .iter()
        .filter(mine)
        .map(|t| given(t.name.clone(), t.value.clone(), false, false))
        .collect();
    if !argv.is_empty() {
        return argv;
    }
    let set = |name: &'static str| Some((name, env(name).filter(|v| !v.is_empty())?));
    if let Some((name, value)) = flag.env.iter().copied().find_map(set) {
        return vec![given(name.to_owned(), value, false, true)];
    }
    flag.default
        .map(|value| given(format!("--{}", flag.long), value.into(), true, true))
        .into_iter()
        .collect()
}

/// What the command line says, its values not yet looked at.
enum Line {
    Print(Print),
    Options(Verb, Vec<Typed>),
}

/// What is to be done with the options.
#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Run,
    Manifest,
    Healthy,
}

/// One option of the command line.
struct Typed {
    flag: &'static Flag,
    /// As it was written, `--once`, `--no-once` or `-v`.
    name: String,
    value: OsString,
}

fn lex(argv: impl IntoIterator<Item = OsString>) -> Result<Line, Bad> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let mut parser = lexopt::Parser::from_args(argv);
    let mut typed = vec![];
    let mut words: Vec<OsString> = vec![];
    let mut print = None;
    while let Some(arg) = parser.next().map_err(|e| lexer(&e))? {
        let (flag, name, off) = match arg {
            lexopt::Arg::Value(word) => {
                words.push(word);
                continue;
            }
            lexopt::Arg::Short(c) => {
                let flag = FLAGS.iter().find(|f| f.short == Some(c));
                (flag, format!("-{c}"), false)
            }
            lexopt::Arg::Long(long) => {
                let (flag, off) = find(long);
                (flag, format!("--{long}"), off)
            }
        };
        let Some(flag) = flag else {
            return Err(unknown(&name).into());
        };
        let value = match flag.takes {
            Takes::Print(what) => {
                print = print.or(Some(what));
                continue;
            }
            Takes::Switch(_) if off => "false".into(),
            // With one letter, what follows is the next letter and no value.
            Takes::Switch(_) if !name.starts_with("--") => "true".into(),
            Takes::Switch(_) => parser.optional_value().unwrap_or_else(|| "true".into()),
            Takes::Text { .. } | Takes::Path { .. } => take(&mut parser, flag, &name)?,
        };
        typed.push(Typed { flag, name, value });
    }
    match print {
        Some(print) => Ok(Line::Print(print)),
        None if words.is_empty() => Ok(Line::Options(Verb::Run, typed)),
        None => verb(&words, typed),
    }
}

/// The option of this name, and whether the name turns it off.
fn find(long: &str) -> (Option<&'static Flag>, bool) {
    if let Some(flag) = FLAGS.iter().find(|f| f.long == long) {
        return (Some(flag), false);
    }
    let off = long.strip_prefix("no-").and_then(|long| {
        let mut switches = FLAGS.iter().filter(|f| f.is_switch());
        switches.find(|f| f.long == long)
    });
    (off, true)
}

/// The value of an option that needs one, attached by `=` or following.
fn take(parser: &mut lexopt::Parser, flag: &Flag, name: &str) -> Result<OsString, Bad> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    let shape = flag.shape().unwrap_or_default();
    let next = parser
        .try_raw_args()
        .and_then(|rest| rest.peek().map(OsStr::to_owned));
    let Some(next) = next else {
        return Err(format!("{name} needs a value; write {name}={shape}").into());
    };
    // Rather a forgotten value than one that looks like an option, which a
    // number does not.
    let option = |bytes: &[u8]| matches!(bytes, [b'-', c, ..] if !c.is_ascii_digit());
    if option(next.as_encoded_bytes()) && !flag.dashes {
        return Err(format!(
            "{name} needs a value; write {name}={shape}, with the = if the value begins with -"
        )
        .into());
    }
    parser.value().map_err(|e| lexer(&e))
}

/// What is left for lexopt to say: a value where none can stand. Its own words
/// would quote the value.
fn lexer(e: &lexopt::Error) -> Bad {
    if let lexopt::Error::UnexpectedValue { option, .. } = e {
        return format!("{option} takes no value").into();
    }
    e.to_string().into()
}

/// What `words` ask for, if they are a verb.
fn verb(words: &[OsString], typed: Vec<Typed>) -> Result<Line, Bad> {
    let [verb, rest @ ..] = words else {
        return Err(Bad(vec![VERBS.to_owned()]));
    };
    let verb = plain(verb);
    let alone = |line| match rest {
        [] => Ok(line),
        [word, ..] => Err(format!("{verb} takes no {:?}, only options", plain(word)).into()),
    };
    match verb.as_str() {
        "completions" => {}
        "manifest" => return alone(Line::Options(Verb::Manifest, typed)),
        "healthy" => return alone(Line::Options(Verb::Healthy, typed)),
        _ => return Err(format!("{verb:?} is neither an option nor a verb; {VERBS}").into()),
    }
    let [shell] = rest else {
        return Err(format!("{verb} needs one shell: bash, zsh or fish").into());
    };
    let shell = plain(shell);
    match SHELLS.iter().find(|(name, _)| *name == shell) {
        Some((_, shell)) => Ok(Line::Print(Print::Completions(*shell))),
        None => Err(format!("{verb}: {shell:?} is not a choice; write bash, zsh or fish").into()),
    }
}

/// A word for a message. What follows a `=` was meant for some option, perhaps
/// as a secret.
fn plain(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    match word.split_once('=') {
        Some((name, _)) => format!("{name}=…"),
        None => word.into_owned(),
    }
}

fn unknown(name: &str) -> String {
    let long = name.trim_start_matches('-');
    if let Some(what) = table::elsewhere(long) {
        return format!("{name}: {what}");
    }
    let on = long.strip_prefix("no-").unwrap_or(long);
    if let Some(flag) = FLAGS.iter().find(|f| f.long == on) {
        return format!(
            "there is no option {name}, because --{} is no switch",
            flag.long
        );
    }
    match near(long) {
        Some(near) if name.starts_with("--") => {
            format!("there is no option {name}; did you mean --{near}?")
        }
        _ => format!("there is no option {name}; see {BIN} --help"),
    }
}

/// The name that `given` was perhaps meant to be.
fn near(given: &str) -> Option<String> {
    let names = FLAGS.iter().flat_map(|f| {
        let off = f.is_switch().then(|| format!("no-{}", f.long));
        std::iter::once(f.long.to_owned()).chain(off)
    });
    let (far, name) = names
        .map(|name| {
            // A part of a name is as good as a few slips.
            let part = given.len() > 3 && name.contains(given);
            (if part { 2 } else { distance(given, &name) }, name)
        })
        .min_by_key(|(far, _)| *far)?;
    (far <= 2.max(given.len() / 3)).then_some(name)
}

/// How many letters have to be added, dropped or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        row[0] = left;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            left = (corner + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            corner = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
