//! Who asks, and what those are told who are not who they should be.

use serde_json::json;

use crate::jira::fake::{Fake, Kind, Setup, Ticket, client::base64};

const BOT: &str = "/rest/api/3/search/jql?jql=labels%3Dbot";

fn cloud() -> Fake {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1").label("bot"));
    jira
}

fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", base64(&format!("{user}:{secret}")))
}

#[test]
fn wrong_credentials_on_cloud_find_nothing_and_are_no_error() {
    let jira = cloud();
    let wrong = basic(&jira.user(), "wrong");
    let search = jira.send_as("GET", BOT, &[("Authorization", &wrong)], "");
    assert_eq!(
        (search.status, search.text()),
        (200, r#"{"issues":[],"isLast":true}"#.to_owned())
    );
    assert_eq!(
        search.header("x-seraph-loginreason"),
        Some("AUTHENTICATED_FAILED")
    );
    assert_eq!(search.header("x-aaccountid"), None);
    let project = "/rest/api/3/search/jql?jql=project%3DNOBODY";
    assert_eq!(
        jira.send_as("GET", project, &[("Authorization", &wrong)], "")
            .status,
        200
    );

    let issue = jira.send_as(
        "GET",
        "/rest/api/3/issue/A-1",
        &[("Authorization", &wrong)],
        "",
    );
    assert_eq!(issue.status, 404);
    let myself = jira.send_as(
        "GET",
        "/rest/api/3/myself",
        &[("Authorization", &wrong)],
        "",
    );
    assert_eq!(myself.status, 401);
    assert_eq!(
        myself.header("content-type"),
        Some("application/json;charset=UTF-8")
    );
    assert_eq!(
        myself.text(),
        "Client must be authenticated to access this resource."
    );

    let right = jira.get(BOT);
    assert!(right.header("x-aaccountid").is_some());
    assert_eq!(right.header("x-seraph-loginreason"), None);
    assert_eq!(jira.get("/rest/api/2/myself").status, 200);
}

#[test]
fn a_public_site_shows_its_tickets_to_those_whose_token_is_wrong() {
    let jira = cloud();
    jira.with(|site| site.public = true);
    let wrong = basic(&jira.user(), "wrong");
    let search = jira.send_as("GET", BOT, &[("Authorization", &wrong)], "");
    assert!(search.text().contains("10001"));
    assert_eq!(search.header("x-aaccountid"), None);
    let write = [
        ("Authorization", wrong.as_str()),
        ("Content-Type", "application/json"),
    ];
    let put = jira.send_as("PUT", "/rest/api/3/issue/A-1", &write, "{}");
    assert_eq!(put.status, 404);
}

#[test]
fn without_credentials_nothing_is_said_of_them() {
    let jira = cloud();
    let search = jira.send_as("GET", BOT, &[], "");
    assert_eq!(
        (search.status, search.header("x-seraph-loginreason")),
        (200, None)
    );
    assert_eq!(
        jira.send_as("GET", "/rest/api/2/serverInfo", &[], "")
            .json()["deploymentType"],
        "Cloud"
    );
}

#[test]
fn a_bearer_is_refused_on_every_route_of_a_cloud_site() {
    let jira = cloud();
    for path in [
        BOT,
        "/rest/api/3/myself",
        "/rest/api/2/serverInfo",
        "/rest/api/3/issue/A-1",
    ] {
        let answer = jira.send_as("GET", path, &[("Authorization", "Bearer dc-token")], "");
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(
            answer.json()["error"],
            "Failed to parse Connect Session Auth Token"
        );
    }
}

#[test]
fn a_scoped_token_works_at_the_gateway_alone() {
    let jira = cloud();
    jira.account(|a| a.kind = Kind::Scoped);
    for path in ["/rest/api/3/myself", BOT, "/rest/api/3/issue/A-1"] {
        assert_eq!(jira.get(path).status, 401, "{path}");
    }
    let cloud_id = jira.send_as("GET", "/_edge/tenant_info", &[], "").json()["cloudId"].clone();
    let gateway = format!("/ex/jira/{}", cloud_id.as_str().unwrap());
    let search = jira.get(&format!("{gateway}{BOT}"));
    assert_eq!(search.json()["issues"], json!([{"id": "10001"}]));
    let info = jira.get(&format!("{gateway}/rest/api/2/serverInfo")).json();
    assert_eq!(info["baseUrl"], jira.url());
    assert_eq!(jira.gateway_url(), format!("{}{gateway}", jira.url()));
    assert_eq!(jira.get(&format!("/ex/jira/another{BOT}")).status, 404);

    let bearer = format!("Bearer {}", jira.token());
    let path = format!("{gateway}/rest/api/3/myself");
    assert_eq!(
        jira.send_as("GET", &path, &[("Authorization", &bearer)], "")
            .status,
        401
    );
    jira.account(|a| a.kind = Kind::Service);
    assert_eq!(
        jira.send_as("GET", &path, &[("Authorization", &bearer)], "")
            .status,
        200
    );
    let with_address = basic(&jira.user(), &jira.token());
    assert_eq!(
        jira.send_as("GET", &path, &[("Authorization", &with_address)], "")
            .status,
        200
    );
    jira.account(|a| a.kind = Kind::Classic);
    assert_eq!(jira.get(&path).status, 401);
}

#[test]
fn a_token_expires_in_the_middle_and_is_renewed() {
    let jira = cloud();
    jira.expire_token_after(2);
    assert!(jira.get(BOT).text().contains("10001"));
    assert_eq!(jira.get("/rest/api/3/myself").status, 200);
    assert_eq!(jira.get("/rest/api/3/myself").status, 401);
    assert!(!jira.get(BOT).text().contains("10001"));
    jira.renew_token("new");
    assert!(jira.get(BOT).text().contains("10001"));
}

#[test]
fn the_captcha_of_cloud_stands_in_a_header() {
    let jira = cloud();
    jira.account(|a| a.captcha = true);
    let answer = jira.get(BOT);
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("x-seraph-loginreason"),
        Some("AUTHENTICATION_DENIED")
    );
}

fn data_center() -> Fake {
    let jira = Setup::data_center().context("/jira").start();
    jira.add(Ticket::new("A-1").label("bot"));
    jira
}

#[test]
fn data_center_says_who_asks_and_how_much_is_left() {
    let jira = data_center();
    let answer = jira.get("/rest/api/2/myself");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["name"], "bot");
    assert_eq!(answer.header("x-ausername"), Some("bot"));
    // No throttle, though it looks like one.
    assert_eq!(answer.header("retry-after"), Some("0"));
    let anonymous = jira.send_as("GET", "/rest/api/2/search?jql=labels%3Dbot", &[], "");
    assert_eq!(
        (anonymous.status, &anonymous.json()["total"]),
        (200, &json!(0))
    );
    assert_eq!(anonymous.header("x-ausername"), Some("anonymous"));
    assert_eq!(
        jira.send_as("GET", "/rest/api/2/myself", &[], "").status,
        401
    );
}

#[test]
fn a_token_of_data_center_stands_alone() {
    let jira = data_center();
    let wrong = jira.send_as(
        "GET",
        "/rest/api/2/myself",
        &[("Authorization", "Bearer x")],
        "",
    );
    assert_eq!(wrong.status, 401);
    let as_password = basic("bot", &jira.token());
    let answer = jira.send_as(
        "GET",
        "/rest/api/2/myself",
        &[("Authorization", &as_password)],
        "",
    );
    assert_eq!(answer.status, 401);
}

#[test]
fn three_wrong_passwords_lock_the_account_until_a_person_comes() {
    let jira = data_center();
    jira.account(|a| a.kind = Kind::Password);
    let path = "/rest/api/2/myself";
    assert_eq!(jira.get(path).status, 200);
    let wrong = basic("bot", "wrong");
    for _ in 0..3 {
        assert_eq!(
            jira.send_as("GET", path, &[("Authorization", &wrong)], "")
                .status,
            401
        );
    }
    let locked = jira.get(path);
    assert_eq!(locked.status, 403);
    assert_eq!(
        locked.header("x-seraph-loginreason"),
        Some("AUTHENTICATION_DENIED")
    );
    let reason = locked.header("x-authentication-denied-reason").unwrap();
    assert!(reason.starts_with("CAPTCHA_CHALLENGE; login-url="));
    jira.account(|a| a.captcha = false);
    assert_eq!(jira.get(path).status, 200);
    jira.account(|a| a.basic_off = true);
    assert_eq!(jira.get(path).status, 403);
    jira.account(|a| (a.basic_off, a.stripped) = (false, true));
    assert_eq!(
        jira.get("/rest/api/2/search?jql=labels%3Dbot").json()["total"],
        0
    );
}

#[test]
fn each_deployment_has_its_own_routes() {
    let jira = data_center();
    assert_eq!(jira.get("/rest/api/3/myself").status, 404);
    assert_eq!(
        jira.get("/rest/api/2/search/jql?jql=labels%3Dbot").status,
        404
    );
    assert_eq!(jira.get("/_edge/tenant_info").status, 404);
    assert_eq!(
        jira.get("/rest/api/2/serverInfo").json()["deploymentType"],
        "Server"
    );
    jira.with(|site| site.context = "/other".to_owned());
    assert_eq!(
        jira.get("/rest/api/2/serverInfo").status,
        404,
        "not below the context path"
    );

    let jira = cloud();
    for version in [2, 3] {
        let gone = jira.get(&format!("/rest/api/{version}/search?jql=labels%3Dbot"));
        assert_eq!(gone.status, 410);
        assert!(gone.text().contains("/rest/api/3/search/jql"));
    }
    let nowhere = jira.get("/rest/api/3/nothing");
    assert_eq!(nowhere.status, 404);
    assert_eq!(
        nowhere.header("content-type"),
        Some("application/problem+json;charset=UTF-8")
    );
}
