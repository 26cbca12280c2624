//! What `manifest` takes along of a configuration, and what it says of the
//! rest. What comes of it in a cluster stands in tests/kube.

use std::fs;

use serde_json::Value;

use super::bare;
use crate::world::World;

const LINE: [&str; 4] = [
    "manifest",
    "--orchestrator-image=o",
    "--poller=file",
    "--image=i",
];

#[test]
fn what_options_name_is_taken_along_or_said() {
    let world = World::new("manifest");
    fs::write(world.path("t.json"), "{}").unwrap();
    fs::write(world.path("ca.pem"), "the authority").unwrap();
    let more = [
        "--agent-env=HERE",
        "--agent-env=NOT_HERE",
        "--agent-env=A_TOKEN",
        "--job-template=t.json",
        "--once",
        "--outcomes=/x/y",
    ];
    let env = [
        ("HERE", "1"),
        ("A_TOKEN", "hidden"),
        ("RECAC_MAX_ITERATIONS", "7"),
    ];
    let out = bare(&world, &[&LINE[..], &more].concat(), &env);
    assert_eq!(out.code, Some(0), "{}", out.stderr);
    let lost: Vec<&str> = out.stderr.lines().collect();
    assert_eq!(lost.len(), 3, "{lost:?}");
    for (line, words) in lost.iter().zip(["NOT_HERE", "--once", "/x/y"]) {
        assert!(line.contains(words), "{line}");
    }
    assert!(!out.stdout.contains("hidden"));
    let list: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(list["items"][3]["data"]["HERE"], "1");
    // As every agent is given it, asked for or not.
    assert_eq!(list["items"][3]["data"]["RECAC_MAX_ITERATIONS"], "7");
    assert_eq!(list["items"][4]["data"]["job-template.json"], "{}");
    let jira = [&LINE[..2], &["--poller=jira", "--jira-ca-file=ca.pem"]].concat();
    let env = [
        ("JIRA_URL", "https://jira.example"),
        ("JIRA_API_TOKEN", "t"),
    ];
    let out = bare(&world, &jira, &env);
    let list: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(list["items"][4]["data"]["jira-ca.pem"], "the authority");
    assert_eq!(out.stderr, "");
}

#[test]
fn what_a_run_would_refuse_is_refused() {
    let world = World::new("manifest_refused");
    for (option, words) in [
        ("--owner=work", "may be a name of another owner's"),
        ("--default-repo=ftp://host/a", "--default-repo"),
    ] {
        let out = bare(&world, &[&LINE[..], &[option]].concat(), &[]);
        assert_eq!((out.code, out.stdout.as_str()), (Some(2), ""), "{option}");
        assert!(out.stderr.contains(words), "{}", out.stderr);
    }
}
