//! Who may import whom, and who may look at the world: section 5 of the design.
//!
//! Reads `src/` as text. What stands in `#[cfg(test)]` is not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each module uses of the others, no more and no less: what is listed
/// and not used any more has to go, so that this stays a picture of the whole.
/// `agent::item_env_refused` allows that one name of `agent`.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "main",
        &[
            "clock",
            "core",
            "flags",
            "logs",
            "orchestrator",
            "parts",
            "redact",
            "runtime",
            "state",
        ],
    ),
    (
        "parts",
        &[
            "agent",
            "core",
            "flags",
            "http",
            "orchestrator",
            "redact",
            "runtime",
            "source",
            "state",
        ],
    ),
    ("flags", &["agent"]),
    ("logs", &["clock", "flags", "redact"]),
    (
        "orchestrator",
        &[
            "agent", "clock", "core", "redact", "report", "runtime", "source", "state",
        ],
    ),
    (
        "source",
        &[
            "agent::item_env_refused",
            "clock",
            "core",
            "flags::Deployment",
            "http",
            "report",
            "state",
        ],
    ),
    (
        "runtime",
        &[
            "agent",
            "clock",
            "cmd",
            "core",
            "flags::PullPolicy",
            "http",
            "redact",
            "state",
        ],
    ),
    ("state", &["core"]),
    ("clock", &["core"]),
    ("agent", &["core"]),
    ("report", &["core"]),
    ("redact", &[]),
    ("cmd", &[]),
    ("http", &[]),
    ("core", &[]),
];

/// Modules that see nothing but what they are given.
const PURE: &[&str] = &["core", "report", "redact", "agent"];

/// What no pure module names.
const WORLD: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "log",
    "rustix",
    "signal_hook",
];

/// What only these files name.
const ONLY: &[(&str, &[&str])] = &[
    ("std::process::Command", &["cmd.rs"]),
    ("std::time::SystemTime", &["clock.rs"]),
    ("std::env", &["main.rs"]),
    ("std::process::ExitCode", &["main.rs"]),
    ("lexopt", &["flags.rs"]),
    ("signal_hook", &["main.rs"]),
    ("ureq", &["http.rs", "http/proxy.rs"]),
    ("bollard_stubs", &["runtime/docker/state.rs"]),
    (
        "rustix",
        &["runtime/process/group.rs", "runtime/process/supervise.rs"],
    ),
];

/// A file of `src/`: its name there, and every path it names, from the root of
/// a crate on.
struct Source {
    file: String,
    paths: BTreeSet<String>,
}

impl Source {
    /// The module of the crate's root that it belongs to.
    fn module(&self) -> &str {
        let first = self.file.split('/').next().unwrap();
        first.trim_end_matches(".rs")
    }

    fn names(&self, path: &str) -> bool {
        self.paths.iter().any(|p| begins(p, path))
    }
}

fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut todo: Vec<PathBuf> = vec![src.clone()];
    let mut texts = BTreeMap::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let file = path.strip_prefix(&src).unwrap().to_str().unwrap();
            texts.insert(file.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    of_texts(&texts)
}

fn of_texts(texts: &BTreeMap<String, String>) -> Vec<Source> {
    let mut tests = BTreeSet::new();
    let mut found = Vec::new();
    for (file, text) in texts {
        let tokens = tokens(text);
        let (tokens, modules) = without_tests(&tokens);
        let dir = file.trim_end_matches(".rs");
        tests.extend(modules.iter().map(|m| format!("{dir}/{m}")));
        // `main` and `lib` are the root themselves.
        let depth = match dir {
            "main" | "lib" => 0,
            _ => dir.split('/').count(),
        };
        let paths = paths(&tokens, depth);
        let file = file.clone();
        found.push(Source { file, paths });
    }
    let is_test = |file: &str| {
        let dir = file.trim_end_matches(".rs");
        tests
            .iter()
            .any(|t| dir == t || dir.starts_with(&format!("{t}/")))
    };
    found.retain(|source| !is_test(&source.file));
    found
}

/// Names and signs, `::` as one; without comments, texts and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let size = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").unwrap() + 2
        } else if let Some(end) = raw_text(rest) {
            end
        } else if c == '"' || rest.starts_with("b\"") {
            let open = rest.find('"').unwrap() + 1;
            open + quoted(&rest[open..], '"')
        } else if c == '\'' {
            // A character ends in a quote; a lifetime does not.
            let mut inside = rest[1..].chars();
            let (one, two) = (inside.next().unwrap(), inside.next().unwrap());
            match one == '\\' || two == '\'' {
                true => 1 + quoted(&rest[1..], '\''),
                false => 1,
            }
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let end = end.unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[size..];
    }
    tokens
}

/// The size of a raw string at the beginning of `text`.
fn raw_text(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = inside.len() - inside.trim_start_matches('#').len();
    let inside = inside[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - inside.len() + inside.find(&end)? + end.len())
}

/// The size of `text` up to and with the first `end` that is not escaped.
fn quoted(text: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == end => return at + 1,
            _ => {}
        }
    }
    panic!("no end of {end}");
}

/// All but what `#[cfg(test)]` stands before, and the files declared there.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    let marker: Vec<String> = "# [ cfg ( test ) ]".split(' ').map(String::from).collect();
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&marker) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += marker.len();
        if tokens[at] == "mod" && tokens[at + 2] == ";" {
            modules.push(tokens[at + 1].clone());
        }
        // To the end of the item: a `;` or the block that belongs to it.
        let mut depth = 0;
        loop {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let end = depth == 0 && matches!(tokens[at].as_str(), ";" | "}");
            at += 1;
            if end {
                break;
            }
        }
    }
    (kept, modules)
}

/// Every path of `tokens` as it reads from the root of its crate on; ours is
/// called `crate`. `depth` is how far below the root the file is.
fn paths(tokens: &[String], depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_path = tokens.get(at + 1).is_some_and(|t| t == "::");
        let begins = at == 0 || tokens[at - 1] != "::";
        if tokens[at] == "use" {
            at = tree(tokens, at + 1, "", depth, &mut found);
        } else if is_path && begins && is_name(&tokens[at]) {
            at = tree(tokens, at, "", depth, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Takes in a path, with all its branches in braces; gives back where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    prefix: &str,
    depth: usize,
    found: &mut BTreeSet<String>,
) -> usize {
    let mut path = prefix.to_owned();
    let mut above = 0;
    if tokens[at] == "::" {
        at += 1;
    }
    loop {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = tree(tokens, at, &path, depth, found);
                    if tokens[at] == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "super" => {
                above += 1;
                // From the root on, or somewhere inside our own module.
                path = if above >= depth { "crate" } else { "" }.to_owned();
            }
            "self" if path.is_empty() && depth > 0 => {}
            "self" => {}
            "recac_orchestrator" if path.is_empty() => path = "crate".to_owned(),
            "<" => break,
            token => {
                if !path.is_empty() {
                    path += "::";
                }
                path += token;
            }
        }
        at += 1;
        if tokens.get(at).is_none_or(|t| t != "::") {
            break;
        }
        at += 1;
    }
    if tokens.get(at).is_some_and(|t| t == "as") {
        at += 2;
    }
    found.insert(path);
    at
}

/// What `sources` do and may not, and what `table` allows for nothing.
fn wrong_imports(sources: &[Source], table: &[(&str, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{module} does not stand in MAY_USE"));
            continue;
        };
        for path in &source.paths {
            let Some(path) = path.strip_prefix("crate::") else {
                if path == "crate" {
                    wrong.push(format!("{} imports all of the crate", source.file));
                }
                continue;
            };
            if begins(path, module) {
                continue;
            }
            match allowed.iter().find(|a| begins(path, a)) {
                Some(allowed) => {
                    used.insert((module, *allowed));
                }
                None => wrong.push(format!("{} may not use crate::{path}", source.file)),
            }
        }
    }
    for (module, allowed) in table {
        let unused = allowed.iter().filter(|a| !used.contains(&(*module, **a)));
        wrong.extend(unused.map(|a| format!("{module} does not use {a} any more")));
    }
    wrong
}

fn wrong_world(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        if PURE.contains(&source.module()) {
            let named = WORLD.iter().filter(|path| source.names(path));
            wrong.extend(named.map(|path| format!("{} is pure, and names {path}", source.file)));
        }
        for (path, files) in ONLY {
            if source.names(path) && !files.contains(&source.file.as_str()) {
                wrong.push(format!("{} names {path}; only {files:?} may", source.file));
            }
        }
    }
    for (path, files) in ONLY {
        for file in *files {
            if !sources.iter().any(|s| s.file == *file && s.names(path)) {
                wrong.push(format!("{file} does not name {path} any more"));
            }
        }
    }
    wrong
}

#[test]
fn nobody_imports_whom_the_design_does_not_allow() {
    let wrong = wrong_imports(&sources(), MAY_USE);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nobody_looks_at_the_world_but_those_who_may() {
    let wrong = wrong_world(&sources());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_imports_go_one_way() {
    let mut left: Vec<(&str, Vec<&str>)> = MAY_USE
        .iter()
        .map(|(module, uses)| {
            (
                *module,
                uses.iter().map(|u| u.split("::").next().unwrap()).collect(),
            )
        })
        .collect();
    while let Some(free) = left.iter().position(|(_, uses)| {
        uses.iter()
            .all(|u| !left.iter().any(|(module, _)| module == u))
    }) {
        left.remove(free);
    }
    assert!(left.is_empty(), "these import each other: {left:?}");
}

/// A crate of one file, looked at as `file`.
fn one(file: &str, text: &str) -> Vec<Source> {
    of_texts(&BTreeMap::from([(file.to_owned(), text.to_owned())]))
}

fn named(file: &str, text: &str) -> Vec<String> {
    let found = one(file, text).remove(0).paths;
    found.into_iter().filter(|p| p.contains("::")).collect()
}

#[test]
fn a_path_is_found_however_it_is_written() {
    for (file, text, path) in [
        ("a.rs", "use crate::b;", "crate::b"),
        ("a.rs", "use crate::{c, b::{self, D}};", "crate::b::D"),
        ("a.rs", "pub use crate::{\n  b as c,\n};", "crate::b"),
        ("a.rs", "fn f() { crate::b::g::<u8>() }", "crate::b::g"),
        ("a.rs", "fn f(b: &crate::b::T<'_>) {}", "crate::b::T"),
        ("a.rs", "use super::b::T;", "crate::b::T"),
        ("a.rs", "use super::{c, b};", "crate::b"),
        ("a/x/y.rs", "use super::super::super::b;", "crate::b"),
        ("main.rs", "use recac_orchestrator::{b::T};", "crate::b::T"),
        (
            "a.rs",
            "use std::{io, time::{Duration, Instant}};",
            "std::time::Instant",
        ),
        ("a.rs", "use ::std::env;", "std::env"),
        (
            "a.rs",
            "fn f() { let c = '\"'; std::env::var(\"x\") } // \"",
            "std::env::var",
        ),
        (
            "a.rs",
            "const Q: &str = r#\"\"\"#; use std::env;",
            "std::env",
        ),
    ] {
        let found = named(file, text);
        assert!(found.iter().any(|p| p == path), "{text}: {found:?}");
    }
}

#[test]
fn what_is_no_code_of_the_program_is_not_looked_at() {
    for text in [
        "// use crate::b;",
        "/* crate::b::T */",
        "const A: &str = \"crate::b::T \\\" crate::b::T\";",
        "const A: &str = r#\"crate::b\"#;",
        "#[cfg(test)]\nmod tests { use crate::b; fn f() { {} } }",
        "#[cfg(test)] use crate::b::T; ",
        "use super::x;",
    ] {
        let found = named("a/c.rs", text);
        assert!(found.iter().all(|p| !p.contains("b")), "{text}: {found:?}");
    }
    let texts = [
        ("a.rs", "#[cfg(test)] mod tests;"),
        ("a/tests.rs", "use crate::b;"),
    ];
    let texts = texts.map(|(file, text)| (file.to_owned(), text.to_owned()));
    assert_eq!(of_texts(&texts.into()).len(), 1);
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let table: &[(&str, &[&str])] = &[("a", &["b::T"])];
    let wrong = |file, text| wrong_imports(&one(file, text), table).join("; ");
    assert_eq!(wrong("a.rs", "use crate::b::T;"), "");
    assert_eq!(
        wrong("a/x.rs", "use crate::b::{T, U};"),
        "a/x.rs may not use crate::b::U"
    );
    assert_eq!(
        wrong("a.rs", "use super::*; use crate::b::T;"),
        "a.rs may not use crate::*"
    );
    assert_eq!(wrong("a.rs", ""), "a does not use b::T any more");
    assert!(wrong("c.rs", "").starts_with("c does not stand in MAY_USE"));
    let wrong = |file, text| wrong_world(&one(file, text)).join("; ");
    for (file, text, said) in [
        (
            "core/x.rs",
            "use std::fs;",
            "core/x.rs is pure, and names std::fs",
        ),
        (
            "core.rs",
            "fn f() { log::info!() }",
            "core.rs is pure, and names log",
        ),
        (
            "redact.rs",
            "use std::time::Instant;",
            "names std::time::Instant",
        ),
        ("state.rs", "use std::env;", "state.rs names std::env; only"),
        (
            "state.rs",
            "use std::process::{Child, Command};",
            "state.rs names std::process::Command",
        ),
        (
            "state.rs",
            "std::time::SystemTime::now()",
            "state.rs names std::time::SystemTime",
        ),
    ] {
        assert!(wrong(file, text).contains(said), "{text}");
    }
    assert!(wrong("cmd.rs", "").contains("cmd.rs does not name std::process::Command any more"));
}
