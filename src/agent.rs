//! The one specification of a run: image, command, environment, labels and
//! limits. A runtime renders it and adds nothing of its own.
//!
//! Never looks at the environment of this process or a clock, and does no I/O:
//! what is forwarded is handed in.

mod command;
mod env;
mod guard;
mod quantity;
mod size;
mod words;

use std::{collections::BTreeMap, fmt};

pub use command::{Command, DEFAULT, Values};
pub use env::{EnvRule, Value, Var, env_name_ok, is_secret, item_env_refused};
pub use quantity::{Bytes, Millicores, cpus, memory};
pub use size::room;
pub use words::{quote, split, split_command};

use crate::core::{Item, Past, run_name};

/// Label: the item's raw id.
pub const ITEM_ID: &str = "recac.io/item-id";
/// Label: what identifies the item for good.
pub const SOURCE_ID: &str = "recac.io/source-id";
/// Label: whose run it is.
pub const OWNER: &str = "recac.io/owner";
/// Label: 1, 2, …
pub const ATTEMPT: &str = "recac.io/attempt";
/// Label: over what the agent got of the item.
pub const FINGERPRINT: &str = "recac.io/fingerprint";
/// Label: the former attempts of this round, a line each.
pub const HISTORY: &str = "recac.io/history";
/// Label: that it is one of ours at all.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGER: &str = "recac-orchestrator";

/// Where agents run, as far as it changes what they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A plain process, which inherits a little of our environment.
    Process,
    /// A container of a daemon on this machine.
    Container,
    /// A pod: secrets come from a Secret, and none from here.
    Pod,
}

/// What is the same for every agent, made once.
#[derive(Clone)]
pub struct Agent {
    /// `--owner`.
    pub owner: String,
    /// Follows from `--mode`.
    pub place: Place,
    /// `--agent-command`.
    pub command: Command,
    /// `--image`.
    pub image: String,
    /// `--agent-provider`.
    pub provider: String,
    /// `--agent-model`.
    pub model: String,
    /// `--max-attempts`.
    pub max_attempts: u32,
    /// `--github-host`.
    pub github_host: String,
    /// `--agent-env`; of several for one name the last counts.
    pub extra: Vec<EnvRule>,
    /// `--agent-cpus`.
    pub cpus: Option<Millicores>,
    /// `--agent-memory`.
    pub memory: Option<Bytes>,
    /// The orchestrator's own environment, whole. What of it an agent gets is
    /// decided here.
    pub environment: BTreeMap<String, String>,
}

/// Without any value of the environment.
impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("owner", &self.owner)
            .field("place", &self.place)
            .field("command", &self.command)
            .field("image", &self.image)
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("max_attempts", &self.max_attempts)
            .field("github_host", &self.github_host)
            .field("extra", &self.extra)
            .field("cpus", &self.cpus)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// Which run of an item it is.
#[derive(Clone, Copy, Debug)]
pub struct Try<'a> {
    /// The number its name ends in.
    pub number: u32,
    /// 1, 2, …, at most `--max-attempts`.
    pub attempt: u32,
    /// The former attempts of this round, oldest first.
    pub history: &'a [Past],
}

/// Everything a runtime needs to start one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The run's name.
    pub name: String,
    /// Not looked at by plain processes.
    pub image: String,
    /// Program and arguments; `None` for the image's own.
    pub command: Option<Vec<String>>,
    /// In this order, no name twice.
    pub env: Vec<Var>,
    /// In this order, no key twice.
    pub labels: Vec<(&'static str, String)>,
    /// The working directory.
    pub workspace: String,
    /// The most it may use.
    pub cpus: Option<Millicores>,
    /// The most it may use.
    pub memory: Option<Bytes>,
    /// What a log should say of it: text that was cut.
    pub warnings: Vec<String>,
}

impl Spec {
    /// The names and values of its secrets, for whoever has to hide them.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|var| match &var.value {
            Value::Secret(value) => Some((var.name.as_str(), value.as_str())),
            Value::Plain(_) | Value::Key(_) => None,
        })
    }

    /// The same, every text that an item is in gone through `clean`.
    #[must_use]
    pub fn cleaned(&self, clean: &dyn Fn(&str) -> String) -> Spec {
        let mut spec = self.clone();
        for var in &mut spec.env {
            if let Value::Plain(text) = &mut var.value {
                *text = clean(text);
            }
        }
        let labels = spec.labels.iter_mut().map(|(_, text)| text);
        for text in spec.command.iter_mut().flatten().chain(labels) {
            *text = clean(text);
        }
        spec
    }
}

/// Providers and the variable that holds the key of each.
const PROVIDERS: [(&str, &str); 5] = [
    ("openrouter", "OPENROUTER_API_KEY"),
    ("openai", "OPENAI_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("gemini", "GEMINI_API_KEY"),
    ("google", "GEMINI_API_KEY"),
];

/// What RECAC's agent reads, as it is set or 20.
const MAX_ITERATIONS: &str = "RECAC_MAX_ITERATIONS";
/// What it reads besides, forwarded where it is set.
const FORWARDED: [&str; 5] = [
    "RECAC_MANAGER_FREQUENCY",
    "RECAC_TASK_MAX_ITERATIONS",
    "RECAC_DB_TYPE",
    "RECAC_NOTIFICATIONS_DISCORD_ENABLED",
    "RECAC_NOTIFICATIONS_SLACK_ENABLED",
];

/// All that a plain process inherits, with `LC_*`.
const INHERITED: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// A credential helper for git: git runs it with `get`, `store` or `erase`. It
/// reads the token when it is asked, so that no secret stands in a setting,
/// and says nothing without one, so that git looks elsewhere.
const GIT_HELPER: &str = "!f() { if test \"$1\" = get && test -n \"$GITHUB_TOKEN\"; then \
    printf 'username=x-access-token\\npassword=%s\\n' \"$GITHUB_TOKEN\"; fi; }; f";

/// What of a history fits into a label. It is for people, and no runtime takes
/// a label of any size.
const HISTORY_SIZE: usize = 32 * 1024;

/// What the environment that is the same for all agents may take, so that half
/// of [`size::ALL`] is there for an item.
const FIXED: usize = size::ALL / 2;

/// Variables in order; a name set again keeps its place.
#[derive(Default)]
struct Env {
    vars: Vec<Var>,
    places: BTreeMap<String, usize>,
}

impl Env {
    fn set(&mut self, name: &str, value: Value) {
        let at = *self.places.entry(name.to_owned()).or_insert_with(|| {
            self.vars.push(Var {
                name: name.to_owned(),
                value: Value::Plain(String::new()),
            });
            self.vars.len() - 1
        });
        if let Some(var) = self.vars.get_mut(at) {
            var.value = value;
        }
    }

    fn plain(&mut self, name: &str, text: &str) {
        self.set(name, Value::Plain(text.to_owned()));
    }

    /// A value that is a secret if its name says so.
    fn named(&mut self, name: &str, text: &str) {
        match is_secret(name) {
            true => self.set(name, Value::Secret(text.to_owned())),
            false => self.plain(name, text),
        }
    }
}

impl Agent {
    /// Whether the settings fit together and leave room for an item. To be
    /// asked once, before anything else.
    ///
    /// # Errors
    /// What is wrong, for the person who wrote the command line.
    pub fn check(&self) -> Result<(), String> {
        if self.place == Place::Process && self.command.is_image() {
            return Err("the agent command is image, but a plain process has none".to_owned());
        }
        let given = |rule: &&EnvRule| rule.value.is_some() && is_secret(&rule.name);
        if let (Place::Pod, Some(rule)) = (self.place, self.extra.iter().find(given)) {
            let name = &rule.name;
            return Err(format!(
                "{name} is a secret and would stand in every Job: put it into the Secret of \
                 --agent-secret and write --agent-env {name}"
            ));
        }
        let mut env = Env::default();
        self.inherit(&mut env);
        self.before_item(&mut env);
        self.after_item(&mut env);
        if let Some(why) = size::refusal(&[], &env.vars) {
            return Err(why);
        }
        let size = size::total(&[], &env.vars) + self.command.at_most(0);
        match size > FIXED {
            true => Err(format!(
                "the command and the variables of every agent take {size} bytes, and the limit \
                 is {FIXED}"
            )),
            false => Ok(()),
        }
    }

    /// The specification of one run of `item` that works in `workspace`.
    ///
    /// # Errors
    /// Why this item can have no run, whatever the attempt.
    pub fn spec(&self, item: &Item, attempt: &Try<'_>, workspace: &str) -> Result<Spec, String> {
        if item.repo_url.is_none() && self.command.names_repo() {
            return Err("the agent command needs a repository, and none is named".to_owned());
        }
        self.built(item, attempt, workspace)
    }

    /// Why no agent can be given this item; `None` if one can. Asked of every
    /// item at every poll, so what is small enough is not looked into.
    #[must_use]
    pub fn unfit(&self, item: &Item) -> Option<String> {
        if let Some(why) = self.env_refused(item) {
            return Some(why);
        }
        let texts = [&item.id, &item.summary, &item.description].into_iter();
        let texts = texts.chain(&item.repo_url).chain(&item.url);
        let texts = texts.chain(item.env.iter().flat_map(|(n, v)| [n, v]));
        let texts = texts.chain(item.facts.iter().flat_map(|(n, v)| [n, v]));
        let (mut most, mut sum, mut nul) = (0, 0, false);
        for text in texts {
            most = most.max(text.len());
            sum += text.len() + 2;
            nul |= text.contains('\0');
        }
        // The id stands in two variables; `check` has left half of everything,
        // and of that an item that passes here takes half, so that no variable
        // of it can be too long either.
        let command = self.command.at_most(most.max(4096));
        if !nul && command <= size::TEXT && 2 * sum + command <= FIXED / 2 {
            return None;
        }
        let last = Try {
            number: u32::MAX,
            attempt: u32::MAX,
            history: &[],
        };
        self.built(item, &last, "/workspace").err()
    }

    /// The names and values of every secret that may turn up in what agents
    /// and runtimes say: all that our environment holds, ours alone included,
    /// and those of `--agent-env`.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.extra.iter();
        let extra = extra.filter_map(|rule| Some((rule.name.as_str(), rule.value.as_deref()?)));
        let own = self.environment.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(extra).filter(|(name, _)| is_secret(name))
    }

    fn built(&self, item: &Item, attempt: &Try<'_>, workspace: &str) -> Result<Spec, String> {
        if let Some(why) = self.env_refused(item) {
            return Err(why);
        }
        let url = item.url.as_deref();
        let mut warnings = Vec::new();
        let mut fitted = |what, text: &str| match size::shorten(what, text, url) {
            Some((text, warning)) => {
                warnings.push(warning);
                text
            }
            None => text.to_owned(),
        };
        let summary = fitted("summary", &item.summary);
        let description = fitted("description", &item.description);
        let name = run_name(&self.owner, &item.id, attempt.number);
        let number = attempt.attempt.to_string();

        let mut env = Env::default();
        self.inherit(&mut env);
        env.plain("RECAC_ITEM_ID", &item.id);
        env.plain("RECAC_ITEM_SUMMARY", &summary);
        env.plain("RECAC_ITEM_DESCRIPTION", &description);
        for (name, value) in [
            ("RECAC_ITEM_URL", &item.url),
            ("RECAC_REPO_URL", &item.repo_url),
        ] {
            if let Some(value) = value {
                env.plain(name, value);
            }
        }
        env.plain("RECAC_RUN", &name);
        env.plain("RECAC_ATTEMPT", &number);
        env.plain("RECAC_MAX_ATTEMPTS", &self.max_attempts.to_string());
        env.plain("RECAC_WORKSPACE", workspace);
        env.plain("RECAC_PROVIDER", &self.provider);
        env.plain("RECAC_MODEL", &self.model);
        env.plain("RECAC_PROJECT_ID", &item.id);
        self.before_item(&mut env);
        for (name, value) in &item.facts {
            env.plain(name, value);
        }
        for (name, value) in &item.env {
            env.named(name, value);
        }
        self.after_item(&mut env);

        let command = self.command.fill(&Values {
            id: &item.id,
            summary: &summary,
            description: &description,
            repo_url: item.repo_url.as_deref().unwrap_or(""),
            url: url.unwrap_or(""),
            attempt: &number,
            workspace,
        });
        if let Some(why) = size::refusal(command.as_deref().unwrap_or(&[]), &env.vars) {
            return Err(why);
        }
        Ok(Spec {
            labels: self.labels(item, &number, attempt.history),
            name,
            image: self.image.clone(),
            command,
            env: env.vars,
            workspace: workspace.to_owned(),
            cpus: self.cpus,
            memory: self.memory,
            warnings,
        })
    }

    /// Why the item's own variables cannot be given to an agent.
    fn env_refused(&self, item: &Item) -> Option<String> {
        item.env.keys().find_map(|name| {
            item_env_refused(name).or_else(|| {
                (self.place == Place::Pod && is_secret(name)).then(|| {
                    format!(
                        "its variable {name} is a secret and would stand in the Job: put it \
                         into the Secret of --agent-secret"
                    )
                })
            })
        })
    }

    /// A variable of our environment; an empty one is an unset one.
    fn ours(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// What of our environment every agent gets that is no secret, wherever it
    /// runs: names and values.
    pub fn forwarded(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let names = [MAX_ITERATIONS].into_iter().chain(FORWARDED);
        names.filter_map(|name| Some((name, self.ours(name)?)))
    }

    fn inherit(&self, env: &mut Env) {
        if self.place != Place::Process {
            return;
        }
        let locale = self.environment.keys().filter(|n| n.starts_with("LC_"));
        for name in INHERITED.into_iter().chain(locale.map(String::as_str)) {
            if let Some(value) = self.ours(name) {
                env.plain(name, value);
            }
        }
    }

    /// What stands before an item's facts and does not depend on the item.
    fn before_item(&self, env: &mut Env) {
        env.plain(MAX_ITERATIONS, self.ours(MAX_ITERATIONS).unwrap_or("20"));
        env.plain("GIT_TERMINAL_PROMPT", "0");
        env.plain("GIT_AUTHOR_NAME", "RECAC Agent");
        env.plain("GIT_COMMITTER_NAME", "RECAC Agent");
        env.plain("GIT_AUTHOR_EMAIL", "agent@recac.io");
        env.plain("GIT_COMMITTER_EMAIL", "agent@recac.io");
    }

    /// What stands behind an item's own variables. The operator has the last
    /// word.
    fn after_item(&self, env: &mut Env) {
        for name in FORWARDED {
            if let Some(value) = self.ours(name) {
                env.plain(name, value);
            }
        }
        self.forward_secrets(env);
        let host = &self.github_host;
        env.plain("GIT_CONFIG_COUNT", "1");
        env.plain(
            "GIT_CONFIG_KEY_0",
            &format!("credential.https://{host}.helper"),
        );
        env.plain("GIT_CONFIG_VALUE_0", GIT_HELPER);
        for EnvRule { name, value } in &self.extra {
            match value.as_deref() {
                Some(value) => env.named(name, value),
                // Ours may be unset; it is the Secret that counts.
                None if self.place == Place::Pod && is_secret(name) => {
                    env.set(name, Value::Key(name.clone()));
                }
                None => {
                    if let Some(value) = self.ours(name) {
                        env.named(name, value);
                    }
                }
            }
        }
    }

    /// The secrets every agent gets: in a pod the whole Secret is there
    /// already, but for one of them under its other name.
    fn forward_secrets(&self, env: &mut Env) {
        if self.place == Place::Pod {
            let key = Value::Key("GITHUB_API_KEY".to_owned());
            env.set("RECAC_GITHUB_API_KEY", key);
            return;
        }
        let chosen = self.provider.trim();
        let known = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(chosen);
        let keys = PROVIDERS.iter().find(|p| known(p)).map_or_else(
            || PROVIDERS.iter().map(|(_, key)| *key).collect(),
            |(_, key)| vec![*key],
        );
        let others = ["GITHUB_TOKEN", "GITHUB_API_KEY", "RECAC_DB_URL"];
        for name in keys.into_iter().chain(others) {
            let Some(value) = self.ours(name) else {
                continue;
            };
            env.set(name, Value::Secret(value.to_owned()));
            if name == "GITHUB_API_KEY" {
                let value = Value::Secret(value.to_owned());
                env.set("RECAC_GITHUB_API_KEY", value);
            }
        }
    }

    fn labels(&self, item: &Item, attempt: &str, history: &[Past]) -> Vec<(&'static str, String)> {
        vec![
            (ITEM_ID, item.id.clone()),
            (SOURCE_ID, item.source_id.clone()),
            (OWNER, self.owner.clone()),
            (ATTEMPT, attempt.to_owned()),
            (FINGERPRINT, item.fingerprint.to_string()),
            (HISTORY, history_text(history)),
            (MANAGED_BY, MANAGER.to_owned()),
        ]
    }
}

/// The newest part of a history that fits into a label.
fn history_text(history: &[Past]) -> String {
    let mut rest = history;
    loop {
        let text = Past::to_text(rest);
        match rest {
            [_, after @ ..] if text.len() > HISTORY_SIZE => rest = after,
            _ => return text,
        }
    }
}

#[cfg(test)]
mod tests;
