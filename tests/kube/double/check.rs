//! What the API server refuses of an object, and in which words: fields that
//! do not exist, values of the wrong type, names, labels, sizes, and what a
//! Job may not be or become.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    refusal::Refusal,
    store::{Kind, entries, text},
};

/// The fields of the kinds, as a server publishes them in its OpenAPI: a type
/// is a scalar, the name of another, `[one]` or `{one}` of such.
#[derive(Deserialize)]
struct Fields {
    kinds: BTreeMap<String, String>,
    types: BTreeMap<String, BTreeMap<String, String>>,
}

fn fields() -> &'static Fields {
    static FIELDS: OnceLock<Fields> = OnceLock::new();
    FIELDS
        .get_or_init(|| serde_json::from_str(include_str!("../recorded/kube-fields.json")).unwrap())
}

/// Takes the body of a request for an object of this kind. Gives it without
/// what the kind does not have, and the names of that.
///
/// # Errors
/// As the server puts it, 400.
pub fn decode(kind: &Kind, body: &str) -> Result<(Value, Vec<String>), Refusal> {
    let value: Value = serde_json::from_str(body).map_err(|e| {
        let why = match e.is_eof() {
            true => "unexpected end of JSON input".to_owned(),
            false => e.to_string(),
        };
        Refusal::bad(format!(
            "the object provided is unrecognized (must be of type {}): \
             couldn't get version/kind; json parse error: {why} ({})",
            kind.name,
            body.chars().take(200).collect::<String>()
        ))
    })?;
    let (version, name) = (text(&value["apiVersion"]), text(&value["kind"]));
    if version != kind.api_version() || name != kind.name {
        return Err(Refusal::bad(format!(
            "{name} in version \"{version}\" cannot be handled as a {}: \
             no kind \"{name}\" is registered for version \"{version}\"",
            kind.name
        )));
    }
    typed(kind, &value)
}

/// The same for a value that is known to be of the kind.
///
/// # Errors
/// As the server puts it, 400.
pub fn typed(kind: &Kind, value: &Value) -> Result<(Value, Vec<String>), Refusal> {
    let mut unknown = Vec::new();
    let root = &fields().kinds[kind.name];
    let mut pruned = prune(root, value, "", &mut unknown).map_err(|why| {
        Refusal::bad(format!(
            "{} in version \"v1\" cannot be handled as a {}: {why}",
            kind.name, kind.name
        ))
    })?;
    // They are known by where it lies.
    if let Some(fields) = pruned.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    Ok((pruned, unknown))
}

fn prune(of: &str, value: &Value, path: &str, unknown: &mut Vec<String>) -> Result<Value, String> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let wrong = |what: &str| {
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        format!("json: cannot unmarshal {is} into Go struct field {path} of type {what}")
    };
    if let Some(of) = inner(of, '[', ']') {
        let items = value.as_array().ok_or_else(|| wrong("[]"))?;
        let items = items.iter().enumerate().map(|(n, item)| {
            let path = format!("{path}[{n}]");
            prune(of, item, &path, unknown)
        });
        return Ok(Value::Array(items.collect::<Result<_, _>>()?));
    }
    if let Some(of) = inner(of, '{', '}') {
        let entries = value.as_object().ok_or_else(|| wrong("map"))?;
        let entries = entries.iter().map(|(name, value)| {
            let path = format!("{path}.{name}");
            Ok((name.clone(), prune(of, value, &path, unknown)?))
        });
        return Ok(Value::Object(entries.collect::<Result<_, String>>()?));
    }
    let fits = match of {
        "any" => true,
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        // Quantities, and ports.
        "either" => value.is_string() || value.is_number(),
        "time" => {
            let time = value.as_str().ok_or_else(|| wrong("v1.Time"))?;
            time.parse::<recac_orchestrator::core::Stamp>()
                .map_err(|_| {
                    format!(
                        "parsing time \"{time}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse"
                    )
                })?;
            true
        }
        "micro" => {
            let time = value.as_str().ok_or_else(|| wrong("v1.MicroTime"))?;
            micro(time)?;
            true
        }
        of => return prune_fields(of, value, path, unknown).unwrap_or_else(|| Err(wrong(of))),
    };
    match fits {
        true => Ok(value.clone()),
        false => Err(wrong(of)),
    }
}

/// None if the value is no object.
fn prune_fields(
    of: &str,
    value: &Value,
    path: &str,
    unknown: &mut Vec<String>,
) -> Option<Result<Value, String>> {
    let known = &fields().types[of];
    let mut kept = Map::new();
    for (name, value) in value.as_object()? {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        match known.get(name) {
            None => unknown.push(path),
            Some(of) => match prune(of, value, &path, unknown) {
                Ok(Value::Null) => {}
                Ok(value) => {
                    kept.insert(name.clone(), value);
                }
                Err(why) => return Some(Err(why)),
            },
        }
    }
    Some(Ok(Value::Object(kept)))
}

fn inner(of: &str, open: char, close: char) -> Option<&str> {
    of.strip_prefix(open)?.strip_suffix(close)
}

/// A Lease's times must have six digits of a fraction.
fn micro(time: &str) -> Result<(), String> {
    let rest = time.get(19..).unwrap_or_default();
    let fraction = rest.strip_prefix('.').and_then(|f| f.strip_suffix('Z'));
    let whole = fraction.is_some_and(|f| f.len() == 6 && f.bytes().all(|b| b.is_ascii_digit()));
    match whole {
        true => Ok(()),
        false => Err(format!(
            "parsing time \"{time}\" as \"2006-01-02T15:04:05.000000Z07:00\": \
             cannot parse \"{rest}\" as \".000000\""
        )),
    }
}

/// What the server calls valid in a label.
pub fn is_label_value(value: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|b| inside(*b))
        && edge(bytes.first())
        && edge(bytes.last())
}

fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty()
            && part.bytes().all(inside)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// All that is wrong with the object as it is to be written down: causes with
/// a field and a message each.
pub fn causes(kind: &Kind, object: &Value) -> Vec<(String, String)> {
    let mut causes = Vec::new();
    let meta = &object["metadata"];
    let name = text(&meta["name"]);
    if !is_name(&name) {
        causes.push((
            "metadata.name".into(),
            format!(
                "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower \
                 case alphanumeric characters, '-' or '.', and must start and end with an \
                 alphanumeric character (e.g. 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ),
        ));
    }
    labels(&meta["labels"], "metadata.labels", &mut causes);
    let notes = entries(&meta["annotations"]);
    let size: usize = notes
        .iter()
        .map(|(n, v)| n.len() + v.as_str().unwrap_or_default().len())
        .sum();
    if size > 256 * 1024 {
        causes.push((
            "metadata.annotations".into(),
            "Too long: may not be more than 262144 bytes".into(),
        ));
    }
    match kind.name {
        "Job" => job(object, &name, &mut causes),
        "ConfigMap" => {
            let size: usize = entries(&object["data"])
                .values()
                .map(|v| v.as_str().unwrap_or_default().len())
                .sum();
            if size > 1024 * 1024 {
                causes.push((
                    String::new(),
                    "Too long: may not be more than 1048576 bytes".into(),
                ));
            }
        }
        _ => {}
    }
    causes
}

fn labels(labels: &Value, at: &str, causes: &mut Vec<(String, String)>) {
    for value in entries(labels).values() {
        let value = text(value);
        if value.len() > 63 {
            causes.push((
                at.into(),
                format!("Invalid value: \"{value}\": must be no more than 63 bytes"),
            ));
        } else if !is_label_value(&value) {
            causes.push((
                at.into(),
                format!(
                    "Invalid value: \"{value}\": a valid label must be an empty string or consist \
                     of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                     alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
                     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                ),
            ));
        }
    }
}

fn job(object: &Value, name: &str, causes: &mut Vec<(String, String)>) {
    let spec = &object["spec"];
    let template = &spec["template"];
    let mut of_pods = template["metadata"]["labels"].clone();
    // The name of the Job becomes one of them; a wrong one is told of above.
    if let Some(labels) = of_pods.as_object_mut() {
        labels.retain(|label, value| {
            !label.ends_with("job-name") || name.len() > 63 || value.as_str() != Some(name)
        });
    }
    labels(&of_pods, "spec.template.labels", causes);
    let pod = &template["spec"];
    let restart = text(&pod["restartPolicy"]);
    if restart != "Never" && restart != "OnFailure" {
        causes.push((
            "spec.template.spec.restartPolicy".into(),
            match restart.as_str() {
                "" => "Required value: valid values: \"OnFailure\", \"Never\"".into(),
                other => format!(
                    "Unsupported value: \"{other}\": supported values: \"OnFailure\", \"Never\""
                ),
            },
        ));
    }
    if spec["podFailurePolicy"].is_object() && restart != "Never" {
        causes.push((
            "spec.template.spec.restartPolicy".into(),
            format!("Invalid value: \"{restart}\": only \"Never\" is supported when podFailurePolicy is specified"),
        ));
    }
    for field in [
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "backoffLimit",
    ] {
        let value = spec[field].as_i64().unwrap_or_default();
        if value < 0 {
            causes.push((
                format!("spec.{field}"),
                format!("Invalid value: {value}: must be greater than or equal to 0"),
            ));
        }
    }
    let containers = pod["containers"].as_array().cloned().unwrap_or_default();
    if containers.is_empty() {
        causes.push((
            "spec.template.spec.containers".into(),
            "Required value".into(),
        ));
    }
    let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    for (n, container) in containers.iter().enumerate() {
        let at = format!("spec.template.spec.containers[{n}]");
        for field in ["name", "image"] {
            if text(&container[field]).is_empty() {
                causes.push((format!("{at}.{field}"), "Required value".into()));
            }
        }
        let mounts = container["volumeMounts"].as_array().cloned();
        for (m, mount) in mounts.unwrap_or_default().iter().enumerate() {
            if !volumes.iter().any(|v| v["name"] == mount["name"]) {
                let name = text(&mount["name"]);
                causes.push((
                    format!("{at}.volumeMounts[{m}].name"),
                    format!("Not found: \"{name}\""),
                ));
            }
        }
    }
}

/// What of a Job may not become another. The template may not either.
pub fn immutable(kind: &Kind, old: &Value, new: &Value) -> Vec<(String, String)> {
    let fixed: &[&str] = match kind.name {
        "Job" => &[
            "selector",
            "template",
            "completionMode",
            "podFailurePolicy",
            "completions",
            "backoffLimitPerIndex",
            "managedBy",
        ],
        _ => &[],
    };
    let changed = fixed
        .iter()
        .filter(|f| old["spec"][**f] != new["spec"][**f]);
    let mut causes: Vec<_> = changed
        .map(|field| {
            (
                format!("spec.{field}"),
                format!("Invalid value: {}: field is immutable", new["spec"][*field]),
            )
        })
        .collect();
    if kind.name == "Secret" && old["immutable"] == true && old["data"] != new["data"] {
        causes.push((
            "data".into(),
            "Forbidden: field is immutable when `immutable` is set".into(),
        ));
    }
    causes
}

/// The 422 of these causes.
pub fn invalid(kind: &Kind, name: &str, causes: &[(String, String)]) -> Refusal {
    let lines: Vec<String> = causes.iter().map(|(f, m)| format!("{f}: {m}")).collect();
    let lines = match &lines[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let of = match kind.group {
        "" => kind.name.to_owned(),
        group => format!("{}.{group}", kind.name),
    };
    let causes: Vec<Value> = causes
        .iter()
        .map(|(field, message)| {
            let reason = match message.split(':').next().unwrap_or_default() {
                "Required value" => "FieldValueRequired",
                "Unsupported value" => "FieldValueNotSupported",
                "Not found" => "FieldValueNotFound",
                "Too long" => "FieldValueTooLong",
                "Forbidden" => "FieldValueForbidden",
                _ => "FieldValueInvalid",
            };
            json!({"reason": reason, "message": message, "field": field})
        })
        .collect();
    let mut refusal = Refusal::new(
        422,
        "Invalid",
        format!("{of} \"{name}\" is invalid: {lines}"),
    );
    refusal.details = json!({"name": name, "kind": kind.name, "causes": causes});
    if !kind.group.is_empty() {
        refusal.details["group"] = json!(kind.group);
    }
    refusal
}

/// What `restricted` has against the pods of this template, in the words of a
/// warning and of an event; none if nothing.
pub fn violation(template: &Value) -> Option<String> {
    let pod = &template["spec"];
    let of_pod = &pod["securityContext"];
    let containers = pod["containers"].as_array().cloned().unwrap_or_default();
    let mut found: [(Vec<String>, &str, &str); 4] = [
        (
            vec![],
            "allowPrivilegeEscalation != false",
            "must set securityContext.allowPrivilegeEscalation=false",
        ),
        (
            vec![],
            "unrestricted capabilities",
            "must set securityContext.capabilities.drop=[\"ALL\"]",
        ),
        (
            vec![],
            "runAsNonRoot != true",
            "must set securityContext.runAsNonRoot=true",
        ),
        (
            vec![],
            "seccompProfile",
            "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        ),
    ];
    for container in containers {
        let name = format!("\"{}\"", text(&container["name"]));
        let of = &container["securityContext"];
        let drops = of["capabilities"]["drop"].as_array().cloned();
        let either = |field: &str| match of.get(field) {
            Some(value) => value.clone(),
            None => of_pod[field].clone(),
        };
        let profile = text(&either("seccompProfile")["type"]);
        let wrong = [
            of["allowPrivilegeEscalation"] != false,
            !drops.unwrap_or_default().contains(&json!("ALL")),
            either("runAsNonRoot") != true,
            profile != "RuntimeDefault" && profile != "Localhost",
        ];
        for (n, _) in wrong.iter().enumerate().filter(|(_, wrong)| **wrong) {
            found[n].0.push(name.clone());
        }
    }
    let words = found
        .iter()
        .enumerate()
        .filter(|(_, (names, ..))| !names.is_empty());
    let words: Vec<String> = words
        .map(|(n, (names, what, advice))| {
            let who = match names.len() {
                1 => format!("container {}", names[0]),
                _ => format!("containers {}", names.join(", ")),
            };
            // The last two may stand on the pod as well.
            let pod = if n < 2 { "" } else { "pod or " };
            format!("{what} ({pod}{who} {advice})")
        })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}
