//! The rules for names of variables, and a variable that keeps its secret.
//!
//! Never holds the value of a secret where `Debug` could show it.

use std::fmt;

/// A variable of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Var {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub value: Value,
}

/// What a variable holds, and how it has to travel.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Anybody may see it.
    Plain(String),
    /// Never in an argument, a log or a file: by name only.
    Secret(String),
    /// This key of the Secret of `--agent-secret`, where the Secret has it.
    /// Only ever found under [`super::Place::Pod`].
    Key(String),
}

impl Value {
    /// The value itself; `None` where only Kubernetes knows it.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Plain(text) | Value::Secret(text) => Some(text),
            Value::Key(_) => None,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Plain(text) => f.debug_tuple("Plain").field(text).finish(),
            Value::Secret(_) => f.write_str("Secret"),
            Value::Key(key) => f.debug_tuple("Key").field(key).finish(),
        }
    }
}

/// One `--agent-env`: `NAME` forwards a variable, `NAME=VALUE` sets one.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvRule {
    /// Which variable.
    pub name: String,
    /// What to set it to; `None` forwards it.
    pub value: Option<String>,
}

impl fmt::Debug for EnvRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(_) => write!(f, "{}=…", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl EnvRule {
    /// Reads `NAME` or `NAME=VALUE`.
    ///
    /// # Errors
    /// No lawful name, or one whose value is not the operator's to choose.
    /// Never shows the value.
    pub fn parse(text: &str) -> Result<EnvRule, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if !env_name_ok(name) {
            return Err("not NAME or NAME=VALUE, with a name of A-Z, a-z, 0-9 and _".to_owned());
        }
        if value.is_some_and(|value| value.contains('\0')) {
            return Err(format!("the value of {name} holds a NUL character"));
        }
        match name {
            "RECAC_PROVIDER" => return Err(format!("{name} is set by --agent-provider")),
            "RECAC_MODEL" => return Err(format!("{name} is set by --agent-model")),
            "RECAC_MAX_ATTEMPTS" => return Err(format!("{name} is set by --max-attempts")),
            _ => {}
        }
        let ours = [
            "RECAC_RUN",
            "RECAC_ATTEMPT",
            "RECAC_WORKSPACE",
            "RECAC_REPO_URL",
            "RECAC_PROJECT_ID",
            "JIRA_TICKET",
        ];
        let ours = ours.contains(&name)
            || name.starts_with("RECAC_ITEM_")
            || name.starts_with("GIT_CONFIG_");
        if ours {
            return Err(format!("{name} is set by the orchestrator for each run"));
        }
        Ok(EnvRule {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        })
    }
}

/// Whether a variable can have this name: `[A-Za-z_][A-Za-z0-9_]*`.
#[must_use]
pub fn env_name_ok(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Why an item must not set a variable of this name; `None` if it may.
#[must_use]
pub fn item_env_refused(name: &str) -> Option<String> {
    let git = name == "GIT_TERMINAL_PROMPT"
        || name == "GIT_CONFIG_COUNT"
        || ["GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_KEY_"]
            .iter()
            .chain(&["GIT_CONFIG_VALUE_"])
            .any(|prefix| name.starts_with(prefix));
    if !env_name_ok(name) {
        Some(format!("{name:?} cannot be the name of a variable"))
    } else if name.starts_with("RECAC_") || name == "JIRA_TICKET" || git {
        Some(format!("{name} is set by the orchestrator itself"))
    } else {
        None
    }
}

/// Whether the value of a variable of this name is a secret. Case does not
/// matter.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // It has KEY in its name, and holds the name of a setting of git.
    if name.starts_with("GIT_CONFIG_KEY_") {
        return false;
    }
    name == "RECAC_DB_URL"
        || ["TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIAL"]
            .iter()
            .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_and_its_value_kept_as_it_is() {
        let rule = |text: &str| EnvRule::parse(text).map(|r| (r.name, r.value));
        let some = |name: &str, value: &str| Ok((name.to_owned(), Some(value.to_owned())));
        assert_eq!(rule("A"), Ok(("A".to_owned(), None)));
        assert_eq!(rule("A="), some("A", ""));
        assert_eq!(rule("_a1=b=c d\n"), some("_a1", "b=c d\n"));
        assert_eq!(
            rule("RECAC_MAX_ITERATIONS=5"),
            some("RECAC_MAX_ITERATIONS", "5")
        );
        assert_eq!(rule("GIT_AUTHOR_NAME=x"), some("GIT_AUTHOR_NAME", "x"));
        for text in ["", "=", "=x", "1A", "A B", "A-B=c", "ä", "A\0", "A=\0"] {
            assert!(rule(text).is_err(), "{text:?}");
        }
        for name in [
            "RECAC_ITEM_ID",
            "RECAC_ITEM_COMMENTS",
            "RECAC_RUN",
            "RECAC_ATTEMPT",
            "RECAC_MAX_ATTEMPTS",
            "RECAC_WORKSPACE",
            "RECAC_REPO_URL",
            "RECAC_PROJECT_ID",
            "RECAC_PROVIDER",
            "RECAC_MODEL",
            "JIRA_TICKET",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_7",
        ] {
            for text in [name.to_owned(), format!("{name}=hunter2")] {
                let error = rule(&text).unwrap_err();
                assert!(error.contains(name) && !error.contains("hunter2"));
            }
        }
        assert!(rule("RECAC_MODEL").unwrap_err().contains("--agent-model"));
        assert!(!rule("A-TOKEN=hunter2").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn an_item_may_not_set_what_is_ours() {
        for name in [
            "",
            "1",
            "A B",
            "A=B",
            "ä",
            "A\0",
            "RECAC_",
            "RECAC_X",
            "JIRA_TICKET",
            "GIT_TERMINAL_PROMPT",
            "GIT_AUTHOR_NAME",
            "GIT_AUTHOR_EMAIL",
            "GIT_COMMITTER_NAME",
            "GIT_COMMITTER_EMAIL",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0",
            "GIT_CONFIG_VALUE_12",
        ] {
            assert!(item_env_refused(name).is_some(), "{name}");
        }
        for name in [
            "A",
            "_",
            "a1",
            "JIRA_TICKETS",
            "GIT_TRACE",
            "GIT_CONFIG_GLOBAL",
            "RECAC",
        ] {
            assert_eq!(item_env_refused(name), None);
        }
    }

    #[test]
    fn a_secret_is_known_by_its_name() {
        for name in [
            "OPENROUTER_API_KEY",
            "GITHUB_TOKEN",
            "RECAC_DB_URL",
            "recac_db_url",
            "my_token",
            "ClientSecret",
            "PASSWORD",
            "AWS_CREDENTIALS",
            "X_KEY_X",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "RECAC_DB_TYPE", "GIT_CONFIG_KEY_0", "TOKE", "PASS"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let var = |value| Var {
            name: "A".to_owned(),
            value,
        };
        let secret = format!("{:?}", var(Value::Secret("hunter2".to_owned())));
        assert!(!secret.contains("hunter2"), "{secret}");
        let plain = format!("{:?}", var(Value::Plain("shown".to_owned())));
        assert!(plain.contains("shown"), "{plain}");
        let rule = |text| format!("{:?}", EnvRule::parse(text).unwrap());
        assert_eq!(rule("A_TOKEN=hunter2"), "A_TOKEN=…");
        assert_eq!(rule("A=b"), "A=…");
        assert_eq!(rule("A"), "A");
    }
}
