//! The six shapes in which Jira says no, and texts that come up in many
//! places.

use serde_json::{Value, json};

use super::{http::Reply, site::Site};

/// `{"errorMessages":[…],"errors":{}}`.
pub fn messages<S: AsRef<str>>(status: u16, texts: &[S]) -> Reply {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    Reply::json(
        status,
        json!({"errorMessages": texts, "errors": {}}).to_string(),
    )
}

/// `{"errorMessages":[],"errors":{"field":"…"}}`.
pub fn fields(status: u16, errors: &[(String, String)]) -> Reply {
    let errors: serde_json::Map<String, Value> = errors
        .iter()
        .map(|(name, text)| (name.clone(), Value::from(text.as_str())))
        .collect();
    Reply::json(
        status,
        json!({"errorMessages": [], "errors": errors}).to_string(),
    )
}

/// Without `errors`.
pub fn bare(status: u16, text: &str) -> Reply {
    Reply::json(status, json!({"errorMessages": [text]}).to_string())
}

/// With `warningMessages` and without `errors`.
pub fn warned<S: AsRef<str>>(status: u16, texts: &[S]) -> Reply {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    let body = json!({"errorMessages": texts, "warningMessages": []});
    Reply::json(status, body.to_string())
}

/// RFC 7807.
pub fn problem(status: u16, title: &str, detail: &str, instance: &str) -> Reply {
    let body = json!({
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
    });
    Reply::new(
        status,
        "application/problem+json;charset=UTF-8",
        body.to_string(),
    )
}

/// Of a server that stumbled.
pub fn stack_trace(message: &str) -> Reply {
    let body = json!({
        "message": message,
        "status-code": 500,
        "stack-trace": "java.lang.NullPointerException\n\tat com.atlassian.jira.rest.v2.Fake.get(Fake.java:1)",
    });
    Reply::json(500, body.to_string())
}

/// A page for people.
pub fn html(status: u16, text: &str) -> Reply {
    let body = format!(
        "<html><head><title>{text}</title></head><body><h1>{text}</h1>\n<p>Log in &uuml;ber die Startseite.</p></body></html>\n"
    );
    Reply::new(status, "text/html;charset=UTF-8", body)
}

/// A line that is not JSON, whatever its header says.
pub fn unauthenticated(json: bool) -> Reply {
    let kind = if json {
        "application/json;charset=UTF-8"
    } else {
        "text/html;charset=UTF-8"
    };
    Reply::new(
        401,
        kind,
        "Client must be authenticated to access this resource.",
    )
}

pub fn no_issue(site: &Site) -> Reply {
    let text = if site.cloud {
        site.say(
            "Issue does not exist or you do not have permission to see it.",
            "Der Vorgang ist nicht vorhanden oder Sie sind nicht berechtigt, ihn anzuzeigen.",
        )
    } else {
        site.say("Issue Does Not Exist", "Vorgang ist nicht vorhanden")
    };
    messages(404, &[text])
}

/// What came in is not what the resource takes.
pub fn payload(site: &Site) -> Reply {
    bare(
        400,
        &site.say(
            "Invalid request payload. Refer to the REST API documentation and try again.",
            "Ungültige Anfrage. Sehen Sie in der Dokumentation der REST-API nach und versuchen Sie es erneut.",
        ),
    )
}

/// What an answer of this status looks like when nothing is known but that.
pub fn of(status: u16, site: &Site) -> Reply {
    match status {
        401 if site.cloud => unauthenticated(true),
        403 if site.cloud => Reply::json(403, r#"{"error":"Forbidden by a fault"}"#),
        401 | 403 => html(status, "Forbidden by a fault"),
        404 => no_issue(site),
        410 => gone(),
        429 => Reply::new(429, "text/plain", "Rate limit exceeded"),
        500 => stack_trace("Internal server error"),
        400 | 409 | 413 | 422 => messages(status, &["Refused by a fault"]),
        _ => html(status, "Service Unavailable"),
    }
}

/// The search that Cloud has no more.
pub fn gone() -> Reply {
    messages(
        410,
        &[
            "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046",
        ],
    )
}
