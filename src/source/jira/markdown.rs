//! Writes Markdown: CommonMark (<https://spec.commonmark.org/0.31.2/>) with
//! the tables, task lists, strike-through and alerts of GitHub
//! (<https://github.github.com/gfm/>).
//!
//! Knows nothing of where the text comes from. What it is given as text is
//! read as that text again; a backslash stands only where it is needed.

use std::borrow::Cow;

mod escape;
mod page;
mod phrase;
#[cfg(test)]
pub mod read;
mod visible;

pub use escape::url_around;
pub use page::{Gap, List, Page};
pub use phrase::{Mark, Marks, Phrase};
pub use visible::visible;

/// Which bytes are among these.
const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
}

/// The text without control characters; newlines and tabs stay.
pub fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    // Every control character holds such a byte; few texts do.
    let suspect = |b: &u8| *b < 0x20 && !matches!(b, b'\n' | b'\t') || matches!(b, 0x7f | 0xc2);
    if !text.as_bytes().iter().any(suspect) || !text.contains(bad) {
        return text;
    }
    Cow::Owned(text.chars().filter(|c| !bad(*c)).collect())
}
