//! A client of a few lines, to look at the fake with. Asks on a connection of
//! its own, and believes nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use super::Fake;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        super::http::header(&self.headers, name)
    }
}

impl Fake {
    /// `GET`, with the credentials of the account. `path` begins after the
    /// context path.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[JSON], &body.to_string())
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[JSON], &body.to_string())
    }

    /// With the account's credentials, and `Accept: application/json`.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let authorization = self.authorization();
        let mut all = vec![("Authorization", authorization.as_str())];
        all.extend(headers);
        self.send_as(method, path, &all, body)
    }

    /// As the account is to log in.
    pub fn authorization(&self) -> String {
        let basic = self.with(|site| {
            !matches!(
                site.account.kind,
                super::Kind::AccessToken | super::Kind::Service
            )
        });
        if basic {
            format!(
                "Basic {}",
                base64(&format!("{}:{}", self.user(), self.token()))
            )
        } else {
            format!("Bearer {}", self.token())
        }
    }

    /// With no other headers than these.
    #[track_caller]
    pub fn send_as(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let address = ("127.0.0.1", self.port());
        let mut stream = TcpStream::connect(address).expect("the fake listens");
        let path = if path.starts_with("/ex/") {
            path.to_owned()
        } else {
            let at = self
                .local
                .find("127")
                .and_then(|at| Some(at + self.local[at..].find('/')?));
            format!("{}{path}", at.map_or("", |at| &self.local[at..]))
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAccept: application/json\r\nConnection: close\r\n",
            self.port()
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let _ = stream.write_all(format!("{request}\r\n{body}").as_bytes());
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer);
        read(&answer)
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Status 0: there was no answer.
fn read(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut rest = bytes.get(end + 4..).unwrap_or_default();
    let mut body = rest.to_vec();
    if super::http::header(&headers, "transfer-encoding").is_some() {
        body.clear();
        while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
            let size = std::str::from_utf8(&rest[..at]).ok();
            let size = size
                .and_then(|s| usize::from_str_radix(s, 16).ok())
                .unwrap_or(0);
            body.extend(rest.get(at + 2..at + 2 + size).unwrap_or_default());
            rest = rest.get(at + 4 + size..).unwrap_or_default();
        }
    }
    Answer {
        status: status.unwrap_or(0),
        headers,
        body,
    }
}

pub fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at > three.len() { '=' } else { digit.into() });
        }
    }
    out
}
