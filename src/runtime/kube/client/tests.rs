//! Against a server that says what it is told to, over plain HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use serde::Deserialize;

use super::*;
use crate::http::Settings;

/// What was asked: the line of the request and the token.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Answers one request after the other, each with what `answer` makes of its
/// number and line: a head without its status line's `HTTP/1.1`, and a body.
fn server(answer: impl Fn(usize, &str) -> (String, String) + Send + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let notes = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &notes, &answer);
        }
    });
    (address, asked)
}

fn serve(stream: TcpStream, asked: &Asked, answer: &dyn Fn(usize, &str) -> (String, String)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut token, mut length) = (String::new(), None, 0);
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push((line.clone(), token));
        asked.len()
    };
    let (head, body) = answer(number, &line);
    let length = body.len();
    let text =
        format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let mut stream = stream;
    // Whoever asked may have gone.
    let _ = stream.write_all(text.as_bytes());
}

fn client(server: &str, user: User) -> Client {
    let access = Access {
        server: server.to_owned(),
        settings: Settings::default(),
        user,
        namespace: None,
    };
    let origin = Origin::Kubeconfig {
        files: Some("/nonexistent".into()),
        context: None,
        dirs: vec![],
    };
    Client::with(origin, Proxies::default(), access).unwrap()
}

fn ok(body: &str) -> (String, String) {
    ("200 OK".to_owned(), body.to_owned())
}

fn status(code: u16, reason: &str) -> (String, String) {
    let body = format!(
        r#"{{"kind":"Status","status":"Failure","reason":"{reason}","message":"m","code":{code}}}"#
    );
    (format!("{code} X"), body)
}

#[derive(Debug, Deserialize, PartialEq)]
struct Item {
    n: u32,
}

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let name = format!("recac-{name}-{}", std::process::id());
        let file = File(std::env::temp_dir().join(name));
        file.put(text);
        file
    }

    fn put(&self, text: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_token_file_is_read_again_when_it_changed_and_once_more_after_a_401() {
    let file = File::new("token", "first\n");
    let path = file.0.clone();
    let (server, asked) = server(move |n, _| match n {
        // The file was replaced with one of the same look, so to say.
        2 => {
            std::fs::write(path.with_extension("x"), "third").unwrap();
            std::fs::rename(path.with_extension("x"), &path).unwrap();
            status(401, "Unauthorized")
        }
        4 | 5 => status(401, "Unauthorized"),
        _ => ok("{}"),
    });
    let client = client(&server, User::TokenFile(file.0.clone()));
    client.call(&Call::get("/a")).unwrap();
    file.put("second");
    client.call(&Call::get("/b")).unwrap();
    let e = client.call(&Call::get("/c")).unwrap_err();
    assert!(
        e.is(401) && e.to_string() == format!("Unauthorized: m{NOBODY}"),
        "{e}"
    );
    let asked: Vec<String> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|(line, token)| format!("{line} {}", token.as_deref().unwrap_or("-")))
        .collect();
    let expected = [
        "GET /a Bearer first",
        "GET /b Bearer second",
        "GET /b Bearer third",
        "GET /c Bearer third",
        "GET /c Bearer third",
    ];
    assert_eq!(asked, expected);
}

#[test]
fn what_a_server_says_of_its_no_reaches_us() {
    let (server, _) = server(|_, line| match line {
        "GET /html" => ("502 Bad Gateway".into(), "<html>\nproxy</html>".into()),
        "GET /large" => (
            "413 X".into(),
            r#"{"reason":"RequestEntityTooLarge","message":"limit is 3145728"}"#.into(),
        ),
        "GET /endless" => (
            "403 X".into(),
            format!(r#"{{"reason":"No","message":"{}"}}"#, "m".repeat(5000)),
        ),
        _ => ok("{"),
    });
    let client = client(&server, User::Nobody);
    let why = |path: &str| client.call(&Call::get(path)).unwrap_err().to_string();
    assert_eq!(
        why("/html"),
        "the API server answers 502: <html>proxy</html>"
    );
    assert_eq!(why("/large"), "RequestEntityTooLarge: limit is 3145728");
    let endless = why("/endless");
    assert!(endless.len() < 1100 && endless.ends_with("m…"), "{endless}");
    assert!(matches!(
        client.object::<Item>("/half"),
        Err(Error::Silent(_))
    ));
}

#[test]
fn a_list_is_read_page_by_page_and_begun_anew_when_the_server_forgot_it() {
    let page = |items: &str, next: &str| {
        let meta = format!(r#"{{"resourceVersion":"7","continue":"{next}"}}"#);
        ok(&format!(r#"{{"metadata":{meta},"items":[{items}]}}"#))
    };
    let (server, asked) = server(move |n, _| match n {
        1 | 3 => page(r#"{"n":1},{"n":2}"#, "a/b"),
        2 => status(410, "Expired"),
        _ => page(r#"{"n":3}"#, ""),
    });
    let client = client(&server, User::Nobody);
    let (items, version) = client.list::<Item>("/jobs", "labelSelector=x").unwrap();
    assert_eq!(items, [Item { n: 1 }, Item { n: 2 }, Item { n: 3 }]);
    assert_eq!(version, "7");
    let lines: Vec<String> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|(l, _)| l.clone())
        .collect();
    let (first, second) = (
        "GET /jobs?labelSelector=x&limit=500",
        "GET /jobs?labelSelector=x&limit=500&continue=a%2Fb",
    );
    assert_eq!(lines, [first, second, first, second]);
}

#[test]
fn a_pause_that_is_asked_for_is_kept() {
    let (server, asked) = server(|n, _| match n {
        1 => ("429 X".to_owned(), "{}".to_owned()),
        2 => ("429 X\r\nRetry-After: 0".to_owned(), "{}".to_owned()),
        3 => ok("{}"),
        _ => ("503 X\r\nRetry-After: 3600".to_owned(), "{}".to_owned()),
    });
    let client = client(&server, User::Nobody);
    assert!(client.call(&Call::get("/a")).unwrap_err().is(429));
    assert!(lock(&client.pause).is_none());
    assert!(client.call(&Call::get("/b")).unwrap_err().is(429));
    assert!(lock(&client.pause).is_some());
    client.call(&Call::get("/c")).unwrap();
    let first = client.call(&Call::get("/d")).unwrap_err();
    assert!(first.is(503));
    // That long nobody waits in a call; and it is said in the same words.
    let e = client.call(&Call::get("/e")).unwrap_err().to_string();
    assert!(e.contains("asks for a pause until 20"), "{e}");
    assert_eq!(e, first.to_string());
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[test]
fn a_lease_does_not_wait_for_a_pause_of_others_nor_they_for_its_own() {
    let long = || ("503 X\r\nRetry-After: 3600".to_owned(), "{}".to_owned());
    let (server, asked) = server(move |n, _| match n {
        1 | 3 => long(),
        _ => ok("{}"),
    });
    let of_others = client(&server, User::Nobody);
    let call = Call::get("/x");
    assert!(of_others.call(&call).unwrap_err().is(503));
    of_others.call_unled(&call).unwrap();
    let of_lease = client(&server, User::Nobody);
    assert!(of_lease.call_unled(&call).unwrap_err().is(503));
    assert!(matches!(of_lease.call_unled(&call), Err(Error::Silent(_))));
    of_lease.call(&call).unwrap();
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[test]
fn who_does_not_lead_changes_nothing_and_may_look() {
    let (server, asked) = server(|_, _| ok("{}"));
    let client = client(&server, User::Nobody);
    let change = Call::change(Method::Post, "/jobs", JSON, b"{}");
    client.call(&change).unwrap();
    client.lead_until(Instant::now());
    assert!(!client.leads());
    let e = client.call(&change).unwrap_err().to_string();
    assert_eq!(e, "another replica leads now");
    client.call(&Call::get("/jobs")).unwrap();
    client.call_unled(&change).unwrap();
    client.lead_until(Instant::now() + Duration::from_secs(60));
    client.call(&change).unwrap();
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[test]
fn warnings_are_kept_in_mind_once_and_unquoted() {
    let warning = r#"299 - "unknown field \"spec.backofLimit\"""#;
    let (server, _) = server(move |_, _| {
        let head = format!("201 X\r\nWarning: {warning}\r\nWarning: 299 - \"other\"");
        (head, "{}".to_owned())
    });
    let client = client(&server, User::Nobody);
    client.call(&Call::get("/a")).unwrap();
    client.call(&Call::get("/b")).unwrap();
    let warned: Vec<String> = lock(&client.warned).iter().cloned().collect();
    assert_eq!(warned, ["other", r#"unknown field "spec.backofLimit""#]);
}

#[test]
fn queries_are_escaped() {
    assert_eq!(
        escaped("a=b,c in (d)/é"),
        "a%3Db%2Cc%20in%20%28d%29%2F%C3%A9"
    );
}

#[test]
fn every_warning_of_a_header_is_read_and_no_date() {
    for (header, texts) in [
        (r#"299 - "one""#, &["one"][..]),
        (r#"299 - "a \"b\" \\ c""#, &[r#"a "b" \ c"#]),
        (
            r#"299 - "one, two" "Sun, 06 Nov 1994 08:49:37 GMT", 299 h "three""#,
            &["one, two", "three"],
        ),
        ("odd", &["odd"]),
        (r#"299 - "open"#, &[r#"299 - "open"#]),
    ] {
        assert_eq!(warnings(header), texts, "{header}");
    }
}

#[test]
fn a_pause_may_be_a_date() {
    let head = "429 X\r\nRetry-After: Wed, 01 Jan 2200 00:00:00 GMT";
    let (server, _) = server(move |_, _| (head.to_owned(), String::new()));
    let client = client(&server, User::Nobody);
    let call = || client.call(&Call::get("/x"));
    assert!(call().is_err());
    // Too long to be waited for.
    let Err(Error::Silent(why)) = call() else {
        panic!("it was asked")
    };
    assert!(why.ends_with("until 2200-01-01T00:00:00.000Z"), "{why}");
}

#[test]
fn a_list_without_items_is_empty_and_one_in_circles_none() {
    let (empty, _) = server(|_, _| ok(r#"{"items": null, "metadata": {"resourceVersion": "7"}}"#));
    let (items, version) = client(&empty, User::Nobody).list::<Item>("/x", "").unwrap();
    assert_eq!((items.len(), version.as_str()), (0, "7"));
    let (none, _) = server(|_, _| ok(r#"{"metadata": {"resourceVersion": "7"}}"#));
    assert!(client(&none, User::Nobody).list::<Item>("/x", "").is_err());
    let (circle, _) = server(|_, _| ok(r#"{"items": [{"n": 1}], "metadata": {"continue": "a"}}"#));
    let Err(Error::Silent(why)) = client(&circle, User::Nobody).list::<Item>("/x", "") else {
        panic!("it ended")
    };
    assert!(why.contains("in circles"), "{why}");
}
