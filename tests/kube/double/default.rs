//! What the API server adds to an object that is new.

use serde_json::{Value, json};

use super::store::{Kind, entries, text};

/// Sets what is not set.
fn set(object: &mut Value, name: &str, value: Value) {
    let object = object.as_object_mut().unwrap();
    object.entry(name).or_insert(value);
}

/// What the server adds to an object that is new.
pub fn default(kind: &Kind, object: &mut Value) {
    match kind.name {
        "Secret" => {
            set(object, "type", json!("Opaque"));
            let plain = object.as_object_mut().unwrap().remove("stringData");
            for (name, value) in entries(&plain.unwrap_or_default()) {
                object["data"][name] = json!(base64(text(&value).as_bytes()));
            }
        }
        "Job" => {
            object["metadata"]["generation"] = json!(1);
            object["status"] = json!({});
            let (uid, name) = (
                object["metadata"]["uid"].clone(),
                object["metadata"]["name"].clone(),
            );
            if object["spec"].is_null() {
                object["spec"] = json!({});
            }
            let spec = &mut object["spec"];
            set(spec, "parallelism", json!(1));
            set(spec, "completions", json!(1));
            set(spec, "backoffLimit", json!(6));
            set(spec, "manualSelector", json!(false));
            set(spec, "completionMode", json!("NonIndexed"));
            set(spec, "suspend", json!(false));
            let replace = match spec.get("podFailurePolicy").is_some() {
                true => "Failed",
                false => "TerminatingOrFailed",
            };
            set(spec, "podReplacementPolicy", json!(replace));
            spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
            let rules = spec.pointer_mut("/podFailurePolicy/rules");
            let rules = rules.and_then(Value::as_array_mut);
            for rule in rules.into_iter().flatten() {
                let conditions = rule.get_mut("onPodConditions");
                let conditions = conditions.and_then(Value::as_array_mut);
                for condition in conditions.into_iter().flatten() {
                    set(condition, "status", json!("True"));
                }
            }
            for label in ["controller-uid", "job-name"] {
                let value = if label == "job-name" { &name } else { &uid };
                for prefix in ["", "batch.kubernetes.io/"] {
                    spec["template"]["metadata"]["labels"][format!("{prefix}{label}")] =
                        value.clone();
                }
            }
            let pod = &mut spec["template"]["spec"];
            if pod.is_null() {
                *pod = json!({});
            }
            set(pod, "terminationGracePeriodSeconds", json!(30));
            set(pod, "dnsPolicy", json!("ClusterFirst"));
            set(pod, "securityContext", json!({}));
            set(pod, "schedulerName", json!("default-scheduler"));
            let containers = pod.get_mut("containers").and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                set(container, "resources", json!({}));
                set(
                    container,
                    "terminationMessagePath",
                    json!("/dev/termination-log"),
                );
                set(container, "terminationMessagePolicy", json!("File"));
                let image = text(&container["image"]);
                let tag = image.rsplit('/').next().unwrap_or_default();
                let policy = match tag.split_once(':') {
                    None | Some((_, "latest")) if !tag.contains('@') => "Always",
                    _ => "IfNotPresent",
                };
                set(container, "imagePullPolicy", json!(policy));
            }
        }
        _ => {}
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, b| bits << 8 | usize::from(*b));
        let bits = bits << (8 * (3 - group.len()));
        for n in 0..4 {
            match n <= group.len() {
                true => text.push(LETTERS[bits >> (18 - 6 * n) & 63] as char),
                false => text.push('='),
            }
        }
    }
    text
}
