//! The comments of a ticket: as text for an agent, and the search for our own
//! reports among them. Pure.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{issue, site::Deployment};
use crate::core::Stamp;

/// Comments that an agent is given at most: the newest.
pub const SHOWN: usize = 20;
/// Bytes of all of them together, for they stand in one variable.
const ROOM: usize = 96 * 1024;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    comments: Vec<&'a RawValue>,
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct Comment<'a> {
    author: Option<Author>,
    created: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Author {
    #[serde(rename = "displayName")]
    display_name: Option<String>,
}

/// A page of comments as Markdown, oldest first: author, time, text. Where not
/// all fit, the oldest are left out. What cannot be read is left out, too.
#[must_use]
pub fn markdown(page: &[u8], deployment: Deployment) -> String {
    let Ok(page) = serde_json::from_slice::<Page<'_>>(page) else {
        return String::new();
    };
    let mut all: Vec<(Option<Stamp>, String)> = page
        .comments
        .iter()
        .filter_map(|raw| one(raw, deployment))
        .collect();
    // Whatever order the server has.
    all.sort_by_key(|(created, _)| *created);
    let mut room = ROOM;
    let mut fit = Vec::new();
    for (_, text) in all.iter().rev().take(SHOWN) {
        if text.len() + 2 > room {
            if fit.is_empty() {
                fit.push(cut(text, room));
            }
            break;
        }
        room -= text.len() + 2;
        fit.push(text.clone());
    }
    fit.reverse();
    fit.join("\n\n")
}

fn one(raw: &RawValue, deployment: Deployment) -> Option<(Option<Stamp>, String)> {
    let comment: Comment<'_> = serde_json::from_str(raw.get()).ok()?;
    let text = issue::markdown(comment.body, deployment).ok()?;
    let created = comment.created.as_deref().and_then(stamp);
    let author = comment
        .author
        .and_then(|a| a.display_name)
        .unwrap_or_default();
    let author: String = author
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect();
    let author = if author.is_empty() {
        "somebody"
    } else {
        &author
    };
    let when = created.map_or(String::new(), |created| format!(", {created}"));
    let text: String = text.chars().filter(|c| *c != '\0').collect();
    Some((
        created,
        format!("### {author}{when}\n\n{}", text.trim_end()),
    ))
}

/// Jira leaves the colon out of the offset: `2026-09-25T22:42:39.399-0300`.
fn stamp(text: &str) -> Option<Stamp> {
    let (head, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    text.parse()
        .or_else(|_| format!("{head}:{minutes}").parse())
        .ok()
}

/// The beginning of a text, with a line that says that it is one.
fn cut(text: &str, room: usize) -> String {
    const MARK: &str = "\n[shortened by the orchestrator]";
    let room = room.saturating_sub(MARK.len());
    let end = (0..=room)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}{MARK}", text.get(..end).unwrap_or(""))
}

/// How many comments there are in all, where this page of some of them does not
/// begin with the newest.
#[must_use]
pub fn unsorted(page: &[u8]) -> Option<usize> {
    let page: Page<'_> = serde_json::from_slice(page).ok()?;
    let created = |raw: &RawValue| {
        let comment: Value = serde_json::from_str(raw.get()).ok()?;
        stamp(comment.get("created")?.as_str()?)
    };
    let first = page.comments.first().and_then(|raw| created(raw));
    let last = page.comments.last().and_then(|raw| created(raw));
    let newest_first = page.total <= page.comments.len() || first > last;
    (!newest_first).then_some(page.total)
}

/// Whether a comment of this page carries a marker.
///
/// # Errors
/// If it is no page of comments.
pub fn marked(page: &[u8], marker: &str) -> Result<bool, String> {
    let page: Page<'_> =
        serde_json::from_slice(page).map_err(|_| "the answer is none".to_owned())?;
    Ok(page.comments.iter().any(|raw| raw.get().contains(marker)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn comment(author: &str, created: &str, body: &str) -> Value {
        json!({"author": {"displayName": author}, "created": created, "body": body})
    }

    fn page(comments: &[Value]) -> Vec<u8> {
        json!({"comments": comments, "total": comments.len(), "startAt": 0})
            .to_string()
            .into()
    }

    #[test]
    fn an_agent_reads_them_oldest_first() {
        let newest_first = page(&[
            comment("Mia", "2026-09-25T22:42:39.399-0300", "second"),
            comment("", "2026-09-25T22:42:38.399-0300", "first"),
            json!(7),
            json!({"body": null}),
        ]);
        assert_eq!(
            markdown(&newest_first, Deployment::DataCenter),
            "### somebody\n\n\n\n### somebody, 2026-09-26T01:42:38.399Z\n\nfirst\n\n\
             ### Mia, 2026-09-26T01:42:39.399Z\n\nsecond"
        );
        assert_eq!(markdown(b"no", Deployment::Cloud), "");
    }

    #[test]
    fn the_oldest_go_where_not_all_fit() {
        let time = |n: usize| format!("2026-09-25T22:42:{n:02}.000+0000");
        let many: Vec<Value> = (0..30)
            .map(|n| comment("M", &time(n), &format!("c{n}.")))
            .collect();
        let text = markdown(&page(&many), Deployment::DataCenter);
        assert!(
            text.contains("c10.") && text.contains("c29.") && !text.contains("c9."),
            "{text}"
        );
        let large: Vec<Value> = (0..4)
            .map(|n| comment("M", &time(n), &format!("{n}{}", "ä".repeat(20_000))))
            .collect();
        let text = markdown(&page(&large), Deployment::DataCenter);
        assert!(text.len() <= ROOM && text.contains("3ä") && text.contains("2ä"));
        assert!(!text.contains("1ä") && text.starts_with("### M"));
        let huge = page(&[comment("M", &time(0), &"ä".repeat(100_000))]);
        let text = markdown(&huge, Deployment::DataCenter);
        assert!(text.len() <= ROOM && text.ends_with("[shortened by the orchestrator]"));
    }

    #[test]
    fn a_marker_is_found_and_the_order_known() {
        let (old, new) = (
            "2026-09-25T22:42:38.000+0000",
            "2026-09-25T22:42:39.000+0000",
        );
        let two = |a: &str, b: &str, total: usize| {
            let comments = [comment("M", a, "x run-1 uid1 y"), comment("M", b, "z")];
            json!({"comments": comments, "total": total})
                .to_string()
                .into_bytes()
        };
        assert!(marked(&two(new, old, 9), "run-1 uid1").unwrap());
        assert!(!marked(&two(new, old, 9), "run-1 uid2").unwrap());
        assert_eq!(unsorted(&two(new, old, 9)), None);
        assert_eq!(unsorted(&two(old, new, 9)), Some(9));
        assert_eq!(unsorted(&two(old, new, 2)), None);
        assert!(marked(b"<html>", "x").is_err());
    }
}
