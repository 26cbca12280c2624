//! The wiki markup of Jira Data Center as Markdown.
//!
//! Never refuses a text: what is not markup is text. The markup is that of
//! <https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all>.

use std::borrow::Cow;

use super::markdown::{Gap, List, Mark, Marks, Page, Phrase, clean};

mod inline;
mod macros;
#[cfg(test)]
mod tests;

use macros::{Kind, Macro, Macros};

/// Quotes, panels and cells inside each other beyond this are text.
const DEEPEST: usize = 4;

/// The Markdown of a text.
pub fn markdown(wiki: &str) -> String {
    let text = clean(Cow::Borrowed(wiki));
    let mut page = Page::new(text.len() + text.len() / 8);
    Reader::new(&text, &mut page, 0).read();
    page.finish()
}

/// A list that is open, as deep as its marker is long.
struct Level {
    depth: usize,
    sign: u8,
    list: List,
}

/// Reads a text line by line.
struct Reader<'a, 'p> {
    text: &'a str,
    page: &'p mut Page,
    /// How many quotes, panels and cells are around.
    depth: usize,
    macros: Macros,
    lists: Vec<Level>,
    /// The paragraph, or the text of the item, that is being read.
    phrase: Phrase<'a>,
}

impl<'a> Reader<'a, '_> {
    fn new<'p>(text: &'a str, page: &'p mut Page, depth: usize) -> Reader<'a, 'p> {
        Reader {
            text,
            page,
            depth,
            macros: Macros::default(),
            lists: Vec::new(),
            phrase: Phrase::default(),
        }
    }

    fn read(mut self) {
        let mut at = 0;
        let mut known = 0;
        while at < self.text.len() {
            // One line may hold many macros.
            if known <= at {
                known = self.text[at..]
                    .find('\n')
                    .map_or(self.text.len(), |n| at + n);
            }
            let end = known;
            let line = &self.text[at..end];
            if is_row(line) && self.depth < DEEPEST {
                at = self.table(at);
                continue;
            }
            match self.macros.first(self.text, at, end, self.depth < DEEPEST) {
                Some(found) => {
                    let before = &self.text[at..found.from];
                    if !before.trim().is_empty() {
                        self.line(before);
                    }
                    self.macro_(&found);
                    at = found.end;
                    // What is left of the line is text of its own, but for
                    // the end of it.
                    let rest = &self.text[at..];
                    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                    if rest[blank..].starts_with('\n') {
                        at += blank + 1;
                    }
                }
                None => {
                    self.line(line);
                    at = end + 1;
                }
            }
        }
        self.close_lists(0);
    }

    fn line(&mut self, line: &'a str) {
        let text = line.trim();
        if text.is_empty() {
            self.close_lists(0);
        } else if let Some((level, text)) = heading(text) {
            self.close_lists(0);
            self.page.heading(Gap::Blank, level, phrase(text));
        } else if let Some(text) = text.strip_prefix("bq. ") {
            self.close_lists(0);
            self.page.quote(Gap::Blank);
            self.page.paragraph(Gap::Blank, phrase(text));
            self.page.leave();
        } else if text.len() >= 4 && text.bytes().all(|b| b == b'-') {
            self.close_lists(0);
            self.page.rule(Gap::Blank);
        } else if let Some((marker, text)) = self.marker(text) {
            self.item(marker, text);
        } else {
            if self.phrase.len() > 0 {
                self.phrase.line_break();
            }
            inline::parse(&mut self.phrase, text, None);
        }
    }

    /// The signs and the text of an item.
    fn marker(&self, text: &'a str) -> Option<(&'a [u8], &'a str)> {
        let size = text.bytes().take_while(|b| b"*#-".contains(b)).count();
        let (marker, rest) = text.split_at(size);
        let item = rest.trim_start();
        // Two hyphens are a dash, but in a list of hyphens.
        let dash = size > 1 && marker.bytes().all(|b| b == b'-') && self.lists.is_empty();
        (size > 0 && item.len() < rest.len() && !dash).then_some((marker.as_bytes(), item))
    }

    fn item(&mut self, marker: &[u8], text: &'a str) {
        let depth = marker.len();
        let Some(sign) = marker.last().copied() else {
            return;
        };
        self.close_lists(depth);
        if self
            .lists
            .last()
            .is_some_and(|l| l.depth == depth && l.sign != sign)
        {
            self.close_lists(depth - 1);
        }
        match self.lists.last() {
            Some(level) if level.depth == depth => self.page.leave(),
            Some(_) => self.open_list(Gap::Line, depth, sign),
            None => self.open_list(Gap::Blank, depth, sign),
        }
        if let Some(level) = self.lists.last_mut() {
            self.page.item(&mut level.list, None);
        }
        inline::parse(&mut self.phrase, text, None);
    }

    fn open_list(&mut self, gap: Gap, depth: usize, sign: u8) {
        let number = (sign == b'#').then_some(1);
        let list = self.page.list(gap, number);
        self.lists.push(Level { depth, sign, list });
    }

    /// Ends the text, and the lists deeper than `depth`.
    fn close_lists(&mut self, depth: usize) {
        self.flush();
        while let Some(level) = self.lists.pop_if(|level| level.depth > depth) {
            self.page.leave();
            self.page.end(&level.list);
        }
    }

    /// Ends the text that is being read.
    fn flush(&mut self) {
        let phrase = std::mem::take(&mut self.phrase);
        self.page.paragraph(Gap::Blank, phrase);
    }

    fn macro_(&mut self, found: &Macro<'a>) {
        self.flush();
        let gap = match self.lists.is_empty() {
            true => Gap::Blank,
            false => Gap::Line,
        };
        let title = strong(found.parameter("title").unwrap_or_default());
        match found.kind {
            Kind::Code => {
                self.page.paragraph(gap, title);
                let body = found.body.strip_prefix('\n').unwrap_or(found.body);
                self.page.code(gap, found.language(), body.trim_end());
            }
            Kind::Quote => {
                self.page.quote(gap);
                self.inside(title, found.body);
            }
            Kind::Alert(name) => {
                self.page.alert(gap, name);
                self.inside(title, found.body);
            }
        }
    }

    /// The content of a quote or panel, and its end.
    fn inside(&mut self, title: Phrase<'a>, body: &'a str) {
        self.page.paragraph(Gap::Line, title);
        Reader::new(body, self.page, self.depth + 1).read();
        self.page.leave();
    }

    /// Reads the table that begins with the line at `at`; where it ends.
    fn table(&mut self, mut at: usize) -> usize {
        self.close_lists(0);
        let mut rows = Vec::new();
        let mut header = None;
        while at < self.text.len() {
            let rest = &self.text[at..];
            if !is_row(rest) {
                break;
            }
            let end = end_of_row(rest);
            let row = rest[..end].trim();
            header.get_or_insert(row.starts_with("||"));
            let cells = inline::cells(row).into_iter().map(|cell| {
                let mut page = Page::cell();
                Reader::new(cell, &mut page, DEEPEST).read();
                page.finish()
            });
            rows.push(cells.collect());
            at += end + 1;
        }
        self.page.table(Gap::Blank, header == Some(true), &rows);
        at.min(self.text.len())
    }
}

fn is_row(line: &str) -> bool {
    line.trim_start_matches([' ', '\t']).starts_with('|')
}

/// The size of a row: up to the end of a line that ends with a bar, or before
/// an empty line or the next row.
fn end_of_row(text: &str) -> usize {
    let mut end = 0;
    for line in text.split('\n') {
        let new = is_row(line) || line.trim().is_empty();
        if end > 0 && new {
            return end - 1;
        }
        end += line.len() + 1;
        if line.trim_end().ends_with('|') && (line.trim().len() > 2 || end > line.len() + 1) {
            break;
        }
    }
    end - 1
}

fn heading(text: &str) -> Option<(usize, &str)> {
    let (level, text) = text.strip_prefix('h')?.split_once('.')?;
    let level = match level.as_bytes() {
        [digit @ b'1'..=b'6'] => usize::from(digit - b'0'),
        _ => return None,
    };
    let title = text.trim_start();
    (title.len() < text.len()).then_some((level, title))
}

fn phrase(text: &str) -> Phrase<'_> {
    let mut phrase = Phrase::default();
    inline::parse(&mut phrase, text, None);
    phrase
}

fn strong(text: &str) -> Phrase<'_> {
    let mut phrase = Phrase::default();
    phrase.text(text, Marks::default().with(Mark::Strong), None);
    phrase
}
