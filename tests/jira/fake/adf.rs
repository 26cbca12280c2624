//! Whether a document is legal ADF, as two judges see it: the schema beside
//! this file, and Atlassian's own where it lies next to the project.

use std::{fs, path::Path, sync::OnceLock};

use jsonschema::Validator;
use serde_json::Value;

/// Ours. Stricter than Atlassian's: only what a report may hold.
const OURS: &str = include_str!("adf-schema.json");

fn judges() -> &'static [Validator] {
    static JUDGES: OnceLock<Vec<Validator>> = OnceLock::new();
    JUDGES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let theirs = fs::read_to_string(root.join("../shared/adf/adf-schema.json")).ok();
        let all = [Some(OURS.to_owned()), theirs];
        let read = |text: String| {
            let schema = serde_json::from_str(&text).expect("a schema is JSON");
            jsonschema::validator_for(&schema).expect("a schema that can be used")
        };
        all.into_iter().flatten().map(read).collect()
    })
}

/// An error says where it is not legal.
pub fn check(document: &Value) -> Result<(), String> {
    for judge in judges() {
        if let Some(error) = judge.iter_errors(document).next() {
            return Err(format!("{}: {error}", error.instance_path()));
        }
    }
    Ok(())
}
