//! The words, signs and quoted values of a query.

use std::iter::Peekable;

use super::super::site::Site;

/// Words that Jira keeps for itself and that people take for project keys and
/// names of labels.
const RESERVED: &str = "\
    abort access add after alias all alter and any as asc audit avg before begin between \
    boolean break by byte catch cf char character check checkpoint collate collation \
    column commit connect continue count create current date decimal declare decrement \
    default defaults define delete delimiter desc difference distinct divide do double \
    drop else empty encoding end equals escape exclusive exec execute exists explain \
    false fetch file field first float for from function go goto grant greater group \
    having identified if immediate in increment index initial inner inout input insert \
    int integer intersect intersection into is isempty isnull join last left less like \
    limit lock long max min minus mode modify modulo more multiply next noaudit not \
    notin nowait null number object of on option or order outer output power previous \
    prior privileges public raise raw remainder rename resource return returns revoke \
    right row rowid rownum rows select session set share size sqrt start strict string \
    subtract sum synonym table then to trans transaction trigger true uid union unique \
    update user validate values view when whenever where while with";

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

/// It has to be quoted.
pub fn is_reserved(word: &str) -> bool {
    RESERVED
        .split(' ')
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// Takes it apart. An error is what Jira says of it.
pub fn read(text: &str, site: &Site) -> Result<Vec<Token>, String> {
    let mut tokens = vec![];
    let mut rest = text.chars().peekable();
    let mut column = 0;
    while let Some(c) = rest.next() {
        column += 1;
        let mut sign = |two: bool, short, long| {
            let long_one = two && rest.peek() == Some(&'=');
            if long_one {
                rest.next();
                column += 1;
            }
            tokens.push(Token::Sign(if long_one { long } else { short }));
        };
        match c {
            c if c.is_whitespace() => {}
            '(' => sign(false, "(", ""),
            ')' => sign(false, ")", ""),
            ',' => sign(false, ",", ""),
            '=' => sign(false, "=", ""),
            '~' => sign(false, "~", ""),
            '<' => sign(true, "<", "<="),
            '>' => sign(true, ">", ">="),
            '!' => match rest.next() {
                Some('=') => tokens.push(Token::Sign("!=")),
                Some('~') => tokens.push(Token::Sign("!~")),
                _ => tokens.push(Token::Word("not".to_owned())),
            },
            '"' | '\'' => {
                let mut value = String::new();
                loop {
                    column += 1;
                    match rest.next() {
                        Some(end) if end == c => break,
                        Some('\\') => value.push(escape(&mut rest).ok_or_else(|| {
                            bad(
                                site,
                                "an illegal escape sequence",
                                "eine ungültige Escape-Sequenz",
                                column,
                            )
                        })?),
                        Some('\n' | '\r') | None => {
                            return Err(bad(
                                site,
                                "a quoted string that has not been completed",
                                "eine nicht abgeschlossene Zeichenfolge in Anführungszeichen",
                                column,
                            ));
                        }
                        Some(other) => value.push(other),
                    }
                }
                tokens.push(Token::Quoted(value));
            }
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| is_word(*c)) {
                    word.push(c);
                    column += 1;
                }
                tokens.push(Token::Word(word));
            }
            other => {
                return Err(bad(
                    site,
                    &format!("the reserved character '{other}'"),
                    &format!("das reservierte Zeichen „{other}“"),
                    column,
                ));
            }
        }
    }
    Ok(tokens)
}

/// What may stand in a word without quotation marks.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | ':')
}

fn escape(rest: &mut Peekable<std::str::Chars<'_>>) -> Option<char> {
    Some(match rest.next()? {
        c @ ('"' | '\'' | '\\' | ' ') => c,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'u' => {
            let digits: String = rest.by_ref().take(4).collect();
            char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
        }
        _ => return None,
    })
}

fn bad(site: &Site, what: &str, german: &str, column: usize) -> String {
    site.say(
        &format!("Error in the JQL Query: {what} was found. (line 1, character {column})"),
        &format!("Fehler in der JQL-Abfrage: {german} gefunden. (Zeile 1, Zeichen {column})"),
    )
}
