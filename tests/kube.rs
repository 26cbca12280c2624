//! The program with `--mode k8s`, seen from outside: against a double of the
//! API server, and against a real cluster.

mod double;
mod faults;
mod real;

use serde_json::Value;

/// Waits until the test gives the word. `$1` is the word.
pub const AWAIT: &str = "await() { until [ -e /workspace/$1 ]; do sleep 0.1; done; };";

/// The outcomes that this ConfigMap holds, in their order.
pub fn outcomes(map: &Value) -> Vec<Value> {
    let text = map["data"]["outcomes.jsonl"].as_str().unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of the outcomes is JSON"))
        .collect()
}

/// The one outcome of this item among them.
#[track_caller]
pub fn outcome(all: Vec<Value>, id: &str) -> Value {
    let mut all = all;
    all.retain(|outcome| outcome["id"] == id);
    assert_eq!(all.len(), 1, "outcomes of {id:?}");
    all.remove(0)
}

/// An annotation, else a label of this name; empty if there is neither.
pub fn mark<'a>(object: &'a Value, name: &str) -> &'a str {
    let meta = &object["metadata"];
    let found = [&meta["annotations"][name], &meta["labels"][name]];
    found
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default()
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
