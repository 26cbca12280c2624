//! A `Status` of a failure, in the words of the API server.

use serde_json::{Value, json};

use super::{store::Kind, wire::Answer};

/// A `Status` of a failure.
#[derive(Debug)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// Null if there are none.
    pub details: Value,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    pub fn about(mut self, kind: &Kind, name: &str, as_kind: &str) -> Refusal {
        self.details = json!({"kind": as_kind});
        if !name.is_empty() {
            self.details["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            self.details["group"] = json!(kind.group);
        }
        self
    }

    pub fn missing(kind: &Kind, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Refusal::new(404, "NotFound", message).about(kind, name, kind.plural)
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Refusal {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.resource()
        );
        Refusal::new(409, "Conflict", message).about(kind, name, kind.plural)
    }

    /// The object.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            body["details"] = self.details.clone();
        }
        body
    }

    pub fn answer(&self) -> Answer {
        Answer::json(self.code, &self.body())
    }
}
