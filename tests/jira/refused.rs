//! Credentials that are refused, in all the ways in which that looks like
//! something else.

use super::*;
use crate::process::{BEGIN, begun};
use fake::{Fault, Kind, client::base64};

/// One pass that has to end with 1 and start nothing; its log.
#[track_caller]
fn refused(jira: &Fake, change: impl FnOnce(Orchestrator<'_>) -> Orchestrator<'_>) -> String {
    let world = World::new("jira_refused");
    jira.add(wanted("A-1"));
    let line = change(orchestrator(&world, jira));
    let out = line.agent(BEGIN).args(["--once"]).run();
    assert_eq!(out.code, Some(1), "{}", out.stderr);
    assert_eq!(begun(&world), 0);
    assert!(!out.stderr.contains(&jira.token()), "{}", out.stderr);
    out.stderr
}

fn wrong_token(line: Orchestrator<'_>) -> Orchestrator<'_> {
    line.env("JIRA_API_TOKEN", "of-another-year")
}

#[test]
fn a_wrong_token_is_an_error_and_never_an_empty_queue() {
    for jira in both() {
        let log = refused(&jira, wrong_token);
        assert!(
            log.contains("jira refuses the token of JIRA_API_TOKEN (status 401: "),
            "{log}"
        );
        assert!(!log.contains("of-another-year"), "{log}");
    }
    let log = refused(&Fake::cloud(), wrong_token);
    assert!(
        log.contains("--jira-username is the e-mail address"),
        "{log}"
    );
    let log = refused(&Fake::data_center(), wrong_token);
    assert!(
        log.contains("personal access token has not expired"),
        "{log}"
    );
}

#[test]
fn a_token_of_the_wrong_kind_says_which_is_right() {
    let world_url = |jira: &Fake| format!("--jira-url={}", jira.url());
    let cloud = Fake::cloud();
    let world = World::new("jira_kind");
    let out = process::orchestrator(&world)
        .args(["--poller=jira", "--once"])
        .arg(world_url(&cloud))
        .env("JIRA_API_TOKEN", cloud.token())
        .run();
    assert_eq!(out.code, Some(1));
    assert!(
        out.stderr.contains("goes with --jira-username"),
        "{}",
        out.stderr
    );
    let dc = Fake::data_center();
    let log = refused(&dc, |line| line.arg("--jira-username=bot"));
    assert!(log.contains("goes without --jira-username"), "{log}");
}

#[test]
fn a_captcha_is_told_of_and_not_fed() {
    for jira in both() {
        jira.account(|account| account.captcha = true);
        let cloud = jira.with(|site| site.cloud);
        if !cloud {
            // Tokens of Data Center are not held up by it.
            jira.account(|account| account.kind = Kind::Password);
        }
        let user = jira.user();
        let log = refused(&jira, |line| line.arg(format!("--jira-username={user}")));
        assert!(log.contains("jira wants a CAPTCHA"), "{log}");
        assert!(log.contains("log in once with a browser"), "{log}");
    }
}

#[test]
fn an_answer_to_nobody_is_no_answer() {
    // A proxy that drops the header on its way: Jira answers with nothing.
    for jira in both() {
        jira.account(|account| account.stripped = true);
        let log = refused(&jira, |line| line);
        assert!(log.contains("jira refuses the token"), "{log}");
    }
}

#[test]
fn what_is_no_jira_says_so() {
    let jira = Fake::cloud();
    jira.fault(
        Fault::reply(404, "text/html", "<title>nginx</title>")
            .on("GET *")
            .always(),
    );
    let log = refused(&jira, |line| line);
    assert!(log.contains("there is no Jira at"), "{log}");
    let jira = Fake::cloud();
    jira.fault(
        Fault::redirect("https://login.example/sso?token=x")
            .on("GET *")
            .always(),
    );
    let log = refused(&jira, |line| line);
    assert!(
        log.contains("sends us to \"https://login.example/sso\""),
        "{log}"
    );
    let jira = Fake::cloud();
    let log = refused(&jira, |line| line.arg("--jira-deployment=dc"));
    assert!(log.contains("--jira-deployment"), "{log}");
}

#[test]
fn a_token_that_expires_is_told_of_once_and_its_successor_is_used() {
    for jira in both() {
        let world = World::new("jira_expires");
        let file = world.path("token");
        std::fs::write(&file, format!("{}\n", jira.token())).unwrap();
        jira.add(wanted("A-1"));
        let mut run = orchestrator(&world, &jira)
            .arg(format!("--jira-token-file={}", file.display()))
            .agent(BEGIN)
            .start();
        world.wait_for("the first is done", || jira.labels("A-1").len() == 2);
        jira.expire_token();
        run.wait_for_log("it has expired or was revoked");
        jira.add(wanted("A-2"));
        let asked = jira.requests().len();
        // Several polls go by, and nothing is asked in vain.
        let polls = run.stderr().lines().count();
        jira.renew_token("brand-new-token");
        assert!(run.is_running());
        std::fs::write(&file, "brand-new-token").unwrap();
        world.wait_for("the second is done", || jira.labels("A-2").len() == 2);
        let out = run.terminate();
        assert_eq!(
            out.stderr.matches("it has expired").count(),
            1,
            "{polls} {asked}"
        );
        assert!(!out.stderr.contains("brand-new-token"));
    }
}

#[test]
fn a_token_with_scopes_works_through_the_gateway() {
    for kind in [Kind::Scoped, Kind::Service] {
        let jira = fake::Setup::cloud()
            .https(&["acme.atlassian.net", "api.atlassian.com"])
            .start();
        jira.account(|account| account.kind = kind);
        let world = World::new("jira_gateway");
        let proxy = jira.proxy();
        jira.add(wanted("A-1"));
        let mut line = process::orchestrator(&world)
            .args(["--poller=jira", "--jira-url=https://acme.atlassian.net"])
            .arg(format!("--jira-ca-file={}", jira.ca_file().display()))
            .env("JIRA_API_TOKEN", jira.token())
            .env("HTTPS_PROXY", proxy.url());
        if kind == Kind::Scoped {
            line = line.arg(format!("--jira-username={}", jira.user()));
        }
        let out = line
            .agent("test \"$RECAC_ITEM_URL\" = https://acme.atlassian.net/browse/A-1")
            .finish(0);
        assert!(out.stderr.contains("through Atlassian's gateway"));
        assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-done"]);
        jira.assert_no_violations();
    }
}

#[test]
fn no_gateway_is_looked_for_elsewhere_and_no_token_is_sent_there() {
    let jira = fake::Setup::cloud()
        .https(&["jira.acme.example"])
        .strangers(&["api.atlassian.com"])
        .start();
    jira.account(|account| account.kind = Kind::Scoped);
    let world = World::new("jira_no_gateway");
    let proxy = jira.proxy();
    let out = process::orchestrator(&world)
        .args(["--poller=jira", "--jira-url=https://jira.acme.example"])
        .arg(format!("--jira-username={}", jira.user()))
        .env("SSL_CERT_FILE", jira.ca_file())
        .env("JIRA_API_TOKEN", jira.token())
        .env("HTTPS_PROXY", proxy.url())
        .agent(BEGIN)
        .arg("--once")
        .run();
    assert_eq!(out.code, Some(1));
    assert!(
        out.stderr.contains("jira refuses the token"),
        "{}",
        out.stderr
    );
    assert_eq!(jira.count("* */tenant_info"), 0);
    jira.assert_no_violations();
    // Whom nobody vouches for is not believed.
    let out = process::orchestrator(&world)
        .args(["--poller=jira", "--jira-url=https://jira.acme.example"])
        .env("JIRA_API_TOKEN", jira.token())
        .env("HTTPS_PROXY", proxy.url())
        .agent(BEGIN)
        .arg("--once")
        .run();
    assert!(out.stderr.contains("see --jira-ca-file"), "{}", out.stderr);
}

#[test]
fn the_gateway_can_be_named_and_a_path_is_kept() {
    let jira = Fake::cloud();
    jira.account(|account| account.kind = Kind::Service);
    let world = World::new("jira_named");
    jira.add(wanted("A-1"));
    process::orchestrator(&world)
        .arg("--poller=jira")
        .arg(format!("--jira-url={}/", jira.gateway_url()))
        .env("JIRA_API_TOKEN", jira.token())
        .agent(&format!(
            "test \"$RECAC_ITEM_URL\" = {}",
            jira.browse_url("A-1")
        ))
        .finish(0);
    // Who may not ask it where people look at tickets does not know.
    jira.add(wanted("A-2"));
    jira.fault(Fault::status(403).on("GET */serverInfo").always());
    process::orchestrator(&world)
        .args(["--poller=jira", "--jira-deployment=cloud"])
        .arg(format!("--jira-url={}", jira.gateway_url()))
        .env("JIRA_API_TOKEN", jira.token())
        .agent("test -z \"$RECAC_ITEM_URL\"")
        .finish(0);
    let jira = fake::Setup::data_center().context("/jira").start();
    jira.add(wanted("A-1"));
    orchestrator(&world, &jira)
        .agent(&format!(
            "test \"$RECAC_ITEM_URL\" = {}",
            jira.browse_url("A-1")
        ))
        .finish(0);
    assert!(jira.browse_url("A-1").contains("/jira/browse/"));
    jira.assert_no_violations();
}

#[test]
fn a_login_page_is_no_account() {
    for jira in both() {
        let page = Fault::reply(200, "text/html", "<title>Log in</title>");
        jira.fault(page.on("GET */myself").always());
        let log = refused(&jira, |line| line);
        assert!(log.contains("jira refuses the token"), "{log}");
    }
}

#[test]
fn no_answer_and_no_level_of_the_log_shows_a_part_of_the_token() {
    for jira in both() {
        // Wherever a message is cut, it is cut within a token.
        let echo = jira.token().repeat(60);
        let body = format!("{{\"errorMessages\": [\"{echo}\"]}}");
        jira.fault(
            Fault::reply(400, "application/json", &body)
                .on("POST */search*")
                .always(),
        );
        let log = refused(&jira, |line| line.env("RUST_LOG", "trace"));
        assert!(log.contains("[JIRA_API_TOKEN]"), "{log}");
        assert!(!log.contains(&jira.token()[..6]), "{log}");
        let basic = format!("{}:{}", jira.user(), jira.token());
        assert!(!log.contains(&base64(&basic)[..10]), "{log}");
    }
}

#[test]
fn a_gateway_that_is_of_no_help_leaves_the_refusal_as_it_is() {
    let jira = fake::Setup::cloud()
        .https(&["acme.atlassian.net", "api.atlassian.com"])
        .start();
    jira.account(|account| account.kind = Kind::Service);
    jira.fault(Fault::status(500).on("GET */tenant_info").always());
    let world = World::new("jira_no_tenant");
    let proxy = jira.proxy();
    let run = process::orchestrator(&world)
        .args(["--poller=jira", "--jira-url=https://acme.atlassian.net"])
        .arg(format!("--jira-ca-file={}", jira.ca_file().display()))
        .env("JIRA_API_TOKEN", jira.token())
        .env("HTTPS_PROXY", proxy.url())
        .agent(BEGIN)
        .start();
    run.wait_for_log("its gateway is of no help");
    run.terminate();
    assert_eq!(jira.count("GET */serverInfo"), 1);
}

#[test]
fn a_proxy_is_named_where_it_is_in_between_and_gone_around_where_it_need_not_be() {
    let jira = Fake::data_center();
    let world = World::new("jira_proxy");
    let pass = |url: &str, vars: &[(&str, &str)]| {
        let mut line = orchestrator(&world, &jira).arg(format!("--jira-url={url}"));
        for (name, value) in vars {
            line = line.env(name, value);
        }
        line.agent(BEGIN).arg("--once").run()
    };
    // Nobody listens there.
    let nobody = ("HTTP_PROXY", "http://127.0.0.1:1");
    let far = "http://jira.invalid";
    let named = "through the proxy of HTTP_PROXY";
    let out = pass(far, &[nobody]);
    assert_eq!(out.code, Some(1));
    assert!(out.stderr.contains(named), "{}", out.stderr);
    for (name, value) in [
        ("NO_PROXY", "x.example, jira.invalid"),
        ("no_proxy", ".INVALID"),
    ] {
        let out = pass(far, &[nobody, ("NO_PROXY", ""), (name, value)]);
        assert_eq!(out.code, Some(1));
        assert!(!out.stderr.contains(named), "{}", out.stderr);
    }
    // What is on this host needs none.
    let out = pass(&jira.url(), &[nobody]);
    assert_eq!(out.code, Some(0), "{}", out.stderr);
}

#[test]
fn a_certificate_that_nobody_signed_says_what_to_do() {
    let jira = fake::Setup::data_center()
        .https(&["jira.acme.example"])
        .self_signed()
        .start();
    let world = World::new("jira_self_signed");
    let proxy = jira.proxy();
    let out = process::orchestrator(&world)
        .args(["--poller=jira", "--jira-url=https://jira.acme.example"])
        .env("JIRA_API_TOKEN", jira.token())
        .env("HTTPS_PROXY", proxy.url())
        .agent(BEGIN)
        .arg("--once")
        .run();
    assert_eq!(out.code, Some(1));
    let said = "that is an authority's own: have it sign one for the server";
    assert!(out.stderr.contains(said), "{}", out.stderr);
    assert!(out.stderr.contains("--jira-ca-file"), "{}", out.stderr);
}

#[test]
fn a_token_file_may_begin_with_a_byte_order_mark() {
    for jira in both() {
        let world = World::new("jira_bom");
        let file = world.path("token");
        std::fs::write(&file, format!("\u{feff}{}\r\n", jira.token())).unwrap();
        jira.add(wanted("A-1"));
        orchestrator(&world, &jira)
            .arg(format!("--jira-token-file={}", file.display()))
            .agent(BEGIN)
            .finish(0);
    }
}

#[test]
fn a_search_that_is_answered_with_something_else_says_with_what() {
    let answered = |jira: &Fake, kind, body: &str| {
        let page = Fault::reply(200, kind, body);
        jira.fault(page.on("POST */search*").always());
        refused(jira, |line| line)
    };
    for jira in both() {
        let log = answered(&jira, "text/html", "<title>Out of order</title>");
        let said = "the search's answer is none (status 200: Out of order)";
        assert!(log.contains(said), "{log}");
    }
    for jira in both() {
        // Wherever it is cut, it is cut within a token.
        let log = answered(&jira, "text/plain", &jira.token().repeat(60));
        assert!(!log.contains(&jira.token()[..6]), "{log}");
    }
}
