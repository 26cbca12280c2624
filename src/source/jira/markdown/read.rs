//! Reads Markdown back with a parser that is not ours, for tests.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a reader of the Markdown sees.
#[derive(Debug, Default)]
pub struct Read {
    /// Pieces of text, each with what is around it: names of marks, and
    /// links as `link ADDRESS`.
    pub runs: Vec<(String, BTreeSet<String>)>,
    /// Where links and images lead.
    pub links: Vec<String>,
    /// The blocks, by the names of their tags, as they begin.
    pub blocks: Vec<String>,
    /// Code blocks: language and text.
    pub code: Vec<(String, String)>,
}

impl Read {
    /// All text, without any white space.
    pub fn text(&self) -> String {
        self.runs.iter().map(|(text, _)| squeeze(text)).collect()
    }

    /// What is around the text that holds `word`.
    pub fn around(&self, word: &str) -> Option<&BTreeSet<String>> {
        let mut runs = self.runs.iter();
        runs.find(|(text, _)| text.contains(word)).map(|(_, m)| m)
    }
}

/// The text without any white space.
pub fn squeeze(text: &str) -> String {
    text.split_whitespace().collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of it is not looked at"
)]
pub fn read(markdown: &str) -> Read {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM;
    let mut read = Read::default();
    let mut open: Vec<String> = Vec::new();
    let mut code = None;
    for event in Parser::new_ext(markdown, options) {
        let around = || open.iter().cloned().collect::<BTreeSet<_>>();
        match event {
            Event::Start(tag) => match tag {
                Tag::Strong => open.push("strong".into()),
                Tag::Emphasis => open.push("em".into()),
                Tag::Strikethrough => open.push("del".into()),
                Tag::Link { dest_url, .. } => {
                    read.links.push(dest_url.to_string());
                    open.push(format!("link {dest_url}"));
                }
                Tag::Image { dest_url, .. } => read.links.push(dest_url.to_string()),
                Tag::CodeBlock(kind) => {
                    let language = match kind {
                        pulldown_cmark::CodeBlockKind::Fenced(name) => name.to_string(),
                        pulldown_cmark::CodeBlockKind::Indented => "indented".into(),
                    };
                    read.blocks.push("code".into());
                    code = Some((language, String::new()));
                }
                tag => {
                    let name = format!("{tag:?}");
                    let end = name.find([' ', '(', '{']).unwrap_or(name.len());
                    read.blocks.push(name[..end].to_lowercase());
                }
            },
            Event::End(
                TagEnd::Strong | TagEnd::Emphasis | TagEnd::Strikethrough | TagEnd::Link,
            ) => {
                open.pop();
            }
            Event::End(TagEnd::CodeBlock) => read.code.extend(code.take()),
            Event::Text(text) => {
                if let Some((_, code)) = &mut code {
                    code.push_str(&text);
                }
                // One word may come in pieces.
                let around = around();
                match read.runs.last_mut() {
                    Some((last, m)) if *m == around => last.push_str(&text),
                    _ => read.runs.push((text.to_string(), around)),
                }
            }
            Event::Code(text) => {
                let mut around = around();
                around.insert("code".into());
                read.runs.push((text.to_string(), around));
            }
            Event::InlineHtml(tag) | Event::Html(tag) => match tag.trim_matches(['<', '>']) {
                "br" => {}
                name => match name.strip_prefix('/') {
                    Some(name) => {
                        assert_eq!(open.pop().as_deref(), Some(name), "in {markdown}");
                    }
                    None => open.push(name.to_owned()),
                },
            },
            Event::SoftBreak | Event::HardBreak => read.runs.push(("\n".into(), around())),
            Event::Rule => read.blocks.push("rule".into()),
            Event::TaskListMarker(done) => read.blocks.push(format!("task {done}")),
            _ => {}
        }
    }
    read
}

/// Texts that are full of signs, each with a word of its own.
pub fn nasty(below: &mut dyn FnMut(usize) -> usize, number: usize) -> String {
    const PIECES: [&str; 76] = [
        "*",
        "_",
        "**",
        "__",
        "~",
        "~~",
        "`",
        "``",
        "```",
        "[",
        "]",
        "(",
        ")",
        "](x)",
        "![",
        "!",
        "<",
        ">",
        "<b>",
        "</b>",
        "<!--",
        "&amp;",
        "&#42;",
        "&",
        ";",
        "#",
        "# ",
        "## ",
        "-",
        "- ",
        "---",
        "+",
        "+ ",
        "1. ",
        "2) ",
        "=",
        "===",
        "|",
        "| --- |",
        "\\",
        "\\\\",
        "\\*",
        ":",
        "://",
        "https://h.example/a_b",
        "https://h.example/_a*b~c",
        "http://x/(y)",
        "a_b",
        "_a",
        "b_",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "    ",
        "é",
        "漢字",
        "「",
        "🦀",
        "\u{a0}",
        "\u{200b}",
        "...",
        "$",
        "@",
        "{",
        "}",
        "{{",
        "}}",
        "[x] ",
        "[ ] ",
        "[a]: b",
        "{code}",
        "h1. ",
        "^",
        "\"",
    ];
    let mut text = String::new();
    for _ in 0..below(6) {
        text += PIECES[below(PIECES.len())];
    }
    text += &format!("w{number}w");
    for _ in 0..below(6) {
        text += PIECES[below(PIECES.len())];
    }
    text
}
