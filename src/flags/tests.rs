//! The parser, by command lines and environments.

mod agree;

use std::{os::unix::ffi::OsStringExt, path::Path, time::Duration};

use super::*;

type Vars<'a> = &'a [(&'a str, &'a str)];

fn ask(argv: &[&str], vars: Vars<'_>) -> Result<Asked, Bad> {
    let env = |name: &str| {
        let found = vars.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| OsString::from(v))
    };
    parse(argv.iter().map(OsString::from), &env)
}

/// As `ask`, with what every start of this build needs.
fn run(argv: &[&str], vars: Vars<'_>) -> Result<Config, Bad> {
    let mut all = vec![("HOME", "/home/me"), ("RECAC_POLLER", "file")];
    // The first of a name is found, so these only fill gaps.
    all.splice(0..0, vars.iter().copied());
    match ask(argv, &all)? {
        Asked::Run(config) => Ok(*config),
        other @ (Asked::Text(_) | Asked::Manifest(_) | Asked::Healthy(_)) => {
            panic!("asked for something else: {other:?}")
        }
    }
}

fn bad(argv: &[&str], vars: Vars<'_>) -> String {
    run(argv, vars)
        .expect_err(&format!("{argv:?} {vars:?}"))
        .to_string()
}

fn text(argv: &[&str]) -> String {
    match ask(argv, &[]) {
        Ok(Asked::Text(text)) => text,
        other => panic!("{argv:?}: {other:?}"),
    }
}

#[test]
fn without_a_word_everything_is_as_the_table_says() {
    let config = run(&[], &[]).unwrap();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    assert_eq!(config.mode, Mode::Local);
    assert_eq!(config.poller, Poller::File);
    assert_eq!(config.interval, minutes(1));
    assert_eq!(config.agent_timeout, minutes(120));
    assert_eq!(config.start_timeout, minutes(10));
    assert_eq!(config.stop_grace, minutes(10));
    assert_eq!(config.retry_backoff, Duration::from_secs(30));
    assert_eq!(config.keep_logs, minutes(14 * 24 * 60));
    assert_eq!((config.max_agents, config.max_attempts), (5, 3));
    assert_eq!(config.image_pull_policy, PullPolicy::IfNotPresent);
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.github_host, "github.com");
    assert_eq!(config.owner, "default");
    assert_eq!(config.work_file, Path::new("work_items.json"));
    let beside = Outcomes::File("work_items.outcomes.jsonl".into());
    assert_eq!(config.outcomes, beside);
    assert_eq!(config.docker_binary, Path::new("docker"));
    assert_eq!(
        config.state_dir,
        Path::new("/home/me/.local/state/recac-orchestrator")
    );
    assert!(!config.once && !config.wait && !config.dry_run && !config.verbose);
    assert_eq!(config.default_repo, None);
    assert!(config.repo_hosts.is_empty() && config.docker_args.is_empty());
    assert!(config.agent_env.is_empty());
    assert_eq!((config.agent_cpus, config.agent_memory), (None, None));
}

#[test]
fn argv_beats_environment_beats_default() {
    let seven: Vars<'_> = &[("RECAC_MAX_AGENTS", "7")];
    let max = |argv: &[&str], vars: Vars<'_>| run(argv, vars).unwrap().max_agents;
    assert_eq!(max(&[], &[]), 5);
    assert_eq!(max(&[], &[("RECAC_MAX_AGENTS", "")]), 5);
    assert_eq!(max(&[], seven), 7);
    assert_eq!(max(&["--max-agents=9"], seven), 9);
    assert_eq!(max(&["--max-agents", "8", "--max-agents", "9"], seven), 9);
    // A beaten value is not looked at.
    assert_eq!(max(&["--max-agents=9"], &[("RECAC_MAX_AGENTS", "x")]), 9);
    // What was typed is, though another one follows.
    assert!(bad(&["--max-agents=x", "--max-agents=9"], &[]).starts_with("--max-agents: "));
}

#[test]
fn of_several_variables_the_first_that_is_set_counts() {
    let host = |vars: Vars<'_>| run(&[], vars).unwrap().github_host;
    let both = [("GH_HOST", "b.example"), ("RECAC_GITHUB_HOST", "a.example")];
    assert_eq!(host(&both), "a.example");
    assert_eq!(host(&both[..1]), "b.example");
    let empty = [("GH_HOST", "b.example"), ("RECAC_GITHUB_HOST", "")];
    assert_eq!(host(&empty), "b.example");
    assert!(bad(&[], &[("GH_HOST", "a/b")]).starts_with("GH_HOST: "));
}

#[test]
fn switches_are_turned_on_and_off_in_many_words() {
    let once = |argv: &[&str], vars: Vars<'_>| run(argv, vars).unwrap().once;
    assert!(once(&["--once"], &[]));
    assert!(!once(&["--no-once"], &[("RECAC_ONCE", "1")]));
    assert!(!once(&["--once", "--no-once"], &[]));
    assert!(once(&["--no-once", "--once"], &[]));
    for (word, on) in [
        ("1", true),
        ("true", true),
        ("YES", true),
        ("On", true),
        ("0", false),
        ("False", false),
        ("no", false),
        ("OFF", false),
    ] {
        assert_eq!(once(&[], &[("RECAC_ONCE", word)]), on, "{word}");
        assert_eq!(once(&[&format!("--once={word}")], &[]), on, "{word}");
    }
    assert!(run(&["-v"], &[]).unwrap().verbose);
    assert_eq!(bad(&["-v=1"], &[]), "-v takes no value");
    assert_eq!(bad(&["--no-once=1"], &[]), "--no-once takes no value");
    assert!(bad(&["--once=maybe"], &[]).starts_with("--once: \"maybe\" is neither on nor off"));
    assert!(bad(&["--once="], &[]).starts_with("--once: the value is empty"));
    // A switch takes no word of its own.
    assert!(bad(&["--once", "true"], &[]).contains("\"true\" is neither an option nor a verb"));
}

#[test]
fn lists_add_up_within_a_layer_and_replace_the_layer_below() {
    let vars: Vars<'_> = &[("RECAC_DOCKER_ARGS", "--cap-drop ALL '--label=a b'")];
    assert_eq!(
        run(&[], vars).unwrap().docker_args,
        ["--cap-drop", "ALL", "--label=a b"]
    );
    let argv = ["--docker-arg=--network=none", "--docker-arg", "--label=a b"];
    assert_eq!(
        run(&argv, vars).unwrap().docker_args,
        ["--network=none", "--label=a b"]
    );
    let vars: Vars<'_> = &[("RECAC_AGENT_ENV", "A B='c d'")];
    let rules = |argv: &[&str]| -> Vec<String> {
        let rules = run(argv, vars).unwrap().agent_env;
        rules
            .into_iter()
            .map(|r| match r.value {
                Some(value) => format!("{}={value}", r.name),
                None => r.name,
            })
            .collect()
    };
    assert_eq!(rules(&[]), ["A", "B=c d"]);
    assert_eq!(
        rules(&["--agent-env", "C=d 'e", "--agent-env=F"]),
        ["C=d 'e", "F"]
    );
}

#[test]
fn hosts_stand_apart_by_commas_or_white_space() {
    let hosts = |argv: &[&str], vars: Vars<'_>| run(argv, vars).unwrap().repo_hosts;
    let vars: Vars<'_> = &[("RECAC_REPO_HOSTS", " A.example, b.example\tc.example:22,")];
    assert_eq!(hosts(&[], vars), ["a.example", "b.example", "c.example:22"]);
    assert_eq!(
        hosts(
            &[
                "--repo-host=x.example,y.example",
                "--repo-host",
                "z.example"
            ],
            vars
        ),
        ["x.example", "y.example", "z.example"]
    );
    assert!(bad(&["--repo-host=,"], &[]).contains("names no host"));
}

#[test]
fn all_wrong_values_are_told_at_once() {
    let why = run(
        &["--interval=5"],
        &[("RECAC_OWNER", "A"), ("RECAC_WAIT", "1")],
    )
    .unwrap_err();
    let names: Vec<&str> = why
        .lines()
        .iter()
        .filter_map(|l| Some(l.split_once(':')?.0))
        .collect();
    assert_eq!(names, ["--interval", "RECAC_OWNER"]);
}

#[test]
fn no_message_shows_what_may_be_a_secret() {
    for argv in [
        &["--agent-env=1A=hunter2"] as &[&str],
        &["--agent-env", "A B=hunter2"],
        &["--agent-env", "=hunter2"],
        &["--agent-env", "A=1", "B=hunter2"],
        &["--agent-en=B=hunter2"],
        &["--no-agent-env=B=hunter2"],
        &[
            "--docker-arg",
            "--env=A=1",
            "--docker-arg",
            "",
            "--mode=hunter1",
        ],
        &["--verbose", "completions", "A=hunter2"],
        &["--help=hunter2"],
        &["-v=hunter2"],
        &["--jira-token=hunter2"],
    ] {
        let why = bad(argv, &[]);
        assert!(!why.contains("hunter2"), "{why}");
    }
    for vars in [
        [("RECAC_AGENT_ENV", "A=1 'B=hunter2")],
        [("RECAC_AGENT_ENV", "A=1 2B=hunter2")],
        [("RECAC_DOCKER_ARGS", "--env 'B=hunter2")],
        [("RECAC_DOCKER_ARGS", "--env=B=hunter2\\")],
    ] {
        let why = bad(&[], &vars);
        assert!(
            why.starts_with(vars[0].0) && !why.contains("hunter2"),
            "{why}"
        );
    }
    let config = run(&["--agent-env=B=hunter2"], &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn jira_needs_a_place_and_a_token() {
    let home: Vars<'_> = &[("HOME", "/home/me")];
    let why = ask(&[], home).unwrap_err();
    let begins: Vec<&str> = why.lines().iter().map(|l| &l[..10]).collect();
    assert_eq!(begins, ["--jira-url", "Jira's tok"]);
    assert!(why.to_string().contains("JIRA_API_TOKEN"));
    // The last word counts here too.
    assert!(run(&["--poller=jira", "--poller=filesystem"], &[]).is_ok());
    let why = ask(&["--jira-token=hunter2"], home)
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("JIRA_API_TOKEN") && !why.contains("hunter2"),
        "{why}"
    );

    let vars: Vars<'_> = &[
        ("RECAC_POLLER", "jira"),
        ("JIRA_URL", "https://a.example/jira//"),
        ("JIRA_EMAIL", "me@a.example"),
        ("RECAC_JIRA_API_TOKEN", "hunter2"),
        ("RECAC_ORCHESTRATOR_JIRA_LABEL", "bot"),
    ];
    let config = run(&[], vars).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let jira = config.jira;
    assert_eq!(jira.url, "https://a.example/jira");
    assert_eq!(jira.username.as_deref(), Some("me@a.example"));
    assert_eq!(jira.token_variable, Some("RECAC_JIRA_API_TOKEN"));
    assert_eq!(
        (jira.done_label.as_str(), jira.failed_label.as_str()),
        ("bot-done", "bot-failed")
    );
    let file = run(&["--jira-token-file=t"], vars).unwrap().jira;
    assert_eq!(
        (file.token_variable, file.token_file),
        (None, Some("t".into()))
    );
    let why = bad(&["--jira-done-label=BOT"], vars);
    assert!(why.starts_with("--jira-done-label: \"BOT\" is"), "{why}");
    assert!(bad(&["--jira-label="], vars).contains("empty"));
    assert!(bad(&["--jira-url=https://me:pw@a"], vars).contains("--jira-username"));
    assert!(!bad(&["--jira-url=ftp://me:hunter2@a"], vars).contains("hunter2"));
}

#[test]
fn in_k8s_mode_other_defaults_hold() {
    for word in ["k8s", "kubernetes"] {
        let config = run(&["--mode", word], &[]).unwrap();
        assert_eq!(config.mode, Mode::Kubernetes);
        assert_eq!(config.image_pull_policy, PullPolicy::Always);
        let map = Outcomes::ConfigMap("recac-orchestrator-outcomes".into());
        assert_eq!(config.outcomes, map);
    }
    let config = run(
        &["--mode=k8s", "--owner=b", "--image-pull-policy=never"],
        &[],
    )
    .unwrap();
    let map = Outcomes::ConfigMap("recac-orchestrator-outcomes-b".into());
    assert_eq!(
        (config.outcomes, config.image_pull_policy),
        (map, PullPolicy::Never)
    );
    let config = run(&["--mode=k8s", "--outcomes=configmap:mine"], &[]).unwrap();
    assert_eq!(config.outcomes, Outcomes::ConfigMap("mine".into()));
    let config = run(&["--mode=k8s", "--outcomes=o"], &[]).unwrap();
    assert_eq!(config.outcomes, Outcomes::File("o".into()));
    // The last word counts here too.
    let config = run(&["--mode=k8s", "--mode=docker"], &[]).unwrap();
    assert_eq!(config.mode, Mode::Local);
    assert_eq!(
        bad(&["--outcomes=configmap:mine"], &[]),
        "--outcomes: \"configmap:mine\" works only with --mode k8s; give a file"
    );
    let leads = bad(&[], &[("RECAC_LEADER_ELECT", "1")]);
    assert_eq!(leads, "RECAC_LEADER_ELECT works only with --mode k8s");
    let once = bad(&["--mode=k8s", "--leader-elect", "--once"], &[]);
    assert!(once.contains("does not go together with --once"), "{once}");
    assert!(
        run(&["--mode=k8s", "--leader-elect"], &[])
            .unwrap()
            .leader_elect
    );
}

fn manifest(argv: &[&str], vars: Vars<'_>) -> Result<Manifest, Bad> {
    let mut all = vec![("HOME", "/home/me")];
    all.extend(vars);
    match ask(argv, &all)? {
        Asked::Manifest(manifest) => Ok(*manifest),
        other @ (Asked::Text(_) | Asked::Run(_) | Asked::Healthy(_)) => {
            panic!("asked for something else: {other:?}")
        }
    }
}

#[test]
fn a_manifest_is_for_what_was_given_and_for_k8s() {
    let vars: Vars<'_> = &[
        ("RECAC_POLLER", "file"),
        ("RECAC_ORCHESTRATOR_INTERVAL", "5s"),
        ("RECAC_DOCKER_ARGS", "a 'b c'"),
        ("RECAC_MAX_AGENTS", ""),
    ];
    let argv = [
        "manifest",
        "--orchestrator-image=o:1",
        "--repo-host=a,b",
        "--repo-host=c",
        "--agent-env=A=x y",
        "--agent-env=B",
        "--owner=x",
        "--owner=y",
        "--once=false",
    ];
    let asked = manifest(&argv, vars).unwrap();
    assert_eq!(
        (asked.image.as_str(), asked.config.mode),
        ("o:1", Mode::Kubernetes)
    );
    let given: Vec<(&str, &str)> = asked
        .given
        .iter()
        .map(|(_, n, v)| (*n, v.as_str()))
        .collect();
    let expected = [
        ("RECAC_POLLER", "file"),
        ("RECAC_ORCHESTRATOR_INTERVAL", "5s"),
        ("RECAC_REPO_HOSTS", "a,b c"),
        ("RECAC_AGENT_ENV", "'A=x y' B"),
        ("RECAC_DOCKER_ARGS", "a 'b c'"),
        ("RECAC_MANIFEST_IMAGE", "o:1"),
        ("RECAC_OWNER", "y"),
        ("RECAC_ONCE", "false"),
    ];
    assert_eq!(given, expected);
    // Each means there what it meant here.
    let config = run(&[], &given).unwrap();
    assert_eq!(config.repo_hosts, asked.config.repo_hosts);
    assert_eq!(config.agent_env, asked.config.agent_env);
    assert_eq!(config.docker_args, ["a", "b c"]);

    let why = |argv: &[&str]| {
        manifest(argv, &[("RECAC_POLLER", "file")])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        why(&["manifest"]),
        "manifest needs --orchestrator-image=IMAGE"
    );
    let other = why(&["manifest", "--orchestrator-image=o", "--mode=process"]);
    assert!(
        other.starts_with("--mode: \"process\" does not go together"),
        "{other}"
    );
    assert_eq!(
        why(&["manifest", "x"]),
        "manifest takes no \"x\", only options"
    );
    assert_eq!(
        bad(&["--orchestrator-image=o"], &[]),
        "--orchestrator-image works only with the verb manifest"
    );
    assert!(run(&[], &[("RECAC_MANIFEST_IMAGE", "o")]).is_ok());
}

#[test]
fn healthy_is_asked_under_the_same_options() {
    let asked = ask(
        &["healthy", "--state-dir=s"],
        &[
            ("RECAC_POLLER", "file"),
            ("RECAC_ORCHESTRATOR_INTERVAL", "5s"),
        ],
    );
    let Ok(Asked::Healthy(config)) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(config.state_dir, Path::new("s"));
    assert_eq!(
        bad(&["healthy", "please"], &[]),
        "healthy takes no \"please\", only options"
    );
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    for (typed, meant) in [
        ("--max-agent", "--max-agents"),
        ("--max_agents", "--max-agents"),
        ("--intervall=5m", "--interval"),
        ("--no-onse", "--no-once"),
        ("--provider", "--agent-provider"),
        ("--dryrun", "--dry-run"),
    ] {
        let name = typed.split('=').next().unwrap();
        assert_eq!(
            bad(&[typed], &[]),
            format!("there is no option {name}; did you mean {meant}?")
        );
    }
    assert_eq!(
        bad(&["--frobnicate"], &[]),
        "there is no option --frobnicate; see orchestrator --help"
    );
    assert_eq!(
        bad(&["-x"], &[]),
        "there is no option -x; see orchestrator --help"
    );
    assert_eq!(
        bad(&["--no-interval"], &[]),
        "there is no option --no-interval, because --interval is no switch"
    );
    assert_eq!(
        bad(&["items.json"], &[]),
        "\"items.json\" is neither an option nor a verb; \
         the verbs are: completions bash|zsh|fish, manifest, healthy"
    );
    assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
}

#[test]
fn waiting_needs_a_single_pass_and_a_dry_run_waits_for_nothing() {
    assert_eq!(bad(&["--wait"], &[]), "--wait works only with --once");
    assert_eq!(
        bad(&[], &[("RECAC_WAIT", "1")]),
        "RECAC_WAIT works only with --once"
    );
    assert!(bad(&["--wait", "--dry-run"], &[]).contains("only with --once"));
    let of = |argv: &[&str]| {
        let config = run(argv, &[]).unwrap();
        (config.once, config.wait, config.dry_run)
    };
    assert_eq!(of(&["--once", "--wait"]), (true, true, false));
    assert_eq!(of(&["--dry-run"]), (true, false, true));
    assert_eq!(of(&["--once", "--wait", "--dry-run"]), (true, false, true));
    assert_eq!(of(&["--wait", "--no-wait"]), (false, false, false));
}

#[test]
fn paths_are_settled_from_what_was_said() {
    let config = run(&["--work-file=a/b.json"], &[]).unwrap();
    let beside = |path: &str| Outcomes::File(path.into());
    assert_eq!(config.outcomes, beside("a/b.outcomes.jsonl"));
    let config = run(&["--work-file", "-"], &[]).unwrap();
    assert_eq!(config.work_file, Path::new("-"));
    let config = run(&["--outcomes=o"], &[("RECAC_STATE_DIR", "s")]).unwrap();
    assert_eq!(config.outcomes, beside("o"));
    assert_eq!(config.state_dir, Path::new("s"));
    let same = bad(&["--outcomes=work_items.json"], &[]);
    assert!(same.starts_with("--outcomes: \"work_items.json\" is the work file"));
    assert!(bad(&[], &[("HOME", "")]).contains("give --state-dir PATH"));
}

#[test]
fn the_pull_policy_is_read_in_any_case() {
    for (word, policy) in [
        ("always", PullPolicy::Always),
        ("IFNOTPRESENT", PullPolicy::IfNotPresent),
        ("Never", PullPolicy::Never),
    ] {
        let config = run(&["--image-pull-policy", word], &[]).unwrap();
        assert_eq!(config.image_pull_policy, policy);
    }
}

#[test]
fn help_and_completions_work_in_a_broken_environment() {
    let broken = |_: &str| Some(OsString::from_vec(b"nonsense\xff".to_vec()));
    for argv in [
        &["--help"] as &[&str],
        &["-h"],
        &["--version"],
        &["-V"],
        &["-vh"],
        &["completions", "bash"],
        &["completions", "zsh", "--once"],
        &["--interval=5", "--help"],
        &["completions", "--help"],
    ] {
        let asked = parse(argv.iter().map(OsString::from), &broken);
        assert!(matches!(asked, Ok(Asked::Text(_))), "{argv:?}: {asked:?}");
    }
    assert!(text(&["--help", "--version"]).starts_with("Usage: orchestrator"));
    let version = format!("orchestrator {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&["-V"]), version);
    assert!(text(&["completions", "bash"]).contains("complete -F"));
    assert!(text(&["completions", "zsh"]).starts_with("#compdef orchestrator\n"));
    assert!(text(&["completions", "fish"]).starts_with("complete -c orchestrator"));
    assert_eq!(
        bad(&["completions"], &[]),
        "completions needs one shell: bash, zsh or fish"
    );
    assert_eq!(
        bad(&["completions", "tcsh"], &[]),
        "completions: \"tcsh\" is not a choice; write bash, zsh or fish"
    );
    assert!(bad(&["completions", "bash", "zsh"], &[]).contains("one shell"));
}
