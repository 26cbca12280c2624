//! Which transition moves a ticket to where it is to go, and what its screen
//! is to be given. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where tickets are to be moved, from `--jira-start-status` and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nowhere.
    None,
    /// Into the category that fits: in progress when an agent starts, and only
    /// from to-do; done when it succeeded.
    Auto,
    /// To the status of this name, or by the transition of this name.
    To(String),
}

impl Move {
    /// Reads `none`, `auto` or a name.
    #[must_use]
    pub fn parse(text: &str) -> Move {
        match text {
            "none" => Move::None,
            "auto" => Move::Auto,
            name => Move::To(name.to_owned()),
        }
    }
}

/// Where one ticket is to be moved.
#[derive(Clone, Copy, Debug)]
pub enum Goal<'a> {
    /// To the status of this name, or by the transition of this name.
    Name(&'a str),
    /// To any status of this category: `indeterminate` (in progress), `done`.
    Category(&'a str),
}

/// A transition as Jira offers it, with its screen.
#[derive(Debug, Deserialize)]
pub struct Transition {
    id: String,
    #[serde(default)]
    name: String,
    to: Option<Target>,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(default)]
    name: String,
    #[serde(rename = "statusCategory")]
    category: Option<Category>,
}

#[derive(Debug, Deserialize)]
struct Category {
    #[serde(default)]
    key: String,
}

#[derive(Debug, Deserialize)]
struct Field {
    /// What people call it.
    #[serde(default)]
    name: String,
    #[serde(default)]
    required: bool,
    #[serde(rename = "hasDefaultValue", default)]
    has_default: bool,
    #[serde(rename = "allowedValues", default)]
    allowed: Vec<Value>,
}

impl Transition {
    fn target(&self) -> &str {
        self.to.as_ref().map_or("", |to| &to.name)
    }

    fn category(&self) -> &str {
        let category = self.to.as_ref().and_then(|to| to.category.as_ref());
        category.map_or("", |category| &category.key)
    }

    /// The required fields that nobody here has a value for.
    fn open_fields(&self) -> Vec<&str> {
        let open = |(name, field): &(&String, &Field)| {
            let known = *name == RESOLUTION && !field.allowed.is_empty();
            field.required && !field.has_default && !known
        };
        let fields = self.fields.iter().filter(open);
        let fields = fields.map(|(id, field)| match field.name.as_str() {
            "" => id.as_str(),
            name => name,
        });
        fields.collect()
    }
}

const RESOLUTION: &str = "resolution";

/// A transition to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its id: digits, sent as a string.
    pub id: String,
    /// What its screen is given.
    pub fields: Map<String, Value>,
}

impl Choice {
    /// The content of the request, with or without what the screen is given.
    #[must_use]
    pub fn body(&self, with_fields: bool) -> Value {
        match with_fields && !self.fields.is_empty() {
            true => json!({"transition": {"id": self.id}, "fields": self.fields}),
            false => json!({"transition": {"id": self.id}}),
        }
    }
}

/// The names that a resolution has where nobody has changed them, best first.
fn resolutions(success: bool) -> &'static [&'static str] {
    match success {
        true => &["done", "fixed", "resolved"],
        false => &["won't do", "won't fix", "cannot reproduce", "incomplete"],
    }
}

/// The transition for a move. By name: the one into a status of that name
/// first, then the one of that name. Of several the one whose screen asks for
/// nothing. `success` chooses the resolution where a screen asks for one.
///
/// # Errors
/// A fragment that says why there is none.
pub fn choose(offered: &[Transition], goal: Goal<'_>, success: bool) -> Result<Choice, String> {
    let same = |a: &str, b: &str| a.trim().to_lowercase() == b.trim().to_lowercase();
    let found = match goal {
        Goal::Name(name) => pick(offered.iter().filter(|t| same(t.target(), name)))
            .or_else(|| pick(offered.iter().filter(|t| same(&t.name, name)))),
        Goal::Category(key) => pick(offered.iter().filter(|t| t.category() == key)),
    };
    let wish = match goal {
        Goal::Name(name) => format!("{name:?}"),
        Goal::Category("done") => "a status that is done".to_owned(),
        Goal::Category(_) => "a status in progress".to_owned(),
    };
    match found {
        Some(transition) => filled(transition, success),
        None => Err(format!(
            "no transition leads to {wish} from here{}",
            names(offered)
        )),
    }
}

fn pick<'a>(offered: impl Iterator<Item = &'a Transition>) -> Option<&'a Transition> {
    // Of equals the first.
    offered.min_by_key(|transition| transition.open_fields().len())
}

fn filled(transition: &Transition, success: bool) -> Result<Choice, String> {
    let open = transition.open_fields();
    if !open.is_empty() {
        return Err(format!(
            "the transition {:?} asks for {}, which only a person can fill in",
            transition.name,
            open.join(", ")
        ));
    }
    let mut fields = Map::new();
    if let Some(field) = transition.fields.get(RESOLUTION)
        && !field.has_default
        && let Some(value) = resolution(&field.allowed, success)
    {
        fields.insert(RESOLUTION.to_owned(), value);
    }
    Ok(Choice {
        id: transition.id.clone(),
        fields,
    })
}

/// The value that fits best; its id says the same in every language.
fn resolution(allowed: &[Value], success: bool) -> Option<Value> {
    let name = |value: &Value| {
        value
            .get("name")
            .and_then(Value::as_str)
            .map(str::to_lowercase)
    };
    let known = resolutions(success)
        .iter()
        .find_map(|wish| allowed.iter().find(|v| name(v).as_deref() == Some(*wish)));
    let value = known.or_else(|| allowed.first())?;
    match (value.get("id"), value.get("name")) {
        (Some(id), _) => Some(json!({ "id": id })),
        (None, Some(name)) => Some(json!({ "name": name })),
        (None, None) => None,
    }
}

/// For a message: where one could go instead.
fn names(offered: &[Transition]) -> String {
    if offered.is_empty() {
        return " (none is offered: is this account allowed to move it?)".to_owned();
    }
    let names: Vec<String> = offered
        .iter()
        .take(8)
        .map(|t| format!("{:?} to {:?}", t.name, t.target()))
        .collect();
    format!(" (there are {})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(value: Value) -> Vec<Transition> {
        serde_json::from_value(value).unwrap()
    }

    fn to(id: &str, name: &str, status: &str, category: &str) -> Value {
        json!({"id": id, "name": name, "to": {"name": status, "id": "1",
            "statusCategory": {"key": category, "id": 4}}, "hasScreen": false})
    }

    #[test]
    fn the_status_counts_before_the_name_of_the_transition() {
        let all = offered(json!([
            to("11", "Review", "Open", "new"),
            to("21", "Begin", "review", "indeterminate"),
            to("31", "Finish", "Done", "done")
        ]));
        assert_eq!(choose(&all, Goal::Name("Review"), true).unwrap().id, "21");
        assert_eq!(choose(&all, Goal::Name("finish "), true).unwrap().id, "31");
        assert_eq!(
            choose(&all, Goal::Category("indeterminate"), true)
                .unwrap()
                .id,
            "21"
        );
        let why = choose(&all, Goal::Name("Closed"), true).unwrap_err();
        assert!(
            why.contains("\"Closed\"") && why.contains("\"Finish\" to \"Done\""),
            "{why}"
        );
        assert!(
            choose(&[], Goal::Name("X"), true)
                .unwrap_err()
                .contains("allowed")
        );
    }

    #[test]
    fn a_screen_is_given_what_it_asks_for_or_avoided() {
        let mut asking = to("1", "A", "Done", "done");
        asking["fields"] = json!({"customfield_1": {"required": true}, "summary": {"required": true,
            "hasDefaultValue": true}});
        let mut resolving = to("2", "B", "Done", "done");
        resolving["fields"] = json!({"resolution": {"required": true, "allowedValues": [
            {"id": "7", "name": "Won't Do"}, {"id": "8", "name": "Done"}]}});
        let both = offered(json!([asking, resolving]));
        let choice = choose(&both, Goal::Name("Done"), true).unwrap();
        assert_eq!(
            (choice.id.as_str(), &choice.fields["resolution"]),
            ("2", &json!({"id": "8"}))
        );
        let failed = choose(&both, Goal::Name("Done"), false).unwrap();
        assert_eq!(
            failed.body(true)["fields"]["resolution"],
            json!({"id": "7"})
        );
        assert_eq!(failed.body(false), json!({"transition": {"id": "2"}}));
        let why = choose(&both[..1], Goal::Name("Done"), true).unwrap_err();
        assert!(
            why.contains("customfield_1") && !why.contains("summary"),
            "{why}"
        );
    }

    #[test]
    fn a_resolution_that_nobody_knows_is_the_first_one() {
        let allowed = [json!({"name": "Erledigt"}), json!({"name": "Doppelt"})];
        assert_eq!(
            resolution(&allowed, true),
            Some(json!({"name": "Erledigt"}))
        );
        assert_eq!(resolution(&[json!(1)], true), None);
    }
}
