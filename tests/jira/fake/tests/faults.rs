//! What goes wrong on command, and what a client does that it must not.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;

use crate::jira::fake::{Fake, Fault, Setup, Ticket, adf};

const MYSELF: &str = "/rest/api/3/myself";

#[test]
fn a_fault_comes_as_often_and_where_it_was_set() {
    let jira = Fake::cloud();
    jira.fault(Fault::status(503).on("GET */myself").after(1).times(2));
    let statuses: Vec<u16> = (0..4).map(|_| jira.get(MYSELF).status).collect();
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!(jira.faults_left(), 0);
    jira.fault(Fault::status(500).on("POST *").always());
    assert_eq!(jira.get(MYSELF).status, 200);
    assert_eq!(jira.post("/rest/api/3/search/jql", &json!({})).status, 500);
    let asked = jira.asked("POST */search/jql");
    assert_eq!(
        (asked.len(), asked[0].status, asked[0].json()),
        (1, 500, json!({}))
    );
}

#[test]
fn an_answer_that_is_cut_off_has_had_its_effect() {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1"));
    let comment = "/rest/api/3/issue/A-1/comment";
    let body = json!({"body": adf("once")});
    jira.fault(Fault::cut_off().on("POST *"));
    let cut = jira.post(comment, &body);
    assert_eq!(cut.status, 201);
    assert!(serde_json::from_slice::<serde_json::Value>(&cut.body).is_err());
    jira.fault(Fault::close().on("POST *"));
    assert_eq!(jira.post(comment, &body).status, 0);
    jira.fault(Fault::status(500).on("POST *").done_anyway());
    assert_eq!(jira.post(comment, &body).status, 500);
    assert_eq!(
        jira.comments("A-1").len(),
        2,
        "but not when the connection was closed"
    );
}

#[test]
fn answers_may_be_slow_and_dripping() {
    let jira = Fake::cloud();
    jira.fault(Fault::slow(Duration::from_millis(50)));
    let begun = Instant::now();
    assert_eq!(jira.get(MYSELF).status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    jira.fault(Fault::trickle(Duration::from_micros(10)));
    assert_eq!(jira.get(MYSELF).status, 200);
}

#[test]
fn a_hanging_answer_ends_with_the_fake() {
    let jira = Fake::cloud();
    jira.fault(Fault::hang());
    let mut stream = TcpStream::connect(("127.0.0.1", jira.port())).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    while jira.requests().is_empty() {
        std::thread::yield_now();
    }
    drop(jira);
    assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0);
}

#[test]
fn the_port_is_closed_for_a_while_and_opens_again() {
    let jira = Fake::cloud();
    let mut kept = TcpStream::connect(("127.0.0.1", jira.port())).unwrap();
    for _ in 0..20 {
        jira.refuse();
        assert!(TcpStream::connect(("127.0.0.1", jira.port())).is_err());
        jira.accept();
        assert_eq!(jira.get(MYSELF).status, 200);
    }
    assert_eq!(kept.read(&mut [0; 10]).unwrap_or(0), 0);
}

#[test]
fn one_connection_takes_many_requests_and_bodies_in_chunks() {
    let jira = Fake::cloud();
    jira.add(Ticket::new("A-1").label("x"));
    let mut stream = TcpStream::connect(("127.0.0.1", jira.port())).unwrap();
    let head = format!(
        "POST /rest/api/3/search/jql HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: {}\r\nContent-Type: application/json\r\n",
        jira.port(),
        jira.authorization()
    );
    let body = "12\r\n{\"jql\":\"labels = x\r\n3;e=1\r\n\"\r\n\r\n0\r\n\r\n"
        .replace("3;e=1\r\n\"\r\n", "2;e=1\r\n\"}\r\n");
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        body.replace("\r\n\r\n0", "\r\n0")
    );
    for _ in 0..2 {
        stream.write_all(chunked.as_bytes()).unwrap();
    }
    let plain = format!(
        "{head}Content-Length: 22\r\nConnection: close\r\n\r\n{{\"jql\":\"labels = x\"}}  "
    );
    stream.write_all(plain.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 3, "{all}");
    assert_eq!(all.matches("\"10001\"").count(), 3, "{all}");
}

#[test]
fn violations_are_written_down() {
    let jira = Fake::cloud();
    jira.send("GET", MYSELF, &[("Cookie", "a=b")], "");
    jira.send("GET", MYSELF, &[], "{}");
    jira.get("/rest/api/3/search/jql?jql=project%3DA&nextpagetoken=x");
    let told = jira.violations();
    for (violation, what) in told.iter().zip(["a cookie", "a body", "nextpagetoken"]) {
        assert!(violation.contains(what), "{told:?}");
    }
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(jira.requests()[1].status, 400, "a GET with a body");
}

#[test]
fn a_request_before_the_rest_is_over_is_a_violation() {
    let jira = Fake::cloud();
    jira.fault(
        Fault::status(429)
            .retry_after("60")
            .reason("jira-burst-based"),
    );
    assert_eq!(jira.get(MYSELF).header("retry-after"), Some("60"));
    // What was on its way is forgiven; look again after that.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(120) {
        std::thread::yield_now();
    }
    jira.get(MYSELF);
    assert_eq!(jira.violations().len(), 1);
    let soon = crate::jira::fake::stamp::write_http(crate::jira::fake::stamp::now() + 30_000);
    for after in [soon.as_str(), "soon"] {
        jira.fault(Fault::status(503).retry_after(after));
        jira.get(MYSELF);
    }
    assert_eq!(jira.with(|site| site.rests.len()), 2, "nonsense is no rest");
}

#[test]
fn a_redirect_to_a_stranger_must_not_take_the_credentials_along() {
    let jira = Fake::cloud();
    jira.fault(Fault::redirect("https://evil.example/"));
    assert_eq!(
        jira.get(MYSELF).header("location"),
        Some("https://evil.example/")
    );
    jira.send_as(
        "GET",
        MYSELF,
        &[("Host", "evil.example"), ("Authorization", "Basic eDp5")],
        "",
    );
    assert!(jira.violations().iter().any(|v| v.contains("host twice")));
}

#[test]
fn hosts_are_played_over_tls_behind_a_proxy() {
    let jira = Setup::cloud()
        .https(&["acme.atlassian.net", "api.atlassian.com"])
        .strangers(&["evil.example"])
        .start();
    let proxy = jira.proxy();
    let port = proxy
        .url()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse::<u16>()
        .unwrap();
    assert_eq!(jira.url(), "https://acme.atlassian.net");
    assert!(
        jira.gateway_url()
            .starts_with("https://api.atlassian.com/ex/jira/")
    );
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(jira.ca_file()).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let ask = |host: &'static str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"
        )
        .unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let name = ServerName::try_from(host).unwrap();
        let connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let authorization = jira.authorization();
        write!(
            stream,
            "GET {MYSELF} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = vec![];
        // The end comes without a farewell of TLS.
        let _ = stream.read_to_end(&mut answer);
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    assert!(
        ask("acme.atlassian.net")
            .unwrap()
            .starts_with("HTTP/1.1 200 OK")
    );
    jira.assert_no_violations();
    assert!(
        ask("api.atlassian.com")
            .unwrap()
            .starts_with("HTTP/1.1 404"),
        "no site there"
    );
    assert!(ask("evil.example").unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(jira.violations()[0].contains("sent credentials to evil.example"));
    assert!(ask("other.example").is_err(), "no certificate for it");
    let hosts = [
        "acme.atlassian.net",
        "api.atlassian.com",
        "evil.example",
        "other.example",
    ];
    assert_eq!(proxy.hosts(), hosts);
    let told: Vec<String> = jira
        .credentials()
        .into_iter()
        .map(|(host, _)| host)
        .collect();
    assert_eq!(told, hosts[..3]);
}
