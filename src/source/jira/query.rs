//! The query that a poll asks. Pure.

/// The labels that say what becomes of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `--jira-label`: the ticket is wanted.
    pub wanted: String,
    /// `--jira-done-label`: its agent succeeded.
    pub done: String,
    /// `--jira-failed-label`: its agents failed.
    pub failed: String,
}

impl Labels {
    /// Whether a ticket with these labels has been told how it ended. Jira
    /// finds labels in any case, so any case counts.
    #[must_use]
    pub fn tell_an_end(&self, labels: &[String]) -> bool {
        has(labels, &self.done) || has(labels, &self.failed)
    }

    /// Whether a ticket with these labels asks for an agent.
    #[must_use]
    pub fn want(&self, labels: &[String]) -> bool {
        has(labels, &self.wanted)
    }
}

/// Whether a label is among these, in any case.
#[must_use]
pub fn has(labels: &[String], label: &str) -> bool {
    let label = label.to_lowercase();
    labels.iter().any(|l| l.to_lowercase() == label)
}

/// The query for tickets with the label: by priority, then by age. The key at
/// its end keeps pages apart.
#[must_use]
pub fn by_label(labels: &Labels) -> String {
    format!(
        "labels = {} AND labels not in ({}, {}) AND statusCategory != Done \
         ORDER BY priority DESC, created ASC, key ASC",
        quoted(&labels.wanted),
        quoted(&labels.done),
        quoted(&labels.failed)
    )
}

/// A value as JQL takes it, whatever it holds
/// (<https://jira.atlassian.com/browse/JRASERVER-24455>).
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(wanted: &str) -> Labels {
        Labels {
            wanted: wanted.into(),
            done: format!("{wanted}-done"),
            failed: format!("{wanted}-failed"),
        }
    }

    #[test]
    fn every_value_is_quoted() {
        assert_eq!(
            by_label(&labels("recac-agent")),
            "labels = \"recac-agent\" AND labels not in (\"recac-agent-done\", \
             \"recac-agent-failed\") AND statusCategory != Done \
             ORDER BY priority DESC, created ASC, key ASC"
        );
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert!(
            by_label(&labels(r#"x" OR "1"="1"#)).starts_with(r#"labels = "x\" OR \"1\"=\"1" "#)
        );
    }

    #[test]
    fn a_label_is_known_in_any_case() {
        let labels = labels("Agent");
        let of = |text: &str| vec![text.to_owned()];
        assert!(labels.want(&of("agent")) && !labels.want(&of("agents")));
        assert!(labels.tell_an_end(&of("AGENT-done")) && labels.tell_an_end(&of("agent-failed")));
        assert!(!labels.tell_an_end(&of("agent")) && !labels.tell_an_end(&[]));
    }
}
