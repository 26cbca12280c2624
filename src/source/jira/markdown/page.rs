//! A page of Markdown: blocks one after the other and inside each other.
//!
//! Blocks are never kept: each is written as it comes, with what the lists
//! and quotes around it put before every line.

use super::{
    escape,
    phrase::{self, Phrase},
};

/// Deeper lists and quotes are not indented further, so that a page stays
/// small whatever its text.
const DEEPEST: usize = 12;
/// The longest number of a list (<https://spec.commonmark.org/0.31.2/#ordered-list-marker>).
const LARGEST: u64 = 999_999_999;

/// What stands between a block and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The end of the line.
    Line,
    /// An empty line.
    Blank,
}

/// A list that is being written.
pub struct List {
    /// The number of the next item; none in a bullet list.
    number: Option<u64>,
    /// Whether it has the second kind of marker, because a list with the
    /// first kind ends right before.
    other: bool,
    /// Before the first item.
    gap: Gap,
    /// Where it begins.
    from: usize,
}

/// Where a page stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Where the text of the current line begins.
    line: usize,
    /// Where the text of the current block begins.
    block: usize,
    /// Whether the next block begins right here.
    fresh: bool,
    /// Whether that is behind the box of a task, which is text: only text may
    /// follow it there.
    boxed: bool,
}

impl Place {
    fn new() -> Place {
        Place {
            fresh: true,
            ..Place::default()
        }
    }
}

/// A list item or quote that is being written.
struct Nest {
    /// How long the page was before, and where it stood, to go back there if
    /// nothing comes.
    before: Option<(usize, Place)>,
    /// The size of the prefix around it.
    prefix: usize,
}

/// A page, or one cell of a table.
#[derive(Default)]
pub struct Page {
    pub(super) text: String,
    /// What stands before the lines of the blocks now written.
    prefix: String,
    nests: Vec<Nest>,
    at: Place,
    /// A line break that is written as soon as something follows.
    pending: bool,
    /// Whether this is a cell: no block has more than lines.
    cell: bool,
    /// Whether a line break is a space.
    one_line: bool,
    /// Where the last list ended, whether it has numbers and its kind of marker.
    ended: Option<(usize, bool, bool)>,
}

impl Page {
    /// An empty page with room for that many bytes.
    pub fn new(room: usize) -> Page {
        Page {
            text: String::with_capacity(room),
            at: Place::new(),
            ..Page::default()
        }
    }

    /// A cell of a table, for [`Page::table`].
    pub fn cell() -> Page {
        Page {
            at: Place::new(),
            cell: true,
            ..Page::default()
        }
    }

    /// The Markdown, without empty lines around it.
    pub fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    /// A paragraph, if the phrase says anything.
    pub fn paragraph(&mut self, gap: Gap, phrase: Phrase<'_>) {
        if phrase.is_blank() {
            return;
        }
        self.at.boxed = false;
        self.begin(gap);
        phrase::write(self, phrase);
        self.end_line();
    }

    /// A heading of level 1 to 6, if the phrase says anything.
    pub fn heading(&mut self, gap: Gap, level: usize, phrase: Phrase<'_>) {
        if self.cell {
            return self.paragraph(gap, phrase);
        }
        if phrase.is_blank() {
            return;
        }
        self.begin(gap);
        self.text
            .extend(std::iter::repeat_n('#', level.clamp(1, 6)));
        self.push(" ");
        self.one_line = true;
        phrase::write(self, phrase);
        self.one_line = false;
        self.end_line();
        // Signs at the end would be taken for the other half of a frame, also
        // before a space that is not one of ASCII.
        let kept = self.text[self.at.line..].trim_end().len();
        self.text.truncate(self.at.line + kept);
        let bare = self.text[self.at.line..].trim_end_matches('#');
        if bare.len() < self.text.len() - self.at.line && bare.ends_with([' ', '\t']) {
            self.text.insert(self.at.line + bare.len(), '\\');
        }
    }

    /// A block of code, if there is any.
    pub fn code(&mut self, gap: Gap, language: &str, code: &str) {
        let code = code.strip_suffix('\n').unwrap_or(code);
        if code.trim().is_empty() {
            return;
        }
        self.begin(gap);
        if self.cell {
            for line in code.lines().filter(|l| !l.trim().is_empty()) {
                self.push("");
                escape::code(&mut self.text, line);
                self.pending = true;
            }
            return self.end_line();
        }
        let fence = "`".repeat(escape::longest_run(code).max(2) + 1);
        self.push(&fence);
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '`' | '\\' | '&');
        self.text.extend(language.chars().filter(|c| !bad(*c)));
        for line in code.split('\n') {
            self.new_line(line.is_empty());
            self.text.push_str(line);
        }
        self.new_line(false);
        self.text.push_str(&fence);
    }

    /// A line across the page.
    pub fn rule(&mut self, gap: Gap) {
        self.begin(gap);
        // Hyphens after the marker of a list would be one line with it, and
        // stars in a cell would mark something.
        self.push(if self.cell { "---" } else { "***" });
    }

    /// A table, its cells as [`Page::cell`] gives them. Without a header the
    /// first line is empty, because a table has to have one.
    pub fn table(&mut self, gap: Gap, header: bool, rows: &[Vec<String>]) {
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        if width == 0 {
            return;
        }
        self.begin(gap);
        if self.cell {
            for row in rows {
                self.push(&row.join(" | "));
                self.pending = true;
            }
            return self.end_line();
        }
        let (head, body) = match rows {
            [head, body @ ..] if header => (head.as_slice(), body),
            _ => (&[][..], rows),
        };
        self.push("");
        self.row(head, width);
        self.new_line(false);
        self.text.push('|');
        self.text.extend(std::iter::repeat_n(" --- |", width));
        for row in body {
            self.new_line(false);
            self.row(row, 1);
        }
    }

    fn row(&mut self, cells: &[String], at_least: usize) {
        self.text.push('|');
        for cell in cells {
            self.text.push(' ');
            for c in cell.trim().chars() {
                match c {
                    '|' => self.text.push_str("\\|"),
                    '\n' => self.text.push_str("<br>"),
                    c => self.text.push(c),
                }
            }
            self.text.push_str(" |");
        }
        let missing = at_least.saturating_sub(cells.len());
        self.text.extend(std::iter::repeat_n("  |", missing));
    }

    /// A list that begins with this number, or with bullets.
    pub fn list(&mut self, gap: Gap, number: Option<u64>) -> List {
        let other = match self.ended {
            Some((at, numbers, other)) => {
                at == self.text.len() && numbers == number.is_some() && !other
            }
            None => false,
        };
        List {
            number: number.map(|n| if n > LARGEST { 1 } else { n }),
            other,
            gap,
            from: self.text.len(),
        }
    }

    /// Whether there is an item; those without content are none.
    pub fn has_items(&self, list: &List) -> bool {
        self.text.len() > list.from
    }

    /// Begins an item, which with a task is done or is not; ends with
    /// [`Page::leave`]. Without content there will be no item, but for a task.
    pub fn item(&mut self, list: &mut List, task: Option<bool>) {
        let mut marker = match (list.number, list.other) {
            (None, false) => "- ".to_owned(),
            (None, true) => "+ ".to_owned(),
            (Some(n), other) => format!("{n}{} ", if other { ')' } else { '.' }),
        };
        let gap = match list.number {
            // Those before had no content.
            _ if self.has_items(list) => Gap::Line,
            None | Some(1) => list.gap,
            // Only what begins with 1 may follow a paragraph directly.
            Some(_) => Gap::Blank,
        };
        list.number = list.number.map(|n| (n + 1).min(LARGEST));
        let indent = " ".repeat(marker.len());
        match task {
            Some(true) => marker.push_str("[x] "),
            Some(false) => marker.push_str("[ ] "),
            None => {}
        }
        self.enter(gap, &marker, &indent);
        if task.is_some()
            && let Some(nest) = self.nests.last_mut()
        {
            nest.before = None;
            self.at.boxed = true;
        }
    }

    /// What follows stands below the last item of this list, up to
    /// [`Page::leave`].
    pub fn below(&mut self, list: &List) {
        let indent = match list.number {
            Some(_) => "   ",
            None => "  ",
        };
        self.nest(None, indent);
    }

    /// The list is complete.
    pub fn end(&mut self, list: &List) {
        self.ended = Some((self.text.len(), list.number.is_some(), list.other));
    }

    /// Begins a quote; ends with [`Page::leave`]. Without content there will
    /// be none.
    pub fn quote(&mut self, gap: Gap) {
        let sign = if self.cell { "" } else { "> " };
        self.enter(gap, sign, sign);
    }

    /// Begins a quote of a kind that GitHub knows, such as `NOTE`; ends with
    /// [`Page::leave`].
    pub fn alert(&mut self, gap: Gap, kind: &str) {
        self.quote(gap);
        if !self.cell {
            self.push("[!");
            self.text.push_str(kind);
            self.text.push(']');
        }
    }

    /// Ends the innermost item or quote.
    pub fn leave(&mut self) {
        let Some(nest) = self.nests.pop() else { return };
        self.prefix.truncate(nest.prefix);
        match nest.before {
            Some((size, place)) if self.at.fresh => {
                self.text.truncate(size);
                self.at = place;
            }
            _ => {
                (self.at.fresh, self.at.boxed) = (false, false);
                self.end_line();
            }
        }
    }

    fn enter(&mut self, gap: Gap, first: &str, rest: &str) {
        let before = (self.text.len(), self.at);
        self.begin(gap);
        self.text.push_str(first);
        self.at = Place {
            line: self.text.len(),
            block: self.text.len(),
            ..Place::new()
        };
        self.nest(Some(before), rest);
    }

    fn nest(&mut self, before: Option<(usize, Place)>, rest: &str) {
        let prefix = self.prefix.len();
        self.nests.push(Nest { before, prefix });
        if self.nests.len() <= DEEPEST && !self.cell {
            self.prefix.push_str(rest);
        }
    }

    /// Where a block begins.
    fn begin(&mut self, gap: Gap) {
        self.end_line();
        let boxed = std::mem::take(&mut self.at.boxed);
        if boxed {
            self.new_line(false);
        } else if !self.at.fresh {
            if gap == Gap::Blank && !self.cell {
                self.new_line(true);
            }
            self.new_line(false);
        }
        self.at.fresh = true;
        self.at.block = self.text.len();
    }

    /// The next line of the same block.
    fn new_line(&mut self, empty: bool) {
        self.text.push('\n');
        let prefix = match empty {
            true => self.prefix.trim_end(),
            false => &self.prefix,
        };
        self.text.push_str(prefix);
        self.at.line = self.text.len();
    }

    /// Leaves neither a break nor a space at the end of a line.
    fn end_line(&mut self) {
        self.pending = false;
        let kept = self.text[self.at.line..]
            .trim_end_matches([' ', '\t'])
            .len();
        self.text.truncate(self.at.line + kept);
    }

    /// Appends finished Markdown without a newline.
    pub(super) fn push(&mut self, markdown: &str) {
        self.settle();
        self.text.push_str(markdown);
        self.at.fresh = false;
    }

    /// Writes the line break that waits.
    pub(super) fn settle(&mut self) {
        if !self.pending {
            return;
        }
        self.end_line();
        if self.cell {
            self.new_line(false);
        } else if self.one_line {
            self.text.push(' ');
        } else {
            // Not a backslash, which would touch an address before it.
            self.text.push_str("  ");
            self.new_line(false);
        }
    }

    /// Ends the line inside its block; nothing at its beginning.
    pub(super) fn line_break(&mut self) {
        self.pending |= self.text.len() > self.at.line;
    }

    /// A space between two words; nothing at the beginning of a line.
    pub(super) fn space(&mut self) {
        if !self.last().is_whitespace() {
            self.text.push(' ');
        }
    }

    /// The last character on this line; a newline at its beginning.
    pub(super) fn last(&self) -> char {
        match self.text[self.at.line..].chars().next_back() {
            Some(c) if !self.pending => c,
            _ => '\n',
        }
    }

    /// Whether a sign of Markdown at this place could begin a block.
    pub(super) fn begins(&self) -> bool {
        self.last() == '\n' && !self.cell && !self.one_line
    }

    /// Whether the block begins with a bracket.
    pub(super) fn begins_with_bracket(&self) -> bool {
        self.text[self.at.block..].starts_with('[')
    }

    /// Whether this is a cell, where blocks are in one line in the end.
    pub(super) fn is_cell(&self) -> bool {
        self.cell
    }

    /// Puts other signs in the place of those between `from` and `to`.
    pub(super) fn replace(&mut self, from: usize, to: usize, with: &str) {
        self.text.replace_range(from..to, with);
        if self.at.line >= to {
            self.at.line = self.at.line + with.len() - (to - from);
        }
    }
}
