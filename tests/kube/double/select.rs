//! Label and field selectors.

use serde_json::Value;

/// Parsed, to be held against objects.
#[derive(Debug, Default)]
pub struct Selector {
    labels: Vec<Want>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug)]
enum Want {
    Is(String, bool, Vec<String>),
    Exists(String, bool),
}

impl Selector {
    /// # Errors
    /// What the server says of a selector that it does not understand.
    pub fn parse(labels: &str, fields: &str) -> Result<Selector, String> {
        let labels = parts(labels).into_iter().map(want);
        let fields = parts(fields).into_iter().map(|part| {
            let (name, so, value) = if let Some((name, value)) = part.split_once("!=") {
                (name, false, value)
            } else if let Some((name, value)) = part.split_once('=') {
                (name, true, value.trim_start_matches('='))
            } else {
                return Err(format!(
                    "invalid selector: '{part}'; can't understand '{part}'"
                ));
            };
            Ok((name.to_owned(), so, value.to_owned()))
        });
        Ok(Selector {
            labels: labels.collect::<Result<_, _>>()?,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// # Errors
    /// The field that objects of this kind cannot be selected by.
    pub fn known(&self, plural: &str) -> Result<(), String> {
        let known: &[&str] = match plural {
            "events" => &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
            "pods" => &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "status.phase",
                "status.podIP",
            ],
            "jobs" => &["status.successful"],
            "secrets" => &["type"],
            _ => &[],
        };
        for (name, ..) in &self.fields {
            if !known.contains(&name.as_str()) && !name.starts_with("metadata.name") {
                return Err(format!("field label not supported: {name}"));
            }
        }
        Ok(())
    }

    pub fn takes(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |name: &str| labels.get(name).and_then(Value::as_str);
        let labels = self.labels.iter().all(|want| match want {
            // An object without the label is not one that has another value,
            // but it is taken by `!=` and `notin`.
            Want::Is(name, so, values) => {
                label(name).is_some_and(|v| values.iter().any(|w| w == v)) == *so
            }
            Want::Exists(name, so) => label(name).is_some() == *so,
        });
        let fields = self.fields.iter().all(|(name, so, value)| {
            let found = name.split('.').fold(object, |at, step| &at[step]);
            (found.as_str().unwrap_or_default() == value) == *so
        });
        labels && fields
    }
}

/// At the commas that are not in brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn want(part: &str) -> Result<Want, String> {
    let trouble = || format!("unable to parse requirement: {part}");
    let part = part.trim();
    if let Some((name, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(trouble)?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let (name, how) = name.trim().split_once(' ').ok_or_else(trouble)?;
        return match how.trim() {
            "in" => Ok(Want::Is(name.to_owned(), true, values)),
            "notin" => Ok(Want::Is(name.to_owned(), false, values)),
            _ => Err(trouble()),
        };
    }
    let (name, so, value) = if let Some((name, value)) = part.split_once("!=") {
        (name, false, value)
    } else if let Some((name, value)) = part.split_once('=') {
        (name, true, value.trim_start_matches('='))
    } else if let Some(name) = part.strip_prefix('!') {
        return Ok(Want::Exists(name.to_owned(), false));
    } else {
        return Ok(Want::Exists(part.to_owned(), true));
    };
    if !super::check::is_label_value(value) {
        return Err(trouble());
    }
    let value = vec![value.trim().to_owned()];
    Ok(Want::Is(name.trim().to_owned(), so, value))
}
