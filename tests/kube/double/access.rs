//! Where a request goes, and who may send it there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    refusal::Refusal,
    store::{Kind, text},
    wire::Answer,
};

/// Who somebody is, by the token, and what is forbidden to them.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Everything is.
    pub nothing: bool,
    /// Verb and resource (`get`, `pods/log`).
    pub forbidden: BTreeSet<(String, String)>,
}

/// Where a request goes.
pub struct Target {
    pub kind: &'static Kind,
    pub namespace: String,
    /// Empty for all of the kind.
    pub name: String,
    /// Such as `log`, or empty.
    pub part: String,
}

impl Target {
    pub fn of(path: &str) -> Option<Target> {
        let mut steps = path.trim_matches('/').split('/');
        let group = match steps.next()? {
            "api" => "",
            "apis" => steps.next()?,
            _ => return None,
        };
        if steps.next()? != "v1" || steps.next()? != "namespaces" {
            return None;
        }
        let namespace = steps.next()?.to_owned();
        let kind = Kind::find(group, steps.next()?)?;
        let name = steps.next().unwrap_or_default().to_owned();
        let part = steps.next().unwrap_or_default().to_owned();
        steps.next().is_none().then_some(Target {
            kind,
            namespace,
            name,
            part,
        })
    }
}

/// # Errors
/// The 403 of what is forbidden to them.
pub fn authorize(access: &Access, verb: &str, target: &Target) -> Result<(), Refusal> {
    let resource = match target.part.as_str() {
        "" => target.kind.plural.to_owned(),
        part => format!("{}/{part}", target.kind.plural),
    };
    let rule = (verb.to_owned(), resource.clone());
    if !access.nothing && !access.forbidden.contains(&rule) {
        return Ok(());
    }
    let (kind, namespace) = (target.kind, &target.namespace);
    let named = match target.name.as_str() {
        "" => String::new(),
        name => format!(" \"{name}\""),
    };
    let message = format!(
        "{}{named} is forbidden: User \"system:serviceaccount:{namespace}:orchestrator\" cannot \
         {verb} resource \"{resource}\" in API group \"{}\" in the namespace \"{namespace}\"",
        kind.resource(),
        kind.group
    );
    let refusal = Refusal::new(403, "Forbidden", message);
    Err(refusal.about(kind, &target.name, kind.plural))
}

/// What somebody is told who asks what is allowed to them.
pub fn review(access: &Access, asked: &Value) -> Answer {
    let what = &asked["spec"]["resourceAttributes"];
    let rule = (text(&what["verb"]), text(&what["resource"]));
    let allowed = !access.nothing && !access.forbidden.contains(&rule);
    let mut status = json!({"allowed": allowed});
    if allowed {
        status["reason"] = json!(
            "RBAC: allowed by RoleBinding \"o/agents2\" of Role \"o\" to ServiceAccount \
             \"orchestrator/agents2\""
        );
    }
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {}, "spec": asked["spec"], "status": status,
    });
    Answer::json(201, &review)
}
