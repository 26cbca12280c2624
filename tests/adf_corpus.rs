//! Prints what becomes of the documents in a folder: `adf-corpus FOLDER` reads
//! its `*.json` files, each with an `id` and a document under `adf`, and
//! writes one object from ids to Markdown. For `scripts/check-adf`.

use std::{collections::BTreeMap, error::Error, fs, io};

use serde_json::{Value, value::RawValue};

#[derive(serde::Deserialize)]
struct Case {
    id: String,
    adf: Box<RawValue>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: adf-corpus FOLDER")?;
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let case: Case = serde_json::from_str(&fs::read_to_string(path)?)?;
            let markdown = recac_orchestrator::source::jira::adf::markdown(case.adf.get())?;
            all.insert(case.id, Value::String(markdown));
        }
    }
    serde_json::to_writer(io::stdout(), &all)?;
    Ok(())
}
