//! What the options say about Jira, and whether that goes together.

use std::path::PathBuf;

use super::config::Spoken;

/// The variables that may hold the token; the first that is set counts. There
/// is no option for it: it would stand in the list of processes.
pub const TOKEN_VARIABLES: [&str; 2] = ["JIRA_API_TOKEN", "RECAC_JIRA_API_TOKEN"];

/// Where Jira is, who asks, for which tickets, and what is written to them.
#[derive(Clone, Debug, Default)]
pub struct Jira {
    /// Without a slash at its end; empty where none was given.
    pub url: String,
    /// With it Basic, without it Bearer.
    pub username: Option<String>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// The variable that holds it, where no file does.
    pub token_variable: Option<&'static str>,
    /// Which kind of Jira it is; `None` where that is to be asked.
    pub deployment: Option<Deployment>,
    /// PEM of the authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// What makes a ticket wanted.
    pub label: String,
    /// A query instead of the label.
    pub query: Option<String>,
    /// How a ticket remembers that its agent succeeded.
    pub done_label: String,
    /// How a ticket remembers that its agents failed.
    pub failed_label: String,
    /// A name, `auto` or `none`.
    pub start_status: String,
    /// A name, `auto` or `none`.
    pub done_status: String,
    /// A name or `none`.
    pub failed_status: String,
    /// The type of link that blocks.
    pub blocks_link: String,
}

/// The two kinds of Jira, which differ in paths, paging and markup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// Atlassian's: REST v3, texts in ADF.
    Cloud,
    /// Run by its user: REST v2, texts in wiki markup.
    DataCenter,
}

impl Jira {
    /// Finds the token; gives what is missing to get in.
    pub(super) fn find_access(&mut self, is_set: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut wrong = vec![];
        if self.url.is_empty() {
            wrong.push(
                "--jira-url is missing: give it, or JIRA_URL (or --poller file for a work file)"
                    .to_owned(),
            );
        }
        if self.token_file.is_none() {
            self.token_variable = TOKEN_VARIABLES.into_iter().find(|name| is_set(name));
            if self.token_variable.is_none() {
                wrong.push(
                    "Jira's token is missing: set JIRA_API_TOKEN, or give --jira-token-file"
                        .to_owned(),
                );
            }
        }
        wrong
    }

    /// Settles what depends on several options; gives what is wrong then.
    pub(super) fn settle(&mut self, spoken: &dyn Fn(&str) -> Option<Spoken>) -> Vec<String> {
        let name = |long: &str| spoken(long).map_or_else(|| format!("--{long}"), |s| s.name);
        if self.done_label.is_empty() {
            self.done_label = format!("{}-done", self.label);
        }
        if self.failed_label.is_empty() {
            self.failed_label = format!("{}-failed", self.label);
        }
        let mut wrong = vec![];
        for (long, label) in [
            ("jira-done-label", &self.done_label),
            ("jira-failed-label", &self.failed_label),
        ] {
            // A ticket would be told an end by what makes it wanted.
            if label.to_lowercase() == self.label.to_lowercase() {
                let name = name(long);
                wrong.push(format!(
                    "{name}: {label:?} is the label that asks for an agent"
                ));
            }
        }
        wrong
    }
}
