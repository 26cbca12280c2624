//! The fake itself, where the contract is subtle.

mod answers;
mod auth;
mod faults;
mod jql;
mod paging;
mod writes;

use serde_json::Value;

use super::client::Answer;

/// The ids or keys of the issues of an answer.
fn keys(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let issues = json["issues"].as_array().expect("issues");
    let text = |issue: &Value| issue["key"].as_str().expect("a key").to_owned();
    issues.iter().map(text).collect()
}
