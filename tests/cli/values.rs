//! Options, variables and their values.

use super::*;
use std::collections::BTreeSet;

/// Option, variable, a wrong value, and what the message says besides.
const WRONG: &[(&str, &str, &str, &[&str])] = &[
    ("poller", "RECAC_POLLER", "trello", &["file"]),
    (
        "interval",
        "RECAC_ORCHESTRATOR_INTERVAL",
        "60",
        &["no unit", "30s"],
    ),
    (
        "interval",
        "RECAC_ORCHESTRATOR_INTERVAL",
        "500ms",
        &["at least 1s"],
    ),
    ("default-repo", "RECAC_DEFAULT_REPO", "-x", &["https://"]),
    (
        "repo-host",
        "RECAC_REPO_HOSTS",
        "https://git.example/o",
        &["git.example"],
    ),
    (
        "mode",
        "RECAC_ORCHESTRATOR_MODE",
        "podman",
        &["local", "k8s", "process"],
    ),
    (
        "image",
        "RECAC_ORCHESTRATOR_IMAGE",
        "a b",
        &["registry.example/name:tag"],
    ),
    (
        "image-pull-policy",
        "RECAC_IMAGE_PULL_POLICY",
        "sometimes",
        &["Always", "IfNotPresent", "Never"],
    ),
    (
        "agent-provider",
        "RECAC_AGENT_PROVIDER",
        "a\nb",
        &["one line"],
    ),
    ("agent-model", "RECAC_AGENT_MODEL", "a\tb", &["one line"]),
    (
        "agent-command",
        "RECAC_AGENT_COMMAND",
        "agent {idd}",
        &["{id}"],
    ),
    (
        "agent-command",
        "RECAC_AGENT_COMMAND",
        "agent | tee x",
        &["|"],
    ),
    ("agent-command", "RECAC_AGENT_COMMAND", "agent 'x", &["'"]),
    (
        "agent-command",
        "RECAC_AGENT_COMMAND",
        "sh -c 'echo {summary}'",
        &["\"$RECAC_ITEM_SUMMARY\""],
    ),
    ("agent-cpus", "RECAC_AGENT_CPUS", "two", &["500m"]),
    ("agent-memory", "RECAC_AGENT_MEMORY", "4GB", &["4Gi"]),
    ("github-host", "RECAC_GITHUB_HOST", "a/b", &["not a host"]),
    ("github-host", "GH_HOST", "a b", &["not a host"]),
    ("max-agents", "RECAC_MAX_AGENTS", "-1", &["whole number"]),
    (
        "max-agents",
        "RECAC_MAX_AGENTS",
        "4294967296",
        &["too large"],
    ),
    ("max-attempts", "RECAC_MAX_ATTEMPTS", "0", &["at least 1"]),
    ("retry-backoff", "RECAC_RETRY_BACKOFF", "1 s", &["30s"]),
    (
        "agent-timeout",
        "RECAC_AGENT_TIMEOUT",
        "0s",
        &["more than 0s"],
    ),
    ("start-timeout", "RECAC_START_TIMEOUT", "10x", &["units"]),
    ("stop-grace", "RECAC_STOP_GRACE", "soon", &["30s"]),
    ("owner", "RECAC_OWNER", "Team A", &["a-z"]),
    ("keep-logs", "RECAC_KEEP_LOGS", "14", &["no unit"]),
    ("once", "RECAC_ONCE", "maybe", &["true or false"]),
    ("wait", "RECAC_WAIT", "2", &["true or false"]),
    ("dry-run", "RECAC_DRY_RUN", "y", &["true or false"]),
    ("log-format", "RECAC_LOG_FORMAT", "xml", &["text", "json"]),
    ("verbose", "RECAC_VERBOSE", "very", &["true or false"]),
    ("outcomes", "RECAC_OUTCOMES", "configmap:x", &["--mode k8s"]),
    (
        "outcomes",
        "RECAC_OUTCOMES",
        "configmap:X",
        &["configmap:NAME", "a-z"],
    ),
    (
        "namespace",
        "RECAC_ORCHESTRATOR_NAMESPACE",
        "Team",
        &["a-z"],
    ),
    ("agent-secret", "RECAC_AGENT_SECRET_NAME", "a/b", &["a-z"]),
    (
        "agent-service-account",
        "RECAC_AGENT_SERVICE_ACCOUNT",
        "A",
        &["a-z"],
    ),
    ("kube-context", "RECAC_KUBE_CONTEXT", "a\nb", &["one line"]),
    ("keep-finished", "RECAC_KEEP_FINISHED", "1", &["no unit"]),
    (
        "leader-elect",
        "RECAC_LEADER_ELECT",
        "perhaps",
        &["true or false"],
    ),
    (
        "orchestrator-image",
        "RECAC_MANIFEST_IMAGE",
        "a b",
        &["registry.example/name:tag"],
    ),
    ("jira-url", "JIRA_URL", "a.example", &["https://HOST"]),
    ("jira-url", "JIRA_URL", "https://[::1", &["https://HOST"]),
    ("jira-url", "JIRA_URL", "https://h:99999", &["https://HOST"]),
    ("jira-url", "JIRA_URL", "https://h%41/", &["https://HOST"]),
    ("jira-url", "JIRA_URL", "https://h/a\\b", &["https://HOST"]),
    ("jira-username", "JIRA_EMAIL", "a\nb", &["one line"]),
    ("jira-username", "JIRA_USERNAME", " ", &["blank"]),
    ("jira-label", "RECAC_JIRA_LABEL", "a b", &["one word"]),
    ("jira-query", "RECAC_JIRA_QUERY", "a\nb", &["one line"]),
    // To Jira that is every ticket there is.
    ("jira-query", "RECAC_JIRA_QUERY", " ", &["blank"]),
    (
        "jira-start-status",
        "RECAC_JIRA_START_STATUS",
        "  ",
        &["blank"],
    ),
    (
        "jira-failed-status",
        "RECAC_JIRA_FAILED_STATUS",
        " ",
        &["blank"],
    ),
    (
        "jira-blocks-link",
        "RECAC_JIRA_BLOCKS_LINK",
        " ",
        &["blank"],
    ),
    (
        "jira-done-label",
        "RECAC_JIRA_DONE_LABEL",
        "a b",
        &["one word"],
    ),
    (
        "jira-failed-label",
        "RECAC_JIRA_FAILED_LABEL",
        "a b",
        &["one word"],
    ),
    (
        "jira-start-status",
        "RECAC_JIRA_START_STATUS",
        "a\nb",
        &["one line"],
    ),
    (
        "jira-done-status",
        "RECAC_JIRA_DONE_STATUS",
        "a\nb",
        &["one line"],
    ),
    (
        "jira-failed-status",
        "RECAC_JIRA_FAILED_STATUS",
        "auto",
        &["its name, or none"],
    ),
    (
        "jira-blocks-link",
        "RECAC_JIRA_BLOCKS_LINK",
        "a\nb",
        &["one line"],
    ),
    (
        "jira-deployment",
        "RECAC_JIRA_DEPLOYMENT",
        "server",
        &["cloud or dc"],
    ),
    ("agent-env", "RECAC_AGENT_ENV", "1A", &["NAME"]),
    (
        "docker-arg",
        "RECAC_DOCKER_ARGS",
        "'x",
        &["cannot be split"],
    ),
];

/// Of these the message must not show the value.
const PRIVATE: [&str; 2] = ["agent-env", "docker-arg"];

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    let world = World::new("wrong");
    for (flag, variable, value, said) in WRONG {
        let arg = format!("--{flag}={value}");
        let by_arg = (*flag != "docker-arg").then(|| {
            (
                format!("--{flag}: "),
                bare(&world, &["--poller=file", &arg], &[]),
            )
        });
        // On the command line nothing else says who polls.
        let poller: &[&str] = match *flag {
            "poller" => &[],
            _ => &["--poller=file"],
        };
        let by_env = bare(&world, poller, &[(variable, value)]);
        let by_env = (format!("{variable}: "), by_env);
        for (name, out) in by_arg.into_iter().chain([by_env]) {
            assert_eq!(out.code, Some(2), "{name}{value}: {}", out.stderr);
            let line = out.stderr.lines().find(|l| l.contains(&name));
            let line = line.unwrap_or_else(|| panic!("{name}{value}: {}", out.stderr));
            assert!(line.starts_with("orchestrator: "), "{line}");
            for word in *said {
                assert!(line.contains(word), "{word}: {line}");
            }
            // As a string of Rust has it: one line, no control characters.
            let shown = format!("{value:?}");
            assert!(
                PRIVATE.contains(flag)
                    || line.contains(shown.trim_matches('"'))
                    || line.contains(value),
                "{line}"
            );
            assert_eq!(out.stdout, "");
        }
    }
    assert!(!world.path("home/.local").exists(), "nothing is touched");
}

#[test]
fn every_option_of_the_help_is_tried_here_or_takes_any_value() {
    let world = World::new("help");
    let out = bare(&world, &["--help"], &[("RECAC_MAX_AGENTS", "nonsense")]);
    assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""));
    let any = [
        "work-file",
        "jira-token-file",
        "jira-ca-file",
        "docker-binary",
        "state-dir",
        "job-template",
        "kubeconfig",
        "help",
        "version",
    ];
    let (_, options) = out.stdout.split_once("\nWork:\n").unwrap();
    let options = options.lines().filter_map(|line| {
        let (before, option) = line.split_once("--")?;
        // What an option is about stands further in.
        (before.len() == 6).then_some(option)
    });
    let options = options.map(|option| option.split(['=', '[', ' ']).next().unwrap());
    let options: BTreeSet<&str> = options.collect();
    let tried: BTreeSet<&str> = WRONG.iter().map(|(flag, ..)| *flag).chain(any).collect();
    assert_eq!(options, tried);
    // Those take any path, but not nothing.
    for flag in ["--work-file=", "--docker-binary=", "--state-dir="] {
        let out = bare(&world, &["--poller=file", flag], &[]);
        assert_eq!(out.code, Some(2));
        assert!(out.stderr.contains("the value is empty"), "{}", out.stderr);
    }
    assert_eq!(
        bare(&world, &["--version"], &[]).stdout,
        format!("orchestrator {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn jira_needs_to_be_told_where_it_is_and_who_asks() {
    let world = World::new("lacks");
    for (args, env, said) in [
        (vec![], vec![], "--jira-url is missing"),
        (
            vec![],
            vec![],
            "set JIRA_API_TOKEN, or give --jira-token-file",
        ),
        (
            vec!["--jira-url=https://a.example"],
            vec![("JIRA_API_TOKEN", "")],
            "Jira's token is missing",
        ),
        (
            vec!["--jira-token=secret"],
            vec![],
            "it would show in the list of processes",
        ),
        (
            vec!["--jira-url=https://a.example", "--jira-ca-file=nowhere"],
            vec![("JIRA_API_TOKEN", "t")],
            "--jira-ca-file: nowhere: No such file",
        ),
        (
            vec!["--jira-url=https://a.example"],
            vec![("JIRA_API_TOKEN", "t"), ("SSL_CERT_FILE", "nowhere")],
            "SSL_CERT_FILE: nowhere: No such file",
        ),
    ] {
        let out = bare(&world, &args, &env);
        assert_eq!(out.code, Some(2), "{args:?}: {}", out.stderr);
        assert!(out.stderr.contains(said), "{args:?}: {}", out.stderr);
        assert!(!out.stderr.contains("secret"), "{}", out.stderr);
    }
}

/// What a pass with this Jira needs besides; nobody is there.
const NOBODY: [&str; 4] = [
    "--jira-url=http://127.0.0.1:1",
    "--once",
    "--mode=process",
    "--agent-command=true",
];

#[test]
fn a_token_that_cannot_be_one_is_a_wrong_configuration() {
    let world = World::new("token");
    for username in [None, Some("--jira-username=me")] {
        let args: Vec<&str> = NOBODY.into_iter().chain(username).collect();
        for (token, said) in [
            ("hunter2\nhunter2", "one line"),
            ("Bearer hunter2", "begins with \"Bearer\""),
            ("basic hunter2", "begins with \"basic\""),
        ] {
            let out = bare(&world, &args, &[("JIRA_API_TOKEN", token)]);
            assert_eq!(out.code, Some(2), "{token}: {}", out.stderr);
            assert!(out.stderr.contains("JIRA_API_TOKEN: "), "{}", out.stderr);
            assert!(out.stderr.contains(said), "{}", out.stderr);
            assert!(!out.stderr.contains("hunter2"), "{}", out.stderr);
        }
        let out = bare(&world, &args, &[("JIRA_API_TOKEN", " hunter2\n")]);
        assert_eq!(out.code, Some(1), "{}", out.stderr);
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_a_wrong_configuration() {
    let world = World::new("proxy");
    for name in ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
        for proxy in [
            "ftp://u:hunter2@p.example",
            "socks5://u:hunter2@p.example",
            "http://u:hunter2@p.example:99999",
            "http://u hunter2",
        ] {
            let out = bare(&world, &NOBODY, &[("JIRA_API_TOKEN", "t"), (name, proxy)]);
            assert_eq!(out.code, Some(2), "{name}={proxy}: {}", out.stderr);
            assert!(out.stderr.contains(&format!("{name}: ")), "{}", out.stderr);
            assert!(!out.stderr.contains("hunter2"), "{}", out.stderr);
        }
    }
    // It is for servers that are asked with TLS.
    let other = [("JIRA_API_TOKEN", "t"), ("HTTPS_PROXY", "socks5://h")];
    let out = bare(&world, &NOBODY, &other);
    assert_eq!(out.code, Some(1), "{}", out.stderr);
}

#[test]
fn outcomes_never_go_into_the_work_file_by_whatever_name() {
    let world = World::new("same");
    world.items(&json!([]));
    std::os::unix::fs::symlink("work.json", world.path("link")).unwrap();
    let refused = |outcomes: &str| {
        let args = [
            "--poller=file",
            "--work-file=work.json",
            "--mode=process",
            "--agent-command=true",
            "--once",
            outcomes,
        ];
        let out = bare(&world, &args, &[]);
        assert_eq!(out.code, Some(2), "{outcomes}: {}", out.stderr);
        assert!(
            out.stderr.contains("the work file itself"),
            "{}",
            out.stderr
        );
    };
    refused("--outcomes=./work.json");
    refused("--outcomes=link");
    refused("--outcomes=home/../work.json");
    fs::remove_file(world.path("work.json")).unwrap();
    refused("--outcomes=./work.json");
}

#[test]
fn a_default_repository_is_checked_and_no_password_of_it_is_shown() {
    let world = World::new("default_repo");
    let run: &[&str] = &["--once", "--mode=process", "--agent-command=true"];
    let manifest: &[&str] = &["manifest", "--orchestrator-image=o"];
    for verb in [run, manifest] {
        for (repo, said) in [
            ("https://u:hunter2@h.example/a", "holds a user or password"),
            ("https://u:hunt/er2@h.example/a", "h.example"),
            ("u:hunter2@h.example:a", "git@host:path"),
            ("ftp://h.example/a", "only https://"),
            ("https://x.example/a", "not one of --repo-host"),
        ] {
            let repo = format!("--default-repo={repo}");
            let args = [verb, &["--poller=file", "--repo-host=h.example", &repo]].concat();
            let out = bare(&world, &args, &[]);
            assert_eq!(out.code, Some(2), "{args:?}: {}", out.stderr);
            assert!(out.stderr.contains(said), "{args:?}: {}", out.stderr);
            assert_eq!(out.stderr.matches("--default-repo").count(), 1);
            assert!(!out.stderr.contains("hunt"), "{}", out.stderr);
            assert_eq!(out.stdout, "");
        }
    }
    let args = [manifest, &["--jira-done-label=Recac-agent"]].concat();
    let out = bare(&world, &args, &[]);
    assert_eq!(out.code, Some(2), "{}", out.stderr);
    let said = "is the label that asks for an agent";
    assert!(out.stderr.contains(said), "{}", out.stderr);
}

#[test]
fn argv_beats_the_environment_and_an_empty_variable_is_unset() {
    let world = World::new("layers");
    world.items(&json!([]));
    let env = [
        ("RECAC_POLLER", "file"),
        ("RECAC_WORK_FILE", "work.json"),
        ("RECAC_ORCHESTRATOR_MODE", "process"),
        ("RECAC_ONCE", "yes"),
        ("RECAC_STATE_DIR", "state-by-env"),
        ("RECAC_MAX_AGENTS", ""),
        ("RECAC_OWNER", "Wrong!"),
        ("RECAC_LOG_FORMAT", "xml"),
        ("RECAC_AGENT_COMMAND", "true"),
    ];
    let out = bare(
        &world,
        &["--owner=mine", "--log-format", "json", "-v"],
        &env,
    );
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(world.path("state-by-env/mine.lock").exists());
    assert!(out.stderr.starts_with('{'), "{}", out.stderr);
    let off = bare(
        &world,
        &["--owner=mine", "--log-format=text", "--no-once", "--wait"],
        &env,
    );
    assert_eq!(off.code, Some(2));
    assert!(
        off.stderr.contains("--wait works only with --once"),
        "{}",
        off.stderr
    );
}

#[test]
fn slips_are_answered_with_what_was_meant() {
    let world = World::new("slips");
    for (args, said) in [
        (vec!["--max-agent=3"], "did you mean --max-agents?"),
        (
            vec!["--max-agents"],
            "--max-agents needs a value; write --max-agents=N",
        ),
        (
            vec!["--max-agents", "-1"],
            "--max-agents: \"-1\" is not a whole number",
        ),
        (
            vec!["--agent-timeout", "-5s"],
            "--agent-timeout: \"-5s\" is not a length of time",
        ),
        (
            vec!["--once=sure"],
            "--once: \"sure\" is neither on nor off",
        ),
        (vec!["run"], "neither an option nor a verb"),
        (vec!["completions", "tcsh"], "bash, zsh or fish"),
        (vec!["-x"], "there is no option -x"),
        (
            vec!["--poller=file", "--mode=process", "--agent-command=image"],
            "a plain process has none",
        ),
        (
            vec!["--poller=file", "--work-file=x", "--outcomes=x"],
            "the work file itself",
        ),
        (
            vec!["__supervise", "a", "b"],
            "neither an option nor a verb",
        ),
    ] {
        let out = bare(&world, &args, &[]);
        assert_eq!(out.code, Some(2), "{args:?}");
        assert!(out.stderr.contains(said), "{args:?}: {}", out.stderr);
    }
    let out = bare(&world, &["completions", "bash"], &[]);
    assert!(out.code == Some(0) && out.stdout.contains("--max-agents"));
}

#[test]
fn a_state_directory_that_cannot_be_used_is_a_wrong_configuration() {
    let world = World::new("state_dir");
    world.items(&json!([]));
    fs::write(world.path("file"), "").unwrap();
    fs::create_dir_all(world.path(&format!("taken/{}.lock", world.owner))).unwrap();
    for dir in ["file", "file/below", "taken"] {
        let dir = world.path(dir);
        let out = world
            .orchestrator()
            .arg("--mode=process")
            .arg("--once")
            .arg(format!("--state-dir={}", dir.display()))
            .run();
        assert_eq!(out.code, Some(2), "{}", out.stderr);
        let said = format!("orchestrator: --state-dir: cannot use {}: ", dir.display());
        assert!(out.stderr.contains(&said), "{}", out.stderr);
    }
    let out = bare(&world, &["--poller=file"], &[("HOME", "")]);
    assert_eq!(out.code, Some(2));
    assert!(
        out.stderr.contains("give --state-dir PATH"),
        "{}",
        out.stderr
    );
    // Below HOME, if nobody said.
    let out = bare(
        &world,
        &[
            "--poller=file",
            "--work-file=work.json",
            "--once",
            "--mode=process",
        ],
        &[],
    );
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    assert!(
        world
            .path("home/.local/state/recac-orchestrator/default.lock")
            .exists()
    );
}
