//! What an answer of Jira that is no success says. Pure.
//!
//! Texts come in the language of the account, so nothing is decided by them:
//! they are for people.

use serde_json::Value;

use crate::{core::Stamp, http::Answer};
use std::time::Duration;

/// Characters of an error that are shown.
const SHOWN: usize = 300;
/// The pause after a throttle that does not say how long.
const PAUSE: Duration = Duration::from_secs(30);

/// The status and what Jira says about it, in one line.
#[must_use]
pub fn words(answer: &Answer) -> String {
    let said = said(&answer.body);
    match said.is_empty() {
        true => format!("status {}", answer.status),
        false => format!("status {}: {said}", answer.status),
    }
}

/// The messages in a body of any of the shapes that Jira, its gateway and
/// proxies before it use.
#[must_use]
pub fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = match serde_json::from_str::<Value>(&text) {
        Ok(value) => of_json(&value),
        // HTML of a proxy or a login page says little; its title says most.
        Err(_) if text.trim_start().starts_with('<') => title(&text),
        Err(_) => text.into_owned(),
    };
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

fn of_json(value: &Value) -> String {
    let mut all: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        if !text.is_empty() {
            all.push(text.to_owned());
        }
    };
    for key in ["errorMessages", "warningMessages"] {
        let list = value.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .for_each(&mut add);
    }
    for (field, text) in value
        .get("errors")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let text = text
            .as_str()
            .map_or_else(|| text.to_string(), str::to_owned);
        add(&format!("{field}: {text}"));
    }
    for key in ["message", "detail", "error", "title"] {
        if all.is_empty() {
            let text = value.get(key).and_then(Value::as_str);
            all.extend(text.filter(|t| !t.is_empty()).map(str::to_owned));
        }
    }
    all.join("; ")
}

fn title(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|from| {
        let from = from + "<title>".len();
        let to = from + lower.get(from..)?.find("</title>")?;
        html.get(from..to)
    });
    title.unwrap_or("an HTML page").to_owned()
}

/// How long Jira wants to be left alone, if it does: what `Retry-After` of a
/// 429 or 503 says. Data Center sends that header with every answer, so it
/// means nothing with another status.
#[must_use]
pub fn pause(answer: &Answer, now: Stamp) -> Option<Duration> {
    let header = answer.header("retry-after").map(str::trim);
    match (answer.status, header) {
        (429, None) => Some(PAUSE),
        (429 | 503, Some(text)) => Some(now.retry_after(text).unwrap_or(PAUSE)),
        _ => None,
    }
}

/// Whether a throttle is about the one issue only.
#[must_use]
pub fn is_per_issue(answer: &Answer) -> bool {
    let reason = answer.header("ratelimit-reason").unwrap_or("");
    reason.contains("per-issue")
}

/// An answer for a test.
#[cfg(test)]
pub(super) fn made(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut map = ureq::http::HeaderMap::new();
    for (name, value) in headers {
        let name: ureq::http::HeaderName = name.parse().unwrap();
        map.insert(name, value.parse().unwrap());
    }
    Answer {
        status,
        headers: map,
        body: body.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::made as answer;

    #[test]
    fn every_shape_of_an_error_is_read() {
        for (body, said) in [
            (r#"{"errorMessages":["No."],"errors":{}}"#, "No."),
            (
                r#"{"errorMessages":["A","B"],"errors":{"labels":"C"}}"#,
                "A; B; labels: C",
            ),
            (r#"{"errorMessages":[],"warningMessages":["W"]}"#, "W"),
            (
                r#"{"type":"t","title":"Not Found","status":404,"detail":"no route"}"#,
                "no route",
            ),
            (r#"{"message":"M","status-code":500,"stack-trace":""}"#, "M"),
            (r#"{"error":"E"}"#, "E"),
            (
                "Client must be\nauthenticated",
                "Client must be authenticated",
            ),
            ("<html><head><TITLE>Log in</TITLE></head>", "Log in"),
            ("<!doctype html>", "an HTML page"),
            ("{", "{"),
        ] {
            let words = words(&answer(400, &[], body));
            assert_eq!(words, format!("status 400: {said}"), "{body}");
        }
        assert_eq!(words(&answer(502, &[], "")), "status 502");
        let long = words(&answer(400, &[], &"é\u{7}".repeat(9999)));
        assert_eq!(long.chars().count(), "status 400: ".len() + SHOWN);
    }

    #[test]
    fn a_throttle_says_how_long() {
        let now: Stamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let of = |status, text: &str| {
            let pause = pause(&answer(status, &[("Retry-After", text)], ""), now);
            pause.map(|pause| pause.as_secs())
        };
        assert_eq!(of(429, "7"), Some(7));
        assert_eq!(of(503, "7"), Some(7));
        assert_eq!(of(429, "Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(of(429, "Sun, 06 Nov 1994 08:48:37 GMT"), Some(0));
        for odd in ["", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(of(429, odd), Some(30), "{odd}");
        }
        for other in [200, 400, 500] {
            assert_eq!(of(other, "7"), None);
        }
        assert_eq!(pause(&answer(429, &[], ""), now), Some(PAUSE));
        assert_eq!(pause(&answer(503, &[], ""), now), None);
        let per_issue = [("RateLimit-Reason", "jira-per-issue-on-write")];
        assert!(is_per_issue(&answer(429, &per_issue, "")));
        assert!(!is_per_issue(&answer(429, &[], "")));
    }
}
