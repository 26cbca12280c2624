//! What an option is: the form of a row of the table. Knows no option.

use std::path::PathBuf;

use super::config::Draft;

/// One option. Texts are Markdown; backticks are dropped where it is not read.
pub(super) struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    /// Names in the environment; the first that is set counts.
    pub env: &'static [&'static str],
    pub takes: Takes,
    pub list: List,
    /// Parsed like any other value, so that help cannot promise another.
    pub default: Option<&'static str>,
    /// What holds without a value, where that is no value to parse.
    pub otherwise: &'static str,
    /// May hold a secret: no message quotes the value.
    pub private: bool,
    /// A value that begins with `-` may follow as an argument of its own.
    pub dashes: bool,
    pub group: Group,
    /// One short sentence, for completions too.
    pub brief: &'static str,
    /// Further sentences.
    pub more: &'static str,
}

/// What stands behind an option, and where it goes.
pub(super) enum Takes {
    /// Nothing: on, or off by `--no-LONG` or `--LONG=false`.
    Switch(fn(&mut Draft) -> &mut bool),
    /// Text that is checked. The setter quotes it in its error.
    Text {
        shape: &'static str,
        choices: &'static [&'static str],
        set: fn(&mut Draft, &str) -> Result<(), String>,
    },
    /// A path, which need not be UTF-8.
    Path {
        kind: Kind,
        set: fn(&mut Draft, PathBuf) -> Result<(), String>,
    },
    /// Asks for text instead of work, so the environment cannot.
    Print(Print),
}

/// What a path leads to, for completions.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    File,
    Directory,
    Program,
}

/// Text to print instead of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Print {
    Help,
    Version,
    Completions(Shell),
}

/// A shell that completions are written for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The shells by their names.
pub(super) const SHELLS: &[(&str, Shell)] = &[
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
];

/// Whether an option may be given several times, and how one string of the
/// environment holds several values.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum List {
    /// The last one counts.
    No,
    /// Commas or white space between them, on the command line too.
    Hosts,
    /// Split as a shell would.
    Words,
}

/// A part of `--help`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Group {
    Work,
    Agents,
    Limits,
    Kubernetes,
    This,
}

/// The parts of `--help`, in their order.
pub(super) const GROUPS: &[(Group, &str)] = &[
    (Group::Work, "Work"),
    (Group::Agents, "Agents"),
    (Group::Limits, "Limits"),
    (Group::Kubernetes, "Kubernetes (--mode k8s)"),
    (Group::This, "This program"),
];

impl Flag {
    /// What stands after the `=`: the choices where there are some.
    pub(super) fn shape(&self) -> Option<String> {
        match &self.takes {
            Takes::Switch(_) | Takes::Print(_) => None,
            Takes::Path { .. } => Some("PATH".to_owned()),
            Takes::Text { shape, choices, .. } => Some(if choices.is_empty() {
                (*shape).to_owned()
            } else {
                choices.join("|")
            }),
        }
    }

    /// The values there are, if they can be told.
    pub(super) fn choices(&self) -> &'static [&'static str] {
        match self.takes {
            Takes::Text { choices, .. } => choices,
            Takes::Switch(_) | Takes::Path { .. } | Takes::Print(_) => &[],
        }
    }

    /// Where the value is a path: to what.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.takes {
            Takes::Path { kind, .. } => Some(kind),
            Takes::Text { .. } | Takes::Switch(_) | Takes::Print(_) => None,
        }
    }

    /// Whether `--no-LONG` turns it off.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.takes, Takes::Switch(_))
    }

    /// All that is to be said of it, but for its default.
    pub(super) fn about(&self) -> String {
        [self.brief, self.more].join(" ").trim_end().to_owned()
    }
}
