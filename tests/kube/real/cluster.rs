//! The way to the API server: credentials that change, permissions that go, a
//! server that is away, and the orchestrator as a pod of the cluster itself.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::{Value, json};

use super::Kube;
use crate::{
    kube::AWAIT,
    world::{PATIENCE, output},
};

#[test]
fn what_is_forbidden_counts_against_nobody_and_goes_on_when_it_is_allowed_again() {
    let Some(kube) = Kube::new("revoked") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let started = kube
        .orchestrator()
        .agent(&format!("{AWAIT} await go"))
        .args(["--max-agents=1", "--max-attempts=1"])
        .start();
    let pod = kube.running("A-1");
    let binding = format!("rolebinding/{}", kube.account());
    let whole = kube.one(&binding).unwrap();
    kube.kubectl(&["delete", &binding]);
    started.wait_for_log("forbidden");
    kube.give(&pod, "go");
    kube.succeeds("A-1");
    assert_eq!(kube.outcomes().len(), 0);
    let meta = json!({"name": kube.account(), "namespace": kube.namespace});
    let mut again = whole;
    again["metadata"] = meta;
    kube.apply(&again);
    let pod = kube.running("A-2");
    kube.give(&pod, "go");
    kube.wait_for("both are told of", || kube.outcomes().len() == 2);
    assert_eq!(started.terminate().code, Some(0));
    for id in ["A-1", "A-2"] {
        assert_eq!(kube.outcome(id)["outcome"], "succeeded", "{id}");
        assert_eq!(kube.outcome(id)["attempts"], 1, "{id}");
    }
}

#[test]
fn a_token_that_is_replaced_in_its_file_is_read_again() {
    let Some(kube) = Kube::new("token_file") else {
        return;
    };
    let file = kube.path("token");
    let write = |token: &str| {
        let new = kube.path("token.new");
        fs::write(&new, token).unwrap();
        fs::rename(new, &file).unwrap();
    };
    write(&kube.token());
    kube.kubeconfig(&json!({"tokenFile": file}));
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}]));
    let started = kube
        .orchestrator()
        .agent(&format!("{AWAIT} await go"))
        .arg("--max-agents=1")
        .start();
    let pod = kube.running("A-1");
    // The account anew: its old tokens are nobody's.
    let account = kube.account();
    kube.kubectl(&["delete", "serviceaccount", &account]);
    kube.kubectl(&["create", "serviceaccount", &account]);
    write(&kube.token());
    kube.give(&pod, "go");
    let pod = kube.running("A-2");
    kube.give(&pod, "go");
    kube.wait_for("both are told of", || kube.outcomes().len() == 2);
    assert_eq!(started.terminate().code, Some(0));
}

#[test]
fn credentials_of_every_sort_that_a_kubeconfig_has_are_taken() {
    let Some(kube) = Kube::new("credentials") else {
        return;
    };
    kube.items(&json!([{"id": "A-1"}]));
    let orchestrator = kube.orchestrator().agent("true");
    let token = kube.token();
    // A plugin, which is asked with what the protocol wants.
    let plugin = kube.path("plugin");
    let asked = kube.path("asked");
    let said = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": token},
    });
    fs::write(
        &plugin,
        format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" \"$MORE\" \"$KUBERNETES_EXEC_INFO\" >>{}\necho '{said}'\n",
            asked.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o700)).unwrap();
    kube.kubeconfig(&json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": plugin,
        "args": ["get", "token"], "env": [{"name": "MORE", "value": "more"}],
        "interactiveMode": "Never", "provideClusterInfo": false,
    }}));
    orchestrator.clone().finish(0);
    let asked = fs::read_to_string(asked).unwrap();
    let mut lines = asked.lines();
    assert_eq!(lines.next(), Some("get token"));
    assert_eq!(lines.next(), Some("more"));
    let info: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(info["kind"], "ExecCredential");
    // It is asked once, and not for every request.
    assert_eq!(asked.lines().count(), 3, "{asked}");

    // The certificate of the admin.
    let admin = kube.admin();
    kube.kubeconfig(&admin["users"][0]["user"]);
    kube.items(&json!([{"id": "A-2"}]));
    orchestrator.clone().finish(0);

    // A server whose certificate is not looked at, or is that of another name.
    kube.kubeconfig_of(&json!({"token": token}), |cluster| {
        let cluster = cluster.as_object_mut().unwrap();
        cluster.remove("certificate-authority-data");
        cluster.insert("insecure-skip-tls-verify".into(), json!(true));
    });
    kube.items(&json!([{"id": "A-3"}]));
    let output = orchestrator.clone().finish(0);
    assert!(
        output.stderr.contains("insecure-skip-tls-verify"),
        "{}",
        output.stderr
    );
    kube.kubeconfig_of(&json!({"token": token}), |cluster| {
        cluster["tls-server-name"] = json!("kubernetes");
    });
    kube.items(&json!([{"id": "A-4"}]));
    orchestrator.clone().finish(0);
    kube.kubeconfig_of(&json!({"token": token}), |cluster| {
        cluster["tls-server-name"] = json!("somebody.else");
    });
    let output = orchestrator.arg("--once").run();
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let server = admin["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let place = format!(", at {}", server.trim_start_matches("https://"));
    assert!(output.stderr.contains(&place), "{}", output.stderr);
    assert_eq!(kube.outcomes().len(), 4);
}

#[test]
fn runs_go_on_without_the_api_server_and_are_told_of_when_it_is_back() {
    let Some((kube, cluster)) = Kube::owned("outage") else {
        return;
    };
    let part = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/part");
    // Not one of the processes that the world takes with it.
    let part = |verb: &str| {
        let mut command = Command::new(part);
        command.args([verb, "kube-apiserver"]).arg(&cluster);
        output(command, PATIENCE).unwrap();
    };
    kube.items(&json!([{"id": "A-1"}, {"id": "A-2"}, {"id": "A-3"}]));
    let started = kube
        .orchestrator()
        .agent(&format!(
            "{AWAIT} await go; [ $RECAC_ITEM_ID = A-3 ] || sleep 10; echo done"
        ))
        .arg("--max-agents=2")
        .start();
    for pod in [kube.running("A-1"), kube.running("A-2")] {
        kube.give(&pod, "go");
    }
    part("kill");
    // Both end meanwhile, and nobody can say so.
    started.wait_for_log("what runs is not known");
    part("start");
    kube.wait_for("the API server is back", || {
        kube.try_kubectl(&["get", "--raw", "/readyz"]).is_ok()
    });
    let third = kube.running("A-3");
    kube.give(&third, "go");
    kube.wait_for("all are told of", || kube.outcomes().len() == 3);
    assert_eq!(started.terminate().code, Some(0));
    for id in ["A-1", "A-2", "A-3"] {
        let outcome = kube.outcome(id);
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"], &outcome["tail"]),
            (&json!("succeeded"), &json!(1), &json!("done")),
            "{id}"
        );
        assert_eq!(kube.jobs(id).len(), 1, "{id}");
    }
    kube.assert_nothing_left();
}

#[test]
fn what_manifest_prints_runs_the_orchestrator_in_the_cluster() {
    let Some(kube) = Kube::new("manifest") else {
        return;
    };
    if std::env::var_os("RECAC_TEST_ORCHESTRATOR").is_none() {
        crate::docker::say("skipped: the orchestrator as a pod, for its image is not on the nodes");
        return;
    }
    kube.kubectl(&["delete", "role,rolebinding,serviceaccount", "--all"]);
    let mut list = kube.manifest(&[
        "--leader-elect",
        "--interval=1s",
        "--image-pull-policy=Never",
        "--agent-command=sh -c 'sleep 1; echo $RECAC_ITEM_SUMMARY'",
        &format!("--image={}", kube.image),
    ]);
    let ours = std::env::var_os("RECAC_TEST_CLUSTER").is_some();
    for item in list["items"].as_array_mut().unwrap() {
        assert_eq!(item["metadata"]["name"], kube.account().as_str(), "{item}");
        if item["kind"] != "Deployment" {
            continue;
        }
        assert_eq!(item["spec"]["replicas"], 2);
        let pod = &mut item["spec"]["template"]["spec"];
        let container = &mut pod["containers"][0];
        // What the node has, it need not pull.
        container["imagePullPolicy"] = json!("Never");
        if ours {
            // There the network of services leads nowhere.
            let env = container["env"].as_array_mut().unwrap();
            env.push(json!({"name": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1"}));
            env.push(json!({"name": "KUBERNETES_SERVICE_PORT", "value": "6443"}));
            pod["hostNetwork"] = json!(true);
        }
    }
    // As restricted as pods can be, but for the network of the node.
    if !ours {
        let label = "pod-security.kubernetes.io/enforce=restricted";
        kube.kubectl(&["label", "namespace", &kube.namespace, label]);
    }
    let work = json!([{"id": "A-1", "summary": "one"}, {"id": "A-2", "summary": "two"}]);
    let literal = format!("--from-literal=work_items.json={work}");
    let map = format!("recac-orchestrator-work-{}", kube.owner);
    kube.kubectl(&["create", "configmap", &map, &literal]);
    kube.apply(&list);
    let account = kube.account();
    kube.on_failure({
        let config = format!("--kubeconfig={}", kube.admin.display());
        let namespace = format!("--namespace={}", kube.namespace);
        move |world| {
            let deployment = format!("deployment/{account}");
            let all = ["--all-pods", "--all-containers", "--tail=100"];
            let args = [
                &[&config as &str, &namespace, "logs", &deployment],
                &all[..],
            ]
            .concat();
            let logs = world.try_call("kubectl", &args).unwrap_or_else(|e| e);
            format!("--- what the pods of the orchestrator say\n{logs}")
        }
    });
    kube.wait_for("both are told of", || kube.outcomes().len() == 2);
    assert_eq!(kube.outcome("A-1")["tail"], "one");
    assert_eq!((kube.jobs("A-1").len(), kube.jobs("A-2").len()), (1, 1));
    // Both are well, say their probes, and none has been started again.
    kube.wait_for("both replicas are ready", || {
        let deployment = kube.one(&format!("deployment/{}", kube.account())).unwrap();
        deployment["status"]["readyReplicas"] == 2
    });
    for pod in kube.all("pods") {
        let status = &pod["status"]["containerStatuses"][0];
        assert_eq!(status["restartCount"], 0, "{pod}");
    }
    let deployment = format!("deployment/{}", kube.account());
    kube.kubectl(&["exec", &deployment, "--", "/orchestrator", "healthy"]);
}
