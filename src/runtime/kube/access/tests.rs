use super::*;

fn view(cluster: &str, user: &str) -> Result<Access, String> {
    let text = format!(
        r#"{{"kind":"Config","apiVersion":"v1","preferences":{{}},
        "clusters":[{{"name":"c","cluster":{cluster}}}],
        "users":[{{"name":"u","user":{user}}}],
        "contexts":[{{"name":"x","context":{{"cluster":"c","user":"u","namespace":"team"}}}}],
        "current-context":"x"}}"#
    );
    of_kubeconfig(text.as_bytes())
}

const CLUSTER: &str = r#"{"server":"https://10.0.0.1:6443/","certificate-authority-data":"UEVN"}"#;

#[test]
fn a_kubeconfig_says_where_and_who() {
    let access = view(CLUSTER, r#"{"token":"t"}"#).unwrap();
    assert_eq!(access.server, "https://10.0.0.1:6443");
    assert_eq!(access.namespace.as_deref(), Some("team"));
    assert_eq!(access.settings.roots.as_deref(), Some(&b"PEM"[..]));
    assert!(matches!(&access.user, User::Token(t) if t == "t"));
    assert!(!format!("{access:?}").contains("\"t\""));
    let both = r#"{"token":"t","tokenFile":"/f"}"#;
    assert!(
        matches!(view(CLUSTER, both).unwrap().user, User::TokenFile(f) if f == Path::new("/f"))
    );
    let pair = r#"{"client-certificate-data":"QUI=","client-key-data":"Q0Q="}"#;
    let access = view(CLUSTER, pair).unwrap();
    let identity = access.settings.identity.unwrap();
    assert_eq!(
        (&identity.certificates[..], &identity.key[..]),
        (&b"AB"[..], &b"CD"[..])
    );
    assert!(matches!(access.user, User::Nobody));
    let open = r#"{"server":"https://h","insecure-skip-tls-verify":true,"proxy-url":"http://p"}"#;
    let settings = view(open, "{}").unwrap().settings;
    assert!(settings.insecure && settings.proxy.is_some());
}

#[test]
fn another_name_for_the_certificate_leads_to_the_same_place() {
    for (server, url, place) in [
        (
            "https://10.0.0.1:6443",
            "https://kube:6443",
            "10.0.0.1:6443",
        ),
        ("https://h/a/b", "https://kube:443/a/b", "h:443"),
        ("https://[::1]:1", "https://kube:1", "[::1]:1"),
        ("https://[::1]", "https://kube:443", "[::1]:443"),
    ] {
        let cluster = format!(r#"{{"server":"{server}","tls-server-name":"kube"}}"#);
        let access = view(&cluster, "{}").unwrap();
        assert_eq!(access.server, url);
        assert_eq!(access.settings.connect_to.as_deref(), Some(place));
    }
    assert!(view(r#"{"server":"http://h","tls-server-name":"k"}"#, "{}").is_err());
}

#[test]
fn a_proxy_of_the_environment_is_taken_or_said_to_be_passed_by() {
    let through = |cluster: &str, vars: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let proxies = Proxies::of(&vars.iter().map(own).collect());
        let access = view(cluster, "{}").unwrap().through(&proxies).unwrap();
        let proxy = access.settings.proxy.as_ref();
        (proxy.map(Proxy::from), access.passes_by(&proxies))
    };
    let named = r#"{"server":"https://10.0.0.1:6443","tls-server-name":"kube"}"#;
    let own = r#"{"server":"https://10.0.0.1:6443","proxy-url":"http://p"}"#;
    let set = [("HTTPS_PROXY", "h")];
    assert_eq!(through(CLUSTER, &set), (Some("HTTPS_PROXY"), None));
    assert_eq!(through(own, &set), (Some("proxy-url"), None));
    assert_eq!(through(named, &set), (None, Some("HTTPS_PROXY")));
    let around = [("HTTPS_PROXY", "h"), ("NO_PROXY", "10.0.0.0/8")];
    assert_eq!(through(named, &around), (None, None));
    assert_eq!(through(named, &[]), (None, None));
}

#[test]
fn what_is_of_no_use_is_an_error_with_a_way_out() {
    assert!(
        view(CLUSTER, r#"{"auth-provider":{"name":"gcp"}}"#)
            .unwrap_err()
            .contains("exec")
    );
    assert!(
        view(
            r#"{"server":"https://h","certificate-authority-data":"!"}"#,
            "{}"
        )
        .is_err()
    );
    for text in [
        "",
        "{}",
        "[]",
        r#"{"clusters":null}"#,
        r#"{"clusters":[{}]}"#,
    ] {
        assert!(of_kubeconfig(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn base64_is_read() {
    for (text, bytes) in [
        ("", Some(&b""[..])),
        ("QQ==", Some(b"A")),
        ("QUI=", Some(b"AB")),
        ("QUJD", Some(b"ABC")),
        ("QU\nJD ", Some(b"ABC")),
        ("/+8=", Some(b"\xff\xef")),
        ("Q", None),
        ("Q-==", None),
    ] {
        assert_eq!(base64(text).as_deref(), bytes, "{text}");
    }
}

fn plugin(script: &str) -> Exec {
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh", "args": ["-c", script],
        "env": [{"name": "GIVEN", "value": "hunter2"}],
        "installHint": "install it\n", "provideClusterInfo": true, "interactiveMode": "Never",
    });
    let user = json!({ "exec": exec }).to_string();
    let User::Exec(exec) = view(CLUSTER, &user).unwrap().user else {
        panic!("no plugin");
    };
    assert!(!format!("{exec:?}").contains("hunter2"));
    *exec
}

#[test]
fn a_plugin_is_told_of_the_cluster_and_its_word_is_taken() {
    let said = r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
        "status":{"token":"%s","expirationTimestamp":"2026-11-24T03:05:07Z"}}' "$(
        echo "$KUBERNETES_EXEC_INFO" | grep -c '"server":"https://10.0.0.1:6443/"')$GIVEN""#;
    let credential = plugin(said).ask().unwrap();
    assert_eq!(credential.token.as_deref(), Some("1hunter2"));
    assert_eq!(credential.until, Some(Stamp(1_795_489_507_000)));
    let pair = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","status":{
        "clientCertificateData":"C","clientKeyData":"K"}}'"#;
    let credential = plugin(pair).ask().unwrap();
    assert!(credential.identity.is_some() && credential.until.is_none());
}

#[test]
fn a_plugin_is_given_what_the_cluster_holds_for_it() {
    let cluster = r#"{"server":"https://h","extensions":[{"name":"other","extension":1},
        {"name":"client.authentication.k8s.io/exec","extension":{"audience":"a"}}]}"#;
    let exec = json!({"exec": {"apiVersion": "v", "command": "c", "provideClusterInfo": true}});
    let User::Exec(exec) = view(cluster, &exec.to_string()).unwrap().user else {
        panic!("no plugin");
    };
    let told = json!({"server": "https://h", "config": {"audience": "a"}});
    assert_eq!(exec.cluster, Some(told));
}

#[test]
fn a_plugin_that_fails_is_named() {
    let why = |script: &str| plugin(script).ask().err().unwrap();
    assert!(why("echo no >&2; exit 3").contains("exit code 3: no"));
    assert!(why("echo").contains("does not print an ExecCredential"));
    let v1beta1 = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","status":{}}'"#;
    assert!(why(v1beta1).contains("speaks"));
    let nothing = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","status":{}}'"#;
    assert!(why(nothing).contains("neither a token nor a certificate"));
    let timeless = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","status":{
        "token":"t","expirationTimestamp":"soon"}}'"#;
    assert!(why(timeless).contains("prints an expirationTimestamp that is no time"));
    let mut missing = plugin("");
    missing.command = "no-such-plugin".into();
    assert!(missing.ask().err().unwrap().ends_with("; install it"));
}

#[test]
fn the_pod_counts_unless_a_kubeconfig_is_named() {
    let env = |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some("10.0.0.1".to_owned()),
        "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
        _ => None,
    };
    let none = |_: &str| Some(String::new());
    let is_pod = |origin| matches!(origin, Origin::Pod { .. });
    assert!(is_pod(Origin::choose(None, None, env)));
    assert!(!is_pod(Origin::choose(None, None, none)));
    assert!(!is_pod(Origin::choose(Some(Path::new("f")), None, env)));
    assert!(!is_pod(Origin::choose(None, Some("c"), env)));
}

#[test]
fn a_pod_has_its_credentials_in_files() {
    let dir = std::env::temp_dir().join(format!("recac-pod-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    assert!(pod("h", "1", &dir).unwrap_err().contains("no token"));
    for (name, text) in [("token", "t"), ("ca.crt", "c"), ("namespace", "team\n")] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let access = pod("fd00::1", "443", &dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(access.server, "https://[fd00::1]:443");
    assert_eq!(access.namespace.as_deref(), Some("team"));
}

#[test]
fn what_would_be_left_out_in_silence_is_refused() {
    let refused = |cluster: &str, user: &str| view(cluster, user).unwrap_err();
    let login = r#"{"server":"https://me:hidden@h"}"#;
    let why = refused(login, "{}");
    assert!(why.contains("server") && !why.contains("hidden"), "{why}");
    let why = refused(CLUSTER, r#"{"token":"t","as":"somebody"}"#);
    assert!(why.contains("(as)"), "{why}");
    let why = refused(CLUSTER, r#"{"client-certificate-data":"QUI="}"#);
    assert!(why.contains("needs both"), "{why}");
}

#[test]
fn paths_begin_where_the_kubeconfig_is() {
    let dir = std::env::temp_dir().join(format!("recac-near-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("token"), "t").unwrap();
    let dirs = ["/nonexistent".into(), dir.clone()];
    let mut user = User::TokenFile("token".into());
    user.resolve(&dirs);
    assert!(matches!(&user, User::TokenFile(path) if *path == dir.join("token")));
    for (command, becomes) in [
        ("./token", dir.join("./token").display().to_string()),
        // That is looked for in PATH.
        ("token", "token".to_owned()),
        ("./other", "./other".to_owned()),
    ] {
        let mut user = User::Exec(Box::new(Exec {
            command: command.to_owned(),
            ..plugin("")
        }));
        user.resolve(&dirs);
        assert!(matches!(&user, User::Exec(exec) if exec.command == becomes));
    }
    let files = Path::new("/a/config:/b/config");
    let origin = Origin::choose(Some(files), None, |_| None);
    let Origin::Kubeconfig { dirs, .. } = origin else {
        panic!("{origin:?}")
    };
    assert_eq!(dirs, [Path::new("/a"), Path::new("/b")]);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let of = |files: &str| Origin::Kubeconfig {
        files: Some(files.into()),
        context: None,
        dirs: vec![],
    };
    let why = of("/no/such/config:/nor/this").access().unwrap_err();
    assert!(why.contains("/no/such/config:/nor/this"), "{why}");
    assert!(why.contains("--kubeconfig"), "{why}");
}
