//! Calls to Jira, with the credentials as they are now, and not while it wants
//! to be left alone.
//!
//! Sends no token anywhere but to the URL that was given and, for a site of
//! Atlassian's cloud, to Atlassian's gateway. Never tries a call twice: what
//! failed is tried again when the next tick asks for it, and until a pause is
//! over every call fails at once.

mod entry;
mod token;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use log::info;
use serde_json::Value;

use super::{
    answer,
    site::{self, Deployment, Identity, Refusal, Site},
};
use crate::{
    clock,
    http::{self, Answer, DEADLINE, Failed, Method, Request},
    source::{Trouble, lock},
};

pub use token::{Token, token_in};

/// Bytes of one answer. A page that is larger is asked for in smaller pieces.
const LARGEST: usize = 16 << 20;
/// The first wait after refused credentials, doubled up to [`LONGEST_WAIT`]: an
/// account that fails to log in too often is locked.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// How long nothing is asked after a call about no ticket in particular broke
/// off, so that what one tick has to say does not wait for a deadline each.
const BREATH: Duration = Duration::from_secs(1);
const LEFT_ALONE: &str = "jira wants this ticket left alone for a while (status 429)";

/// Where Jira is and who asks.
pub struct Access {
    /// `--jira-url`, without a slash at its end.
    pub url: String,
    /// `--jira-username`: with it Basic, without it Bearer.
    pub username: Option<String>,
    /// The token.
    pub token: Token,
    /// `--jira-deployment`.
    pub deployment: Option<Deployment>,
}

/// Has a value taken out of all that is written, by the name of its secret.
pub type Hide = Box<dyn Fn(&str, &str) + Send + Sync>;

/// A client for one Jira.
pub struct Client {
    access: Access,
    http: http::Client,
    hide: Hide,
    /// The Jira that was found; whoever looks for it holds this meanwhile.
    site: Mutex<Option<Arc<Site>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The token that was used last.
    token: String,
    /// Whether a search was ever let in with it.
    worked: bool,
    refused: Option<Refused>,
    /// How often it was refused since then.
    refusals: u32,
    /// Until then nothing is asked, and why. Not by the wall clock, which can be
    /// set and whose stamps are whole milliseconds: what is asked a part of one
    /// too early is asked too early.
    pause: Option<(Instant, String)>,
    /// The same for single issues.
    issues: BTreeMap<String, Instant>,
    /// What was said of the site, so that it is said once.
    greeted: String,
}

impl State {
    /// Nothing is asked for so long; a longer pause is not cut short.
    fn rest(&mut self, pause: Duration, why: &str) {
        let until = Instant::now() + pause;
        if self
            .pause
            .as_ref()
            .is_none_or(|(before, _)| *before < until)
        {
            self.pause = Some((until, why.to_owned()));
        }
    }
}

struct Refused {
    why: String,
    until: Instant,
}

/// A request of the REST API.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What is asked.
    pub method: Method,
    /// Behind `/rest/api/N`, with its query.
    pub path: &'a str,
    /// Its content.
    pub body: Option<&'a Value>,
    /// The id of the issue that it is about, if it is about one.
    pub issue: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A question.
    #[must_use]
    pub fn get(path: &'a str) -> Call<'a> {
        Call {
            method: Method::Get,
            path,
            body: None,
            issue: None,
        }
    }

    /// Something with a content.
    #[must_use]
    pub fn with(method: Method, path: &'a str, body: &'a Value) -> Call<'a> {
        Call {
            method,
            path,
            body: Some(body),
            issue: None,
        }
    }

    /// The same, about this issue.
    #[must_use]
    pub fn about(mut self, issue: &'a str) -> Call<'a> {
        self.issue = Some(issue);
        self
    }
}

/// Why a call has no answer that can be looked at.
pub enum NoAnswer {
    /// It is larger than what is read.
    TooLarge,
    /// Anything else.
    Trouble(Trouble),
}

impl From<NoAnswer> for Trouble {
    fn from(no: NoAnswer) -> Trouble {
        match no {
            NoAnswer::TooLarge => Trouble::Later("jira: the answer is too large".into(), None),
            NoAnswer::Trouble(trouble) => trouble,
        }
    }
}

impl From<Trouble> for NoAnswer {
    fn from(trouble: Trouble) -> NoAnswer {
        NoAnswer::Trouble(trouble)
    }
}

impl Client {
    /// A client; nothing is asked yet. `hide` hears of every token.
    #[must_use]
    pub fn new(access: Access, http: http::Client, hide: Hide) -> Client {
        Client {
            access,
            http,
            hide,
            site: Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// The Jira, found and let in to.
    ///
    /// # Errors
    /// If it is not there, or refuses the credentials.
    pub fn site(&self) -> Result<Arc<Site>, Trouble> {
        let token = self.token()?;
        self.may_ask(None)?;
        self.find(&token)
    }

    /// Asks, and gives whatever answer is one to this call: any status but
    /// those that concern every call.
    ///
    /// # Errors
    /// If Jira cannot be asked now, does not answer, refuses the credentials
    /// or wants to be left alone.
    pub fn call(&self, call: &Call<'_>) -> Result<Answer, NoAnswer> {
        let token = self.token()?;
        self.may_ask(call.issue)?;
        let site = self.find(&token)?;
        let version = site.deployment.version();
        let url = format!("{}/rest/api/{version}{}", site.base, call.path);
        let answer = self.ask(call.method, &url, Some(&token), call.body, call.issue)?;
        let anonymous = site::identity(&answer) == Identity::Anonymous;
        if answer.status == 401 || site::wants_captcha(&answer) || anonymous {
            return Err(self.refuse(&answer, Some(&site)).into());
        }
        Ok(answer)
    }

    /// Sees to it that a search was answered to us: nobody in particular is
    /// answered with nothing.
    ///
    /// # Errors
    /// If it was not.
    pub fn was_let_in(&self, answer: &Answer) -> Result<(), Trouble> {
        if site::identity(answer) == Identity::Known {
            return Ok(());
        }
        match self.prove()? {
            // It says so in each answer that is one to us.
            Identity::Known => Err(self.refused_by(answer)),
            // Gateways and proxies may drop the header.
            Identity::Unsaid | Identity::Anonymous => Ok(()),
        }
    }

    /// Sees to it that an answer that denies something is not one to nobody.
    ///
    /// # Errors
    /// If Jira does not know us.
    pub fn knows_us(&self, answer: &Answer) -> Result<(), Trouble> {
        match site::identity(answer) {
            Identity::Known => Ok(()),
            Identity::Unsaid | Identity::Anonymous => self.prove().map(drop),
        }
    }

    /// Asks Jira who we are; how its answer says so.
    ///
    /// # Errors
    /// If it does not know.
    fn prove(&self) -> Result<Identity, Trouble> {
        let answer = self.call(&Call::get("/myself"))?;
        match answer.status {
            200 if site::is_somebody(&answer) => Ok(site::identity(&answer)),
            200 | 403 => Err(self.refused_by(&answer)),
            _ => Err(self.later(&answer, "who asks")),
        }
    }

    /// An answer that refuses the credentials although its status alone would
    /// not say so: nothing is asked for a while.
    #[must_use]
    pub fn refused_by(&self, answer: &Answer) -> Trouble {
        let site = lock(&self.site).clone();
        self.refuse(answer, site.as_deref())
    }

    /// An answer that is of no use now, to the question named `what`.
    #[must_use]
    pub fn later(&self, answer: &Answer, what: &str) -> Trouble {
        if let Some(trouble) = self.redirected(answer) {
            return trouble;
        }
        Trouble::Later(
            format!("jira answers {what} with {}", answer::words(answer)),
            None,
        )
    }

    /// The token as it is now.
    fn token(&self) -> Result<String, Trouble> {
        let name = self.access.token.name();
        let text = self.access.token.text()?;
        let token = token_in(&text, self.access.username.as_deref())
            .map_err(|why| Trouble::Everything(format!("{name}: {why}")))?;
        let mut state = lock(&self.state);
        if state.token != token {
            (self.hide)("JIRA_API_TOKEN", token);
            (self.hide)("JIRA_API_TOKEN", &self.credentials(token));
            if !state.token.is_empty() {
                info!("jira: another token in {name}");
            }
            state.token = token.to_owned();
            state.worked = false;
            state.refused = None;
            state.refusals = 0;
            drop(state);
            *lock(&self.site) = None;
        }
        Ok(token.to_owned())
    }

    /// What stands behind `Basic` or `Bearer`.
    fn credentials(&self, token: &str) -> String {
        match &self.access.username {
            Some(username) => BASE64_STANDARD.encode(format!("{username}:{token}")),
            None => token.to_owned(),
        }
    }

    /// Whether Jira may be asked about anything now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.may_ask(None).is_ok()
    }

    /// Whether Jira may be asked now.
    fn may_ask(&self, issue: Option<&str>) -> Result<(), Trouble> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if let Some(refused) = state.refused.as_ref().filter(|refused| now < refused.until) {
            return Err(Trouble::Refused(refused.why.clone()));
        }
        if let Some((until, why)) = &state.pause
            && now < *until
        {
            return Err(Trouble::Later(why.clone(), Some(*until - now)));
        }
        state.pause = None;
        state.issues.retain(|_, until| now < *until);
        match issue.and_then(|id| state.issues.get(id)) {
            None => Ok(()),
            Some(until) => Err(Trouble::Later(LEFT_ALONE.into(), Some(*until - now))),
        }
    }

    /// Asks, and takes in what concerns every call after it.
    fn ask(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<&Value>,
        issue: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        let answer = self
            .send(method, url, token, body)
            .map_err(|failed| self.broke(failed, url, issue))?;
        self.heed(&answer, issue)?;
        Ok(answer)
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, Failed> {
        let kind = match self.access.username {
            Some(_) => "Basic",
            None => "Bearer",
        };
        let authorization = token.map(|token| format!("{kind} {}", self.credentials(token)));
        let mut headers = vec![("accept", "application/json")];
        headers.extend(
            authorization
                .iter()
                .map(|value| ("authorization", value.as_str())),
        );
        let content = body.map(Value::to_string);
        let answer = self.http.send(&Request {
            method,
            url,
            headers: &headers,
            body: content
                .as_ref()
                .map(|text| ("application/json", text.as_bytes())),
            deadline: DEADLINE,
            largest: LARGEST,
        });
        answer.map(|mut answer| {
            if let (false, Some(token)) = ((200..300).contains(&answer.status), token) {
                answer.body = self.clean(&answer.body, token);
            }
            answer
        })
    }

    /// Takes the token out: what an answer says is cut for a message, and half
    /// a secret is not found.
    fn clean(&self, body: &[u8], token: &str) -> Vec<u8> {
        let text = String::from_utf8_lossy(body);
        let text = text.replace(&self.credentials(token), "[JIRA_API_TOKEN]");
        text.replace(token, "[JIRA_API_TOKEN]").into_bytes()
    }

    /// A success that is no answer to the question named `what`.
    #[must_use]
    pub fn nonsense(&self, answer: &Answer, what: &str) -> Trouble {
        let token = lock(&self.state).token.clone();
        let answer = Answer {
            status: answer.status,
            headers: answer.headers.clone(),
            body: self.clean(&answer.body, &token),
        };
        let words = answer::words(&answer);
        Trouble::Later(format!("jira: {what}'s answer is none ({words})"), None)
    }

    /// Takes in that there was no answer, which may be the fault of the ticket
    /// that was asked about.
    fn broke(&self, failed: Failed, url: &str, issue: Option<&str>) -> NoAnswer {
        match failed {
            Failed::TooLarge => NoAnswer::TooLarge,
            Failed::Broken(why) => {
                // Only advice hangs on these words.
                let advice = if why.contains("CaUsedAsEndEntity") {
                    "; that is an authority's own: have it sign one for the server, and see \
                     --jira-ca-file"
                } else if why.contains("certificate") {
                    "; for a private authority see --jira-ca-file"
                } else {
                    ""
                };
                let why = format!("jira at {}: {why}{advice}", origin(url));
                if issue.is_none() {
                    lock(&self.state).rest(BREATH, &why);
                }
                Trouble::Later(why, None).into()
            }
        }
    }

    /// Takes in that Jira wants to be left alone.
    fn heed(&self, answer: &Answer, issue: Option<&str>) -> Result<(), Trouble> {
        let Some(pause) = answer::pause(answer, clock::now()) else {
            return Ok(());
        };
        let mut state = lock(&self.state);
        if let Some(issue) = issue.filter(|_| answer::is_per_issue(answer)) {
            let until = Instant::now() + pause;
            let before = state.issues.entry(issue.to_owned()).or_insert(until);
            *before = until.max(*before);
            return Err(Trouble::Later(LEFT_ALONE.into(), Some(pause)));
        }
        let why = format!("jira wants to be left alone (status {})", answer.status);
        state.rest(pause, &why);
        Err(Trouble::Later(why, Some(pause)))
    }

    /// Takes in that the credentials are refused.
    fn refuse(&self, answer: &Answer, site: Option<&Site>) -> Trouble {
        let gateway = site.is_some_and(|site| site.base != self.access.url);
        let from = self.access.token.name();
        let proven = lock(&self.site).is_some();
        let mut state = lock(&self.state);
        if let Some(refused) = &state.refused
            && Instant::now() < refused.until
        {
            // Calls that were under way together are one try.
            return Trouble::Refused(refused.why.clone());
        }
        let why = Refusal {
            status: answer.status,
            captcha: site::wants_captcha(answer),
            proven,
            worked: state.worked,
            username: self.access.username.as_deref(),
            deployment: site.map(|site| site.deployment).or(self.access.deployment),
            gateway,
            token_from: &from,
            said: &answer::said(&answer.body),
        }
        .words();
        let wait = FIRST_WAIT
            .saturating_mul(1 << state.refusals.min(4))
            .min(LONGEST_WAIT);
        state.refusals = state.refusals.saturating_add(1);
        state.refused = Some(Refused {
            why: why.clone(),
            until: Instant::now() + wait,
        });
        drop(state);
        // They are proven anew before anything else is asked.
        *lock(&self.site) = None;
        Trouble::Refused(why)
    }

    /// A search was answered to us: whatever was refused before is over.
    pub fn accepted(&self) {
        let mut state = lock(&self.state);
        state.worked = true;
        state.refusals = 0;
    }

    /// No redirect is followed: it could lead the token anywhere.
    fn redirected(&self, answer: &Answer) -> Option<Trouble> {
        if !(300..400).contains(&answer.status) {
            return None;
        }
        let to = answer.header("location").unwrap_or("nowhere");
        let to = to.split(['?', '#']).next().unwrap_or(to);
        Some(Trouble::Everything(format!(
            "jira at {} sends us to {to:?} (status {}), and no token goes there: if that is \
             right, give it as --jira-url",
            self.access.url, answer.status
        )))
    }
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at + 3);
    let end = url
        .get(from..)
        .and_then(|rest| rest.find('/'))
        .map_or(url.len(), |at| from + at);
    url.get(..end).unwrap_or(url)
}
