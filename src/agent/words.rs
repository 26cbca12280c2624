//! Command-line text into words and back, as a POSIX shell would.
//!
//! Never expands anything: `$`, backticks, `~`, globs and `#` are characters
//! like any other.

/// The words of `text`: whitespace, both quotes and the backslash mean what
/// they mean to a shell, and nothing else means anything.
///
/// # Errors
/// A quote that is not closed, a backslash at the end, a NUL.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    words(text, Operators::Plain)
}

/// The same for a command: what a shell would do something with, and we would
/// not, is an error instead of an argument nobody meant.
///
/// # Errors
/// As [`split`], and an unquoted `|`, `>`, `<`, `;` or `&`.
pub fn split_command(text: &str) -> Result<Vec<String>, String> {
    words(text, Operators::Refused)
}

#[derive(Clone, Copy, PartialEq)]
enum Operators {
    Plain,
    Refused,
}

fn words(text: &str, operators: Operators) -> Result<Vec<String>, String> {
    if text.contains('\0') {
        return Err("holds a NUL character".to_owned());
    }
    let mut all = Vec::new();
    // `None` between words; an empty quoted word is `Some("")`.
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => all.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a single quote (') is not closed".to_owned()),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("a backslash (\\) at the end escapes nothing".to_owned()),
            },
            '|' | '>' | '<' | ';' | '&' if operators == Operators::Refused => {
                return Err(format!(
                    "unquoted `{c}`, but no shell is used: quote it if it is part of an \
                     argument, or write sh -c '…' yourself"
                ));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    Ok(all)
}

/// Reads on from behind a double quote to the one that closes it.
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let open = || "a double quote (\") is not closed".to_owned();
    loop {
        match chars.next().ok_or_else(open)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or_else(open)? {
                '\n' => {}
                c @ ('\\' | '"' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// `word` as a shell reads it back: bare where nothing in it means anything to
/// a shell, else in single quotes.
#[must_use]
pub fn quote(word: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&b);
    // zsh would look for a program behind a leading `=`.
    if !word.is_empty() && !word.starts_with('=') && word.bytes().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(ok(""), [""; 0]);
        assert_eq!(ok(" \t\n "), [""; 0]);
        assert_eq!(ok("  a\tb\nc  "), ["a", "b", "c"]);
        assert_eq!(ok("a '' \"\" b"), ["a", "", "", "b"]);
        assert_eq!(ok("a'b c'd\"e f\"g"), ["ab cde fg"]);
        assert_eq!(ok(r"'a\b' 'x'\''y'"), [r"a\b", "x'y"]);
        assert_eq!(ok(r"a\ b \' \\"), ["a b", "'", "\\"]);
    }

    #[test]
    fn a_backslash_in_double_quotes_escapes_only_what_means_something_there() {
        assert_eq!(
            ok(r#""\\ \" \$ \` \n \' \a""#),
            [r#"\ " $ ` \n \' \a"#.to_owned()]
        );
        assert_eq!(ok("\"a\\\nb\""), ["ab"]);
        assert_eq!(ok("a\\\nb"), ["ab"]);
        // A line continued between two words makes no empty word.
        assert_eq!(ok("a \\\n b"), ["a", "b"]);
    }

    #[test]
    fn nothing_is_expanded() {
        assert_eq!(
            ok("$HOME `id` ~ *.rs #x a#b $(x) {a,b} !"),
            [
                "$HOME", "`id`", "~", "*.rs", "#x", "a#b", "$(x)", "{a,b}", "!"
            ]
        );
    }

    #[test]
    fn what_is_not_closed_is_named() {
        assert!(split("a 'b").unwrap_err().contains("single quote"));
        assert!(split("a \"b").unwrap_err().contains("double quote"));
        assert!(split("a \"b\\").unwrap_err().contains("double quote"));
        assert!(split("a\\").unwrap_err().contains("backslash"));
        assert!(split("a\0").unwrap_err().contains("NUL"));
    }

    #[test]
    fn an_operator_is_text_to_an_argument_and_an_error_in_a_command() {
        for operator in ["|", ">", "<", ";", "&"] {
            let text = format!("a {operator} b{operator}c");
            assert_eq!(ok(&text), ["a", operator, &format!("b{operator}c")]);
            let error = split_command(&text).unwrap_err();
            assert!(error.contains(&format!("`{operator}`")), "{error}");
            assert!(error.contains("sh -c '…'"), "{error}");
            for quoted in [
                format!("a '{operator}'"),
                format!("a \"{operator}\""),
                format!("a \\{operator}"),
            ] {
                assert_eq!(split_command(&quoted).unwrap(), ["a", operator]);
            }
        }
    }

    #[test]
    fn a_word_is_quoted_only_where_it_has_to_be() {
        for bare in ["a", "-x", "--env=A", "A=b", "/usr/bin/x-1.2", "a@b:c,d%e+f"] {
            assert_eq!(quote(bare), bare);
        }
        assert_eq!(quote(""), "''");
        assert_eq!(quote("=ls"), "'=ls'");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("$(id)"), "'$(id)'");
        assert_eq!(quote("ä"), "'ä'");
        assert_eq!(quote("~"), "'~'");
    }

    #[test]
    fn whatever_is_quoted_is_read_back() {
        let alphabet: Vec<char> = " \t\n\r'\"\\$`()|&;<>*?[]{}~#!=-_aZ9äß日\u{202e}\u{1}"
            .chars()
            .collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        for _ in 0..20_000 {
            let words: Vec<String> = (0..next(4))
                .map(|_| {
                    (0..next(9))
                        .map(|_| alphabet[next(alphabet.len())])
                        .collect()
                })
                .collect();
            let text = words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
            assert_eq!(split(&text).as_ref(), Ok(&words), "{text:?}");
            assert_eq!(split_command(&text).as_ref(), Ok(&words), "{text:?}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let alphabet = ['a', ' ', '\'', '"', '\\', '\n', '$', '|', 'ä', '\0'];
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    alphabet[(seed % 10) as usize]
                })
                .collect();
            if let Ok(words) = split_command(&text) {
                assert_eq!(split(&text), Ok(words));
            }
        }
    }
}
