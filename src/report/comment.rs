//! An outcome as the comment of a ticket: one value, written in the markup of
//! either kind of Jira. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::core::{End, Outcome, Past, spell};

/// What Jira takes, in UTF-16 units of the JSON that is sent
/// (`jira.text.field.character.limit`), less some for what goes around it.
const LIMIT: usize = 32_767 - 200;
/// Characters of a reason that are shown.
const REASON: usize = 1000;
/// Former attempts that are listed: the newest.
const LISTED: usize = 20;

/// A comment that tells how an item ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// What tells it from every other report: it stands in the comment as it
    /// is, in one piece.
    pub marker: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    Text(Vec<Inline>),
    List(Vec<String>),
    /// Lines as they are. They alone are cut when there is too much.
    Code(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inline {
    Plain(String),
    Strong(String),
    Code(String),
}

/// What a person does to have an agent try again.
#[derive(Clone, Copy, Debug)]
pub enum Again<'a> {
    /// Takes off this label, which the ticket is given besides.
    Without(&'a str),
    /// Gives the ticket what it is without.
    Wanting {
        /// It is closed, and has to be opened.
        closed: bool,
        /// It has to have this label.
        label: Option<&'a str>,
    },
}

impl Again<'_> {
    fn words(self) -> Vec<Inline> {
        const AGAIN: &str = "To have an agent try again, ";
        let plain = |parts: &[&str]| Inline::Plain(parts.concat());
        let code = |label: &str| Inline::Code(label.to_owned());
        match self {
            Again::Without(label) => vec![
                plain(&[AGAIN, "take the label "]),
                code(label),
                plain(&[" off this ticket, and see that it is open."]),
            ],
            Again::Wanting {
                closed,
                label: Some(label),
            } => {
                let open = if closed {
                    "reopen this ticket, and "
                } else {
                    ""
                };
                vec![
                    plain(&[AGAIN, open, "put the label "]),
                    code(label),
                    plain(&[" on it again."]),
                ]
            }
            Again::Wanting {
                closed: true,
                label: None,
            } => vec![plain(&[AGAIN, "reopen this ticket."])],
            Again::Wanting {
                closed: false,
                label: None,
            } => vec![plain(&["It asks for an agent again, and will get one."])],
        }
    }
}

impl Comment {
    /// The comment on an outcome whose last output is `tail`.
    #[must_use]
    pub fn of(outcome: &Outcome, tail: &str, again: Again<'_>) -> Comment {
        let marker = match &outcome.run {
            Some(run) => format!("{} {}", run.name, run.uid),
            None => format!("never started, {}", outcome.finished),
        };
        let mut blocks = vec![Block::Text(head(outcome)), Block::List(attempts(outcome))];
        let tail = printable(tail);
        if !tail.trim().is_empty() {
            blocks.push(Block::Text(vec![Inline::Plain("Its last lines:".into())]));
            blocks.push(Block::Code(tail));
        }
        blocks.push(Block::Text(again.words()));
        blocks.push(Block::Text(vec![Inline::Code(marker.clone())]));
        let mut comment = Comment { marker, blocks };
        comment.fit();
        comment
    }

    /// As a document of Jira Cloud
    /// (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>).
    #[must_use]
    pub fn to_adf(&self) -> Value {
        let content: Vec<Value> = self.blocks.iter().filter_map(adf).collect();
        json!({"type": "doc", "version": 1, "content": content})
    }

    /// As the markup of Jira Data Center
    /// (<https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all>).
    #[must_use]
    pub fn to_wiki(&self) -> String {
        let blocks: Vec<String> = self.blocks.iter().map(wiki).collect();
        blocks.join("\n\n")
    }

    /// Shortens the lines of the agent from their beginning until all of it
    /// is within the limit in either markup.
    fn fit(&mut self) {
        let size = |comment: &Comment| {
            let adf = comment.to_adf().to_string();
            let wiki = json!(comment.to_wiki()).to_string();
            units(&adf).max(units(&wiki))
        };
        loop {
            let all = size(self);
            let over = all.saturating_sub(LIMIT);
            if over == 0 {
                return;
            }
            let code = self.blocks.iter_mut().find_map(|block| match block {
                Block::Code(code) if !code.is_empty() => Some(code),
                Block::Code(_) | Block::Text(_) | Block::List(_) => None,
            });
            // All the rest is bounded.
            let Some(code) = code else { return };
            // A character may count more in one of the two than in the lines.
            let own: usize = code.chars().map(cost).sum();
            *code = without_first(code, over.saturating_mul(own) / all).to_owned();
        }
    }
}

/// What is left when about `over` units are taken away at the beginning, from
/// the start of a line on where there is one.
fn without_first(text: &str, over: usize) -> &str {
    let mut gone = 0;
    let cut = text.char_indices().find(|(_, c)| {
        gone += cost(*c);
        gone > over
    });
    let from = cut.map_or(text.len(), |(at, c)| at + c.len_utf8());
    let rest = text.get(from..).unwrap_or("");
    match rest.split_once('\n') {
        // Not where a long line would leave next to nothing.
        Some((_, lines)) if lines.len() > rest.len() / 2 => lines,
        Some(_) | None => rest,
    }
}

/// What a character counts in JSON.
fn cost(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\t' => 2,
        c => c.len_utf16(),
    }
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn head(outcome: &Outcome) -> Vec<Inline> {
    let plain = |text: String| Inline::Plain(text);
    let attempts = match outcome.attempts {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let reason = short(&outcome.reason);
    match outcome.end {
        End::Succeeded => vec![
            Inline::Strong("The agent succeeded".into()),
            plain(format!(" after {attempts}.")),
        ],
        End::Failed => vec![
            Inline::Strong("The agent failed".into()),
            plain(format!(" after {attempts}: {reason}.")),
        ],
        End::Stopped => vec![
            Inline::Strong("The agent was stopped".into()),
            plain(match reason.strip_prefix("stopped ") {
                Some(because) => format!(" {because}."),
                None => format!(": {reason}."),
            }),
        ],
    }
}

/// A line for each attempt, the last one included.
fn attempts(outcome: &Outcome) -> Vec<String> {
    let last = Past::new(
        outcome.attempts,
        outcome.started,
        outcome.finished,
        outcome.exit_code,
        &outcome.reason,
    );
    let from = outcome.history.len().saturating_sub(LISTED);
    let mut lines = Vec::new();
    if from > 0 {
        lines.push(format!("{from} former attempts"));
    }
    let listed = outcome.history.iter().skip(from).chain([&last]);
    lines.extend(listed.map(|past| {
        let reason = short(&past.reason);
        let code = match past.exit_code {
            Some(code) if !reason.contains(&format!("exit code {code}")) => {
                format!(" (exit code {code})")
            }
            Some(_) | None => String::new(),
        };
        format!(
            "Attempt {}, {}: {reason}{code}",
            past.attempt,
            took(past.took)
        )
    }));
    lines
}

/// To the second: more does not matter to people.
fn took(time: Duration) -> String {
    match time.as_secs() {
        0 => "less than 1s".to_owned(),
        seconds => spell(Duration::from_secs(seconds)),
    }
}

fn short(reason: &str) -> String {
    let reason = printable(reason);
    let one_line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = one_line.chars().take(REASON).collect();
    if short.len() < one_line.len() {
        short.push('…');
    }
    short.trim_end_matches('.').to_owned()
}

/// Without what a terminal would obey: Jira refuses some of it, and shows none.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                // A control sequence ends with a byte from @ to ~ (ECMA-48, 5.4).
                chars.next();
                let _ = chars.find(|c| ('@'..='~').contains(c));
            }
            '\n' | '\t' => out.push(c),
            // No text of XML 1.0, with which Data Center keeps it.
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn adf(block: &Block) -> Option<Value> {
    let text = |text: &str| json!({"type": "text", "text": text});
    // The schema knows no text without a character.
    match block {
        Block::Text(inlines) => {
            let inlines = inlines.iter().filter(|inline| !inline.text().is_empty());
            let content: Vec<Value> = inlines
                .map(|inline| {
                    let mut node = text(inline.text());
                    if let Some(mark) = inline.mark() {
                        node["marks"] = json!([{"type": mark}]);
                    }
                    node
                })
                .collect();
            Some(json!({"type": "paragraph", "content": content}))
        }
        Block::List(lines) => {
            let item = |line: &String| {
                let paragraph = json!({"type": "paragraph", "content": [text(line)]});
                json!({"type": "listItem", "content": [paragraph]})
            };
            let items: Vec<Value> = lines.iter().filter(|l| !l.is_empty()).map(item).collect();
            (!items.is_empty()).then(|| json!({"type": "bulletList", "content": items}))
        }
        Block::Code(code) if code.is_empty() => None,
        Block::Code(code) => Some(json!({"type": "codeBlock", "content": [text(code)]})),
    }
}

impl Inline {
    fn text(&self) -> &str {
        match self {
            Inline::Plain(text) | Inline::Strong(text) | Inline::Code(text) => text,
        }
    }

    fn mark(&self) -> Option<&'static str> {
        match self {
            Inline::Plain(_) => None,
            Inline::Strong(_) => Some("strong"),
            Inline::Code(_) => Some("code"),
        }
    }
}

fn wiki(block: &Block) -> String {
    match block {
        Block::Text(inlines) => inlines
            .iter()
            .map(|inline| match inline {
                Inline::Plain(text) => escaped(text),
                Inline::Strong(text) => format!("*{}*", escaped(text)),
                // Names of runs and labels, which hold nothing to escape; with
                // escapes the marker would not be found again.
                Inline::Code(text) => format!("{{{{{}}}}}", text.replace(['{', '}'], "")),
            })
            .collect(),
        Block::List(lines) => {
            let lines: Vec<String> = lines.iter().map(|l| format!("* {}", escaped(l))).collect();
            lines.join("\n")
        }
        Block::Code(code) => {
            // Nothing can be escaped in there, so its end is made to look
            // different.
            let mut inert = String::with_capacity(code.len());
            for (at, c) in code.char_indices() {
                inert.push(c);
                let rest = code.get(at + c.len_utf8()..).unwrap_or("");
                let word = rest.get(.."noformat".len()).unwrap_or("");
                if c == '{' && word.eq_ignore_ascii_case("noformat") {
                    inert.push('\u{200b}');
                }
            }
            format!("{{noformat}}\n{inert}\n{{noformat}}")
        }
    }
}

/// Text of which no part is markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let markup = matches!(
            c,
            '\\' | '*'
                | '_'
                | '-'
                | '+'
                | '^'
                | '~'
                | '?'
                | '{'
                | '}'
                | '['
                | ']'
                | '|'
                | '!'
                | '#'
        );
        if markup {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Fingerprint, RunId, Stamp};

    fn outcome(end: End, reason: &str) -> Outcome {
        let past = |attempt, code, reason| {
            let (from, to) = (Stamp(1_795_489_500_000), Stamp(1_795_489_512_500));
            Past::new(attempt, from, to, code, reason)
        };
        Outcome {
            item_id: "AB-1".into(),
            source_id: "10001".into(),
            fingerprint: Fingerprint(1),
            end,
            reason: reason.into(),
            attempts: 3,
            exit_code: Some(143),
            started: Stamp(1_795_489_507_123),
            finished: Stamp(1_795_496_707_123),
            history: vec![
                past(1, Some(1), "exit code 1"),
                past(2, None, "pod was *evicted*"),
            ],
            run: Some(RunId {
                name: "recac-agent-ab-1-3".into(),
                uid: "5f3e".into(),
            }),
        }
    }

    #[test]
    fn a_comment_says_what_happened_and_how_to_ask_again() {
        let end = outcome(End::Failed, "timed out after 2h");
        let comment = Comment::of(&end, "a {b}\n{noformat}x", Again::Without("agent-failed"));
        assert_eq!(comment.marker, "recac-agent-ab-1-3 5f3e");
        assert_eq!(
            comment.to_wiki(),
            "*The agent failed* after 3 attempts: timed out after 2h.\n\n\
             * Attempt 1, 12s: exit code 1\n\
             * Attempt 2, 12s: pod was \\*evicted\\*\n\
             * Attempt 3, 2h: timed out after 2h (exit code 143)\n\n\
             Its last lines:\n\n\
             {noformat}\na {b}\n{\u{200b}noformat}x\n{noformat}\n\n\
             To have an agent try again, take the label {{agent-failed}} off this ticket, and \
             see that it is open.\n\n\
             {{recac-agent-ab-1-3 5f3e}}"
        );
        let adf = comment.to_adf();
        assert_eq!(
            adf["content"][0]["content"][0]["marks"],
            json!([{"type": "strong"}])
        );
        assert_eq!(adf["content"][1]["type"], "bulletList");
        assert_eq!(
            adf["content"][3]["content"][0]["text"],
            "a {b}\n{noformat}x"
        );
        assert!(adf.to_string().contains("recac-agent-ab-1-3 5f3e"));
    }

    #[test]
    fn the_three_ends_read_well() {
        let head = |end, reason: &str, again| {
            let comment = Comment::of(&outcome(end, reason), "", again);
            let wiki = comment.to_wiki();
            let lines: Vec<&str> = wiki.split("\n\n").collect();
            (lines[0].to_owned(), lines[2].to_owned())
        };
        let (first, ask) = head(End::Succeeded, "exit code 0", Again::Without("agent-done"));
        assert_eq!(first, "*The agent succeeded* after 3 attempts.");
        assert!(ask.contains("{{agent-done}}"));
        let why = "stopped because the ticket was closed (Done)";
        let wanting = |closed, label| Again::Wanting { closed, label };
        let (first, _) = head(End::Stopped, why, wanting(true, None));
        assert_eq!(
            first,
            "*The agent was stopped* because the ticket was closed (Done)."
        );
        for (again, expected) in [
            (wanting(true, None), "reopen this ticket."),
            (
                wanting(true, Some("a")),
                "reopen this ticket, and put the label {{a}} on it again.",
            ),
            (
                wanting(false, Some("a")),
                "put the label {{a}} on it again.",
            ),
        ] {
            let (_, ask) = head(End::Stopped, why, again);
            assert_eq!(ask, format!("To have an agent try again, {expected}"));
        }
        let (_, ask) = head(End::Stopped, why, wanting(false, None));
        assert_eq!(ask, "It asks for an agent again, and will get one.");
        let mut never = outcome(End::Failed, "no such image");
        never.run = None;
        let comment = Comment::of(&never, "", Again::Without("l"));
        assert!(comment.marker.starts_with("never started, 2026-"));
        assert!(comment.to_wiki().contains(&comment.marker));
    }

    #[test]
    fn no_text_is_markup_or_obeyed_by_a_terminal() {
        let hostile = "{code}[~admin] !x.png! \u{1b}[31mred\u{1b}[0m \u{7}*b*\r\n|t| {{m}}";
        let comment = Comment::of(&outcome(End::Failed, hostile), hostile, Again::Without("l"));
        let wiki = comment.to_wiki();
        let head = wiki.lines().next().unwrap();
        for markup in ["{code}", "[~", "!x", "*b*", "|t", "{{m"] {
            assert!(!head.contains(&format!(" {markup}")), "{head}");
        }
        assert!(
            head.contains("\\{code\\}\\[\\~admin\\] \\!x.png\\! red \\*b\\*"),
            "{head}"
        );
        assert!(!wiki.contains(['\u{1b}', '\u{7}', '\r']), "{wiki}");
        assert!(wiki.contains("{noformat}\n{code}[~admin] !x.png! red *b*\n|t| {{m}}\n{noformat}"));
    }

    #[test]
    fn a_comment_is_never_too_long() {
        let chars = ["x", "\"", "\\", "\u{1f600}", "ä", "*", "{noformat}"];
        for c in chars {
            for line in [1, 90, 70_000] {
                let tail = format!("{}\n", c.repeat(line)).repeat(70_000 / line + 1);
                let mut end = outcome(End::Failed, &c.repeat(2000));
                end.history = vec![end.history[1].clone(); 500];
                let comment = Comment::of(&end, &tail, Again::Without("l"));
                for body in [
                    json!({"body": comment.to_adf()}),
                    json!({"body": comment.to_wiki()}),
                ] {
                    let size = units(&body.to_string());
                    assert!(size < 32_767, "{c} {line}: {size}");
                    assert!(size > 20_000, "{c} {line}: {size}");
                    assert!(body.to_string().contains(&comment.marker));
                }
                assert!(tail.trim_end().ends_with(last_code(&comment).trim_end()));
            }
        }
    }

    fn last_code(comment: &Comment) -> &str {
        let code = comment.blocks.iter().find_map(|block| match block {
            Block::Code(code) => Some(code.as_str()),
            Block::Text(_) | Block::List(_) => None,
        });
        code.unwrap()
    }
}
