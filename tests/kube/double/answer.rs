//! What the double answers to a request, as the API server would. Faults are
//! not its business, nor is what controllers do later.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    access::{Access, Target, authorize, review},
    check,
    default::default,
    refusal::Refusal,
    select::Selector,
    store::{JOBS, Kind, PODS, Store, text},
    wire::{Answer, Request},
};

/// Above this etcd takes no object.
const LARGEST_OBJECT: usize = 1_500_000;
/// Above this the server reads no further.
const LARGEST_REQUEST: usize = 3_145_728;

/// All that an answer depends on.
#[derive(Debug)]
pub struct Server {
    pub store: Store,
    pub tokens: BTreeMap<String, Access>,
    /// What pods have printed, by namespace and name.
    pub logs: BTreeMap<(String, String), String>,
    /// Lists that are being read page by page, by their version.
    pages: BTreeMap<String, (u64, Vec<Value>)>,
}

/// A watch that has been allowed.
#[derive(Debug)]
pub struct Watch {
    pub kind: &'static Kind,
    pub namespace: String,
    pub selector: Selector,
    /// 0: begin with what there is.
    pub from: u64,
    pub bookmarks: bool,
    /// Seconds.
    pub limit: u64,
}

pub enum Outcome {
    Answer(Answer),
    Watch(Watch),
}

const ALREADY: &str = "the object has been modified; please apply your changes to the latest \
                       version and try again";

impl Server {
    pub fn new() -> Server {
        Server {
            store: Store::new(),
            tokens: BTreeMap::new(),
            logs: BTreeMap::new(),
            pages: BTreeMap::new(),
        }
    }

    pub fn answer(&mut self, request: &Request) -> Outcome {
        match self.answered(request) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Answer(refusal.answer()),
        }
    }

    fn answered(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        let bearer = request.headers.get("authorization");
        let token = bearer.and_then(|b| b.strip_prefix("Bearer "));
        let access = token.and_then(|token| self.tokens.get(token)).cloned();
        let access = access.ok_or_else(|| Refusal::new(401, "Unauthorized", "Unauthorized"))?;
        if request.body.len() > LARGEST_REQUEST {
            return Err(Refusal::new(
                413,
                "RequestEntityTooLarge",
                format!("Request entity too large: limit is {LARGEST_REQUEST}"),
            ));
        }
        let method = request.method.as_str();
        match request.path.as_str() {
            "/version" => {
                let version = json!({
                    "major": "1", "minor": "36", "gitVersion": "v1.36.2", "platform": "linux/amd64"
                });
                return Ok(Outcome::Answer(Answer::json(200, &version)));
            }
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" if method == "POST" => {
                return Ok(Outcome::Answer(review(&access, &request.json())));
            }
            _ => {}
        }
        let Some(target) = Target::of(&request.path) else {
            let why = "the server could not find the requested resource";
            return Err(Refusal::new(404, "NotFound", why));
        };
        let all = target.name.is_empty();
        let verb = match (method, all) {
            ("GET", true) if request.is_watch() => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", true) => "create",
            ("PUT", false) => "update",
            ("PATCH", false) => "patch",
            ("DELETE", false) => "delete",
            _ => {
                let why = "the server does not allow this method on the requested resource";
                return Err(Refusal::new(405, "MethodNotAllowed", why));
            }
        };
        authorize(&access, verb, &target)?;
        match (verb, target.part.as_str()) {
            ("get", "") => {
                let object = self.found(&target)?;
                Ok(Answer::json(200, &target.kind.whole(&object)))
            }
            ("get", "log") if target.kind == PODS => self.log(&target, request),
            ("list", "") => self.list(&target, request),
            ("watch", "") => return watch(&target, request).map(Outcome::Watch),
            ("create", "") => self.create(&target, request),
            ("update", "") => self.update(&target, request),
            ("patch", "") => self.patch(&target, request),
            ("delete", "") => self.delete(&target, request),
            _ => Err(Refusal::missing(target.kind, &target.name)),
        }
        .map(Outcome::Answer)
    }

    fn found(&self, target: &Target) -> Result<Value, Refusal> {
        let found = self.store.get(target.kind, &target.namespace, &target.name);
        found
            .cloned()
            .ok_or_else(|| Refusal::missing(target.kind, &target.name))
    }

    fn log(&self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        let pod = self.found(target)?;
        let containers = pod["spec"]["containers"].as_array().cloned();
        let containers = containers.unwrap_or_default();
        let wanted = match request.parameter("container") {
            "" => text(&containers[0]["name"]),
            name => name.to_owned(),
        };
        if !containers.iter().any(|c| c["name"] == wanted.as_str()) {
            return Err(Refusal::bad(format!(
                "container {wanted} is not valid for pod {}",
                target.name
            )));
        }
        // No node is asked for what has none.
        if text(&pod["spec"]["nodeName"]).is_empty() {
            return Ok(Answer {
                status: 204,
                headers: vec![],
                body: vec![],
            });
        }
        let statuses = pod["status"]["containerStatuses"].as_array().cloned();
        let statuses = statuses.unwrap_or_default();
        let status = statuses.iter().find(|s| s["name"] == wanted.as_str());
        let waiting = match status {
            None => Some("ContainerCreating".to_owned()),
            Some(status) => status["state"]["waiting"]["reason"]
                .as_str()
                .map(str::to_owned),
        };
        if let Some(reason) = waiting {
            return Err(Refusal::bad(format!(
                "container \"{wanted}\" in pod \"{}\" is waiting to start: {reason}",
                target.name
            )));
        }
        let key = (target.namespace.clone(), target.name.clone());
        let whole = self.logs.get(&key).map_or("", String::as_str);
        let mut tail = whole;
        if let Ok(lines) = request.parameter("tailLines").parse::<usize>() {
            let starts: Vec<usize> = std::iter::once(0)
                .chain(whole.match_indices('\n').map(|(at, _)| at + 1))
                .filter(|at| *at < whole.len())
                .collect();
            let first = starts.len().saturating_sub(lines);
            tail = starts.get(first).map_or("", |at| &whole[*at..]);
        }
        let mut bytes = tail.as_bytes();
        if let Ok(limit) = request.parameter("limitBytes").parse::<usize>() {
            bytes = &bytes[..limit.min(bytes.len())];
        }
        Ok(Answer::new(200, "text/plain", bytes))
    }

    fn list(&mut self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        let selector = selector(target.kind, request)?;
        let limit: usize = request.parameter("limit").parse().unwrap_or(0);
        let (version, mut items) = match request.parameter("continue") {
            "" => {
                let mut items = self.store.list(target.kind, &target.namespace);
                items.retain(|item| selector.takes(item));
                (self.store.version, items)
            }
            token => match self.pages.remove(token) {
                Some((version, _)) if version < self.store.forgotten => {
                    let why = "The provided continue parameter is too old to display a consistent \
                               list result. You must start a new list without the continue parameter.";
                    return Err(Refusal::new(410, "Expired", why));
                }
                Some(page) => page,
                None => {
                    let why = "invalid continue token: continue key is not valid: \
                               invalid character 'o' in literal null (expecting 'u')";
                    return Err(Refusal::bad(why));
                }
            },
        };
        let mut meta = json!({"resourceVersion": version.to_string()});
        if limit > 0 && items.len() > limit {
            let rest = items.split_off(limit);
            let token = format!("page-{version}-{}", self.store.uid());
            meta["continue"] = json!(token);
            self.pages.insert(token, (version, rest));
        }
        let list = json!({
            "kind": format!("{}List", target.kind.name),
            "apiVersion": target.kind.api_version(),
            "metadata": meta,
            "items": items,
        });
        Ok(Answer::json(200, &list))
    }

    fn create(&mut self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        let kind = target.kind;
        content_type(request, &["application/json"])?;
        let (mut object, unknown) = check::decode(kind, &request.body)?;
        let warnings = validated(kind, unknown, request)?;
        let Some(namespace) = self.store.namespaces.get(&target.namespace).cloned() else {
            let name = &target.namespace;
            let mut refusal =
                Refusal::new(404, "NotFound", format!("namespaces \"{name}\" not found"));
            refusal.details = json!({"name": name, "kind": "namespaces"});
            return Err(refusal);
        };
        let told = text(&object["metadata"]["namespace"]);
        if !told.is_empty() && told != target.namespace {
            return Err(Refusal::bad(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let prefix = text(&object["metadata"]["generateName"]);
        if text(&object["metadata"]["name"]).is_empty() && !prefix.is_empty() {
            object["metadata"]["name"] = json!(prefix + &self.store.suffix());
        }
        let name = text(&object["metadata"]["name"]);
        let uid = self.store.uid();
        let meta = &mut object["metadata"];
        meta["namespace"] = json!(target.namespace);
        meta["uid"] = json!(uid);
        meta["creationTimestamp"] = json!(self.store.time());
        default(kind, &mut object);
        let causes = check::causes(kind, &object);
        if !causes.is_empty() {
            return Err(check::invalid(kind, &name, &causes));
        }
        if request.body.len() > LARGEST_OBJECT {
            let why = (
                "".to_owned(),
                "Too long: etcdserver: request is too large".to_owned(),
            );
            return Err(check::invalid(kind, &name, &[why]));
        }
        if let (true, Some((quota, most))) = (kind == JOBS, &namespace.quota) {
            let used = self.store.list(JOBS, &target.namespace).len();
            if used >= *most {
                let message = format!(
                    "{} \"{name}\" is forbidden: exceeded quota: {quota}, requested: \
                     count/jobs.batch=1, used: count/jobs.batch={used}, limited: \
                     count/jobs.batch={most}",
                    kind.resource()
                );
                let refusal = Refusal::new(403, "Forbidden", message);
                return Err(refusal.about(kind, &name, kind.plural));
            }
        }
        if let Some(old) = self.store.get(kind, &target.namespace, &name) {
            let going = match old["metadata"]["deletionTimestamp"].is_string() {
                true => "object is being deleted: ",
                false => "",
            };
            let message = format!("{going}{} \"{name}\" already exists", kind.resource());
            let refusal = Refusal::new(409, "AlreadyExists", message);
            return Err(refusal.about(kind, &name, kind.plural));
        }
        let object = match request.parameter("dryRun") {
            "All" => object,
            _ => self.store.put(kind, object),
        };
        let mut answer = Answer::json(201, &kind.whole(&object));
        let violation = match namespace.restricted && kind == JOBS {
            true => check::violation(&object["spec"]["template"]),
            false => None,
        };
        let violation =
            violation.map(|v| format!("would violate PodSecurity \"restricted:latest\": {v}"));
        for warning in warnings.into_iter().chain(violation) {
            answer = answer.header("Warning", warned(&warning));
        }
        Ok(answer)
    }

    fn update(&mut self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        content_type(request, &["application/json"])?;
        let (new, unknown) = check::decode(target.kind, &request.body)?;
        let warnings = validated(target.kind, unknown, request)?;
        let name = text(&new["metadata"]["name"]);
        if name != target.name {
            return Err(Refusal::bad(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
        self.replace(target, new, warnings, request)
    }

    fn patch(&mut self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        content_type(request, &["application/merge-patch+json"])?;
        let patch: Value = serde_json::from_str(&request.body)
            .map_err(|e| Refusal::bad(format!("error decoding patch: {e}")))?;
        let mut new = self.found(target)?;
        merge(&mut new, &patch);
        let (new, unknown) = check::typed(target.kind, &new)?;
        let warnings = validated(target.kind, unknown, request)?;
        self.replace(target, new, warnings, request)
    }

    fn replace(
        &mut self,
        target: &Target,
        mut new: Value,
        warnings: Vec<String>,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let (kind, name) = (target.kind, target.name.as_str());
        let old = self.found(target)?;
        let told = text(&new["metadata"]["uid"]);
        if !told.is_empty() && old["metadata"]["uid"] != told.as_str() {
            let why = format!(
                "Precondition failed: UID in precondition: {told}, UID in object meta: {}",
                text(&old["metadata"]["uid"])
            );
            return Err(Refusal::conflict(kind, name, &why));
        }
        let version = text(&new["metadata"]["resourceVersion"]);
        match version.as_str() {
            "" if kind.name == "Lease" => {
                let cause = (
                    "metadata.resourceVersion".to_owned(),
                    "Invalid value: 0: must be specified for an update".to_owned(),
                );
                let mut refusal = check::invalid(kind, name, &[cause]);
                refusal.message = refusal.message.replace("Lease.", "leases.");
                return Err(refusal);
            }
            "" => {}
            version if old["metadata"]["resourceVersion"] != version => {
                return Err(Refusal::conflict(kind, name, ALREADY));
            }
            _ => {}
        }
        for field in [
            "uid",
            "namespace",
            "creationTimestamp",
            "generation",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            match old["metadata"].get(field) {
                Some(value) => new["metadata"][field] = value.clone(),
                None => {
                    new["metadata"].as_object_mut().unwrap().remove(field);
                }
            }
        }
        // It has an address of its own.
        if let Some(status) = old.get("status") {
            new["status"] = status.clone();
        }
        if kind.name == "Secret" {
            default(kind, &mut new);
        }
        if old["spec"] != new["spec"] && old["metadata"]["generation"].is_i64() {
            let generation = old["metadata"]["generation"].as_i64().unwrap();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        let mut causes = check::causes(kind, &new);
        causes.extend(check::immutable(kind, &old, &new));
        if !causes.is_empty() {
            return Err(check::invalid(kind, name, &causes));
        }
        let new = match request.parameter("dryRun") == "All" || new == old {
            true => new,
            false => self.store.put(kind, new),
        };
        let mut answer = Answer::json(200, &kind.whole(&new));
        for warning in warnings {
            answer = answer.header("Warning", warned(&warning));
        }
        Ok(answer)
    }

    fn delete(&mut self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        let (kind, name) = (target.kind, target.name.as_str());
        let object = self.found(target)?;
        let options = request.json();
        for (field, called) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let wanted = text(&options["preconditions"][field]);
            let is = text(&object["metadata"][field]);
            if wanted.is_empty() || wanted == is {
                continue;
            }
            let end = match field {
                "uid" => "might have been deleted and then recreated",
                _ => "might have been modified",
            };
            let mut refusal = Refusal::conflict(
                kind,
                name,
                &format!(
                    "the {called} in the precondition ({wanted}) does not match the {called} in \
                     record ({is}). The object {end}"
                ),
            );
            // Here it is called by its kind, and not by its resource.
            let of = format!("{}.{}", kind.name, kind.group);
            let of = of.trim_end_matches('.').to_owned();
            refusal.message = refusal.message.replace(&kind.resource(), &of);
            refusal.details["kind"] = json!(kind.name);
            return Err(refusal);
        }
        let asked = match options["propagationPolicy"].as_str() {
            Some(policy) => policy,
            None => request.parameter("propagationPolicy"),
        };
        let mut warning = None;
        let finalizer = match (kind == JOBS, asked) {
            (true, "Foreground") => Some("foregroundDeletion"),
            (true, "Orphan") => Some("orphan"),
            (true, "") => {
                warning = Some(
                    "child pods are preserved by default when jobs are deleted; set \
                     propagationPolicy=Background to remove them or set propagationPolicy=Orphan \
                     to suppress this warning",
                );
                Some("orphan")
            }
            _ => None,
        };
        let dry = request.parameter("dryRun") == "All";
        let mut answer = match finalizer {
            Some(finalizer) => {
                let mut going = object;
                let meta = &mut going["metadata"];
                if !meta["deletionTimestamp"].is_string() {
                    meta["deletionTimestamp"] = json!(self.store.time());
                    meta["deletionGracePeriodSeconds"] = json!(0);
                    meta["generation"] = json!(meta["generation"].as_i64().unwrap_or(1) + 1);
                    meta["finalizers"] = json!([finalizer]);
                    if !dry {
                        going = self.store.put(kind, going);
                    }
                }
                Answer::json(200, &kind.whole(&going))
            }
            None => {
                if !dry {
                    self.store.remove(kind, &target.namespace, name);
                }
                let mut details =
                    json!({"name": name, "kind": kind.plural, "uid": object["metadata"]["uid"]});
                if !kind.group.is_empty() {
                    details["group"] = json!(kind.group);
                }
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                    "details": details,
                });
                Answer::json(200, &status)
            }
        };
        if let Some(warning) = warning {
            answer = answer.header("Warning", warned(warning));
        }
        Ok(answer)
    }
}

fn watch(target: &Target, request: &Request) -> Result<Watch, Refusal> {
    let from = match request.parameter("resourceVersion") {
        "" => 0,
        version => version
            .parse()
            .map_err(|_| Refusal::bad(format!("resourceVersion: Invalid value: \"{version}\"")))?,
    };
    Ok(Watch {
        kind: target.kind,
        namespace: target.namespace.clone(),
        selector: selector(target.kind, request)?,
        from,
        bookmarks: matches!(request.parameter("allowWatchBookmarks"), "1" | "true"),
        limit: request.parameter("timeoutSeconds").parse().unwrap_or(1800),
    })
}

fn selector(kind: &Kind, request: &Request) -> Result<Selector, Refusal> {
    let labels = request.parameter("labelSelector");
    let fields = request.parameter("fieldSelector");
    let selector = Selector::parse(labels, fields).map_err(Refusal::bad)?;
    selector.known(kind.plural).map_err(Refusal::bad)?;
    Ok(selector)
}

fn content_type(request: &Request, allowed: &[&str]) -> Result<(), Refusal> {
    let given = request
        .headers
        .get("content-type")
        .map_or("", String::as_str);
    let given = given.split(';').next().unwrap_or_default().trim();
    if allowed.contains(&given) {
        return Ok(());
    }
    let why = "415: Unsupported Media Type";
    let mut refusal = Refusal::new(415, "UnsupportedMediaType", why);
    refusal.details = json!({});
    Err(refusal)
}

/// What `fieldValidation` makes of unknown fields: warnings, or an error.
fn validated(kind: &Kind, unknown: Vec<String>, request: &Request) -> Result<Vec<String>, Refusal> {
    let unknown: Vec<String> = unknown
        .iter()
        .map(|field| format!("unknown field \"{field}\""))
        .collect();
    match request.parameter("fieldValidation") {
        "Strict" if !unknown.is_empty() => Err(Refusal::bad(format!(
            "{} in version \"v1\" cannot be handled as a {}: strict decoding error: {}",
            kind.name,
            kind.name,
            unknown.join(", ")
        ))),
        "Strict" | "Ignore" => Ok(Vec::new()),
        "" | "Warn" => Ok(unknown),
        other => Err(Refusal::bad(format!(
            "fieldValidation: Unsupported value: \"{other}\""
        ))),
    }
}

fn warned(words: &str) -> String {
    let words = words.replace('\\', r"\\").replace('"', "\\\"");
    format!("299 - \"{words}\"")
}

/// RFC 7386.
pub fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let object = object.as_object_mut().unwrap();
    for (name, value) in fields {
        match value.is_null() {
            true => {
                object.remove(name);
            }
            false => merge(object.entry(name).or_insert(Value::Null), value),
        }
    }
}
