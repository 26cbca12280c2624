//! That the table agrees with the design, with itself and with the setters.

use std::collections::BTreeSet;

use super::*;
use crate::flags::option::{GROUPS, Kind};

fn flag(long: &str) -> &'static Flag {
    FLAGS.iter().find(|f| f.long == long).unwrap()
}

/// A right value, other than what a blank draft holds, and two wrong ones.
fn samples(flag: &Flag) -> (&'static str, &'static [&'static str]) {
    match flag.long {
        "poller" => ("jira", &["File", "github"]),
        "mode" => ("process", &["Local", "podman"]),
        "image-pull-policy" => ("ALWAYS", &["missing", "if-not-present"]),
        "log-format" => ("json", &["JSON", "xml"]),
        "interval" => ("90s", &["5", "999ms"]),
        "agent-timeout" | "start-timeout" => ("97m", &["soon", "0s"]),
        "retry-backoff" | "stop-grace" | "keep-logs" | "keep-finished" => ("97m", &["5", "-1s"]),
        "max-agents" => ("97", &["-1", "many"]),
        "max-attempts" => ("97", &["0", "4294967296"]),
        "repo-host" | "github-host" => ("git.example:8443", &["https://a.example", "a/b"]),
        "default-repo" => ("https://git.example/a/b", &["-u", "https://a b"]),
        "image" => ("agent:1", &["-it", "an image"]),
        "agent-provider" | "agent-model" => ("openai", &["a\nb", "\u{7}"]),
        "agent-command" => ("run {id}", &["'run", "''' "]),
        "agent-env" => ("NAME=value", &["1A", "A-B"]),
        "agent-cpus" => ("2", &["many", "-1"]),
        "agent-memory" => ("4Gi", &["lots", "-1"]),
        "owner" => ("team-a", &["Team", "a_b"]),
        "outcomes" => ("done.jsonl", &["configmap:Mine", "configmap:"]),
        "namespace" => ("team-a", &["Team", "a.b"]),
        "agent-secret" | "agent-service-account" => ("a.b-c", &["A", "a/b"]),
        "kube-context" => ("admin@here", &["a\nb"]),
        "orchestrator-image" => ("orchestrator:1", &["-it", "an image"]),
        "docker-arg" => ("--network=none", &[]),
        "jira-url" => ("https://a.example/jira/", &["a.example", "https://a?b"]),
        "jira-username" => ("me@a.example", &["a\nb", " "]),
        "jira-label" | "jira-done-label" | "jira-failed-label" => ("agent-x", &["a b", "a\tb"]),
        "jira-query" | "jira-blocks-link" => ("a = b", &["a\nb", " "]),
        "jira-start-status" | "jira-done-status" => ("Doing", &["a\nb", "\t"]),
        "jira-failed-status" => ("Failed", &["auto", "a\nb"]),
        "jira-deployment" => ("dc", &["server", "Cloud"]),
        _ if flag.kind().is_some() => ("some/path", &[]),
        _ if flag.is_switch() => ("true", &["maybe", "2"]),
        other => panic!("no samples for --{other}"),
    }
}

fn settable() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|f| !matches!(f.takes, Takes::Print(_)))
}

/// The names and defaults people rely on: changing one breaks their set-ups.
#[test]
fn names_and_defaults_are_those_of_the_design() {
    const DESIGN: &[(&str, &[&str], &str)] = &[
        ("mode", &["RECAC_ORCHESTRATOR_MODE"], "local"),
        ("poller", &["RECAC_POLLER"], "jira"),
        ("interval", &["RECAC_ORCHESTRATOR_INTERVAL"], "1m"),
        ("agent-provider", &["RECAC_AGENT_PROVIDER"], "openrouter"),
        (
            "agent-model",
            &["RECAC_AGENT_MODEL"],
            "mistralai/devstral-2512:free",
        ),
        (
            "image",
            &["RECAC_ORCHESTRATOR_IMAGE"],
            "ghcr.io/process-failed-successfully/recac-agent:latest",
        ),
        ("image-pull-policy", &["RECAC_IMAGE_PULL_POLICY"], ""),
        ("jira-url", &["JIRA_URL", "RECAC_JIRA_URL"], ""),
        (
            "jira-username",
            &["JIRA_USERNAME", "JIRA_EMAIL", "RECAC_JIRA_USERNAME"],
            "",
        ),
        ("jira-token-file", &["RECAC_JIRA_TOKEN_FILE"], ""),
        (
            "jira-label",
            &["RECAC_JIRA_LABEL", "RECAC_ORCHESTRATOR_JIRA_LABEL"],
            "recac-agent",
        ),
        (
            "jira-query",
            &["RECAC_JIRA_QUERY", "RECAC_ORCHESTRATOR_JIRA_QUERY"],
            "",
        ),
        ("jira-done-label", &["RECAC_JIRA_DONE_LABEL"], ""),
        ("jira-failed-label", &["RECAC_JIRA_FAILED_LABEL"], ""),
        ("jira-start-status", &["RECAC_JIRA_START_STATUS"], "auto"),
        ("jira-done-status", &["RECAC_JIRA_DONE_STATUS"], "none"),
        ("jira-failed-status", &["RECAC_JIRA_FAILED_STATUS"], "none"),
        ("jira-blocks-link", &["RECAC_JIRA_BLOCKS_LINK"], "Blocks"),
        ("jira-deployment", &["RECAC_JIRA_DEPLOYMENT"], ""),
        ("jira-ca-file", &["RECAC_JIRA_CA_FILE", "SSL_CERT_FILE"], ""),
        ("work-file", &["RECAC_WORK_FILE"], "work_items.json"),
        ("outcomes", &["RECAC_OUTCOMES"], ""),
        ("default-repo", &["RECAC_DEFAULT_REPO"], ""),
        ("repo-host", &["RECAC_REPO_HOSTS"], ""),
        (
            "github-host",
            &["RECAC_GITHUB_HOST", "GH_HOST"],
            "github.com",
        ),
        ("max-agents", &["RECAC_MAX_AGENTS"], "5"),
        ("max-attempts", &["RECAC_MAX_ATTEMPTS"], "3"),
        ("retry-backoff", &["RECAC_RETRY_BACKOFF"], "30s"),
        ("agent-timeout", &["RECAC_AGENT_TIMEOUT"], "2h"),
        ("start-timeout", &["RECAC_START_TIMEOUT"], "10m"),
        ("stop-grace", &["RECAC_STOP_GRACE"], "10m"),
        (
            "agent-command",
            &["RECAC_AGENT_COMMAND"],
            "/usr/local/bin/recac-agent --project {id} --path {workspace} --detached=false \
             --cleanup=false --allow-dirty --verbose --repo-url {repo_url} --summary {summary} \
             --description {description}",
        ),
        ("agent-env", &["RECAC_AGENT_ENV"], ""),
        ("agent-cpus", &["RECAC_AGENT_CPUS"], ""),
        ("agent-memory", &["RECAC_AGENT_MEMORY"], ""),
        ("docker-arg", &["RECAC_DOCKER_ARGS"], ""),
        ("docker-binary", &["RECAC_DOCKER_BINARY"], "docker"),
        ("namespace", &["RECAC_ORCHESTRATOR_NAMESPACE"], ""),
        ("job-template", &["RECAC_JOB_TEMPLATE"], ""),
        (
            "agent-secret",
            &["RECAC_AGENT_SECRET_NAME"],
            "recac-agent-secrets",
        ),
        (
            "agent-service-account",
            &["RECAC_AGENT_SERVICE_ACCOUNT"],
            "",
        ),
        ("kubeconfig", &["KUBECONFIG"], ""),
        ("kube-context", &["RECAC_KUBE_CONTEXT"], ""),
        ("keep-finished", &["RECAC_KEEP_FINISHED"], "1h"),
        ("leader-elect", &["RECAC_LEADER_ELECT"], ""),
        ("orchestrator-image", &["RECAC_MANIFEST_IMAGE"], ""),
        ("owner", &["RECAC_OWNER"], "default"),
        ("state-dir", &["RECAC_STATE_DIR"], ""),
        ("keep-logs", &["RECAC_KEEP_LOGS"], "14d"),
        ("once", &["RECAC_ONCE"], ""),
        ("wait", &["RECAC_WAIT"], ""),
        ("dry-run", &["RECAC_DRY_RUN"], ""),
        ("log-format", &["RECAC_LOG_FORMAT"], "text"),
        ("verbose", &["RECAC_VERBOSE"], ""),
    ];
    assert_eq!(DESIGN.len(), settable().count());
    for (long, env, default) in DESIGN {
        let flag = flag(long);
        assert_eq!(flag.env, *env, "--{long}");
        assert_eq!(flag.default.unwrap_or_default(), *default, "--{long}");
    }
}

#[test]
fn names_are_lawful_and_unique() {
    let mut seen = BTreeSet::new();
    for flag in FLAGS {
        let long = flag.long;
        assert!(long.len() > 1 && !long.starts_with("no-"), "{long}");
        assert!(long.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        assert!(seen.insert(long.to_owned()), "{long} twice");
        assert!(
            table::elsewhere(long).is_none(),
            "{long} is there after all"
        );
        assert_eq!(flag.env.is_empty(), matches!(flag.takes, Takes::Print(_)));
        for name in flag.env {
            let lawful = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            assert!(name.bytes().all(lawful), "{name}");
            assert!(seen.insert((*name).to_owned()), "{name} twice");
        }
        if let Some(c) = flag.short {
            assert!(
                c.is_ascii_alphanumeric() && seen.insert(c.to_string()),
                "-{c}"
            );
        }
    }
}

#[test]
fn texts_are_complete() {
    for flag in FLAGS {
        let long = flag.long;
        assert!(flag.brief.ends_with('.') && flag.brief.len() < 65, "{long}");
        assert!(flag.more.is_empty() || flag.more.ends_with('.'), "{long}");
        assert!(
            flag.default.is_none() || flag.otherwise.is_empty(),
            "{long} has two defaults"
        );
        assert!(GROUPS.iter().any(|(g, _)| *g == flag.group), "{long}");
    }
}

#[test]
fn every_bad_value_is_named_with_what_would_be_right() {
    for flag in settable() {
        for wrong in samples(flag).1 {
            let quoted = format!("{wrong:?}");
            let typed = bad(&[&format!("--{}={wrong}", flag.long)], &[]);
            assert!(typed.starts_with(&format!("--{}: ", flag.long)), "{typed}");
            assert!(typed.contains(&quoted), "{typed}");
            for name in flag.env {
                let set = bad(&[], &[(name, wrong)]);
                assert!(set.starts_with(&format!("{name}: ")), "{set}");
                assert!(!set.contains('\n'), "{set}");
            }
        }
        if !flag.is_switch() {
            let long = flag.long;
            let shape = flag.shape().unwrap();
            assert_eq!(
                bad(&[&format!("--{long}=")], &[]),
                format!("--{long}: the value is empty; write {shape}")
            );
            assert_eq!(
                bad(&[&format!("--{long}"), ""], &[]),
                format!("--{long}: the value is empty; write {shape}")
            );
            assert_eq!(
                bad(&[&format!("--{long}")], &[]),
                format!("--{long} needs a value; write --{long}={shape}")
            );
            let ate = bad(&[&format!("--{long}"), "--bogus"], &[("RECAC_ONCE", "x")]);
            assert_eq!(
                !flag.dashes,
                ate.starts_with(&format!("--{long} needs a value"))
            );
        }
    }
    assert_eq!(
        bad(&["--interval", "5"], &[]),
        "--interval: \"5\" has no unit; write 30s, 5m or 1h30m"
    );
    assert_eq!(
        bad(&[], &[("RECAC_ORCHESTRATOR_MODE", "podman")]),
        "RECAC_ORCHESTRATOR_MODE: \"podman\" is not a choice; write local or k8s or process"
    );
}

#[test]
fn values_need_not_be_utf_8_only_where_they_are_paths() {
    let odd = |prefix: &str| {
        let mut bytes = prefix.as_bytes().to_vec();
        bytes.extend(b"secret\xff");
        OsString::from_vec(bytes)
    };
    let home = |name: &str| match name {
        "HOME" => Some("/home/me".into()),
        "RECAC_POLLER" => Some("file".into()),
        _ => None,
    };
    for flag in settable() {
        let name = format!("--{}", flag.long);
        let got = parse([odd(&format!("{name}="))], &home);
        if flag.kind().is_some() {
            assert!(got.is_ok(), "{name}: {got:?}");
            continue;
        }
        let why = got.unwrap_err().to_string();
        assert!(why.starts_with(&format!("{name}: ")), "{why}");
        assert!(why.ends_with("is not UTF-8"), "{why}");
        assert_eq!(flag.private, !why.contains("secret"), "{why}");
    }
    let work = parse([odd("--work-file=")], &home);
    let Ok(Asked::Run(config)) = work else {
        panic!("{work:?}");
    };
    assert_eq!(config.work_file, Path::new(&odd("")));
    let mut outcomes = odd("");
    outcomes.push(".outcomes.jsonl");
    assert_eq!(config.outcomes, Outcomes::File(outcomes.into()));
    assert!(parse([odd("")], &home).is_err());
    assert!(parse([odd("--")], &home).is_err());
}

#[test]
fn choices_and_setters_agree() {
    for flag in settable() {
        let (Takes::Text { set, .. }, choices) = (&flag.takes, flag.choices()) else {
            continue;
        };
        let mut moved = BTreeSet::new();
        for choice in choices {
            let mut draft = Draft::blank();
            set(&mut draft, choice).unwrap();
            assert!(moved.insert(format!("{draft:?}")), "{choice} means another");
        }
        if let (Some(default), [_, ..]) = (flag.default, choices) {
            assert!(choices.contains(&default), "{default}");
        }
        if !choices.is_empty() {
            let odd = set(&mut Draft::blank(), "odd");
            assert_eq!(
                odd,
                Err(format!(
                    "\"odd\" is not a choice; write {}",
                    choices.join(" or ")
                ))
            );
        }
    }
}

#[test]
fn each_option_moves_a_field_of_its_own() {
    let before = format!("{:#?}", Draft::blank());
    let mut moved = BTreeSet::new();
    for flag in settable() {
        let mut draft = Draft::blank();
        let given = Given {
            flag,
            name: String::new(),
            value: samples(flag).0.into(),
            by_default: false,
            quoted: false,
        };
        given.apply(&mut draft).unwrap();
        let after = format!("{draft:#?}");
        let field = after
            .lines()
            .zip(before.lines())
            .find(|(a, b)| a != b)
            .and_then(|(a, _)| a.split(':').next())
            .unwrap_or_else(|| panic!("--{} sets nothing", flag.long));
        // The field is called as the option is, but for lists.
        let name = flag.long.strip_prefix("jira-").unwrap_or(flag.long);
        let name = name.replace('-', "_");
        let name = match (flag.long, flag.list) {
            // What differs is inside it.
            ("agent-command", _) => "words".to_owned(),
            (_, List::No) | ("agent-env", _) => name,
            _ => name + "s",
        };
        assert_eq!(field.trim(), name);
        assert!(moved.insert(field.to_owned()), "two options set {field}");
    }
}

#[test]
fn paths_are_completed_as_what_they_are() {
    let kind = |long| flag(long).kind();
    assert!(kind("work-file") == Some(Kind::File) && kind("outcomes") == Some(Kind::File));
    assert!(kind("state-dir") == Some(Kind::Directory));
    assert!(kind("docker-binary") == Some(Kind::Program));
}
