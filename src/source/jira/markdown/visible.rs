//! What a reader of a page sees, without what marks it: for those who look
//! for words in it and not for their looks.
//!
//! Knows the Markdown that is written here; of any other, what it does not
//! know stays as it is.

use std::borrow::Cow;

use super::{phrase::is_tag, table};

/// How far the end of a pair of brackets is looked for: a page of nothing but
/// beginnings is not to take long.
const LONGEST: usize = 2048;
/// The bytes that can mean something in a line.
const SPECIAL: [bool; 256] = table(b"\\`*_~[!<");

/// The text of a page, line by line. Where a link leads stands in the place of
/// a text that does not say it.
#[must_use]
pub fn visible(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    // The end of the block of code that is open.
    let mut fence = None;
    for text in markdown.lines() {
        if let Some(end) = fence {
            if text.trim_start_matches([' ', '>']) == end {
                fence = None;
                continue;
            }
            out.push_str(text);
        } else if let Some(begun) = fence_of(text) {
            fence = Some(begun);
            continue;
        } else {
            line(&mut out, text);
        }
        out.push('\n');
    }
    out
}

/// The fence of a block of code that this line begins.
fn fence_of(line: &str) -> Option<&str> {
    let before = |c: char| c.is_ascii_digit() || " >-+.)".contains(c);
    let text = line.trim_start_matches(before);
    let size = run(text, '`');
    let (fence, language) = text.split_at_checked(size)?;
    (size > 2 && !language.contains('`')).then_some(fence)
}

/// How often `text` begins with `c`.
fn run(text: &str, c: char) -> usize {
    text.len() - text.trim_start_matches(c).len()
}

/// One line, not of a block of code.
fn line(out: &mut String, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.bytes().position(|b| SPECIAL[usize::from(b)]);
        let (before, special) = rest
            .split_at_checked(plain.unwrap_or(rest.len()))
            .unwrap_or((rest, ""));
        out.push_str(before);
        rest = match special.chars().next() {
            None => special,
            Some(c) => piece(out, special, c),
        };
    }
}

/// What begins with the special character `c`; what is left behind it.
fn piece<'t>(out: &mut String, text: &'t str, c: char) -> &'t str {
    // Those that count are taken together.
    let size = match c {
        '`' | '*' | '_' | '~' => run(text, c),
        _ => 1,
    };
    let next = text.get(size..).unwrap_or("");
    let inside = |c: char| c.is_alphanumeric();
    let after = match c {
        '\\' => next
            .starts_with(|c: char| c.is_ascii_punctuation())
            .then(|| {
                let (escaped, after) = next.split_at(1);
                out.push_str(escaped);
                after
            }),
        '`' => code(next, size).map(|(code, after)| {
            out.push_str(code);
            after
        }),
        // What is not escaped, and does not stand inside a word, is a mark.
        '*' => Some(next),
        '~' => (size == 2).then_some(next),
        '_' => (!(out.ends_with(inside) && next.starts_with(inside))).then_some(next),
        '<' => bracketed(next).map(|(within, after)| {
            match within.trim_start_matches('/') {
                "br" => out.push(' '),
                tag if is_tag(tag) => {}
                _ => out.push_str(within),
            }
            after
        }),
        // An image is the link that it is.
        '!' => next.starts_with('[').then_some(next),
        '[' => link(next).map(|(label, target, after)| {
            let mut shown = String::new();
            line(&mut shown, label);
            // An editor makes a link of a part of what stands there.
            if shown == *target || target.starts_with("mailto:") {
                out.push_str(&shown);
            } else {
                out.extend([" ", &target, " "]);
                if shown.contains("://") {
                    out.extend([&shown, " "]);
                }
            }
            after
        }),
        _ => None,
    };
    after.unwrap_or_else(|| {
        out.extend(std::iter::repeat_n(c, size));
        next
    })
}

/// A span of code behind its `size` backticks, and what stands behind it.
fn code(text: &str, size: usize) -> Option<(&str, &str)> {
    let mut from = 0;
    let end = loop {
        let at = from + text.get(from..)?.find('`')?;
        let here = run(text.get(at..)?, '`');
        if here == size {
            break at;
        }
        from = at + here;
    };
    let (code, after) = (text.get(..end)?, text.get(end + size..)?);
    let padded = code
        .strip_prefix(' ')
        .and_then(|code| code.strip_suffix(' '));
    let padded = padded.filter(|code| !code.trim().is_empty());
    Some((padded.unwrap_or(code), after))
}

/// What stands before the `>` that ends a word, and what behind it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut near = text.char_indices().take(LONGEST);
    let (end, _) = near.find(|(_, c)| matches!(c, '<' | '>') || c.is_whitespace())?;
    let (within, after) = text.split_at_checked(end)?;
    Some((within, after.strip_prefix('>')?))
}

/// The label and the target of a link behind its `[`, and what stands behind
/// it.
fn link(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let label = text.get(..unescaped(text, |text| text.starts_with(['[', ']']))?)?;
    let target = text.get(label.len()..)?.strip_prefix("](")?;
    let (target, after) = match target.strip_prefix('<') {
        Some(target) => {
            let end = unescaped(target, |text| text.starts_with('>'))?;
            (target.get(..end)?, target.get(end + 1..)?)
        }
        None => {
            let mut open = 0_usize;
            let end = unescaped(target, |text| match text.as_bytes() {
                [b'(', ..] => {
                    open += 1;
                    false
                }
                [b')', ..] if open > 0 => {
                    open -= 1;
                    false
                }
                rest => matches!(rest, [b')' | b' ', ..]),
            })?;
            target.split_at_checked(end)?
        }
    };
    // A title, if any, is over.
    let after = match after.strip_prefix(" \"") {
        Some(title) => title.get(unescaped(title, |text| text.starts_with('"'))? + 1..)?,
        None => after,
    };
    let target = match target.contains('\\') {
        true => Cow::Owned(without_escapes(target)),
        false => Cow::Borrowed(target),
    };
    Some((label, target, after.strip_prefix(')')?))
}

/// The first place where it is so that no backslash stands before.
fn unescaped(text: &str, mut is: impl FnMut(&str) -> bool) -> Option<usize> {
    let mut escaped = false;
    let mut near = text.char_indices().take(LONGEST);
    let (at, _) = near.find(|(at, c)| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = *c == '\\';
        text.get(*at..).is_some_and(&mut is)
    })?;
    Some(at)
}

fn without_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let escaped = rest.next_if(|next| c == '\\' && next.is_ascii_punctuation());
        out.push(escaped.unwrap_or(c));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn a_reader_sees_no_marks() {
        for (markdown, seen) in [
            ("**Repo:** a *b* ~~c~~", "Repo: a b c"),
            ("a_b__c d_ _e_", "a_b__c d e"),
            ("\\*a\\_ \\<b>", "*a_ <b>"),
            ("`a\\_*b*` `` c` `` `d", "a\\_*b* c` `d"),
            ("<https://h/_a*> <u>x</u> < y", "https://h/_a* x < y"),
            ("a<br>b", "a b"),
            ("<strong>a-</strong>b <del>c</del>", "a-b c"),
            ("~a ~~b~~ ~c", "~a b ~c"),
            ("[a](https://h/_b~c)d", " https://h/_b~c d"),
            ("[https://h/](https://h/)d", "https://h/d"),
            ("[a](<https://h/(\\>> \"x\\\") y\").", " https://h/(> ."),
            ("[git@h](mailto:git@h):x", "git@h:x"),
            ("![a](https://h/i.png)", " https://h/i.png "),
            (
                "[a] (b) [c](https://h/(d)e) f",
                "[a] (b)  https://h/(d)e  f",
            ),
            ("> - ```sh\n> _a_ `b\n> ```\n> _c_", "> _a_ `b\n> c"),
        ] {
            assert_eq!(visible(markdown).trim_end_matches('\n'), seen, "{markdown}");
        }
    }

    #[test]
    fn hostile_text_is_no_matter() {
        for text in [
            "[", "[](", "[x](<", "[x](y \"", "\\", "`", "<", "!", "![", "```",
        ] {
            let _ = visible(text);
            let _ = visible(&text.repeat(2_000));
        }
    }
}
