//! Who asks: the one account of the fake, its credentials, and what Jira
//! answers to wrong ones.

use super::{
    http::{Message, Reply, base64},
    refusal,
    site::Site,
};

/// What kind of secret the account has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Cloud: works with the address of the user, at the site.
    Classic,
    /// Cloud: works with the address of the user, at the gateway.
    Scoped,
    /// Cloud: of a service account. Alone or with an address, at the gateway.
    Service,
    /// Data Center: a personal access token, which stands alone.
    AccessToken,
    /// Data Center: a password.
    Password,
}

/// One account.
pub struct Account {
    /// Cloud: the e-mail address. Data Center: the name.
    pub user: String,
    pub id: String,
    pub display: String,
    pub secret: String,
    pub kind: Kind,
    /// After so many more requests the secret is worth nothing.
    pub expires_after: Option<usize>,
    /// After so many wrong passwords in a row only a person can log in.
    pub captcha_after: Option<usize>,
    pub failures: usize,
    pub captcha: bool,
    /// Something on the way drops `Authorization`.
    pub stripped: bool,
    /// Data Center: an administrator has turned passwords off.
    pub basic_off: bool,
}

/// Who asks, as Jira sees it.
pub enum Caller {
    Known,
    /// Nobody. `failed`: with credentials that are wrong.
    Anonymous {
        failed: bool,
    },
    Refused(Box<Reply>),
}

impl Account {
    pub fn new(cloud: bool) -> Account {
        Account {
            user: if cloud { "bot@example.com" } else { "bot" }.to_owned(),
            id: "712020:5b10ac8d-82e0-4b22-cc7d-4ef5aaaaaaaa".to_owned(),
            display: "Bot Böttcher".to_owned(),
            secret: if cloud {
                "ATATT3xFfGF0-cloud=4A1B"
            } else {
                "NTEyMDQ6ZGM6cGF0"
            }
            .to_owned(),
            kind: if cloud {
                Kind::Classic
            } else {
                Kind::AccessToken
            },
            expires_after: None,
            captcha_after: if cloud { None } else { Some(3) },
            failures: 0,
            captcha: false,
            stripped: false,
            basic_off: false,
        }
    }

    /// Counts a request. The secret may end with it.
    pub fn tick(&mut self) {
        if let Some(left) = &mut self.expires_after {
            *left = left.saturating_sub(1);
        }
    }

    fn expired(&self) -> bool {
        self.expires_after == Some(0)
    }
}

enum Sent {
    Nothing,
    Basic(String, String),
    Bearer(String),
    Nonsense,
}

fn sent(message: &Message) -> Sent {
    let Some(value) = message.header("authorization") else {
        return Sent::Nothing;
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Sent::Bearer(rest.trim().to_owned());
    }
    let decoded = base64(rest.trim()).and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, secret)) if scheme.eq_ignore_ascii_case("basic") => {
            Sent::Basic(user.to_owned(), secret.to_owned())
        }
        _ => Sent::Nonsense,
    }
}

/// Looks at the credentials of one request.
pub fn caller(site: &mut Site, message: &Message, gateway: bool, path: &str) -> Caller {
    let sent = if site.account.stripped {
        Sent::Nothing
    } else {
        sent(message)
    };
    let json = message
        .header("accept")
        .is_some_and(|a| a.contains("application/json"));
    if gateway {
        at_gateway(site, &sent)
    } else if site.cloud {
        at_cloud(site, &sent, path, json)
    } else {
        at_data_center(site, &sent)
    }
}

fn refused(reply: Reply) -> Caller {
    Caller::Refused(Box::new(reply))
}

fn at_gateway(site: &Site, sent: &Sent) -> Caller {
    let account = &site.account;
    let good = match sent {
        Sent::Basic(user, secret) => {
            matches!(account.kind, Kind::Scoped | Kind::Service)
                && user.eq_ignore_ascii_case(&account.user)
                && *secret == account.secret
        }
        Sent::Bearer(secret) => account.kind == Kind::Service && *secret == account.secret,
        Sent::Nothing | Sent::Nonsense => false,
    };
    if good && !account.expired() {
        return Caller::Known;
    }
    refused(Reply::new(
        401,
        "application/json",
        r#"{"code":401,"message":"Unauthorized"}"#,
    ))
}

fn at_cloud(site: &mut Site, sent: &Sent, path: &str, json: bool) -> Caller {
    let account = &mut site.account;
    let (user, secret) = match sent {
        Sent::Nothing => return Caller::Anonymous { failed: false },
        Sent::Bearer(_) => {
            let body = r#"{"error":"Failed to parse Connect Session Auth Token"}"#;
            return refused(Reply::new(403, "application/json", body));
        }
        Sent::Nonsense => return Caller::Anonymous { failed: true },
        Sent::Basic(user, secret) => (user, secret),
    };
    if account.captcha {
        let reply = refusal::html(
            401,
            "Basic Authentication Failure - Reason : AUTHENTICATION_DENIED",
        );
        return refused(reply.header("X-Seraph-LoginReason", "AUTHENTICATION_DENIED"));
    }
    let right = user.eq_ignore_ascii_case(&account.user) && *secret == account.secret;
    if right && !account.expired() {
        account.failures = 0;
        if account.kind == Kind::Classic {
            return Caller::Known;
        }
        if path.ends_with("/serverInfo") {
            return Caller::Anonymous { failed: true };
        }
        let reply = refusal::unauthenticated(json);
        return refused(reply.header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED"));
    }
    account.failures += 1;
    account.captcha = account
        .captcha_after
        .is_some_and(|most| account.failures >= most);
    Caller::Anonymous { failed: true }
}

fn at_data_center(site: &mut Site, sent: &Sent) -> Caller {
    let account = &mut site.account;
    match sent {
        Sent::Nothing => Caller::Anonymous { failed: false },
        Sent::Bearer(secret) => {
            if account.kind == Kind::AccessToken && *secret == account.secret && !account.expired()
            {
                return Caller::Known;
            }
            refused(refusal::html(401, "Unauthorized (401)"))
        }
        Sent::Basic(..) if account.basic_off => {
            let body = r#"{"message":"Basic Authentication has been disabled on this instance."}"#;
            refused(Reply::json(403, body))
        }
        _ if account.captcha => {
            let login = format!("CAPTCHA_CHALLENGE; login-url={}/login.jsp", site.base);
            let reply = refusal::html(
                403,
                "Basic Authentication Failure - Reason : AUTHENTICATION_DENIED",
            );
            let reply = reply.header("X-Seraph-LoginReason", "AUTHENTICATION_DENIED");
            refused(reply.header("X-Authentication-Denied-Reason", login))
        }
        Sent::Basic(user, secret)
            if account.kind == Kind::Password
                && *user == account.user
                && *secret == account.secret
                && !account.expired() =>
        {
            account.failures = 0;
            Caller::Known
        }
        Sent::Basic(..) | Sent::Nonsense => {
            account.failures += 1;
            account.captcha = account
                .captcha_after
                .is_some_and(|most| account.failures >= most);
            let reply = refusal::html(
                401,
                "Basic Authentication Failure - Reason : AUTHENTICATED_FAILED",
            );
            let reply = reply.header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED");
            refused(reply.header("WWW-Authenticate", "OAuth realm=\"http%3A%2F%2Fjira\""))
        }
    }
}
