//! The documents of Jira Cloud, in Atlassian Document Format, as Markdown.
//!
//! Never refuses a document for what is in it: what is unknown or broken is
//! its text. The types of nodes and marks are those of the schema in the npm
//! package `@atlaskit/adf-schema`
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>).

use self::node::{Doc, Node};
use super::markdown::{Gap, Mark, Marks, Page, Phrase};
use crate::core::Stamp;

mod inline;
mod node;
#[cfg(test)]
mod tests;

/// The Markdown of a document, given as JSON. A plain string is Markdown
/// already; `null` is an empty document.
///
/// # Errors
/// If the text is not JSON, or nested deeper than 128 levels.
pub fn markdown(json: &str) -> Result<String, String> {
    let doc = Doc::read(json).map_err(|e| match e.to_string().starts_with("recursion limit") {
        true => "it is nested too deep".to_owned(),
        false => format!("it is no document: {e}"),
    })?;
    if json.trim_start().starts_with('"') {
        return Ok(doc.root.text.into_owned());
    }
    let mut page = Page::new(json.len() / 2);
    let root = std::slice::from_ref(&doc.root);
    blocks(&mut page, &doc, root, Gap::Blank, Gap::Blank);
    Ok(page.finish())
}

/// Nodes one below the other. What can only stand inside a line is put in
/// paragraphs. `first` stands before the first block, `list` before lists.
fn blocks(page: &mut Page, doc: &Doc<'_>, nodes: &[Node<'_>], first: Gap, list: Gap) {
    let mut gap = first;
    let mut rest = nodes;
    while let Some(node) = rest.first() {
        let size = rest.iter().take_while(|n| inline::is_inline(n)).count();
        if size > 0 {
            let mut phrase = Phrase::default();
            inline::collect(&mut phrase, doc, &rest[..size]);
            page.paragraph(gap, phrase);
        } else {
            block(page, doc, node, gap, list);
        }
        gap = Gap::Blank;
        rest = &rest[size.max(1)..];
    }
}

fn block(page: &mut Page, doc: &Doc<'_>, node: &Node<'_>, gap: Gap, list: Gap) {
    match &*node.kind {
        "paragraph" | "caption" => page.paragraph(gap, inline::phrase(doc, doc.content(node))),
        "heading" => {
            let level = node.number("level").unwrap_or(1).clamp(1, 6);
            let level = usize::try_from(level).unwrap_or(1);
            page.heading(gap, level, inline::phrase(doc, doc.content(node)));
        }
        "codeBlock" => {
            let mut code = String::new();
            inline::plain(&mut code, doc, doc.content(node));
            let language = node.attr("language").map_or("", |l| l);
            page.code(gap, language, &code);
        }
        "rule" => page.rule(gap),
        "blockquote" => {
            page.quote(gap);
            blocks(page, doc, doc.content(node), Gap::Blank, Gap::Blank);
            page.leave();
        }
        "panel" => {
            let kind = node.attr("panelType").map_or("", |kind| kind);
            page.alert(gap, alert(kind));
            // Only text is sure to be read as text right below the kind.
            let text = doc
                .content(node)
                .first()
                .is_some_and(|n| n.kind == "paragraph");
            let first = if text { Gap::Line } else { Gap::Blank };
            blocks(page, doc, doc.content(node), first, Gap::Blank);
            page.leave();
        }
        "expand" | "nestedExpand" => {
            let mut title = Phrase::default();
            if let Some(text) = node.attr("title") {
                title.text(&**text, Marks::default().with(Mark::Strong), None);
            }
            page.paragraph(gap, title);
            blocks(page, doc, doc.content(node), gap, list);
        }
        "bulletList" => items(page, doc, node, list, None),
        "orderedList" => items(
            page,
            doc,
            node,
            list,
            Some(node.number("order").unwrap_or(1)),
        ),
        "taskList" | "decisionList" => items(page, doc, node, list, None),
        "mediaGroup" => {
            let mut phrase = Phrase::default();
            for media in doc.content(node) {
                inline::collect(&mut phrase, doc, std::slice::from_ref(media));
                phrase.line_break();
            }
            page.paragraph(gap, phrase);
        }
        "table" => table(page, doc, node, gap),
        "syncBlock" => {
            let mut phrase = Phrase::default();
            let id = node.attr("resourceId").map_or("", |id| id);
            let text = format!("[synced block {id}]");
            phrase.text(text, Marks::default(), None);
            page.paragraph(gap, phrase);
        }
        // The document itself, columns, what extensions hold, and what is
        // not known.
        _ => {
            let mut said = Phrase::default();
            inline::own_text(&mut said, doc, node);
            page.paragraph(gap, said);
            blocks(page, doc, doc.content(node), gap, list);
        }
    }
}

/// What GitHub calls the kinds of panels.
fn alert(panel: &str) -> &'static str {
    match panel {
        "tip" | "success" => "TIP",
        "warning" => "WARNING",
        "error" => "CAUTION",
        _ => "NOTE",
    }
}

fn items(page: &mut Page, doc: &Doc<'_>, node: &Node<'_>, gap: Gap, number: Option<u64>) {
    let mut list = page.list(gap, number);
    for child in doc.content(node) {
        if is_list(child) && page.has_items(&list) {
            page.below(&list);
            block(page, doc, child, Gap::Line, Gap::Line);
            page.leave();
            continue;
        }
        let task = match &*child.kind {
            "taskItem" | "blockTaskItem" => {
                Some(child.attr("state").is_some_and(|state| state == "DONE"))
            }
            _ => None,
        };
        page.item(&mut list, task);
        match &*child.kind {
            "listItem" | "taskItem" | "blockTaskItem" => {
                blocks(page, doc, doc.content(child), Gap::Blank, Gap::Line);
            }
            "decisionItem" => {
                let mut phrase = Phrase::default();
                phrase.text("Decision: ", Marks::default(), None);
                inline::collect(&mut phrase, doc, doc.content(child));
                page.paragraph(Gap::Blank, phrase);
            }
            _ => blocks(
                page,
                doc,
                std::slice::from_ref(child),
                Gap::Blank,
                Gap::Line,
            ),
        }
        page.leave();
    }
    page.end(&list);
}

fn is_list(node: &Node<'_>) -> bool {
    matches!(
        &*node.kind,
        "bulletList" | "orderedList" | "taskList" | "decisionList"
    )
}

/// Cells that reach over more columns than this, or down from a column behind
/// it, are not followed, so that no table grows far beyond its text.
const WIDEST: usize = 50;

fn table(page: &mut Page, doc: &Doc<'_>, node: &Node<'_>, gap: Gap) {
    let mut rows = Vec::new();
    // For each column, how many rows a cell from above still reaches down.
    let mut from_above = [0_u64; WIDEST];
    for row in doc.content(node) {
        let mut cells: Vec<String> = Vec::new();
        let one = std::slice::from_ref(row);
        for cell in if row.kind == "tableRow" {
            doc.content(row)
        } else {
            one
        } {
            skip(&mut cells, &mut from_above);
            let mut inside = Page::cell();
            match &*cell.kind {
                "tableCell" | "tableHeader" => {
                    blocks(&mut inside, doc, doc.content(cell), Gap::Line, Gap::Line);
                }
                _ => blocks(
                    &mut inside,
                    doc,
                    std::slice::from_ref(cell),
                    Gap::Line,
                    Gap::Line,
                ),
            }
            let width = cell.number("colspan").unwrap_or(1).clamp(1, WIDEST as u64);
            let height = cell.number("rowspan").unwrap_or(1);
            cells.push(inside.finish());
            for column in 0..width {
                if let Some(down) = from_above.get_mut(cells.len() - 1) {
                    *down = height.saturating_sub(1);
                }
                if column + 1 < width {
                    cells.push(String::new());
                }
            }
        }
        skip(&mut cells, &mut from_above);
        rows.push(cells);
    }
    let header = doc.content(node).first().is_some_and(|row| {
        !doc.content(row).is_empty()
            && doc
                .content(row)
                .iter()
                .all(|cell| cell.kind == "tableHeader")
    });
    page.table(gap, header, &rows);
}

/// Leaves the place free that cells from above reach into.
fn skip(cells: &mut Vec<String>, from_above: &mut [u64; WIDEST]) {
    while let Some(down) = from_above.get_mut(cells.len()).filter(|down| **down > 0) {
        *down -= 1;
        cells.push(String::new());
    }
}
