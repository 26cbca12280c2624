//! The text inside a block: words with marks, code, links, images, breaks.
//!
//! Marks are written so that they are read as marks: spaces at their edges
//! stand outside, equal neighbours are one, and where the stars or underscores
//! would not be taken for marks, tags are.

use std::borrow::Cow;

use super::{escape, page::Page};

/// What a piece of text can be besides text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Struck through.
    Strike,
    /// Underlined.
    Underline,
    /// Important, usually bold.
    Strong,
    /// Stressed, usually italic.
    Em,
    /// Below the line.
    Sub,
    /// Above the line.
    Sup,
    /// Code; of texts only.
    Code,
}

/// Those that stand around a text, from the outside in; links are around
/// them all.
const AROUND: [Mark; 6] = [
    Mark::Strike,
    Mark::Underline,
    Mark::Strong,
    Mark::Em,
    Mark::Sub,
    Mark::Sup,
];

impl Mark {
    /// The signs that it is written with, and the tag where they would not be
    /// taken for it.
    fn written(self) -> (&'static str, &'static str) {
        match self {
            Mark::Strike => ("~~", "del"),
            Mark::Strong => ("**", "strong"),
            Mark::Em => ("_", "em"),
            Mark::Underline => ("", "u"),
            Mark::Sub => ("", "sub"),
            Mark::Sup => ("", "sup"),
            Mark::Code => ("", "code"),
        }
    }
}

/// Whether marks are written with a tag of this name.
pub fn is_tag(name: &str) -> bool {
    AROUND.iter().any(|mark| mark.written().1 == name)
}

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// This set with one more.
    #[must_use]
    pub fn with(self, mark: Mark) -> Marks {
        Marks(self.0 | 1 << mark as u8)
    }

    fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u8) != 0
    }
}

enum What<'a> {
    Text(Cow<'a, str>),
    Code(Cow<'a, str>),
    /// An address that is its own text.
    Url(Cow<'a, str>),
    Image {
        alt: Cow<'a, str>,
        url: Cow<'a, str>,
    },
    Break,
}

struct Piece<'a> {
    what: What<'a>,
    marks: Marks,
    link: Option<usize>,
}

struct Link<'a> {
    url: Cow<'a, str>,
    title: Cow<'a, str>,
}

/// The content of a block, piece by piece.
#[derive(Default)]
pub struct Phrase<'a> {
    pieces: Vec<Piece<'a>>,
    links: Vec<Link<'a>>,
}

impl<'a> Phrase<'a> {
    /// Text; its newlines are line breaks.
    pub fn text(&mut self, text: impl Into<Cow<'a, str>>, marks: Marks, link: Option<usize>) {
        let text = text.into();
        if text.is_empty() {
            return;
        }
        if marks.has(Mark::Code) {
            let marks = Marks(marks.0 & !(1 << Mark::Code as u8));
            return self.add(What::Code(text), marks, link);
        }
        match self.pieces.last_mut() {
            Some(Piece {
                what: What::Text(last),
                marks: m,
                link: l,
            }) if *m == marks && *l == link => last.to_mut().push_str(&text),
            _ => self.add(What::Text(text), marks, link),
        }
    }

    /// An address that is its own text.
    pub fn url(&mut self, url: impl Into<Cow<'a, str>>, marks: Marks, link: Option<usize>) {
        self.add(What::Url(url.into()), marks, link);
    }

    /// An image somewhere else.
    pub fn image(
        &mut self,
        alt: impl Into<Cow<'a, str>>,
        url: impl Into<Cow<'a, str>>,
        link: Option<usize>,
    ) {
        let (alt, url) = (alt.into(), url.into());
        self.add(What::Image { alt, url }, Marks::default(), link);
    }

    /// The end of a line.
    pub fn line_break(&mut self) {
        self.add(What::Break, Marks::default(), None);
    }

    /// A link, to be given with the pieces that are its text.
    pub fn link(&mut self, url: impl Into<Cow<'a, str>>, title: impl Into<Cow<'a, str>>) -> usize {
        let (url, title) = (url.into(), title.into());
        match self.links.last() {
            Some(last) if last.url == url && last.title == title => {}
            _ => self.links.push(Link { url, title }),
        }
        self.links.len() - 1
    }

    /// The number of pieces.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether the pieces from the one with this number on say anything.
    pub fn says_from(&self, first: usize) -> bool {
        !self.pieces.iter().skip(first).all(Piece::is_space)
    }

    /// Marks the pieces from the one with this number on.
    pub fn mark_from(&mut self, first: usize, mark: Mark) {
        for piece in self.pieces.iter_mut().skip(first) {
            piece.marks = piece.marks.with(mark);
        }
    }

    /// Takes the text out of the piece with this number.
    pub fn erase(&mut self, piece: usize) {
        if let Some(piece) = self.pieces.get_mut(piece) {
            piece.what = What::Text(Cow::Borrowed(""));
        }
    }

    /// A text that is not joined with the one before; its number.
    pub fn single(&mut self, text: impl Into<Cow<'a, str>>, link: Option<usize>) -> usize {
        self.add(What::Text(text.into()), Marks::default(), link);
        self.pieces.len() - 1
    }

    /// Whether it says nothing at all.
    pub fn is_blank(&self) -> bool {
        self.pieces
            .iter()
            .all(|piece| piece.is_space() && piece.link.is_none())
    }

    fn add(&mut self, what: What<'a>, marks: Marks, link: Option<usize>) {
        self.pieces.push(Piece { what, marks, link });
    }
}

impl Piece<'_> {
    fn is_space(&self) -> bool {
        match &self.what {
            What::Text(text) => text.chars().all(char::is_whitespace),
            What::Break => true,
            What::Code(code) => code.is_empty(),
            What::Url(_) | What::Image { .. } => false,
        }
    }

    /// What it shares with its neighbours at this level, if anything: level 0
    /// is the link, the others are [`AROUND`].
    fn shared(&self, level: usize) -> Option<usize> {
        match level.checked_sub(1) {
            None => self.link,
            Some(n) => AROUND
                .get(n)
                .filter(|mark| self.marks.has(**mark))
                .map(|_| 0),
        }
    }

    /// The first character that is written for it, from this level on.
    fn first(&self, level: usize) -> char {
        // Space goes before the marks.
        if let What::Text(text) = &self.what
            && let Some(space) = text.chars().next().filter(|c| c.is_whitespace())
        {
            return space;
        }
        if level == 0 && self.link.is_some() {
            return '[';
        }
        if (level.max(1)..=AROUND.len()).any(|level| self.shared(level).is_some()) {
            return '*';
        }
        match &self.what {
            What::Text(text) => text.chars().next().unwrap_or('\n'),
            What::Code(_) => '`',
            What::Url(url) if escape::is_autolink(url) => '<',
            What::Url(_) => '[',
            What::Image { .. } => '!',
            What::Break => '\n',
        }
    }

    /// Takes the space away from its beginning; what that was.
    fn trim_start(&mut self) -> Option<Edge> {
        let text = match &mut self.what {
            What::Text(text) => text,
            What::Break => return Some(Edge::Break),
            What::Code(_) | What::Url(_) | What::Image { .. } => return None,
        };
        let size = text.len() - text.trim_start().len();
        let edge = Edge::of(&text[..size]);
        match text {
            Cow::Borrowed(text) => *text = &text[size..],
            Cow::Owned(text) => drop(text.drain(..size)),
        }
        edge
    }

    /// The same at its end.
    fn trim_end(&mut self) -> Option<Edge> {
        let text = match &mut self.what {
            What::Text(text) => text,
            What::Break => return Some(Edge::Break),
            What::Code(_) | What::Url(_) | What::Image { .. } => return None,
        };
        let size = text.trim_end().len();
        let edge = Edge::of(&text[size..]);
        match text {
            Cow::Borrowed(text) => *text = &text[..size],
            Cow::Owned(text) => text.truncate(size),
        }
        edge
    }
}

/// Space at the edge of a mark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Space,
    Break,
}

impl Edge {
    fn of(space: &str) -> Option<Edge> {
        match space {
            "" => None,
            s if s.contains('\n') => Some(Edge::Break),
            _ => Some(Edge::Space),
        }
    }
}

/// Writes a phrase to the end of the page.
pub fn write(page: &mut Page, mut phrase: Phrase<'_>) {
    phrase
        .pieces
        .retain(|piece| !matches!(&piece.what, What::Text(text) if text.is_empty()));
    let texts = phrase.pieces.iter().map(|piece| match &piece.what {
        What::Text(text) => text.bytes().filter(|b| *b == b'~').take(2).count(),
        What::Code(_) | What::Url(_) | What::Image { .. } | What::Break => 0,
    });
    let struck = phrase.pieces.iter().any(|p| p.marks.has(Mark::Strike));
    let tildes = page.is_cell() || struck || texts.sum::<usize>() > 1;
    let mut writer = Writer {
        page,
        links: &phrase.links,
        link: false,
        tildes,
    };
    writer.pieces(&mut phrase.pieces, 0, '\n');
}

struct Writer<'p> {
    page: &'p mut Page,
    links: &'p [Link<'p>],
    /// Whether a link is open.
    link: bool,
    /// Whether a tilde could meet another.
    tildes: bool,
}

impl Writer<'_> {
    /// The pieces with all their marks from `level` on. `after` is the first
    /// character of what follows.
    fn pieces(&mut self, pieces: &mut [Piece<'_>], level: usize, after: char) {
        let marked = |level: &usize| pieces.iter().any(|p| p.shared(*level).is_some());
        let Some(level) = (level..=AROUND.len()).find(marked) else {
            return self.leaves(pieces, after);
        };
        let mut rest = pieces;
        while let Some(first) = rest.first() {
            let shared = first.shared(level);
            let size = rest
                .iter()
                .take_while(|p| p.shared(level) == shared)
                .count();
            let (group, others) = rest.split_at_mut(size);
            let after = others.first().map_or(after, |p| p.first(level));
            match shared {
                None => self.pieces(group, level + 1, after),
                Some(link) => self.group(group, level, link, after),
            }
            rest = others;
        }
    }

    /// Pieces that share a mark or link, with the space at their edges outside.
    fn group(&mut self, pieces: &mut [Piece<'_>], level: usize, link: usize, after: char) {
        let (mut before, mut behind) = (None, None);
        let mut from = 0;
        while let Some(first) = pieces.get_mut(from) {
            before = before.max(first.trim_start());
            if !first.is_space() {
                break;
            }
            from += 1;
        }
        let mut to = pieces.len();
        while let Some(last) = pieces[from..to].last_mut() {
            behind = behind.max(last.trim_end());
            if !last.is_space() {
                break;
            }
            to -= 1;
        }
        let rest = &mut pieces[from..to];
        self.edge(before);
        let after = if behind.is_some() { ' ' } else { after };
        match (level.checked_sub(1).and_then(|n| AROUND.get(n)), rest) {
            (None, rest) => self.link(rest, link, after),
            (Some(_), []) => {}
            (Some(mark), rest) => self.mark(rest, *mark, level, after),
        }
        self.edge(behind);
    }

    fn edge(&mut self, edge: Option<Edge>) {
        match edge {
            Some(Edge::Break) => self.page.line_break(),
            Some(Edge::Space) => self.page.space(),
            None => {}
        }
    }

    fn link(&mut self, pieces: &mut [Piece<'_>], link: usize, after: char) {
        let Some(link) = self.links.get(link) else {
            return self.pieces(pieces, 1, after);
        };
        let bare = match &*pieces {
            [] => true,
            [one] if one.marks == Marks::default() => match &one.what {
                What::Text(text) | What::Url(text) => *text == link.url,
                What::Code(_) | What::Image { .. } | What::Break => false,
            },
            _ => false,
        };
        // A link that leads nowhere is its text.
        if link.url.is_empty() {
            return self.pieces(pieces, 1, after);
        }
        if bare && link.title.is_empty() {
            return self.url(&link.url);
        }
        self.page.push("[");
        self.link = true;
        match pieces {
            [] => escape_link_text(&mut self.page.text, &link.url),
            pieces => self.pieces(pieces, 1, ']'),
        }
        self.link = false;
        self.page.push("](");
        escape::destination(&mut self.page.text, &link.url);
        if !link.title.is_empty() {
            escape::title(&mut self.page.text, &link.title);
        }
        self.page.text.push(')');
    }

    fn mark(&mut self, pieces: &mut [Piece<'_>], mark: Mark, level: usize, after: char) {
        let (signs, tag) = mark.written();
        self.page.settle();
        let before = self.page.last();
        let from = self.page.text.len();
        let opening = match signs {
            "" => format!("<{tag}>"),
            signs => signs.to_owned(),
        };
        self.page.push(&opening);
        let inside = self.page.text.len();
        self.pieces(pieces, level + 1, '*');
        let first = self.page.text[inside..].chars().next().unwrap_or(' ');
        let last = self.page.text.chars().next_back().unwrap_or(' ');
        let (outside, edges) = ((before, after), (first, last));
        let fits = |signs: &str| !signs.is_empty() && is_mark(signs, outside, edges);
        if fits(signs) {
            self.page.push(signs);
        } else if mark == Mark::Em && fits("*") {
            self.page.replace(from, inside, "*");
            self.page.push("*");
        } else {
            let opening = format!("<{tag}>");
            self.page.replace(from, inside, &opening);
            self.page.push(&format!("</{tag}>"));
        }
    }

    /// Pieces whose marks are written.
    fn leaves(&mut self, pieces: &[Piece<'_>], after: char) {
        let mut i = 0;
        while let Some(piece) = pieces.get(i) {
            i += 1;
            let after = pieces.get(i).map_or(after, |p| p.first(AROUND.len() + 1));
            match &piece.what {
                What::Text(text) => self.text(text, after),
                What::Code(code) => {
                    // Two spans side by side would be read as one.
                    let mut whole = Cow::Borrowed(&**code);
                    while let Some(What::Code(more)) = pieces.get(i).map(|p| &p.what) {
                        whole.to_mut().push_str(more);
                        i += 1;
                    }
                    self.page.push("");
                    escape::code(&mut self.page.text, &whole);
                }
                What::Url(url) if self.link => {
                    self.page.push("");
                    escape_link_text(&mut self.page.text, url);
                }
                What::Url(url) => self.url(url),
                What::Image { alt, url } => {
                    self.page.push("![");
                    escape_link_text(&mut self.page.text, alt);
                    self.page.push("](");
                    escape::destination(&mut self.page.text, url);
                    self.page.text.push(')');
                }
                What::Break => self.page.line_break(),
            }
        }
    }

    fn url(&mut self, url: &str) {
        self.page.push("");
        if escape::is_autolink(url) {
            self.page.text.extend(["<", url, ">"]);
        } else if !url.is_empty() {
            self.page.text.push('[');
            escape_link_text(&mut self.page.text, url);
            self.page.text.push_str("](");
            escape::destination(&mut self.page.text, url);
            self.page.text.push(')');
        }
    }

    fn text(&mut self, text: &str, after: char) {
        let mut lines = text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let after = if lines.peek().is_some() { '\n' } else { after };
            let at_start = self.page.last() == '\n';
            let line = if at_start { line.trim_start() } else { line };
            if !line.is_empty() {
                self.page.push("");
                let around = escape::Around {
                    before: self.page.last(),
                    after,
                    begins: self.page.begins(),
                    bracket: self.page.begins_with_bracket() || at_start && line.starts_with('['),
                    link: self.link,
                    tildes: self.tildes,
                    cell: self.page.is_cell(),
                };
                escape::text(&mut self.page.text, line, around);
            }
            if lines.peek().is_some() {
                self.page.line_break();
            }
        }
    }
}

/// Plain text between the brackets of a link.
fn escape_link_text(out: &mut String, text: &str) {
    let around = escape::Around {
        before: '[',
        after: ']',
        begins: false,
        bracket: false,
        link: true,
        tildes: true,
        cell: true,
    };
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            out.push(' ');
        }
        escape::text(out, line, around);
    }
}

/// How a character counts beside a mark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Sign,
    Word,
    /// Beyond ASCII, where parsers differ.
    Unsure,
}

fn class(c: char) -> Class {
    if c.is_whitespace() {
        Class::Space
    } else if c.is_ascii_punctuation() {
        Class::Sign
    } else if c.is_alphanumeric() {
        Class::Word
    } else {
        Class::Unsure
    }
}

/// Whether signs around these edges open and close a mark
/// (<https://spec.commonmark.org/0.31.2/#can-open-emphasis>).
fn is_mark(signs: &str, outside: (char, char), edges: (char, char)) -> bool {
    // Signs that touch others of their kind would be counted as one run.
    let sign = signs.chars().next().unwrap_or(' ');
    if [outside.0, outside.1, edges.0, edges.1].contains(&sign) && signs.len() == 1 && sign == '*' {
        return false;
    }
    let side = |outside: char, edge: char| {
        let (outside, edge) = (class(outside), class(edge));
        let free = matches!(outside, Class::Space | Class::Sign);
        edge != Class::Space && (free || edge == Class::Word && sign != '_')
    };
    side(outside.0, edges.0) && side(outside.1, edges.1)
}
