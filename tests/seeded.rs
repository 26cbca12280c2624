//! Short, seeded versions of the fuzz targets `command` and `docker`, so that
//! every run of the tests plays some of them. Those of the work file and the
//! outcomes file stand beside their parsers.

use recac_orchestrator::{
    agent::{Command, Values, quote, split},
    core::Stamp,
    runtime::docker::state,
};

use crate::random::{Random, seed};

/// One of the texts, with some of it changed.
fn mutated(random: &mut Random, texts: &[&str], pieces: &[&str]) -> String {
    let mut chars: Vec<char> = random.pick(texts).chars().collect();
    for _ in 0..random.below(6) {
        let at = random.below(chars.len() as u64 + 1) as usize;
        match random.below(3) {
            0 => {
                chars.splice(at..at, random.pick(pieces).chars());
            }
            1 if at < chars.len() => {
                chars.remove(at);
            }
            _ => chars.truncate(at.max(1)),
        }
    }
    chars.into_iter().collect()
}

#[test]
fn any_command_is_refused_with_a_reason_or_can_be_filled() {
    const TEXTS: &[&str] = &[
        "/usr/local/bin/recac-agent --project {id} --summary {summary}",
        "sh -c 'echo \"$RECAC_ITEM_ID\"' -- {description}",
        r#"env A="b c" busybox sh -ec 'x' {{id}} ${NAME} {"#,
        "image",
        "",
    ];
    const PIECES: &[&str] = &[
        "'", "\"", "\\", "{", "}", "{id}", "{idd}", "|", ">", "\n", " ", "\0", "é", "-c", "$(x)",
        "sh ",
    ];
    let seed = seed();
    let mut random = Random::new(seed);
    for _ in 0..20_000 {
        let text = mutated(&mut random, TEXTS, PIECES);
        if let Ok(words) = split(&text) {
            let again: Vec<String> = words.iter().map(|word| quote(word)).collect();
            assert_eq!(split(&again.join(" ")), Ok(words), "seed {seed}: {text:?}");
        }
        match Command::parse(&text) {
            Ok(command) => {
                let hostile = "{id}$(x)";
                let filled = command.fill(&Values {
                    id: hostile,
                    summary: hostile,
                    description: hostile,
                    repo_url: hostile,
                    url: hostile,
                    attempt: "1",
                    workspace: "/workspace",
                });
                // A ticket never adds an argument.
                if let (Some(filled), Ok(words)) = (filled, split(&text)) {
                    assert_eq!(filled.len(), words.len(), "seed {seed}: {text:?}");
                }
            }
            Err(why) => assert!(!why.is_empty(), "seed {seed}: {text:?}"),
        }
    }
}

#[test]
fn whatever_docker_says_is_read_or_refused() {
    const LINE: &str = concat!(
        r#"{"Id":"0b41","Name":"/a","Created":"2026-11-24T03:45:26.574133091Z","#,
        r#""State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"Error":"","#,
        r#""StartedAt":"2026-11-24T03:45:26.758186328Z","FinishedAt":"0001-01-01T00:00:00Z"},"#,
        r#""Labels":{"recac.io/owner":"default"},"Memory":33554432}"#
    );
    const PIECES: &[&str] = &[
        "null",
        "0",
        "-1",
        "1e999",
        "\"\"",
        "created",
        "dead",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "é",
        "99999999999999999999",
        "\\u0000",
        "true",
    ];
    let seed = seed();
    let mut random = Random::new(seed);
    let mut read = 0;
    for _ in 0..20_000 {
        let text = mutated(&mut random, &[LINE], PIECES);
        match state::parse(&text, Stamp(1_795_489_507_123)) {
            Ok(_) => read += 1,
            Err(why) => assert!(!why.is_empty(), "seed {seed}: {text:?}"),
        }
    }
    assert!(read > 0, "seed {seed}: not even the plain line was read");
}
