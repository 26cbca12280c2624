//! The repository that a description names. Pure; whether agents may be sent
//! there is for [`crate::source::repo`] to say.

use super::markdown::visible;

/// What a description says about repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// This one, as it is written.
    One(String),
    /// Several, and no line says which.
    Several,
    /// None.
    None,
}

/// Hosts on which `/owner/name` is a repository.
const HOSTS: [&str; 4] = ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"];

/// The repository of a description in Markdown: the first line `Repo: URL` or
/// `Repository: URL`; else the only repository that it mentions. `hosts` are
/// those of `--repo-host`.
#[must_use]
pub fn find(description: &str, hosts: &[String]) -> Named {
    let description = &visible(description);
    if let Some(named) = description.lines().find_map(line) {
        return Named::One(named);
    }
    let mut found: Option<String> = None;
    for url in urls(description).filter(|url| is_repository(url, hosts)) {
        match &found {
            Some(first) if same(first) != same(&url) => return Named::Several,
            Some(_) => {}
            None => found = Some(url),
        }
    }
    found.map_or(Named::None, Named::One)
}

/// What stands before the words of a line, or around them, and does not count.
const MARKUP: [char; 9] = ['*', '_', '`', '>', '#', '-', '+', '|', '~'];
/// What an address may be put in.
const QUOTES: [char; 5] = ['<', '[', '(', '"', '\''];

/// The address in a line `Repo: URL`.
fn line(text: &str) -> Option<String> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || MARKUP.contains(&c));
    let (word, rest) = text.split_once(':')?;
    let word = word.trim_matches(|c: char| c.is_whitespace() || MARKUP.contains(&c));
    if !["repo", "repository"]
        .iter()
        .any(|w| word.eq_ignore_ascii_case(w))
    {
        return None;
    }
    // Not `-`: an address that begins with it is refused and not mended.
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '|');
    let (url, more) = address(rest.trim_start_matches(QUOTES));
    // Words are none, but what was meant to be one is refused by its name.
    let alone = more.trim_matches(|c: char| !c.is_alphanumeric()).is_empty();
    let is_meant = alone && url.len() > 3 && url.contains(['/', ':']);
    let is_one = url.contains("://") || url.starts_with('-') || is_scp(&url);
    (is_one || is_meant).then_some(url)
}

/// The address at the beginning of `text`, and what stands behind it.
fn address(text: &str) -> (String, &str) {
    // Where a bracket begins that is not closed yet.
    let mut open = Vec::new();
    let end = text.char_indices().find(|(at, c)| match c {
        '(' => {
            open.push(*at);
            false
        }
        ')' => open.pop().is_none(),
        '<' | '>' | '"' | '|' | '[' | ']' | '{' | '}' => true,
        c => c.is_whitespace() || c.is_control(),
    });
    let end = end.map_or(text.len(), |(at, _)| at);
    let end = open.first().copied().unwrap_or(end);
    let (url, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (tidy(url), rest)
}

/// Without what a sentence puts behind it.
fn tidy(url: &str) -> String {
    const END: [char; 10] = ['.', ',', ';', ':', '!', '?', '\'', '"', '/', '\\'];
    url.trim_end_matches(END).to_owned()
}

/// Every address in the text, in its order.
fn urls(text: &str) -> impl Iterator<Item = String> {
    const STARTS: [&str; 4] = ["https://", "http://", "ssh://", "git@"];
    let mut rest = text;
    std::iter::from_fn(move || {
        let bytes = rest.as_bytes();
        let begins = |tail: &[u8], start: &str| {
            let head = tail.get(..start.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
        };
        let start = (0..bytes.len()).find(|at| {
            let tail = bytes.get(*at..).unwrap_or(&[]);
            // Most bytes are none of these.
            let may = matches!(tail, [b'h' | b'H' | b's' | b'S' | b'g' | b'G', ..]);
            may && STARTS.iter().any(|start| begins(tail, start))
        })?;
        let (url, after) = address(rest.get(start..)?);
        rest = after;
        Some(url)
    })
}

/// Whether an address is that of a repository and not of some page.
fn is_repository(url: &str, hosts: &[String]) -> bool {
    let Some((host, path)) = place(url) else {
        return false;
    };
    if path.contains(['?', '#']) {
        return false;
    }
    if path
        .strip_suffix(".git")
        .is_some_and(|rest| !rest.trim_matches('/').is_empty())
    {
        return true;
    }
    let known = HOSTS.contains(&host.as_str())
        || hosts.iter().any(|entry| {
            let entry = entry.to_ascii_lowercase();
            // An entry with a port means that port alone, one without means any.
            entry == host || host.split_once(':').is_some_and(|(name, _)| entry == name)
        });
    let mut parts = path.trim_matches('/').split('/');
    let two = parts
        .by_ref()
        .take(2)
        .filter(|part| !part.is_empty())
        .count()
        == 2;
    known && two && parts.next().is_none()
}

/// Host, in lower case and with its port, and path.
fn place(url: &str) -> Option<(String, &str)> {
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (rest.get(..end)?, rest.get(end..)?)
        }
        None => url.split_once(':')?,
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    Some((host.to_ascii_lowercase(), path))
}

/// `user@host:path`
fn is_scp(url: &str) -> bool {
    url.split_once('@')
        .is_some_and(|(user, rest)| !user.is_empty() && !user.contains('/') && rest.contains(':'))
}

/// The same for every way to write one repository.
fn same(url: &str) -> (String, String) {
    let (host, path) = place(url).unwrap_or_default();
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (host, path.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{adf, wiki},
        *,
    };

    fn one(text: &str) -> String {
        match find(text, &["git.example".to_owned()]) {
            Named::One(url) => url,
            none @ (Named::Several | Named::None) => format!("{none:?}"),
        }
    }

    #[test]
    fn a_line_names_the_repository() {
        for line in [
            "Repo: https://h/a/b",
            "repository: https://h/a/b",
            "REPO : https://h/a/b",
            "Repo:https://h/a/b.",
            "Repo: <https://h/a/b>",
            "Repo: <https://h/a/b/>,",
            "Repo: https://h/a/b/",
            "**Repo:** https://h/a/b",
            "**Repo**: `https://h/a/b`",
            "- Repo: https://h/a/b",
            "> * _Repository:_ https://h/a/b and more",
            "Repo: [https://h/a/b](https://h/a/b)",
            "Repo: [the shop](https://h/a/b)",
            "Repo: [the shop](<https://h/a/b>).",
            "Repo: [x](https://h/a/b \"title\")",
            "Repo: (https://h/a/b)",
            "  Repo:  \"https://h/a/b\"",
            "| Repo: | https://h/a/b |",
        ] {
            assert_eq!(one(line), "https://h/a/b", "{line}");
        }
        assert_eq!(one("Repo: git@h:a/b.git"), "git@h:a/b.git");
        assert_eq!(one("Repo: https://h/my\\_repo"), "https://h/my_repo");
        assert_eq!(one("Repo: file:///etc"), "file:///etc");
        assert_eq!(one("Repo: --upload-pack=x"), "--upload-pack=x");
    }

    #[test]
    fn an_address_is_what_a_reader_sees() {
        for text in [
            "Repo: https://h/a/**b_c**",
            "Repo: https://h/a/_b\\_c_",
            "Repo: https://h/a/<u>b_c</u>",
            "Repo: <https://h/a/>b_c",
            "Repo: ~~https://h/a~~/b_c",
            "Repo: [https://h/a/](https://h/a/)b\\_c",
        ] {
            assert_eq!(one(text), "https://h/a/b_c", "{text}");
        }
        let mail = "Repo: [git@h](mailto:git@h):a/b.git";
        assert_eq!(one(mail), "git@h:a/b.git");
        let mail = "Repo: [git@h:a/b.git](mailto:git@h:a/b.git)";
        assert_eq!(one(mail), "git@h:a/b.git");
        assert_eq!(one("Repo: https://h/a/b\\_"), "https://h/a/b_");
        let init = "Repo: <https://h/a/__init>\\_\\_";
        assert_eq!(one(init), "https://h/a/__init__");
        let bold = "See https://github.com/a/**b**, please";
        assert_eq!(one(bold), "https://github.com/a/b");
    }

    /// However it stands in a ticket, it is used as it was written.
    #[test]
    fn an_address_keeps_all_its_signs() {
        for url in [
            "https://github.com/a/my__repo",
            "https://github.com/a/_shop_",
            "https://github.com/a/__init__",
            "https://github.com/a/a_-_b",
            "https://github.com/a-b/c.d~e",
            "https://bitbucket.example/scm/~jdoe/shop.git",
            "https://h.example/a/b(c).git",
            "https://h.example/a/~~b~~/c*d*.git",
            "git@github.com:a/my__repo.git",
            "git@h.example:~u/x_.git",
            "ssh://git@h.example:22/~u/_x_.git",
        ] {
            let text = |text: &str| json!({"type": "text", "text": text});
            let marked =
                |words: &str, mark: Value| json!({"type": "text", "text": words, "marks": [mark]});
            let paragraph = |nodes: Value| json!({"type": "paragraph", "content": nodes});
            let link = json!({"type": "link", "attrs": {"href": url}});
            let (begin, rest) = url.split_at(url.find(':').unwrap() + 1);
            let (middle, end) = rest.split_at(rest.find('.').unwrap() + 1);
            let code = json!({"type": "code"});
            let strong = json!({"type": "strong"});
            let block = |words: &str| json!({"type": "codeBlock", "content": [text(words)]});
            let card = json!({"type": "inlineCard", "attrs": {"url": url}});
            let nodes = [
                paragraph(json!([text(&format!("Repo: {url}"))])),
                paragraph(json!([text(&format!("Repo: <{url}> (the shop)"))])),
                paragraph(json!([text(&format!("Repo: ({url})."))])),
                paragraph(json!([text("Repo: "), marked("the shop", link.clone())])),
                paragraph(json!([text("Repo: "), marked(url, link)])),
                paragraph(json!([text("Repo: "), marked(url, code)])),
                paragraph(json!([
                    marked("Repo:", strong.clone()),
                    text(&format!(" {url}"))
                ])),
                paragraph(json!([text("Repo: "), marked(url, strong.clone())])),
                // Some of it, where no sign would be taken for a mark.
                paragraph(json!([
                    text("Repo: "),
                    text(begin),
                    marked(middle, strong),
                    text(end)
                ])),
                paragraph(json!([text("Repo: "), card])),
                block(&format!("Repo: {url}")),
                block(&format!("x\nRepo: {url}\ny")),
            ];
            for node in nodes {
                let doc = json!({"type": "doc", "version": 1, "content": [node]});
                let markdown = adf::markdown(&doc.to_string()).unwrap();
                assert_eq!(one(&markdown), url, "{markdown}");
            }
            let mut wiki = vec![
                format!("Repo: <{url}>"),
                format!("{{code}}\nRepo: {url}\n{{code}}"),
                format!("Repo: {{noformat}}{url}{{noformat}}"),
            ];
            if !url.contains(['*', '~', '(']) && !url.starts_with("git@") {
                wiki.extend([
                    format!("Repo: {url}"),
                    format!("Repo: [the shop|{url}]"),
                    format!("Repo: [{url}]"),
                    format!("*Repo:* {{{{{url}}}}}"),
                    format!("|Repo:|{url}|"),
                ]);
            }
            for text in wiki {
                let markdown = wiki::markdown(&text);
                assert_eq!(one(&markdown), url, "{text}\n{markdown}");
            }
        }
    }

    #[test]
    fn what_is_meant_and_no_address_is_refused_by_its_name() {
        for meant in ["acme/shop", "github.com/acme/shop", "h:acme/shop.git"] {
            assert_eq!(one(&format!("Repo: {meant}")), meant);
            assert_eq!(one(&format!("| Repo: | `{meant}` |")), meant);
        }
        for words in ["", "see below", "none", "n/a", "to be said: later"] {
            assert_eq!(one(&format!("Repo: {words}")), "None", "{words}");
        }
    }

    #[test]
    fn the_first_such_line_counts() {
        let text = "https://github.com/x/y\nRepo: see below\nRepo: https://h/1\nRepo: https://h/2";
        assert_eq!(one(text), "https://h/1");
        assert_eq!(one("Reports: https://h/1\nThe repo: https://h/2"), "None");
    }

    #[test]
    fn the_only_repository_that_is_mentioned_is_meant() {
        for text in [
            "See https://github.com/a/b, please",
            "<https://github.com/a/b> and [again](https://GitHub.com/a/b.git)",
            "https://github.com/a/b and https://github.com/a/b/issues/7",
            "(https://github.com/a/b/) https://jira.example/browse/A-1",
        ] {
            assert_eq!(one(text), "https://github.com/a/b", "{text}");
        }
        assert_eq!(one("git@anywhere:x.git"), "git@anywhere:x.git");
        assert_eq!(
            one("at ssh://git@h/deep/er/x.git"),
            "ssh://git@h/deep/er/x.git"
        );
        assert_eq!(one("https://git.example/a/b"), "https://git.example/a/b");
        assert_eq!(
            one("https://git.example:8443/a/b"),
            "https://git.example:8443/a/b"
        );
        for text in [
            "",
            "https://github.com/a",
            "https://github.com/a/b/c",
            "https://github.com/a/b?tab=readme",
            "https://example.com/a/b",
            "https://example.com/.git",
            "a@b: c",
        ] {
            assert_eq!(one(text), "None", "{text}");
        }
    }

    #[test]
    fn of_two_repositories_neither_is_guessed() {
        let text = "https://github.com/a/b and https://github.com/a/c";
        assert_eq!(one(text), "Several");
        assert_eq!(one(&format!("{text}\nRepo: https://h/d")), "https://h/d");
    }

    #[test]
    fn hostile_text_is_no_matter() {
        for text in [
            "Repo: [](",
            "Repo: [x](<",
            "Repo: \\",
            "git@",
            "https://",
            "http://[",
            "Repo:",
        ] {
            let _ = find(text, &[]);
        }
        let long = "https://github.com/a/b ".repeat(50_000) + &"git@".repeat(100_000);
        assert_eq!(one(&long), "https://github.com/a/b");
    }
}
