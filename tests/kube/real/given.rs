//! What an agent is given, and how a template and the server's own checks
//! change it.

use serde_json::{Value, json};

use super::Kube;
use crate::kube::name;

#[test]
fn text_that_looks_like_a_variable_of_kubernetes_arrives_as_it_was_written() {
    let Some(kube) = Kube::new("dollars") else {
        return;
    };
    let hostile = "$(OPENROUTER_API_KEY) $(RECAC_ITEM_ID) $$(HOME) $HOME ${HOME} `id` \"'\\ \u{e9}";
    kube.items(&json!([{"id": "A-1", "summary": hostile, "env": {"MINE": hostile}}]));
    kube.kubectl(&[
        "create",
        "secret",
        "generic",
        "recac-agent-secrets",
        "--from-literal=OPENROUTER_API_KEY=a-secret-of-the-test",
    ]);
    kube.orchestrator()
        .arg(
            "--agent-command=sh -c 'printf \"%s\\n\" \"$0\" \"$RECAC_ITEM_SUMMARY\" \"$MINE\" \
             \"${OPENROUTER_API_KEY#a-secret-of}\"' {summary}",
        )
        .finish(0);
    let outcome = kube.outcome("A-1");
    let tail = outcome["tail"].as_str().unwrap();
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines, [hostile, hostile, hostile, "-the-test"]);
    let job = kube.jobs("A-1").pop().unwrap();
    assert!(!job.to_string().contains("a-secret-of-the-test"), "{job}");
}

#[test]
fn an_agent_works_in_an_empty_directory_and_has_no_token() {
    let Some(kube) = Kube::new("workspace") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    kube.orchestrator()
        .agent("pwd; ls -A; ls /var/run/secrets 2>&1 | head -n 1; env | grep -c SERVICE_HOST; :")
        .finish(0);
    let outcome = kube.outcome("A-1");
    let tail = outcome["tail"].as_str().unwrap();
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!((lines[0], lines.len()), ("/workspace", 3), "{tail}");
    assert!(lines[1].contains("No such file"), "{tail}");
    let pod = kube.all("pods").pop().unwrap();
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["enableServiceLinks"], false);
    assert_eq!(spec["restartPolicy"], "Never");
    assert_eq!(spec["terminationGracePeriodSeconds"], 10);
}

#[test]
fn a_message_of_the_agent_goes_before_its_log_and_a_log_that_is_forbidden_is_none() {
    let Some(kube) = Kube::new("tails") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}, {"id": "A-3"}]));
    let orchestrator = kube.orchestrator().agent(
        "echo printed; case $RECAC_ITEM_ID in \
         A-1) echo said >/dev/termination-log;; A-3) exit 78;; esac",
    );
    // The Role without the log.
    let role = format!("role/{}", kube.account());
    let mut whole = kube.one(&role).unwrap();
    let rules = whole["rules"].as_array_mut().unwrap();
    for rule in rules.iter_mut() {
        let resources = rule["resources"].as_array_mut().unwrap();
        resources.retain(|resource| resource != "pods/log");
    }
    rules.retain(|rule| rule["resources"] != json!([]));
    kube.apply(&whole);
    let output = orchestrator.finish(1);
    assert_eq!(kube.outcome("A-1")["tail"], "said");
    assert_eq!(kube.outcome("A-2")["tail"], "");
    // Kubernetes itself takes the end of the log of one that fails.
    assert_eq!(kube.outcome("A-3")["tail"], "printed");
    assert!(!output.stderr.contains("ERROR"), "{}", output.stderr);
}

#[test]
fn what_a_dry_run_prints_is_accepted_by_the_server_and_touches_nothing() {
    let Some(kube) = Kube::new("dry_run") else {
        return;
    };
    kube.items(&json!([
        {"id": "A-1", "summary": "$(X) \"'\n", "description": "# text\n".repeat(20_000)},
        {"id": "an id of any sort / \u{1f980}", "env": {"A": "b"}},
    ]));
    let output = kube
        .orchestrator()
        .agent("true")
        .args(["--agent-cpus=500m", "--agent-memory=64Mi", "--dry-run"])
        .arg(kube.template(&json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}})))
        .run();
    assert_eq!(output.code, Some(0));
    let file = kube.path("dry.json");
    std::fs::write(&file, &output.stdout).unwrap();
    let file = file.display().to_string();
    let check = [
        "create",
        "--dry-run=server",
        "--validate=strict",
        "-o",
        "name",
        "-f",
    ];
    let accepted = kube.kubectl(&[&check[..], &[&file]].concat());
    assert_eq!(accepted.lines().count(), 2, "{accepted}");
    assert_eq!(kube.all("jobs").len(), 0);
    assert_eq!(kube.outcomes().len(), 0);
    assert!(!kube.state_dir().exists());
}

#[test]
fn a_template_changes_the_job_but_not_what_is_ours() {
    let Some(kube) = Kube::new("template") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let template = json!({
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {"template": {
            "metadata": {"labels": {"team": "a"}},
            "spec": {
                "containers": [{
                    "name": "agent",
                    "env": [{"name": "MORE", "value": "$(RECAC_ITEM_ID)"}],
                    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                }],
                "volumes": [{"name": "cache", "emptyDir": {}}],
            },
        }},
    });
    kube.orchestrator()
        // The template is the user's own, and Kubernetes reads it as ever.
        .agent(r#"[ -d /cache ] && echo "$MORE $RECAC_ITEM_ID""#)
        .arg(kube.template(&template))
        .finish(0);
    assert_eq!(kube.outcome("A-1")["tail"], "A-1 A-1");
    let job = kube.jobs("A-1").pop().unwrap();
    let meta = &job["metadata"];
    assert_eq!(
        (&meta["labels"]["team"], &meta["annotations"]["note"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(meta["labels"]["recac.io/owner"], kube.owner.as_str());
}

#[test]
fn a_template_that_changes_the_name_or_a_label_of_ours_is_refused() {
    let Some(kube) = Kube::new("bad_template") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    for (template, word) in [
        (json!({"metadata": {"name": "x"}}), "name"),
        (
            json!({"metadata": {"labels": {"recac.io/owner": "x"}}}),
            "recac.io/owner",
        ),
    ] {
        let output = kube
            .orchestrator()
            .agent("true")
            .arg(kube.template(&template))
            .arg("--once")
            .run();
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        assert!(output.stderr.contains(word), "{}", output.stderr);
    }
    assert_eq!(kube.all("jobs").len(), 0);
}

#[test]
fn a_field_of_the_template_that_does_not_exist_is_named_and_counts_against_nobody() {
    let Some(kube) = Kube::new("misspelt") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let started = kube
        .orchestrator()
        .agent("true")
        .arg(kube.template(&json!({"spec": {"template": {"spec": {"nodeSelektor": {}}}}})))
        .args(["--start-timeout=1s", "--max-attempts=1"])
        .start();
    started.wait_for_log("spec.template.spec.nodeSelektor");
    assert_eq!(kube.outcomes().len(), 0);
    assert_eq!(started.terminate().code, Some(0));
    assert_eq!(kube.all("jobs").len(), 0);
}

/// The templates in README.md: every block of JSON that is laid over a Job.
fn readme_templates() -> Vec<Value> {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```json template\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    let blocks = blocks.filter_map(|block| serde_json::from_str::<Value>(block).ok());
    blocks
        .filter(|block| block["spec"].is_object() || block["metadata"].is_object())
        .collect()
}

#[test]
fn every_template_in_the_readme_is_accepted_by_the_server() {
    let Some(kube) = Kube::new("readme") else {
        return;
    };
    let templates = readme_templates();
    assert!(
        templates.len() >= 3,
        "node pool, claim, restricted: {templates:?}"
    );
    kube.items(&json!([{"id": "A-1"}]));
    for template in templates {
        let output = kube
            .orchestrator()
            .agent("true")
            .arg(kube.template(&template))
            .arg("--dry-run")
            .run();
        assert_eq!(output.code, Some(0), "{template}: {}", output.stderr);
        let file = kube.path("dry.json");
        std::fs::write(&file, &output.stdout).unwrap();
        let file = file.display().to_string();
        kube.kubectl(&[
            "create",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            &file,
        ]);
    }
}

#[test]
fn with_the_template_of_the_readme_agents_run_where_pods_are_restricted() {
    let Some(kube) = Kube::new("may_run") else {
        return;
    };
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kube.kubectl(&["label", "namespace", &kube.namespace, label]);
    let mut templates = readme_templates();
    templates.retain(|template| template.to_string().contains("runAsNonRoot"));
    assert_eq!(templates.len(), 1, "{templates:?}");
    kube.items(&json!([{"id": "A-1"}]));
    let output = kube
        .orchestrator()
        .agent("touch /workspace/mine && id -u")
        .arg(kube.template(&templates[0]))
        .finish(0);
    assert_ne!(kube.outcome("A-1")["tail"], "0");
    assert!(!output.stderr.contains("PodSecurity"), "{}", output.stderr);
}

#[test]
fn a_service_account_of_agents_comes_with_its_token() {
    let Some(kube) = Kube::new("account") else {
        return;
    };
    kube.kubectl(&["create", "serviceaccount", "agent"]);
    kube.items(&json!([{"id": "A-1"}]));
    kube.orchestrator()
        .agent("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace")
        .arg("--agent-service-account=agent")
        .finish(0);
    assert_eq!(kube.outcome("A-1")["tail"], kube.namespace.as_str());
    let job = kube.jobs("A-1").pop().unwrap();
    assert_ne!(name(&job), "");
}
