//! Where a Jira is, which kind it is, and what its refusals mean. Pure.

use serde::Deserialize;

pub use crate::flags::Deployment;
use crate::http::Answer;

impl Deployment {
    /// The version of the REST API that is spoken with it.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Deployment::Cloud => 3,
            Deployment::DataCenter => 2,
        }
    }
}

/// A Jira that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What comes before `/rest`: the URL that was given, or the gateway's.
    pub base: String,
    /// What comes before `/browse` in links for people; empty if unknown.
    pub browse: String,
    /// Which kind it is.
    pub deployment: Deployment,
}

/// What `serverInfo` says
/// (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-server-info/>).
#[derive(Deserialize)]
pub struct ServerInfo {
    #[serde(rename = "baseUrl", default)]
    base_url: Option<String>,
    #[serde(rename = "deploymentType", default)]
    deployment_type: Option<String>,
}

impl ServerInfo {
    /// Which kind it is: whatever is not Cloud is Data Center.
    #[must_use]
    pub fn deployment(&self) -> Deployment {
        match self.deployment_type.as_deref() {
            Some("Cloud") => Deployment::Cloud,
            Some(_) | None => Deployment::DataCenter,
        }
    }

    /// Where people find it, if that is told and is a URL.
    #[must_use]
    pub fn browse(&self) -> Option<String> {
        let url = self.base_url.as_deref()?.trim().trim_end_matches('/');
        let lawful = url.starts_with("https://") || url.starts_with("http://");
        let plain = !url.chars().any(|c| c.is_control() || c.is_whitespace());
        (lawful && plain).then(|| url.to_owned())
    }
}

/// The gateway for tokens with scopes, of the site whose `tenant_info` this
/// is: it goes where Atlassian's own documentation says, and nowhere else.
#[must_use]
pub fn gateway(tenant_info: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Tenant {
        #[serde(rename = "cloudId")]
        cloud_id: String,
    }
    let tenant: Tenant = serde_json::from_slice(tenant_info).ok()?;
    let id = tenant.cloud_id;
    let lawful = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    lawful.then(|| format!("https://{GATEWAY}/ex/jira/{id}"))
}

/// What comes before `/browse` where Jira does not say: what it was called by,
/// unless that is a gateway's, which shows people nothing.
#[must_use]
pub fn browse(url: &str) -> String {
    match url.contains("/ex/jira/") {
        true => String::new(),
        false => url.to_owned(),
    }
}

const GATEWAY: &str = "api.atlassian.com";

/// Whether a URL is that of a site of Atlassian's cloud, over TLS: only there
/// a gateway is looked for.
#[must_use]
pub fn is_atlassian(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split(['/', '?']).next());
    let host = host.map(|host| {
        host.strip_suffix(":443")
            .unwrap_or(host)
            .to_ascii_lowercase()
    });
    host.is_some_and(|host| host.ends_with(".atlassian.net") && !host.contains(['@', ':']))
}

/// Whether an answer says that the account is locked until somebody solves a
/// CAPTCHA. Each further try keeps the lock alive.
#[must_use]
pub fn wants_captcha(answer: &Answer) -> bool {
    let denied = |name| answer.headers_named(name).to_ascii_uppercase();
    denied("x-seraph-loginreason").contains("AUTHENTICATION_DENIED")
        || denied("x-authentication-denied-reason").contains("CAPTCHA")
        // The page that Data Center shows then, whoever took the header away.
        || matches!(answer.status, 401 | 403)
            && String::from_utf8_lossy(&answer.body).contains("AUTHENTICATION_DENIED")
}

/// Whether whoever asked was let in, as far as an answer says: Jira answers a
/// search also to nobody in particular, with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It names the account.
    Known,
    /// It says that nobody was let in.
    Anonymous,
    /// It does not say.
    Unsaid,
}

/// Reads it off an answer's headers.
#[must_use]
pub fn identity(answer: &Answer) -> Identity {
    let reason = answer.headers_named("x-seraph-loginreason");
    let named = |name| answer.header(name).filter(|id| !id.trim().is_empty());
    let user = named("x-ausername");
    // Several reasons may stand there, with commas.
    let bad = reason
        .split(',')
        .map(str::trim)
        .any(|r| !r.is_empty() && r != "OK");
    if bad || user.is_some_and(|user| user.eq_ignore_ascii_case("anonymous")) {
        Identity::Anonymous
    } else if named("x-aaccountid").is_some() || user.is_some() {
        Identity::Known
    } else {
        Identity::Unsaid
    }
}

/// Whether what `/myself` answers is an account: a login page, which also comes
/// with 200, is none.
#[must_use]
pub fn is_somebody(answer: &Answer) -> bool {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    ["accountId", "name", "key"]
        .iter()
        .any(|key| body.get(key).is_some_and(|id| id.as_str() != Some("")))
}

/// What a refusal means, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The status it came with; another than 401 and 403 of an answer that was
    /// to nobody in particular.
    pub status: u16,
    /// The account is locked.
    pub captcha: bool,
    /// Jira knows whose they are.
    pub proven: bool,
    /// The same credentials were good for a search before.
    pub worked: bool,
    /// `--jira-username`.
    pub username: Option<&'a str>,
    /// Which kind of Jira it is, as far as that is known.
    pub deployment: Option<Deployment>,
    /// The gateway has refused them as well.
    pub gateway: bool,
    /// Where the token comes from, as the user named it.
    pub token_from: &'a str,
    /// What Jira says itself.
    pub said: &'a str,
}

impl Refusal<'_> {
    /// It in words, with the way out.
    #[must_use]
    pub fn words(&self) -> String {
        let from = self.token_from;
        let status = match (self.status, self.said) {
            (401 | 403, "") => format!("status {}", self.status),
            (401 | 403, said) => format!("status {}: {said}", self.status),
            _ => "it answers as to an anonymous user".to_owned(),
        };
        if self.captcha {
            let who = self
                .username
                .map_or("the account".to_owned(), |user| format!("{user:?}"));
            return format!(
                "jira wants a CAPTCHA from {who} after failed logins: log in once with a \
                 browser, and see that the token of {from} is right"
            );
        }
        if self.worked {
            return format!(
                "jira takes the token of {from} no more ({status}): it has expired or \
                 was revoked, or may do less than before; make a new one with the scopes and \
                 permissions of the README"
            );
        }
        if self.proven && self.status == 403 {
            return format!(
                "jira knows the token of {from} and does not let it search ({status}): see that \
                 its account may use Jira and browse the projects, and that a token with scopes \
                 has read:jira-work"
            );
        }
        let cloud = self.deployment != Some(Deployment::DataCenter);
        let advice = match (cloud, self.username) {
            (true, _) if self.gateway => {
                "it was refused by the site and by Atlassian's gateway; check that it has not \
                 expired, that it has the scopes read:jira-work, write:jira-work and \
                 read:jira-user, and that --jira-username is the e-mail address it belongs to \
                 (a service account's token goes without)"
            }
            (true, Some(_)) => {
                "check that --jira-username is the e-mail address of the account, and that the \
                 API token has not expired"
            }
            (true, None) => {
                "an API token of Jira Cloud goes with --jira-username, the e-mail address of \
                 its account"
            }
            (false, Some(_)) => {
                "a personal access token goes without --jira-username; with one, a password is \
                 expected, and logging in by password may be turned off"
            }
            (false, None) => "check that the personal access token has not expired",
        };
        format!("jira refuses the token of {from} ({status}): {advice}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        crate::source::jira::answer::made(200, headers, "")
    }

    #[test]
    fn a_gateway_is_looked_for_at_one_place_only() {
        for url in [
            "https://acme.atlassian.net",
            "https://ACME.Atlassian.net:443/x",
        ] {
            assert!(is_atlassian(url), "{url}");
        }
        for url in [
            "http://acme.atlassian.net",
            "https://atlassian.net.evil.example",
            "https://evil.example/acme.atlassian.net",
            "https://u@acme.atlassian.net",
            "https://atlassian.net",
            "https://jira.example",
            "https://acme.atlassian.net:8443",
        ] {
            assert!(!is_atlassian(url), "{url}");
        }
        let id = r#"{"cloudId":"11223344-a1b2-3b33-c444-def123456789"}"#;
        let url = "https://api.atlassian.com/ex/jira/11223344-a1b2-3b33-c444-def123456789";
        assert_eq!(gateway(id.as_bytes()).as_deref(), Some(url));
        for bad in [
            "",
            "{}",
            r#"{"cloudId":""}"#,
            r#"{"cloudId":"../x"}"#,
            r#"{"cloudId":"a@b"}"#,
        ] {
            assert_eq!(gateway(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn whatever_is_not_cloud_is_data_center() {
        let of = |text: &str| serde_json::from_str::<ServerInfo>(text).unwrap();
        let cloud = of(r#"{"baseUrl":"https://a.example/","deploymentType":"Cloud","x":1}"#);
        assert_eq!(cloud.deployment(), Deployment::Cloud);
        assert_eq!(cloud.browse().as_deref(), Some("https://a.example"));
        for kind in [
            r#"{"deploymentType":"Server"}"#,
            r#"{"deploymentType":"DataCenter"}"#,
            "{}",
        ] {
            assert_eq!(of(kind).deployment(), Deployment::DataCenter);
            assert_eq!(of(kind).browse(), None);
        }
        assert_eq!(of(r#"{"baseUrl":"javascript:x"}"#).browse(), None);
    }

    #[test]
    fn an_answer_to_nobody_is_recognised() {
        let of = |headers: &[(&str, &str)]| identity(&answer(headers));
        assert_eq!(of(&[]), Identity::Unsaid);
        assert_eq!(of(&[("X-AAccountId", "5")]), Identity::Known);
        assert_eq!(of(&[("X-AUSERNAME", "bot")]), Identity::Known);
        assert_eq!(of(&[("X-AUSERNAME", "anonymous")]), Identity::Anonymous);
        let failed = ("X-Seraph-LoginReason", "AUTHENTICATED_FAILED");
        assert_eq!(of(&[failed]), Identity::Anonymous);
        assert_eq!(of(&[failed, ("X-AAccountId", "5")]), Identity::Anonymous);
        assert_eq!(
            of(&[("X-Seraph-LoginReason", "OK"), ("X-AUSERNAME", "bot")]),
            Identity::Known
        );
        assert!(wants_captcha(&answer(&[(
            "x-seraph-loginreason",
            "AUTHENTICATION_DENIED"
        )])));
        let why = "CAPTCHA_CHALLENGE; login-url=https://x";
        assert!(wants_captcha(&answer(&[(
            "X-Authentication-Denied-Reason",
            why
        )])));
        assert!(!wants_captcha(&answer(&[failed])));
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let plain = Refusal {
            status: 401,
            captcha: false,
            proven: false,
            worked: false,
            username: None,
            deployment: Some(Deployment::Cloud),
            gateway: false,
            token_from: "JIRA_API_TOKEN",
            said: "",
        };
        let of = |change: &dyn Fn(&mut Refusal<'_>)| {
            let mut refusal = plain;
            change(&mut refusal);
            refusal.words()
        };
        assert!(of(&|_| {}).contains("goes with --jira-username"));
        assert!(of(&|r| r.username = Some("a@b")).contains("e-mail address"));
        assert!(of(&|r| r.gateway = true).contains("read:jira-work"));
        assert!(of(&|r| r.worked = true).contains("expired"));
        assert!(of(&|r| r.status = 200).contains("anonymous"));
        let forbidden = of(&|r| (r.status, r.proven) = (403, true));
        assert!(forbidden.contains("browse the projects"), "{forbidden}");
        assert!(of(&|r| r.captcha = true).contains("browser"));
        let dc = |r: &mut Refusal<'_>| r.deployment = Some(Deployment::DataCenter);
        assert!(of(&dc).contains("personal access token has not expired"));
        let with_name = |r: &mut Refusal<'_>| {
            dc(r);
            r.username = Some("bot");
        };
        assert!(of(&with_name).contains("goes without --jira-username"));
        for words in [
            of(&|_| {}),
            of(&|r| r.captcha = true),
            of(&|r| r.worked = true),
        ] {
            assert!(words.contains("JIRA_API_TOKEN"), "{words}");
        }
    }
}
