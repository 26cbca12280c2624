//! How much an agent can be given. Linux takes 128 KiB for one argument or
//! variable and not a byte more, or the program never starts.
//!
//! Never cuts anything but what a person wrote as text.

use super::env::Var;

/// What one argument, or one `NAME=VALUE`, may take with the NUL behind it.
pub const ONE: usize = 128 * 1024;

/// What all of them together may take.
pub const ALL: usize = 1024 * 1024;

/// What of a summary or a description is kept.
pub const TEXT: usize = 96 * 1024;

/// How many bytes the variable `name` can hold. Whoever makes a value out of
/// many parts leaves parts out until it fits.
#[must_use]
pub const fn room(name: &str) -> usize {
    ONE.saturating_sub(name.len() + "=\0".len())
}

/// `text` cut to [`TEXT`] bytes with a last line that says so, and a warning;
/// `None` if it is short enough.
pub(super) fn shorten(what: &str, text: &str, url: Option<&str>) -> Option<(String, String)> {
    if text.len() <= TEXT {
        return None;
    }
    let kept = (0..=TEXT).rev().find_map(|at| text.get(..at)).unwrap_or("");
    let (n, m) = (kept.len(), text.len());
    let rest = url.map_or(String::new(), |url| format!("; the rest is at {url}"));
    Some((
        format!("{kept}\n[shortened by the orchestrator: {n} of {m} bytes{rest}]"),
        format!("the {what} has {m} bytes, of which the agent gets {n}"),
    ))
}

/// Bytes these arguments and variables take, a NUL behind each.
pub(super) fn total(arguments: &[String], env: &[Var]) -> usize {
    let arguments: usize = arguments.iter().map(|a| a.len() + 1).sum();
    let env: usize = env.iter().map(entry).sum();
    arguments + env
}

/// Bytes of `NAME=VALUE` and its NUL.
fn entry(var: &Var) -> usize {
    var.name.len() + var.value.text().map_or(0, str::len) + "=\0".len()
}

/// Why no program can be started with these; `None` if one can.
pub(super) fn refusal(arguments: &[String], env: &[Var]) -> Option<String> {
    let over = |size: usize| format!("takes {size} bytes, and no more than {ONE} are possible");
    for var in env {
        if var.value.text().is_some_and(|text| text.contains('\0')) {
            return Some(format!("the variable {} holds a NUL character", var.name));
        }
        let size = entry(var);
        if size > ONE {
            return Some(format!("the variable {} {}", var.name, over(size)));
        }
    }
    for (at, argument) in arguments.iter().enumerate() {
        if argument.contains('\0') {
            return Some(format!(
                "argument {at} of the agent command holds a NUL character"
            ));
        }
        let size = argument.len() + 1;
        if size > ONE {
            return Some(format!("argument {at} of the agent command {}", over(size)));
        }
    }
    let size = total(arguments, env);
    (size > ALL).then(|| {
        format!("its arguments and variables take {size} bytes together, and the limit is {ALL}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::env::Value;
    use super::*;

    fn var(name: &str, size: usize) -> Var {
        Var {
            name: name.to_owned(),
            value: Value::Plain("v".repeat(size)),
        }
    }

    #[test]
    fn the_limits_are_those_of_linux_to_the_byte() {
        assert_eq!(ONE, 131_072);
        assert_eq!(room("N"), 131_069);
        assert_eq!(refusal(&[], &[var("N", room("N"))]), None);
        let why = refusal(&[], &[var("N", room("N") + 1)]).unwrap();
        assert!(
            why.contains("variable N") && why.contains("131073"),
            "{why}"
        );
        assert_eq!(refusal(&["a".repeat(ONE - 1)], &[]), None);
        let why = refusal(&["x".to_owned(), "a".repeat(ONE)], &[]).unwrap();
        assert!(why.contains("argument 1"), "{why}");
    }

    #[test]
    fn everything_together_has_a_limit_too() {
        let mut env = vec![var("N", room("N")); 7];
        let mut arguments = vec!["a".repeat(ONE - 1)];
        assert_eq!(total(&arguments, &env), ALL);
        assert_eq!(refusal(&arguments, &env), None);
        env.push(var("M", 0));
        let why = refusal(&arguments, &env).unwrap();
        assert!(why.contains("1048579") && why.contains("together"), "{why}");
        env.pop();
        arguments.push(String::new());
        assert!(refusal(&arguments, &env).is_some());
    }

    #[test]
    fn a_nul_is_refused_wherever_it_is() {
        let nul = Var {
            name: "N".to_owned(),
            value: Value::Secret("a\0b".to_owned()),
        };
        let why = refusal(&[], &[var("M", 1), nul]).unwrap();
        assert_eq!(why, "the variable N holds a NUL character");
        let why = refusal(&["x".to_owned(), "a\0".to_owned()], &[]).unwrap();
        assert!(why.contains("argument 1"), "{why}");
    }

    #[test]
    fn long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(shorten("summary", &"x".repeat(TEXT), None), None);
        let (text, warning) = shorten("summary", &"x".repeat(TEXT + 1), None).unwrap();
        assert!(text.starts_with(&"x".repeat(TEXT)));
        assert_eq!(
            text.lines().last(),
            Some("[shortened by the orchestrator: 98304 of 98305 bytes]")
        );
        assert!(warning.contains("summary") && warning.contains("98305"));
        let long = format!("x{}", "日".repeat(40_000));
        let (text, _) = shorten("description", &long, Some("https://e/1")).unwrap();
        assert_eq!(
            text.lines().last(),
            Some(
                "[shortened by the orchestrator: 98302 of 120001 bytes; the rest is at https://e/1]"
            )
        );
        assert!(long.starts_with(text.lines().next().unwrap()));
    }
}
