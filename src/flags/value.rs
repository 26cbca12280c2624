//! One value as text made into what it means: durations, counts, hosts, names.
//!
//! Says what is wrong with a value and what would be right, as a fragment that
//! quotes the value; whoever calls adds the name the user typed. Never touches
//! the world: a host is not looked up, an image not pulled.

use std::time::Duration;

use crate::agent::{self, Bytes, Command, EnvRule, Millicores};

/// `true` or `false`, in the words people use for it.
pub(super) fn switch(v: &str) -> Result<bool, String> {
    match v.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "{v:?} is neither on nor off; write true or false (or 1, yes, on, 0, no, off)"
        )),
    }
}

/// A whole number from `least` on.
pub(super) fn count(v: &str, least: u32) -> Result<u32, String> {
    // `u32::from_str` would take a plus sign.
    if v.is_empty() || !v.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{v:?} is not a whole number such as 5"));
    }
    let n: u32 = v
        .parse()
        .map_err(|_| format!("{v:?} is too large; at most {}", u32::MAX))?;
    if n < least {
        return Err(format!("{v:?} is too small; at least {least}"));
    }
    Ok(n)
}

/// The base URL of a Jira, without a slash at its end.
pub(super) fn jira_url(v: &str) -> Result<String, String> {
    const RIGHT: &str = "write it as https://HOST, with the path behind it if there is one";
    let (scheme, rest) = v.split_once("://").unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    let slip = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    if !["https", "http"].contains(&scheme.as_str()) || rest.contains(slip) {
        return Err(format!("{:?} is not a URL; {RIGHT}", without_user(v)));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("it holds a user; give --jira-username and JIRA_API_TOKEN instead".to_owned());
    }
    if !is_host(host) || rest.contains(['?', '#']) {
        let v = without_user(v);
        return Err(format!("{v:?} is not the base of a Jira; {RIGHT}"));
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

/// A label as Jira takes it.
pub(super) fn label(v: &str) -> Result<String, String> {
    let slip = |c: char| c.is_whitespace() || c.is_control();
    if v.contains(slip) || v.chars().count() > 255 {
        return Err(format!(
            "{v:?} is not a label; write one word of at most 255 characters"
        ));
    }
    Ok(v.to_owned())
}

/// The name of a status that says that agents failed, or `none`.
pub(super) fn failed_status(v: &str) -> Result<String, String> {
    match v {
        "auto" => Err(
            "\"auto\" is no status that says that agents failed; write its name, or none"
                .to_owned(),
        ),
        name => line(name),
    }
}

/// A length of time of at least `least`: `30s`, `1h30m`, `500ms`, `14d`.
pub(super) fn at_least(v: &str, least: Duration) -> Result<Duration, String> {
    let time = duration(v)?;
    if time >= least {
        return Ok(time);
    }
    let bound = match least.as_millis() {
        0..1000 => "more than 0s".to_owned(),
        ms => format!("at least {}s", ms / 1000),
    };
    Err(format!("{v:?} is too short; write {bound}"))
}

/// A length of time that is not nothing.
pub(super) fn positive(v: &str) -> Result<Duration, String> {
    at_least(v, Duration::from_millis(1))
}

/// A length of time, nothing included.
///
/// Units may come in any order and add up. A bare number is an error, because
/// it means seconds to one reader and milliseconds to the next.
pub(super) fn duration(v: &str) -> Result<Duration, String> {
    const RIGHT: &str = "write 30s, 5m or 1h30m";
    let split = |s: &str, digits: bool| {
        s.find(|c: char| c.is_ascii_digit() != digits)
            .unwrap_or(s.len())
    };
    let mut total: u64 = 0;
    let mut rest = v;
    while !rest.is_empty() {
        let (digits, more) = rest.split_at(split(rest, true));
        if digits.is_empty() {
            return Err(format!("{v:?} is not a length of time; {RIGHT}"));
        }
        let (unit, more) = more.split_at(split(more, false));
        let scale: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if digits.len() == v.len() => return Err(format!("{v:?} has no unit; {RIGHT}")),
            "" => return Err(format!("{v:?} ends without a unit; {RIGHT}")),
            _ => {
                return Err(format!(
                    "{v:?} has an unknown unit {unit:?}; {RIGHT} (units: ms, s, m, h, d)"
                ));
            }
        };
        total = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(scale))
            .and_then(|ms| ms.checked_add(total))
            .ok_or_else(|| format!("{v:?} is too long a time"))?;
        rest = more;
    }
    if v.is_empty() {
        return Err(format!("{v:?} is not a length of time; {RIGHT}"));
    }
    Ok(Duration::from_millis(total))
}

/// A name of an orchestrator, which becomes part of file names and labels.
pub(super) fn owner(v: &str) -> Result<String, String> {
    if v.len() <= 40 && is_label(v) {
        return Ok(v.to_owned());
    }
    Err(format!(
        "{v:?} is not a name of an owner; write 1 to 40 of a-z, 0-9 and -, \
         beginning and ending with a letter or digit"
    ))
}

/// A name of an object of Kubernetes
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>).
pub(super) fn object(v: &str) -> Result<String, String> {
    if v.len() <= 253 && v.split('.').all(is_label) {
        return Ok(v.to_owned());
    }
    Err(format!(
        "{v:?} is no name of Kubernetes; write 1 to 253 of a-z, 0-9, - and ."
    ))
}

/// Letters, digits and dashes in between.
fn is_label(v: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    v.bytes().all(|b| inner(b) || b == b'-')
        && v.bytes().next().is_some_and(inner)
        && v.bytes().last().is_some_and(inner)
}

/// A name of a namespace.
pub(super) fn namespace(v: &str) -> Result<String, String> {
    if v.len() <= 63 && is_label(v) {
        return Ok(v.to_owned());
    }
    Err(format!(
        "{v:?} is no name of a namespace; write 1 to 63 of a-z, 0-9 and -"
    ))
}

/// An image reference, as far as it can be told from a slip of the pen.
pub(super) fn image(v: &str) -> Result<String, String> {
    let slip = |c: char| c.is_whitespace() || c.is_control();
    if v.is_empty() || v.starts_with('-') || v.contains(slip) {
        return Err(format!(
            "{v:?} is not an image; write it as registry.example/name:tag"
        ));
    }
    Ok(v.to_owned())
}

/// One line of text that says something.
pub(super) fn line(v: &str) -> Result<String, String> {
    let wrong = match v.trim().is_empty() {
        true => "is blank",
        false if v.contains(char::is_control) => "has control characters",
        false => return Ok(v.to_owned()),
    };
    Err(format!("{v:?} {wrong}; write one line of plain text"))
}

/// A repository, as far as it can be told from a slip of the pen. Whether
/// agents may be sent there is decided where items are read.
pub(super) fn repo(v: &str) -> Result<String, String> {
    let slip = |c: char| c.is_whitespace() || c.is_control();
    if v.is_empty() || v.starts_with('-') || v.contains(slip) {
        return Err(format!(
            "{:?} is not a repository; write it as https://github.com/owner/name.git",
            without_user(v)
        ));
    }
    Ok(v.to_owned())
}

/// A host with an optional port, in lower case.
pub(super) fn host(v: &str) -> Result<String, String> {
    if is_host(v) {
        return Ok(v.to_ascii_lowercase());
    }
    // What people paste is the address of a repository.
    let bare = v.split_once("://").map_or(v, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    let bare = bare.rsplit('@').next().unwrap_or(bare);
    let right = if is_host(bare) { bare } else { "github.com" };
    Err(format!(
        "{:?} is not a host; write it without scheme and path, such as {right}",
        without_user(v)
    ))
}

fn is_host(v: &str) -> bool {
    let (name, port) = match v.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, "")) => return is_v6(v6),
        Some((v6, rest)) if is_v6(v6) => match rest.strip_prefix(':') {
            Some(port) => ("v6", Some(port)),
            None => return false,
        },
        Some(_) => return false,
        None => match v.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (v, None),
        },
    };
    // No sign, and not 0, which no server listens on.
    let port_ok = port.is_none_or(|p| {
        p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|n| n > 0)
    });
    // Not the letter of the law: networks of containers know hosts with `_`.
    let label_ok = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    port_ok && name.len() <= 253 && name.split('.').all(label_ok)
}

fn is_v6(v: &str) -> bool {
    v.parse::<std::net::Ipv6Addr>().is_ok()
}

/// An address without the user and password it should not have had.
#[must_use]
pub fn without_user(v: &str) -> String {
    // The last one, for a password may hold anything.
    let Some((user, host)) = v.rsplit_once('@') else {
        return v.to_owned();
    };
    match user.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://…@{host}"),
        None if user.contains(':') => format!("…@{host}"),
        // As in git@host:path.
        None => v.to_owned(),
    }
}

/// The hosts in `v`, which commas or white space keep apart.
pub(super) fn hosts(v: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<String> = v
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
        .collect();
    if hosts.is_empty() {
        return Err(format!("{v:?} names no host; write one such as github.com"));
    }
    Ok(hosts)
}

/// The command of an agent.
pub(super) fn command(v: &str) -> Result<Command, String> {
    // A long command is not shown again: the reason names the place.
    Command::parse(v).map_err(|why| match v.len() {
        0..=60 => format!("{v:?}: {why}"),
        _ => why,
    })
}

/// One rule about a variable of an agent: `NAME` or `NAME=VALUE`. No error
/// shows the value.
pub(super) fn env(v: &str) -> Result<EnvRule, String> {
    let name = v.split_once('=').map_or(v, |(name, _)| name);
    EnvRule::parse(v).map_err(|why| format!("{name:?}: {why}"))
}

/// A number of processors.
pub(super) fn cpus(v: &str) -> Result<Millicores, String> {
    agent::cpus(v).map_err(|why| format!("{v:?}: {why}"))
}

/// An amount of memory.
pub(super) fn memory(v: &str) -> Result<Bytes, String> {
    agent::memory(v).map_err(|why| format!("{v:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_that_add_up() {
        for (text, ms) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("30m1h", 5_400_000),
            ("500ms", 500),
            ("1s500ms", 1500),
            ("14d", 14 * 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "", "5", "1h30", "s", "5x", "-5s", "1.5h", "5 m", "5S", "٣s", "5ms5", "+5s",
        ] {
            let why = duration(bad).unwrap_err();
            assert!(why.starts_with(&format!("{bad:?} ")), "{why}");
            assert!(why.contains("write 30s, 5m or 1h30m"), "{why}");
        }
        assert_eq!(
            duration("5").unwrap_err(),
            r#""5" has no unit; write 30s, 5m or 1h30m"#
        );
    }

    #[test]
    fn a_duration_that_overflows_is_an_error() {
        assert!(duration("18446744073709551615ms").is_ok());
        for bad in [
            "18446744073709551616ms",
            "18446744073709551615ms1ms",
            "213503982335d",
            "18446744073709551615s",
        ] {
            assert_eq!(
                duration(bad).unwrap_err(),
                format!("{bad:?} is too long a time")
            );
        }
    }

    #[test]
    fn a_lower_bound_is_said() {
        let second = Duration::from_secs(1);
        assert_eq!(at_least("1000ms", second), Ok(second));
        assert_eq!(
            at_least("999ms", second).unwrap_err(),
            r#""999ms" is too short; write at least 1s"#
        );
        assert_eq!(
            positive("0s").unwrap_err(),
            r#""0s" is too short; write more than 0s"#
        );
        assert!(positive("1ms").is_ok());
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(count("0", 0), Ok(0));
        assert_eq!(count("4294967295", 1), Ok(u32::MAX));
        assert_eq!(
            count("0", 1).unwrap_err(),
            r#""0" is too small; at least 1"#
        );
        assert!(
            count("4294967296", 0)
                .unwrap_err()
                .contains("at most 4294967295")
        );
        for bad in ["", "-1", "+1", "1.0", "five", " 1"] {
            assert!(
                count(bad, 0).unwrap_err().contains("not a whole number"),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_owner_can_be_part_of_a_name() {
        let longest = "a".repeat(40);
        for good in ["default", "a", "7", "team-a-2", longest.as_str()] {
            assert_eq!(owner(good).as_deref(), Ok(good));
        }
        let long = "a".repeat(41);
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "é", long.as_str()] {
            assert!(owner(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn objects_of_kubernetes_have_lawful_names() {
        let longest = "a".repeat(253);
        for good in ["a", "recac-agent-secrets", "a.b-c.7", longest.as_str()] {
            assert_eq!(object(good).as_deref(), Ok(good));
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            "-a",
            "a-",
            "a..b",
            ".a",
            "A",
            "a_b",
            "a/b",
            long.as_str(),
        ] {
            assert!(object(bad).is_err(), "{bad}");
        }
        assert!(namespace("team-a").is_ok());
        for bad in ["", "a.b", "A", &"a".repeat(64)] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_have_neither_scheme_nor_path() {
        for good in [
            "github.com",
            "localhost",
            "my_gitea:3000",
            "10.0.0.7:8443",
            "[::1]",
            "[::1]:22",
            "[fe80::ab]:22",
        ] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        assert_eq!(host("GitHub.COM:443").as_deref(), Ok("github.com:443"));
        let label = format!("{}.com", "a".repeat(64));
        for bad in [
            "",
            "a b",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a:0",
            "a:",
            "a:65536",
            "a:+1",
            "a:b",
            "::1",
            "[::1",
            "[x]",
            "[::1]x",
            "[x]:1",
            "a/b",
            "*.a",
            label.as_str(),
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pasted_address_is_answered_with_its_host_and_without_its_password() {
        assert_eq!(
            host("https://git.example:8443/o/r.git").unwrap_err(),
            r#""https://git.example:8443/o/r.git" is not a host; write it without scheme and path, such as git.example:8443"#
        );
        for secret in [
            "https://me:hunter2@git.example/o/r",
            "https://hunter2@git.example",
        ] {
            let why = host(secret).unwrap_err();
            assert!(
                why.contains("such as git.example") && !why.contains("hunter2"),
                "{why}"
            );
            let why = repo(&format!("{secret} ")).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn the_base_of_a_jira_is_a_url_without_a_slash_at_its_end() {
        for (given, url) in [
            ("HTTPS://Jira.example/", "https://Jira.example"),
            ("http://[::1]:8080/jira//", "http://[::1]:8080/jira"),
        ] {
            assert_eq!(jira_url(given).as_deref(), Ok(url));
        }
        let why = jira_url("https://me:hunt/er2@jira.example").unwrap_err();
        assert!(!why.contains("hunt"), "{why}");
    }

    #[test]
    fn a_variable_never_shows_its_value() {
        for bad in ["1A=hunter2", "=hunter2", "A B=hunter2", "RECAC_RUN=hunter2"] {
            let why = env(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
