//! What agents are given, byte for byte, and what nobody else is given.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use super::Docker;

/// Everything that a shell, docker or JSON could take for something else.
const ODD: &str = "'single' \"double\" `id` $(id) ${HOME} $RECAC_RUN $$ \\ \\n \\\\ %s %% {id} {{x}} \
    * ? [a] ~ ! # & | ; < > = , --flag -x \t tab \r\n\n  spaces  \u{1}\u{7f} é 日本 \u{202e} 🦀 \n";

/// The variables of an agent that wrote its `/proc/self/environ`.
fn environment(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let vars = text.split_terminator('\0').map(|var| {
        let (name, value) = var.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    vars.collect()
}

#[test]
fn environment_and_arguments_arrive_byte_for_byte() {
    let Some(docker) = Docker::new("bytes") else {
        return;
    };
    let mut description = ODD.repeat(90 * 1024 / ODD.len() + 1);
    while description.len() > 90 * 1024 {
        description.pop();
    }
    docker.items(&json!([{
        "id": "A-1", "summary": ODD, "description": description,
        "repo_url": "https://example.org/a/b.git", "url": "https://example.org/A-1?a=b&c=$d",
        "env": {"ODD": ODD, "EMPTY": "", "lower": "case"},
    }]));
    let script =
        "cat /proc/self/environ >/ledger/env; cat /proc/$$/cmdline >/ledger/argv; pwd >/ledger/pwd";
    let command = format!(
        "--agent-command=sh -c '{script}' agent {{id}} {{summary}} {{description}} x{{summary}}y {{url}} {{attempt}} '' '${{HOME}} {{{{id}}'"
    );
    let output = docker
        .orchestrator()
        .arg(command)
        .arg("--docker-arg=--env=FROM=the docker argument $X")
        .arg(format!("--agent-env=ALSO={ODD}"))
        .arg("--agent-env=SEEN")
        .env("SEEN", ODD)
        .finish(0);
    assert!(!output.stderr.contains("shortened"));

    let env = environment(&docker.ledger_bytes("env"));
    let of = |name: &str| env.get(name).map(String::as_str);
    for (name, value) in [
        ("RECAC_ITEM_ID", "A-1"),
        ("RECAC_ITEM_SUMMARY", ODD),
        ("RECAC_ITEM_DESCRIPTION", &description),
        ("RECAC_ITEM_URL", "https://example.org/A-1?a=b&c=$d"),
        ("RECAC_REPO_URL", "https://example.org/a/b.git"),
        ("RECAC_ATTEMPT", "1"),
        ("RECAC_MAX_ATTEMPTS", "3"),
        ("RECAC_WORKSPACE", "/workspace"),
        ("RECAC_PROJECT_ID", "A-1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("ODD", ODD),
        ("EMPTY", ""),
        ("lower", "case"),
        ("ALSO", ODD),
        ("SEEN", ODD),
        ("FROM", "the docker argument $X"),
    ] {
        assert!(
            of(name) == Some(value),
            "{name} is {:?}, not {value:?}",
            of(name)
        );
    }
    assert_eq!(of("RECAC_RUN"), docker.outcome("A-1")["run"].as_str());
    let argv = String::from_utf8(docker.ledger_bytes("argv")).unwrap();
    let argv: Vec<&str> = argv.split_terminator('\0').collect();
    let both = format!("x{ODD}y");
    let expected = [
        "sh",
        "-c",
        script,
        "agent",
        "A-1",
        ODD,
        &description,
        &both,
        "https://example.org/A-1?a=b&c=$d",
        "1",
        "",
        "${HOME} {id}",
    ];
    assert!(argv == expected, "{argv:?}");
    assert_eq!(docker.ledger("pwd"), "/workspace\n");
    docker.assert_nothing_left();
}

#[test]
fn text_that_is_too_long_for_a_variable_is_shortened_and_that_is_said() {
    let Some(docker) = Docker::new("long") else {
        return;
    };
    docker.items(&json!([{"id": "A-1", "description": "é".repeat(100 * 1024), "url": "https://example.org/A-1"}]));
    let script = r#"printf %s "$RECAC_ITEM_DESCRIPTION" >/ledger/text"#;
    let output = docker.orchestrator().agent(script).finish(0);
    let text = docker.ledger("text");
    let (body, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(body.len() <= 96 * 1024, "{} bytes", body.len());
    assert!(body.trim_end().chars().all(|c| c == 'é'));
    assert!(
        last.ends_with("of 204800 bytes; the rest is at https://example.org/A-1]"),
        "{last}"
    );
    assert!(output.stderr.contains("WARN"));
}

#[test]
fn ids_of_every_odd_character_are_told_apart_and_come_back_as_they_were() {
    let Some(docker) = Docker::new("odd_ids") else {
        return;
    };
    let punctuation: String = (' '..='~').filter(|c| !c.is_ascii_alphanumeric()).collect();
    let long = "é".repeat(127) + "x";
    let ids = [
        "A-1",
        "a-1",
        "A_1",
        "A 1",
        "a.1",
        &punctuation,
        "$(touch /ledger/ran)",
        "`id`",
        "-rf",
        "--help",
        "../../etc/passwd",
        "/",
        ".",
        "\"",
        "'",
        "ä-日本-🦀",
        "a\u{202e}b",
        "İ",
        &long,
        "recac-agent-a-1-1",
        "=",
        "a=b",
        "a,b",
        "{{.ID}}",
        " x ",
    ];
    let items: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "summary": id}))
        .collect();
    docker.items(&items.into());
    let script = r#"printf %s "$RECAC_ITEM_ID" >"/ledger/$RECAC_RUN"; [ "$RECAC_ATTEMPT" = 2 ] || [ "$RECAC_ITEM_ID" != a-1 ]"#;
    docker
        .orchestrator()
        .arg("--max-agents=8")
        .agent(script)
        .finish(0);

    let mut names = std::collections::BTreeSet::new();
    for id in ids {
        let outcome = docker.outcome(id);
        assert_eq!(outcome["outcome"], "succeeded", "{id:?}");
        let run = outcome["run"].as_str().unwrap();
        assert_eq!(docker.ledger(run), id, "what the agent of {run} was given");
        assert!(names.insert(run.to_owned()), "{run} stands for two items");
    }
    assert_eq!(docker.outcome("a-1")["attempts"], 2);
    assert_eq!(docker.outcomes().len(), ids.len());
    assert!(!docker.path("ledger/ran").exists());
    docker.assert_nothing_left();
}

/// Every file below, without those that may hold secrets.
fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn a_secret_is_seen_by_its_agent_and_by_nobody_else() {
    let Some(docker) = Docker::new("secrets") else {
        return;
    };
    const SECRETS: [(&str, &str); 5] = [
        ("GITHUB_TOKEN", "ghp_0123456789abcdef"),
        ("OPENROUTER_API_KEY", "sk-or-v1-fedcba98"),
        ("MY_PASSWORD", "correct horse $battery"),
        ("ITEM_SECRET", "kept by one item"),
        (
            "LINES_KEY",
            "-----BEGIN-----\nMIIEvQIBADANBgkq\n-----END-----",
        ),
    ];
    let hidden = [
        "ghp_0123456789abcdef",
        "sk-or-v1-fedcba98",
        "horse $battery",
        "kept by one item",
        "MIIEvQIBADANBgkq",
        "jira-only-token",
    ];
    docker.items(&json!([{"id": "A-1", "env": {"ITEM_SECRET": SECRETS[3].1}}]));
    let client = docker.client(r#"exec docker "$@""#);
    // Everything that it has is said aloud, the last thing in an error.
    let script = r#"cat /proc/self/environ >/ledger/env; env; echo "x${GITHUB_TOKEN}y"
        echo "$MY_PASSWORD" >&2; echo up >/ledger/up
        until [ -e /ledger/go ]; do sleep 0.05; done; exit 3"#;
    let mut orchestrator = docker
        .orchestrator()
        .arg(client)
        .agent(script)
        .args([
            "--agent-env=MY_PASSWORD",
            "--agent-env=LINES_KEY",
            "--max-attempts=2",
        ])
        .env("JIRA_API_TOKEN", "jira-only-token");
    for (name, value) in SECRETS.iter().filter(|(name, _)| *name != "ITEM_SECRET") {
        orchestrator = orchestrator.env(name, value);
    }
    let dry = orchestrator.clone().arg("--dry-run").run();
    assert!(dry.stdout.contains("GITHUB_TOKEN"), "{}", dry.stdout);

    let started = orchestrator.clone().args(["--once", "--wait"]).start();
    docker.wait_for("the agent runs", || docker.path("ledger/up").exists());
    let container = docker.until("it is listed", || docker.containers().pop());
    // Its environment has them, as that of any container has.
    let mut seen = docker.inspect(&container);
    let env = seen["Config"]
        .as_object_mut()
        .unwrap()
        .remove("Env")
        .unwrap();
    assert!(env.to_string().contains("ghp_0123456789abcdef"));
    let ps: Vec<u8> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .flat_map(|e| fs::read(e.path().join("cmdline")).unwrap_or_default())
        .collect();
    let ps = String::from_utf8_lossy(&ps).into_owned();
    docker.give("go");
    let output = started.wait();
    assert_eq!(output.code, Some(1));

    let env = environment(&docker.ledger_bytes("env"));
    for (name, value) in SECRETS {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!env.contains_key("JIRA_API_TOKEN"));
    let tail = docker.outcome("A-1")["tail"].to_string();
    assert!(
        tail.contains("x[GITHUB_TOKEN]y") && tail.contains("[MY_PASSWORD]"),
        "{tail}"
    );

    let mut texts = vec![
        ("docker inspect".to_owned(), seen.to_string()),
        ("the processes".to_owned(), ps),
    ];
    let mut written = vec![];
    files(&docker.dir, &mut written);
    let (logs, ledger) = (docker.path("state/logs"), docker.path("ledger"));
    for path in written {
        // Raw logs, what the agent wrote, and what we wrote ourselves.
        if path.starts_with(&logs) || path.starts_with(&ledger) || path == docker.path("work.json")
        {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        texts.push((path.display().to_string(), text));
    }
    let argv = fs::read_to_string(docker.path("argv")).unwrap();
    assert!(
        argv.contains("\nrun\n") || argv.starts_with("run\n"),
        "{argv}"
    );
    for (place, text) in &texts {
        for secret in hidden {
            assert!(!text.contains(secret), "{secret:?} is in {place}:\n{text}");
        }
    }
    for log in fs::read_dir(logs).unwrap().flatten() {
        let mode = std::os::unix::fs::PermissionsExt::mode(&log.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    docker.assert_nothing_left();
}

#[test]
fn no_half_of_a_secret_stays_at_the_edge_of_the_last_lines() {
    let Some(docker) = Docker::new("half") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    // Docker keeps a line in pieces of 16 KiB and counts these as lines. The
    // first secret lies across two of them, before 49 further lines; the
    // second fills more than is ever looked at, without a break.
    let script = r#"case $RECAC_ITEM_ID in
        A-1) head -c 16374 /dev/zero | tr "\0" .; echo "$A_KEY"; seq 49;;
        A-2) yes "$A_KEY" | head -8000 | tr -d "\n";;
        esac"#;
    let secret = "0123456789abcdefghijklmnopqrstuvwxyz";
    let orchestrator = docker.orchestrator().agent(script);
    orchestrator
        .arg("--agent-env=A_KEY")
        .env("A_KEY", secret)
        .finish(0);
    let tails = ["A-1", "A-2"].map(|id| docker.outcome(id)["tail"].as_str().unwrap().to_owned());
    for tail in &tails {
        assert!(
            !tail.contains("vwxyz"),
            "{}",
            tail.get(..100).unwrap_or(tail)
        );
        assert!(
            tail.contains("[A_KEY]"),
            "{}",
            tail.get(..100).unwrap_or(tail)
        );
    }
    assert!(tails[0].contains("[A_KEY]\n1\n"));
    assert!(tails[0].ends_with("\n49"));
}
