//! What an agent is given, where it works, and who can see it.

use super::*;
use crate::world::kill;
use rustix::process::Signal;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    path::Path,
};

#[test]
fn an_agent_leads_a_session_and_what_it_leaves_behind_is_ended() {
    let world = World::new("session");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent(&format!(
            "sleep 600 & echo $! >$MARKS/child.new; mv $MARKS/child.new $MARKS/child; {GATE} exit 0"
        ))
        .start();
    let dir = world.until("there is a run", || {
        run_dirs(&world).pop().filter(|d| part(d, "pid").is_some())
    });
    let agent = agent_pid(&world, &dir);
    world.wait_for("the agent has a child", || {
        !mark_file(&world, "child").is_empty()
    });
    let child: i32 = mark_file(&world, "child").trim().parse().unwrap();
    let number = agent.to_string();
    let fields = stat(agent).unwrap();
    assert_eq!(
        fields[2..4],
        [number.clone(), number.clone()],
        "group and session"
    );
    assert_eq!(stat(child).unwrap()[3], number, "session of the child");
    let supervisor = parent(agent).unwrap();
    let own = stat(supervisor).unwrap();
    assert_eq!(
        own[3],
        supervisor.to_string(),
        "the supervisor has a session too"
    );
    assert_eq!(parent(supervisor), Some(started.pid()));
    open_gate(&world);
    world.wait_for("it is reported", || world.outcomes().len() == 1);
    assert!(!lives(child), "a grandchild outlives the attempt");
    assert_eq!(world.outcome("A-1")["exit_code"], 0);
    assert_eq!(started.terminate().code, Some(0));
    assert_nothing_left(&world);
}

#[test]
fn an_interrupt_of_the_orchestrators_group_reaches_no_agent() {
    let world = World::new("interrupt");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent(&format!("{BEGIN} {GATE} {END}"))
        .start();
    world.wait_for("it began", || begun(&world) == 1);
    let dir = run_dir(&world);
    let agent = agent_pid(&world, &dir);
    started.signal(Signal::INT);
    assert_eq!(started.wait().code, Some(0));
    assert!(lives(agent));
    open_gate(&world);
    orchestrator(&world).agent("exit 1").finish(0);
    assert_eq!(begun(&world), 1);
}

/// Everything below, the directory itself included.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    if dir.is_dir() && !dir.is_symlink() {
        for entry in fs::read_dir(dir).unwrap() {
            all.extend(below(&entry.unwrap().path()));
        }
    }
    all
}

#[track_caller]
fn assert_private(world: &World) {
    for path in below(&world.state_dir()) {
        // What the agent makes is the agent's.
        if path.parent().is_some_and(|p| p.ends_with("work")) {
            continue;
        }
        // It may be gone by now.
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        let mode = meta.permissions().mode() & 0o7777;
        let right = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, right, "{} is {mode:o}", path.display());
    }
}

#[test]
fn nobody_else_can_read_the_state_directory() {
    let world = World::new("private");
    world.items(&json!([{"id": "A-1"}, {"id": "B-1"}]));
    let started = orchestrator(&world)
        .agent(&format!(
            "pwd -P >$MARKS/pwd.$RECAC_ITEM_ID; echo $RECAC_WORKSPACE >>$MARKS/pwd.$RECAC_ITEM_ID; \
             {BEGIN} {GATE} test $RECAC_ITEM_ID = A-1 || exec sleep 600"
        ))
        .args(["--agent-timeout=2s", "--max-attempts=1"])
        .start();
    world.wait_for("both began", || begun(&world) == 2);
    assert_private(&world);
    let dirs = run_dirs(&world);
    assert_eq!(dirs.len(), 2);
    let work = fs::canonicalize(dirs[0].join("work")).unwrap();
    assert_eq!(
        work.metadata().unwrap().permissions().mode() & 0o7777,
        0o700
    );
    let said = mark_file(&world, "pwd.A-1");
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said,
        [
            work.to_str().unwrap(),
            dirs[0].join("work").to_str().unwrap()
        ]
    );
    open_gate(&world);
    world.wait_for("both are reported", || world.outcomes().len() == 2);
    assert_eq!(started.terminate().code, Some(0));
    assert_private(&world);
    assert!(world.state_dir().join("logs").is_dir());
    let outcomes = world.path("work.outcomes.jsonl").metadata().unwrap();
    assert_eq!(outcomes.permissions().mode() & 0o777, 0o600);
}

/// `NAME=VALUE`s of `/proc/PID/environ`.
fn variables(bytes: &[u8]) -> BTreeMap<String, String> {
    let all = bytes.split(|b| *b == 0).filter(|var| !var.is_empty());
    let all = all.map(|var| String::from_utf8(var.to_vec()).unwrap());
    all.map(|var| {
        let (name, value) = var.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    })
    .collect()
}

const NASTY: &str = "a 'b' \"c\" \\ $(touch /tmp/x) `id` ${HOME} $HOME %s {id} | > & ;\n\tend\r\n\u{1b}[31m é日\u{1f600} -- -n";

#[test]
fn the_environment_is_complete_and_byte_for_byte() {
    let world = World::new("environment");
    let description = format!("{NASTY}\n{}", "0123456789abcdé ".repeat(90 * 1024 / 17));
    world.items(&json!([{
        "id": "A-1", "summary": NASTY, "description": description,
        "repo_url": "https://git.example/o/r.git", "url": "https://t.example/A-1?x=1&y=2",
        "env": {"NASTY": NASTY, "EMPTY": "", "lower": "1", "TZ": "of the item"},
    }]));
    for (name, value) in [
        ("USER", "me"),
        ("LC_ALL", "C.UTF-8"),
        ("LC_ODD", "x"),
        ("TMPDIR", "/tmp"),
        ("https_proxy", "http://p.example"),
        ("TZ", "UTC"),
        ("LANG", ""),
        ("RECAC_MAX_ITERATIONS", "7"),
        ("RECAC_DB_TYPE", "sqlite"),
        ("FORWARDED", NASTY),
        // None of these is for an agent.
        ("EDITOR", "vi"),
        ("OTHER_SECRET", "not-for-agents"),
        ("JIRA_API_TOKEN", "not-for-agents-either"),
        ("OPENAI_API_KEY", "of another provider"),
        ("RECAC_STATE_DIR", "/nowhere"),
        ("LD_LIBRARY_PATH", ""),
        ("STATE_DIRECTORY", "/nowhere"),
    ] {
        world.set(name, value);
    }
    world.set("OPENROUTER_API_KEY", "sk-or-12345678");
    world.set("GITHUB_API_KEY", "ghp_12345678");
    let out = world.path("environ");
    // cp itself is the agent, so that no shell adds a variable.
    orchestrator(&world)
        .arg(format!(
            "--agent-command=cp /proc/self/environ {}",
            out.display()
        ))
        .args([
            "--agent-env=FORWARDED",
            "--agent-env=NOT_SET",
            "--agent-env=GIVEN=a=b c",
        ])
        .finish(0);
    let mut found = variables(&fs::read(out).unwrap());
    let path = std::env::var("PATH").unwrap();
    let run = world.outcome("A-1")["run"].as_str().unwrap().to_owned();
    let work = world.state_dir().join("runs").join(&run).join("work");
    let helper = found.remove("GIT_CONFIG_VALUE_0").unwrap();
    assert!(
        helper.starts_with("!f()") && !helper.contains("ghp_"),
        "{helper}"
    );
    let expected = BTreeMap::from(
        [
            ("PATH", path.as_str()),
            ("HOME", world.path("home").to_str().unwrap()),
            ("USER", "me"),
            ("LC_ALL", "C.UTF-8"),
            ("LC_ODD", "x"),
            ("TMPDIR", "/tmp"),
            ("https_proxy", "http://p.example"),
            ("TZ", "of the item"),
            ("RECAC_ITEM_ID", "A-1"),
            ("RECAC_PROJECT_ID", "A-1"),
            ("RECAC_ITEM_SUMMARY", NASTY),
            ("RECAC_ITEM_DESCRIPTION", &description),
            ("RECAC_ITEM_URL", "https://t.example/A-1?x=1&y=2"),
            ("RECAC_REPO_URL", "https://git.example/o/r.git"),
            ("RECAC_RUN", &run),
            ("RECAC_ATTEMPT", "1"),
            ("RECAC_MAX_ATTEMPTS", "3"),
            ("RECAC_WORKSPACE", work.to_str().unwrap()),
            ("RECAC_PROVIDER", "openrouter"),
            ("RECAC_MODEL", "mistralai/devstral-2512:free"),
            ("RECAC_MAX_ITERATIONS", "7"),
            ("RECAC_DB_TYPE", "sqlite"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", "RECAC Agent"),
            ("GIT_COMMITTER_NAME", "RECAC Agent"),
            ("GIT_AUTHOR_EMAIL", "agent@recac.io"),
            ("GIT_COMMITTER_EMAIL", "agent@recac.io"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "credential.https://github.com.helper"),
            ("NASTY", NASTY),
            ("EMPTY", ""),
            ("lower", "1"),
            ("FORWARDED", NASTY),
            ("GIVEN", "a=b c"),
            ("MARKS", world.path("marks").to_str().unwrap()),
            ("OPENROUTER_API_KEY", "sk-or-12345678"),
            ("GITHUB_API_KEY", "ghp_12345678"),
            ("RECAC_GITHUB_API_KEY", "ghp_12345678"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&found), names(&expected));
    for (name, value) in &expected {
        assert!(found[name] == *value, "{name}: {:?}", found[name]);
    }
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let world = World::new("arguments");
    let description = format!("{NASTY}\n{}", "x".repeat(90 * 1024));
    world.items(&json!([{"id": "-rf $(id)", "summary": NASTY, "description": description}]));
    let out = world.path("cmdline");
    orchestrator(&world)
        .arg(format!(
            "--agent-command=sh -c 'cat /proc/$$/cmdline >{}' -- {{id}} {{summary}} x={{description}} {{{{ }} '' '{{attempt}} {{workspace}}'",
            out.display()
        ))
        .finish(0);
    let bytes = fs::read(out).unwrap();
    let run = world.outcome("-rf $(id)")["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let work = world.state_dir().join("runs").join(run).join("work");
    let words: Vec<&str> = std::str::from_utf8(&bytes).unwrap().split('\0').collect();
    let expected = [
        "--",
        "-rf $(id)",
        NASTY,
        &format!("x={description}"),
        "{",
        "}",
        "",
        &format!("1 {}", work.display()),
        // Behind the last NUL.
        "",
    ];
    assert_eq!(words.len(), expected.len() + 3, "words");
    for (word, expected) in words[3..].iter().zip(expected) {
        assert!(word == &expected, "{word:?}");
    }
}

#[test]
fn secrets_are_seen_by_the_agent_and_by_nobody_else() {
    let secrets = [
        ("GITHUB_TOKEN", "ghp-one-1111111"),
        ("OPENROUTER_API_KEY", "sk-two-2222222"),
        ("X_TOKEN", "x-three-3333333"),
        ("MY_PASSWORD", "item-four-444444"),
        ("RECAC_DB_URL", "postgres://five:5555555@db"),
    ];
    for format in ["text", "json"] {
        let world = World::new("secrets");
        for (name, value) in [secrets[0], secrets[1], secrets[4]] {
            world.set(name, value);
        }
        world.set("JIRA_API_TOKEN", "tracker-6666666");
        // On the command line it would be the user who shows it.
        world.set(
            "RECAC_AGENT_ENV",
            format!(
                "X_TOKEN={} MARKS={}",
                secrets[2].1,
                world.path("marks").display()
            ),
        );
        fs::create_dir(world.path("marks")).unwrap();
        world.items(&json!([{"id": "A-1", "env": {"MY_PASSWORD": secrets[3].1}}]));
        let names = secrets.map(|(name, _)| format!("${name}")).join(" ");
        let started = world
            .orchestrator()
            .args(["--mode=process", "--once", "--wait", "--max-attempts=2"])
            .arg(format!("--log-format={format}"))
            .agent(&format!(
                "echo {names} \"$JIRA_API_TOKEN\" >$MARKS/seen.$RECAC_ATTEMPT; echo says {names}; {BEGIN} {GATE} exit 3"
            ))
            .start();
        let all = secrets.map(|(_, value)| value);
        world.wait_for("it began", || begun(&world) == 1);
        assert_eq!(mark_file(&world, "seen.1").trim(), all.join(" "));
        // While it runs: the arguments of every process there is.
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let argv = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let argv = String::from_utf8_lossy(&argv);
            for value in all {
                assert!(!argv.contains(value), "{:?}: {argv}", entry.path());
            }
        }
        let look = || {
            for path in below(&world.state_dir()) {
                let raw = path.ends_with("log") || path.extension().is_some_and(|e| e == "log");
                if !path.is_file() || raw {
                    continue;
                }
                let content = fs::read(&path).unwrap_or_default();
                let content = String::from_utf8_lossy(&content);
                for value in all {
                    assert!(!content.contains(value), "{}: {content}", path.display());
                }
            }
        };
        look();
        open_gate(&world);
        let out = started.wait();
        assert_eq!(out.code, Some(1));
        look();
        let outcomes = fs::read_to_string(world.path("work.outcomes.jsonl")).unwrap();
        for value in all {
            assert!(!out.stderr.contains(value) && !out.stdout.contains(value));
            assert!(!outcomes.contains(value), "{outcomes}");
        }
        let told = secrets.map(|(name, _)| format!("[{name}]")).join(" ");
        assert_eq!(world.outcome("A-1")["tail"], format!("says {told}"));
        // The raw log is the only place.
        let logs: Vec<_> = below(&world.state_dir().join("logs"))
            .into_iter()
            .filter(|p| p.is_file())
            .collect();
        assert_eq!(logs.len(), 2);
        assert_eq!(
            fs::read_to_string(&logs[0]).unwrap(),
            format!("says {}\n", all.join(" "))
        );
    }
}

#[test]
fn secrets_of_an_agent_of_an_earlier_start_are_hidden_too() {
    let world = World::new("old_secrets");
    world.items(&json!([{"id": "A-1"}]));
    let agent = format!("{BEGIN} echo $GITHUB_TOKEN; {GATE} echo $GITHUB_TOKEN");
    let started = orchestrator(&world)
        .env("GITHUB_TOKEN", "ghp-old-1111111")
        .agent(&agent)
        .start();
    world.wait_for("it began", || begun(&world) == 1);
    started.kill();
    // Another token by now, or none at all.
    let again = orchestrator(&world).agent(&agent).start();
    again.wait_for_log("running");
    open_gate(&world);
    world.wait_for("it is reported", || world.outcomes().len() == 1);
    again.terminate();
    assert_eq!(
        world.outcome("A-1")["tail"],
        "[GITHUB_TOKEN]\n[GITHUB_TOKEN]"
    );
}

#[test]
fn any_id_is_an_item_of_its_own() {
    let world = World::new("odd_ids");
    let long = "é".repeat(127) + "x";
    let ids = [
        "A-1",
        "a-1",
        "A.1",
        "A 1",
        "-rf",
        "--help",
        ".",
        "..",
        "../../../etc",
        "a/b",
        " ",
        "$(id)",
        "`id`",
        "%s%n",
        "{id}",
        "*",
        "日本",
        "'\"",
        "\\",
        "recac-agent-a-1-1",
        &long,
    ];
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    world.items(&json!(items));
    orchestrator(&world)
        .agent(r#"printf %s "$RECAC_ITEM_ID" >"$MARKS/$RECAC_RUN"; printf '%s' "$RECAC_ITEM_ID""#)
        .args(["--max-agents=6"])
        .finish(0);
    let mut runs = BTreeSet::new();
    for id in ids {
        let outcome = world.outcome(id);
        assert_eq!(outcome["outcome"], "succeeded");
        assert_eq!(outcome["tail"], id.trim_end_matches('\n'));
        let run = outcome["run"].as_str().unwrap().to_owned();
        let lawful = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(run.len() <= 63 && run.chars().all(lawful), "{run}");
        assert_eq!(mark_file(&world, &run), id);
        assert!(runs.insert(run), "two items have one name");
    }
    assert_nothing_left(&world);
}

#[test]
fn what_an_agent_made_unreadable_is_cleared_all_the_same() {
    let world = World::new("read_only");
    world.items(&json!([{"id": "A-1"}]));
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    orchestrator(&world)
        .agent(&format!(
            "mkdir -p a/b/c d; touch a/b/c/f a/g d/h; ln -s {} link; chmod 0400 a/b/c/f; \
             chmod 0500 a/b/c a/b a .; chmod 0 d",
            outside.display()
        ))
        .finish(0);
    assert!(
        outside.join("kept").exists(),
        "a symbolic link was followed"
    );
    assert_nothing_left(&world);
}

#[test]
fn an_agent_has_no_input_and_no_open_file_of_ours() {
    let world = World::new("files");
    world.items(&json!([{"id": "A-1"}]));
    let started = orchestrator(&world)
        .agent(&format!("cat; {BEGIN} {GATE} exit 0"))
        .start();
    world.wait_for("it began", || begun(&world) == 1);
    let dir = run_dir(&world);
    let agent = agent_pid(&world, &dir);
    let mut files: Vec<_> = fs::read_dir(format!("/proc/{agent}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|e| {
            Some((
                e.file_name().into_string().ok()?,
                fs::read_link(e.path()).ok()?,
            ))
        })
        // What a shell opens for itself is numbered from 10.
        .filter(|(number, _)| number.len() < 2)
        .collect();
    files.sort();
    let log = fs::canonicalize(dir.join("log")).unwrap();
    let expected = [("0", Path::new("/dev/null")), ("1", &log), ("2", &log)];
    let expected = expected.map(|(n, path)| (n.to_owned(), path.to_owned()));
    assert_eq!(files, expected);
    kill(agent, Signal::KILL);
    started.terminate();
}
