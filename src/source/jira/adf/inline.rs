//! What stands inside a line: text and its marks, cards, people, dates.

use super::{Doc, Mark, Marks, Node, Phrase, Stamp};

/// Whether a node is known to stand inside a line.
pub fn is_inline(node: &Node<'_>) -> bool {
    matches!(
        &*node.kind,
        "text"
            | "hardBreak"
            | "inlineCard"
            | "mention"
            | "emoji"
            | "date"
            | "status"
            | "placeholder"
            | "inlineExtension"
            | "media"
            | "mediaInline"
    )
}

/// The content of a block.
pub fn phrase<'a>(doc: &'a Doc<'a>, nodes: &'a [Node<'a>]) -> Phrase<'a> {
    let mut phrase = Phrase::default();
    collect(&mut phrase, doc, nodes);
    phrase
}

/// Appends nodes.
pub fn collect<'a>(phrase: &mut Phrase<'a>, doc: &'a Doc<'a>, nodes: &'a [Node<'a>]) {
    for node in nodes {
        one(phrase, doc, node);
    }
}

fn one<'a>(phrase: &mut Phrase<'a>, doc: &'a Doc<'a>, node: &'a Node<'a>) {
    let (marks, link) = marks(phrase, doc, node);
    let attr = |name| node.attr(name).map_or("", |value| value);
    match &*node.kind {
        "text" => phrase.text(&*node.text, marks, link),
        "hardBreak" => phrase.line_break(),
        "mention" => {
            let name = match attr("text") {
                "" => attr("id"),
                text => text,
            };
            match name.strip_prefix('@').unwrap_or(name) {
                "" => {}
                name => phrase.text(format!("@{name}"), marks, link),
            }
        }
        "emoji" => {
            let text = match attr("text") {
                "" => attr("shortName"),
                text => text,
            };
            phrase.text(text, marks, link);
        }
        "date" => phrase.text(day(attr("timestamp")), marks, link),
        "status" => match attr("text") {
            "" => {}
            text => phrase.text(format!("[{text}]"), marks, link),
        },
        "media" | "mediaInline" => {
            let url = attr("url");
            let name = match attr("alt") {
                "" => attr("id"),
                alt => alt,
            };
            match (url, name) {
                ("", "") => {}
                ("", name) => phrase.text(format!("[attachment: {name}]"), marks, link),
                (url, _) => phrase.image(attr("alt"), url, link),
            }
        }
        _ if is_inline(node) || is_card(node) => own_text_of(phrase, node, marks, link),
        // A block where none may be, or what is not known.
        _ => {
            let block = !doc.content(node).iter().all(is_inline);
            if block {
                phrase.line_break();
            }
            own_text_of(phrase, node, marks, link);
            collect(phrase, doc, doc.content(node));
            if block {
                phrase.line_break();
            }
            return;
        }
    }
    collect(phrase, doc, doc.content(node));
}

fn is_card(node: &Node<'_>) -> bool {
    matches!(&*node.kind, "inlineCard" | "blockCard" | "embedCard")
}

/// What a node says besides its content.
pub fn own_text<'a>(phrase: &mut Phrase<'a>, doc: &'a Doc<'a>, node: &'a Node<'a>) {
    let (marks, link) = marks(phrase, doc, node);
    own_text_of(phrase, node, marks, link);
}

fn own_text_of<'a>(phrase: &mut Phrase<'a>, node: &'a Node<'a>, marks: Marks, link: Option<usize>) {
    if !node.text.is_empty() {
        phrase.text(&*node.text, marks, link);
    }
    if let Some(url) = node.attr("url") {
        phrase.url(&**url, marks, link);
    } else if let Some(text) = ["text", "title", "name"].iter().find_map(|n| node.attr(n)) {
        phrase.text(&**text, marks, link);
    }
}

/// The marks on a node that Markdown knows, and its link.
fn marks<'a>(
    phrase: &mut Phrase<'a>,
    doc: &'a Doc<'a>,
    node: &'a Node<'a>,
) -> (Marks, Option<usize>) {
    let mut marks = Marks::default();
    let mut link = None;
    for mark in doc.marks(node) {
        let known = match &*mark.kind {
            "strong" => Mark::Strong,
            "em" => Mark::Em,
            "strike" => Mark::Strike,
            "underline" => Mark::Underline,
            "code" => Mark::Code,
            "subsup" => match mark.attr("type").map(|t| &**t) {
                Some("sub") => Mark::Sub,
                _ => Mark::Sup,
            },
            "link" => {
                let attr = |name| mark.attr(name).map_or("", |value| &**value);
                link = Some(phrase.link(attr("href"), attr("title")));
                continue;
            }
            // Colours, sizes, borders, alignment, remarks at the margin.
            _ => continue,
        };
        marks = marks.with(known);
    }
    (marks, link)
}

/// The day, in UTC, of a number of milliseconds; anything else as it is.
fn day(timestamp: &str) -> String {
    match timestamp.parse() {
        Ok(ms) => {
            let time = Stamp(ms).to_string();
            time.split('T').next().unwrap_or_default().to_owned()
        }
        Err(_) => timestamp.to_owned(),
    }
}

/// The text of nodes without anything around it, for code.
pub fn plain(out: &mut String, doc: &Doc<'_>, nodes: &[Node<'_>]) {
    for node in nodes {
        match &*node.kind {
            "hardBreak" => out.push('\n'),
            "text" => out.push_str(&node.text),
            _ => {
                out.push_str(&node.text);
                let own = ["url", "text"].iter().find_map(|name| node.attr(name));
                out.push_str(own.map_or("", |text| text));
            }
        }
        plain(out, doc, doc.content(node));
    }
}
