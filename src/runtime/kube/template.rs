//! `--job-template` laid over a Job, as kubectl's strategic merge does it. Pure.
//!
//! Never lets a template change what a run is known by.

use serde_json::{Map, Value};

use super::manifest::{AGENT, Settings, job, sample};

/// A template that has been read and found lawful in its form.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Map<String, Value>);

/// Lists whose entries are known by one of their fields; every other list is
/// replaced as a whole.
const MERGED: [(&str, &str); 7] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
];

/// Lists whose entries hold one of several things: an entry of the template
/// takes the place of ours, or both things would stand there.
const ONE_OF: [&str; 2] = ["volumes", "env"];

/// Says what is to be done with the map or list it stands in.
const PATCH: &str = "$patch";

/// What the names of our labels and annotations begin with.
const OURS: &str = "recac.io/";

/// What stands for everything that is ours in a Job that is only looked at.
const MARK: &str = "set by the orchestrator";

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence fragment.
    pub fn parse(text: &str) -> Result<Template, String> {
        let value: Value = serde_json::from_slice(text.as_bytes()).map_err(|e| {
            format!(
                "not JSON: {e} (`kubectl create --dry-run=client -o json -f FILE` makes JSON of \
                 a YAML file)"
            )
        })?;
        let Value::Object(map) = value else {
            return Err("not a JSON object".to_owned());
        };
        lawful(&map, "")?;
        Ok(Template(map))
    }

    /// Whether all that is ours in a Job survives the template.
    ///
    /// # Errors
    /// Names what it may not change.
    pub fn check(&self, settings: &Settings) -> Result<(), String> {
        let plain = Settings {
            template: None,
            ..settings.clone()
        };
        let ours = job(&plain, &sample(MARK));
        let over = self.over(ours.clone());
        for path in [
            &["apiVersion"][..],
            &["kind"],
            &["metadata", "name"],
            &["metadata", "generateName"],
            &["metadata", "namespace"],
        ] {
            kept(&ours, &over, path)?;
        }
        for path in [
            &["metadata", "labels"][..],
            &["metadata", "annotations"],
            &["spec", "template", "metadata", "labels"],
            &["spec", "template", "metadata", "annotations"],
        ] {
            let keys = |of| at(of, path).and_then(Value::as_object).into_iter();
            let theirs = keys(&over).flat_map(Map::keys);
            // Others of that kind are written later, and mean something.
            let theirs = theirs.filter(|key| key.starts_with(OURS));
            for key in keys(&ours).flat_map(Map::keys).chain(theirs) {
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                kept(&ours, &over, &path)?;
            }
        }
        // It would take the run away before its end is reported.
        let ttl = ["spec", "ttlSecondsAfterFinished"];
        kept(&ours, &over, &ttl).map_err(|why| format!("{why}; see --keep-finished"))?;
        let containers = at(&over, &["spec", "template", "spec", "containers"]);
        let containers = containers.and_then(Value::as_array);
        let agents = containers
            .into_iter()
            .flatten()
            .filter(|c| c.get("name").is_some_and(|name| name == AGENT));
        match agents.count() {
            1 => Ok(()),
            _ => Err(format!("it takes away the container {AGENT:?}")),
        }
    }

    /// Whether it sets the backstop itself, which is then left alone.
    #[must_use]
    pub fn sets_deadline(&self) -> bool {
        let spec = self.0.get("spec").and_then(Value::as_object);
        spec.is_some_and(|spec| spec.contains_key("activeDeadlineSeconds"))
    }

    /// The Job with this laid over it.
    #[must_use]
    pub fn over(&self, mut job: Value) -> Value {
        lay_value(&mut job, &Value::Object(self.0.clone()));
        job
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn kept(ours: &Value, over: &Value, path: &[&str]) -> Result<(), String> {
    match at(ours, path) == at(over, path) {
        true => Ok(()),
        false => Err(format!("it may not change {}", path.join("."))),
    }
}

fn key_of(list: &str) -> Option<&'static str> {
    let found = MERGED.iter().find(|(name, _)| *name == list);
    found.map(|(_, key)| *key)
}

/// Whether there is nothing in it that could not be laid over a Job.
fn lawful(map: &Map<String, Value>, path: &str) -> Result<(), String> {
    for (key, value) in map {
        let path = match path {
            "" => key.clone(),
            _ => format!("{path}.{key}"),
        };
        if key == PATCH {
            match value.as_str() {
                Some("merge" | "replace" | "delete") => continue,
                _ => {
                    return Err(format!(
                        "{path}: {value} is not one of merge, replace, delete"
                    ));
                }
            }
        }
        if key.starts_with('$') {
            return Err(format!("{path}: the only directive known is {PATCH}"));
        }
        match value {
            Value::Object(map) => lawful(map, &path)?,
            Value::Array(list) => {
                for (n, entry) in list.iter().enumerate() {
                    let path = format!("{path}[{n}]");
                    let Value::Object(map) = entry else {
                        match key_of(key) {
                            Some(_) => return Err(format!("{path}: not an object")),
                            None => continue,
                        }
                    };
                    lawful(map, &path)?;
                    let whole = map.len() == 1 && map.contains_key(PATCH);
                    if let Some(name) = key_of(key)
                        && !whole
                        && !map.get(name).is_some_and(Value::is_string)
                    {
                        return Err(format!("{path}: it has no {name}, by which it is known"));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// What `$patch` says in this map.
fn directive(value: &Value) -> Option<&str> {
    value.get(PATCH).and_then(Value::as_str)
}

fn lay_value(base: &mut Value, over: &Value) {
    match (&mut *base, over, directive(over)) {
        (_, _, Some("delete")) => *base = Value::Object(Map::new()),
        (Value::Object(base), Value::Object(over), None | Some("merge")) => {
            for (key, value) in over {
                lay_field(base, key, value);
            }
        }
        _ => *base = plain(over),
    }
}

fn lay_field(base: &mut Map<String, Value>, key: &str, over: &Value) {
    if key == PATCH {
        return;
    }
    if over.is_null() {
        base.remove(key);
        return;
    }
    let Some(there) = base.get_mut(key) else {
        base.insert(key.to_owned(), plain(over));
        return;
    };
    match (&mut *there, over, key_of(key)) {
        (Value::Array(list), Value::Array(over), Some(name)) => {
            lay_list(list, over, name, ONE_OF.contains(&key));
        }
        _ => lay_value(there, over),
    }
}

/// Entries that are new stand behind ours, so that a variable of the template
/// can refer to one of ours.
fn lay_list(list: &mut Vec<Value>, over: &[Value], name: &str, one_of: bool) {
    let alone = |entry: &&Value| entry.as_object().is_some_and(|map| map.len() == 1);
    let whole = over.iter().filter(alone).find_map(directive);
    if matches!(whole, Some("replace" | "delete")) {
        list.clear();
    }
    for entry in over {
        let Some(id) = entry.get(name) else { continue };
        let found = list.iter().position(|ours| ours.get(name) == Some(id));
        match (found, directive(entry)) {
            (Some(at), Some("delete")) => {
                list.remove(at);
            }
            (None, Some("delete")) => {}
            (Some(at), how) => {
                if let Some(ours) = list.get_mut(at) {
                    match one_of || how == Some("replace") {
                        true => *ours = plain(entry),
                        false => lay_value(ours, entry),
                    }
                }
            }
            (None, _) => list.push(plain(entry)),
        }
    }
}

/// What a part of a template comes to where there is nothing under it.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter(|(key, value)| *key != PATCH && !value.is_null());
            Value::Object(
                kept.map(|(key, value)| (key.clone(), plain(value)))
                    .collect(),
            )
        }
        Value::Array(list) => {
            let kept = list
                .iter()
                .filter(|entry| directive(entry) != Some("delete"));
            let kept = kept.filter(|entry| {
                directive(entry).is_none() || entry.as_object().is_some_and(|map| map.len() > 1)
            });
            Value::Array(kept.map(plain).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::manifest::tests::{settings, spec};
    use super::*;

    fn template(value: &Value) -> Template {
        Template::parse(&value.to_string()).unwrap()
    }

    fn over(value: &Value) -> Value {
        template(value).over(job(&settings(), &spec()))
    }

    fn refused(value: &Value) -> String {
        template(value).check(&settings()).unwrap_err()
    }

    /// What a template of the pod's specification makes of it.
    fn pod(value: Value) -> Value {
        let value = json!({"spec": {"template": {"spec": value}}});
        template(&value).check(&settings()).unwrap();
        over(&value)["spec"]["template"]["spec"].clone()
    }

    #[test]
    fn maps_are_merged_and_plain_values_replaced() {
        let pod = pod(json!({
            "nodeSelector": {"pool": "agents"},
            "securityContext": {"runAsUser": 1000},
            "terminationGracePeriodSeconds": 30,
        }));
        assert_eq!(pod["nodeSelector"], json!({"pool": "agents"}));
        let context = json!({"seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 1000});
        assert_eq!(pod["securityContext"], context);
        assert_eq!(pod["terminationGracePeriodSeconds"], 30);
        assert_eq!(pod["restartPolicy"], "Never");
    }

    #[test]
    fn lists_are_merged_by_name_or_path_and_others_replaced() {
        let before = job(&settings(), &spec());
        let ours = &before["spec"]["template"]["spec"]["containers"][0];
        let pod = pod(json!({
            "containers": [
                {"name": "agent", "env": [{"name": "A", "value": "$(RECAC_RUN)"},
                                          {"name": "RECAC_ITEM_SUMMARY", "value": "x"}],
                 "volumeMounts": [{"mountPath": "/cache", "name": "cache"},
                                  {"mountPath": "/workspace", "subPath": "a"}],
                 "envFrom": [{"configMapRef": {"name": "c"}}]},
                {"name": "helper", "image": "h:1"},
            ],
            "imagePullSecrets": [{"name": "registry"}],
        }));
        let agent = &pod["containers"][0];
        assert_eq!(agent["image"], ours["image"]);
        let env = json!([
            {"name": "RECAC_ITEM_SUMMARY", "value": "x"},
            ours["env"][1],
            {"name": "A", "value": "$(RECAC_RUN)"},
        ]);
        assert_eq!(agent["env"], env);
        let mounts = json!([
            {"mountPath": "/workspace", "name": "workspace", "subPath": "a"},
            {"mountPath": "/cache", "name": "cache"},
        ]);
        assert_eq!(agent["volumeMounts"], mounts);
        assert_eq!(agent["envFrom"], json!([{"configMapRef": {"name": "c"}}]));
        assert_eq!(
            pod["containers"][1],
            json!({"name": "helper", "image": "h:1"})
        );
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    }

    #[test]
    fn another_source_of_a_volume_or_variable_takes_the_place_of_ours() {
        let claim = json!({"name": "workspace", "persistentVolumeClaim": {"claimName": "w"}});
        let pod1 = pod(json!({"volumes": [claim]}));
        assert_eq!(pod1["volumes"], json!([claim]));
        // As it has to be written for kubectl.
        let mut spelt = claim.clone();
        spelt["emptyDir"] = Value::Null;
        assert_eq!(pod(json!({"volumes": [spelt]})), pod1);
        let var = json!({"name": "RECAC_ITEM_SUMMARY", "valueFrom": {"fieldRef": {}}});
        let pod = pod(json!({"containers": [{"name": "agent", "env": [var]}]}));
        assert_eq!(pod["containers"][0]["env"][0], var);
    }

    #[test]
    fn null_and_directives_take_away() {
        let value = json!({"spec": {"podFailurePolicy": null, "activeDeadlineSeconds": null}});
        let job = over(&value);
        assert!(job["spec"].get("podFailurePolicy").is_none());
        assert!(template(&value).sets_deadline());
        assert!(!template(&json!({"spec": {}})).sets_deadline());
        let agent = |value: Value| {
            let agent = json!({"name": "agent"});
            let mut agent = agent.as_object().unwrap().clone();
            agent.extend(value.as_object().unwrap().clone());
            pod(json!({"containers": [agent]}))["containers"][0].clone()
        };
        let env = json!([{"name": "RECAC_ITEM_SUMMARY", "$patch": "delete"},
                         {"name": "GONE", "$patch": "delete"}]);
        assert_eq!(
            agent(json!({"env": env}))["env"].as_array().unwrap().len(),
            1
        );
        let env = json!([{"$patch": "replace"}, {"name": "ONLY", "value": "1"}]);
        let only = json!([{"name": "ONLY", "value": "1"}]);
        assert_eq!(agent(json!({"env": env}))["env"], only);
        let context = json!({"$patch": "replace", "privileged": false, "x": null});
        let container = agent(json!({"securityContext": context}));
        assert_eq!(container["securityContext"], json!({"privileged": false}));
        let new = json!({"lifecycle": {"preStop": null, "postStart": {"a": 1}}});
        assert_eq!(agent(new)["lifecycle"], json!({"postStart": {"a": 1}}));
    }

    #[test]
    fn what_a_run_is_known_by_stays() {
        for (value, path) in [
            (json!({"kind": "CronJob"}), "kind"),
            (json!({"metadata": {"name": "x"}}), "metadata.name"),
            (
                json!({"metadata": {"generateName": "x-"}}),
                "metadata.generateName",
            ),
            (
                json!({"metadata": {"namespace": "x"}}),
                "metadata.namespace",
            ),
            (json!({"metadata": null}), "metadata.name"),
            (
                json!({"metadata": {"labels": {"recac.io/owner": "x"}}}),
                "metadata.labels.recac.io/owner",
            ),
            (json!({"metadata": {"labels": null}}), "metadata.labels."),
            (
                json!({"metadata": {"annotations": {"recac.io/item-id": null}}}),
                "metadata.annotations.recac.io/item-id",
            ),
            (
                json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}),
                "spec.template.metadata.labels.app",
            ),
            (
                json!({"spec": {"template": {"metadata": {"$patch": "delete"}}}}),
                "spec.template.metadata.labels.",
            ),
            (
                json!({"metadata": {"annotations": {"recac.io/reported": "x"}}}),
                "metadata.annotations.recac.io/reported",
            ),
            (
                json!({"spec": {"template": {"metadata": {"annotations": {"recac.io/x": "y"}}}}}),
                "spec.template.metadata.annotations.recac.io/x",
            ),
            (
                json!({"spec": {"ttlSecondsAfterFinished": 5}}),
                "spec.ttlSecondsAfterFinished; see --keep-finished",
            ),
        ] {
            let why = refused(&value);
            assert!(
                why.starts_with(&format!("it may not change {path}")),
                "{why}"
            );
        }
        for value in [
            json!({"spec": {"template": {"spec": {"containers": null}}}}),
            json!({"spec": {"template": {"spec": {"containers": [
                {"name": "agent", "$patch": "delete"}]}}}}),
            json!({"spec": {"template": null}}),
        ] {
            assert!(template(&value).check(&settings()).is_err(), "{value}");
        }
        let fine = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"labels": {"kueue.x-k8s.io/queue-name": "agents"},
                         "annotations": {"a": "b"}},
        });
        template(&fine).check(&settings()).unwrap();
        let labels = over(&fine)["metadata"]["labels"].clone();
        assert_eq!(labels["kueue.x-k8s.io/queue-name"], "agents");
        assert_eq!(labels["app"], "recac-agent");
    }

    #[test]
    fn what_cannot_be_laid_over_is_named() {
        let wrong = |text: &str| Template::parse(text).unwrap_err();
        assert!(wrong("apiVersion: batch/v1").contains("kubectl create --dry-run=client"));
        assert_eq!(wrong("[]"), "not a JSON object");
        assert_eq!(
            wrong(r#"{"spec":{"containers":[{"image":"x"}]}}"#),
            "spec.containers[0]: it has no name, by which it is known"
        );
        assert_eq!(
            wrong(r#"{"a":{"volumeMounts":[{"name":"x"}]}}"#),
            "a.volumeMounts[0]: it has no mountPath, by which it is known"
        );
        assert_eq!(wrong(r#"{"env":["A"]}"#), "env[0]: not an object");
        assert_eq!(
            wrong(r#"{"a":{"$patch":"add"}}"#),
            "a.$patch: \"add\" is not one of merge, replace, delete"
        );
        assert_eq!(
            wrong(r#"{"$retainKeys":["a"]}"#),
            "$retainKeys: the only directive known is $patch"
        );
    }

    /// Whatever is laid over a Job: nothing of it is lost but what the template
    /// names, and laying it over twice changes nothing more.
    #[test]
    fn a_template_of_any_form_can_be_laid_over_and_twice_is_once() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        fn value(next: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
            const KEYS: [&str; 10] = [
                "metadata",
                "spec",
                "template",
                "containers",
                "env",
                "volumes",
                "name",
                "volumeMounts",
                "mountPath",
                "labels",
            ];
            match next(if depth > 4 { 3 } else { 6 }) {
                0 => Value::Null,
                1 => json!("agent"),
                2 => json!(7),
                3 => (0..next(3)).map(|_| value(next, depth + 1)).collect(),
                _ => {
                    let pairs = (0..next(4)).map(|_| {
                        let key = KEYS[next(KEYS.len())].to_owned();
                        (key, value(next, depth + 1))
                    });
                    Value::Object(pairs.collect())
                }
            }
        }
        let base = job(&settings(), &spec());
        let mut lawful = 0;
        for _ in 0..20_000 {
            let text = value(&mut next, 0).to_string();
            let Ok(template) = Template::parse(&text) else {
                continue;
            };
            lawful += 1;
            let once = template.over(base.clone());
            assert_eq!(template.over(once.clone()), once, "{text}");
            let _ = template.check(&settings());
        }
        assert!(lawful > 1000, "{lawful}");
    }
}
