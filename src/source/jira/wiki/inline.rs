//! The markup inside a line, and what parts the cells of a row.
//!
//! Goes over the text once. A sign whose partner is missing stays a sign.

use super::{Mark, Marks, Phrase, macros::Macros};
use crate::source::jira::markdown::url_around;

/// The signs around a marked text.
fn mark_of(sign: u8) -> Option<Mark> {
    match sign {
        b'*' => Some(Mark::Strong),
        b'_' | b'?' => Some(Mark::Em),
        b'-' => Some(Mark::Strike),
        b'+' => Some(Mark::Underline),
        b'^' => Some(Mark::Sup),
        b'~' => Some(Mark::Sub),
        _ => None,
    }
}

/// Appends what one line says; `link` is the link it is the text of.
pub fn parse<'a>(phrase: &mut Phrase<'a>, line: &'a str, link: Option<usize>) {
    let mut scan = Scan {
        phrase,
        line,
        link,
        done: 0,
        open: Vec::new(),
        codeless: false,
    };
    scan.all();
}

struct Scan<'a, 'p> {
    phrase: &'p mut Phrase<'a>,
    line: &'a str,
    link: Option<usize>,
    /// Up to here the line is in the phrase.
    done: usize,
    /// The signs that wait for their partners, with the pieces they are now.
    open: Vec<(u8, usize)>,
    /// Whether no monospace ends on the rest of the line.
    codeless: bool,
}

impl<'a> Scan<'a, '_> {
    fn all(&mut self) {
        let mut at = 0;
        while let Some(b) = self.line.as_bytes().get(at) {
            let read = match b {
                b'\\' => self.backslash(at),
                b'{' => self.brace(at),
                b'[' => self.bracket(at),
                b'!' => self.image(at),
                b':' => self.url(at),
                b'*' | b'_' | b'-' | b'+' | b'^' | b'~' | b'?' => self.sign(at, *b),
                _ => 0,
            };
            at += read.max(1);
        }
        self.text_to(self.line.len());
    }

    /// Puts the text up to here into the phrase.
    fn text_to(&mut self, at: usize) {
        if self.done < at {
            self.phrase.single(&self.line[self.done..at], self.link);
        }
        self.done = at;
    }

    /// Puts the text up to the markup at this place into the phrase, and
    /// leaves out the markup, whose size it gives back.
    fn skip(&mut self, at: usize, size: usize) -> usize {
        self.text_to(at);
        self.done = at + size;
        size
    }

    // Each of these looks at what stands at a place and gives back how much
    // of it need not be looked at again, which is text if it is not skipped.

    fn backslash(&mut self, at: usize) -> usize {
        let mut rest = self.line[at + 1..].chars();
        match (rest.next(), rest.next()) {
            // Not the beginning of `\\host\share`.
            (Some('\\'), Some(c)) if c.is_alphanumeric() && self.before(at).is_whitespace() => 2,
            (Some('\\'), _) => {
                self.skip(at, 2);
                self.phrase.line_break();
                2
            }
            (Some(c), _) if c.is_ascii_punctuation() => self.skip(at, 1) + 1,
            _ => 0,
        }
    }

    fn brace(&mut self, at: usize) -> usize {
        let rest = &self.line[at..];
        if let Some(inside) = rest.strip_prefix("{{") {
            return self.code(at, inside);
        }
        if let [b'{', sign, b'}', ..] = rest.as_bytes()
            && mark_of(*sign).is_some()
        {
            self.toggle(at, *sign, 3);
            return 3;
        }
        let known = ["{color}", "{color:", "{anchor:"];
        let Some(name) = known.iter().find(|name| rest.starts_with(**name)) else {
            return 0;
        };
        let given = &rest[name.len() - 1..];
        let size = match given.find(['{', '}']) {
            Some(n) if given[n..].starts_with('}') => name.len() + n,
            _ => return 0,
        };
        self.skip(at, size)
    }

    fn code(&mut self, at: usize, inside: &'a str) -> usize {
        if self.codeless {
            return 0;
        }
        let Some(mut size) = inside.find("}}") else {
            self.codeless = true;
            return 0;
        };
        // A brace of the code itself: `{{${x}}}`.
        size += usize::from(inside[size..].starts_with("}}}"));
        self.skip(at, size + 4);
        let code = Marks::default().with(Mark::Code);
        self.phrase.text(inside[..size].trim(), code, self.link);
        size + 4
    }

    fn bracket(&mut self, at: usize) -> usize {
        let inside = &self.line[at + 1..];
        let inside = match inside.find(['[', ']']) {
            Some(n) if inside[n..].starts_with(']') && self.link.is_none() => &inside[..n],
            _ => return 0,
        };
        let (alias, target, title) = parts(inside);
        if target.is_empty() {
            return 0;
        }
        let size = self.skip(at, inside.len() + 2);
        if let Some(file) = target.strip_prefix('^') {
            self.named(alias, format!("[attachment: {file}]"));
        } else if let Some(user) = target.strip_prefix('~') {
            let user = user.strip_prefix("accountid:").unwrap_or(user);
            self.named(alias, format!("@{user}"));
        } else if alias.is_empty() && target.starts_with('#') {
            parse(self.phrase, &target[1..], None);
        } else if title.is_empty() && (alias.is_empty() || alias == target) {
            self.phrase.url(target, Marks::default(), None);
        } else {
            let link = self.phrase.link(target, title);
            let pieces = self.phrase.len();
            parse(self.phrase, alias, Some(link));
            if !self.phrase.says_from(pieces) {
                // So that the link is there, with its address as its text.
                self.phrase.single(" ", Some(link));
            }
        }
        size
    }

    /// What is no link in Markdown, behind the text it has as one.
    fn named(&mut self, alias: &'a str, name: String) {
        parse(self.phrase, alias, None);
        let name = match alias {
            "" => name,
            _ => format!(" ({name})"),
        };
        self.phrase.single(name, None);
    }

    fn image(&mut self, at: usize) -> usize {
        let inside = &self.line[at + 1..];
        let begins = !self.before(at).is_alphanumeric() && !inside.starts_with([' ', '!', '=']);
        let Some(size) = inside.find('!').filter(|_| begins) else {
            return 0;
        };
        let name = inside[..size].split('|').next().unwrap_or_default().trim();
        let is_file = name.rsplit_once('.').is_some_and(|(name, ending)| {
            !name.is_empty()
                && (1..=5).contains(&ending.len())
                && ending.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let is_url = is_address(name);
        if !is_file && !is_url {
            return 0;
        }
        self.skip(at, size + 2);
        if is_url {
            let mut given = inside[..size].split(['|', ',']);
            let alt = given.find_map(|p| p.trim().strip_prefix("alt="));
            self.phrase.image(alt.unwrap_or_default(), name, self.link);
        } else {
            let text = format!("[attachment: {name}]");
            self.phrase.single(text, self.link);
        }
        size + 2
    }

    /// An address keeps its signs.
    fn url(&mut self, at: usize) -> usize {
        let Some((_, mut to)) = url_around(self.line, self.done, at) else {
            return 0;
        };
        let ends = |n: &usize| {
            let rest = &self.line[*n..];
            rest.starts_with(']') || rest.starts_with("{color")
        };
        let mut inside = (at + 3..to).filter(|n| self.line.is_char_boundary(*n));
        to = inside.find(ends).unwrap_or(to);
        to - at
    }

    fn sign(&mut self, at: usize, sign: u8) -> usize {
        let b = self.line.as_bytes();
        let run = b[at..].iter().take_while(|x| **x == sign).count();
        let size = if sign == b'?' { 2 } else { 1 };
        let before = self.before(at);
        let after = self.line[at + run..].chars().next().unwrap_or('\n');
        // As a face, such as `(-)`, it is none, nor in a longer run.
        if run != size || before == '(' && after == ')' {
            return run;
        }
        let waits = self.open.iter().any(|(open, _)| *open == sign);
        let closes = waits
            && !before.is_whitespace()
            && !after.is_alphanumeric()
            && !matches!(after, '_' | '/' | '=');
        let opens = !waits
            && !before.is_alphanumeric()
            && !matches!(
                before,
                '/' | '\\' | '=' | '@' | '.' | '&' | '%' | '$' | '#' | '<'
            )
            && !after.is_whitespace()
            && !matches!(
                after,
                '/' | '>' | '=' | '.' | ',' | ';' | ':' | ')' | ']' | '}'
            );
        if closes || opens {
            self.toggle(at, sign, size);
        }
        size
    }

    /// Opens a mark, or closes the one that is open.
    fn toggle(&mut self, at: usize, sign: u8, size: usize) {
        self.skip(at, size);
        let Some(opener) = self.open.iter().rposition(|(open, _)| *open == sign) else {
            let signs = &self.line[at..at + size];
            let piece = self.phrase.single(signs, self.link);
            self.open.push((sign, piece));
            return;
        };
        let (_, piece) = self.open[opener];
        self.open.truncate(opener);
        self.phrase.erase(piece);
        if let Some(mark) = mark_of(sign) {
            self.phrase.mark_from(piece, mark);
        }
    }

    fn before(&self, at: usize) -> char {
        self.line[..at].chars().next_back().unwrap_or('\n')
    }
}

/// What stands between the bars of a link: its text, where it leads, and a
/// hint. A last part such as `smart-link` says how it looks.
fn parts(inside: &str) -> (&str, &str, &str) {
    let rest = match inside.rsplit_once('|') {
        Some((rest, look)) if look.starts_with("smart-") => rest,
        _ => inside,
    };
    let mut at = 0;
    for part in rest.split('|') {
        let is_target = at > 0 || !rest.contains('|');
        let name = part.len() > 1 && part.starts_with(['^', '~', '#']);
        if is_target && (name || is_address(part.trim())) {
            let alias = rest[..at].strip_suffix('|').unwrap_or_default();
            if part.starts_with(['^', '~']) {
                return (alias.trim(), rest[at..].trim(), "");
            }
            let hint = rest[at + part.len()..].strip_prefix('|');
            return (alias.trim(), part.trim(), hint.unwrap_or_default().trim());
        }
        at += part.len() + 1;
    }
    ("", "", "")
}

fn is_address(text: &str) -> bool {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => rest,
        _ => match text.strip_prefix("mailto:") {
            Some(rest) => rest,
            None => return text.starts_with("www.") || text.starts_with('/') && text.len() > 1,
        },
    };
    !rest.is_empty()
}

/// The cells of a row that begins with a bar. Bars in links, images, monospace
/// and code belong to them.
pub fn cells(row: &str) -> Vec<&str> {
    let b = row.as_bytes();
    let mut cells = Vec::new();
    let mut from = 0;
    let mut at = 0;
    let mut codeless = false;
    // The size of what is closed by `end` on the same line, if it is.
    let closed = |at: usize, end: &[char]| {
        let rest = &row[at..];
        rest.find(end)
            .filter(|n| rest[*n..].starts_with(end[0]))
            .map_or(0, |n| n + 1)
    };
    let mut macros = Macros::default();
    let mut code = macros.first(row, 0, row.len(), false);
    while at < b.len() {
        if code.as_ref().is_some_and(|code| code.from < at) {
            code = macros.first(row, at, row.len(), false);
        }
        at += match b[at] {
            b'{' if code.as_ref().is_some_and(|code| code.from == at) => {
                code.as_ref().map_or(1, |code| code.end - at)
            }
            b'\\' => 2,
            b'[' => 1 + closed(at + 1, &[']', '[', '\n']),
            b'!' => 1 + closed(at + 1, &['!', '\n', ' ']),
            b'{' if !codeless && b[at..].starts_with(b"{{") => match row[at..].find("}}") {
                Some(size) => size + 2,
                None => {
                    codeless = true;
                    2
                }
            },
            b'|' => {
                if at > 0 {
                    cells.push(row[from..at].trim());
                }
                let size = if b[at..].starts_with(b"||") { 2 } else { 1 };
                from = at + size;
                size
            }
            _ => 1,
        };
    }
    let last = row[from.min(row.len())..].trim();
    if !last.is_empty() || cells.is_empty() {
        cells.push(last);
    }
    cells
}
