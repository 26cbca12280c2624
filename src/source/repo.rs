//! Which repository an agent is sent to, and which are refused.
//!
//! Never asks the network: a host is compared, not resolved.

use crate::core::Hold;

/// What the command line says about repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repos {
    /// The hosts agents may be sent to, each with or without a port; none:
    /// any host.
    pub hosts: Vec<String>,
    /// For items that name none.
    pub default: Option<String>,
    /// Whether the agent cannot do without one.
    pub needed: bool,
}

impl Repos {
    /// The repository for an item that names `own`; blank is none. `None`
    /// where there is none and none is needed. `advice` says how an item names one.
    ///
    /// # Errors
    /// Why the item has to wait. The reason never repeats the address, which
    /// may hold a password.
    pub fn choose(&self, own: Option<&str>, advice: &str) -> Result<Option<String>, Hold> {
        let given = |text: &&str| !text.trim().is_empty();
        if let Some(own) = own.filter(given) {
            let checked = self.check(own).map_err(Hold::RepositoryRefused)?;
            return Ok(Some(checked));
        }
        match self.default.as_deref().filter(given) {
            Some(default) => match self.check(default) {
                Ok(checked) => Ok(Some(checked)),
                Err(why) => Err(Hold::RepositoryRefused(format!("--default-repo: {why}"))),
            },
            None if self.needed => Err(Hold::NoRepository(advice.to_owned())),
            None => Ok(None),
        }
    }

    /// The address without the space around it, if agents may be sent there.
    ///
    /// # Errors
    /// Why not; the address is not repeated.
    pub fn check(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err("it holds control characters".into());
        }
        if text.chars().any(char::is_whitespace) {
            return Err("it holds white space".into());
        }
        // Git and ssh would take it for an option.
        if text.starts_with('-') {
            return Err("it begins with \"-\"".into());
        }
        let (place, checked) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let scheme = scheme.to_ascii_lowercase();
                let place = place_of_url(&scheme, rest)?;
                (place, format!("{scheme}://{rest}"))
            }
            None => (place_of_scp(text)?, text.to_owned()),
        };
        if self.hosts.is_empty() || self.hosts.iter().any(|entry| place.is(entry)) {
            return Ok(checked);
        }
        Err(format!(
            "the host {} is not one of --repo-host ({})",
            place.name(),
            self.hosts.join(", ")
        ))
    }
}

/// Where an address leads.
struct Place<'a> {
    host: &'a str,
    /// As written.
    port: Option<u16>,
    /// What the scheme means without one.
    usual: u16,
}

impl Place<'_> {
    /// Whether the entry of an allow-list means this place.
    fn is(&self, entry: &str) -> bool {
        match split_port(entry.trim()) {
            Ok((host, port)) => {
                host.eq_ignore_ascii_case(self.host)
                    && port.is_none_or(|port| port == self.port.unwrap_or(self.usual))
            }
            Err(_) => false,
        }
    }

    fn name(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_owned(),
        }
    }
}

/// The place of `scheme://rest`.
fn place_of_url<'a>(scheme: &str, rest: &'a str) -> Result<Place<'a>, String> {
    let usual = match scheme {
        "https" => 443,
        "ssh" => 22,
        "http" => return Err("http:// is not encrypted; write https://".into()),
        "file" => return Err("file:// names a local path, which an agent cannot see".into()),
        _ => return Err("only https://, ssh:// and git@host:path are allowed".into()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some(_) if scheme == "https" => {
            return Err("it holds a user or password; take it out".into());
        }
        Some((user, _)) if user.contains(':') => {
            return Err("it holds a password; take it out".into());
        }
        Some((user, host)) => {
            check_user(user)?;
            host
        }
    };
    let (host, port) = split_port(host)?;
    check_path(path.strip_prefix('/').unwrap_or_default())?;
    Ok(Place { host, port, usual })
}

/// The place of `user@host:path`.
fn place_of_scp(text: &str) -> Result<Place<'_>, String> {
    let no_form = || "it is neither https://, ssh:// nor git@host:path".to_owned();
    let (user, rest) = text.split_once('@').ok_or_else(no_form)?;
    if user.contains(['/', ':', '\\']) {
        return Err(no_form());
    }
    check_user(user)?;
    // An address in brackets holds colons of its own.
    let from = match rest.strip_prefix('[') {
        Some(_) => rest.find(']').ok_or_else(no_form)?,
        None => 0,
    };
    let colon = rest
        .get(from..)
        .and_then(|tail| tail.find(':'))
        .ok_or_else(no_form)?;
    let (host, path) = rest.split_at(from + colon);
    let (host, _) = split_port(host)?;
    check_path(path.strip_prefix(':').unwrap_or_default())?;
    Ok(Place {
        host,
        port: None,
        usual: 22,
    })
}

/// A plain word: anything else could be an option of ssh, or another host in
/// the eyes of another reader.
fn check_user(user: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let lawful = !user.is_empty() && !user.starts_with(['-', '.']) && user.bytes().all(plain);
    match lawful {
        true => Ok(()),
        false => Err("its user is not a plain word".into()),
    }
}

/// `path` without the slash or colon before it.
fn check_path(path: &str) -> Result<(), String> {
    let path = path.trim_start_matches('/');
    if path.starts_with('-') {
        return Err("its path begins with \"-\"".into());
    }
    match path.is_empty() || path.starts_with(['?', '#']) {
        true => Err("it names a host, but no repository there".into()),
        false => Ok(()),
    }
}

/// `host`, `host:port`, `[address]` or `[address]:port`.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let bracket = text.starts_with('[');
    let split = match text.find(']') {
        Some(end) if bracket => text.split_at(end + 1),
        _ => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let (host, port) = split;
    if host.is_empty() {
        return Err("it names no host".into());
    }
    if host.starts_with('-') {
        return Err("its host begins with \"-\"".into());
    }
    let lawful = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    if !lawful {
        return Err("its host is not a lawful name".into());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err("its host is not a lawful name".into()),
        Some(digits) => Some(
            digits
                .parse()
                .ok()
                .filter(|port| *port > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or("its port is not a number from 1 to 65535")?,
        ),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADVICE: &str = "name one";

    fn repos(hosts: &[&str]) -> Repos {
        Repos {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            default: None,
            needed: true,
        }
    }

    fn refusal(repos: &Repos, own: &str) -> String {
        match repos.choose(Some(own), ADVICE) {
            Err(Hold::RepositoryRefused(why)) => why,
            other => panic!("{own:?} gave {other:?}"),
        }
    }

    #[test]
    fn what_git_takes_safely_is_allowed() {
        for own in [
            "https://github.com/a/b",
            "https://github.com/a/b.git",
            "https://git.example:8443/a/b/",
            "https://[::1]:8443/a",
            "ssh://git@github.com/a/b",
            "ssh://github.com:2222/a/b",
            "git@github.com:a/b.git",
            "deploy-1@host:/srv/a.git",
            "git@[::1]:a",
        ] {
            assert_eq!(
                repos(&[]).choose(Some(own), ADVICE),
                Ok(Some(own.to_owned())),
                "{own}"
            );
        }
        let trimmed = repos(&[]).choose(Some(" HTTPS://h/a\n"), ADVICE);
        assert_eq!(trimmed, Ok(Some("https://h/a".to_owned())));
    }

    #[test]
    fn whatever_else_is_refused_with_a_reason() {
        for (own, why) in [
            ("http://h/a", "http:// is not encrypted; write https://"),
            (
                "file:///etc",
                "file:// names a local path, which an agent cannot see",
            ),
            (
                "git://h/a",
                "only https://, ssh:// and git@host:path are allowed",
            ),
            ("ext::sh -c x", "it holds white space"),
            (
                "ext::git@h:a",
                "it is neither https://, ssh:// nor git@host:path",
            ),
            (
                "https::https://h/a",
                "only https://, ssh:// and git@host:path are allowed",
            ),
            ("/srv/a", "it is neither https://, ssh:// nor git@host:path"),
            ("../a", "it is neither https://, ssh:// nor git@host:path"),
            ("h:a", "it is neither https://, ssh:// nor git@host:path"),
            ("git@h", "it is neither https://, ssh:// nor git@host:path"),
            (
                "git@[::1",
                "it is neither https://, ssh:// nor git@host:path",
            ),
            (
                "a/b@h:c",
                "it is neither https://, ssh:// nor git@host:path",
            ),
            ("https://u@h/a", "it holds a user or password; take it out"),
            (
                "https://u:p@h/a",
                "it holds a user or password; take it out",
            ),
            ("https://@h/a", "it holds a user or password; take it out"),
            (
                "https://good\\@evil/a",
                "it holds a user or password; take it out",
            ),
            ("https://h\\x/a", "its host is not a lawful name"),
            ("https://hä/a", "its host is not a lawful name"),
            ("https://[::1]x/a", "its host is not a lawful name"),
            ("https://[x]/a", "its host is not a lawful name"),
            ("ssh://u:p@h/a", "it holds a password; take it out"),
            ("ssh://-oX@h/a", "its user is not a plain word"),
            ("ssh://%2doX@h/a", "its user is not a plain word"),
            ("ssh://@h/a", "its user is not a plain word"),
            ("@h:a", "its user is not a plain word"),
            ("ssh://-oProxyCommand=x/a", "its host begins with \"-\""),
            ("ssh://git@-oProxyCommand=x/a", "its host begins with \"-\""),
            ("git@-oProxyCommand=x:a", "its host begins with \"-\""),
            ("git@h:-a", "its path begins with \"-\""),
            ("ssh://h/-a", "its path begins with \"-\""),
            ("-u@h:a", "it begins with \"-\""),
            ("--upload-pack=x", "it begins with \"-\""),
            ("https:///a", "it names no host"),
            ("ssh://git@/a", "it names no host"),
            ("git@:a", "it names no host"),
            ("https://:443/a", "it names no host"),
            ("https://h", "it names a host, but no repository there"),
            ("https://h/", "it names a host, but no repository there"),
            ("https://h?a", "it names a host, but no repository there"),
            ("https://h/?a", "it names a host, but no repository there"),
            ("git@h:", "it names a host, but no repository there"),
            ("https://h:0/a", "its port is not a number from 1 to 65535"),
            ("https://h:+1/a", "its port is not a number from 1 to 65535"),
            ("https://h:/a", "its port is not a number from 1 to 65535"),
            (
                "https://h:65536/a",
                "its port is not a number from 1 to 65535",
            ),
            ("https://h/a b", "it holds white space"),
            ("https://h/a\u{7}", "it holds control characters"),
            ("https://h/a\nb", "it holds control characters"),
        ] {
            assert_eq!(refusal(&repos(&[]), own), why, "{own}");
        }
    }

    #[test]
    fn a_host_is_compared_without_case_and_its_port_only_where_one_is_given() {
        let only = repos(&["GitHub.com", "git.example:8443", "ssh.example:22"]);
        for own in [
            "https://github.COM/a",
            "https://github.com:444/a",
            "git@github.com:a",
            "https://git.example:8443/a",
            "git@ssh.example:a",
            "ssh://ssh.example/a",
        ] {
            assert!(only.choose(Some(own), ADVICE).is_ok(), "{own}");
        }
        for own in [
            "https://github.com.evil/a",
            "https://evil/github.com",
            "https://git.example/a",
            "https://ssh.example/a",
            "ssh://ssh.example:2222/a",
            "https://github.com./a",
        ] {
            assert!(refusal(&only, own).contains("--repo-host"), "{own}");
        }
        assert_eq!(
            refusal(&repos(&["a.example", "b:1"]), "https://evil:7/a"),
            "the host evil:7 is not one of --repo-host (a.example, b:1)"
        );
    }

    #[test]
    fn a_refusal_never_repeats_a_password() {
        for own in [
            "https://u:hunter2@h/a",
            "http://u:hunter2@h/a",
            "ssh://u:hunter2@h/a",
            "u:hunter2@h:a",
            "hunter2://h/a",
            "https://h:hunter2/a",
        ] {
            assert!(!refusal(&repos(&["x"]), own).contains("hunter2"), "{own}");
        }
    }

    #[test]
    fn the_default_steps_in_and_is_checked_in_the_same_way() {
        let mut repos = repos(&["h"]);
        assert_eq!(
            repos.choose(None, ADVICE),
            Err(Hold::NoRepository(ADVICE.into()))
        );
        repos.default = Some(" https://h/d ".into());
        assert_eq!(
            repos.choose(None, ADVICE),
            Ok(Some("https://h/d".to_owned()))
        );
        assert_eq!(
            repos.choose(Some(" "), ADVICE),
            Ok(Some("https://h/d".to_owned()))
        );
        assert_eq!(
            repos.choose(Some("https://h/o"), ADVICE),
            Ok(Some("https://h/o".to_owned()))
        );
        assert!(refusal(&repos, "https://evil/o").contains("evil"));
        repos.default = Some("http://h/d".into());
        assert_eq!(
            repos.choose(None, ADVICE),
            Err(Hold::RepositoryRefused(
                "--default-repo: http:// is not encrypted; write https://".into()
            ))
        );
        repos.default = None;
        repos.needed = false;
        assert_eq!(repos.choose(None, ADVICE), Ok(None));
        assert!(refusal(&repos, "http://h/o").contains("https"));
    }
}
