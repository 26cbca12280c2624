//! The token: where it stands, and what of a text is one. Sends it nowhere.

use std::path::PathBuf;

use crate::source::Trouble;

/// Where the token comes from.
pub enum Token {
    /// From this variable, with this value.
    Value(String, String),
    /// From a file, read again at each use.
    File(PathBuf),
}

impl Token {
    /// What it is called in a message.
    pub(super) fn name(&self) -> String {
        match self {
            Token::Value(name, _) => name.clone(),
            Token::File(path) => path.display().to_string(),
        }
    }

    /// The text in which it stands, as it is now.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub(super) fn text(&self) -> Result<String, Trouble> {
        match self {
            Token::Value(_, value) => Ok(value.clone()),
            Token::File(path) => std::fs::read_to_string(path).map_err(|e| {
                Trouble::Everything(format!("--jira-token-file: {}: {e}", path.display()))
            }),
        }
    }
}

/// The token in this text, without what may surround it.
///
/// # Errors
/// If it is none; a fragment that shows nothing of it.
pub fn token_in<'a>(text: &'a str, username: Option<&str>) -> Result<&'a str, String> {
    // Some editors put a byte order mark before UTF-8.
    let token = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if let Some((kind, _)) = token.split_once(char::is_whitespace)
        && ["bearer", "basic"].contains(&kind.to_ascii_lowercase().as_str())
    {
        return Err(format!("it begins with {kind:?}; give the token alone"));
    }
    // A password, which goes with a name, may hold anything.
    let plain = |c: char| match username {
        Some(_) => !c.is_control(),
        None => c.is_ascii_graphic(),
    };
    match !token.is_empty() && token.chars().all(plain) {
        true => Ok(token),
        false => Err("it holds no token, which is one line of plain characters".to_owned()),
    }
}
