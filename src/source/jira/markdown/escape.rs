//! The smallest pieces: escaped text, code spans, addresses of links.
//!
//! Never decides where a line or a block ends.

use super::table;

/// What stands around a piece of text.
#[derive(Clone, Copy)]
pub struct Around {
    /// The character before it on its line; a newline if there is none.
    pub before: char,
    /// The character after it; a newline at the end of a line.
    pub after: char,
    /// Whether the piece begins a line of a block, where more has a meaning.
    pub begins: bool,
    /// Whether its block begins with a bracket.
    pub bracket: bool,
    /// Whether it is the text of a link.
    pub link: bool,
    /// Whether a tilde could meet another.
    pub tildes: bool,
    /// Whether the space around it may go, or become a tag.
    pub cell: bool,
}

/// The bytes that can mean something anywhere in a line.
const SPECIAL: [bool; 256] = table(b"\\`*_~[]!<&:");

/// Appends one line of text so that it is read as that text again.
pub fn text(out: &mut String, text: &str, around: Around) {
    let b = text.as_bytes();
    // Up to here the text is written.
    let mut done = 0;
    let mut i = 0;
    if around.begins
        && let Some(at) = meaning_at_line_start(text, around.after)
    {
        out.push_str(&text[..at]);
        out.push('\\');
        done = at;
        i = at + 1;
    }
    while i < b.len() {
        let c = b[i];
        if !SPECIAL[usize::from(c)] {
            i += 1;
            continue;
        }
        let mut end = i + 1;
        if matches!(c, b'*' | b'_' | b'~') {
            end += b[end..].iter().take_while(|x| **x == c).count();
        }
        let after = || text[end..].chars().next().unwrap_or(around.after);
        let before = || text[..i].chars().next_back().unwrap_or(around.before);
        let apart = || !around.cell && before().is_whitespace() && after().is_whitespace();
        let means = match c {
            b'`' => true,
            b'\\' => {
                let c = after();
                end == b.len() || c.is_ascii_punctuation() || around.cell && c.is_whitespace()
            }
            b'*' => !apart(),
            b'_' => !(apart() || before().is_alphanumeric() && after().is_alphanumeric()),
            b'~' => around.tildes && (!apart() || around.begins && i == 0),
            b'[' => around.link,
            b']' => around.link || after() == '(' || around.bracket && after() == ':',
            b'!' => after() == '[',
            b'<' => {
                let c = after();
                c.is_ascii_alphanumeric() || matches!(c, '/' | '!' | '?' | '*' | '_' | '~')
            }
            b'&' => is_entity(&b[i..]),
            // A colon: of an address, which is kept in one piece.
            _ => {
                if let Some((from, to)) = url_around(text, done, i).filter(|_| !around.link) {
                    if is_touched(text, from, to, around.after) {
                        // What had no meaning before a letter.
                        let kept = text[done..from].trim_end_matches(['\\', '_']).len();
                        out.push_str(&text[done..done + kept]);
                        out.extend(text[done + kept..from].chars().flat_map(|c| ['\\', c]));
                        out.extend(["<", &text[from..to], ">"]);
                        done = to;
                    }
                    end = to;
                }
                false
            }
        };
        if means {
            out.push_str(&text[done..i]);
            for _ in i..end {
                out.push('\\');
                out.push(char::from(c));
            }
            done = end;
        }
        i = end;
    }
    out.push_str(&text[done..]);
}

/// Where a backslash has to stand in a text that begins a line.
fn meaning_at_line_start(text: &str, after: char) -> Option<usize> {
    let b = text.as_bytes();
    let blank = |at: usize| {
        let next = text.get(at..).and_then(|rest| rest.chars().next());
        next.unwrap_or(after).is_whitespace()
    };
    let only = |set: &[u8]| text.trim_end().bytes().all(|c| set.contains(&c));
    let first = *b.first()?;
    let run = b.iter().take_while(|c| **c == first).count();
    let at_first = match first {
        b'#' => run <= 6 && blank(run),
        b'>' => true,
        b'+' => blank(1),
        b'*' | b'_' => blank(run),
        b'-' => blank(1) || only(b"-|: \t"),
        b'|' | b':' => only(b"-|: \t"),
        b'=' => only(b"= \t"),
        b'[' => matches!(b.get(..3), Some(b"[ ]" | b"[x]" | b"[X]")) && blank(3),
        b'0'..=b'9' => {
            let digits = b.iter().take_while(|c| c.is_ascii_digit()).count();
            let ends = matches!(b.get(digits), Some(b'.' | b')')) && blank(digits + 1);
            return (digits <= 9 && ends).then_some(digits);
        }
        _ => false,
    };
    at_first.then_some(0)
}

/// Whether the bytes begin with what could be an entity, such as `&amp;`.
fn is_entity(b: &[u8]) -> bool {
    let name = b.get(1..).unwrap_or_default();
    let name = name.strip_prefix(b"#").unwrap_or(name);
    let size = name
        .iter()
        .take(33)
        .take_while(|c| c.is_ascii_alphanumeric())
        .count();
    size > 0 && name.get(size) == Some(&b';')
}

/// Where the address begins and ends that has its colon at `colon`; it does
/// not begin before `from`.
pub fn url_around(text: &str, from: usize, colon: usize) -> Option<(usize, usize)> {
    let b = text.as_bytes();
    if !b[colon..].starts_with(b"://") {
        return None;
    }
    let is_scheme = |c: &&u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'.' | b'-');
    let scheme = b[from..colon].iter().rev().take(33).take_while(is_scheme);
    let begin = colon - scheme.count();
    // Before the end is looked for, or many colons would take long.
    if !is_autolink(&text[begin..=colon]) {
        return None;
    }
    let rest = &text[colon + 3..];
    let size = rest.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '|'));
    let end = colon + 3 + end_of_url(&rest[..size.unwrap_or(rest.len())]);
    (end > colon + 3).then_some((begin, end))
}

/// The size of an address without the punctuation of the sentence it ends.
fn end_of_url(url: &str) -> usize {
    let mut open = 0_isize;
    for b in url.bytes() {
        open += isize::from(b == b'(') - isize::from(b == b')');
    }
    let mut end = url.len();
    for b in url.bytes().rev() {
        match b {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' | b'_' | b'~' | b'`' | b']'
            | b'}' | b'\\' => {}
            b')' if open < 0 => open += 1,
            _ => break,
        }
        end -= 1;
    }
    end
}

/// Whether a part of the address from `from` to `to` would be read as
/// something else.
fn is_touched(text: &str, from: usize, to: usize, after: char) -> bool {
    let b = text.as_bytes();
    let word = |at: usize| match b.get(at) {
        Some(c) => c.is_ascii_alphanumeric() || *c >= 0x80 || *c == b'_',
        None => after.is_alphanumeric(),
    };
    (from..to).any(|i| match b[i] {
        b'*' | b'~' | b'`' | b'\\' | b'[' | b']' => true,
        // The first is a letter of the scheme.
        b'_' => !word(i - 1) || !word(i + 1),
        b'&' => is_entity(&b[i..]),
        _ => false,
    })
}

/// Whether `<url>` is read as a link: a scheme, and neither space nor angle
/// brackets (<https://spec.commonmark.org/0.31.2/#autolinks>).
pub fn is_autolink(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once(':') else {
        return false;
    };
    let of_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>');
    (2..=32).contains(&scheme.len())
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(of_scheme)
        && !rest.contains(bad)
}

/// Appends the address of a link, as it stands in its round brackets.
pub fn destination(out: &mut String, url: &str) {
    let mut open = 0_usize;
    let mut balanced = true;
    for b in url.bytes() {
        match b {
            b'(' => open += 1,
            b')' => match open.checked_sub(1) {
                Some(less) => open = less,
                None => balanced = false,
            },
            _ => {}
        }
    }
    // Parsers need not follow more than 32 pairs.
    let bare = open == 0
        && balanced
        && !url.is_empty()
        && url.matches('(').count() < 32
        && !url.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>'));
    if !bare {
        out.push('<');
    }
    for (i, c) in url.char_indices() {
        let after = url[i..].chars().nth(1);
        let escaped = match c {
            '\n' => continue,
            '<' | '>' => true,
            '\\' => after.is_none_or(|c| c.is_ascii_punctuation()),
            '&' => is_entity(&url.as_bytes()[i..]),
            _ => false,
        };
        if escaped {
            out.push('\\');
        }
        out.push(c);
    }
    if !bare {
        out.push('>');
    }
}

/// Appends the title of a link, with the space before it.
pub fn title(out: &mut String, title: &str) {
    out.push_str(" \"");
    for (i, c) in title.char_indices() {
        match c {
            '\n' => out.push(' '),
            '"' | '\\' => out.extend(['\\', c]),
            '&' if is_entity(&title.as_bytes()[i..]) => out.push_str("\\&"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends code inside a line; newlines become spaces.
pub fn code(out: &mut String, code: &str) {
    let fence = longest_run(code) + 1;
    let spaced = code.starts_with([' ', '\n']) && code.ends_with([' ', '\n']);
    let pad = code.starts_with('`') || code.ends_with('`') || spaced && !code.trim().is_empty();
    out.extend(std::iter::repeat_n('`', fence));
    out.extend(pad.then_some(' '));
    out.extend(code.chars().map(|c| if c == '\n' { ' ' } else { c }));
    out.extend(pad.then_some(' '));
    out.extend(std::iter::repeat_n('`', fence));
}

/// The length of the longest run of backticks.
pub fn longest_run(code: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for b in code.bytes() {
        run = if b == b'`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}
